"""Store a gradient in its segment: raw, or compressed without loss.

    raw       column `gradient` (1, n): the numbers
    blosc2    column `packed` (bytes,) uint8: the same after bit shuffle and LZ4, each frame alone

The journal holds the digest of the packed bytes, so a changed byte is noticed before anything is unpacked, and the
library's version is part of the run's numerics (`Recording.numerics`). One thread packs: more could cut blocks at
other places. Gradients are mostly noise: only exponents and the zeros of inactive units shrink, a tenth to a third in
all (`bench/gradients.py`). Raw is the default.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lockstep.core.errors import IntegrityError, MissingLibraryError
from lockstep.core.libraries import install_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from lockstep.storage.columns import Columns

CODECS: Final = ("raw", "blosc2")
GRADIENT: Final = "gradient"
PACKED: Final = "packed"
OVERHEAD: Final = 64
"""Bytes by which a packed gradient may exceed the raw one: blosc2's head of 32, and the rounding up to 8."""
_MAX_BUFFER: Final = 2**31 - 1 - 32
_LEVEL: Final = 5


def pack(flat: NDArray[np.generic], codec: str) -> Columns:
    """The columns of one frame that hold a gradient (n,). Raises MissingLibraryError without blosc2."""
    if codec == "raw":
        return {GRADIENT: flat[None]}
    blosc2 = library()
    pieces = [
        blosc2.compress2(
            piece,
            codec=blosc2.Codec.LZ4,
            clevel=_LEVEL,
            filters=[blosc2.Filter.BITSHUFFLE],
            filters_meta=[0],
            typesize=flat.itemsize,
            nthreads=1,
        )
        for piece in _pieces(flat)
    ]
    return {PACKED: np.frombuffer(b"".join(pieces), np.uint8)}


def unpack(columns: Mapping[str, NDArray[Any]], dtype: str) -> NDArray[Any]:
    """The gradient (n,) in columns that `pack` returned. Raises MissingLibraryError, IntegrityError for damage."""
    if GRADIENT in columns:
        gradient: NDArray[Any] = columns[GRADIENT][0]
        return gradient
    blosc2, rest = library(), memoryview(columns[PACKED].tobytes())
    pieces = []
    while len(rest):
        # A chunk's head says how long it is (blosc2's chunk format: bytes 12 to 15).
        length = int.from_bytes(rest[12:16], "little")
        if not 0 < length <= len(rest):
            raise IntegrityError("a packed gradient is cut. Restore the run from a copy.")
        try:
            pieces.append(blosc2.decompress2(bytes(rest[:length]), nthreads=1))
        except (RuntimeError, ValueError, TypeError) as error:
            raise IntegrityError(
                f"a packed gradient cannot be unpacked ({error}). Restore the run from a copy."
            ) from error
        rest = rest[length:]
    return np.frombuffer(b"".join(pieces), dtype)


def library() -> Any:
    """The module blosc2, imported at first use. Raises MissingLibraryError."""
    try:
        return importlib.import_module("blosc2")
    except ImportError as error:
        raise MissingLibraryError(
            f'recording.codec = "blosc2" needs blosc2, which cannot be loaded here ({error}). '
            f'Install it with: {install_line("codecs")}, or use codec = "raw"'
        ) from error


def _pieces(flat: NDArray[np.generic]) -> list[NDArray[np.generic]]:
    """The gradient in slices below 2 GiB, blosc2's limit for one call."""
    size = _MAX_BUFFER // flat.itemsize
    return [flat[start : start + size] for start in range(0, len(flat), size)]
