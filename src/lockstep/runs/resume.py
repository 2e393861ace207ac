"""Find the point from which an interrupted run goes on, and cut its record back to it.

The newest good checkpoint decides; a damaged one is skipped. Journal lines after it are cut, but kept in
`journal.cut` until they have been computed again: each has to come out the same. `journal.cut` is one line of
canonical JSON with length and digest of the rest, and then the journal lines themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lockstep.core import canonical, files
from lockstep.core.errors import DiskError, IntegrityError, NotComparableError, NotEqualError
from lockstep.core.hashing import blake3_hex
from lockstep.runs.audit import Audit, Auditor, Mark
from lockstep.runs.checkpoint import Checkpoint, CheckpointStore, missing_parts
from lockstep.runs.folder import IDENTITY_DOCUMENTS, RunFolder
from lockstep.runs.input_manifest import input_problems, write_inputs
from lockstep.runs.journal import NO_HASH, Genesis, Line, decode_line, encode_line, read_lines
from lockstep.storage.segments import Position, SegmentWriter


@dataclass(frozen=True, kw_only=True)
class StartingPoint:
    """Where the record ends after cutting. `checkpoint` is None when the training starts from its first step."""

    steps: int
    journal_hash: str
    segments: dict[str, Position]
    checkpoint: Checkpoint | None
    expected: tuple[bytes, ...]


def genesis_of(folder: RunFolder, fingerprint: str) -> Genesis:
    """The first line that the folder's documents and a fingerprint give. Raises DiskError, IntegrityError."""
    return Genesis(fingerprint=fingerprint, **folder.identity_hashes())


def open_record(
    folder: RunFolder, genesis: Genesis, store: CheckpointStore, segments: SegmentWriter, note: Callable[[str], None]
) -> StartingPoint:
    """Make the record end at the newest good checkpoint, or at nothing for a new run. The caller holds the lock.

    May be interrupted anywhere and called again. A damaged line after that point is cut with all that follows it: its
    step is computed again in any case. Raises IntegrityError for damage before that point, NotComparableError when the
    run began with other code or numerics, DiskError.
    """
    files.remove_temporary(folder.path)
    first = next(read_lines(folder.journal), None) if folder.journal.exists() else None
    if first is None:
        return _begin(folder, store, segments)
    for problem in input_problems(folder):
        raise IntegrityError(problem.message)
    _compare_genesis(folder, first, genesis)
    checkpoint, tail = _newest_good(folder, store, first, note)
    point = Mark(0, first.hash, {}) if checkpoint is None else _mark_of(checkpoint)
    length = first.stop if checkpoint is None else checkpoint.journal_length
    expected = _with_earlier_cut(folder, tail, point.steps)
    # The order matters: lines are safe in journal.cut before they leave the journal.
    if expected:
        write_cut_lines(folder.cut_lines, expected)
    store.restart_from(point.steps if checkpoint is not None else None, cut_lines=bool(expected))
    if folder.journal.stat().st_size > length:
        files.truncate(folder.journal, length)
    segments.continue_from(point.positions)
    if not expected:
        files.remove(folder.cut_lines)
    return StartingPoint(
        steps=point.steps,
        journal_hash=point.journal_hash,
        segments=point.positions,
        checkpoint=checkpoint,
        expected=tuple(line.data for line in expected),
    )


def _begin(folder: RunFolder, store: CheckpointStore, segments: SegmentWriter) -> StartingPoint:
    """Begin a new run: one without a whole first line. Raises IntegrityError when it has files of later steps."""
    if store.stored_steps() or folder.has("result"):
        raise IntegrityError(
            f"{folder.journal}: missing or empty, though the run has checkpoints. "
            "Restore it from a copy, or train again."
        )
    if folder.has("inputs"):
        for problem in input_problems(folder):
            raise IntegrityError(problem.message)
    else:
        write_inputs(folder)
    store.create()
    if folder.journal.exists():
        files.truncate(folder.journal, 0)  # a torn first line
    segments.continue_from({})
    return StartingPoint(steps=0, journal_hash=NO_HASH, segments={}, checkpoint=None, expected=())


def _compare_genesis(folder: RunFolder, first: Line, genesis: Genesis) -> None:
    then, now = first.content, genesis.content()
    for kind in IDENTITY_DOCUMENTS:
        if then.get(kind) != now[kind]:
            raise IntegrityError(
                f"{folder.document(kind)}: not the document this run was begun with (the journal's first line names "
                f"another digest). Restore it from a copy."
            )
    if then != now:
        raise NotComparableError(
            f"{folder.path}: begun under fingerprint {then.get('fingerprint')}, but code and numerics here give "
            f"{now['fingerprint']}. Resume it with the code and versions it was begun with, or train anew."
        )


def _mark_of(checkpoint: Checkpoint) -> Mark:
    return Mark(checkpoint.steps, checkpoint.journal_hash, dict(checkpoint.segments))


def _newest_good(
    folder: RunFolder, store: CheckpointStore, first: Line, note: Callable[[str], None]
) -> tuple[Checkpoint | None, list[Line]]:
    """The checkpoint to go on from (None: the first step), and the journal lines after it."""
    # By the files, not by the index: a crash may come between a checkpoint and its entry.
    for steps in reversed(store.stored_steps()):
        try:
            checkpoint = store.load(steps)
        except (IntegrityError, DiskError) as error:
            note(f"{error} An older checkpoint takes its place; what came after is computed again.")
            continue
        for path in missing_parts(checkpoint, folder.segments):
            raise IntegrityError(f"{path}: missing. Restore it from a copy, or train again.")
        length = checkpoint.journal_length
        audit = Auditor(folder, marks={length}, stop=length).run()
        audit.raise_first()
        if audit.marks.get(length) == _mark_of(checkpoint):
            _tell(audit, note)
            return checkpoint, audit.tail
        if audit.journal_length < length and not audit.tail:
            raise IntegrityError(
                f"{folder.journal}: has {audit.journal_length} whole bytes, but checkpoint {store.path(steps).name} "
                f"was written when it had {length}. Restore it from a copy, or train again."
            )
        note(f"{store.path(steps)}: belongs to another run and is not used; an older checkpoint takes its place.")
    audit = Auditor(folder, stop=first.stop).run()
    audit.raise_first()
    _tell(audit, note)
    return None, audit.tail


def _tell(audit: Audit, note: Callable[[str], None]) -> None:
    """Pass on what lies damaged behind the point from which the run goes on."""
    for text in audit.notes:
        if text.endswith("is cut."):
            note(text)


def _with_earlier_cut(folder: RunFolder, tail: Sequence[Line], steps: int) -> list[Line]:
    """The lines just cut, after those that an earlier resume cut and had not yet computed again."""
    if not folder.cut_lines.exists():
        if _index_expects_cut(folder):
            raise IntegrityError(
                f"{folder.cut_lines}: missing; it holds lines that have to be met again. Restore it, or train again."
            )
        return list(tail)
    earlier = read_cut_lines(folder.cut_lines)
    number = steps + 1  # of the last line that stays: the first step's line has number 2
    merged = {line.number: line for line in earlier if line.number > number}
    # A resume that was interrupted after writing journal.cut finds the same lines in both places.
    for line in tail:
        if merged.get(line.number, line).data != line.data:
            raise IntegrityError(f"{folder.cut_lines}: line {line.number} is not the one in the journal.")
        merged[line.number] = line
    lines = [merged[key] for key in sorted(merged)]
    if [line.number for line in lines] != list(range(number + 1, number + 1 + len(lines))):
        raise IntegrityError(f"{folder.cut_lines}: does not continue the journal. Restore it, or train again.")
    return lines


def _index_expects_cut(folder: RunFolder) -> bool:
    try:
        return CheckpointStore(folder.checkpoints).index().cut_lines
    except IntegrityError:
        return False  # a damaged index is rebuilt from the files


def write_cut_lines(path: Path, lines: Sequence[Line]) -> None:
    """Write journal.cut: at least one line, numbered without a gap. Raises DiskError."""
    body = b"".join(line.data for line in lines)
    head = {"blake3": blake3_hex(body), "first": lines[0].number, "length": len(body)}
    files.write_atomic(path, canonical.dumps(head) + b"\n" + body)


def read_cut_lines(path: Path) -> list[Line]:
    """The lines in journal.cut. Raises IntegrityError when a byte is not what was written."""
    head, _, body = files.read_bytes(path).partition(b"\n")
    lines: list[Line] = []
    again: bytes | None
    try:
        value = canonical.loads(head)
        first = value["first"]
        again = canonical.dumps({"blake3": blake3_hex(body), "first": first, "length": len(body)})
        prev = canonical.loads(body.partition(b"\n")[0])["prev"]
    except (ValueError, KeyError, TypeError):
        again, first, prev = None, 0, NO_HASH
    if again != head or not isinstance(first, int):
        raise IntegrityError(f"{path}: does not match its digest. It is not used; restore it from a copy.")
    for number, data in enumerate(body.splitlines(keepends=True), start=first):
        lines.append(decode_line(data, number, 0, prev, path))
        prev = lines[-1].hash
    return lines


class ExpectedLines:
    """Lines of journal.cut, which steps computed again have to meet. Writes alarm.json when one does not."""

    def __init__(self, folder: RunFolder, lines: Iterable[bytes]) -> None:
        self._folder = folder
        self._lines = list(reversed(list(lines)))
        self.pending = bool(self._lines)

    def __len__(self) -> int:
        return len(self._lines)

    def meet(self, content: dict[str, Any], prev: str) -> None:
        """Compare the next line, about to be written, with the line cut. Raises NotEqualError, DiskError."""
        if not self._lines:
            return
        then = self._lines.pop()
        now, _ = encode_line(content, prev)
        if now == then:
            return
        before = canonical.loads(then)["content"]
        field, old, new = first_difference(before, canonical.loads(now)["content"])
        where = f"step {before['index']}" if before.get("type") == "step" else f"the {before.get('type')} line"
        alarm = {"where": where, "field": field, "before": old, "now": new}
        self._folder.write("alarm", alarm)
        raise NotEqualError(
            f"{self._folder.path}: {where} was computed again after an interruption and came out different: "
            f"{field} was {old!r:.200}, now {new!r:.200}. Same code and numerics must give the same step: check the "
            "machine's memory, then train again. The difference is kept in alarm.json."
        )


def first_difference(before: Any, now: Any, place: str = "") -> tuple[str, Any, Any]:
    """Path, old and new value of the first place, in key order, where two canonical values differ."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted(set(before) | set(now)):
            inside = f"{place}.{key}" if place else key
            if key not in before or key not in now:
                return inside, before.get(key), now.get(key)
            if canonical.dumps(before[key]) != canonical.dumps(now[key]):
                return first_difference(before[key], now[key], inside)
    if isinstance(before, list) and isinstance(now, list):
        for i, (old, new) in enumerate(zip(before, now, strict=False)):
            if canonical.dumps(old) != canonical.dumps(new):
                return first_difference(old, new, f"{place}[{i}]")
    return place, before, now
