"""Replay: what a run recorded of its gradients, applied again or computed again, and compared bit for bit.

    gradients    stored gradients through the optimiser: no model, no data, no forward or backward pass
    recompute    the steps computed again from spec, data and code; the first tensor that differs is named

A new run trained on the recorded batches is `app.retrain`; one step looked at is `app.replay_step`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from lockstep.app.timing import seconds_of_training
from lockstep.core.clock import Clock, SystemClock
from lockstep.core.errors import InputError, NotComparableError, NotEqualError
from lockstep.core.libraries import require
from lockstep.reports.words import counted
from lockstep.runs.checkpoint import Checkpoint, CheckpointStore
from lockstep.runs.identity import NumericsIdentity
from lockstep.runs.kind import RunContext
from lockstep.runs.numerics import entry_differences, pinned_threads
from lockstep.runs.rebuild import rebuild, require_same

if TYPE_CHECKING:
    from lockstep.learning.gradients.record import SessionRecord
    from lockstep.runs.folder import RunFolder

Mode = Literal["gradients", "recompute"]
MODES: Final = ("gradients", "recompute")
CHECK_EVERY: Final = 1_000
_TELL_EVERY: Final = 256


@dataclass(frozen=True, kw_only=True, repr=False)
class ReplayResult:
    """What a replay showed.

    mode              gradients or recompute, and `chosen`: why, where nobody said which
    first_step, steps where it began, and how many steps were applied or computed
    checked           states (gradients) or journal lines (recompute) that were compared
    whole             whether the final weights stored with the run were compared as well
    difference        the first thing that came out different, in words; None when nothing did
    seconds           what the replay took
    training_seconds  what training takes for as many steps, at the rate of the run; None where that is not known
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
        """Whether everything that was compared came out the same, to the last bit."""
        return self.difference is None

    @property
    def exit_code(self) -> int:
        """0 equal, 1 not."""
        return 0 if self.equal else NotEqualError.exit_code

    @property
    def times_faster(self) -> float | None:
        """Training's time over the replay's; None where training's is not known."""
        if self.training_seconds is None or not self.seconds > 0.0:
            return None
        return self.training_seconds / self.seconds

    def to_json(self) -> dict[str, Any]:
        """As in `--json`."""
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
        """In words."""
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
    """Which steps: `first` to `last`, both included, counted from 0; None for the ends."""

    first: int | None = None
    last: int | None = None

    def within(self, steps: int) -> tuple[int, int]:
        """First step and the step after the last. Raises InputError when a session of `steps` steps lacks them."""
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
    on_step: Callable[[int, int], None] | None = None,
    clock: Clock | None = None,
) -> ReplayResult:
    """Replay a run and compare. Without `mode`: gradients where the record holds all of them, else recompute.

    `context` is what computing again needs: an executor, and the blobs that hold the data.
    `span` begins at the stored state before it. `across` computes again although code or numerics differ. `on_step`
    is told how many steps are done, and of how many.

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
    record = open_record(folder)
    first, stop = (span or Span()).within(len(record))
    chosen: str | None = None
    if mode is None:
        mode, chosen = _choice(record, stop)
    with pinned_threads():
        if mode == "gradients":
            outcome = _apply(record, first, stop, check_every, on_step)
        else:
            outcome = _compute(record, first, stop, context, across, on_step)
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
    """The record of a run. Raises MissingLibraryError without torch, RefusedError for another kind of run."""
    require_torch()
    from lockstep.learning.gradients.record import SessionRecord

    return SessionRecord(folder)


def require_torch() -> None:
    """Load torch, whose start is no part of a replay's time. Raises MissingLibraryError."""
    require("torch", extra="ml", purpose="replaying a session")
    from lockstep.learning.gradients.replay import warm_up

    warm_up()


@dataclass(frozen=True, kw_only=True)
class _Outcome:
    first_step: int
    steps: int
    checked: int
    whole: bool = False
    state: str | None = None
    difference: str | None = None
    notes: tuple[str, ...] = ()


def _choice(record: SessionRecord, stop: int) -> tuple[Mode, str]:
    recording = record.description.recording
    if recording.replayable and record.content(stop - 1)["scalars"]["level"] == "full":
        return "gradients", "the record holds the gradient of every step"
    if recording.replayable:
        return "recompute", 'the record fell to level = "norms" at max_bytes; gradients are there up to the fall (--to)'
    return "recompute", (
        f'the record holds too little to apply (level = "{recording.level}", every = {recording.every}, select = '
        f"{list(recording.select)})"
    )


def _apply(
    record: SessionRecord, first: int, stop: int, check_every: int, on_step: Callable[[int, int], None] | None
) -> _Outcome:
    from lockstep.learning.gradients.replay import replay_gradients

    def progress(done: int) -> None:
        # A step takes microseconds here: telling somebody of each would cost more than the step.
        if on_step is not None and done % _TELL_EVERY == 0:
            on_step(done, stop - first)

    try:
        result = replay_gradients(record, check_every=check_every, first=first, stop=stop, on_step=progress)
    except NotEqualError as error:
        differing = _numerics_differences(record.folder)
        if differing:
            raise NotComparableError(
                f"{error}\nThe run was made with other numerics, so equality can be neither claimed nor refuted:\n"
                + "\n".join(f"  - {line}" for line in differing)
            ) from error
        where = _first_state(record, first, stop, error)
        return _Outcome(first_step=first, steps=stop - first, checked=0, difference=where)
    notes: list[str] = []
    if record.content(stop - 1)["digests"].get("state") is None:
        every = record.description.recording.digest_every
        notes.append(f"the journal has no digest of the last state (digest_every = {every}); choose another --to")
    if result.first_step < first:
        notes.append(f"began at the state stored before step {result.first_step:,}")
    return _Outcome(
        first_step=result.first_step,
        steps=result.steps,
        checked=result.checked,
        whole=result.weights_file,
        state=result.state,
        notes=tuple(notes),
    )


def _first_state(record: SessionRecord, first: int, stop: int, error: NotEqualError) -> str:
    """Once more with every state checked, to name the first that differs and not the first that was looked at."""
    from lockstep.learning.gradients.replay import replay_gradients

    try:
        replay_gradients(record, check_every=1, first=first, stop=stop)
    except NotEqualError as earlier:
        return str(earlier)
    return str(error)


def _numerics_differences(folder: RunFolder) -> list[str]:
    from lockstep.learning.gradients.determinism import numerics_entries

    then = folder.read("numerics")
    return entry_differences(then, NumericsIdentity.collect(numerics_entries()).body())


def _compute(
    record: SessionRecord,
    first: int,
    stop: int,
    context: RunContext,
    across: bool,
    on_step: Callable[[int, int], None] | None,
) -> _Outcome:
    from lockstep.learning.gradients.replay import recompute_session

    folder = record.folder
    rebuilt = rebuild(folder, context.blobs)
    notes: list[str] = []
    if not across:
        require_same(folder, rebuilt)
    start = checkpoint_before(folder, first)
    begin = 0 if start is None else start.steps
    if begin < first:
        notes.append(f"began at the checkpoint before step {begin:,}")

    def progress(done: int) -> None:
        if on_step is not None:
            on_step(done, stop - begin)

    training = rebuilt.kind.training(rebuilt.prepared, context)
    comparison = recompute_session(training, record, start=start, stop=stop, on_step=progress)
    return _Outcome(
        first_step=begin,
        steps=comparison.computed,
        checked=comparison.computed,
        difference=None if comparison.first is None else f"{comparison.first} (first: the record, second: computed again)",
        notes=tuple(notes),
    )


def checkpoint_before(folder: RunFolder, steps: int) -> Checkpoint | None:
    """The newest checkpoint of at most `steps` steps. Raises IntegrityError when it is damaged."""
    store = CheckpointStore(folder.checkpoints)
    near = [count for count in store.stored_steps() if count <= steps]
    return store.load(near[-1]) if near else None
