"""Replay a record: apply its gradients, compute its steps again, or find the model's state after one of them.

`app.replay` and `app.step` load this module after they have checked that torch is there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from lockstep.core.errors import NotComparableError, NotEqualError
from lockstep.learning.gradients.determinism import numerics_entries
from lockstep.learning.gradients.replay import (
    differing_tensor,
    recompute_session,
    recompute_state,
    replay_gradients,
)
from lockstep.runs.checkpoint import Checkpoint, CheckpointStore
from lockstep.runs.identity import NumericsIdentity
from lockstep.runs.numerics import entry_differences
from lockstep.runs.restored_run import require_same_code, restore_run

if TYPE_CHECKING:
    from lockstep.learning.gradients.record import SessionRecord
    from lockstep.learning.gradients.training import GradientTraining
    from lockstep.runs.folder import RunFolder
    from lockstep.runs.kind import RunContext
    from lockstep.runs.training import Training

_PROGRESS_EVERY: Final = 256
"""Steps between two reports of progress while gradients are applied."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a replay compared; the fields are those of `app.replay.ReplayResult`."""

    first_step: int
    steps: int
    checked: int
    whole: bool = False
    state: str | None = None
    difference: str | None = None
    notes: tuple[str, ...] = ()


def apply(
    record: SessionRecord, first: int, stop: int, *, check_every: int, on_step: Callable[[int, int], None] | None
) -> Outcome:
    """Apply the gradients of steps `first` to `stop` - 1, and compare every `check_every`-th state.

    Raises NotComparableError when a state differs and so do the numerics.
    """

    def progress(done: int) -> None:
        # A step takes microseconds here: a call for each would cost more than the step.
        if on_step is not None and done % _PROGRESS_EVERY == 0:
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
        where = _first_difference(record, first, stop, error)
        return Outcome(first_step=first, steps=stop - first, checked=0, difference=where)
    notes: list[str] = []
    if record.content(stop - 1)["digests"].get("state") is None:
        every = record.description.recording.digest_every
        notes.append(f"the journal has no digest of the last state (digest_every = {every}); choose another --to")
    if result.first_step < first:
        notes.append(f"began at the state stored before step {result.first_step:,}")
    return Outcome(
        first_step=result.first_step,
        steps=result.steps,
        checked=result.checked,
        whole=result.weights_file,
        state=result.state,
        notes=tuple(notes),
    )


def _first_difference(record: SessionRecord, first: int, stop: int, error: NotEqualError) -> str:
    """The first state that differs: the replay is repeated with every state compared, not every `check_every`-th."""
    text = str(error)
    try:
        replay_gradients(record, check_every=1, first=first, stop=stop)
    except NotEqualError as earlier:
        text = str(earlier)
    tensor = differing_tensor(record)
    return text if tensor is None or tensor in text else f"{text} {tensor}"


def _numerics_differences(folder: RunFolder) -> list[str]:
    """What differs among the entries that both have: those of a baseline's library take no part in an update."""
    then, now = folder.read("numerics"), NumericsIdentity.collect(numerics_entries()).body()
    both = then.keys() & now.keys()
    return entry_differences({name: then[name] for name in both}, {name: now[name] for name in both})


def recompute(
    record: SessionRecord,
    first: int,
    stop: int,
    context: RunContext,
    *,
    across: bool,
    on_step: Callable[[int, int], None] | None,
) -> Outcome:
    """Compute the steps up to `stop` - 1 again, from the newest checkpoint before `first`, and compare every line.

    Raises NotComparableError when code or numerics differ, unless `across`.
    """
    folder = record.folder
    training = _rebuilt_training(record, context, across=across)
    notes: list[str] = []
    start = _checkpoint_before(folder, first)
    begin = 0 if start is None else start.steps
    if begin < first:
        notes.append(f"began at the checkpoint before step {begin:,}")

    def progress(done: int) -> None:
        if on_step is not None:
            on_step(done, stop - begin)

    comparison = recompute_session(training, record, start=start, stop=stop, on_step=progress)
    return Outcome(
        first_step=begin,
        steps=comparison.computed,
        checked=comparison.computed,
        difference=None
        if comparison.first is None
        else f"{comparison.first} (first: the record, second: computed again)",
        notes=tuple(notes),
    )


def recomputed_state(record: SessionRecord, index: int, context: RunContext, *, across: bool) -> Mapping[str, Any]:
    """The state after step `index`, computed again.

    Raises NotComparableError when code or numerics differ, unless `across`.
    """
    training = _rebuilt_training(record, context, across=across)
    return recompute_state(cast("GradientTraining", training), record, index)


def _rebuilt_training(record: SessionRecord, context: RunContext, *, across: bool) -> Training:
    restored = restore_run(record.folder, context.blobs)
    if not across:
        require_same_code(record.folder, restored)
    return restored.kind.training(restored.prepared, context)


def _checkpoint_before(folder: RunFolder, steps: int) -> Checkpoint | None:
    """The newest checkpoint of at most `steps` steps. Raises IntegrityError when it is damaged."""
    store = CheckpointStore(folder.checkpoints)
    earlier = [count for count in store.stored_steps() if count <= steps]
    return store.load(earlier[-1]) if earlier else None
