"""The spec of `kind = "agent-session"`: updates of an agent from a buffer that Python hands over."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from lockstep.kinds.shared.agent_spec import BufferTable
from lockstep.kinds.shared.gradient_spec import RecordingTable
from lockstep.kinds.shared.retraining import SessionTable
from lockstep.runs.spec import RunSpec, SpecModel


class SessionUpdatesTable(SpecModel):
    """`[training]`: the number of updates, and the size of their batches."""

    updates: int = Field(default=100, ge=1)
    batch_size: int = Field(default=64, ge=1)


class AgentSessionSpec(RunSpec):
    """Updates from the present buffer. `agent` and `buffer` are filled in from the objects that Python hands over."""

    kind: Literal["agent-session"] = "agent-session"
    symbol: str | None = None
    agent: dict[str, Any] = Field(default_factory=dict)
    """The description of the agent (`Agent.describe`)."""
    buffer: BufferTable = BufferTable()
    training: SessionUpdatesTable = SessionUpdatesTable()
    recording: RecordingTable = RecordingTable()
    session: SessionTable = SessionTable()
