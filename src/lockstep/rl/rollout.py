"""`Rollout`: an agent acts in an environment, and each experience waits for its outcome before it enters the buffer.

An outcome is known `horizon_bars` bars later by the environment's clock, or at the end of the episode, whose remaining
horizon lies in the same training bars. If an experience entered at once and got its outcome later, it would be drawn
in between as one that earned nothing. At the end of the data and before gaps some never get an outcome; they enter
without one.

Random numbers of step n come from the stream ("explore", n) of the seed tree, so no generator is part of a state.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from lockstep.core.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.rl.agent import Agent
    from lockstep.rl.environment import SingleAssetEnvironment
    from lockstep.rl.hindsight import Hindsight
    from lockstep.runs.seeds import SeedTree

_COLUMNS: Final = ("states", "actions", "rewards", "next_states", "dones", "bars")


class Adds(Protocol):
    """The part of a buffer that a rollout needs."""

    def add_batch(self, **columns: Any) -> NDArray[np.int64]:
        """Store experiences, columns (n, ...). Returns their ids, int64 (n,)."""
        ...


class Rollout:
    """An `rl.training.ExperienceSource` that gathers experiences in an environment.

    environment       over the training bars
    hindsight         outcomes from the same bars
    horizon_bars      bars until an outcome is known
    steps_per_update  environment steps before each update, >= 1
    learning_starts   further environment steps before the first update, more than horizon_bars
    seeds             node of the seed tree for exploration

    Raises InputError where learning would start before the first outcome.
    """

    def __init__(
        self,
        environment: SingleAssetEnvironment,
        hindsight: Hindsight,
        *,
        horizon_bars: int,
        steps_per_update: int,
        learning_starts: int,
        seeds: SeedTree,
    ) -> None:
        if learning_starts <= horizon_bars:
            raise InputError(
                f"learning_starts is more than the horizon of {horizon_bars} bars, since no outcome is known before; "
                f"found {learning_starts}."
            )
        self.environment, self._hindsight = environment, hindsight
        self._horizon, self._each, self._first = horizon_bars, steps_per_update, learning_starts
        self._seeds = seeds.child("explore")
        self._waiting: list[tuple[Any, ...]] = []
        self._seen: NDArray[np.float32] | None = None
        self.steps, self.episodes = 0, 0
        self.last_return: float | None = None

    def before(self, step: int, agent: Agent, buffer: Adds) -> dict[str, NDArray[Any]] | None:
        """Act until update `step` is due. Returns the experiences added, as columns for a segment; None for none."""
        rng = self._seeds.child(step).generator()
        due: list[tuple[Any, ...]] = []
        for _ in range(self._each + (self._first if step == 0 else 0)):
            self._act(agent, step, rng)
            due += self._settled()
        return self._add(due, buffer)

    def _act(self, agent: Agent, step: int, rng: np.random.Generator) -> None:
        environment = self.environment
        if self._seen is None:
            self._seen = environment.reset()
        bar, state = environment.bar, self._seen
        action = agent.explore(state, step, rng)
        result = environment.step(action)
        self._waiting.append((state, action, result.reward, result.observation, result.terminated, bar))
        self._seen = result.observation
        self.steps += 1
        if result.terminated or result.truncated:
            self._seen = None
            self.episodes += 1
            self.last_return = environment.equity - 1.0

    def _settled(self) -> list[tuple[Any, ...]]:
        """Remove from the queue the experiences with a known outcome: the oldest, or all at the end of an episode."""
        count = len(self._waiting)
        # The queue is in order of bars, so those that are due are its first ones.
        if self._seen is not None:
            now = self.environment.bar
            count = sum(now - row[-1] >= self._horizon for row in self._waiting)
        due, self._waiting = self._waiting[:count], self._waiting[count:]
        return due

    def _add(self, due: list[tuple[Any, ...]], buffer: Adds) -> dict[str, NDArray[Any]] | None:
        if not due:
            return None
        columns = {name: np.stack(values) for name, values in zip(_COLUMNS, zip(*due, strict=True), strict=True)}
        bars = columns.pop("bars").astype(np.int64)
        columns["actions"] = columns["actions"].astype(np.int64)
        outcomes = self._hindsight.columns(bars, columns["actions"])
        ids = buffer.add_batch(**columns, **outcomes)
        return {
            "id": ids,
            "state": columns["states"],
            "action": columns["actions"].astype(np.int8),
            "reward": columns["rewards"],
            "next_state": columns["next_states"],
            "done": columns["dones"],
            "actual_profit": outcomes["actual_profits"],
            "profitability_score": outcomes["profitability_scores"],
            "optimal_action": outcomes["optimal_actions"].astype(np.int8),
            "outcome_validated": outcomes["outcome_validated"],
            "bar": bars,
        }

    def scalars(self) -> dict[str, Any]:
        """Counts and the last episode's return (a fraction), for the journal's line."""
        return {"environment_steps": self.steps, "episodes": self.episodes, "last_return": self.last_return}

    def get_state(self) -> dict[str, Any]:
        """Environment, counters, and the experiences that wait for their outcome."""
        columns = zip(*self._waiting, strict=True) if self._waiting else ()
        return {
            "environment": self.environment.get_state(),
            "waiting": {name: np.stack(values) for name, values in zip(_COLUMNS, columns, strict=False)},
            "steps": self.steps,
            "episodes": self.episodes,
            "last_return": self.last_return,
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore a state that `get_state` returned."""
        self.environment.set_state(state["environment"])
        # The observation follows from the environment's state, so it is not stored twice.
        self._seen = self.environment.observe() if self.environment.running else None
        waiting = state["waiting"]
        rows = zip(*(waiting[name] for name in _COLUMNS), strict=True) if waiting else ()
        self._waiting = [
            (np.array(seen), int(action), float(reward), np.array(following), bool(done), int(bar))
            for seen, action, reward, following, done, bar in rows
        ]
        self.steps, self.episodes = int(state["steps"]), int(state["episodes"])
        self.last_return = state["last_return"]
