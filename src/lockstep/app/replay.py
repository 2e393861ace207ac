"""Replay: apply the recorded gradients of a run, or compute its steps again, and compare bit for bit.

    gradients    stored gradients go through the optimiser: no model, no data, no forward or backward pass
    recompute    the steps are computed again from spec, data and code; the first tensor that differs is named

`app.retrain` trains a new run on the recorded batches; `app.step` shows one step. `app.record_replay` does the work
and loads torch; this module does not, so that a machine without torch is told what to install.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from lockstep.app.timing import seconds_of_training
from lockstep.app.trust import permit, reading
from lockstep.core.clock import Clock, SystemClock
from lockstep.core.errors import InputError, NotEqualError
from lockstep.core.libraries import require
from lockstep.reports.words import counted
from lockstep.runs.kind import RunContext
from lockstep.runs.numerics import pinned_threads

if TYPE_CHECKING:
    from lockstep.learning.gradients.record import SessionRecord
    from lockstep.runs.folder import RunFolder

Mode = Literal["gradients", "recompute"]
MODES: Final = ("gradients", "recompute")
CHECK_EVERY: Final = 1_000
"""Steps between two states that a replay of gradients compares with the journal."""


@dataclass(frozen=True, kw_only=True, repr=False)
class ReplayResult:
    """What a replay showed.

    mode              gradients or recompute
    first_step        the step where it began
    steps             how many steps were applied or computed
    checked           states (gradients) or journal lines (recompute) that were compared
    whole             whether the final weights stored with the run were compared as well
    state             digest of the last state that was compared; None when steps were recomputed
    difference        the first difference, in words; None when everything was equal
    seconds           what the replay took
    training_seconds  what training takes for as many steps, at the rate of the run; None when it is not known
    chosen            why this mode was chosen; None when the caller named it
    """

    run_id: str
    mode: str
    first_step: int
    steps: int
    checked: int
    whole: bool
    state: str | None
    difference: str | None
    seconds: float
    training_seconds: float | None
    chosen: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def equal(self) -> bool:
        """Whether everything that was compared is equal to the last bit."""
        return self.difference is None

    @property
    def exit_code(self) -> int:
        """0 when equal, 1 when not equal."""
        return 0 if self.equal else NotEqualError.exit_code

    @property
    def times_faster(self) -> float | None:
        """The time of training divided by that of the replay; None when the time of training is not known."""
        if self.training_seconds is None or not self.seconds > 0.0:
            return None
        return self.training_seconds / self.seconds

    def to_json(self) -> dict[str, Any]:
        """The object that `lockstep replay --json` prints."""
        return {
            "run_id": self.run_id,
            "mode": self.mode,
            "outcome": "equal" if self.equal else "not equal",
            "first_step": self.first_step,
            "steps": self.steps,
            "checked": self.checked,
            "final_weights_compared": self.whole,
            "state": self.state,
            "difference": self.difference,
            "seconds": self.seconds,
            "training_seconds": self.training_seconds,
            "times_faster": self.times_faster,
            "chosen": self.chosen,
            "notes": list(self.notes),
        }

    def text(self) -> str:
        """The lines that `lockstep replay` prints."""
        lines = [] if self.chosen is None else [f"{self.mode}: {self.chosen}"]
        last = self.first_step + self.steps - 1
        span = counted(self.steps, "step")
        if self.first_step > 0:
            span += f", {self.first_step:,} to {last:,}," if self.steps > 1 else f", number {last:,},"
        if not self.equal:
            lines += [f"run {self.run_id}: not equal", f"  {self.difference}"]
        elif self.mode == "gradients":
            what = "the final weights are equal to the last bit" if self.whole else "equal to the last bit"
            lines += [
                f"run {self.run_id}: {what}",
                f"  {span} of stored gradients applied, {counted(self.checked, 'state')} checked against the journal",
            ]
        else:
            lines.append(f"run {self.run_id}: equal to the last bit ({span} computed again, every line compared)")
        lines.append(f"  {self._time()}")
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    def _time(self) -> str:
        rate = f"{self.seconds:.2f} s"
        # Computing again reads data and makes the model first, which training's time does not have in it.
        if self.times_faster is None or self.training_seconds is None or self.mode != "gradients":
            return rate
        compared = f"training took {self.training_seconds:.2f} s for as many steps"
        return f"{rate}; {compared}" + (f", {self.times_faster:.1f} times as long" if self.times_faster >= 1.05 else "")

    def __repr__(self) -> str:
        return self.text()


@dataclass(frozen=True, kw_only=True)
class Span:
    """Steps `first` to `last`, both included, counted from 0; None stands for the run's first or last step."""

    first: int | None = None
    last: int | None = None

    def within(self, steps: int) -> tuple[int, int]:
        """First step, and the step after the last. Raises InputError when a run of `steps` steps lacks them."""
        first = 0 if self.first is None else self.first
        last = steps - 1 if self.last is None else self.last
        if not 0 <= first <= last < steps:
            raise InputError(
                f"--from and --to name steps from 0 to {steps - 1}, the first not after the last; found "
                f"{first} to {last}."
            )
        return first, last + 1


def replay(
    folder: RunFolder,
    context: RunContext,
    *,
    mode: Mode | None = None,
    span: Span | None = None,
    check_every: int = CHECK_EVERY,
    across: bool = False,
    trust: bool = False,
    on_step: Callable[[int, int], None] | None = None,
    clock: Clock | None = None,
) -> ReplayResult:
    """Replay a run and compare.

    context       executor, and the blobs that hold the data, for computing again
    mode          default: gradients when the record holds all of them, else recompute
    span          the replay begins at the newest stored state before it
    check_every   steps between two states that a replay of gradients compares
    across        compute again although code or numerics differ
    trust         run code of an imported run (`app.trust`), which only computing again does
    on_step       is called with the number of steps that are done, and of all

    Raises RefusedError for a run that keeps no gradients, NotComparableError when code or numerics differ,
    IntegrityError for damage, MissingLibraryError without torch.
    """
    if mode is not None and mode not in MODES:
        raise InputError(
            f"a replay's mode is one of {', '.join(MODES)}; found {mode!r}. To train a new run on recorded batches: "
            "retrain"
        )
    if check_every < 1:
        raise InputError(f"states are checked every 1 or more steps; found {check_every}")
    require_torch()
    clock = clock if clock is not None else SystemClock()
    began = clock.monotonic()
    # Loads torch, whose presence `require_torch` has checked.
    from lockstep.app import record_replay

    with reading(folder), pinned_threads():
        record = open_record(folder)
        first, stop = (span or Span()).within(len(record))
        chosen: str | None = None
        if mode is None:
            mode, chosen = _choice(record, stop)
        if mode == "recompute":
            permit(folder, trust=trust)
        if mode == "gradients":
            outcome = record_replay.apply(record, first, stop, check_every=check_every, on_step=on_step)
        else:
            outcome = record_replay.recompute(record, first, stop, context, across=across, on_step=on_step)
    seconds = clock.monotonic() - began
    return ReplayResult(
        run_id=folder.path.name,
        mode=mode,
        seconds=seconds,
        training_seconds=seconds_of_training(folder, outcome.steps),
        chosen=chosen,
        **vars(outcome),
    )


def open_record(folder: RunFolder) -> SessionRecord:
    """The record of a run. Raises MissingLibraryError without torch, RefusedError for a run without gradients."""
    require_torch()
    from lockstep.learning.gradients.record import SessionRecord

    return SessionRecord(folder)


def require_torch() -> None:
    """Load torch before the clock starts: its start is no part of a replay's time. Raises MissingLibraryError."""
    require("torch", extra="ml", purpose="replaying a run")
    from lockstep.learning.gradients.replay import warm_up

    warm_up()


def _choice(record: SessionRecord, stop: int) -> tuple[Mode, str]:
    """The mode that the record allows up to `stop`, and why."""
    recording = record.description.recording
    if recording.replayable and record.content(stop - 1)["scalars"]["level"] == "full":
        return "gradients", "the record holds the gradient of every step"
    if recording.replayable:
        return "recompute", 'the record fell to level = "norms" at max_bytes; gradients are there up to the fall (--to)'
    return "recompute", (
        f'the record holds too little to apply (level = "{recording.level}", every = {recording.every}, select = '
        f"{list(recording.select)})"
    )
