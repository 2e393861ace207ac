"""Experiences enter the buffer when their outcome is known: no bar earlier, no bar later."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lockstep.core.errors import InputError
from lockstep.market.sample import sample_candles
from lockstep.rl.environment import SingleAssetEnvironment
from lockstep.rl.hindsight import Hindsight, outcome_rules
from lockstep.rl.rollout import Rollout
from lockstep.runs.checkpoint import through_storage
from lockstep.runs.seeds import SeedTree
from lockstep.testing.costs import FREE

HORIZON = 5
# Up to the first weekend: no gap keeps an outcome from being known.
CANDLES = sample_candles().head(100)


class Explorer:
    """Acts by chance alone."""

    def explore(self, state: NDArray[np.float32], step: int, rng: np.random.Generator) -> int:
        return int(rng.integers(3))


class Buffer:
    """Keeps what it is given, and the environment's bar at that moment."""

    def __init__(self, environment: SingleAssetEnvironment) -> None:
        self.environment = environment
        self.rows: list[tuple[int, NDArray[Any]]] = []

    def add_batch(self, **columns: Any) -> NDArray[np.int64]:
        self.rows.append((self.environment.bar, columns["rewards"]))
        return np.arange(len(columns["rewards"]), dtype=np.int64)


def rollout_of(*, episode_bars: int | None = None, steps_per_update: int = 1, learning_starts: int = 6) -> Rollout:
    environment = SingleAssetEnvironment(CANDLES, lookback=4, costs=FREE, episode_bars=episode_bars, seed=1)
    hindsight = Hindsight(CANDLES, outcome_rules(CANDLES, FREE, horizon_bars=HORIZON, target_profit=0.001))
    return Rollout(
        environment,
        hindsight,
        horizon_bars=HORIZON,
        steps_per_update=steps_per_update,
        learning_starts=learning_starts,
        seeds=SeedTree(1),
    )


def test_an_outcome_is_known_when_its_horizon_has_passed_and_then_at_once() -> None:
    """One step an update: before update n the environment has gone to bar b, and bar b - 5 enters, alone."""
    rollout = rollout_of()
    buffer = Buffer(rollout.environment)
    first = rollout.before(0, Explorer(), buffer)
    assert first is not None
    # 1 + 6 steps have led from bar f to bar f + 7: the decisions at f, f + 1 and f + 2 are 5 bars old or more.
    begin = rollout.environment.bar - 7
    assert first["bar"].tolist() == [begin, begin + 1, begin + 2]
    for step in range(1, 40):
        added = rollout.before(step, Explorer(), buffer)
        assert added is not None
        assert added["bar"].tolist() == [rollout.environment.bar - HORIZON]


def test_at_the_end_of_an_episode_all_that_wait_are_settled() -> None:
    rollout = rollout_of(episode_bars=20)
    buffer = Buffer(rollout.environment)
    entered = 0
    for step in range(60):
        added = rollout.before(step, Explorer(), buffer)
        entered += 0 if added is None else len(added["bar"])
        waiting = rollout.steps - entered
        assert waiting <= HORIZON
        if rollout.steps % 20 == 0:
            assert (rollout.episodes, waiting) == (rollout.steps // 20, 0)
    assert rollout.episodes == 66 // 20


def test_interrupted_with_experiences_that_wait_it_goes_on_as_if_it_had_not_been() -> None:
    whole, first, second = (rollout_of(episode_bars=20) for _ in range(3))
    for step in range(8):
        whole.before(step, Explorer(), Buffer(whole.environment))
        first.before(step, Explorer(), Buffer(first.environment))
    state = through_storage(first.get_state())
    assert len(state["waiting"]["bars"]) > 0
    second.set_state(state)
    for step in range(8, 30):
        one, other = (item.before(step, Explorer(), Buffer(item.environment)) for item in (whole, second))
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            assert {name: values.tolist() for name, values in one.items() if name != "actual_profit"} == {
                name: values.tolist() for name, values in other.items() if name != "actual_profit"
            }
            np.testing.assert_array_equal(one["actual_profit"], other["actual_profit"])


def test_learning_cannot_start_before_an_outcome_is_known() -> None:
    with pytest.raises(InputError, match="learning_starts is more than the horizon of 5 bars"):
        rollout_of(learning_starts=5)
