"""Leaks that show at few bars: vetoes of rare moves, levels and exits that know them, leaks on one day of the week."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.unit.validation.planted_rules import Rule, ahead

from lockstep.core.errors import LookAheadError
from lockstep.engine.signals import Signals
from lockstep.market.candles import Candles
from lockstep.runs.seeds import SeedTree
from lockstep.strategies.view import MarketView
from lockstep.validation import exhaustive_look_ahead_check, quick_look_ahead_check
from lockstep.validation.other_future import Course, perturb_after, perturb_future
from lockstep.validation.points import SCREEN_BARS, points_by_outcome, points_of_screen

HOUR_MS = 3_600_000


def market(seed: int, bars: int = 2_000) -> Candles:
    """A random walk of 0.6 % a bar: a fall of 6 % within five bars comes about once in a hundred."""
    rng = np.random.Generator(np.random.Philox(seed))
    close = 100.0 * np.exp(np.cumsum(0.006 * rng.standard_t(5, bars)))
    opens = np.append(100.0, close[:-1])
    return Candles(
        timestamp=HOUR_MS * np.arange(bars, dtype=np.int64),
        open=opens,
        high=np.maximum(opens, close) * 1.001,
        low=np.minimum(opens, close) * 0.999,
        close=close,
        volume=rng.lognormal(size=bars),
        timeframe_ms=HOUR_MS,
    )


def crossings(view: MarketView) -> Any:
    """1 where the close crosses the mean of 30 bars upwards, -1 downwards, int8 (n,)."""
    above = view.close > view.sma(30)
    side = np.zeros(len(view), np.int8)
    side[1:] = np.where(above[1:] & ~above[:-1], 1, np.where(~above[1:] & above[:-1], -1, 0))
    return side


def without(side: Any, veto: Any) -> Signals:
    return Signals(side=np.where(veto, 0, side).astype(np.int8))


def no_long_before_a_fall(view: MarketView) -> Signals:
    side = crossings(view)
    return without(side, (side > 0) & (ahead(view.close, 5) < 0.94 * view.close))


def no_short_before_a_rise(view: MarketView) -> Signals:
    side = crossings(view)
    return without(side, (side < 0) & (ahead(view.high, 3) > 1.05 * view.close))


def no_entry_before_a_storm(view: MarketView) -> Signals:
    return without(crossings(view), ahead(view.high, 1) > 1.05 * ahead(view.low, 1))


def no_entry_before_a_calm(view: MarketView) -> Signals:
    return without(crossings(view), ahead(view.high, 2) < 1.0025 * ahead(view.low, 2))


def no_entry_before_much_volume(view: MarketView) -> Signals:
    return without(crossings(view), ahead(view.volume, 2) > 10.0)


def no_entry_before_a_gap_down(view: MarketView) -> Signals:
    return without(crossings(view), ahead(view.open, 1) < 0.99 * view.close)


def long_on_fridays_before_no_fall(view: MarketView) -> Signals:
    side = np.where(view.close > view.sma(30), 1, 0)
    friday = view.timestamp // (24 * HOUR_MS) % 7 == 1
    return without(side, friday & (ahead(view.close, 5) < 0.98 * view.close))


def wider_stop_before_a_fall(view: MarketView) -> Signals:
    distance = np.where(ahead(view.low, 4) < 0.95 * view.close, 0.2, 0.02)
    return Signals(side=np.maximum(crossings(view), 0), stop=view.close * (1.0 - distance))


def farther_target_before_a_rise(view: MarketView) -> Signals:
    distance = np.where(ahead(view.high, 4) > 1.05 * view.close, 0.2, 0.02)
    return Signals(side=np.maximum(crossings(view), 0), target=view.close * (1.0 + distance))


def later_exit_before_a_rise(view: MarketView) -> Signals:
    side = crossings(view)
    return Signals(side=np.maximum(side, 0), exit=(side < 0) & ~(ahead(view.close, 5) > 1.04 * view.close))


def exit_before_a_fall(view: MarketView) -> Signals:
    side = np.maximum(crossings(view), 0)
    return Signals(side=side, exit=(side == 0) & (ahead(view.close, 1) < 0.97 * view.close))


LEAKS = (
    no_long_before_a_fall,
    no_short_before_a_rise,
    no_entry_before_a_storm,
    no_entry_before_a_calm,
    no_entry_before_much_volume,
    no_entry_before_a_gap_down,
    long_on_fridays_before_no_fall,
    wider_stop_before_a_fall,
    farther_target_before_a_rise,
    later_exit_before_a_rise,
    exit_before_a_fall,
)


class Planted(Rule):
    def __init__(self, rule: Callable[[MarketView], Signals]) -> None:
        self.planted = rule

    def rule(self, view: MarketView) -> Signals:
        return self.planted(view)


@pytest.mark.parametrize("leak", LEAKS, ids=lambda item: item.__name__)
def test_a_rule_that_knows_rare_moves_is_caught(leak: Callable[[MarketView], Signals]) -> None:
    for seed in range(2):
        with pytest.raises(LookAheadError, match="reads the future"):
            exhaustive_look_ahead_check(Planted(leak), MarketView(market(seed)), {}, seeds=SeedTree(seed))


def test_a_veto_is_caught_before_a_search_too() -> None:
    with pytest.raises(LookAheadError, match=r"side at bar .* is 1, but 0 once the bars after it are replaced"):
        quick_look_ahead_check(Planted(no_long_before_a_fall), MarketView(market(5)), seeds=SeedTree(5))


def wilder_stops_after_calm(view: MarketView) -> Signals:
    """Honest: a veto by the past, and levels of an average that never quite forgets."""
    fallen = np.zeros(len(view), np.bool_)
    fallen[5:] = view.close[5:] < 0.97 * view.close[:-5]
    side = np.where(fallen | ~np.isfinite(view.atr(14)), 0, np.maximum(crossings(view), 0))
    return Signals(side=side.astype(np.int8), stop=view.close - 2.0 * view.atr(14), exit=view.ema(10) < view.ema(50))


def test_a_veto_by_the_past_and_an_average_that_never_forgets_are_not_accused() -> None:
    """A screen changes the past of all its points but the first; nobody is accused of that."""
    for seed in range(3):
        view = MarketView(market(seed))
        assert exhaustive_look_ahead_check(Planted(wilder_stops_after_calm), view, {}, seeds=SeedTree(seed)).decisions


def test_futures_of_each_course_leave_the_past_and_go_where_they_say() -> None:
    view = MarketView(market(1))
    close, volume = view.close[100], view.volume.max()
    for course, holds in {
        Course.FALL: lambda bars: bars.open[101] < 0.9 * close and np.all(bars.volume[101:] >= volume),
        Course.RISE: lambda bars: bars.open[101] > 1.1 * close and np.all(bars.volume[101:] < 0.01 * volume),
        Course.SWING: lambda bars: bars.high[101:].max() > 1.1 * close and bars.low[101:].min() < 0.9 * close,
        Course.CALM: lambda bars: np.all(np.abs(bars.close[101:] / close - 1.0) < 1e-3),
    }.items():
        part = perturb_after(view, [100], len(view), SeedTree(1).generator(), course).candles
        assert np.array_equal(part.close[:101], view.close[:101])
        assert holds(part), course


def test_a_screen_replaces_the_bars_after_its_points_alone() -> None:
    view = MarketView(market(1))
    points = points_of_screen(Signals(side=crossings(view)), 40, SeedTree(1).generator())
    assert len(points) == 20
    assert min(np.diff(points)) >= SCREEN_BARS + 40
    other = perturb_after(view, points, SCREEN_BARS, SeedTree(2).generator(), Course.FALL)
    changed = np.flatnonzero(other.close != view.close)
    after = np.concatenate([np.arange(point + 1, point + 1 + SCREEN_BARS) for point in points])
    assert np.array_equal(changed, after[after < len(view)])
    assert perturb_future(view, 5, SeedTree(2).generator()).close[6] != view.close[6]


def test_bars_are_chosen_where_knowing_the_next_moves_would_have_paid_most() -> None:
    bars = market(3, 400)
    close = np.full(400, 100.0)
    close[201:] = 90.0  # one fall: after bar 200
    close[301:] = 99.0  # one rise: after bar 300
    fallen = bars.with_values({"open": close, "high": close, "low": close, "close": close})
    side = np.zeros(400, np.int8)
    side[[50, 199, 201, 300]] = 1  # bar 200 looks as if an entry had been left out
    points = points_by_outcome(MarketView(fallen), Signals(side=side), 4)
    assert {200, 300} <= set(points)
