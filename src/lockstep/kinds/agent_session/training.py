"""The training of `kind = "agent-session"`: a step is one update from the pinned buffer, or from recorded batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lockstep.kinds.agent_session import data as session_data
from lockstep.kinds.agent_session import plan as plans
from lockstep.kinds.agent_session.plan import SessionPlan
from lockstep.kinds.agent_session.spec import AgentSessionSpec
from lockstep.kinds.shared import rehearsal, retraining_agents
from lockstep.kinds.shared.gradient_kind import Costs, Recipe
from lockstep.kinds.shared.rehearsal import Rehearsal
from lockstep.kinds.shared.retraining_agents import recorded_experiences
from lockstep.learning.gradients.determinism import numerics_entries
from lockstep.learning.gradients.recorder import Recorder, frame_sizes
from lockstep.rl.recorded_batches import RecordedBuffer, RecordedReplay
from lockstep.rl.training import FixedExperiences, Replay, ReplayTraining
from lockstep.runs.kind import Estimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.learning.gradients.record import SessionRecord
    from lockstep.rl.training import Buffer
    from lockstep.runs.folder import RunFolder
    from lockstep.runs.kind import PrepareContext, RunContext
    from lockstep.storage.blobs import BlobStore


class AgentSessionRecipe(Recipe[AgentSessionSpec, SessionPlan]):
    """An agent and a buffer of Python's."""

    def pin(self, spec: AgentSessionSpec, context: PrepareContext) -> SessionPlan:
        """See `plan.pin`."""
        return plans.pin(spec, context)

    def restore(self, spec: AgentSessionSpec, folder: RunFolder, context: PrepareContext) -> SessionPlan:
        """See `plan.restore`."""
        return plans.restore(spec, folder, context)

    def notes(self, plan: SessionPlan) -> tuple[str, ...]:
        """See `SessionPlan.notes`."""
        return plan.notes()

    def numerics(self, plan: SessionPlan) -> Mapping[str, str]:
        """Those of the device that the agent brings along."""
        return numerics_entries(plan.agent.learner.device)

    def try_network(self, plan: SessionPlan) -> None:
        """Let an agent act once that was made for this run; one that Python hands over is its owner's affair."""
        if not plan.handed_over:
            shape = plan.pinned.state["buffer"]["store"]["state_shape"]
            plan.agent.act(np.zeros((1, *shape), np.float32))

    def costs(self, plan: SessionPlan, context: PrepareContext) -> Costs:
        """Bytes of the record by counting. The agent is in memory already, so memory is no question."""
        spec, learner = plan.spec, plan.agent.learner
        sizes = frame_sizes(learner.flat.layout, learner.settings, learner.buffer_arrays())
        each = sizes.steps + 16 * spec.training.batch_size + 700
        if spec.recording.level == "full":
            each += sizes.norms + sizes.buffers + learner.flat.layout.size * learner.flat.layout.itemsize
            each += sizes.snapshot // spec.recording.snapshot_every
        estimate = Estimate(disk_bytes=each * spec.training.updates, steps=spec.training.updates)
        return Costs(state_bytes=0, lines=(), estimate=lambda timing: estimate)

    def rehearse(self, plan: SessionPlan, costs: Costs, context: PrepareContext) -> Rehearsal:
        """Nothing: steps would be steps of the very agent that Python handed over."""
        return rehearsal.counted_only()

    def training(self, plan: SessionPlan, context: PrepareContext | RunContext) -> ReplayTraining:
        """At its start: agent and buffer are put to their pinned states."""
        spec, state = plan.spec, plan.pinned.state
        # An agent of another algorithm or shape has no use for those weights; it keeps the ones of its seed.
        if _begins_alike(state["description"], spec.agent):
            plan.agent.set_state(state["agent"])
        recorded = recorded_experiences(spec.session, context.blobs)
        if recorded is None:
            plan.buffer.set_state(state["buffer"])
            ids: NDArray[Any] = state["buffer"]["store"]["ids"]
            replay: Replay | RecordedReplay = Replay(updates=spec.training.updates, batch_size=spec.training.batch_size)
            buffer: Buffer = plan.buffer
            source = FixedExperiences(plan.buffer.observed(ids))
        else:
            replay, buffer = RecordedReplay(experiences=recorded), RecordedBuffer(recorded)
            source = FixedExperiences({})
        return ReplayTraining(
            plan.agent,
            buffer,
            Recorder(spec.recording.settings(), plan.agent.learner),
            replay,
            source,
            session={
                "model": spec.agent.get("algorithm"),
                "model_kind": "agent",
                "symbol": spec.symbol,
                **spec.session.metadata(),
            },
        )

    def pin_samples(self, record: SessionRecord, steps: Sequence[int] | None, blobs: BlobStore) -> str:
        """See `retraining.PinsSamples`: the buffer that the old run began with holds all that it learned from."""
        state = session_data.start_of(record.folder, blobs)
        return retraining_agents.pin(record, steps, blobs, retraining_agents.of_state(state["buffer"]["store"]))


def _begins_alike(then: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether the state of the agent that was `then` is one of the agent that is described `now`."""

    def structure(agent: Mapping[str, Any]) -> tuple[Any, ...]:
        # A temperature that is learned is a parameter.
        learned = agent.get("settings", {}).get("target_entropy") is not None
        return agent.get("algorithm"), agent.get("shape"), agent.get("optimizer", {}).get("name"), learned

    return then == now or structure(then) == structure(now)
