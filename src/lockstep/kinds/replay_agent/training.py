"""The training of `kind = "replay-agent"`: a step is an optimiser update and the environment steps before it, or an
update with a recorded batch where the run is retrained."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import torch

from lockstep.kinds.replay_agent.plan import Plan
from lockstep.kinds.replay_agent.result import Examination
from lockstep.kinds.replay_agent.spec import ReplayAgentSpec
from lockstep.kinds.shared import market_data, rehearsal, retraining_agents
from lockstep.kinds.shared.gradient_kind import Costs, Recipe
from lockstep.kinds.shared.rehearsal import Rehearsal
from lockstep.kinds.shared.retraining_agents import recorded_experiences, session_of
from lockstep.learning.gradients.estimate import SessionEstimate, estimate_of
from lockstep.learning.gradients.recorder import Recorder
from lockstep.rl.recorded_batches import RecordedBuffer, RecordedReplay
from lockstep.rl.training import FixedExperiences, ReplayTraining
from lockstep.runs.kind import Estimate

if TYPE_CHECKING:
    from torch import nn

    from lockstep.kinds.shared.market_data import Pinned
    from lockstep.learning.gradients.record import SessionRecord
    from lockstep.rl.recorded_batches import RecordedExperiences
    from lockstep.runs.folder import RunFolder
    from lockstep.runs.kind import PrepareContext, RunContext
    from lockstep.storage.blobs import BlobStore

_LINE_BYTES: Final = 400
"""Of the journal, beside what every gradient training writes."""
_FACT_BYTES: Final = 44
"""Of an experience in the record, beside its observations."""
_FRAME_BYTES: Final = 64
"""Head and seal of a frame."""
_HELD_BYTES: Final = 300
"""An experience in the buffer, beside its observations: 16 columns of 8 bytes, its number, the sum trees."""
_KEPT_BYTES: Final = 88
"""The same in a checkpoint, which finds the observations in a segment."""
_MODELS: Final = 2
"""Files of weights that a run leaves: the last and the best."""
_LIVED: Final = 300
"""Environment steps that say how long all those before the first update take."""
_LAST_WALKS: Final = 3
"""Walks at the end: the last evaluation, and validation and test bars with the best weights."""


class ReplayAgentRecipe(Recipe[ReplayAgentSpec, Plan]):
    """Agents that learn from a buffer of one market's experiences."""

    def pin(self, spec: ReplayAgentSpec, context: PrepareContext) -> Plan:
        """Load, clean and pin the candles. `context.python_objects` may hold them ("data.candles"). Raises the
        InputError tree, DiskError."""
        return _plan(spec, market_data.pin(spec, {}, context))

    def restore(self, spec: ReplayAgentSpec, folder: RunFolder, context: PrepareContext) -> Plan:
        """The same from a run's folder and the snapshots of its home. Raises IntegrityError, DataError."""
        return _plan(spec, market_data.restore(folder.read("data"), context.blobs))

    def notes(self, plan: Plan) -> tuple[str, ...]:
        """Bars of each part, for a person."""
        training, validation, test = (stop - start for start, stop in vars(plan.parts).values())
        line = (
            f"{training:,} bars to train on, {validation:,} to validate, {test:,} to test, {plan.spec.purge_bars} left "
            "out between two parts"
        )
        return (*plan.pinned.notes, line)

    def try_network(self, plan: Plan) -> None:
        """Make the agent and let it act once: an observation of another size than its network's shows there."""
        environment = plan.training_environment()
        plan.agent().act(environment.reset()[None])

    def costs(self, plan: Plan, context: PrepareContext) -> Costs:
        """Disk and memory by calculation, the networks on the meta device."""
        module = _on_meta(plan)
        size = _size(plan, module)

        def estimate(timing: Rehearsal) -> Estimate:
            return _estimate(plan, size, module, timing)

        # The line of bytes counts a target network at every step; the estimate knows better.
        lines = (f"{size.parameters:,} trained parameters", *size.lines()[1:])
        return Costs(state_bytes=size.state_bytes, lines=lines, estimate=estimate)

    def rehearse(self, plan: Plan, costs: Costs, context: PrepareContext) -> Rehearsal:
        """Beside the updates, the time before the first of them and the walks through validation and test bars."""
        table = plan.spec.training
        few = min(table.learning_starts, max(plan.spec.environment.horizon_bars + 1, table.batch_size, _LIVED))
        begins = table.model_copy(update={"learning_starts": few})
        brief = replace(plan, spec=plan.spec.model_copy(update={"training": begins}))
        # Everything is done once before it is timed, so that no kernel is compiled meanwhile.
        warm = _training(brief)
        next(warm.steps(), None)
        Examination(plan, updates=1).after(0, warm.agent)

        training = _training(brief)
        updates, began = training.steps(), time.perf_counter()
        next(updates, None)
        lived = time.perf_counter() - began
        timing = rehearsal.rehearse(lambda: updates, state_bytes=costs.state_bytes)
        if timing.step_seconds is None:  # a training of one update, which is over
            return replace(timing, step_seconds=0.0, other_seconds=lived)
        began = time.perf_counter()
        Examination(plan, updates=1).after(0, training.agent)
        walk = time.perf_counter() - began
        walks = table.updates // plan.spec.validation.evaluate_every + _LAST_WALKS
        start = max(lived - timing.step_seconds, 0.0) * table.learning_starts / few
        return replace(timing, other_seconds=start + walk * walks)

    def training(self, plan: Plan, context: PrepareContext | RunContext) -> ReplayTraining:
        """At its start."""
        return _training(plan, recorded_experiences(plan.spec.session, context.blobs))

    def pin_samples(self, record: SessionRecord, steps: Sequence[int] | None, blobs: BlobStore) -> str:
        """See `retraining.PinsSamples`."""
        return retraining_agents.pin(record, steps, blobs, recorded_experiences(session_of(record.folder), blobs))


def _plan(spec: ReplayAgentSpec, pinned: Pinned) -> Plan:
    return Plan.of(spec.model_copy(update={"agent": spec.agent.resolved()}), pinned)


def _training(plan: Plan, recorded: RecordedExperiences | None = None) -> ReplayTraining:
    """`recorded` are the batches of the run that is retrained; None where the agent lives through its own."""
    agent, table = plan.agent(), plan.spec.training
    replay = plan.replay() if recorded is None else RecordedReplay(experiences=recorded)
    return ReplayTraining(
        agent,
        plan.buffer() if recorded is None else RecordedBuffer(recorded),
        Recorder(plan.spec.recording.settings(), agent.learner),
        replay,
        plan.rollout() if recorded is None else FixedExperiences({}),
        watcher=Examination(plan, updates=replay.updates),
        rate=lambda step: table.rate(step, table.updates),
        session={
            "model": plan.spec.agent.algorithm,
            "model_kind": "agent",
            "symbol": plan.pinned.candles.symbol,
            **plan.spec.session.metadata(),
        },
    )


def _on_meta(plan: Plan) -> nn.Module:
    """Shapes without memory: an estimate of a billion weights allocates none of them."""
    with torch.device("meta"):
        return plan.module()


def _experience_bytes(plan: Plan) -> tuple[int, int]:
    """Of the observations of an experience, before and after, float32; of the whole of it in the record."""
    observations = 2 * 4 * plan.shape().inputs
    return observations, observations + _FACT_BYTES


def _size(plan: Plan, module: nn.Module) -> SessionEstimate:
    spec = plan.spec
    _, each = _experience_bytes(plan)
    # The td error of each experience lies beside its id, and its weight where it has one; and what was lived.
    columns = 3 if spec.buffer.mode == "prioritized" else 2
    lived = math.ceil((_FRAME_BYTES + spec.training.steps_per_update * each) / 8)
    return estimate_of(
        module,
        plan.optimizer(),
        spec.recording.settings(),
        steps=spec.training.updates,
        batch=columns * spec.training.batch_size + lived,
        losses=2 if spec.agent.algorithm == "double_dqn" else 4,
    )


def _estimate(plan: Plan, size: SessionEstimate, module: nn.Module, timing: Rehearsal) -> Estimate:
    spec, target = plan.spec, plan.settings()
    observations, each = _experience_bytes(plan)
    lived = spec.training.learning_starts + spec.training.steps_per_update * size.last_step
    written = spec.training.learning_starts * each + _LINE_BYTES * size.last_step
    if spec.recording.level == "full" and target.tau == 1.0:
        # Buffers are written when they change: here when the target network is copied.
        held = sum(value.numel() * value.element_size() for value in module.buffers())
        written -= math.floor(size.last_step * held * (1.0 - 1.0 / target.target_every))
    buffered = min(spec.buffer.capacity, lived)
    estimate = size.as_run_estimate(
        # All updates, although `max_bytes` may end the session before them: time errs to the long side.
        seconds=timing.seconds(spec.training.updates),
        held_bytes=timing.held_bytes + buffered * (observations + _HELD_BYTES),
        # And the weights that did best in validation.
        kept_bytes=buffered * _KEPT_BYTES + size.weight_bytes,
        models=_MODELS,
    )
    return replace(estimate, disk_bytes=(estimate.disk_bytes or 0) + written)
