"""Segments of any numeric columns read back bit for bit, whatever the frames, the parts and the torn end."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from lockstep.core.errors import IntegrityError
from lockstep.core.hashing import digest_columns
from lockstep.storage.segment_format import part_path, segment_parts
from lockstep.storage.segments import SegmentReader, SegmentWriter

Table = list[dict[str, NDArray[Any]]]
DTYPES = ("?", "i1", "<i2", "<i4", "<i8", "u1", "<u4", "<u8", "<f2", "<f4", "<f8", ">f8", ">i4")


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """Frames of one segment: fixed names, dtypes and trailing shapes; rows vary, 0 included."""
    names = draw(st.lists(st.sampled_from(["a", "b", "Spalte drei", "é"]), min_size=1, max_size=3, unique=True))
    kinds = [
        (
            np.dtype(draw(st.sampled_from(DTYPES))),
            draw(hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3)),
        )
        for _ in names
    ]
    frames = []
    for rows in draw(st.lists(st.integers(0, 4), min_size=1, max_size=5)):
        frames.append({name: draw(hnp.arrays(d, (rows, *s))) for name, (d, s) in zip(names, kinds, strict=True)})
    return frames


def write(folder: Path, frames: Table, part_bytes: int = 1 << 20) -> list[str]:
    writer = SegmentWriter(folder, part_bytes=part_bytes)
    digests = [writer.append(step, "table", frame) for step, frame in enumerate(frames)]
    writer.close()
    return digests


def bits(array: NDArray[Any]) -> bytes:
    return array.astype(array.dtype.newbyteorder("<")).tobytes()


@settings(max_examples=80, deadline=None)
@given(tables(), st.sampled_from([1, 200, 1 << 20]))
def test_what_is_appended_reads_back_bit_for_bit(frames: Table, part_bytes: int) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        digests = write(folder, frames, part_bytes)
        reader = SegmentReader(folder)
        joined = reader.read("table")
        assert list(joined) == list(frames[0])
        for column, array in joined.items():
            expected = np.concatenate([frame[column] for frame in frames])
            assert array.shape == expected.shape
            assert bits(array) == bits(expected)
        for step, (frame, digest) in enumerate(zip(reader.frames("table"), digests, strict=True)):
            assert (frame.step, frame.digest) == (step, digest)
            assert digest_columns(frame.columns) == digest
        assert reader.rows("table") == sum(len(next(iter(frame.values()))) for frame in frames)


@settings(max_examples=40, deadline=None)
@given(tables(), st.data())
def test_a_range_of_steps_is_what_concatenating_them_gives(frames: Table, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(frames)))
    stop = data.draw(st.integers(start, len(frames)))
    column = next(iter(frames[0]))
    with TemporaryDirectory() as name:
        write(Path(name), frames, part_bytes=150)
        column_read = SegmentReader(Path(name)).read("table", [column], start, stop)[column]
        expected = [frame[column] for frame in frames[start:stop]]
        assert bits(column_read) == b"".join(bits(array) for array in expected)


@settings(max_examples=12, deadline=None)
@given(tables().filter(lambda frames: len(frames) >= 2))
def test_torn_at_any_byte_whole_frames_remain_and_cutting_them_off_restores_the_file(frames: Table) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        writer = SegmentWriter(folder)
        for step, frame in enumerate(frames[:-1]):
            writer.append(step, "table", frame)
        positions = writer.positions
        writer.append(len(frames) - 1, "table", frames[-1])
        writer.close()
        path = part_path(folder, "table", 0)
        good = path.read_bytes()
        for length in range(positions["table"].length, len(good)):
            path.write_bytes(good[:length])
            assert [frame.step for frame in SegmentReader(folder).frames("table")] == list(range(len(frames) - 1))
            again = SegmentWriter(folder)
            again.continue_from(positions)
            again.append(len(frames) - 1, "table", frames[-1])
            again.close()
            assert path.read_bytes() == good


@settings(max_examples=60, deadline=None)
@given(tables(), st.data())
def test_a_changed_byte_never_reads_as_data(frames: Table, data: st.DataObject) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        digests = write(folder, frames, part_bytes=300)
        part = data.draw(st.sampled_from(segment_parts(folder)["table"]))
        path = part_path(folder, "table", part)
        good = path.read_bytes()
        at = data.draw(st.integers(0, len(good) - 1))
        path.write_bytes(good[:at] + bytes([good[at] ^ data.draw(st.integers(1, 255))]) + good[at + 1 :])
        try:
            digests_read = [frame.digest for frame in SegmentReader(folder).frames("table")]
        except IntegrityError as error:
            assert str(path) in str(error)
        else:
            # Only a head that promises more bytes than there are looks like a torn end; nothing wrong is returned.
            assert digests_read == digests[: len(digests_read)]
            assert len(digests_read) < len(digests)


@settings(max_examples=30, deadline=None)
@given(tables())
def test_parts_do_not_change_what_is_read(frames: Table) -> None:
    with TemporaryDirectory() as one, TemporaryDirectory() as many:
        assert write(Path(one), frames) == write(Path(many), frames, part_bytes=1)
        assert len(segment_parts(Path(many))["table"]) == len(frames)
        a, b = SegmentReader(Path(one)).read("table"), SegmentReader(Path(many)).read("table")
        assert {name: bits(array) for name, array in a.items()} == {name: bits(array) for name, array in b.items()}


def test_frames_are_read_only(tmp_path: Path) -> None:
    write(tmp_path, [{"x": np.arange(3.0)}])
    frame = next(SegmentReader(tmp_path).frames("table"))
    with pytest.raises(ValueError, match="read-only"):
        frame.columns["x"][0] = 1.0
