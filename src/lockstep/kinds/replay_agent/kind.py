"""`kind = "replay-agent"`: an agent that trades one market, trained mainly on what turned out profitable (R9.22).

prepare   candles pinned and cut in time, device decided, estimate      restore   the same from a run's folder
training  `rl.training.ReplayTraining`: a step is an optimiser update and the environment steps before it, or an update
          with a recorded batch where the session is gone through again

torch is loaded when a run is prepared, not when the kind is looked up.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, cast

from lockstep.core.libraries import require
from lockstep.kinds.replay_agent.spec import ALGORITHM_KEYS, ReplayAgentSpec
from lockstep.kinds.shared import market_data, rehearsal, retraining_agents
from lockstep.kinds.shared.retraining_agents import recorded_experiences, session_of
from lockstep.runs.identity import CodeIdentity
from lockstep.runs.kind import Estimate, Kind, PrepareContext, Prepared, RunContext

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import nn

    from lockstep.kinds.replay_agent.plan import Plan
    from lockstep.kinds.shared.market_data import Pinned
    from lockstep.learning.gradients.record import SessionRecord
    from lockstep.rl.recorded import RecordedExperiences
    from lockstep.rl.training import ReplayTraining
    from lockstep.runs.folder import RunFolder
    from lockstep.runs.spec import RunSpec
    from lockstep.runs.training import Training

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
_LIVED: Final = 300
"""Environment steps that say how long all those before the first update take."""
_LAST_WALKS: Final = 3
"""Walks at the end: the last evaluation, and validation and test bars with the best weights."""


class ReplayAgentKind:
    """The kind, as `runs.registry` knows it."""

    name: Final = "replay-agent"
    spec_model: Final = ReplayAgentSpec
    sample_keys: Final = (
        "market", "data", "costs", "environment", "buffer",
        "training.updates", "training.batch_size", "training.steps_per_update", "training.learning_starts",
        "validation.validation_share", "validation.test_share", "validation.purge_bars",
    )  # fmt: skip

    def prepare(self, spec: RunSpec, context: PrepareContext) -> Prepared:
        """Load, clean and pin the candles, decide the device, time a few updates.

        `context.python_objects` may hold candles ("data.candles"). Raises the InputError tree, MissingLibraryError
        without torch, MachineError for a card that is not there.
        """
        _require_torch()
        from lockstep.learning.gradients.determinism import resolve_device

        wanted = cast("ReplayAgentSpec", spec)
        wanted = wanted.model_copy(update={"device": resolve_device(wanted.device)})
        pinned = market_data.pin(wanted, {}, context)
        plan = _plan(wanted, pinned)
        estimate, notes = _estimate(plan, context)
        return _prepared(plan, origin=pinned.origin, notes=(*pinned.notes, _parts(plan), *notes), estimate=estimate)

    def restore(self, spec: RunSpec, folder: RunFolder, context: PrepareContext) -> Prepared:
        """The same from a run's folder and the snapshots of its home. Raises IntegrityError, DataError."""
        _require_torch()
        pinned = market_data.restore(folder.read("data"), context.snapshots)
        return _prepared(_plan(cast("ReplayAgentSpec", spec), pinned))

    def training(self, prepared: Prepared, context: RunContext) -> Training:
        """The training, at its start."""
        plan = cast("Plan", prepared.payload)
        return _training(plan, recorded_experiences(plan.spec.session, context.home))

    def try_network(self, prepared: Prepared) -> None:
        """Make the agent and let it act once."""
        plan = cast("Plan", prepared.payload)
        environment = plan.training_environment()
        plan.agent().act(environment.reset()[None])

    def pin_samples(self, record: SessionRecord, steps: Sequence[int] | None, home: Path) -> str:
        """See `session_replay.PinsSamples`; a replay may be replayed."""
        return retraining_agents.pin(record, steps, home, recorded_experiences(session_of(record.folder), home))

    def replay_base(self, old: Mapping[str, Any], wanted: Mapping[str, Any]) -> Mapping[str, Any]:
        """Another algorithm begins with its own defaults."""
        if wanted["agent"]["algorithm"] == old["agent"]["algorithm"]:
            return old
        kept = {name: value for name, value in old["agent"].items() if name not in ALGORITHM_KEYS}
        return {**old, "agent": kept}


KIND: Final[Kind] = ReplayAgentKind()


def _require_torch() -> None:
    require("torch", extra="ml", purpose='kind = "replay-agent"')


def _plan(spec: ReplayAgentSpec, pinned: Pinned) -> Plan:
    from lockstep.kinds.replay_agent.plan import Plan

    return Plan.of(spec.model_copy(update={"agent": spec.agent.resolved()}), pinned)


def _prepared(
    plan: Plan,
    *,
    origin: Mapping[str, Any] | None = None,
    notes: tuple[str, ...] = (),
    estimate: Estimate | None = None,
) -> Prepared:
    from lockstep.learning.gradients.determinism import numerics_entries

    body = plan.pinned.body()
    batches = plan.spec.session.batches
    if batches is not None:
        body["snapshots"] = sorted({*body["snapshots"], batches})
    return Prepared(
        spec=plan.spec,
        data=body,
        code=CodeIdentity.of(),
        payload=plan,
        origin={} if origin is None else origin,
        numerics=numerics_entries(plan.spec.device),
        notes=notes,
        estimate=estimate,
    )


def _training(plan: Plan, recorded: RecordedExperiences | None = None) -> ReplayTraining:
    """`recorded` are the batches of the session that is gone through again; None for a session of its own."""
    from lockstep.kinds.replay_agent.result import Examination
    from lockstep.learning.gradients.recorder import Recorder
    from lockstep.rl.recorded import RecordedBuffer, RecordedReplay
    from lockstep.rl.training import FixedExperiences, ReplayTraining

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


def _parts(plan: Plan) -> str:
    training, validation, test = (stop - start for start, stop in vars(plan.parts).values())
    return (
        f"{training:,} bars to train on, {validation:,} to validate, {test:,} to test, {plan.spec.purge_bars} left out "
        "between two parts"
    )


def _estimate(plan: Plan, context: PrepareContext) -> tuple[Estimate, list[str]]:
    """Time from a few updates of an agent that is thrown away, bytes by counting. Nothing of it is ever hashed."""
    from lockstep.learning.gradients.estimate import estimate_of

    spec, table, module = plan.spec, plan.settings(), _on_meta(plan)
    observations = 2 * 4 * plan.shape().inputs  # before and after, float32
    each = observations + _FACT_BYTES
    updates = spec.training.updates
    told = estimate_of(
        module,
        plan.optimizer(),
        spec.recording.settings(),
        steps=updates,
        # The td error of each experience lies beside its id, and its weight where it has one; and what was lived.
        batch=(3 if spec.buffer.mode == "prioritized" else 2) * spec.training.batch_size
        + math.ceil((_FRAME_BYTES + spec.training.steps_per_update * each) / 8),
        losses=2 if spec.agent.algorithm == "double_dqn" else 4,
    )
    # The line of bytes counts a target network at every step; the estimate below knows better.
    notes, seconds = [f"{told.parameters:,} trained parameters", *told.lines()[1:]], None
    if context.estimate_only and told.state_bytes > rehearsal.LARGE:
        found = rehearsal.counted_only()
        notes.append(rehearsal.UNTIMED)
    else:
        found, seconds = _rehearsed(plan, told.state_bytes)
    lived = spec.training.learning_starts + spec.training.steps_per_update * told.last_step
    written = spec.training.learning_starts * each + _LINE_BYTES * told.last_step
    if spec.recording.level == "full" and table.tau == 1.0:
        # Buffers are written when they change: here when the target network is copied.
        held = sum(value.numel() * value.element_size() for value in module.buffers())
        written -= math.floor(told.last_step * held * (1.0 - 1.0 / table.target_every))
    kept = min(spec.buffer.capacity, lived)
    estimate = told.as_run_estimate(
        seconds=seconds,
        held_bytes=found.held_bytes + kept * (observations + _HELD_BYTES),
        # And the weights that did best in validation.
        kept_bytes=kept * _KEPT_BYTES + told.weight_bytes,
        models=2,
    )
    return replace(estimate, disk_bytes=(estimate.disk_bytes or 0) + written), notes


def _on_meta(plan: Plan) -> nn.Module:
    import torch

    with torch.device("meta"):
        return plan.module()


def _rehearsed(plan: Plan, state_bytes: int) -> tuple[rehearsal.Rehearsal, float | None]:
    """Seconds of the whole training beside what a step takes: the time before the first update and the walks through
    validation and test bars. Everything is done once before it is timed, so that no kernel is compiled meanwhile."""
    from lockstep.kinds.replay_agent.result import Examination

    table = plan.spec.training
    few = max(plan.spec.environment.horizon_bars + 1, table.batch_size, _LIVED)
    few = min(table.learning_starts, few)
    brief = replace(
        plan, spec=plan.spec.model_copy(update={"training": table.model_copy(update={"learning_starts": few})})
    )
    warm = _training(brief)
    next(warm.steps(), None)
    Examination(plan, updates=1).after(0, warm.agent)
    training = _training(brief)
    updates, began = training.steps(), time.perf_counter()
    next(updates, None)
    lived = time.perf_counter() - began
    found = rehearsal.rehearse(lambda: updates, state_bytes=state_bytes)
    if found.step_seconds is None:
        return found, lived
    began = time.perf_counter()
    Examination(plan, updates=1).after(0, training.agent)
    walk = time.perf_counter() - began
    walks = table.updates // plan.spec.validation.evaluate_every + _LAST_WALKS
    start = max(lived - found.step_seconds, 0.0) * table.learning_starts / few
    return found, start + found.step_seconds * table.updates + walk * walks
