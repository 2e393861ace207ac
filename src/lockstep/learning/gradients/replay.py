"""Replay a run: apply its stored gradients with the optimiser, or compute its steps again, and compare.

    replay_gradients(record)                  no model, no forward, no backward pass: many times faster than training
    recompute_session(training, record)       computes every step; names the first tensor that differs
    recompute_state(training, record, step)   the state after a step, at levels that keep no gradients

All compare bits. Applying gradients shows that the record leads to the weights; computing again shows that data, code
and this machine lead to the record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.numpy import load as load_arrays
from torch import nn

from lockstep.core import canonical
from lockstep.core.errors import NotEqualError
from lockstep.core.hashing import digest_columns
from lockstep.learning.gradients.codec import GRADIENT
from lockstep.learning.gradients.learner import BUFFER, WEIGHTS
from lockstep.learning.gradients.optim_state import OptimizerSettings
from lockstep.learning.gradients.record import FlatOptimizer, SessionRecord
from lockstep.learning.gradients.segment_names import BATCHES, BUFFERS, GRADIENTS, NORMS, SNAPSHOTS, START, STEPS
from lockstep.learning.gradients.training import WEIGHTS_FILE
from lockstep.runs.checkpoint import CheckpointStore
from lockstep.runs.loop import recompute
from lockstep.runs.sealed import sealed_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.learning.gradients.learner import Arrays
    from lockstep.learning.gradients.training import GradientTraining
    from lockstep.runs.checkpoint import Checkpoint
    from lockstep.runs.training import Step, Training
    from lockstep.storage.columns import Columns

CHECK_EVERY = 1_000
# The order in which a difference is looked for: what comes first explains what comes later.
_ORDER = (BATCHES, START, GRADIENTS, BUFFERS, STEPS, SNAPSHOTS, NORMS)


@dataclass(frozen=True, kw_only=True)
class GradientReplay:
    """Result of applying stored gradients; every comparison was equal.

    first_step    step of the first gradient
    steps         how many gradients were applied
    checked       how many states were compared with digests of the journal, the last included where it has one
    state         digest of the last state
    weights_file  whether the run has a file of final weights, which was compared as well
    weights       the last weights, by parameter
    """

    session_id: str
    first_step: int
    steps: int
    checked: int
    state: str
    weights_file: bool
    weights: Mapping[str, NDArray[Any]]


def warm_up() -> None:
    """Let torch load the modules that its first optimiser imports, before a replay is timed; about a second."""
    OptimizerSettings().make(nn.Parameter(torch.zeros(1)))


def replay_gradients(
    record: SessionRecord,
    *,
    check_every: int = CHECK_EVERY,
    first: int = 0,
    stop: int | None = None,
    on_step: Callable[[int], None] | None = None,
) -> GradientReplay:
    """Apply stored gradients, one after the other, and compare states with the journal's digests.

    check_every  steps between two comparisons; 1 finds the first step that differs
    first        begin at the newest stored state before this step (0: at the start)
    stop         end before this step (None: after the last)
    on_step      is called with the number of gradients applied so far

    Raises NotEqualError when a state, or the stored final weights, differ in one bit; RefusedError when the record
    does not hold every gradient; IntegrityError for damage.
    """
    record.require_gradients()
    end = len(record) if stop is None else stop
    try:
        return _replay(record, first, end, check_every, on_step, compiled=not record.momentum_moves)
    except NotEqualError:
        if record.momentum_moves:
            raise
    # Compiled passes were compared with torch's before their first use, not at every rate; torch's own have to agree
    # before a record is accused.
    return _replay(record, first, end, check_every, on_step, compiled=False)


def _replay(
    record: SessionRecord,
    first: int,
    end: int,
    check_every: int,
    on_step: Callable[[int], None] | None,
    *,
    compiled: bool,
) -> GradientReplay:
    steps, state = record.snapshot_before(first) if first > 0 else (0, record.start_state())
    checked = int(record.check_state(steps - 1, state)) if steps > 0 else 0
    machine = FlatOptimizer(record.description.optimizer, state, end - steps if compiled else 0)
    step = steps - 1
    for step, gradient in record.gradients(steps, end):
        machine.apply(gradient, *record.rates(step))
        if (step + 1) % check_every == 0 or step + 1 == end:
            checked += record.check_state(step, machine.arrays() | _buffers(record, step))
        if on_step is not None:
            on_step(step + 1 - steps)
    if step + 1 != end:
        raise record.gradients_end(step + 1)
    state = machine.arrays() | _buffers(record, step)
    weights = record.description.layout.named(state[WEIGHTS])
    stored = sealed_bytes(record.folder, f"artifacts/{WEIGHTS_FILE}") if end == len(record) else None
    if stored is not None:
        buffers = {name[len(BUFFER) :]: array for name, array in state.items() if name.startswith(BUFFER)}
        _compare_weights(record, weights | buffers, load_arrays(stored))
    return GradientReplay(
        session_id=record.session_id,
        first_step=steps,
        steps=end - steps,
        checked=checked,
        state=digest_columns(state),
        weights_file=stored is not None,
        weights=weights,
    )


def _buffers(record: SessionRecord, step: int) -> dict[str, NDArray[Any]]:
    """Buffers after `step`, from the record: no gradient moves them (BatchNorm's statistics, target networks)."""
    latest = record.segments.latest(BUFFERS, step)
    return {name: array[0] for name, array in latest.items()}


def _compare_weights(
    record: SessionRecord, replayed: Mapping[str, NDArray[Any]], stored: Mapping[str, NDArray[Any]]
) -> None:
    for name, array in replayed.items():
        if name in stored and not same_bits(array, stored[name]):
            raise NotEqualError(
                f"run {record.session_id}: {name}, made from the stored gradients, differs from {WEIGHTS_FILE}: "
                f"{worst(stored[name], array)}."
            )


def differing_tensor(record: SessionRecord) -> str | None:
    """The first tensor of the final weights to which the stored gradients do not lead, in a sentence.

    None where all are equal, or the run left no file of weights.
    """
    stored = sealed_bytes(record.folder, f"artifacts/{WEIGHTS_FILE}")
    if stored is None:
        return None
    machine = FlatOptimizer(record.description.optimizer, record.start_state())
    for step, gradient in record.gradients(0, len(record)):
        machine.apply(gradient, *record.rates(step))
    buffers = {name[len(BUFFER) :]: array for name, array in _buffers(record, len(record) - 1).items()}
    weights = record.description.layout.named(machine.arrays()[WEIGHTS])
    try:
        _compare_weights(record, weights | buffers, load_arrays(stored))
    except NotEqualError as error:
        return str(error)
    return None


@dataclass(frozen=True, kw_only=True)
class TensorDifference:
    """The first place where a step computed again differs from the record.

    `tensor` is a parameter's or a column's name, or a path into the journal's line; `detail` says how far apart.
    """

    step: int
    segment: str
    tensor: str
    detail: str

    def __str__(self) -> str:
        return f"step {self.step}, {self.segment}: {self.tensor} differs ({self.detail})"


@dataclass(frozen=True, kw_only=True)
class Recomputation:
    """Result of computing steps again.

    computed  how many steps were computed
    first     the first difference, None when every line of the journal is equal
    """

    session_id: str
    computed: int
    first: TensorDifference | None

    @property
    def equal(self) -> bool:
        """Whether every computed step equals its record."""
        return self.first is None


def recompute_session(
    training: Training,
    record: SessionRecord,
    *,
    start: Checkpoint | None = None,
    stop: int | None = None,
    on_step: Callable[[int], None] | None = None,
) -> Recomputation:
    """Compute steps again and compare each with the record, up to the first that differs. Nothing is written.

    training  a new one of the same spec
    start     checkpoint to begin after (None: at step 0)
    stop      end before this step (None: after the last)
    on_step   is called with the number of steps computed so far
    """
    at = 0 if start is None else start.steps
    end = len(record) if stop is None else min(stop, len(record))
    steps = recompute(training, record.folder, start)
    computed = 0
    while at < end:
        recomputed = next(steps, None)
        if recomputed is None:
            return _ended(record, computed, at)
        line, step = recomputed
        computed += 1
        content = canonical.loads(line)["content"]
        first = _difference(record, step, content)
        if first is not None:
            return Recomputation(session_id=record.session_id, computed=computed, first=first)
        at += 1
        if on_step is not None:
            on_step(computed)
    return Recomputation(session_id=record.session_id, computed=computed, first=None)


def recompute_state(training: GradientTraining, record: SessionRecord, step: int) -> Arrays:
    """The whole state after `step` at any recording level, computed again from the newest checkpoint before it.

    `training` is a new one of the same spec. Where the record holds every gradient, `record.state_after` is much
    faster. Raises IndexError for a step beyond the run, NotEqualError when the journal has another digest of the
    state.
    """
    if not 0 <= step < len(record):
        raise IndexError(f"run {record.session_id} has steps 0 to {len(record) - 1}; found {step}")
    store = CheckpointStore(record.folder.checkpoints)
    near = [steps for steps in store.stored_steps() if steps <= step + 1]
    start = store.load(near[-1]) if near else None
    if start is not None and start.steps == step + 1:
        training.set_state(start.state)
    else:
        for _, recomputed in recompute(training, record.folder, start):
            if recomputed.index == step:
                break
    state = training.learner.get_state()
    record.check_state(step, state)
    return state


def _ended(record: SessionRecord, computed: int, at: int) -> Recomputation:
    first = TensorDifference(step=at, segment="journal", tensor="step", detail=f"recorded {len(record)}, ended here")
    return Recomputation(session_id=record.session_id, computed=computed, first=first)


def _difference(record: SessionRecord, step: Step, content: Mapping[str, Any]) -> TensorDifference | None:
    then = record.content(step.index)
    if canonical.dumps(then) == canonical.dumps(content):
        return None
    changed = {
        name
        for name in then["segments"].keys() | content["segments"].keys()
        if then["segments"].get(name) != content["segments"].get(name)
    }
    for name in sorted(changed, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name)):
        if name not in then["segments"] or name not in step.segments:
            return TensorDifference(step=step.index, segment=name, tensor="frame", detail="only one of the two has it")
        stored, now = record.frame(name, step.index), step.segments[name]
        # Packed bytes say nothing of a parameter, so gradients are compared unpacked.
        if name == GRADIENTS:
            stored, now = ({GRADIENT: record.unpacked(columns)[None]} for columns in (stored, now))
        tensor = _first_tensor(record, name, stored, now)
        if tensor is not None:
            return TensorDifference(step=step.index, segment=name, tensor=tensor[0], detail=tensor[1])
    for part in ("scalars", "digests"):
        for key in sorted(then[part].keys() | content[part].keys()):
            if canonical.dumps(then[part].get(key)) != canonical.dumps(content[part].get(key)):
                detail = f"{then[part].get(key)!r:.80} recorded, {content[part].get(key)!r:.80} now"
                return TensorDifference(step=step.index, segment="journal", tensor=f"{part}.{key}", detail=detail)
    return TensorDifference(step=step.index, segment="journal", tensor="line", detail="another line")


def _first_tensor(
    record: SessionRecord, name: str, stored: Mapping[str, NDArray[Any]], now: Columns
) -> tuple[str, str] | None:
    """Name and distance of the first array, or parameter within a flat one, whose bits differ."""
    for column in stored:
        one, two = stored[column], np.asarray(now[column])
        if same_bits(one, two):
            continue
        layout = record.description.layout
        if one.shape == two.shape == (1, layout.size):
            whole, again = layout.named(one[0]), layout.named(two[0])
            for parameter in whole:
                if not same_bits(whole[parameter], again[parameter]):
                    where = parameter if name == GRADIENTS else f"{column} of {parameter}"
                    return where, worst(whole[parameter], again[parameter])
        return column, worst(one, two)
    return None


def same_bits(one: NDArray[Any], two: NDArray[Any]) -> bool:
    """Equal shapes, dtypes and bytes: 0.0 is not -0.0, and NaN equals itself."""
    return one.shape == two.shape and one.dtype == two.dtype and one.tobytes() == two.tobytes()


def worst(one: NDArray[Any], two: NDArray[Any]) -> str:
    """How far two arrays are apart, as a phrase for a message: values that differ, and the largest distance."""
    if one.shape != two.shape:
        return f"shapes {one.shape} and {two.shape}"
    distance = np.abs(one.astype(np.float64) - two.astype(np.float64))
    return f"{int(np.count_nonzero(one != two))} of {one.size} values, at most {float(distance.max()):.3g} apart"
