"""Content-addressed bytes: data that runs share, each blob named by a digest of what it holds.

A blob has a digest of 64 hexadecimal digits and a suffix, such as `.arrow`, that says what it holds. There are three
ways to take the digest, and all blobs of one suffix take it the same way:

    put          BLAKE3 of the bytes
    put_arrays   `core.hashing.digest_columns` of arrays, which are stored as safetensors
    put_named    a digest that the writer takes of its own content, and that only the writer can check

Callers know a blob by digest and suffix alone. They never build the path of one, so a store may lie in a folder, on a
shared disk or in another machine's memory. `FolderBlobStore` keeps one file each, `<digest><suffix>`.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import numpy as np

from lockstep.core import files
from lockstep.core.errors import DataError, IntegrityError
from lockstep.core.hashing import blake3_hex, digest_columns

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_SUFFIX: Final = re.compile(r"\.[A-Za-z0-9._-]{1,54}")


@dataclass(frozen=True, kw_only=True)
class StoreAddress:
    """How another process opens the same store: its class as "module:Class", and the arguments, which are JSON."""

    path: str
    arguments: tuple[str, ...] = ()


class BlobStore(Protocol):
    """Keeps blobs. `lockstep.testing.contracts.blob_store` checks the promises below on every adapter.

    A sound blob is never written again, since runs rely on it; a damaged one is replaced by sound bytes. After a crash
    a blob is whole or absent. A store can be pickled: tasks take it along to worker processes.

    Every method that reads raises DataError for a blob that is not there and for a digest that is none, IntegrityError
    for one that is damaged; every method may raise DiskError.
    """

    @property
    def address(self) -> StoreAddress:
        """How another process opens this store."""
        ...

    def put(self, data: bytes, suffix: str) -> str:
        """Store bytes under their BLAKE3 digest; returns that."""
        ...

    def get(self, digest: str, suffix: str) -> bytes:
        """The bytes that `put` stored, compared with their digest."""
        ...

    def put_arrays(self, arrays: Mapping[str, NDArray[Any]], suffix: str) -> str:
        """Store named arrays under the digest of names, types, shapes and values; returns that."""
        ...

    def get_arrays(self, digest: str, suffix: str, names: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
        """The arrays that `put_arrays` stored, compared with their digest.

        names   of all arrays in the order in which they were stored, which the digest depends on but a file forgets;
                sorted names where None
        """
        ...

    def put_named(self, digest: str, suffix: str, encode: Callable[[], bytes], check: Callable[[Path], object]) -> None:
        """Store what `encode` returns under a digest that the writer took of its content.

        check   looks at a local file of the blob that is there already. When it raises IntegrityError, the blob is
                replaced; what else it raises goes to the caller
        """
        ...

    def adopt(self, file: Path, digest: str, suffix: str, *, check: Callable[[Path], object] | None = None) -> bool:
        """Take a whole file over, whose bytes were checked; False, and the file stays, where a blob is there already.

        The file lies on the disk of the store's home and is gone from its place afterwards.

        check   looks at a local file of the blob that is there already. When it raises IntegrityError, the blob is
                replaced by the file; None leaves whatever is there
        """
        ...

    def path(self, digest: str, suffix: str) -> Path:
        """A local file with the blob's bytes, to be mapped into memory and never written to. Checks no byte."""
        ...

    def place(self, digest: str | None = None, suffix: str | None = None) -> str:
        """Where a blob lies or would lie, for messages; without a suffix any of that digest, without both the store."""
        ...

    def has(self, digest: str, suffix: str) -> bool:
        """Whether there is such a blob, sound or not."""
        ...

    def digests(self, suffix: str) -> tuple[str, ...]:
        """The digests of all blobs of that suffix, sorted."""
        ...

    def suffixes(self, digest: str) -> tuple[str, ...]:
        """The suffixes of all blobs of that digest, sorted."""
        ...

    def clear_abandoned(self) -> None:
        """Remove half-written blobs of processes that have ended."""
        ...


@dataclass(frozen=True)
class FolderBlobStore:
    """Blobs as the files `<digest><suffix>` of a folder, which is made at the first write."""

    folder: Path

    @property
    def address(self) -> StoreAddress:
        """The class and the absolute path of the folder: another process may have another working directory."""
        return StoreAddress(path=f"{__name__}:FolderBlobStore", arguments=(str(self.folder.absolute()),))

    @classmethod
    def at(cls, folder: str) -> FolderBlobStore:
        """The store that an address names."""
        return cls(Path(folder))

    def put(self, data: bytes, suffix: str) -> str:
        """As `BlobStore.put`; a file that is there already is compared with its digest, and replaced when damaged."""
        digest = blake3_hex(data)
        self.put_named(
            digest, suffix, lambda: data, lambda path: sound_bytes(files.read_bytes(path), digest, str(path))
        )
        return digest

    def get(self, digest: str, suffix: str) -> bytes:
        """As `BlobStore.get`; reads the whole file into memory."""
        path = self.path(digest, suffix)
        return sound_bytes(files.read_bytes(path), digest, str(path))

    def put_arrays(self, arrays: Mapping[str, NDArray[Any]], suffix: str) -> str:
        """As `BlobStore.put_arrays`, in one safetensors file."""
        digest = digest_columns(arrays)
        names = tuple(arrays)
        self.put_named(
            digest,
            suffix,
            lambda: array_bytes(arrays),
            lambda path: sound_arrays(files.read_bytes(path), digest, str(path), names),
        )
        return digest

    def get_arrays(self, digest: str, suffix: str, names: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
        """As `BlobStore.get_arrays`; reads the whole file into memory."""
        path = self.path(digest, suffix)
        return sound_arrays(files.read_bytes(path), digest, str(path), names)

    def put_named(self, digest: str, suffix: str, encode: Callable[[], bytes], check: Callable[[Path], object]) -> None:
        """As `BlobStore.put_named`; the file appears whole, by a rename."""
        path = self._file(digest, suffix)
        if path.exists():
            # Damage is not the caller's problem here: sound bytes are at hand, and replace it.
            with contextlib.suppress(IntegrityError):
                check(path)
                return
        files.make_folder(self.folder)
        files.write_atomic(path, encode())

    def adopt(self, file: Path, digest: str, suffix: str, *, check: Callable[[Path], object] | None = None) -> bool:
        """As `BlobStore.adopt`; one rename, so no byte is copied."""
        path = self._file(digest, suffix)
        if path.exists() and not (check is not None and is_damaged(path, check)):
            return False
        files.make_folder(self.folder)
        try:
            files.fs.rename(file, path)
            files.fs.fsync_folder(self.folder)
        except OSError as error:
            raise files.disk_error("put data at", path, error) from error
        return True

    def path(self, digest: str, suffix: str) -> Path:
        """As `BlobStore.path`: the file itself, not a copy."""
        path = self._file(digest, suffix)
        if not path.exists():
            raise missing(str(path))
        return path

    def place(self, digest: str | None = None, suffix: str | None = None) -> str:
        """As `BlobStore.place`: the path of the file, or of the folder."""
        if digest is None:
            return str(self.folder)
        return f"{self.folder / require_digest(digest)}.*" if suffix is None else str(self._path(digest, suffix))

    def has(self, digest: str, suffix: str) -> bool:
        """Whether the file exists; its bytes are not read."""
        return self._path(digest, suffix).exists()

    def digests(self, suffix: str) -> tuple[str, ...]:
        """The digests of all files of that suffix, sorted; files of other names are ignored."""
        end = require_suffix(suffix)
        stems = (name.removesuffix(end) for name in self._names() if name.endswith(end))
        return tuple(sorted(stem for stem in stems if _DIGEST.fullmatch(stem)))

    def suffixes(self, digest: str) -> tuple[str, ...]:
        """The suffixes of all files of that digest, sorted; files of other names are ignored."""
        head = require_digest(digest)
        ends = (name.removeprefix(head) for name in self._names() if name.startswith(head))
        return tuple(sorted(end for end in ends if _SUFFIX.fullmatch(end)))

    def clear_abandoned(self) -> None:
        """Remove temporary files of processes that have ended; other processes may be writing to the folder now."""
        files.remove_abandoned(self.folder)

    def _path(self, digest: str, suffix: str) -> Path:
        return self.folder / f"{require_digest(digest)}{require_suffix(suffix)}"

    def _file(self, digest: str, suffix: str) -> Path:
        """The path of a blob. Raises IntegrityError for a folder in its place, which no write could replace."""
        path = self._path(digest, suffix)
        if path.is_dir():
            raise IntegrityError(
                f"{path}: this has to be a file of data; found a folder. Move it away, then import "
                "the data again, or train again from the file that they came from."
            )
        return path

    def _names(self) -> list[str]:
        try:
            return [path.name for path in self.folder.iterdir() if path.is_file()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise files.disk_error("list", self.folder, error) from error


def open_store(address: StoreAddress) -> BlobStore:
    """The store of an address, in another process than the one that wrote the address."""
    module, _, name = address.path.partition(":")
    return cast("BlobStore", getattr(import_module(module), name).at(*address.arguments))


def is_damaged(path: Path, check: Callable[[Path], object]) -> bool:
    """Whether `check` raises IntegrityError for the file of a blob."""
    try:
        check(path)
    except IntegrityError:
        return True
    return False


def require_digest(digest: str) -> str:
    """The digest itself. Raises DataError for what is none: it becomes part of a path."""
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise DataError(f"a digest is 64 hexadecimal digits; found {digest!r}.")
    return digest


def require_suffix(suffix: str) -> str:
    """The suffix itself. Raises ValueError for what is none: it becomes part of a path."""
    if not _SUFFIX.fullmatch(suffix):
        raise ValueError(f"a suffix is a dot and 1 to 54 letters, digits, '.', '_' or '-'; found {suffix!r}")
    return suffix


def missing(place: str) -> DataError:
    """The one error for a blob that is missing at `place`."""
    return DataError(
        f"{place}: there is no such snapshot. Import it (lockstep runs import FILE for the data of a run, "
        "lockstep data import FILE for candles), or copy the file there."
    )


def damaged(place: str, problem: str) -> IntegrityError:
    """The one error for a blob at `place` whose bytes are not the bytes stored."""
    return IntegrityError(
        f"{place}: {problem}. It is not used; restore it from a copy, or remove this file and import the data again "
        "(lockstep runs import FILE brings back what an exported run lacks)."
    )


def sound_bytes(data: bytes, digest: str, place: str) -> bytes:
    """The bytes themselves. Raises IntegrityError when `digest` is not their BLAKE3 digest."""
    if blake3_hex(data) != digest:
        raise damaged(place, "not the bytes its name says")
    return data


def sound_arrays(data: bytes, digest: str, place: str, names: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
    """The arrays of a safetensors file, in the order of `names`. Raises IntegrityError when `digest` is not theirs."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        loaded = load(data)
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise damaged(place, f"no file of arrays ({error})") from error
    order = sorted(loaded) if names is None else names
    if sorted(order) != sorted(loaded):
        raise damaged(place, f"holds the arrays {', '.join(sorted(loaded))} and not {', '.join(sorted(order))}")
    arrays = {name: loaded[name] for name in order}
    actual = digest_columns(arrays)
    if actual != digest:
        raise damaged(place, f"its arrays have digest {actual}, not the file's name")
    return arrays


def array_bytes(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Arrays as the bytes of a safetensors file."""
    from safetensors.numpy import save

    # C order: safetensors writes the memory as it lies. `ascontiguousarray` would make a number an array of one.
    data: bytes = save({name: np.asarray(array, order="C") for name, array in arrays.items()})
    return data
