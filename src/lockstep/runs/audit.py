"""Read a run's journal and segments together, once, front to back: what is whole, what is damaged, what is a tail.

Resume, sealing and `check` all begin with this pass. It holds one frame in memory at a time.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import BinaryIO

from blake3 import blake3

from lockstep.core.errors import IntegrityError
from lockstep.core.hashing import digest_file
from lockstep.runs.folder import RunFolder
from lockstep.runs.journal import NO_HASH, Line, read_lines, torn_bytes
from lockstep.storage.segment_format import (
    Frame,
    Schema,
    damaged,
    decode_frame,
    has_schema,
    open_part,
    part_path,
    read_record,
    read_schema,
    segment_parts,
)
from lockstep.storage.segments import START, Position


@dataclass(frozen=True)
class Problem:
    """Something in a run that is not as it was written.

    file         relative to the run's folder
    unreadable   the file is there and could not be read, so that nobody knows whether it is as it was
    """

    file: str
    message: str
    unreadable: bool = False


@dataclass(frozen=True)
class Mark:
    """What journal and segments held at one length of the journal in bytes."""

    steps: int
    journal_hash: str
    positions: dict[str, Position]


@dataclass
class Audit:
    """What one pass learned.

    problems         damage, the first per segment
    notes            tails that a resume cuts
    genesis, end     first and last line of the journal; None where missing
    steps            step lines up to the point to stop at
    journal_hash     hash of the last line read, and `journal_length` the bytes up to its end
    marks            by journal length, for the lengths that the caller named
    digests          length and BLAKE3 of each segment file, by its name in the run's folder
    tail             journal lines beyond the point to stop at
    """

    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    genesis: Line | None = None
    end: Line | None = None
    steps: int = 0
    journal_hash: str = NO_HASH
    journal_length: int = 0
    marks: dict[int, Mark] = field(default_factory=dict)
    digests: dict[str, tuple[int, str]] = field(default_factory=dict)
    tail: list[Line] = field(default_factory=list)

    def raise_first(self) -> None:
        """Raise IntegrityError for the first problem, if there is one."""
        if self.problems:
            raise IntegrityError(self.problems[0].message)


class _SegmentCursor:
    """The frames of one segment in order, over all parts, hashing every byte of every file on the way."""

    def __init__(self, folder: RunFolder, name: str, parts: list[int]) -> None:
        self._folder = folder
        self.name = name
        self._parts = parts
        self._handle: BinaryIO | None = None
        self._schema: Schema | None = None
        self._hasher = blake3()
        self._path = folder.segments
        self._size = 0
        self.position = START
        self.digests: dict[str, tuple[int, str]] = {}

    def file(self) -> str:
        """Name of the present part, relative to the run's folder."""
        path = part_path(self._folder.segments, self.name, self.position.part)
        return path.relative_to(self._folder.path).as_posix()

    def next(self) -> Frame | None:
        """The next whole frame, or None at the end or at a torn tail. Raises IntegrityError, DiskError."""
        while True:
            if self._handle is None and not self._open():
                return None
            assert self._handle is not None  # noqa: S101 - just opened
            assert self._schema is not None  # noqa: S101
            path, offset = self._path, self._handle.tell()
            record = read_record(self._handle, path, self._size)
            if record is not None:
                frame = decode_frame(record, self._schema, path, offset)
                for piece in record:
                    self._hasher.update(piece)
                at = self.position
                self.position = Position(at.part, self._handle.tell(), at.frames + 1, at.rows + frame.rows)
                return frame
            size = self._size
            if size > offset or self.position.part == self._parts[-1]:
                return None
            self._finish_part()
            self.position = Position(self.position.part + 1, 0, self.position.frames, self.position.rows)

    def close(self) -> int:
        """Hash what is left of all parts; returns how many bytes come after the last whole frame."""
        left = self._finish_part() if self._handle is not None else 0
        for part in self._parts:
            path = part_path(self._folder.segments, self.name, part)
            file = path.relative_to(self._folder.path).as_posix()
            if file not in self.digests:
                length = path.stat().st_size
                self.digests[file] = (length, digest_file(path))
                left += length
        return left

    def _open(self) -> bool:
        part = self.position.part
        path = part_path(self._folder.segments, self.name, part)
        if part not in self._parts:
            if not self._parts or part > self._parts[-1]:
                return False
            raise IntegrityError(f"{path}: missing, though later parts are there. Restore it from a copy.")
        handle = open_part(path)
        if part == self._parts[-1] and not has_schema(handle, path):
            handle.close()
            return False  # a crash came before the schema record was whole
        try:
            schema = read_schema(handle, path, self.name, part)
            if self._schema is not None and schema != self._schema:
                raise damaged(path, 0, "the schema is not that of the parts before")
        except BaseException:
            handle.close()
            raise
        self._handle, self._schema, self._hasher = handle, schema, blake3()
        # Measured once: whoever audits holds the lock, or reads a run that nobody writes.
        self._path, self._size = path, path.stat().st_size
        length = handle.tell()
        handle.seek(0)
        self._hasher.update(handle.read(length))
        self.position = Position(part, length, self.position.frames, self.position.rows)
        return True

    def _finish_part(self) -> int:
        assert self._handle is not None  # noqa: S101 - called on an open part
        self._handle.seek(self.position.length)
        left = 0
        while piece := self._handle.read(1 << 20):
            self._hasher.update(piece)
            left += len(piece)
        self.digests[self.file()] = (self.position.length + left, str(self._hasher.hexdigest()))
        self._handle.close()
        self._handle = None
        return left


class Auditor:
    """One pass over journal and segments; `run` makes it.

    marks   journal lengths, in bytes, at which to record where journal and segments stand
    stop    journal length up to which lines, and the frames they name, are read and checked against each other; later
            lines are checked among themselves only and returned as `tail`. None: the whole journal
    """

    def __init__(self, folder: RunFolder, *, marks: AbstractSet[int] = frozenset(), stop: int | None = None) -> None:
        self._folder = folder
        self._marks = marks
        self._stop = stop
        self._cursors = {
            name: _SegmentCursor(folder, name, parts) for name, parts in segment_parts(folder.segments).items()
        }
        self._broken: set[str] = set()
        self.audit = Audit()

    def run(self) -> Audit:
        """Make the pass. Raises DiskError; damage is in `problems`."""
        audit = self.audit
        try:
            if self._folder.journal.exists():
                for line in read_lines(self._folder.journal):
                    self._line(line)
                if torn := torn_bytes(self._folder.journal):
                    audit.notes.append(f"journal.jsonl ends in {torn} bytes of an unfinished line; resume cuts them")
        except IntegrityError as error:
            if self._stop is not None and audit.journal_length >= self._stop:
                # Behind the point to stop at nothing is needed: those steps are computed again in any case.
                audit.notes.append(f"{error} It lies behind the point from which the run goes on, and is cut.")
            else:
                audit.problems.append(Problem("journal.jsonl", str(error)))
        finally:
            self._close()
        return audit

    def _line(self, line: Line) -> None:
        audit = self.audit
        if self._stop is not None and line.stop > self._stop:
            audit.tail.append(line)
            return
        if line.type == "genesis":
            audit.genesis = line
        elif line.type == "end":
            audit.end = line
        else:
            audit.steps += 1
            for name, digest in line.content["segments"].items():
                self._frame(line, name, digest)
        audit.journal_hash, audit.journal_length = line.hash, line.stop
        if line.stop in self._marks:
            positions = {name: cursor.position for name, cursor in self._cursors.items() if cursor.position.frames > 0}
            audit.marks[line.stop] = Mark(audit.steps, line.hash, positions)

    def _frame(self, line: Line, name: str, digest: str) -> None:
        """Compare the next frame of a segment with what a journal line promises of it."""
        if name in self._broken:
            return  # one message per segment: after the first break every later frame would be one more
        cursor = self._cursors.get(name)
        if cursor is None:
            cursor = self._cursors[name] = _SegmentCursor(self._folder, name, [])
        step = line.content["index"]
        try:
            frame = cursor.next()
        except IntegrityError as error:
            self._break(name, str(error))
            return
        if frame is None:
            self._break(name, f"ends before the frame of step {step}, which journal line {line.number} promises")
        elif frame.step != step or frame.digest != digest:
            self._break(name, f"has a frame of step {frame.step} where journal line {line.number} promises another")

    def _break(self, name: str, message: str) -> None:
        self._broken.add(name)
        file = self._cursors[name].file()
        if not message.startswith(str(self._folder.path)):
            message = f"{self._folder.path / file}: {message}. It is not used; restore it from a copy."
        self.audit.problems.append(Problem(file, message))

    def _close(self) -> None:
        for name, cursor in sorted(self._cursors.items()):
            # With a point to stop at, frames beyond it belong to the lines of `tail` and are no business of this pass.
            if self._stop is None and name not in self._broken:
                self._tail(name, cursor)
            left = cursor.close()
            self.audit.digests.update(cursor.digests)
            if self._stop is None and name not in self._broken and left:
                self.audit.notes.append(
                    f"{cursor.file()} ends in {left} bytes of an unfinished frame; resume cuts them"
                )

    def _tail(self, name: str, cursor: _SegmentCursor) -> None:
        """Frames beyond the journal: a crash leaves the frames of the step it interrupted, a cut more of them."""
        last, extra = self.audit.steps - 1, 0
        try:
            while (frame := cursor.next()) is not None:
                if frame.step <= last:
                    self._break(name, f"has a frame of step {frame.step} that no journal line names")
                    return
                last, extra = frame.step, extra + 1
        except IntegrityError as error:
            self._break(name, str(error))
            return
        if extra:
            self.audit.notes.append(
                f"{cursor.file()} has {extra} frame(s) of steps not in the journal; resume cuts them"
            )
