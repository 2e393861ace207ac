"""`kind = "replay-agent"`: an agent that trades one market, trained mainly on what turned out profitable (SPEC 9.6).

prepare   candles pinned and cut in time, device decided, estimate      restore   the same from a run's folder
training  `rl.training.ReplayTraining`: a step is an optimiser update and the environment steps before it, or an update
          with a recorded batch where the session is gone through again

torch is loaded when a run is prepared, not when the kind is looked up.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, Final, cast

from lockstep.kinds import agent_replay, strategy_data
from lockstep.kinds.agent_replay import recorded_experiences, session_of
from lockstep.kinds.replay_agent_spec import ALGORITHM_KEYS, ReplayAgentSpec
from lockstep.learning.supervised.libraries import require
from lockstep.runs.identity import CodeIdentity
from lockstep.runs.kind import Estimate, Kind, PrepareContext, Prepared, RunContext

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from lockstep.kinds.replay_agent_plan import Plan
    from lockstep.kinds.strategy_data import Pinned
    from lockstep.learning.record import SessionRecord
    from lockstep.rl.recorded import RecordedExperiences
    from lockstep.rl.training import ReplayTraining
    from lockstep.runs.folder import RunFolder
    from lockstep.runs.spec import RunSpec
    from lockstep.runs.training import Training

_TIMED_UPDATES: Final = 6
_LINE_BYTES: Final = 400
"""Of the journal, beside what every gradient training writes."""
_FACT_BYTES: Final = 44
"""Of an experience in the record, beside its observations."""


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
        from lockstep.learning.determinism import resolve_device

        wanted = cast("ReplayAgentSpec", spec)
        wanted = wanted.model_copy(update={"device": resolve_device(wanted.device)})
        pinned = strategy_data.pin(wanted, {}, context)
        plan = _plan(wanted, pinned)
        estimate, notes = _estimate(plan)
        return _prepared(plan, origin=pinned.origin, notes=(*pinned.notes, _parts(plan), *notes), estimate=estimate)

    def restore(self, spec: RunSpec, folder: RunFolder, context: PrepareContext) -> Prepared:
        """The same from a run's folder and the snapshots of its home. Raises IntegrityError, DataError."""
        _require_torch()
        pinned = strategy_data.restore(folder.read("data"), context.snapshots)
        return _prepared(_plan(cast("ReplayAgentSpec", spec), pinned))

    def training(self, prepared: Prepared, context: RunContext) -> Training:
        """The training, at its start."""
        plan = cast("Plan", prepared.payload)
        return _training(plan, recorded_experiences(plan.spec.session, context.home))

    def pin_samples(self, record: SessionRecord, steps: Sequence[int] | None, home: Path) -> str:
        """See `session_replay.PinsSamples`; a replay may be replayed."""
        return agent_replay.pin(record, steps, home, recorded_experiences(session_of(record.folder), home))

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
    from lockstep.kinds.replay_agent_plan import Plan

    return Plan.of(spec.model_copy(update={"agent": spec.agent.resolved()}), pinned)


def _prepared(
    plan: Plan,
    *,
    origin: Mapping[str, Any] | None = None,
    notes: tuple[str, ...] = (),
    estimate: Estimate | None = None,
) -> Prepared:
    from lockstep.learning.determinism import numerics_entries

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
    from lockstep.kinds.replay_agent_result import Examination
    from lockstep.learning.recorder import Recorder
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


def _estimate(plan: Plan) -> tuple[Estimate, list[str]]:
    """Seconds from a few updates of an agent that is thrown away, bytes by counting. Nothing of it is ever hashed."""
    from lockstep.kinds.replay_agent_result import Examination
    from lockstep.learning.estimate import estimate

    spec = plan.spec
    training = _training(plan)
    updates = training.steps()
    began = time.perf_counter()
    marks = [(next(updates, None), time.perf_counter())[1] for _ in range(min(_TIMED_UPDATES, spec.training.updates))]
    each = (marks[-1] - marks[0]) / max(len(marks) - 1, 1)
    # The first walk loads compiled kernels, or compiles them.
    Examination(plan, updates=1).after(0, training.agent)
    before = time.perf_counter()
    Examination(plan, updates=1).after(0, training.agent)
    walks = spec.training.updates // spec.validation.evaluate_every + 3
    seconds = marks[0] - began + each * spec.training.updates + walks * (time.perf_counter() - before)
    losses = 2 if spec.agent.algorithm == "double_dqn" else 4
    told = estimate(
        plan.module,
        plan.optimizer(),
        spec.recording.settings(),
        steps=spec.training.updates,
        # The td error of each experience lies beside its id, and its weight where it has one.
        batch=(3 if spec.buffer.mode == "prioritized" else 2) * spec.training.batch_size,
        losses=losses,
    )
    lived = spec.training.learning_starts + spec.training.steps_per_update * spec.training.updates
    observation = 4 * plan.shape().inputs
    experiences = lived * (2 * observation + _FACT_BYTES) + spec.training.updates * 64
    table = plan.settings()
    if spec.recording.level == "full" and table.tau == 1.0:
        # Buffers are written when they change: here when the target network is copied.
        held = sum(array.nbytes for array in training.learner.buffer_arrays().values())
        experiences -= math.floor(spec.training.updates * held * (1.0 - 1.0 / table.target_every))
    kept = min(spec.buffer.capacity, lived) * (2 * observation + 300)
    return (
        Estimate(
            seconds=seconds,
            disk_bytes=told.disk_bytes + experiences + _LINE_BYTES * spec.training.updates,
            memory_bytes=told.memory_bytes + kept,
            steps=spec.training.updates,
        ),
        # The line of bytes counts a target network at every step; the estimate above knows better.
        [f"{told.parameters:,} trained parameters", *told.lines()[1:]],
    )
