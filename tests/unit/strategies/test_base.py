from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lockstep.core.errors import SpaceError, StrategyError
from lockstep.core.space import Choice, FloatRange, IntRange, Space
from lockstep.engine.signals import Signals
from lockstep.market.sample import sample_candles
from lockstep.strategies.base import Strategy
from lockstep.strategies.view import MarketView


class Crossing(Strategy):
    parameters = {
        "fast": (5, 30),
        "slow": (40, 200),
        "width": (0.5, 2.0),
        "kind": ["sma", "ema"],
        "both": [True, False],
    }
    defaults = {"fast": 10, "slow": 50, "width": 1.0, "kind": "sma", "both": True, "quiet": 0.0}
    constraints = {"fast < slow": lambda p: p["fast"] < p["slow"], "text": lambda p: len(p["kind"]) == 3}

    def signals(self, view: MarketView, params: Any) -> Signals:
        return Signals(side=np.zeros(len(view), np.int8))


VIEW = MarketView(sample_candles().head(100))


def test_the_short_notation_becomes_a_space_when_the_class_is_created() -> None:
    space = Crossing.parameters
    assert isinstance(space, Space)
    assert space["fast"] == IntRange(5, 30)
    assert space["width"] == FloatRange(0.5, 2.0)
    assert space["kind"] == Choice(("sma", "ema"))
    assert Crossing.name == "Crossing"


def test_a_wrong_space_is_refused_when_the_class_is_created() -> None:
    with pytest.raises(SpaceError, match="parameter 'fast'"):

        class Wrong(Strategy):
            parameters = {"fast": (30, 5)}


def test_a_strategy_without_parameters_is_a_strategy() -> None:
    class Bare(Strategy):
        parameters = {}

    assert Bare().resolve({}) == {}
    with pytest.raises(SpaceError, match=r"Bare has no parameter 'fast'. It has none"):
        Bare().resolve({"fast": 1})


def test_defaults_fill_in_and_values_become_plain_python_of_the_right_kind() -> None:
    resolved = Crossing().resolve({"slow": np.int64(60), "width": 1, "fast": 7.0})
    assert resolved == {"fast": 7, "slow": 60, "width": 1.0, "kind": "sma", "both": True, "quiet": 0.0}
    assert [type(value) for value in resolved.values()] == [int, int, float, str, bool, float]


def test_values_outside_the_searched_range_are_allowed() -> None:
    """Defaults of some families lie outside their search space."""
    assert Crossing().resolve({"fast": 3, "width": 9.5})["fast"] == 3


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"fats": 7}, r"Crossing has no parameter 'fats'. Did you mean 'fast'\? It has fast, slow"),
        ({"fast": 7.5}, "parameter 'fast' is a whole number; found 7.5"),
        ({"fast": "7"}, "parameter 'fast' is a number; found '7'"),
        ({"fast": True}, "parameter 'fast' is a number; found True"),
        ({"width": float("nan")}, "parameter 'width' is a finite number; found nan"),
        ({"kind": "wma"}, r"parameter 'kind': the value is one of \['sma', 'ema'\]; found 'wma'"),
        ({"quiet": "loud"}, "parameter 'quiet' is a number; found 'loud'"),
    ],
)
def test_an_unusable_value_is_named_with_the_rule(params: dict[str, Any], message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        Crossing().resolve(params)
    with pytest.raises(SpaceError, match=message):
        Crossing().columns([params])
    with pytest.raises(SpaceError, match=message):
        Crossing().columns({name: [value] for name, value in params.items()})


def test_a_parameter_without_default_needs_a_value() -> None:
    class Needs(Strategy):
        parameters = {"fast": (5, 30)}

    with pytest.raises(SpaceError, match="Needs needs a value for 'fast': it has no default"):
        Needs().resolve({})


def test_columns_from_dicts_and_from_arrays_are_the_same() -> None:
    strategy = Crossing()
    rows = [{"fast": 5 + i, "width": 0.5 * i, "kind": "ema", "both": i == 1} for i in range(3)]
    arrays = {
        "fast": np.array([5, 6, 7]),
        "width": np.array([0.0, 0.5, 1.0]),
        "kind": ["ema"] * 3,
        "both": [False, True, False],
    }
    one, two = strategy.columns(rows), strategy.columns(arrays)
    assert list(one) == list(two) == ["fast", "slow", "width", "kind", "both", "quiet"]
    for name in one:
        assert one[name].dtype == two[name].dtype
        assert one[name].tolist() == two[name].tolist()
    assert one["fast"].dtype == np.int64
    assert one["both"].dtype == np.bool_


def test_columns_of_unequal_length_are_refused_with_their_shapes() -> None:
    with pytest.raises(SpaceError, match=r"equally long; found fast \(2,\), slow \(3,\)"):
        Crossing().columns({"fast": [1, 2], "slow": [1, 2, 3]})


def test_a_bad_value_deep_in_a_column_is_found_with_its_set() -> None:
    with pytest.raises(SpaceError, match=r"parameter 'fast' is a whole number; found np.float64\(2.5\) in set 1"):
        Crossing().columns({"fast": [1.0, 2.5]})
    with pytest.raises(SpaceError, match=r"parameter 'width' is a finite number; found .*nan.* in set 2"):
        Crossing().columns({"width": [1.0, 2.0, np.nan]})


def test_constraints_hold_for_single_sets_and_for_columns_alike() -> None:
    strategy = Crossing()
    columns = strategy.columns({"fast": [10, 60, 50], "slow": [50, 50, 50]})
    assert strategy.admissible(columns).tolist() == [True, False, False]
    assert strategy.broken_constraint(strategy.resolve({"fast": 60})) == "fast < slow"
    assert strategy.broken_constraint(strategy.resolve({})) is None


def test_a_constraint_that_fails_says_where() -> None:
    class Broken(Crossing):
        constraints = {"odd": lambda p: p["nothing"] > 0}

    with pytest.raises(StrategyError, match=r"Broken \(.*Broken\) failed in constraint 'odd': KeyError: 'nothing'"):
        Broken().admissible(Broken().columns({"fast": [10, 20]}))


def test_an_exception_inside_a_strategy_is_told_with_parameters_type_message_and_line() -> None:
    """R3.18."""

    class Fails(Crossing):
        def signals(self, view: MarketView, params: Any) -> Signals:
            return Signals(side=np.zeros(len(view), np.int8) / [][0])

    with pytest.raises(StrategyError) as caught:
        Fails().checked_signals(VIEW, {"fast": 7})
    message = str(caught.value)
    assert "failed in signals: IndexError: list index out of range" in message
    assert "test_base.py:" in message
    assert "/ [][0]" in message
    assert "parameters {'fast': 7}" in message
    assert isinstance(caught.value.__cause__, IndexError)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (np.zeros(100), "signals returns ls.Signals; found ndarray"),
        (None, "signals returns ls.Signals; found NoneType"),
        (Signals(side=np.zeros(99, np.int8)), "returns one value per bar, 100; found 99"),
    ],
)
def test_what_a_strategy_returns_is_checked(returned: Any, message: str) -> None:
    class Returns(Crossing):
        def signals(self, view: MarketView, params: Any) -> Signals:
            return returned

    with pytest.raises(StrategyError, match=message):
        Returns().checked_signals(VIEW, {})


def test_a_stop_that_is_not_a_number_where_a_signal_stands_is_refused() -> None:
    class NoStop(Crossing):
        def signals(self, view: MarketView, params: Any) -> Signals:
            return Signals(side=np.ones(len(view), np.int8), stop=view.atr(14))

    with pytest.raises(StrategyError, match="stop is finite wherever side is not 0; found nan at bar 0"):
        NoStop().checked_signals(VIEW, {})


@pytest.mark.parametrize(("field", "blank"), [("side", "0"), ("exit", "False")])
def test_no_decision_may_stand_in_the_declared_warm_up(field: str, blank: str) -> None:
    """The message names the array and a line that cures it."""

    class TooEarly(Crossing):
        def warmup(self, params: Any) -> int:
            return 20

        def signals(self, view: MarketView, params: Any) -> Signals:
            at_19 = np.arange(len(view)) == 19
            arrays = {"side": (at_19 & (field == "side")).astype(np.int8), "exit": at_19 & (field == "exit")}
            if self.cured:
                arrays[field][: self.warmup(params)] = {"0": 0, "False": False}[blank]
            return Signals(**arrays)

        cured = False

    cure = rf"Clear these bars \({field}\[: self\.warmup\(params\)\] = {blank}\)"
    with pytest.raises(StrategyError, match=rf"warm-up of 20 bars; found one in {field} at bar 19 .*\. {cure}"):
        TooEarly().checked_signals(VIEW, {})
    TooEarly.cured = True
    TooEarly().checked_signals(VIEW, {})


@pytest.mark.parametrize("bars", [-1, 2.5, "20", True])
def test_a_warm_up_is_a_number_of_bars(bars: Any) -> None:
    class Odd(Crossing):
        def warmup(self, params: Any) -> int:
            return bars

    with pytest.raises(StrategyError, match="warmup returns a number of bars, 0 or more; found"):
        Odd().checked_signals(VIEW, {})


def test_a_strategy_that_ends_the_process_has_failed() -> None:
    """sys.exit() is no Exception; let through, it would end the command with a success that nobody had."""

    class Leaves(Strategy):
        def signals(self, view: MarketView, params: Any) -> Signals:
            raise SystemExit(0)

    with pytest.raises(StrategyError, match=r"Leaves .* failed in signals: SystemExit: 0"):
        Leaves().checked_signals(VIEW, {})
