"""Everything that a run of `kind = "agent-session"` needs, resolved: agent, buffer, and their first state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lockstep.core.errors import InputError, RefusedError
from lockstep.kinds.agent_session import data as session_data
from lockstep.kinds.agent_session.data import AGENT, BUFFER, PinnedStart
from lockstep.kinds.shared.agent_spec import BufferTable
from lockstep.rl.agents import AGENTS, rebuild
from lockstep.rl.replay_buffer import ProfitWeightedExperienceBuffer, ReplayRules
from lockstep.runs.seeds import SeedTree

if TYPE_CHECKING:
    from lockstep.kinds.agent_session.spec import AgentSessionSpec
    from lockstep.rl.agent import Agent
    from lockstep.runs.folder import RunFolder
    from lockstep.runs.kind import PrepareContext


@dataclass(frozen=True, kw_only=True, eq=False)
class SessionPlan:
    """The payload of a prepared run: an agent and a buffer, not yet at their pinned states.

    handed_over   whether Python handed both over; else they were made from their descriptions
    """

    spec: AgentSessionSpec
    pinned: PinnedStart
    agent: Agent
    buffer: ProfitWeightedExperienceBuffer
    handed_over: bool

    def notes(self) -> tuple[str, ...]:
        """A line on what the buffer holds; none for a restored one, which is still empty."""
        if not self.handed_over:
            return ()
        return (f"{len(self.buffer):,} experiences, {self.buffer.profitable_size:,} of them profitable",)


def pin(spec: AgentSessionSpec, context: PrepareContext) -> SessionPlan:
    """Pin the present states of agent and buffer, "session.agent" and "session.buffer" of `context.python_objects`.

    Raises InputError without them, DiskError.
    """
    agent, buffer = (context.python_objects.get(name) for name in (AGENT, BUFFER))
    if agent is None or not isinstance(buffer, ProfitWeightedExperienceBuffer):
        raise InputError(
            'kind = "agent-session" trains an agent and a buffer that Python gives it: use '
            "lockstep.faces.rl_trainer.RLTrainer(agent).train_profit_weighted(). A spec file trains with "
            'kind = "replay-agent".'
        )
    # Pinned now: later changes of these objects in Python do not reach the run.
    pinned = session_data.pin(agent, buffer, context.blobs)
    resolved = spec.model_copy(update={"agent": dict(agent.describe()), "buffer": _table(buffer)})
    return SessionPlan(spec=resolved, pinned=pinned, agent=agent, buffer=buffer, handed_over=True)


def restore(spec: AgentSessionSpec, folder: RunFolder, context: PrepareContext) -> SessionPlan:
    """The same from a run's folder and the snapshots of its home.

    Raises RefusedError for an agent that is not built in, IntegrityError, DataError.
    """
    # Before the snapshot is read: a clear refusal is worth more than a state that nothing can load.
    if spec.agent.get("algorithm") not in AGENTS:
        raise RefusedError(
            f"run {folder.path.name} trained an agent of the user's, {spec.agent.get('algorithm')!r}, whose code "
            "is not part of a run. Its gradients replay without it: lockstep replay RUN --gradients."
        )
    pinned = session_data.restore(folder, context.blobs)
    try:
        # The spec may be one that `retrain --set` changed, so the description can be wrong.
        agent = rebuild(spec.agent, seeds=SeedTree(spec.seed))
    except (KeyError, TypeError) as error:
        raise InputError(
            f"agent describes a built-in agent, as run {folder.path.name} does; found one that cannot be made "
            f"({error}). Change values of keys that it has."
        ) from error
    buffer = empty_buffer(spec)
    resolved = spec.model_copy(update={"agent": agent.describe()})
    return SessionPlan(spec=resolved, pinned=pinned, agent=agent, buffer=buffer, handed_over=False)


def empty_buffer(spec: AgentSessionSpec) -> ProfitWeightedExperienceBuffer:
    """A buffer of the spec's capacity and rules."""
    return ProfitWeightedExperienceBuffer(spec.buffer.capacity, seed=spec.seed, rules=_rules(spec.buffer))


def _table(buffer: ProfitWeightedExperienceBuffer) -> BufferTable:
    rules = buffer.rules
    return BufferTable(
        capacity=buffer.capacity,
        profitable_share=rules.profitable_share,
        floor=rules.floor,
        exponent=rules.exponent,
        count_penalty=rules.count_penalty,
    )


def _rules(table: BufferTable) -> ReplayRules:
    return ReplayRules(
        profitable_share=table.profitable_share,
        floor=table.floor,
        exponent=table.exponent,
        count_penalty=table.count_penalty,
    )
