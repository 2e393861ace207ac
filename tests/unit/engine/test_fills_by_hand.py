"""Trades worked out by hand. Prices are small whole numbers, the arithmetic stands beside each expectation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.property.cases import MINUTE, candles_of

from lockstep.engine.costs import Costs
from lockstep.engine.metrics import Metric
from lockstep.engine.settings import Execution
from lockstep.engine.signals import Signals
from lockstep.engine.simulate import Simulation, simulate
from lockstep.market.candles import Candles
from lockstep.testing.costs import FREE

NEXT_OPEN, CLOSE = Execution(), Execution(fill="close")


def market(*bars: tuple[float, float, float, float], timestamp: Any = None) -> Candles:
    """Bars as (open, high, low, close)."""
    return candles_of(*zip(*bars, strict=True), timestamp=timestamp)


def signals(n: int, decisions: dict[int, int], **levels: Any) -> Signals:
    """Decisions {bar: side}; levels are one number for all bars, or {bar: value}; exit is a list of bars."""
    side = np.zeros(n, np.int8)
    for bar, value in decisions.items():
        side[bar] = value
    arrays: dict[str, Any] = {}
    for name, value in levels.items():
        if name == "time_limit":
            arrays[name] = value
        elif name == "exit":
            arrays[name] = np.isin(np.arange(n), value)
        elif isinstance(value, dict):
            arrays[name] = np.array([value.get(bar, np.nan) for bar in range(n)])
        else:
            arrays[name] = np.full(n, float(value))
    return Signals(side=side, **arrays)


def one(result: Simulation) -> dict[str, Any]:
    """The only trade."""
    (trade,) = result.trades.to_dicts()
    return trade


FLAT = (100.0, 100.0, 100.0, 100.0)


def test_a_long_that_reaches_its_target_pays_fees_and_slippage_on_both_sides() -> None:
    """R3.6, R3.7, R3.8: next-open fill at 100, target 110, fee 0.1 %, slippage 0.05 %."""
    candles = market(FLAT, (100, 105, 99, 104), (104, 111, 103, 110), FLAT)
    trade = one(simulate(candles, signals(4, {0: 1}, stop=90, target=110)))
    q = 100 * 1.0005
    out = 110 * 0.9995
    assert trade["entry_price"] == q
    assert trade["exit_price"] == pytest.approx(out)
    assert trade["exit_reason"] == "TP"
    # sl_distance = |100 − 90| / 100 = 0.1; size = min(10 000 · 0.02 / 0.1, 10 000) = 2 000
    assert trade["size"] == pytest.approx(2_000)
    assert trade["net_return"] == pytest.approx((out - q) / q - 0.001 - 0.001)
    assert trade["pnl"] == pytest.approx(2_000 * ((out - q) / q - 0.002))
    assert trade["holding_periods"] == 2


def test_the_size_is_capped_at_the_capital() -> None:
    """R3.8: 0.02 / 0.005 = 4 times the capital is cut to once the capital."""
    candles = market(FLAT, FLAT, FLAT)
    assert one(simulate(candles, signals(3, {0: 1}, stop=99.5)))["size"] == 10_000


def test_a_trade_without_a_stop_is_sized_as_if_two_percent_away() -> None:
    """10 000 · 0.01 / 0.02 = 5 000."""
    result = simulate(market(FLAT, FLAT, FLAT), signals(3, {0: 1}), execution=Execution(risk_per_trade=0.01))
    assert one(result)["size"] == pytest.approx(5_000)


def test_a_tighter_trailing_stop_sizes_the_trade() -> None:
    """Initial stop = max(90, 100 − 4) = 96: size = 10 000 · 0.02 / 0.04 = 5 000."""
    result = simulate(market(FLAT, FLAT, FLAT), signals(3, {0: 1}, stop=90, trail=4))
    assert one(result)["size"] == pytest.approx(5_000)


def test_fees_are_taken_from_the_entry_notional_on_each_side() -> None:
    """R3.7: nothing moves, so the loss is 2 · 0.001 of size; a maker fee of −0.0002 applies to targets only."""
    still = simulate(market(FLAT, FLAT, FLAT), signals(3, {0: 1}), Costs(slippage_rate=0))
    assert one(still)["net_return"] == pytest.approx(-0.002)
    up = market(FLAT, (100, 110, 100, 105), FLAT)
    reached = simulate(up, signals(3, {0: 1}, target=110), Costs(slippage_rate=0, maker_fee_rate=-0.0002))
    assert one(reached)["net_return"] == pytest.approx(10 / 100 - 0.001 + 0.0002)


def test_half_the_spread_is_paid_on_each_side() -> None:
    """Spread 2 in price units: bought at 101, sold at 99; a short sells at 99 and buys back at 101."""
    costs = Costs(fee_rate=0, slippage_rate=0, spread=2)
    long = one(simulate(market(FLAT, FLAT, FLAT), signals(3, {0: 1}), costs))
    short = one(simulate(market(FLAT, FLAT, FLAT), signals(3, {0: -1}), costs))
    assert (long["entry_price"], long["exit_price"]) == (101, 99)
    assert (short["entry_price"], short["exit_price"]) == (99, 101)
    assert long["net_return"] == pytest.approx((99 - 101) / 101)
    assert short["net_return"] == pytest.approx((99 - 101) / 99)


def test_a_bar_that_touches_stop_and_target_exits_by_the_stop_and_is_counted() -> None:
    """R3.9: bar 1 spans 94 … 106; the stop at 95 is taken, the best order would have made the target at 105."""
    candles = market(FLAT, (100, 106, 94, 100), FLAT)
    result = simulate(candles, signals(3, {0: 1}, stop=95, target=105), FREE)
    assert one(result)["exit_reason"] == "SL"
    assert one(result)["exit_level"] == 95
    assert result[Metric.AMBIGUOUS_TRADES] == 1
    # sl_distance 0.05: size = 10 000 · 0.02 / 0.05 = 4 000; stop −5 % = −200, target +5 % = +200; on 10 000: ∓2 %
    assert result[Metric.NET_PROFIT_PCT] == pytest.approx(-2)
    assert result[Metric.NET_PROFIT_WORST_PCT] == pytest.approx(-2)
    assert result[Metric.NET_PROFIT_BEST_PCT] == pytest.approx(2)


def test_ambiguity_bounds_compound_when_sizes_do() -> None:
    """Two ambiguous all-in trades, ∓5 % each: 0.95² − 1 = −9.75 %, 1.05² − 1 = 10.25 %."""
    wild = (100.0, 106.0, 94.0, 100.0)
    execution = Execution(compounding=True, risk_per_trade=1.0)
    result = simulate(market(FLAT, wild, wild, FLAT), signals(4, {0: 1, 1: 1}, stop=95, target=105), FREE, execution)
    assert result[Metric.AMBIGUOUS_TRADES] == 2
    assert result[Metric.NET_PROFIT_WORST_PCT] == pytest.approx(100 * (0.95**2 - 1))
    assert result[Metric.NET_PROFIT_BEST_PCT] == pytest.approx(100 * (1.05**2 - 1))


def test_a_short_stops_out_upward_and_takes_profit_downward() -> None:
    """R3.10: the inverted comparisons of earlier engines."""
    up = simulate(market(FLAT, (100, 106, 100, 104), FLAT), signals(3, {0: -1}, stop=105, target=95), FREE)
    down = simulate(market(FLAT, (100, 100, 94, 96), FLAT), signals(3, {0: -1}, stop=105, target=95), FREE)
    assert (one(up)["exit_reason"], one(up)["exit_level"]) == ("SL", 105)
    assert (one(down)["exit_reason"], one(down)["exit_level"]) == ("TP", 95)
    assert one(up)["net_return"] == pytest.approx(-0.05)
    assert one(down)["net_return"] == pytest.approx(0.05)


def test_a_gap_beyond_the_stop_fills_at_the_open_and_is_not_ambiguous() -> None:
    """R3.17: bar 2 opens at 92, below the stop at 95, and later reaches the target: the open came first."""
    candles = market(FLAT, FLAT, (92, 106, 90, 100), FLAT)
    result = simulate(candles, signals(4, {0: 1}, stop=95, target=105), FREE)
    assert (one(result)["exit_reason"], one(result)["exit_level"]) == ("SL", 92)
    assert result[Metric.AMBIGUOUS_TRADES] == 0
    short = simulate(market(FLAT, FLAT, (108, 109, 94, 100), FLAT), signals(4, {0: -1}, stop=105, target=95), FREE)
    assert (one(short)["exit_reason"], one(short)["exit_level"]) == ("SL", 108)


def test_a_gap_beyond_the_target_still_fills_at_the_target() -> None:
    """Rule 4: no gift from a gap; bar 2 opens at 110, the target is 105."""
    candles = market(FLAT, FLAT, (110, 112, 109, 111), FLAT)
    assert one(simulate(candles, signals(4, {0: 1}, target=105), FREE))["exit_level"] == 105


def test_an_open_beyond_the_target_with_the_stop_touched_later_is_ambiguous_and_takes_the_stop() -> None:
    candles = market(FLAT, FLAT, (110, 112, 94, 100), FLAT)
    result = simulate(candles, signals(4, {0: 1}, stop=95, target=105), FREE)
    assert one(result)["exit_reason"] == "SL"
    assert result[Metric.AMBIGUOUS_TRADES] == 1


@pytest.mark.parametrize("execution", [NEXT_OPEN, CLOSE])
def test_a_time_limit_of_three_bars_ends_at_the_close_of_the_third(execution: Execution) -> None:
    """R3.11: decided at bar 1, so the exit is at the close of bar 1 + 3 = 4 in both modes."""
    bars = [(100.0 + k, 101.0 + k, 99.0 + k, 100.5 + k) for k in range(7)]
    trade = one(simulate(market(*bars), signals(7, {1: 1}, time_limit=3), FREE, execution))
    assert (trade["exit_bar"], trade["exit_level"], trade["holding_periods"]) == (4, 104.5, 3)
    assert trade["exit_reason"] == "MAX_HOLD"
    assert trade["entry_level"] == (102 if execution is NEXT_OPEN else 101.5)


def test_max_holding_applies_to_signals_without_a_limit_of_their_own() -> None:
    candles = market(*[FLAT] * 6)
    settings = Execution(max_holding=2)
    assert one(simulate(candles, signals(6, {0: 1}), execution=settings))["holding_periods"] == 2
    assert one(simulate(candles, signals(6, {0: 1}, time_limit=4), execution=settings))["holding_periods"] == 4


def test_an_opposite_signal_closes_and_opens_the_other_side_at_the_same_fill() -> None:
    """R3.12, R3.14: decided at the close of bar 2, filled at the open of bar 3 (104) or the close of bar 2 (102)."""
    bars = [(100, 101, 99, 100), (100, 101, 99, 101), (101, 103, 100, 102), (104, 105, 103, 104), (104, 105, 99, 100)]
    for execution, fill, bar in ((NEXT_OPEN, 104, 3), (CLOSE, 102, 2)):
        result = simulate(market(*bars), signals(5, {0: 1, 2: -1}), FREE, execution)
        first, second = result.trades.to_dicts()
        assert (first["exit_reason"], first["exit_level"], first["exit_bar"]) == ("SIGNAL", fill, bar)
        assert (second["side"], second["entry_level"], second["entry_bar"]) == ("SHORT", fill, bar)
        assert second["exit_reason"] == "END_OF_DATA"


def test_a_reversal_bar_has_one_return() -> None:
    """Long 100 → 110 at the open of bar 2, then short 110 → 99 at its close: all-in without costs.

    Size 10 000 both times. Long +10 % = +1 000, short (110 − 99) / 110 = +10 % = +1 000; E₁ = 10 000 (close 100),
    E₂ = 12 000: r₂ = 0.2, not 0.1 and 0.09.
    """
    bars = [FLAT, (100, 100, 100, 100), (110, 110, 99, 99), (99, 99, 99, 99)]
    result = simulate(market(*bars), signals(4, {0: 1, 1: -1}), FREE, Execution(risk_per_trade=0.02, blocks=4))
    assert result.equity.tolist() == pytest.approx([10_000, 10_000, 12_000, 12_000])
    assert result.blocks.r1.tolist() == pytest.approx([0, 0, 0.2, 0])


def test_after_a_stop_the_same_bar_may_decide_the_next_trade() -> None:
    """Rule 2: stopped in bar 1, a signal at the close of bar 1 enters at the open of bar 2."""
    candles = market(FLAT, (100, 100, 90, 92), (92, 93, 91, 92), FLAT)
    result = simulate(candles, signals(4, {0: 1, 1: 1}, stop={0: 95, 1: 80}), FREE)
    assert result.trades.entry_bar.tolist() == [1, 2]
    assert result.trades.exit_bar.tolist() == [1, 3]


def test_a_signal_of_the_own_side_is_ignored_while_in_a_position() -> None:
    result = simulate(market(*[FLAT] * 5), signals(5, {0: 1, 1: 1, 2: 1}), FREE)
    assert len(result.trades) == 1
    assert result[Metric.REFUSED_SIGNALS] == 0


@pytest.mark.parametrize(("execution", "bar", "level"), [(NEXT_OPEN, 3, 103), (CLOSE, 2, 102.5)])
def test_the_exit_flag_closes_and_uses_up_the_signal_of_its_bar(execution: Execution, bar: int, level: float) -> None:
    """Flag and long signal both at bar 2: exit only. The long signal at bar 3 opens again."""
    bars = [(100.0 + k, 104.0 + k, 99.0 + k, 100.5 + k) for k in range(6)]
    result = simulate(market(*bars), signals(6, {0: 1, 2: 1, 3: 1}, exit=[2]), FREE, execution)
    first, second = result.trades.to_dicts()
    assert (first["exit_reason"], first["exit_bar"], first["exit_level"]) == ("EXIT", bar, level)
    assert second["signal_bar"] == 3


def test_the_exit_flag_with_an_opposite_signal_is_a_reversal() -> None:
    result = simulate(market(*[FLAT] * 5), signals(5, {0: 1, 2: -1}, exit=[2]), FREE)
    assert [trade["exit_reason"] for trade in result.trades.to_dicts()] == ["SIGNAL", "END_OF_DATA"]


def test_an_exit_flag_while_flat_does_nothing() -> None:
    result = simulate(market(*[FLAT] * 5), signals(5, {1: 1}, exit=[0, 1]), FREE)
    assert [trade["signal_bar"] for trade in result.trades.to_dicts()] == [1]


def test_a_pending_exit_fills_at_the_open_before_the_stop_is_looked_at() -> None:
    """Decided at the close of bar 1; bar 2 opens at 98 and falls through the stop at 95."""
    candles = market(FLAT, FLAT, (98, 98, 90, 91), FLAT)
    trade = one(simulate(candles, signals(4, {0: 1}, stop=95, exit=[1]), FREE))
    assert (trade["exit_reason"], trade["exit_level"]) == ("EXIT", 98)


def test_the_trailing_stop_uses_completed_bars_only() -> None:
    """Bought at 104, trail 5. Bar 1 spans 103 … 110: its level is 104 − 5 = 99; the level of bar 2 is 110 − 5 = 105."""
    candles = market(FLAT, (104, 110, 103, 108), (108, 109, 104, 104), FLAT)
    trade = one(simulate(candles, signals(4, {0: 1}, stop=90, trail=5), FREE))
    assert (trade["exit_reason"], trade["exit_bar"], trade["exit_level"]) == ("TRAIL", 2, 105)


def test_a_short_trails_downward_and_a_gap_over_the_level_fills_at_the_open() -> None:
    """Low 90 in bar 1, trail 5: level 95 in bar 2, which opens at 97."""
    candles = market(FLAT, (100, 100, 90, 92), (97, 98, 96, 97), FLAT)
    trade = one(simulate(candles, signals(4, {0: -1}, stop=120, trail=5), FREE))
    assert (trade["exit_reason"], trade["exit_level"]) == ("TRAIL", 97)


def test_a_fixed_stop_tighter_than_the_trail_is_reported_as_the_stop() -> None:
    candles = market(FLAT, (100, 101, 94, 95), FLAT)
    assert one(simulate(candles, signals(3, {0: 1}, stop=96, trail=10), FREE))["exit_reason"] == "SL"


def test_an_open_position_ends_with_the_data() -> None:
    """R3.13"""
    trade = one(simulate(market(FLAT, FLAT, (100, 103, 99, 102)), signals(3, {0: 1}), FREE))
    assert (trade["exit_reason"], trade["exit_bar"], trade["exit_level"]) == ("END_OF_DATA", 2, 102)


@pytest.mark.parametrize("execution", [NEXT_OPEN, CLOSE])
def test_a_signal_on_the_last_bar_is_unfilled(execution: Execution) -> None:
    result = simulate(market(FLAT, FLAT, FLAT), signals(3, {2: 1}), FREE, execution)
    assert len(result.trades) == 0
    assert result[Metric.UNFILLED_SIGNALS] == 1


@pytest.mark.parametrize(("stop", "target"), [(101, None), (100, None), (None, 100), (None, 99), (101, 120)])
def test_a_signal_whose_level_is_already_passed_at_its_fill_is_refused(stop: Any, target: Any) -> None:
    """Fill at the next open, 100: a long needs stop < 100 < target, before slippage."""
    levels = {name: value for name, value in (("stop", stop), ("target", target)) if value is not None}
    result = simulate(market((98, 99, 97, 98), FLAT, FLAT), signals(3, {0: 1}, **levels))
    assert len(result.trades) == 0
    assert result[Metric.REFUSED_SIGNALS] == 1


def test_a_refused_opposite_signal_still_closes() -> None:
    """The short at bar 1 has its stop at 99, below the fill at 100: refused, but the long is closed by it."""
    result = simulate(market(*[FLAT] * 4), signals(4, {0: 1, 1: -1}, stop={0: 90, 1: 99}), FREE)
    assert one(result)["exit_reason"] == "SIGNAL"
    assert result[Metric.REFUSED_SIGNALS] == 1


def test_finer_bars_decide_which_of_stop_and_target_came_first() -> None:
    """Rule 9: one bar of 4 minutes spans 94 … 106; its minutes reach 106 in the second, 94 in the fourth."""
    coarse = candles_of([100] * 3, [100, 106, 100], [100, 94, 100], [100] * 3, step=4 * MINUTE)
    minutes = (
        [FLAT] * 4 + [(100, 101, 99, 100), (100, 106, 99, 105), (105, 105, 99, 100), (100, 100, 94, 100)] + [FLAT] * 4
    )
    decisions = signals(3, {0: 1}, stop=95, target=105)
    up = simulate(coarse, decisions, FREE, detail=market(*minutes))
    assert (one(up)["exit_reason"], one(up)["exit_level"], up[Metric.AMBIGUOUS_TRADES]) == ("TP", 105, 0)
    minutes[5], minutes[7] = minutes[7], minutes[5]
    down = simulate(coarse, decisions, FREE, detail=market(*minutes))
    assert (one(down)["exit_reason"], one(down)["exit_level"], down[Metric.AMBIGUOUS_TRADES]) == ("SL", 95, 0)
    minutes[4] = (100, 106, 94, 100)
    both = simulate(coarse, decisions, FREE, detail=market(*minutes))
    assert (one(both)["exit_reason"], both[Metric.AMBIGUOUS_TRADES]) == ("SL", 1)


def test_a_missing_finer_bar_before_the_deciding_one_leaves_the_order_unknown() -> None:
    coarse = candles_of([100] * 3, [100, 106, 100], [100, 94, 100], [100] * 3, step=4 * MINUTE)
    minutes = market(FLAT, (100, 106, 99, 105), FLAT, FLAT, timestamp=[0, 5 * MINUTE, 6 * MINUTE, 7 * MINUTE])
    result = simulate(coarse, signals(3, {0: 1}, stop=95, target=105), FREE, detail=minutes)
    assert result[Metric.AMBIGUOUS_TRADES] == 1


def test_a_short_is_settled_by_finer_bars_too() -> None:
    coarse = candles_of([100] * 3, [100, 106, 100], [100, 94, 100], [100] * 3, step=2 * MINUTE)
    minutes = market(FLAT, FLAT, (100, 101, 94, 95), (95, 106, 95, 100), FLAT, FLAT)
    result = simulate(coarse, signals(3, {0: -1}, stop=105, target=95), FREE, detail=minutes)
    assert (one(result)["exit_reason"], one(result)["exit_level"]) == ("TP", 95)


DAYS = ([100] * 3, [100, 110, 100], [100, 90, 100], [100] * 3)
CLOCK = {23: [0, 24, 47], 24: [0, 24, 48], 25: [0, 24, 49]}


@pytest.mark.parametrize(("length", "touch", "outcome"), [
    (23, 47, ("SL", 1)),  # in the first hour of the next day, which is none of this one's
    (23, 46, ("TP", 0)),
    (24, 47, ("TP", 0)),
    (25, 48, ("TP", 0)),
    (25, 49, ("SL", 1)),
])  # fmt: skip
def test_the_finer_bars_of_a_day_are_those_up_to_the_next_one(
    length: int, touch: int, outcome: tuple[str, int]
) -> None:
    """Rule 9: a day by a local clock has 23 to 25 hours; the hour numbered `touch` reaches the target."""
    time = np.array(CLOCK[length]) * 60 * MINUTE
    days = candles_of(*DAYS, timestamp=time, step=24 * 60 * MINUTE)
    rows = [FLAT] * 75
    rows[touch] = (100, 106, 100, 100)
    hours = candles_of(*zip(*rows, strict=True), step=60 * MINUTE)
    result = simulate(days, signals(3, {0: 1}, stop=95, target=105), FREE, detail=hours)
    assert (one(result)["exit_reason"], result[Metric.AMBIGUOUS_TRADES]) == outcome


def test_finer_bars_of_a_local_clock_are_read_one_after_another() -> None:
    """Rule 9: four-hour bars of which the second has five hours; the last touches the target."""
    time = np.array([0, 24, 49]) * 60 * MINUTE
    days = candles_of(*DAYS, timestamp=time, step=24 * 60 * MINUTE)
    opens = np.array([24, 28, 33, 37, 41, 45, 49, 53])
    rows = [FLAT] * 8
    rows[5] = (100, 106, 100, 100)
    fine = candles_of(*zip(*rows, strict=True), timestamp=opens * 60 * MINUTE, step=240 * MINUTE)
    result = simulate(days, signals(3, {0: 1}, stop=95, target=105), FREE, detail=fine)
    assert (one(result)["exit_reason"], result[Metric.AMBIGUOUS_TRADES]) == ("TP", 0)


def test_a_trade_over_missing_bars_is_marked() -> None:
    """Rule 10: a bar is missing between bars 1 and 2; the trade of bars 3 to 5 is not touched by it."""
    time = np.array([0, 1, 3, 4, 5, 6, 7]) * MINUTE
    decisions = signals(7, {0: 1, 3: 1}, time_limit=2)
    result = simulate(market(*[FLAT] * 7, timestamp=time), decisions, FREE)
    assert result.trades.spans_gap.tolist() == [True, False]
    assert result[Metric.GAP_TRADES] == 1


def test_a_day_that_summer_time_makes_longer_misses_no_bar() -> None:
    """Rule 10: days by a local clock, the third of 25 hours, the fifth of 23."""
    time = np.array([0, 24, 48, 73, 97, 120, 144]) * 60 * MINUTE
    days = candles_of([100] * 7, [100] * 7, [100] * 7, [100] * 7, timestamp=time, step=24 * 60 * MINUTE)
    result = simulate(days, signals(7, {0: 1}, time_limit=6), FREE)
    assert result.trades.spans_gap.tolist() == [False]


def test_ruin_ends_trading_and_leaves_the_ratios_undefined() -> None:
    """A short of 10 000 at 100 bought back at 250: −150 %, equity −5 000. The later signal is not traded."""
    candles = market(FLAT, FLAT, (250, 250, 250, 250), FLAT, FLAT)
    result = simulate(candles, signals(5, {0: -1, 3: 1}, time_limit=2), FREE)
    assert result.equity[-1] == pytest.approx(-5_000)
    assert len(result.trades) == 1
    assert result.ruined
    assert result[Metric.SHARPE_RATIO] is None
    assert result[Metric.SORTINO_RATIO] is None
    assert np.isnan(result.blocks.r1).all()


def test_equity_is_marked_at_every_close_and_the_entry_cost_falls_in_the_entry_bar() -> None:
    """Size 10 000 at 100, fee 1 %, no slippage: E₁ = 10 000 − 100, E₂ at close 102 = 10 000 + 200 − 100, then the
    exit at 104 with a second fee: 10 000 + 400 − 200."""
    candles = market(FLAT, FLAT, (100, 103, 99, 102), (102, 105, 101, 104), FLAT)
    costs = Costs(fee_rate=0.01, slippage_rate=0)
    next_open = simulate(candles, signals(5, {0: 1}, time_limit=3), costs)
    assert next_open.equity.tolist() == pytest.approx([10_000, 9_900, 10_100, 10_200, 10_200])
    close = simulate(candles, signals(5, {0: 1}, time_limit=3), costs, CLOSE)
    assert close.equity.tolist() == pytest.approx([9_900, 9_900, 10_100, 10_200, 10_200])


def test_compounding_sizes_from_the_equity_at_entry() -> None:
    """+10 % all-in, then all-in again: the second size is 11 000 with compounding, 10 000 without."""
    bars = [FLAT, (100, 110, 100, 110), (100, 100, 100, 100), FLAT, FLAT]
    for compounding, size in ((True, 11_000), (False, 10_000)):
        execution = Execution(compounding=compounding, risk_per_trade=1.0)
        result = simulate(market(*bars), signals(5, {0: 1, 2: 1}, time_limit=1), FREE, execution)
        assert result.trades.size.tolist() == pytest.approx([10_000, size])
