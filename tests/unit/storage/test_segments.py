"""Segments: their form to the byte, what they refuse, and reading while they grow."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blake3 import blake3

from lockstep.core.errors import DataError, DiskError, IntegrityError
from lockstep.core.hashing import digest_columns
from lockstep.storage.segment_format import part_path, segment_parts
from lockstep.storage.segments import Position, SegmentReader, SegmentWriter
from lockstep.testing.faults import CountingFileSystem, FailAt, faults


def test_a_part_is_a_schema_record_and_frames(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path)
    columns = {"a": np.array([1, 2, 3], dtype=np.int16), "b": np.array([[0.5], [1.5], [2.5]])}
    digest = writer.append(7, "t", columns)
    writer.close()
    schema = b'{"columns":[["a","<i2",[]],["b","<f8",[1]]],"segment":"t"}'
    schema += b" " * (-len(schema) % 8)
    head = struct.pack("<8sQQQ", b"LSSCHEM1", 0, 0, len(schema))
    frame = struct.pack("<3h2x3d", 1, 2, 3, 0.5, 1.5, 2.5)
    frame_head = struct.pack("<8sQQQ", b"LSFRAME1", 7, 3, len(frame))
    assert digest == digest_columns(columns)
    assert part_path(tmp_path, "t", 0).read_bytes() == b"".join(
        [
            head + schema + blake3(head + schema).digest(),
            frame_head + frame + blake3(frame_head + bytes.fromhex(digest)).digest(),
        ]
    )


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"x": np.array(["a"])}, r"found dtype <U1, shape \(1,\)\. Code text as integers"),
        ({"x": np.array([None])}, "found dtype object"),
        ({"x": np.array([1 + 2j])}, "found dtype complex128"),
        ({"x": np.array(1.0)}, r"shape \(\)"),
        ({"x": np.zeros(2), "y": np.zeros(3)}, r"one number of rows in every column; found {'x': 2, 'y': 3}"),
        ({}, "one number of rows in every column; found {}"),
    ],
)
def test_columns_that_cannot_be_kept_are_refused(tmp_path: Path, columns: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        SegmentWriter(tmp_path).append(0, "t", columns)  # type: ignore[arg-type]
    assert segment_parts(tmp_path) == {}


@pytest.mark.parametrize("name", ["", "T", "../t", "a.b", "a/b", "1a", "x" * 65])
def test_a_segment_has_a_plain_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="a segment's name is a lower-case letter"):
        SegmentWriter(tmp_path).append(0, name, {"x": np.zeros(1)})


def test_a_reader_sees_new_frames_without_reading_old_ones_again(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path, part_bytes=300)
    reader = SegmentReader(tmp_path)
    assert reader.read("t") == {}
    assert reader.names() == []
    assert reader.rows("t") == 0
    for step in range(10):
        writer.append(step, "t", {"x": np.full(step, float(step))})
        assert reader.rows("t") == step * (step + 1) // 2
        assert list(reader.read("t", start=step)["x"]) == [float(step)] * step
    assert reader.names() == ["t"]
    assert len(segment_parts(tmp_path)["t"]) > 2
    writer.close()


def test_a_reader_with_a_stop_sees_nothing_from_there_on(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path)
    for step in range(5):
        writer.append(step, "t", {"x": np.array([step])})
    writer.close()
    reader = SegmentReader(tmp_path, stop_step=2)
    assert list(reader.read("t")["x"]) == [0, 1]
    assert list(reader.read("t", stop=4)["x"]) == [0, 1]
    assert list(reader.read("t", stop=1)["x"]) == [0]
    reader.stop_step = 3
    assert list(reader.read("t")["x"]) == [0, 1, 2]


def test_a_column_that_is_not_there_is_a_key_error(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path)
    writer.append(0, "t", {"x": np.zeros(1)})
    writer.close()
    with pytest.raises(KeyError, match="y"):
        SegmentReader(tmp_path).read("t", ["y"])


def test_a_step_may_leave_a_segment_out(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path)
    for step in (0, 3, 9):
        writer.append(step, "t", {"x": np.array([step])})
    writer.close()
    assert [frame.step for frame in SegmentReader(tmp_path).frames("t", 1, 9)] == [3]


def test_continuing_cuts_to_a_position_over_parts(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for folder, stops in ((whole, [6]), (cut, [6, 2])):
        writer = SegmentWriter(folder, part_bytes=200)
        positions: list[dict[str, Position]] = []
        for step in range(stops[0]):
            positions.append(writer.positions)
            writer.append(step, "t", {"x": np.arange(step + 3.0)})
            writer.append(step, "u", {"y": np.arange(2)})
        writer.close()
    again = SegmentWriter(cut, part_bytes=200)
    again.continue_from(positions[2])
    assert again.positions == positions[2]
    for step in range(2, 6):
        again.append(step, "t", {"x": np.arange(step + 3.0)})
        again.append(step, "u", {"y": np.arange(2)})
    again.sync()
    again.close()
    assert {p.name: p.read_bytes() for p in cut.iterdir()} == {p.name: p.read_bytes() for p in whole.iterdir()}
    SegmentWriter(cut).continue_from({})
    assert list(cut.iterdir()) == []


def test_a_segment_shorter_than_its_checkpoint_is_damage(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path)
    writer.append(0, "t", {"x": np.zeros(4)})
    writer.close()
    path = part_path(tmp_path, "t", 0)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(
        IntegrityError, match=r"t\.000000\.seg: a checkpoint was written when it had \d+ bytes, now it has"
    ):
        SegmentWriter(tmp_path).continue_from(writer.positions)


@pytest.mark.parametrize("rows", [8, 1 << 18], ids=["a small frame", "a frame of 2 MiB"])
def test_a_failed_append_leaves_no_torn_frame_where_the_disk_allows(tmp_path: Path, rows: int) -> None:
    first = SegmentWriter(tmp_path)
    first.append(0, "t", {"x": np.zeros(1)})
    first.close()
    path = part_path(tmp_path, "t", 0)
    good = path.read_bytes()
    for n in range(2, 5):
        writer = SegmentWriter(tmp_path)
        writer.continue_from(first.positions)
        with faults(FailAt(n, 28)) as disk:
            if n > 2 and rows == 8:
                writer.append(1, "t", {"x": np.zeros(rows)})
                assert not disk.struck, "a small frame is one call to open the part and one to write"
            else:
                with pytest.raises(DiskError, match=r"cannot append to .*t\.000000\.seg: No space left on device"):
                    writer.append(1, "t", {"x": np.zeros(rows)})
                assert path.read_bytes() == good
        writer.close()


def test_a_large_buffer_is_written_without_copying_it(tmp_path: Path) -> None:
    """One flat float32 gradient of 8 MiB: head, payload, seal; no padding."""
    writer = SegmentWriter(tmp_path)
    with faults(CountingFileSystem()) as disk:
        writer.append(0, "gradients", {"flat": np.ones((1, 2 << 20), dtype=np.float32)})
        before = disk.calls
        writer.append(1, "gradients", {"flat": np.ones((1, 2 << 20), dtype=np.float32)})
        assert disk.calls - before == 3
    writer.close()
    assert part_path(tmp_path, "gradients", 0).stat().st_size == pytest.approx(2 * (8 << 20), rel=1e-4)


def test_a_missing_part_in_the_middle_is_damage_or_an_end_but_never_skipped(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path, part_bytes=1)
    for step in range(4):
        writer.append(step, "t", {"x": np.array([step])})
    writer.close()
    part_path(tmp_path, "t", 1).unlink()
    assert list(SegmentReader(tmp_path).read("t")["x"]) == [0]
    part_path(tmp_path, "t", 2).rename(part_path(tmp_path, "t", 1))
    with pytest.raises(IntegrityError, match="this is part 2 of segment 't', found in another's place"):
        SegmentReader(tmp_path).read("t")


def test_a_step_changed_in_the_last_frame_of_a_file_is_told_of_that_file(tmp_path: Path) -> None:
    """The index looks at heads only, and the next file's first step is what does not follow."""
    folder = tmp_path / "segments"
    folder.mkdir()
    writer = SegmentWriter(folder, part_bytes=300)
    for step, rows in enumerate((1, 3, 0, 0)):
        writer.append(step, "trials", {"a": np.zeros(rows, np.int64)})
    writer.close()
    first = folder / "trials.000000.seg"
    data = bytearray(first.read_bytes())
    at = data.rindex(b"LSFRAME1") + 8  # the step number of the last frame
    data[at] ^= 0x80
    first.write_bytes(data)
    with pytest.raises(IntegrityError, match=first.name):
        SegmentReader(folder).read("trials")


@pytest.mark.parametrize(
    ("place", "what"), [(8, "does not match"), (32, "does not match"), (35, "padding"), (-1, "match")]
)
def test_a_damaged_frame_among_many_is_named_by_its_place(tmp_path: Path, place: int, what: str) -> None:
    """Frames of one length are verified together; the message is about the one that is damaged."""
    writer = SegmentWriter(tmp_path)
    for step in range(300):
        writer.append(2 * step, "trials", {"a": np.array([step % 7], np.int8), "b": np.array([0.5 * step])})
    writer.close()
    path, size = part_path(tmp_path, "trials", 0), 32 + 16 + 32
    sound = path.read_bytes()
    start = len(sound) - 300 * size
    reader = SegmentReader(tmp_path)
    assert reader.rows("trials") == 300  # the index is made before the damage
    data = bytearray(sound)
    frame = start + 123 * size
    data[frame + place + (size if place < 0 else 0)] ^= 1
    path.write_bytes(data)
    for read in (reader.read, lambda name: list(reader.frames(name))):
        with pytest.raises(IntegrityError, match=f"{what}.* at byte {frame}"):
            read("trials")
    path.write_bytes(sound)
    columns = reader.read("trials")
    assert np.array_equal(columns["b"], 0.5 * np.arange(300))
    assert columns["a"].dtype == np.int8
    part = reader.read("trials", ["b"], start=10, stop=400)
    assert np.array_equal(part["b"], columns["b"][5:200])


def test_the_newest_frame_is_one_frame(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path)
    for step in (0, 3, 9):
        writer.append(step, "t", {"x": np.array([step, -step])})
    writer.close()
    reader = SegmentReader(tmp_path)
    assert [reader.latest("t", step)["x"].tolist() for step in (0, 2, 3, 100)] == [[0, 0], [0, 0], [3, -3], [9, -9]]
    assert reader.latest("u", 5) == {}


def test_frames_before_a_cut_are_read_and_the_cut_one_is_named(tmp_path: Path) -> None:
    """The file is cut after its index was made, in the middle of a frame."""
    writer = SegmentWriter(tmp_path)
    for step in range(50):
        writer.append(step, "t", {"x": np.array([step])})
    writer.close()
    reader, path = SegmentReader(tmp_path), part_path(tmp_path, "t", 0)
    assert reader.rows("t") == 50
    data, size = path.read_bytes(), 32 + 8 + 32
    start = len(data) - 50 * size
    path.write_bytes(data[: start + 24 * size + 10])
    frames = reader.frames("t")
    assert [next(frames).step for _ in range(24)] == list(range(24))
    with pytest.raises(IntegrityError, match=f"the frame is cut at byte {start + 24 * size}"):
        next(frames)


def test_a_part_that_grew_before_the_next_began_is_read_to_its_end(tmp_path: Path) -> None:
    """The writer goes on between two looks of a reader: at the size of a part, and for the next part."""
    writer = SegmentWriter(tmp_path, part_bytes=2_000)
    step = iter(range(45))

    def append(count: int) -> None:
        for _ in range(count):
            number = next(step)
            writer.append(number, "t", {"x": np.array([number])})

    append(5)

    class Slow(SegmentReader):
        waiting = 40

        def _scan_part(self, *arguments: Any) -> int:
            offset = super()._scan_part(*arguments)
            append(self.waiting)
            self.waiting = 0
            return offset

    reader = Slow(tmp_path)
    assert reader.rows("t") == 45
    assert reader.read("t")["x"].tolist() == list(range(45))
    assert len(segment_parts(tmp_path)["t"]) > 1
    writer.close()
