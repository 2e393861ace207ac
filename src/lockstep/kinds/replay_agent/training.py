"""The recipe of `kind = "replay-agent"`: a step is an optimiser update with the environment steps before it.

In a retrained run a step is an update with a recorded batch, and the environment is not used.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import torch

from lockstep.kinds.replay_agent.plan import ReplayAgentPlan
from lockstep.kinds.replay_agent.result import Examination, examined
from lockstep.kinds.replay_agent.spec import ReplayAgentSpec
from lockstep.kinds.shared import experience_batches, market_data, step_timing
from lockstep.kinds.shared.agent_rehearsal import act_once
from lockstep.kinds.shared.experience_batches import recorded_experiences, session_of
from lockstep.kinds.shared.gradient_kind import Recipe, TrainingCosts
from lockstep.kinds.shared.step_timing import StepTiming
from lockstep.learning.gradients.estimate import SessionEstimate, estimate_of
from lockstep.learning.gradients.recorder import Recorder
from lockstep.rl.greedy import walk
from lockstep.rl.recorded_batches import RecordedBuffer, RecordedReplay
from lockstep.rl.training import FixedExperiences, ReplayTraining
from lockstep.runs.kind import Duration, Estimate

if TYPE_CHECKING:
    from torch import nn

    from lockstep.kinds.shared.market_data import Pinned
    from lockstep.learning.gradients.record import SessionRecord
    from lockstep.rl.recorded_batches import RecordedExperiences
    from lockstep.runs.folder import RunFolder
    from lockstep.runs.kind import PrepareContext, RunContext
    from lockstep.storage.blobs import BlobStore

_LINE_BYTES: Final = 400
"""Bytes of a journal line, beyond those of every gradient training."""
_FACT_BYTES: Final = 44
"""Bytes of an experience in the record, without its observations."""
_FRAME_BYTES: Final = 64
"""Bytes of the head and seal of a frame."""
_HELD_BYTES: Final = 300
"""Bytes of an experience in the buffer, without its observations: 16 columns of 8, its number, the sum trees."""
_KEPT_BYTES: Final = 88
"""Bytes of an experience in a checkpoint, whose observations are in a segment."""
_MODELS: Final = 2
"""Files of weights that a run leaves: the last and the best."""
_TIMED_STEPS: Final = 300
"""Environment steps that are timed for all those before the first update."""
_LAST_WALKS: Final = 2
"""Walks through validation and test bars with the best weights at the end: for the summary, and for the artifacts."""


class ReplayAgentRecipe(Recipe[ReplayAgentSpec, ReplayAgentPlan]):
    """Agents that learn from a buffer of one market's experiences."""

    def pin(self, spec: ReplayAgentSpec, context: PrepareContext) -> ReplayAgentPlan:
        """Load, clean and pin the candles. `context.python_objects` may hold them ("data.candles"). Raises the
        InputError tree, DiskError."""
        return _plan(spec, market_data.pin(spec, {}, context))

    def restore(self, spec: ReplayAgentSpec, folder: RunFolder, context: PrepareContext) -> ReplayAgentPlan:
        """The same plan from a run's folder and the snapshots of its home. Raises IntegrityError, DataError."""
        return _plan(spec, market_data.restore(folder.read("data"), context.blobs))

    def notes(self, plan: ReplayAgentPlan) -> tuple[str, ...]:
        """Lines on the candles and on the bars of each part."""
        training, validation, test = (stop - start for start, stop in vars(plan.parts).values())
        line = (
            f"{training:,} bars to train on, {validation:,} to validate, {test:,} to test, {plan.spec.purge_bars} left "
            "out between two parts"
        )
        return (*plan.pinned.notes, line)

    def try_network(self, plan: ReplayAgentPlan) -> None:
        """Make the agent and let it act once: an observation that does not fit its network fails there."""
        act_once(plan.agent(), plan.training_environment().reset()[None])

    def costs(self, plan: ReplayAgentPlan, context: PrepareContext) -> TrainingCosts:
        """Disk and memory by calculation, with the networks on the meta device."""
        module = _on_meta(plan)
        size = _size(plan, module)

        def estimate(timing: StepTiming) -> Estimate:
            return _estimate(plan, size, module, timing)

        # The first line counts a target network at every step; `_estimate` corrects that, so the line is replaced.
        lines = (f"{size.parameters:,} trained parameters", *size.lines()[1:])
        return TrainingCosts(state_bytes=size.state_bytes, lines=lines, estimate=estimate)

    def time_steps(self, plan: ReplayAgentPlan, costs: TrainingCosts, context: PrepareContext) -> StepTiming:
        """Time updates, the environment steps before the first of them, a walk through the validation bars, and its
        baselines."""
        table, parts = plan.spec.training, plan.parts
        # Few environment steps stand for all before the first update, which may take minutes. More than the horizon, so
        # that an outcome is known, and at least a batch, so that an update can be made.
        few = min(table.learning_starts, max(plan.spec.environment.horizon_bars + 1, table.batch_size, _TIMED_STEPS))
        brief = _with(plan, learning_starts=few)
        # All of it runs once before the timing, so that no time includes the compilation of a kernel.
        warm = _training(brief)
        next(warm.steps(), None)
        walked = walk(warm.agent, plan.environment_of(parts.validation))
        examined(walked, plan, "validation")

        start = step_timing.timed(lambda: next(_training(brief).steps(), None), warm=False)
        training = _training(_explored(brief))
        updates = training.steps()
        next(updates, None)
        bars = len(walked.sides)
        walk_time = step_timing.timed(lambda: walk(training.agent, plan.environment_of(parts.validation)), warm=False)
        baselines = step_timing.timed(lambda: examined(walked, plan, "validation"), warm=False)
        test_share = (parts.test[1] - parts.test[0]) / bars
        walks = table.updates // plan.spec.validation.evaluate_every + 1
        judging = walk_time * (walks + _LAST_WALKS * (1.0 + test_share)) + baselines * (1.0 + test_share)
        timing = step_timing.time_steps(
            lambda: updates,
            state_bytes=costs.state_bytes,
            period=plan.spec.validation.evaluate_every,
            evaluation=walk_time,
            judging=judging,
        )
        if timing.step is None:  # a training of one update, which is over
            return replace(timing, step=start)
        # The first step held one update too; without it, the rest scales with the number of environment steps.
        before = Duration(cpu=max(start.cpu - timing.step.cpu, 0.0), wall=max(start.wall - timing.step.wall, 0.0))
        return replace(timing, start=before * (table.learning_starts / few))

    def training(self, plan: ReplayAgentPlan, context: PrepareContext | RunContext) -> ReplayTraining:
        """The training before its first step."""
        return _training(plan, recorded_experiences(plan.spec.session, context.blobs))

    def pin_samples(self, record: SessionRecord, steps: Sequence[int] | None, blobs: BlobStore) -> str:
        """Pin batches and experiences of `steps`; see `retraining.PinsSamples`."""
        return experience_batches.pin(record, steps, blobs, recorded_experiences(session_of(record.folder), blobs))


def _plan(spec: ReplayAgentSpec, pinned: Pinned) -> ReplayAgentPlan:
    return ReplayAgentPlan.of(spec.model_copy(update={"agent": spec.agent.resolved()}), pinned)


def _training(plan: ReplayAgentPlan, recorded: RecordedExperiences | None = None) -> ReplayTraining:
    """The training before its first step.

    recorded   batches of the run that is retrained; None for any other run
    """
    agent, table = plan.agent(), plan.spec.training
    # A retrained agent does not act: it learns from what the first one did.
    replay = plan.replay() if recorded is None else RecordedReplay(experiences=recorded)
    agent.learner.momentum = table.momentum_of(table.updates)
    return ReplayTraining(
        agent,
        plan.buffer() if recorded is None else RecordedBuffer(recorded),
        Recorder(plan.spec.recording.settings(), agent.learner),
        replay,
        plan.rollout() if recorded is None else FixedExperiences({}),
        # By the updates that will be made: recorded batches may be fewer than the spec says.
        watcher=Examination(plan, updates=replay.updates),
        rate=lambda step: table.rate(step, table.updates),
        session={
            "model": plan.spec.agent.algorithm,
            "model_kind": "agent",
            "symbol": plan.pinned.candles.symbol,
            **plan.spec.session.metadata(),
        },
    )


def _with(plan: ReplayAgentPlan, **training: int) -> ReplayAgentPlan:
    table = plan.spec.training.model_copy(update=training)
    return replace(plan, spec=plan.spec.model_copy(update={"training": table}))


def _explored(plan: ReplayAgentPlan) -> ReplayAgentPlan:
    """The plan of an agent that explores as little as at its end: most of its steps ask the network."""
    agent = plan.spec.agent
    if agent.epsilon_end is None:
        return plan
    least = agent.model_copy(update={"epsilon_start": agent.epsilon_end})
    return replace(plan, spec=plan.spec.model_copy(update={"agent": least}))


def _on_meta(plan: ReplayAgentPlan) -> nn.Module:
    """The networks on torch's meta device, which has shapes but no memory."""
    with torch.device("meta"):
        return plan.module()


def _experience_bytes(plan: ReplayAgentPlan) -> tuple[int, int]:
    """Bytes of the two observations of an experience, float32, and of the whole experience in the record."""
    observations = 2 * 4 * plan.shape().inputs
    return observations, observations + _FACT_BYTES


def _size(plan: ReplayAgentPlan, module: nn.Module) -> SessionEstimate:
    spec = plan.spec
    _, each = _experience_bytes(plan)
    # Of each sample: id, td error and, in a prioritised buffer, weight. Of each step: its new experiences.
    columns = 3 if spec.buffer.mode == "prioritized" else 2
    experiences = math.ceil((_FRAME_BYTES + spec.training.steps_per_update * each) / 8)
    return estimate_of(
        module,
        plan.optimizer(),
        spec.recording.settings(),
        steps=spec.training.updates,
        batch=columns * spec.training.batch_size + experiences,
        # Total and q loss; an actor adds those of policy and temperature.
        losses=2 if spec.agent.algorithm == "double_dqn" else 4,
    )


def _estimate(plan: ReplayAgentPlan, size: SessionEstimate, module: nn.Module, timing: StepTiming) -> Estimate:
    spec, target = plan.spec, plan.settings()
    observations, each = _experience_bytes(plan)
    experiences = spec.training.learning_starts + spec.training.steps_per_update * size.last_step
    written = spec.training.learning_starts * each + _LINE_BYTES * size.last_step
    if spec.recording.level == "full" and target.tau == 1.0:
        # Buffers, here the target network, are written only when they change: every `target_every` updates.
        buffer_bytes = sum(value.numel() * value.element_size() for value in module.buffers())
        written -= math.floor(size.last_step * buffer_bytes * (1.0 - 1.0 / target.target_every))
    buffered = min(spec.buffer.capacity, experiences)
    estimate = size.as_run_estimate(
        # All updates, although `max_bytes` may end the run before them: the time errs to the long side.
        training=timing.training(spec.training.updates),
        judging=timing.judging,
        held_bytes=timing.held_bytes + buffered * (observations + _HELD_BYTES),
        # With the weights that were best in validation.
        kept_bytes=buffered * _KEPT_BYTES + size.weight_bytes,
        models=_MODELS,
    )
    return replace(estimate, disk_bytes=(estimate.disk_bytes or 0) + written)
