"""The states of agent and buffer that a run of `kind = "agent-session"` begins with, pinned as a snapshot by digest."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from lockstep.core.errors import NetworkError
from lockstep.core.hashing import blake3_hex
from lockstep.learning.gradients.user_failures import failures_of_agent
from lockstep.runs.checkpoint import Checkpoint, through_storage

if TYPE_CHECKING:
    from lockstep.rl.agent import Agent
    from lockstep.rl.replay_buffer import ProfitWeightedExperienceBuffer
    from lockstep.runs.folder import RunFolder
    from lockstep.runs.training import State
    from lockstep.storage.blobs import BlobStore

AGENT: Final = "session.agent"
BUFFER: Final = "session.buffer"
"""Keys of agent and buffer in `PrepareContext.python_objects`."""
_SUFFIX: Final = ".start"


@dataclass(frozen=True, kw_only=True, eq=False)
class PinnedStart:
    """The start of a run.

    state   states of agent and buffer, observations included, and the agent's description
    facts   the body of data.json
    """

    state: State
    facts: Mapping[str, Any]
    origin: Mapping[str, Any] = field(default_factory=lambda: {"source": "python"})

    def body(self) -> dict[str, Any]:
        """The body of data.json; all of it is hashed into the fingerprint."""
        return {**self.facts, "snapshots": [self.facts["digest"]]}


def pin(agent: Agent, buffer: ProfitWeightedExperienceBuffer, blobs: BlobStore) -> PinnedStart:
    """Store the present states of agent and buffer. Raises NetworkError for an agent whose state cannot be stored,
    DiskError."""
    with failures_of_agent(agent, "before the run"):
        state = {"agent": agent.get_state(), "buffer": buffer.get_state(), "description": dict(agent.describe())}
    for method, part in (("get_state", state["agent"]), ("describe", state["description"])):
        _require_storable(agent, method, part)
    # The source counts too: an agent whose code changed is another agent, though it describes itself alike.
    facts = {"digest": _write(state, blobs), "experiences": len(buffer), "agent_source": _source(agent)}
    return PinnedStart(state=state, facts=facts)


def restore(folder: RunFolder, blobs: BlobStore) -> PinnedStart:
    """The same start from a run's folder. Raises DataError, IntegrityError."""
    return PinnedStart(state=start_of(folder, blobs), facts=folder.read("data"))


def start_of(folder: RunFolder, blobs: BlobStore) -> State:
    """The states that a run began with: of agent and buffer, observations included, and the agent's description.

    Raises DataError when the snapshot is not in `blobs`, IntegrityError when it is damaged.
    """
    digest = folder.read("data")["digest"]
    return Checkpoint.decode(blobs.get(digest, _SUFFIX), blobs.path(digest, _SUFFIX)).state


def _require_storable(agent: Agent, method: str, part: State) -> None:
    try:
        through_storage(part)
    except TypeError as error:
        raise NetworkError(
            f"{type(agent).__name__}: {method}() returns numbers, texts, NumPy arrays, and mappings and lists of them; "
            f"{error}. Turn tensors into arrays (tensor.detach().cpu().numpy()), and objects into their numbers"
        ) from error


def _write(state: State, blobs: BlobStore) -> str:
    """Store a start state, in the form of a checkpoint before the first step, under its digest."""
    # A checkpoint's form already stores arrays and generators safely; a second format would have to do it again.
    data = Checkpoint(steps=0, journal_hash="", journal_length=0, segments={}, state=state).encode()
    return blobs.put(data, _SUFFIX)


def _source(agent: Agent) -> str | None:
    """Digest of the source of a user's class, since two classes may have one description; None for our own."""
    # Our own code is in the run's code identity already.
    if type(agent).__module__.startswith("lockstep."):
        return None
    try:
        return blake3_hex(inspect.getsource(type(agent)).encode())
    except (OSError, TypeError):  # a class that was typed into an interactive Python has no source
        return None
