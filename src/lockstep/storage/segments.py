"""Write segments step by step, and read them back verified. `storage.segment_format` describes the bytes."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple

import numpy as np

from lockstep.core import files
from lockstep.core.errors import DataError, DiskError, IntegrityError
from lockstep.storage.appending import append_whole
from lockstep.storage.segment_format import (
    FRAME_TAG,
    HEAD,
    MAX_PART,
    SEAL_BYTES,
    Frame,
    FrameForm,
    Schema,
    checked_columns,
    damaged,
    decode_frame,
    frame_seal,
    has_schema,
    joined_columns,
    leading_steps,
    open_part,
    padded,
    part_path,
    read_record,
    read_schema,
    record_length,
    record_of,
    schema_record,
    segment_parts,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.storage.columns import Columns

PART_BYTES: Final = 256 << 20
_SMALL_FRAME: Final = 1 << 16
"""A larger frame is neither joined nor held back: copying it takes longer than a system call."""
_HELD_BYTES: Final = 1 << 20
"""Most bytes that are held back in all."""
_FRAMES_AHEAD: Final = 8
"""Heads that are first looked at together behind a small frame, in case its length is theirs."""
_BLOCK_BYTES: Final = 1 << 18
"""Frames that lie one behind the other are read together up to this size."""


@dataclass(frozen=True, order=True)
class Position:
    """Where a segment ends: part number, bytes in that part, frames and rows in all parts."""

    part: int
    length: int
    frames: int
    rows: int

    def to_json(self) -> list[int]:
        """[part, length, frames, rows], as a checkpoint stores a position."""
        return [self.part, self.length, self.frames, self.rows]

    @classmethod
    def from_json(cls, value: Sequence[int]) -> Position:
        """The position that `to_json` wrote. Raises ValueError unless its four numbers can be a position."""
        # They come from a file that anybody may have written: a part of 10**9 would be looked for a billion times.
        if not isinstance(value, list | tuple) or len(value) != 4 or any(type(number) is not int for number in value):
            raise ValueError(f"a position is four whole numbers; found {value!r:.80}")
        part, length, frames, rows = value
        if not 0 <= part <= MAX_PART or not all(0 <= number < 1 << 62 for number in (length, frames, rows)):
            raise ValueError(f"a position has a part up to {MAX_PART}, and no number below 0; found {value!r:.80}")
        return cls(part, length, frames, rows)


START: Final = Position(part=0, length=0, frames=0, rows=0)


class SegmentWriter:
    """Appends frames to all segments of a run. One writer at a time; the run's lock sees to that.

    holds   small frames stay in memory, at most 1 MiB of them, until `hand_over`, so that many frames are one system
            call; else each is handed to the operating system at once
    """

    def __init__(self, folder: Path, *, part_bytes: int = PART_BYTES, holds: bool = False) -> None:
        self._folder = folder
        self._part_bytes = part_bytes
        self._holds = holds
        self._held: dict[str, list[bytes]] = {}
        self._held_bytes = 0
        self._broken = False
        self._open: dict[str, files.AppendFile] = {}
        self._forms: dict[str, FrameForm] = {}
        self._positions: dict[str, Position] = {}
        self._unsynced: list[files.AppendFile] = []

    @property
    def positions(self) -> dict[str, Position]:
        """Where each segment ends now, frames that are held back included."""
        return dict(self._positions)

    def continue_from(self, positions: Mapping[str, Position]) -> None:
        """Cut every segment to a checkpoint's positions and go on from there. Raises DiskError, IntegrityError."""
        for name, parts in segment_parts(self._folder).items():
            end = positions.get(name)
            # Backwards, so that a crash in between leaves a shorter segment, never one with a hole.
            for part in reversed(parts):
                path = part_path(self._folder, name, part)
                if end is None or part > end.part:
                    files.remove(path)
                elif part == end.part and path.stat().st_size > end.length:
                    files.truncate(path, end.length)
        for name, end in positions.items():
            path = part_path(self._folder, name, end.part)
            length = path.stat().st_size if path.exists() else 0
            if length != end.length:
                raise IntegrityError(
                    f"{path}: a checkpoint was written when it had {end.length} bytes, now it has {length}. "
                    "Restore it from a copy, or train again."
                )
            with path.open("rb") as handle:
                self._forms[name] = FrameForm(name, read_schema(handle, path, name, end.part))
            self._positions[name] = end

    def append(self, step: int, name: str, columns: Columns) -> str:
        """Append one step's columns; returns their digest for the journal. Raises DataError, DiskError.

        Each column: numeric array (rows, ...), equal number of rows. The bytes are handed to the operating system, or
        copied and held back until `hand_over`.
        """
        form = self._forms.get(name)
        arrays = None if form is None else form.fitting(columns)
        if form is None or arrays is None:
            form, arrays = self._new_form(name, columns)
        rows = arrays[0].shape[0]
        digest = form.digest(arrays, rows)
        body_length = form.schema.body_length(rows)
        head = HEAD.pack(FRAME_TAG, step, rows, body_length)
        seal = frame_seal(head, digest)
        handle, before = self._part(name, form.schema)
        length = HEAD.size + body_length + SEAL_BYTES
        if self._holds and body_length <= _SMALL_FRAME:
            self._held.setdefault(name, []).append(b"".join(_pieces(head, arrays, seal, body_length)))
            self._held_bytes += length
            if self._held_bytes > _HELD_BYTES:
                self.hand_over()
        else:
            self._write_held(name)
            append_whole(handle, _pieces(head, arrays, seal, body_length))
        self._positions[name] = Position(before.part, before.length + length, before.frames + 1, before.rows + rows)
        return digest

    def hand_over(self) -> None:
        """Hand the frames that are held back to the operating system. Raises DiskError, also after an earlier one."""
        if self._broken:
            # Frames are missing that a journal line, held back as well, would promise.
            raise DiskError(f"{self._folder}: an earlier write failed, so nothing more is written. Resume the run.")
        for name in list(self._held):
            self._write_held(name)
        self._held_bytes = 0

    def _write_held(self, name: str) -> None:
        """Write what is held back of one segment."""
        if name in self._held:
            # Before they leave the list: whatever interrupts this, no line is written that promises them.
            self._broken = True
            frames = self._held.pop(name)
            append_whole(self._open[name], [b"".join(frames)])
            self._broken = False

    def sync(self) -> None:
        """Force every frame appended so far to the device. Raises DiskError."""
        self.hand_over()
        for handle in (*self._unsynced, *self._open.values()):
            handle.sync()
        self.close_finished()

    def close_finished(self) -> None:
        """Close parts that were rolled over."""
        while self._unsynced:
            self._unsynced.pop().close()

    def close(self) -> None:
        """Close all files. What was appended stays appended; what is held back is lost without `hand_over`."""
        self.close_finished()
        for handle in self._open.values():
            handle.close()
        self._open.clear()

    def _new_form(self, name: str, columns: Columns) -> tuple[FrameForm, list[NDArray[Any]]]:
        """The form of a segment's first frame, or the stored one where the columns only have to be converted."""
        arrays = checked_columns(name, columns)
        schema, stored = Schema.of(arrays), self._forms.get(name)
        if stored is None:
            stored = self._forms[name] = FrameForm(name, schema)
        if stored.schema != schema:
            raise DataError(
                f"segment {name!r}: columns, dtypes and trailing shapes are fixed by its first frame as "
                f"{stored.schema.columns}; found {schema.columns}. Put other columns into a segment of their own."
            )
        return stored, list(arrays.values())

    def _part(self, name: str, schema: Schema) -> tuple[files.AppendFile, Position]:
        """The open part to append to, its schema record written, and the position before the frame."""
        position = self._positions.get(name, START)
        handle = self._open.get(name)
        # Only lengths decide where a part ends, so that an interrupted run has the same parts as another.
        if position.length >= self._part_bytes:
            self._write_held(name)
            if handle is not None:
                self._unsynced.append(handle)
            handle, position = None, Position(position.part + 1, 0, position.frames, position.rows)
        if handle is None:
            files.make_folder(self._folder)
            handle = self._open[name] = files.AppendFile(part_path(self._folder, name, position.part))
        # Every part has the schema, so that a part can be read without the ones before it.
        if handle.length == 0:
            append_whole(handle, [schema_record(schema, name, position.part)])
            position = Position(position.part, handle.length, position.frames, position.rows)
        return handle, position


def _pieces(head: bytes, arrays: Sequence[NDArray[Any]], seal: bytes, body_length: int) -> Iterator[bytes | memoryview]:
    """The bytes of a frame: one piece when it is small, so that it is one system call; else without copying."""
    if body_length <= _SMALL_FRAME:
        pieces: list[Any] = [head]
        for array in arrays:
            pieces.append(array)
            if rest := array.nbytes % 8:
                pieces.append(bytes(8 - rest))
        pieces.append(seal)
        yield b"".join(pieces)
        return
    yield head
    for array in arrays:
        if array.nbytes:
            yield array.reshape(-1).view("u1").data
        if padding := padded(array.nbytes) - array.nbytes:
            yield bytes(padding)
    yield seal


class _Block(NamedTuple):
    """`entries`, frames of `size` bytes each that lie one behind the other in `path`, and all their bytes."""

    path: Path
    data: memoryview
    size: int
    entries: Sequence[_FramePlace]


class _FramePlace(NamedTuple):
    """Where one frame lies, for the reader's index."""

    step: int
    rows: int
    part: int
    offset: int


class SegmentReader:
    """Reads segments back, verified frame by frame, also while the run goes on.

    Each call finds frames that were appended since the last one, without reading old ones again. A torn tail (a frame
    that is not yet whole) does not count.

    stop_step   frames of this step and later are invisible, so that a training computed again from the middle of a
                finished run sees the record as it was then; None for all
    before      is called ahead of each look at the files: the `hand_over` of a writer that holds frames back
    """

    def __init__(self, folder: Path, *, stop_step: int | None = None, before: Callable[[], None] | None = None) -> None:
        self._folder = folder
        self._before = before
        self.stop_step = stop_step
        self._index: dict[str, list[_FramePlace]] = {}
        self._next: dict[str, tuple[int, int]] = {}
        self._schemas: dict[str, Schema] = {}

    def names(self) -> list[str]:
        """Names of the segments that have a frame, sorted."""
        if self._before is not None:
            self._before()  # a segment whose first frame is held back has no frame on disk
        return [name for name in sorted(segment_parts(self._folder)) if self._visible(name, None, None)]

    def rows(self, name: str) -> int:
        """Rows so far; 0 for a segment that does not exist."""
        return sum(entry.rows for entry in self._visible(name, None, None))

    def frames(self, name: str, start: int | None = None, stop: int | None = None) -> Iterator[Frame]:
        """Frames of the steps in [start, stop), in order. Raises IntegrityError, DiskError."""
        for block in self._blocks(name, self._visible(name, start, stop)):
            for at, entry in enumerate(block.entries):
                record = record_of(block.data[at * block.size : (at + 1) * block.size])
                yield decode_frame(record, self._schemas[name], block.path, entry.offset)

    def _blocks(self, name: str, entries: Sequence[_FramePlace]) -> Iterator[_Block]:
        """Frames of one length that lie one behind the other, read in one call. Raises IntegrityError, DiskError."""
        handle, part, path, size = None, -1, self._folder, 0
        try:
            at = 0
            while at < len(entries):
                first = entries[at]
                if handle is None or first.part != part:
                    if handle is not None:
                        handle.close()
                    part, path = first.part, part_path(self._folder, name, first.part)
                    handle = open_part(path)
                    size = path.stat().st_size  # the frames to read were there when it was measured
                length = record_length(self._schemas[name], first.rows)
                stop = at + 1
                while (
                    stop < len(entries)
                    and (stop + 1 - at) * length <= _BLOCK_BYTES
                    and entries[stop].part == part
                    and entries[stop].rows == first.rows
                    and entries[stop].offset == first.offset + (stop - at) * length
                    and entries[stop].offset + length <= size
                ):
                    stop += 1
                if first.offset + length > size:
                    raise damaged(path, first.offset, "the frame is cut")
                handle.seek(first.offset)
                data = memoryview(handle.read((stop - at) * length))
                # A resume in another process may have cut the file since it was measured.
                whole = len(data) // length
                if whole:
                    yield _Block(path, data[: whole * length], length, entries[at : at + whole])
                if whole < stop - at:
                    raise damaged(path, entries[at + whole].offset, "the file became shorter while it was read")
                at = stop
        finally:
            if handle is not None:
                handle.close()

    def read(
        self, name: str, columns: Sequence[str] | None = None, start: int | None = None, stop: int | None = None
    ) -> dict[str, NDArray[Any]]:
        """The columns (all, or those named) of the steps in [start, stop), joined: {name: (rows, ...)}.

        Memory: the columns asked for, plus one frame or about 1 MiB. Empty for a segment that does not exist.
        Raises IntegrityError, DiskError, and KeyError for a column that is not there.
        """
        entries = self._visible(name, start, stop)
        if name not in self._schemas:
            return {}
        types = {column: (dtype, shape) for column, dtype, shape in self._schemas[name].columns}
        names = list(types) if columns is None else list(columns)
        total = sum(entry.rows for entry in entries)
        joined = {column: np.empty((total, *types[column][1]), types[column][0]) for column in names}
        row = 0
        for block in self._blocks(name, entries):
            count, rows = len(block.entries), block.entries[0].rows
            is_small = rows > 0 and count > 1 and block.size <= _SMALL_FRAME
            many = joined_columns(block.data, count, rows, self._schemas[name]) if is_small else None
            if many is None:
                # One by one, which also names the frame that is damaged.
                for at, entry in enumerate(block.entries):
                    record = record_of(block.data[at * block.size : (at + 1) * block.size])
                    frame = decode_frame(record, self._schemas[name], block.path, entry.offset)
                    for column in names:
                        joined[column][row : row + frame.rows] = frame.columns[column]
                    row += frame.rows
                continue
            for column in names:
                joined[column][row : row + count * rows] = many[column]
            row += count * rows
        return joined

    def latest(self, name: str, step: int) -> dict[str, NDArray[Any]]:
        """The columns of the newest frame at or before `step`, for a segment that is written when something changes.

        Empty where there is none. Raises IntegrityError, DiskError.
        """
        entries = self._visible(name, None, step + 1)
        return self.read(name, start=entries[-1].step, stop=step + 1) if entries else {}

    def _visible(self, name: str, start: int | None, stop: int | None) -> list[_FramePlace]:
        self._scan(name)
        entries = self._index.get(name, [])
        if stop is None or (self.stop_step is not None and self.stop_step < stop):
            stop = self.stop_step
        low = 0 if start is None else bisect.bisect_left(entries, start, key=lambda entry: entry.step)
        high = len(entries) if stop is None else bisect.bisect_left(entries, stop, key=lambda entry: entry.step)
        return entries[low:high]

    def _scan(self, name: str) -> None:
        """Index the heads of frames that came since the last scan; bodies are skipped."""
        if self._before is not None:
            self._before()
        part, offset = self._next.get(name, (0, 0))
        while True:
            path = part_path(self._folder, name, part)
            if not path.exists():
                return
            size = path.stat().st_size
            if size > offset:
                with open_part(path) as handle:
                    offset = self._scan_part(handle, path, name, part, offset, size)
            self._next[name] = (part, offset)
            # A torn frame ends the segment: the writer cuts it before it begins another part.
            if offset != size or offset == 0 or not part_path(self._folder, name, part + 1).exists():
                return
            # The writer may have gone on with this part before it began the next.
            if path.stat().st_size == size:
                part, offset = part + 1, 0

    def _scan_part(self, handle: BinaryIO, path: Path, name: str, part: int, offset: int, size: int) -> int:
        """Index the whole frames of one part from `offset`; returns where they end."""
        if offset == 0:
            if not has_schema(handle, path):
                return 0  # it is being written
            schema = read_schema(handle, path, name, part)
            if self._schemas.setdefault(name, schema) != schema:
                raise damaged(path, 0, "the schema is not that of the parts before")
            offset = handle.tell()
        entries, schema = self._index.setdefault(name, []), self._schemas[name]
        ahead = _FRAMES_AHEAD
        while size - offset >= HEAD.size + SEAL_BYTES:
            handle.seek(offset)
            tag, step, rows, length = HEAD.unpack(handle.read(HEAD.size))
            if tag != FRAME_TAG or length != schema.body_length(rows):
                raise damaged(path, offset, "no frame of this segment begins")
            whole = HEAD.size + length + SEAL_BYTES
            if size - offset < whole:
                break  # being written now, or torn by a crash; the next scan looks again
            if entries and step <= entries[-1].step:
                # Either head may be the damaged one; the frame before is asked first, since it may lie in another file.
                self._require_whole(name, entries[-1])
                raise damaged(path, offset, f"step {step} follows step {entries[-1].step}")
            entries.append(_FramePlace(step, rows, part, offset))
            offset += whole
            if whole <= _SMALL_FRAME // 16 and size - offset >= whole:
                # Small frames of one length come by the million: their heads are looked at together.
                handle.seek(offset)
                data = handle.read(min(size - offset, _BLOCK_BYTES, ahead * whole) // whole * whole)
                steps = leading_steps(data, whole, rows, after=step)
                entries += [_FramePlace(one, rows, part, offset + at * whole) for at, one in enumerate(steps)]
                offset += len(steps) * whole
                # Where lengths change from frame to frame, little is read in vain.
                ahead = 2 * ahead if len(steps) * whole == len(data) else _FRAMES_AHEAD
        return offset

    def _require_whole(self, name: str, entry: _FramePlace) -> None:
        """Raise IntegrityError when the frame of `entry` is damaged."""
        path = part_path(self._folder, name, entry.part)
        with open_part(path) as handle:
            handle.seek(entry.offset)
            record = read_record(handle, path, path.stat().st_size)
            if record is not None:
                decode_frame(record, self._schemas[name], path, entry.offset)
