"""The training of `kind = "agent-session"`: a step is one update from the pinned buffer, or from recorded batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lockstep.kinds.agent_session import data as session_data
from lockstep.kinds.agent_session import plan as plans
from lockstep.kinds.agent_session.plan import SessionPlan
from lockstep.kinds.agent_session.spec import AgentSessionSpec
from lockstep.kinds.shared import experience_batches, step_timing
from lockstep.kinds.shared.agent_rehearsal import act_once, is_of_user, rehearse_agent
from lockstep.kinds.shared.experience_batches import recorded_experiences
from lockstep.kinds.shared.gradient_kind import Recipe, TrainingCosts
from lockstep.kinds.shared.step_timing import StepTiming
from lockstep.learning.gradients.determinism import numerics_entries
from lockstep.learning.gradients.optim_state import OptimizerSettings
from lockstep.learning.gradients.recorder import Recorder, frame_sizes
from lockstep.rl.recorded_batches import RecordedBuffer, RecordedReplay
from lockstep.rl.training import FixedExperiences, Replay, ReplayTraining
from lockstep.runs.kind import Estimate
from lockstep.runs.seeds import SeedTree

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.learning.gradients.record import SessionRecord
    from lockstep.rl.training import Buffer
    from lockstep.runs.folder import RunFolder
    from lockstep.runs.kind import PrepareContext, RunContext
    from lockstep.storage.blobs import BlobStore


class AgentSessionRecipe(Recipe[AgentSessionSpec, SessionPlan]):
    """Updates of an agent from a buffer, both from Python."""

    def pin(self, spec: AgentSessionSpec, context: PrepareContext) -> SessionPlan:
        """Pin agent and buffer; raises InputError, DiskError."""
        return plans.pin(spec, context)

    def restore(self, spec: AgentSessionSpec, folder: RunFolder, context: PrepareContext) -> SessionPlan:
        """The same plan from a run's folder; raises RefusedError, IntegrityError, DataError."""
        return plans.restore(spec, folder, context)

    def notes(self, plan: SessionPlan) -> tuple[str, ...]:
        """A line on what the buffer holds."""
        return plan.notes()

    def numerics(self, plan: SessionPlan) -> Mapping[str, str]:
        """Numerics of the device that the agent computes on; the spec has no device."""
        # Python chose the device when it made the agent, so the spec cannot say it.
        return numerics_entries(plan.agent.learner.device)

    def try_network(self, plan: SessionPlan) -> None:
        """Rehearse an agent of the user's with two batches of the pinned buffer; a built-in one acts once.

        Raises NetworkError.
        """
        state = plan.pinned.state["buffer"]
        if not len(state["store"]["ids"]):
            return
        if not is_of_user(plan.agent):
            act_once(plan.agent, state["store"]["observations"][:1, 0])
            return
        # Of a copy: draws count, and the run begins with the buffer as it is.
        buffer, size = plans.empty_buffer(plan.spec), plan.spec.training.batch_size
        buffer.set_state(state)
        batches = buffer.sample_batch(size), buffer.sample_batch(size)
        rehearse_agent(plan.agent, batches, seeds=SeedTree(plan.spec.seed).child("trial"))

    def costs(self, plan: SessionPlan, context: PrepareContext) -> TrainingCosts:
        """Bytes of the record by calculation; no memory, since the agent is in memory already."""
        spec, learner = plan.spec, plan.agent.learner
        sizes = frame_sizes(learner.flat.layout, learner.settings, learner.buffer_arrays())
        # Of each sample its id and td error, 8 bytes each; 700 for the journal line and the heads of frames.
        each = sizes.steps + 16 * spec.training.batch_size + 700
        if spec.recording.level == "full":
            each += sizes.norms + sizes.buffers + learner.flat.layout.size * learner.flat.layout.itemsize
            each += sizes.snapshot // spec.recording.snapshot_every
        estimate = Estimate(disk_bytes=each * spec.training.updates, steps=spec.training.updates)
        return TrainingCosts(state_bytes=0, lines=(), estimate=lambda timing: estimate)

    def time_steps(self, plan: SessionPlan, costs: TrainingCosts, context: PrepareContext) -> StepTiming:
        """Make no step: it would train the object that Python handed over, and not a copy."""
        return step_timing.untimed()

    def training(self, plan: SessionPlan, context: PrepareContext | RunContext) -> ReplayTraining:
        """The training before its first step, with agent and buffer at their pinned states."""
        spec, state = plan.spec, plan.pinned.state
        # The pinned weights do not fit an agent of another algorithm or shape; it keeps the weights of its seed.
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
            # Recorded batches bring their experiences along: the buffer that drew them would draw others.
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
        """Pin batches and experiences of `steps`. The experiences are in the buffer that the old run began with."""
        state = session_data.start_of(record.folder, blobs)
        return experience_batches.pin(record, steps, blobs, experience_batches.of_state(state["buffer"]["store"]))


def _begins_alike(then: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether an agent of the description `now` can take the state of one of the description `then`."""

    def structure(agent: Mapping[str, Any]) -> tuple[Any, ...]:
        # A learned temperature is one more parameter, so the states have another length.
        learned = agent.get("settings", {}).get("target_entropy") is not None
        return agent.get("algorithm"), agent.get("shape"), learned

    if then == now or structure(then) != structure(now):
        return then == now
    before, after = (OptimizerSettings.from_json(agent["optimizer"]) for agent in (then, now))
    return after.has_state_of(before)
