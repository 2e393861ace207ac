"""Files of samples as people have them: what is none is refused in words, and nothing in it is run."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from lockstep.core.errors import DataError
from lockstep.learning.supervised.sample_files import arrays_of


def archive() -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, x=np.arange(2_000.0))
    return out.getvalue()


def plain() -> bytes:
    out = io.BytesIO()
    np.save(out, np.zeros(3))
    return out.getvalue()


def broken_stream() -> bytes:
    data = bytearray(archive())
    data[120:160] = bytes(40)
    return bytes(data)


def encrypted() -> bytes:
    data = bytearray(archive())
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + place] |= 1
    return bytes(data)


def unknown_method() -> bytes:
    data = bytearray(archive())
    for mark, place in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        data[data.index(mark) + place] = 97
    return bytes(data)


def pickled() -> bytes:
    out = io.BytesIO()
    np.savez(out, x=np.array([{"a": 1}], dtype=object))
    return out.getvalue()


def other_zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as target:
        target.writestr("x.npy", "no array")
    return out.getvalue()


@pytest.mark.parametrize(
    "make", [plain, broken_stream, encrypted, unknown_method, pickled, other_zip, bytes], ids=lambda make: make.__name__
)
def test_what_is_no_archive_of_arrays_is_refused(tmp_path: Path, make: object) -> None:
    path = tmp_path / "samples.npz"
    path.write_bytes(make())  # type: ignore[operator]
    with pytest.raises(DataError, match=r"samples.npz: cannot be read as .npz"):
        arrays_of(path.read_bytes(), path)


def test_an_archive_of_arrays_is_read(tmp_path: Path) -> None:
    path = tmp_path / "samples.npz"
    path.write_bytes(archive())
    assert arrays_of(path.read_bytes(), path)["x"].sum() == 1_999_000.0
