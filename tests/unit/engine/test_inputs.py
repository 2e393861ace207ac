"""What the engine refuses to take, and that each message says where and what to do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.property.cases import MINUTE, candles_of

import lockstep as ls
from lockstep.core.errors import DataError, InputError, StrategyError
from lockstep.engine.costs import Costs
from lockstep.engine.entries import NO_LIMIT, EntryBatch, compact
from lockstep.engine.settings import Execution, Fill
from lockstep.engine.signals import Signals
from lockstep.engine.simulate import simulate

SIDE = np.array([0, 1, 0, -1], np.int8)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"side": np.array([0, 2, 0])}, r"side is 1 \(long\), -1 \(short\) or 0 .* found .*2.* at bar 1"),
        ({"side": np.zeros((2, 2))}, r"shape \(n_bars,\); found shape \(2, 2\)"),
        ({"side": np.array(["buy"])}, "found dtype"),
        ({"side": np.array([0.0, np.nan])}, "at bar 1"),
        ({"side": SIDE, "stop": np.array([np.nan, np.nan, 1, 1])}, r"stop is finite .* found nan at bar 1 \(1 such"),
        ({"side": SIDE, "target": np.array([1, 1, 1, np.inf])}, "target is finite .* found inf at bar 3"),
        ({"side": SIDE, "trail": np.array([1, 0, 1, 1])}, "trail is above 0 .* at bar 1"),
        ({"side": SIDE, "stop": np.ones(3)}, r"stop has one value per bar, .*shape \(4,\); found shape \(3,\)"),
        ({"side": SIDE, "exit": np.array([0, 1, 0, 1])}, "exit is an array of bool; found dtype int64"),
        ({"side": SIDE, "time_limit": 0}, "at least 1 bar; found 0"),
        ({"side": SIDE, "time_limit": 2.5}, "time_limit counts bars, so it is an integer"),
        ({"side": SIDE, "time_limit": np.array([0, 0, 0, 5])}, "time_limit is at least 1 bar; found 0 at bar 1"),
        ({"side": SIDE, "time_limit": np.ones((2, 2), int)}, r"has shape \(4,\)"),
        ({"side": SIDE, "stop": np.array(["a"] * 4)}, "stop is numeric"),
    ],
)
def test_unusable_signals_are_refused_with_bar_value_and_cure(arguments: dict[str, Any], text: str) -> None:
    """R3.18: nothing is swallowed and nothing trades on NaN."""
    with pytest.raises(StrategyError, match=text):
        Signals(**arguments)


def test_levels_are_only_read_where_there_is_a_signal() -> None:
    nan = np.full(4, np.nan)
    nan[[1, 3]] = 90, 110
    assert len(Signals(side=SIDE, stop=nan)) == 4


def test_booleans_and_integers_are_taken_as_sides() -> None:
    assert Signals(side=np.array([True, False])).side.tolist() == [1, 0]
    assert Signals(side=np.array([1, -1, 0])).side.dtype == np.int8


def test_signals_of_another_length_than_the_candles_are_refused() -> None:
    candles = candles_of(*[[100] * 5] * 4)
    with pytest.raises(StrategyError, match="found 4 values for 5 bars"):
        simulate(candles, Signals(side=SIDE))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"fee_rate": -0.1}, r"fee_rate lies in \[0, 1\); found -0.1"),
        ({"slippage_rate": 1.0}, "slippage_rate"),
        ({"spread": float("nan")}, "spread"),
        ({"maker_fee_rate": -2.0}, "maker_fee_rate"),
        ({"fee_rate": "0.001"}, r"fee_rate lies in \[0, 1\); found '0.001'"),
        ({"spread": None}, "spread lies in"),
    ],
)
def test_costs_outside_their_range_are_refused(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=text):
        Costs(**arguments)


def test_a_spread_in_pips_instead_of_price_units_is_noticed() -> None:
    """A spread of 3 on prices of 1.1 would sell for less than nothing."""
    candles = candles_of(*[[1.1] * 4] * 4)
    with pytest.raises(InputError, match="The spread is in price units, not in pips"):
        simulate(candles, Signals(side=SIDE), Costs(spread=3.0))


def test_a_sale_has_to_yield_something_after_slippage_and_half_the_spread() -> None:
    """Half a spread of 1.9 is 0.95: below a price of 1, but not below 1 * (1 - 0.1)."""
    candles = candles_of(*[[1.0] * 4] * 4)
    assert len(simulate(candles, Signals(side=SIDE), Costs(spread=1.9, slippage_rate=0.0, fee_rate=0.0)).trades) > 0
    with pytest.raises(InputError, match="half the spread stays below every price"):
        simulate(candles, Signals(side=SIDE), Costs(spread=1.9, slippage_rate=0.1, fee_rate=0.0, allow_high_fees=True))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"fill": "open"}, "fill is one of 'next_open', 'close'; found 'open'"),
        ({"initial_capital": 0.0}, "initial_capital is a positive, finite number; found 0.0"),
        ({"risk_per_trade": float("inf")}, "risk_per_trade"),
        ({"max_holding": 0}, "max_holding is at least 1 bar"),
        ({"blocks": 0}, "blocks is at least 1"),
        ({"blocks": "16"}, "blocks is at least 1; found '16'"),
        ({"max_holding": 2.5}, "max_holding is at least 1 bar; found 2.5"),
        ({"initial_capital": "1000"}, "initial_capital is a positive, finite number; found '1000'"),
    ],
)
def test_execution_outside_its_range_is_refused(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=text):
        Execution(**arguments)


@pytest.mark.parametrize(
    ("place", "value", "text"),
    [
        (0, pd.DataFrame({"close": [1.0]}), r"candles are ls.Candles; found DataFrame. Make them with ls.load_candles"),
        (
            2,
            {"fee_rate": 0.001},
            r"costs are an ls.Costs, such as ls.Costs\(fee_rate=0.001\); found .'fee_rate'",
        ),
        (3, "close", r"execution is an ls.Execution, such as ls.Execution\(fill='close'\); found 'close'"),
    ],
)
def test_what_is_no_candles_costs_or_execution_is_named(place: int, value: Any, text: str) -> None:
    arguments: list[Any] = [candles_of(*[[1.1] * 4] * 4), Signals(side=SIDE), Costs(), Execution()]
    arguments[place] = value
    with pytest.raises(InputError, match=text):
        simulate(*arguments)
    candles, _, costs, execution = arguments
    parameters = {"pierce_depth": 0.001}
    with pytest.raises(InputError, match=text):
        ls.backtest(candles, "liquidity_sweep", parameters, costs=costs, execution=execution)
    for workers in (1, 2):
        with pytest.raises(InputError, match=text):
            ls.sweep(candles, "liquidity_sweep", [parameters], costs=costs, execution=execution, workers=workers)


def test_finer_candles_are_candles_too() -> None:
    candles = candles_of(*[[1.1] * 4] * 4)
    with pytest.raises(InputError, match=r"detail are ls.Candles; found dict"):
        simulate(candles, Signals(side=SIDE), detail={})  # type: ignore[arg-type]


def test_the_fill_rule_is_a_closed_choice() -> None:
    assert Execution(fill="close").fill is Fill.CLOSE


def test_detail_that_is_not_finer_is_refused() -> None:
    candles = candles_of(*[[100] * 4] * 4, step=5 * MINUTE)
    for step in (5 * MINUTE, 2 * MINUTE):
        with pytest.raises(DataError, match="finer candles divide the bar length"):
            simulate(candles, Signals(side=SIDE), detail=candles_of(*[[100] * 4] * 4, step=step))


def batch(**changes: Any) -> EntryBatch:
    columns: dict[str, Any] = {
        "offsets": np.array([0, 2], np.int64),
        "bar": np.array([1, 3], np.int32),
        "side": np.array([1, -1], np.int8),
        "stop": np.full(2, np.nan),
        "target": np.full(2, np.nan),
        "time_limit": np.full(2, NO_LIMIT, np.int32),
    }
    return EntryBatch(**{**columns, **changes})


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"bar": np.array([1, 3])}, TypeError, "bar is a contiguous array of int32; found int64"),
        ({"stop": np.zeros(3)}, ValueError, "stop has 2 values; found 3"),
        ({"offsets": np.array([0, 1], np.int64)}, ValueError, r"from 0 to the number of entries \(2\)"),
        ({"offsets": np.empty(0, np.int64)}, ValueError, "one value more than there are sets"),
        ({"exit_bar": np.zeros(1, np.int32)}, ValueError, "come together"),
        ({"trail": np.zeros(3)}, ValueError, "trail has 2 values; found 3"),
        ({"exit_offsets": np.zeros(3, np.int64), "exit_bar": np.zeros(0, np.int32)}, ValueError, "exit_offsets has 2"),
        ({"exit_offsets": np.zeros(2, np.int64), "exit_bar": np.zeros(0)}, TypeError, "exit_bar is a .* of int32"),
    ],
)
def test_a_batch_of_the_wrong_shape_is_a_programming_error(changes: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        batch(**changes)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"bar": np.array([3, 3], np.int32)}, "do not ascend"),
        ({"bar": np.array([1, 9], np.int32)}, "outside 0 … 3"),
        ({"side": np.array([1, 0], np.int8)}, "neither 1 nor -1"),
        ({"time_limit": np.zeros(2, np.int32)}, "below 1 bar"),
        ({"trail": np.zeros(2)}, "not above 0"),
        ({"offsets": np.array([0, 3, 2], np.int64)}, "offsets descend"),
    ],
)
def test_a_candidate_kernel_can_ask_what_is_wrong_with_its_entries(changes: Any, text: str) -> None:
    assert text in (batch(**changes).check_valid(4) or "")
    assert batch().check_valid(4) is None


def test_signals_become_entries_of_one_set() -> None:
    entries = compact(Signals(side=SIDE, stop=np.arange(4.0), exit=SIDE == 0), max_holding=9)
    assert entries.sets == 1
    assert entries.bar.tolist() == [1, 3]
    assert entries.stop.tolist() == [1, 3]
    assert np.isnan(entries.target).all()
    assert entries.time_limit.tolist() == [9, 9]
    assert entries.exit_bar is not None
    assert entries.exit_bar.tolist() == [0, 2]
    assert entries.check_valid(4) is None
