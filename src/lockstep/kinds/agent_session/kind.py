"""`kind = "agent-session"`: updates of an agent from a buffer that was filled elsewhere, as a run.

What `faces.rl_trainer.RLTrainer.train_profit_weighted` starts. The agent's state and the whole buffer are pinned by
digest before the first update, so the session resumes, verifies and replays from its folder alone. An agent that is
none of the built-in ones trains and replays from its gradients all the same; only computing it again needs its code,
which a run's folder does not have.

Gone through again (`lockstep retrain`), an agent begins where the session began if that state is one of its own, else
with weights of the seed.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, cast

import numpy as np
from pydantic import Field

from lockstep.core.errors import InputError, RefusedError
from lockstep.core.hashing import blake3_hex
from lockstep.core.libraries import require
from lockstep.kinds.shared import retraining_agents
from lockstep.kinds.shared.agent_spec import BufferTable
from lockstep.kinds.shared.gradient_spec import RecordingTable
from lockstep.kinds.shared.retraining import SessionTable
from lockstep.kinds.shared.retraining_agents import recorded_experiences
from lockstep.rl.replay_buffer import ProfitWeightedExperienceBuffer, ReplayRules
from lockstep.runs.checkpoint import Checkpoint
from lockstep.runs.identity import CodeIdentity
from lockstep.runs.kind import Estimate, Kind, PrepareContext, Prepared, RunContext
from lockstep.runs.seeds import SeedTree
from lockstep.runs.spec import RunSpec, SpecModel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.learning.gradients.record import SessionRecord
    from lockstep.rl.agent import Agent
    from lockstep.rl.training import Buffer
    from lockstep.runs.folder import RunFolder
    from lockstep.runs.training import State, Training
    from lockstep.storage.blobs import BlobStore

AGENT: Final = "session.agent"
BUFFER: Final = "session.buffer"
"""Keys of `PrepareContext.python_objects`."""
_SUFFIX: Final = ".start"


class SessionUpdatesTable(SpecModel):
    """`[training]`: how many updates, of batches how large."""

    updates: int = Field(default=100, ge=1)
    batch_size: int = Field(default=64, ge=1)


class AgentSessionSpec(RunSpec):
    """Updates from a buffer as it is. `agent` and `buffer` are filled in from the objects given."""

    kind: Literal["agent-session"] = "agent-session"
    symbol: str | None = None
    agent: dict[str, Any] = Field(default_factory=dict)
    """What the agent says of itself (`Agent.describe`)."""
    buffer: BufferTable = BufferTable()
    training: SessionUpdatesTable = SessionUpdatesTable()
    recording: RecordingTable = RecordingTable()
    session: SessionTable = SessionTable()


@dataclass(frozen=True, kw_only=True, eq=False)
class _Start:
    """An agent, a buffer, and the state that both begin the session with; `description` is that of its agent."""

    agent: Agent
    buffer: ProfitWeightedExperienceBuffer
    state: State


class AgentSessionKind:
    """The kind, as `runs.registry` knows it."""

    name: Final = "agent-session"
    spec_model: Final = AgentSessionSpec
    sample_keys: Final = ("symbol", "buffer", "training")

    def prepare(self, spec: RunSpec, context: PrepareContext) -> Prepared:
        """Pin agent and buffer as they are. `context.python_objects` holds both: "session.agent", "session.buffer".

        Raises InputError without them, DiskError, MissingLibraryError without torch.
        """
        _require_torch()
        wanted = cast("AgentSessionSpec", spec)
        agent, buffer = (context.python_objects.get(name) for name in (AGENT, BUFFER))
        if agent is None or not isinstance(buffer, ProfitWeightedExperienceBuffer):
            raise InputError(
                'kind = "agent-session" trains an agent and a buffer that Python gives it: use '
                "lockstep.faces.rl_trainer.RLTrainer(agent).train_profit_weighted(). A spec file trains with "
                'kind = "replay-agent".'
            )
        description = dict(agent.describe())
        state = {"agent": agent.get_state(), "buffer": buffer.get_state(), "description": description}
        digest = _write(state, context.blobs)
        wanted = wanted.model_copy(update={"agent": description, "buffer": _table(buffer)})
        start = _Start(agent=agent, buffer=buffer, state=state)
        body = {"digest": digest, "experiences": len(buffer), "snapshots": [digest], "agent_source": _source(agent)}
        return _prepared(wanted, body, start, estimate=_estimate(wanted, agent))

    def restore(self, spec: RunSpec, folder: RunFolder, context: PrepareContext) -> Prepared:
        """The same from a run's folder and the snapshots of its home.

        Raises RefusedError for an agent that is not built in, IntegrityError, DataError.
        """
        _require_torch()
        from lockstep.rl.agents import AGENTS, rebuild

        wanted, body = cast("AgentSessionSpec", spec), folder.read("data")
        if wanted.agent.get("algorithm") not in AGENTS:
            raise RefusedError(
                f"run {folder.path.name} trained an agent of the user's, {wanted.agent.get('algorithm')!r}, whose code "
                "is not part of a run. Its gradients replay without it: lockstep replay RUN --gradients."
            )
        state = start_of(folder, context.blobs)
        try:
            agent = rebuild(wanted.agent, seeds=SeedTree(wanted.seed))
        except (KeyError, TypeError) as error:
            raise InputError(
                f"agent describes a built-in agent, as run {folder.path.name} does; found one that cannot be made "
                f"({error}). Change values of keys that it has."
            ) from error
        wanted = wanted.model_copy(update={"agent": agent.describe()})
        table = wanted.buffer
        buffer = ProfitWeightedExperienceBuffer(table.capacity, seed=wanted.seed, rules=_rules(table))
        names = {body["digest"], wanted.session.batches} - {None}
        return _prepared(wanted, {**body, "snapshots": sorted(names)}, _Start(agent=agent, buffer=buffer, state=state))

    def training(self, prepared: Prepared, context: RunContext) -> Training:
        """The training, at its start: agent and buffer are put to their pinned states."""
        from lockstep.learning.gradients.recorder import Recorder
        from lockstep.rl.recorded import RecordedBuffer, RecordedReplay
        from lockstep.rl.training import FixedExperiences, Replay, ReplayTraining

        spec, start = cast("AgentSessionSpec", prepared.spec), cast("_Start", prepared.payload)
        if _begins_alike(start.state["description"], spec.agent):
            start.agent.set_state(start.state["agent"])
        recorded = recorded_experiences(spec.session, context.blobs)
        if recorded is None:
            start.buffer.set_state(start.state["buffer"])
            ids: NDArray[Any] = start.state["buffer"]["store"]["ids"]
            replay: Replay | RecordedReplay = Replay(updates=spec.training.updates, batch_size=spec.training.batch_size)
            buffer: Buffer = start.buffer
            source = FixedExperiences(start.buffer.observed(ids))
        else:
            replay, buffer = RecordedReplay(experiences=recorded), RecordedBuffer(recorded)
            source = FixedExperiences({})
        return ReplayTraining(
            start.agent,
            buffer,
            Recorder(spec.recording.settings(), start.agent.learner),
            replay,
            source,
            session={
                "model": spec.agent.get("algorithm"),
                "model_kind": "agent",
                "symbol": spec.symbol,
                **spec.session.metadata(),
            },
        )

    def try_network(self, prepared: Prepared) -> None:
        """Let the agent act once; it was made to restore the session."""
        start = cast("_Start", prepared.payload)
        shape = start.state["buffer"]["store"]["state_shape"]
        start.agent.act(np.zeros((1, *shape), np.float32))

    def pin_samples(self, record: SessionRecord, steps: Sequence[int] | None, blobs: BlobStore) -> str:
        """See `session_replay.PinsSamples`."""
        state = start_of(record.folder, blobs)
        return retraining_agents.pin(record, steps, blobs, retraining_agents.of_state(state["buffer"]["store"]))

    def replay_base(self, old: Mapping[str, Any], wanted: Mapping[str, Any]) -> Mapping[str, Any]:
        """Another algorithm begins with its own defaults, but for what all of them have."""
        if wanted["agent"].get("algorithm") == old["agent"].get("algorithm"):
            return old
        settings = {name: old["agent"]["settings"][name] for name in ("gamma", "reward_scale", "clip_norm")}
        return {**old, "agent": {**old["agent"], "settings": settings}}


KIND: Final[Kind] = AgentSessionKind()


def _begins_alike(then: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether the state of the agent that was `then` is one of the agent that is described `now`."""

    def structure(agent: Mapping[str, Any]) -> tuple[Any, ...]:
        # A temperature that is learned is a parameter.
        learned = agent.get("settings", {}).get("target_entropy") is not None
        return agent.get("algorithm"), agent.get("shape"), agent.get("optimizer", {}).get("name"), learned

    return then == now or structure(then) == structure(now)


def _require_torch() -> None:
    require("torch", extra="ml", purpose='kind = "agent-session"')


def _prepared(
    spec: AgentSessionSpec, body: Mapping[str, Any], start: _Start, estimate: Estimate | None = None
) -> Prepared:
    from lockstep.learning.gradients.determinism import numerics_entries

    return Prepared(
        spec=spec,
        data=body,
        code=CodeIdentity.of(),
        payload=start,
        origin={"source": "python"},
        numerics=numerics_entries(start.agent.learner.device),
        notes=(f"{body['experiences']:,} experiences, {start.buffer.profitable_size:,} of them profitable",)
        if estimate is not None
        else (),
        estimate=estimate,
    )


def _estimate(spec: AgentSessionSpec, agent: Agent) -> Estimate:
    """Bytes of the record by counting: the agent is here, so nothing has to be guessed."""
    from lockstep.learning.gradients.recorder import frame_sizes

    learner = agent.learner
    sizes = frame_sizes(learner.flat.layout, learner.settings, learner.buffer_arrays())
    each = sizes.steps + 16 * spec.training.batch_size + 700
    if spec.recording.level == "full":
        each += sizes.norms + sizes.buffers + learner.flat.layout.size * learner.flat.layout.itemsize
        each += sizes.snapshot // spec.recording.snapshot_every
    return Estimate(disk_bytes=each * spec.training.updates, steps=spec.training.updates)


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


def _source(agent: Agent) -> str | None:
    """Digest of the source of a class that is not ours: two agents of one description are not one agent."""
    if type(agent).__module__.startswith("lockstep."):
        return None
    try:
        return blake3_hex(inspect.getsource(type(agent)).encode())
    except (OSError, TypeError):
        return None


def _write(state: State, blobs: BlobStore) -> str:
    """Store a start state, in the form of a checkpoint before the first step, under its digest."""
    data = Checkpoint(steps=0, journal_hash="", journal_length=0, segments={}, state=state).encode()
    return blobs.put(data, _SUFFIX)


def start_of(folder: RunFolder, blobs: BlobStore) -> State:
    """What a session began with: the states of agent and buffer, observations included, and the agent's description.

    Raises DataError when the snapshot is not in `blobs`, IntegrityError when it is damaged.
    """
    digest = folder.read("data")["digest"]
    return Checkpoint.decode(blobs.get(digest, _SUFFIX), blobs.path(digest, _SUFFIX)).state
