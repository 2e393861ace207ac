"""RLTrainer: train an agent from a replay buffer, in memory update by update, or as recorded runs.

    trainer = RLTrainer(agent)
    id = trainer.add_experience(experience); trainer.update_outcome(id, outcome)
    trainer.train_step(64)                              one update in memory
    trainer.train_profit_weighted(updates=1_000)        a run, which resume, verify and replay take

A face of `lockstep train` with `kind = "agent-session"`: it records nothing itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lockstep.bootstrap import place
from lockstep.core.errors import InputError, RefusedError
from lockstep.kinds.agent_session.data import start_of
from lockstep.kinds.agent_session.kind import KIND
from lockstep.kinds.shared.experience_batches import session_of
from lockstep.learning.gradients.record import SessionRecord
from lockstep.learning.gradients.user_failures import failures_of_agent
from lockstep.public import resume, train
from lockstep.rl.live import LiveTrainer
from lockstep.runs.checkpoint import CheckpointStore
from lockstep.runs.folder import RunFolder

if TYPE_CHECKING:
    from lockstep.rl.agent import Agent
    from lockstep.rl.replay_buffer import ProfitWeightedExperienceBuffer
    from lockstep.runs.results import TrainResult

COMPLETE: Final = "complete"
NO_EXPERIENCES: Final = "no_experiences"


@dataclass(frozen=True, kw_only=True)
class ProfitWeightedTraining:
    """What a call of `train_profit_weighted` did.

    status        "complete", or "no_experiences": no experience has a profit yet, and nothing was trained
    experiences   in the buffer
    profitable    those of them with a profit above zero
    steps         optimiser updates
    mean_losses   by part: total, q, and policy where the agent has one
    session_id    the run: for `lockstep resume`, `verify`, `replay`, and `ls.sessions`
    value, converged   of the run (formulas in `docs/replay.md`)
    folder        of the run
    """

    status: str
    experiences: int
    profitable: int
    steps: int = 0
    mean_losses: Mapping[str, float] = field(default_factory=dict)
    session_id: str | None = None
    value: float | None = None
    converged: bool | None = None
    folder: Path | None = None


class RLTrainer(LiveTrainer):
    """Trains `agent`, any that conforms to `lockstep.rl.agent.Agent`.

    agent       holds the trained state afterwards
    buffer      default: a `ProfitWeightedExperienceBuffer` of the default capacity
    home        folder of runs; default LOCKSTEP_HOME, else ./lockstep-home
    seed        of the default buffer and of the runs
    symbol      a label of the runs: the market that the experiences come from
    recording   the table [recording] of the runs (`docs/agents.md`)
    """

    def __init__(
        self,
        agent: Agent,
        buffer: ProfitWeightedExperienceBuffer | None = None,
        *,
        home: Path | str | None = None,
        seed: int = 42,
        symbol: str | None = None,
        recording: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(agent, buffer, seed=seed)
        self._home, self._seed, self._symbol = home, seed, symbol
        self._recording = dict(recording or {})

    def train_profit_weighted(self, updates: int = 100, batch_size: int = 64) -> ProfitWeightedTraining:
        """Train `updates` updates on batches of mostly profitable experiences (R9.22), recorded as a run.

        The run pins the buffer and the agent's state by digest before the first update. Raises any LockstepError;
        after Interrupted, or an error, agent and buffer are as they were before (`resume` goes on).
        """
        available, profitable = len(self.buffer), self.buffer.profitable_size
        if profitable == 0:
            return ProfitWeightedTraining(status=NO_EXPERIENCES, experiences=available, profitable=0)
        spec: dict[str, Any] = {
            "kind": "agent-session",
            "seed": self._seed,
            "training": {"updates": updates, "batch_size": batch_size},
            "recording": self._recording,
        }
        if self._symbol is not None:
            spec["symbol"] = self._symbol
        with failures_of_agent(self.agent, "before the run"):
            agent_before, buffer_before = self.agent.get_state(), self.buffer.get_state()
        objects = {"session.agent": self.agent, "session.buffer": self.buffer}
        try:
            result = train(spec, objects=objects, home=self._home)
        except BaseException:
            self.buffer.set_state(buffer_before)
            # An agent whose set_state() fails was refused for that; the refusal is what its writer has to read.
            with contextlib.suppress(Exception):
                self.agent.set_state(agent_before)
            raise
        return self._summary(result, available, profitable)

    def resume(self, run: str = "last") -> ProfitWeightedTraining:
        """Go on with a run that was stopped or killed; agent and buffer are then those of an uninterrupted run.

        The content of the buffer is replaced; its capacity and rules have to be those of the run. Raises RefusedError
        for an agent that is not built in and for a run that no trainer began, InputError for another buffer.
        """
        folder = place(self._home).store.find(run)
        spec = folder.read("spec")
        if spec.get("kind") != KIND.name or session_of(folder).batches is not None:
            raise RefusedError(
                f"a trainer goes on with what train_profit_weighted began; run {folder.path.name} is none of those "
                f"({spec.get('kind')}). Use lockstep resume."
            )
        start = start_of(folder, place(self._home).store.blobs)["buffer"]["store"]
        self._require_alike(spec["buffer"])
        result = resume(folder.path.name, home=self._home)
        store = CheckpointStore(RunFolder(result.folder).checkpoints)
        state = store.load(store.stored_steps()[-1]).state
        pair = start["observations"]
        recorded = {"id": start["ids"], "state": pair[:, 0], "next_state": pair[:, 1]}
        self.agent.set_state(state["agent"])
        self.buffer.set_state(state["buffer"], recorded=recorded)
        return self._summary(result, len(self.buffer), self.buffer.profitable_size)

    def _require_alike(self, recorded: Mapping[str, Any]) -> None:
        here = {"capacity": self.buffer.capacity, **vars(self.buffer.rules)}
        other = {name: recorded[name] for name, value in here.items() if recorded[name] != value}
        if other:
            raise InputError(
                f"a session goes on with a buffer of its own capacity and rules, {other}; found "
                f"{ {name: here[name] for name in other} }. Make the trainer with such a buffer."
            )

    def _summary(self, result: TrainResult, available: int, profitable: int) -> ProfitWeightedTraining:
        record = SessionRecord(RunFolder(result.folder))
        losses = {
            name.removeprefix("loss."): sum(column.tolist()) / len(column)
            for name, column in record.columns.items()
            if name.startswith("loss.")
        }
        return ProfitWeightedTraining(
            status=COMPLETE,
            experiences=available,
            profitable=profitable,
            steps=result.summary["steps"],
            mean_losses=losses,
            session_id=result.run_id,
            value=result.summary["value"],
            converged=result.summary["converged"],
            folder=result.folder,
        )
