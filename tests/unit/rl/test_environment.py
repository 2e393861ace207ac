"""The environment of one asset: fills, costs, rewards, causality, episodes, state."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lockstep.core.errors import InputError, RefusedError
from lockstep.engine.costs import Costs
from lockstep.market.candles import Candles
from lockstep.market.sample import sample_candles
from lockstep.rl import Action, SingleAssetEnvironment
from lockstep.runs.checkpoint import through_storage
from lockstep.testing.costs import FREE

HOUR = 3_600_000


def candles(opens: Any, closes: Any, volume: Any = None) -> Candles:
    opens, closes = np.asarray(opens, np.float64), np.asarray(closes, np.float64)
    return Candles.from_arrays(
        timestamp=np.arange(opens.size) * HOUR,
        open=opens,
        high=np.maximum(opens, closes),
        low=np.minimum(opens, closes),
        close=closes,
        volume=np.ones(opens.size) if volume is None else volume,
        timeframe="1h",
    )


# Decision bars 2, 3, 4 (lookback 2); fills at the opens 110, 120, 130 of the bars after them.
PRICES = candles([100, 100, 100, 110, 120, 130], [100, 100, 105, 115, 125, 100])


def test_a_purchase_fills_at_the_next_open_and_is_marked_at_its_close() -> None:
    """1/110 units; closes 115, 125, 100: rewards 5/110, 10/110, -25/110, which add up to -10/110."""
    environment = SingleAssetEnvironment(PRICES, lookback=2, costs=FREE)
    environment.reset()
    rewards = [environment.step(action).reward for action in (Action.BUY, Action.HOLD, Action.BUY)]
    assert rewards == pytest.approx([5 / 110, 10 / 110, -25 / 110], abs=1e-15)
    assert environment.equity == pytest.approx(1.0 - 10 / 110, abs=1e-15)


def test_a_reversal_closes_and_opens_at_one_price_with_both_costs() -> None:
    """Long at 110 · 1.01, short from 120: sold at 120 · .99, and again; fees of .001 on 1, three times."""
    environment = SingleAssetEnvironment(PRICES, lookback=2, costs=Costs(fee_rate=0.001, slippage_rate=0.01))
    environment.reset()
    environment.step(Action.BUY)
    assert environment.equity == pytest.approx(-0.001 + 115 / (110 * 1.01), abs=1e-15)
    environment.step(Action.SELL)
    proceeds = 120 * 0.99 / (110 * 1.01)
    cash = 1.0 - 1.0 - 0.001 + proceeds - 0.001 + 1.0 - 0.001
    assert environment.equity == pytest.approx(cash - 125 / (120 * 0.99), abs=1e-15)
    assert environment.side == -1
    assert environment.check_valid() == (True, "")


def test_without_shorts_a_sale_leaves_the_market_and_no_more() -> None:
    environment = SingleAssetEnvironment(PRICES, lookback=2, costs=FREE, allow_short=False)
    environment.reset()
    assert environment.step(Action.SELL).reward == 0.0
    environment.step(Action.BUY)
    assert environment.side == 1
    environment.step(Action.SELL)  # at 130: the fall to 100 is not felt
    assert environment.side == 0
    assert environment.equity == pytest.approx(1.0 + (130 - 120) / 120, abs=1e-15)


def test_holding_what_is_held_costs_nothing() -> None:
    environment = SingleAssetEnvironment(PRICES, lookback=2, costs=Costs())
    environment.reset()
    assert [environment.step(Action.HOLD).reward for _ in range(3)] == [0.0, 0.0, 0.0]


def test_the_data_ends_with_a_truncation_and_a_lost_capital_with_a_termination() -> None:
    """A short from 100 loses the capital when the price has doubled."""
    environment = SingleAssetEnvironment(PRICES, lookback=2, costs=FREE)
    environment.reset()
    ends = [environment.step(Action.HOLD) for _ in range(3)]
    assert [(end.terminated, end.truncated) for end in ends] == [(False, False), (False, False), (False, True)]
    with pytest.raises(RefusedError, match="none is running"):
        environment.step(Action.HOLD)
    lost = SingleAssetEnvironment(candles([100] * 5, [100, 100, 100, 200, 100]), lookback=2, costs=FREE)
    lost.reset()
    end = lost.step(Action.SELL)
    assert (end.reward, end.terminated, end.truncated) == (-1.0, True, False)
    with pytest.raises(RefusedError, match=r"Call reset\(\) first"):
        lost.step(Action.HOLD)


def test_an_observation_has_the_numbers_of_its_definition() -> None:
    """Bars 1 and 2 at decision bar 2: returns 0 and .05, ranges 0 and 5/105, bodies 0 and .05; R = 2.5/105, V = 3."""
    environment = SingleAssetEnvironment(
        candles([100, 100, 100, 110], [100, 100, 105, 115], [9.0, 2.0, 4.0, 9.0]), lookback=2, costs=FREE
    )
    seen = environment.reset()
    scale = 2.5 / 105
    wanted = [0.0, 0.0, 0.0, 2 / 3 - 1, 0.05 / scale, 2.0, 0.05 / scale, 4 / 3 - 1, 0.0, 0.0, 0.0]
    assert seen == pytest.approx(wanted, rel=1e-6)
    assert seen.dtype == np.float32
    assert environment.observation_shape == seen.shape
    after = environment.step(Action.BUY).observation
    assert after[-3:] == pytest.approx([1.0, 5 / 110, 5 / 110], rel=1e-6)


def test_a_market_that_stands_still_without_volume_is_seen_as_zeros() -> None:
    environment = SingleAssetEnvironment(candles([100] * 6, [100] * 6, np.zeros(6)), lookback=3)
    assert not environment.reset().any()


def test_an_observation_does_not_change_when_later_bars_do() -> None:
    """Causality, decision D3: everything after the decision bar is replaced, bar by bar."""
    market = sample_candles().head(40)
    whole = SingleAssetEnvironment(market, lookback=5)
    seen = [whole.reset()]
    while not (result := whole.step(len(seen) % 3)).truncated:
        seen.append(result.observation)
    for known in range(6, 39):
        # Decision bar known - 1; the bar in which its action is filled is needed too, so one other bar follows.
        other = market.head(known)
        last = other.tail(1)
        changed = Candles.from_arrays(
            timestamp=np.append(other.timestamp, other.timestamp[-1] + HOUR),
            **{
                name: np.append(getattr(other, name), 3.0 * getattr(last, name)[0])
                for name in ("open", "high", "low", "close", "volume")
            },
            timeframe="1h",
        )
        again = SingleAssetEnvironment(changed, lookback=5)
        observation = again.reset()
        for k in range(known - 6):
            assert observation.tobytes() == seen[k].tobytes()
            observation = again.step((k + 1) % 3).observation
        assert observation.tobytes() == seen[known - 6].tobytes()


def walk(environment: SingleAssetEnvironment, steps: int, seed: int) -> list[tuple[bytes, float, bool]]:
    rng = np.random.Generator(np.random.Philox(seed))
    seen = []
    for _ in range(steps):
        if not environment._running:
            environment.reset()
        result = environment.step(int(rng.integers(0, 3)))
        assert environment.check_valid() == (True, "")
        seen.append((result.observation.tobytes(), result.reward, result.truncated))
    return seen


def made(seed: int = 42, **options: Any) -> SingleAssetEnvironment:
    return SingleAssetEnvironment(sample_candles().head(300), lookback=8, episode_bars=20, seed=seed, **options)


def test_the_seed_alone_decides_where_episodes_begin() -> None:
    """R9.51. Five episodes of 20 steps."""
    assert walk(made(), 100, 1) == walk(made(), 100, 1)
    assert walk(made(), 100, 1) != walk(made(43), 100, 1)


def test_interrupted_at_any_step_it_goes_on_as_if_it_had_not_been() -> None:
    for steps in range(0, 45, 4):
        first, second = made(), made(7)
        walk(first, steps, 1)
        second.set_state(through_storage(first.get_state()))
        assert walk(first, 50, 2) == walk(second, 50, 2)


def test_drawn_episodes_stay_inside_the_data_and_reach_both_ends() -> None:
    """12 bars, lookback 3, 6 steps: decision bars begin at 3, 4 or 5."""
    environment = SingleAssetEnvironment(PRICES_12, lookback=3, episode_bars=6)
    starts = set()
    for _ in range(60):
        environment.reset()
        starts.add(environment.bar)
        assert [environment.step(Action.BUY).truncated for _ in range(6)] == [False] * 5 + [True]
    assert starts == {3, 4, 5}


PRICES_12 = candles(np.arange(12) + 100.0, np.arange(12) + 100.5)


def test_rewards_add_up_to_the_equity() -> None:
    environment = SingleAssetEnvironment(sample_candles().head(300), lookback=8)
    environment.reset()
    rng = np.random.Generator(np.random.Philox(3))
    total = sum(environment.step(int(rng.integers(0, 3))).reward for _ in range(200))
    assert 1.0 + total == pytest.approx(environment.equity, abs=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: SingleAssetEnvironment(PRICES, lookback=1), "lookback is at least 2 bars"),
        (lambda: SingleAssetEnvironment(PRICES, lookback=2, episode_bars=0), "an episode at least 1; found 2 and 0"),
        (lambda: SingleAssetEnvironment(PRICES, lookback=5), "need 7 bars; found 6"),
        (lambda: SingleAssetEnvironment(PRICES, lookback=2, episode_bars=4), "need 7 bars; found 6"),
        (lambda: made().step(3), r"an action is 0 \(SELL\), 1 \(HOLD\) or 2 \(BUY\); found 3"),
        (lambda: made().step(True), "found True"),
        (lambda: made().set_state({**made().get_state(), "version": 9}), "version 1 is needed; found 9"),
        (lambda: made().set_state(SingleAssetEnvironment(PRICES, lookback=2).get_state()), "belongs to its candles"),
    ],
)
def test_what_cannot_be_is_refused(call: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()


def test_a_wrong_position_is_not_valid() -> None:
    environment = made(allow_short=False)
    environment.reset()
    for name, value in (("_units", 1.0), ("_side", 2), ("_bar", 1), ("_cash", -1.0)):
        before = getattr(environment, name)
        setattr(environment, name, value)
        ok, reason = environment.check_valid()
        assert not ok
        assert reason
        setattr(environment, name, before)
    environment._side, environment._entry, environment._units = -1, 2.0, -0.5
    assert environment.check_valid() == (False, "shorts are not allowed; one is held")
