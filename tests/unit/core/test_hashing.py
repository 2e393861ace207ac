"""Digests: equal for equal columns, different for everything else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from blake3 import blake3

from lockstep.core.errors import DiskError
from lockstep.core.hashing import blake3_hex, digest_array, digest_columns, digest_file

# The empty input's digest in the BLAKE3 specification's test vectors.
EMPTY = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"


def test_the_digest_of_nothing_is_the_published_one() -> None:
    assert blake3_hex(b"") == EMPTY


def test_memory_layout_and_byte_order_do_not_change_a_digest() -> None:
    array = np.arange(12.0).reshape(3, 4)
    same = [np.asfortranarray(array), array.astype(">f8"), np.arange(24.0).reshape(3, 8)[:, ::2] / 2]
    assert {digest_array(array)} == {digest_array(item) for item in same}


@pytest.mark.parametrize(
    "other",
    [
        {"a": np.array([1.0, 2.0]), "b": np.array([3.0, 4.0])},
        {"a": np.array([1.0, 2.0], np.float32), "b": np.array([3.0])},
        {"a": np.array([[1.0], [2.0]]), "b": np.array([3.0])},
        {"b": np.array([3.0]), "a": np.array([1.0, 2.0])},
        {"a": np.array([1.0]), "b": np.array([2.0, 3.0])},
        {"ab": np.array([1.0, 2.0]), "": np.array([3.0])},
        {"a": np.array([1.0, 2.0])},
    ],
)
def test_values_types_shapes_names_and_their_order_all_count(other: dict[str, np.ndarray]) -> None:
    assert digest_columns({"a": np.array([1.0, 2.0]), "b": np.array([3.0])}) != digest_columns(other)


def test_text_columns_are_refused() -> None:
    with pytest.raises(TypeError, match="only numeric arrays have a digest, found dtype object"):
        digest_array(np.array(["a"], dtype=object))


def test_a_files_digest_is_that_of_its_bytes(tmp_path: Path) -> None:
    data = bytes(range(256)) * 10_000  # more than one read
    (tmp_path / "x").write_bytes(data)
    assert digest_file(tmp_path / "x") == blake3_hex(data)
    with pytest.raises(DiskError, match="cannot be read"):
        digest_file(tmp_path / "y")


def test_columns_have_one_digest_whether_they_are_hashed_together_or_one_by_one() -> None:
    """Small columns are joined, large ones are not: the digest is that of heads and bytes, one after the other."""
    columns = {
        "one": np.array([1.5]),
        "large": np.arange(20_000.0),
        "none": np.empty((0, 3), np.float32),
        "turned": np.arange(6, dtype=">i4").reshape(2, 3).T,
        "time": np.array(["2024-01-01"], "M8[s]"),
        "point": np.array(7, np.int8),
    }
    plain = blake3()
    for name, array in columns.items():
        little = np.array(array, array.dtype.newbyteorder("<"), order="C")
        head = f"{len(name)}:{name}|{little.dtype.str}|{','.join(map(str, array.shape))}|".encode()
        plain.update(len(head).to_bytes(8, "little") + head + little.tobytes())
    assert digest_columns(columns) == plain.hexdigest()
