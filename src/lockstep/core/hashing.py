"""BLAKE3 digests of bytes, arrays, columns and files.

Columns are hashed, never files: the bytes of a Parquet or Arrow file change with the version of its
writer, the values do not. A digest is 64 lower-case hex digits.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from lockstep.core.errors import DiskError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_READ_BYTES = 1 << 20
_JOINED_BYTES = 1 << 16
"""Arrays up to this size are hashed together: a call of the hasher takes longer than copying them."""


def blake3_hex(data: bytes | bytearray | memoryview) -> str:
    """The BLAKE3 digest of `data`, 64 hex digits."""
    return str(blake3(data).hexdigest())


def _little_endian(array: NDArray[Any]) -> NDArray[Any]:
    dtype = array.dtype
    if dtype.hasobject:
        raise TypeError(f"only numeric arrays have a digest, found dtype {dtype}: code text as integers first")
    # One-byte types have "|" here: no order, so nothing to swap.
    if array.flags.c_contiguous and dtype.str[0] != ">":
        return array
    import numpy as np

    return np.ascontiguousarray(array, dtype=dtype.newbyteorder("<"))


@lru_cache(maxsize=4096)
def column_head(name: str, dtype: str, shape: tuple[int, ...]) -> bytes:
    """What `digest_columns` hashes before the bytes of a column: name, dtype (little-endian, as NumPy codes it) and
    shape with their lengths, so that no two different inputs share their bytes."""
    head = f"{len(name)}:{name}|{dtype}|{','.join(map(str, shape))}|".encode()
    return len(head).to_bytes(8, "little") + head


def _feed(hasher: blake3, columns: Mapping[str, NDArray[Any]]) -> None:
    # Once per frame and per state of each training step: a dozen small arrays cost more in calls than in the hash.
    pieces: list[Any] = []
    for name, array in columns.items():
        plain = _little_endian(array)
        pieces.append(column_head(name, plain.dtype.str, array.shape))
        if plain.nbytes <= _JOINED_BYTES:
            # Times have no buffer of their own.
            pieces.append(plain if plain.dtype.kind not in "mM" else plain.tobytes())
            continue
        hasher.update(b"".join(pieces))
        hasher.update(plain.reshape(-1).view("u1").data)
        pieces.clear()
    hasher.update(b"".join(pieces))


def digest_array(array: NDArray[Any]) -> str:
    """Digest of dtype, shape and little-endian values of `array` (any shape)."""
    hasher = blake3()
    _feed(hasher, {"": array})
    return str(hasher.hexdigest())


def digest_columns(columns: Mapping[str, NDArray[Any]]) -> str:
    """Digest of named arrays, in the order given; names, dtypes and shapes are part of it."""
    hasher = blake3()
    _feed(hasher, columns)
    return str(hasher.hexdigest())


def digest_file(path: Path) -> str:
    """Digest of a file's bytes, read in pieces. Raises DiskError when it cannot be read."""
    hasher = blake3()
    try:
        with path.open("rb") as handle:
            while piece := handle.read(_READ_BYTES):
                hasher.update(piece)
    except OSError as error:
        raise DiskError(f"{path}: cannot be read ({error.strerror}). Check the path and its permissions.") from error
    return str(hasher.hexdigest())
