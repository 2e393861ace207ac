"""A blob store in memory: an adapter of the port without a folder, as a store on another machine would be.

A blob is written to a file in `cache` whenever somebody asks for a local file. No other process can open the store.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockstep.core import files
from lockstep.core.errors import IntegrityError, RefusedError
from lockstep.core.hashing import blake3_hex, digest_columns
from lockstep.storage.blobs import (
    StoreAddress,
    array_bytes,
    is_damaged,
    missing,
    require_digest,
    require_suffix,
    sound_arrays,
    sound_bytes,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class MemoryBlobStore:
    """Blobs by digest and suffix in `content`, where a test may change bytes to damage a blob."""

    cache: Path
    content: dict[tuple[str, str], bytes] = field(default_factory=dict)

    @property
    def address(self) -> StoreAddress:
        """Raises RefusedError: memory belongs to one process."""
        raise RefusedError("a store in memory cannot be opened in another process. Use a FolderBlobStore.")

    def put(self, data: bytes, suffix: str) -> str:
        """As `BlobStore.put`; bytes that are there already are compared, and replaced when damaged."""
        digest = blake3_hex(data)
        self._put(digest, suffix, lambda: data, lambda old, place: sound_bytes(old, digest, place))
        return digest

    def get(self, digest: str, suffix: str) -> bytes:
        """As `BlobStore.get`, from `content`. Raises DataError, IntegrityError."""
        return sound_bytes(self._bytes(digest, suffix), digest, self.place(digest, suffix))

    def put_arrays(self, arrays: Mapping[str, NDArray[Any]], suffix: str) -> str:
        """As `BlobStore.put_arrays`, as the bytes of a safetensors file."""
        digest, names = digest_columns(arrays), tuple(arrays)
        self._put(
            digest,
            suffix,
            lambda: array_bytes(arrays),
            lambda old, place: sound_arrays(old, digest, place, names),
        )
        return digest

    def get_arrays(self, digest: str, suffix: str, names: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
        """As `BlobStore.get_arrays`; decodes the blob at each call."""
        return sound_arrays(self._bytes(digest, suffix), digest, self.place(digest, suffix), names)

    def put_named(self, digest: str, suffix: str, encode: Callable[[], bytes], check: Callable[[Path], object]) -> None:
        """As `BlobStore.put_named`; `check` sees a copy in the cache."""
        self._put(digest, suffix, encode, lambda _old, _place: check(self.path(digest, suffix)))

    def adopt(self, file: Path, digest: str, suffix: str, *, check: Callable[[Path], object] | None = None) -> bool:
        """As `BlobStore.adopt`; copies the bytes and removes the file."""
        if self.has(digest, suffix) and not (check is not None and is_damaged(self.path(digest, suffix), check)):
            return False
        self.content[digest, suffix] = files.read_bytes(file)
        files.remove(file)
        return True

    def path(self, digest: str, suffix: str) -> Path:
        """As `BlobStore.path`: a copy in the cache, written anew at each call."""
        data = self._bytes(digest, suffix)
        files.make_folder(self.cache)
        path = self.cache / f"{digest}{suffix}"
        files.write_atomic(path, data)
        return path

    def place(self, digest: str | None = None, suffix: str | None = None) -> str:
        """As `BlobStore.place`: "memory/", the digest and the suffix."""
        if digest is None:
            return "memory"
        return f"memory/{require_digest(digest)}{'.*' if suffix is None else require_suffix(suffix)}"

    def has(self, digest: str, suffix: str) -> bool:
        """Whether `content` has the blob, sound or not."""
        return (require_digest(digest), require_suffix(suffix)) in self.content

    def digests(self, suffix: str) -> tuple[str, ...]:
        """The digests of all blobs of that suffix, sorted."""
        end = require_suffix(suffix)
        return tuple(sorted(digest for digest, other in self.content if other == end))

    def suffixes(self, digest: str) -> tuple[str, ...]:
        """The suffixes of all blobs of that digest, sorted."""
        head = require_digest(digest)
        return tuple(sorted(end for other, end in self.content if other == head))

    def clear_abandoned(self) -> None:
        """Do nothing: a blob in memory is whole or absent."""

    def _put(
        self, digest: str, suffix: str, encode: Callable[[], bytes], check: Callable[[bytes, str], object]
    ) -> None:
        if self.has(digest, suffix):
            with contextlib.suppress(IntegrityError):
                check(self.content[digest, suffix], self.place(digest, suffix))
                return
        self.content[digest, suffix] = encode()

    def _bytes(self, digest: str, suffix: str) -> bytes:
        if not self.has(digest, suffix):
            raise missing(self.place(digest, suffix))
        return self.content[digest, suffix]
