"""Arrays in a .npz or .safetensors file, as people send them. No torch, and nothing in a file can run code."""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lockstep.core.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DAMAGE: Final = (
    *(ValueError, OSError, EOFError, KeyError, MemoryError),
    *(zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError),
)
"""What NumPy and `zipfile` raise for bytes that are no archive, a cut one, encrypted, or packed by another method."""


def arrays_of(data: bytes, path: Path) -> dict[str, NDArray[Any]]:
    """The arrays in the bytes of `path` by name. Raises DataError for another suffix, and where it cannot be read."""
    # Here: a command that reads no samples starts without it.
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        if path.suffix == ".safetensors":
            return dict(load(data))
        if path.suffix == ".npz":
            return _of_archive(data)
    except (SafetensorError, *_DAMAGE) as error:
        raise DataError(f"{path}: cannot be read as {path.suffix} ({error}). Write the file anew.") from error
    raise DataError(f"{path}: a file of samples is .npz or .safetensors; found {path.suffix or 'no suffix'}")


def _of_archive(data: bytes) -> dict[str, NDArray[Any]]:
    if not data.startswith(b"PK"):
        raise ValueError("it is no ZIP archive, as numpy.savez writes")
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):  # NumPy gives the bytes of a member that is none
            raise ValueError(f"{name} is no array")
    return arrays
