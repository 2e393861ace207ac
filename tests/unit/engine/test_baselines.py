"""What the result would be worth without the strategy."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tests.property.cases import candles_of, random_candles

from lockstep.engine.baselines import buy_and_hold, random_entries
from lockstep.engine.costs import Costs
from lockstep.engine.entries import compact
from lockstep.engine.metrics import Metric
from lockstep.engine.preparation import market_arrays
from lockstep.engine.settings import Execution
from lockstep.engine.signals import Signals
from lockstep.engine.simulate import simulate
from lockstep.runs.seeds import SeedTree
from lockstep.testing.costs import FREE

SEEDS = SeedTree(42).child("baseline")


def test_buy_and_hold_invests_everything_and_pays_the_same_costs() -> None:
    """Bought at the open of bar 1 (100), sold at the last close (150), fee 1 % a side: 50 − 2 = 48 %."""
    candles = candles_of([90, 100, 120], [100, 110, 150], [90, 100, 110], [95, 105, 150])
    result = buy_and_hold(candles, market_arrays(candles), Costs(fee_rate=0.01, slippage_rate=0))
    assert result[Metric.NET_PROFIT_PCT] == pytest.approx(48)
    close = buy_and_hold(candles, market_arrays(candles), FREE, Execution(fill="close", risk_per_trade=0.001))
    assert close[Metric.NET_PROFIT_PCT] == pytest.approx(100 * (150 / 95 - 1))


def test_buy_and_hold_is_held_to_the_end_whatever_time_limit_the_strategy_has() -> None:
    """Bought at the open of bar 1, sold at the close of bar 9 (109), though trades of the strategy last 2 bars."""
    price = 100.0 + np.arange(10.0)
    candles = candles_of(price, price, price, price)
    held = buy_and_hold(candles, market_arrays(candles), FREE, Execution(max_holding=2))
    assert (held.trades.entry_bar.tolist(), held.trades.exit_bar.tolist()) == ([1], [9])
    assert held[Metric.NET_PROFIT_PCT] == pytest.approx(100 * (109 / 101 - 1))
    assert held.execution.max_holding is None, "the result names the rules that it was made by"


@pytest.mark.parametrize("bars", [0, 1])
def test_buy_and_hold_of_a_market_too_short_to_trade_is_no_trade(bars: int) -> None:
    candles = candles_of(*[[100] * bars] * 4)
    assert len(buy_and_hold(candles, market_arrays(candles)).trades) == 0


def entry_on_every(step: int, bars: int, side: int = 1) -> Signals:
    sides = np.where(np.arange(bars) % step == 0, side, 0).astype(np.int8)
    return Signals(side=sides, time_limit=3)


def test_random_entries_keep_number_and_kind_of_the_trades_and_come_again_with_the_seed() -> None:
    candles = random_candles(np.random.default_rng(3), 2_000, tick=0.1)
    market = market_arrays(candles)
    batch = compact(entry_on_every(20, 2_000))
    strategy = simulate(candles, entry_on_every(20, 2_000))
    first = random_entries(market, batch, strategy, SEEDS, draws=50)
    assert first is not None
    assert first.trades == pytest.approx(len(strategy.trades), rel=0.02)
    assert first == random_entries(market, batch, strategy, SEEDS, draws=50)
    assert first != random_entries(market, batch, strategy, SEEDS.child("other"), draws=50)
    luck = first.net_profit_pct
    assert luck.p05 is not None
    assert luck.p95 is not None
    assert luck.p05 <= luck.mean <= luck.p95  # type: ignore[operator]
    json.dumps(first.to_dict(), allow_nan=False)


def test_a_strategy_that_knows_the_future_beats_all_random_ones_and_its_opposite_none() -> None:
    """Prices alternate between calm and a jump of +10 % in bar 20k + 1; buying before each is the best there is."""
    n = 1_000
    price = np.full(n, 100.0)
    price[1::20] = 110.0
    candles = candles_of(np.full(n, 100.0), price, np.full(n, 100.0), price)
    market = market_arrays(candles)
    for side, percentile in ((1, 100.0), (-1, 0.0)):
        sides = np.where(np.arange(n) % 20 == 0, side, 0).astype(np.int8)
        signals = Signals(side=sides, time_limit=1)
        ranked = random_entries(market, compact(signals), simulate(candles, signals, FREE), SEEDS)
        assert ranked is not None
        assert ranked.draws == 200
        assert ranked.net_profit_pct.percentile == percentile


def test_a_draw_that_earned_the_same_counts_half() -> None:
    """Where prices never move, the strategy and all 200 draws earn 0: none is below, all are ties, 0.5 * 200 / 200."""
    candles = candles_of(*[[100.0] * 300] * 4)
    signals = entry_on_every(20, 300)
    ranked = random_entries(market_arrays(candles), compact(signals), simulate(candles, signals, FREE), SEEDS)
    assert ranked is not None
    assert (ranked.net_profit_pct.p05, ranked.net_profit_pct.p95) == (0.0, 0.0)
    assert ranked.net_profit_pct.percentile == 50.0


def test_a_random_entry_may_stand_at_every_free_bar_the_last_one_too() -> None:
    """Three bars, one trade of one bar: it can be decided at bar 0 and at bar 1. Only bar 2 rises, from 100 to 110."""
    candles = candles_of([100, 100, 100], [100, 100, 110], [100, 100, 100], [100, 100, 110])
    signals = Signals(side=np.array([1, 0, 0], np.int8), time_limit=1)
    strategy = simulate(candles, signals, FREE, Execution(risk_per_trade=1.0))
    assert (strategy.trades.entry_bar.tolist(), strategy[Metric.NET_PROFIT_PCT]) == ([1], 0.0)
    ranked = random_entries(market_arrays(candles), compact(signals), strategy, SEEDS)
    assert ranked is not None
    assert (ranked.net_profit_pct.p05, ranked.net_profit_pct.p95) == (0.0, pytest.approx(10.0))
    # About one half of 200 draws; five standard deviations are 5 * sqrt(200 / 4) = 35.
    assert ranked.net_profit_pct.mean == pytest.approx(5.0, abs=10.0 * 35 / 200)


def test_stops_and_targets_keep_their_distance_from_the_price() -> None:
    """Prices double half way: a stop 1 % away must stay 1 % away, or every random trade there would be refused."""
    n = 400
    level = np.where(np.arange(n) < 200, 100.0, 200.0)
    candles = candles_of(level, level * 1.001, level * 0.999, level)
    sides = np.where((np.arange(n) % 10 == 0) & (np.arange(n) < 190), 1, 0).astype(np.int8)
    signals = Signals(side=sides, stop=level * 0.99, target=level * 1.02, trail=level * 0.03, time_limit=4)
    strategy = simulate(candles, signals)
    ranked = random_entries(market_arrays(candles), compact(signals), strategy, SEEDS)
    assert ranked is not None
    assert ranked.trades > 0.9 * len(strategy.trades)


def test_without_trades_there_is_nothing_to_compare() -> None:
    candles = random_candles(np.random.default_rng(0), 50)
    signals = Signals(side=np.zeros(50, np.int8))
    assert random_entries(market_arrays(candles), compact(signals), simulate(candles, signals), SEEDS) is None


def test_a_chain_of_reversals_over_all_bars_still_has_a_random_counterpart() -> None:
    candles = random_candles(np.random.default_rng(4), 200)
    sides = np.where(np.arange(200) % 2 == 0, 1, -1).astype(np.int8)
    signals = Signals(side=sides)
    ranked = random_entries(market_arrays(candles), compact(signals), simulate(candles, signals), SEEDS, draws=20)
    assert ranked is not None
    assert ranked.trades > 50


def test_a_random_trade_trails_as_far_from_its_price_as_the_strategys_did() -> None:
    """Every bar falls 2 % below its open, so a trail of 1 % ends each random trade at once, and one of 50 % none."""
    n = 300
    level = np.full(n, 50.0)
    candles = candles_of(level, level * 1.0001, level * 0.98, level)
    sides = np.where(np.arange(n) % 20 == 0, 1, 0).astype(np.int8)
    means = []
    for share in (0.01, 0.5):
        signals = Signals(side=sides, trail=level * share, time_limit=5)
        ranked = random_entries(market_arrays(candles), compact(signals), simulate(candles, signals, FREE), SEEDS)
        assert ranked is not None
        means.append(ranked.net_profit_pct.mean)
    assert means[0] < 0.0
    assert means[1] == pytest.approx(0.0, abs=1e-9)
