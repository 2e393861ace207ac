"""The one loop: every training of every kind runs here, and nothing here knows what is being trained.

    lock the folder -> cut the record to the newest good checkpoint -> for each step: frames, journal line,
    checkpoint when due, stop when asked -> final checkpoint -> artifacts, result.json, last line, MANIFEST.json

The work per step depends on that step alone, never on how many came before. Small frames and lines are handed to the
operating system every 16 steps, at the end of a step a quarter of a second after the last time, and before every
checkpoint: a process that dies in between loses steps that are computed again from the checkpoint in any case.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from lockstep.core import files
from lockstep.core.clock import Clock, SystemClock
from lockstep.core.errors import DiskError, InputError, Interrupted
from lockstep.core.hashing import blake3_hex, digest_columns
from lockstep.runs.cancel import Cancel
from lockstep.runs.checkpoint import Checkpoint, CheckpointPolicy, CheckpointStore, Schedule
from lockstep.runs.folder import RunFolder, flat_name
from lockstep.runs.journal import JournalWriter, encode_line, end_content, read_lines, step_content
from lockstep.runs.manifest import seal
from lockstep.runs.numerics import pinned_threads
from lockstep.runs.observer import Observer, Observers, RunInfo
from lockstep.runs.resume import ExpectedLines, StartingPoint, genesis_of, open_record
from lockstep.runs.training import ReadsRecord, Result, RunRecord, Step, Training
from lockstep.storage.documents import document_bytes
from lockstep.storage.segment_format import checked_columns
from lockstep.storage.segments import PART_BYTES, SegmentReader, SegmentWriter

T = TypeVar("T")
HANDED_OVER: Final = 16
"""Steps after which frames and lines are handed over to the operating system."""
HANDED_OVER_S: Final = 0.25
"""Seconds after which they are at the end of a step: whoever watches a run of slow steps sees what it did."""


@dataclass(frozen=True, kw_only=True)
class CompleteRun:
    """A complete run. `first_step` is the step at which this process began; `notes` are for a person."""

    result: Mapping[str, Any]
    journal_hash: str
    fingerprint: str
    steps: int
    first_step: int
    notes: tuple[str, ...]


def execute(
    training: Training,
    folder: RunFolder,
    *,
    fingerprint: str,
    observers: Sequence[Observer] = (),
    cancel: Cancel | None = None,
    policy: CheckpointPolicy | None = None,
    clock: Clock | None = None,
    part_bytes: int = PART_BYTES,
    hand_over: int = HANDED_OVER,
) -> CompleteRun:
    """Run `training` in `folder`, from its first step or from where an earlier process left it, to its end.

    The folder holds the documents already (`RunFolder.create`). A complete run stays as it is, and its outcome is
    returned. `part_bytes` sets where segment files roll over and has to be the same for a resumed run. Lines and frames
    are handed to the operating system at least every `hand_over` steps; no byte depends on it.

    Raises Interrupted after a stop on request, DiskError when the disk refuses (the run can be resumed after both),
    RefusedError while another process writes the run, IntegrityError for damage, NotComparableError when the run began
    under another fingerprint, NotEqualError when a step computed again comes out different, and whatever the training
    raises, after recording it in failure.json.
    """
    clock = clock if clock is not None else SystemClock()
    watch = Observers(observers)
    if folder.has("manifest"):  # also in a folder that cannot be written to
        return _stored_run(folder)
    with folder.lock():
        # Again: another process may have finished the run while this one waited for the lock.
        if folder.has("manifest"):
            return _stored_run(folder)
        files.remove(folder.document("failure"))
        policy = policy if policy is not None else CheckpointPolicy()
        writer = RecordWriter(folder, policy, clock, watch, part_bytes, hand_over)
        try:
            writer.open(fingerprint)
            result = _drive(training, writer, cancel if cancel is not None else Cancel())
            manifest = writer.finish(result)
        except Interrupted as stop:
            watch.stopped(str(stop))
            raise
        except DiskError as error:
            watch.stopped(str(error))
            raise
        except KeyboardInterrupt:
            watch.stopped("stopped at once, by a second Ctrl-C; resume goes on from the last checkpoint")
            raise
        except Exception as error:
            with contextlib.suppress(DiskError):
                body = {"error": type(error).__name__, "message": str(error), "steps": writer.steps}
                folder.write("failure", body)
            watch.stopped(f"{type(error).__name__}: {error}")
            raise
        finally:
            writer.close()
        watch.finished(result.summary, manifest["journal_hash"])
        return CompleteRun(
            result=result.summary,
            journal_hash=manifest["journal_hash"],
            fingerprint=fingerprint,
            steps=manifest["steps"],
            first_step=writer.first_step,
            notes=tuple(watch.notes),
        )


def _stored_run(folder: RunFolder) -> CompleteRun:
    manifest = folder.read("manifest")
    return CompleteRun(
        result=folder.result(),
        journal_hash=manifest["journal_hash"],
        fingerprint=manifest["fingerprint"],
        steps=manifest["steps"],
        first_step=manifest["steps"],
        notes=("the run was complete already; nothing was computed",),
    )


def _drive(training: Training, writer: RecordWriter, cancel: Cancel) -> Result:
    """Record steps until there are no more or somebody asks to stop; then the result."""
    if isinstance(training, ReadsRecord):
        training.attach(RunRecord(segments=writer.reader()))
    if writer.start.checkpoint is not None:
        training.set_state(writer.start.checkpoint.state)
    writer.announce(training.total_steps)
    steps = training.steps()
    # One native thread, as the numerics say and as workers and verify compute.
    with pinned_threads() as pinned:
        while True:
            if cancel.requested:
                writer.checkpoint(training)
                raise Interrupted(
                    f"stopped after {writer.steps} steps on {cancel.reason}; everything up to there is kept. "
                    f"Go on with: lockstep resume {writer.folder.path.name}"
                )
            pinned.renew()
            step = _computed(lambda: next(steps, None))
            if step is None:
                break
            writer.record(step)
            if writer.checkpoint_due():
                writer.checkpoint(training)
        writer.checkpoint(training)
        pinned.renew()
        return _computed(training.finish)


def _computed(compute: Callable[[], T]) -> T:
    try:
        return compute()
    except SystemExit as error:
        # Let through, it would end the command with exit code 0, or any other, and no message.
        raise InputError(
            f"code that this training runs ended the process (SystemExit: {error.code}). Have it raise an exception "
            "that says what is wrong, or return."
        ) from error


class RecordWriter:
    """Writes the record of one run. In use from `open` to `close`, while the caller holds the folder's lock."""

    start: StartingPoint

    def __init__(
        self,
        folder: RunFolder,
        policy: CheckpointPolicy,
        clock: Clock,
        watch: Observers,
        part_bytes: int,
        hand_over: int,
    ) -> None:
        self.folder = folder
        self.steps = 0
        self.first_step = 0
        self._clock = clock
        self._watch = watch
        self._now = self._handed_over_s = clock.monotonic()
        self._schedule = Schedule(policy, self._now)
        self._store = CheckpointStore(folder.checkpoints, policy)
        self._segments = SegmentWriter(folder.segments, part_bytes=part_bytes, holds=hand_over > 1)
        self._hand_over = hand_over
        self._held_steps = 0
        self._journal: JournalWriter | None = None
        self._expected = ExpectedLines(folder, ())
        self._checkpointed = -1
        self._fingerprint = ""

    def open(self, fingerprint: str) -> None:
        """Cut the record to the step where the run goes on; write the first line of a new one."""
        genesis = genesis_of(self.folder, fingerprint)
        self.start = open_record(self.folder, genesis, self._store, self._segments, self._watch.note)
        self.steps = self.first_step = self.start.steps
        self._fingerprint = fingerprint
        self._expected = ExpectedLines(self.folder, self.start.expected)
        self._journal = JournalWriter(self.folder.journal, last_hash=self.start.journal_hash)
        if self._journal.length == 0:
            self._journal.append(genesis.content())
            self._journal.sync()
        if self.start.checkpoint is not None:
            self._checkpointed = self.start.checkpoint.steps

    def reader(self) -> SegmentReader:
        """A reader of all that was recorded so far."""
        return SegmentReader(self.folder.segments, before=self._segments.hand_over)

    def announce(self, total_steps: int | None) -> None:
        """Tell the observers that the run starts."""
        self._watch.started(
            RunInfo(
                folder=self.folder.path,
                fingerprint=self._fingerprint,
                first_step=self.first_step,
                total_steps=total_steps,
            )
        )

    def record(self, step: Step) -> None:
        """Append a step: its frames, then its line."""
        _check_order(step, self.steps)
        # Frames first: a line promises its frames, while frames without a line are a tail that resume cuts.
        digests = {name: self._segments.append(step.index, name, columns) for name, columns in step.segments.items()}
        self._meet(content := step_content(step, digests))
        self._open_journal.hold(content)
        self.steps += 1
        self._held_steps += 1
        self._now = self._clock.monotonic()
        if self._held_steps >= self._hand_over or self._now - self._handed_over_s >= HANDED_OVER_S:
            self.hand_over()
        self._watch.step(step, self._open_journal.hash)

    def hand_over(self) -> None:
        """Hand what is held back to the operating system: frames, then the lines that promise them."""
        self._segments.hand_over()
        self._open_journal.hand_over()
        self._held_steps, self._handed_over_s = 0, self._now

    def checkpoint_due(self) -> bool:
        """Whether the schedule asks for a checkpoint after the step recorded last."""
        return self._schedule.due(self._now)

    def checkpoint(self, training: Training) -> None:
        """Force the record to the device, then write the state; does nothing when this state is stored already."""
        if self._checkpointed == self.steps:
            return
        began = self._clock.monotonic()
        journal = self._open_journal
        # Record first: a power cut must not shorten a journal or segment below what a checkpoint says.
        self._segments.sync()
        journal.sync()
        self._store.write(
            Checkpoint(
                steps=self.steps,
                journal_hash=journal.hash,
                journal_length=journal.length,
                segments=self._segments.positions,
                state=training.get_state(),
            )
        )
        self._checkpointed = self.steps
        self._forget_cut_lines()
        self._schedule.written(began, self._clock.monotonic())
        self._watch.checkpoint(self.steps)

    def finish(self, result: Result) -> dict[str, Any]:
        """Write artifacts, result.json, the last line and the manifest; returns the manifest's body.

        In this order, each whole before the next begins: the manifest says that all the others are.
        """
        files.make_folder(self.folder.artifacts)
        names = {flat_name(name) for name in result.artifacts}
        # A killed process may have written files here that this finish does not have.
        for path in sorted(self.folder.artifacts.iterdir()):
            if path.name not in names:
                files.remove(path)
        digests = {name: blake3_hex(content) for name, content in result.artifacts.items()}
        for name, content in result.artifacts.items():
            files.write_atomic(self.folder.artifacts / name, content)
        body = {"artifacts": digests, "steps": self.steps, "summary": result.summary}
        data = document_bytes("result", body)
        files.write_atomic(self.folder.document("result"), data)
        last = end_content(self.steps, blake3_hex(data), digests)
        self._meet(last)
        self._open_journal.append(last)
        self._open_journal.sync()
        self._forget_cut_lines()
        return seal(self.folder)

    def close(self) -> None:
        """Close segments and journal. What was appended stays, as far as the disk allows."""
        try:
            if self._journal is not None:
                with contextlib.suppress(DiskError):  # the error that ended the run is the one to report
                    self.hand_over()
        finally:
            self._segments.close()
            if self._journal is not None:
                self._journal.close()

    @property
    def _open_journal(self) -> JournalWriter:
        if self._journal is None:
            raise RuntimeError("the record is not open")
        return self._journal

    def _meet(self, content: dict[str, Any]) -> None:
        self._expected.meet(content, self._open_journal.hash)

    def _forget_cut_lines(self) -> None:
        """Remove journal.cut once every line in it was met again and is on the device."""
        if self._expected.pending and len(self._expected) == 0:
            self._store.forget_cut_lines()
            files.remove(self.folder.cut_lines)
            self._expected.pending = False


def _check_order(step: Step, expected: int) -> None:
    if step.index != expected:
        raise ValueError(
            f"a training numbers its steps 0, 1, 2 ... and goes on where its state was taken; expected {expected}, "
            f"found {step.index}. This is an error of the kind of training."
        )


def recompute(
    training: Training, folder: RunFolder, start: Checkpoint | None
) -> Generator[tuple[bytes, Step], None, None]:
    """Compute steps again from a checkpoint of a run (None: from the first) without writing anything.

    Yields, for each step, the journal line that it gives and the step itself; the caller compares with the lines stored
    and stops where it likes. A training that reads its segments back reads those of the run's own record.
    """
    first = next(read_lines(folder.journal))
    prev, index = (first.hash, 0) if start is None else (start.journal_hash, start.steps)
    reader = SegmentReader(folder.segments, stop_step=index)
    if isinstance(training, ReadsRecord):
        training.attach(RunRecord(segments=reader))
    if start is not None:
        training.set_state(start.state)
    for step in training.steps():
        _check_order(step, index)
        digests = {name: digest_columns(checked_columns(name, columns)) for name, columns in step.segments.items()}
        line, prev = encode_line(step_content(step, digests), prev)
        index += 1
        # The record holds the whole run; the training may see only what it had written at this point.
        reader.stop_step = index
        yield line, step
