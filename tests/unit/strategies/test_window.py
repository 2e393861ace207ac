"""A set of parameters traded in a window of a market: the past is known, the future is not there, money is new."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import lockstep as ls
from lockstep.core.errors import InputError
from lockstep.engine.settings import Execution
from lockstep.engine.signals import Signals
from lockstep.market.sample import sample_candles
from lockstep.strategies.base import Params
from lockstep.strategies.view import MarketView
from lockstep.strategies.window import trade_window

CANDLES = sample_candles().head(400)
COSTS = ls.Costs(fee_rate=0.0002, slippage_rate=0.0)


class Third(ls.Strategy):
    """Buys at every third bar by its place in the market, leaves at every fifth; 30 bars of warm-up."""

    def warmup(self, params: Params) -> int:
        return 30

    def signals(self, view: MarketView, params: Params) -> Signals:
        place = np.arange(len(view))
        warm = place >= 30
        return Signals(side=np.where(warm & (place % 3 == 0), 1, 0), exit=warm & (place % 5 == 0))


class Limited(Third):
    """As `Third`, without exits but with limits, stops and targets as arrays."""

    def signals(self, view: MarketView, params: Params) -> Signals:
        side = super().signals(view, params).side
        return Signals(side=side, stop=view.close * 0.99, target=view.close * 1.001, time_limit=4)


def test_the_window_is_traded_as_if_the_bars_before_it_had_only_been_watched() -> None:
    """Signals of the whole market, cut to the window, over the window's bars alone: the same to the last bit."""
    bars, simulation = trade_window(Third, {}, CANDLES, 100, 200, costs=COSTS)
    assert bars == CANDLES.slice(100, 200)
    place = np.arange(100, 200)
    by_hand = ls.simulate(bars, Signals(side=np.where(place % 3 == 0, 1, 0), exit=place % 5 == 0), COSTS, Execution())
    assert simulation.equity.tobytes() == by_hand.equity.tobytes()
    assert simulation.metrics == by_hand.metrics
    # 102 = 3 · 34 is the first bar of the window that buys, though the warm-up is 30 bars.
    assert simulation.trades.signal_bar.min() == 2


def test_exit_flags_count_in_the_window_too() -> None:
    """Every trade here ends by its flag at a multiple of 5 at the latest, so none is held longer than 5 bars."""
    _, simulation = trade_window(Third, {}, CANDLES, 100, 200, costs=COSTS)
    held = simulation.trades.exit_bar - simulation.trades.signal_bar
    assert 0 < held.max() <= 5 + 1  # decided at a close, filled at the next open


def test_stops_targets_and_limits_are_those_of_the_windows_own_bars() -> None:
    bars, simulation = trade_window(Limited, {}, CANDLES, 100, 200, costs=COSTS)
    side = np.where(np.arange(100, 200) % 3 == 0, 1, 0)
    by_hand = Signals(side=side, stop=bars.close * 0.99, target=bars.close * 1.001, time_limit=4)
    assert simulation.metrics == ls.simulate(bars, by_hand, COSTS, Execution()).metrics
    assert simulation.metrics[ls.Metric.TOTAL_TRADES] > 5


def test_no_bar_after_the_window_is_there() -> None:
    """Prices after it are halved: not one bit of the window changes. What comes before it does count."""
    halved = {name: getattr(CANDLES, name).copy() for name in ("open", "high", "low", "close")}
    for column in halved.values():
        column[200:] *= 0.5
    parameters = {"pierce_depth": 0.0001, "volume_spike_threshold": 1.0, "reversal_candles": 1, "min_level_touches": 2}
    ours = trade_window("liquidity_sweep", parameters, CANDLES, 120, 200)[1]
    theirs = trade_window("liquidity_sweep", parameters, replace(CANDLES, **halved), 120, 200)[1]
    assert ours.equity.tobytes() == theirs.equity.tobytes()
    assert len(ours.trades) > 0


def test_without_a_stop_the_window_ends_with_the_candles_and_closes_what_is_open() -> None:
    bars, simulation = trade_window(Third, {}, CANDLES, 390, costs=COSTS)
    assert bars == CANDLES.tail(10)
    assert simulation.trades.exit_bar.max() == 9


def test_a_window_of_the_whole_market_is_a_backtest() -> None:
    _, simulation = trade_window(Third, {}, CANDLES, 0, costs=COSTS)
    assert simulation.metrics == ls.backtest(CANDLES, Third, costs=COSTS).metrics


@pytest.mark.parametrize(("start", "stop"), [(-1, 10), (10, 10), (20, 10), (0, 401), (400, None)])
def test_a_window_that_is_none_is_refused(start: int, stop: int | None) -> None:
    with pytest.raises(InputError, match="0 <= start < stop <= 400"):
        trade_window(Third, {}, CANDLES, start, stop)
