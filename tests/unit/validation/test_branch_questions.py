"""Which sets are asked for look-ahead, how often, and what a refusal says."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from tests.unit.validation.planted_rules import Rule, ahead, check, long_where

from lockstep.core.errors import LookAheadError, StrategyError
from lockstep.engine.signals import Signals
from lockstep.market.sample import sample_candles
from lockstep.runs.seeds import SeedTree
from lockstep.strategies.base import Strategy
from lockstep.strategies.view import MarketView
from lockstep.validation import exhaustive_look_ahead_check, quick_look_ahead_check
from lockstep.validation.causality import EXHAUSTIVE_CALLS, full_calls


class Smooth(Strategy):
    """Momentum; where `smooth` is on, of a centred mean, which knows two bars more and decides less."""

    parameters = {"smooth": ["off", "on"], "n": (2, 6), "loud": [False, True]}
    defaults = {"smooth": "off", "n": 3, "loud": True}

    def leaks(self, params: Any) -> bool:
        return bool(params["smooth"] == "on")

    def signals(self, view: MarketView, params: Any) -> Signals:
        close = view.close
        if self.leaks(params):
            close = np.full(len(view), np.nan)
            if len(view) >= 5:
                close[2:-2] = sliding_window_view(view.close, 5).mean(axis=1)
        move = np.zeros(len(view))
        move[params["n"] :] = close[params["n"] :] - close[: -params["n"]] if len(view) > params["n"] else 0.0
        return Signals(side=np.sign(np.nan_to_num(move)).astype(np.int8))


class AtTheLowEnd(Smooth):
    def leaks(self, params: Any) -> bool:
        return bool(params["n"] == 2)


class WhenQuiet(Smooth):
    def leaks(self, params: Any) -> bool:
        return not params["loud"]


@pytest.mark.parametrize("leak", [Smooth, AtTheLowEnd, WhenQuiet], ids=lambda item: item.__name__)
def test_a_leak_behind_one_value_of_one_parameter_is_found_whatever_the_seed(leak: type[Strategy]) -> None:
    view = MarketView(sample_candles().head(1_000))
    for seed in range(4):
        with pytest.raises(LookAheadError, match=f"{leak.__name__} reads the future: side at bar"):
            quick_look_ahead_check(leak(), view, seeds=SeedTree(seed))


def test_a_set_that_is_given_is_asked_itself() -> None:
    class OnlyThere(Smooth):
        def leaks(self, params: Any) -> bool:
            return bool(params["n"] == 5)

    view = MarketView(sample_candles().head(1_000))
    for seed in range(4):
        with pytest.raises(LookAheadError):
            quick_look_ahead_check(OnlyThere(), view, [{"n": 5}], seeds=SeedTree(seed))
        with pytest.raises(LookAheadError):
            exhaustive_look_ahead_check(OnlyThere(), view, {"n": 5}, seeds=SeedTree(seed))
        exhaustive_look_ahead_check(OnlyThere(), view, {"n": 4}, seeds=SeedTree(seed))


def test_the_message_says_what_is_read_and_how_far_ahead() -> None:
    """The mean of bars t - 2 to t + 2 reads bar t + 1 first."""
    with pytest.raises(LookAheadError) as caught:
        exhaustive_look_ahead_check(Smooth(), MarketView(sample_candles()), {"smooth": "on"}, seeds=SeedTree(3))
    message = str(caught.value)
    assert "It reads open, high, low, close of later bars, the earliest of them" in message
    assert ", 1 bar ahead. " in message
    assert "'smooth': 'on'" in message
    assert "look for shift(-1), centred windows" in message


class CountsVolume(Rule):
    def rule(self, view: MarketView) -> Signals:
        return long_where(ahead(view.volume, 3) > 1.3 * view.volume)


def test_the_message_names_the_column_that_is_read() -> None:
    with pytest.raises(LookAheadError, match=r"It reads volume of later bars, the earliest of them .*, 3 bars ahead"):
        check(CountsVolume())


class RaisesSometimes(Strategy):
    parameters = {"n": (5, 30)}
    defaults = {"n": 10}

    def signals(self, view: MarketView, params: Any) -> Signals:
        if params["n"] > 15:
            raise ZeroDivisionError("n is too large")
        return long_where(view.close > view.sma(params["n"]))


def test_an_exception_for_some_sets_is_counted_and_no_refusal() -> None:
    report = check(RaisesSometimes(), sample_candles().head(1_000))
    assert 0 < report.failures < report.parameter_sets
    (warning,) = (text for text in report.warnings if "failed for" in text)
    assert f"failed for {report.failures} of the {report.parameter_sets} parameter sets" in warning
    assert "ZeroDivisionError: n is too large" in warning


def test_an_exception_for_all_sets_is_the_strategys_error() -> None:
    class Raises(RaisesSometimes):
        def signals(self, view: MarketView, params: Any) -> Signals:
            raise KeyError("period")

    with pytest.raises(StrategyError, match=r"Raises .*failed in signals: KeyError"):
        check(Raises(), sample_candles().head(200))


def test_a_strategy_that_fails_wherever_a_later_bar_is_missing_or_another_is_refused() -> None:
    whole = sample_candles().head(300)

    class NeedsItAll(Rule):
        def rule(self, view: MarketView) -> Signals:
            if view.close[-1] != whole.close[-1]:
                raise IndexError("no such bar")
            return long_where(view.close > view.sma(5))

    with pytest.raises(StrategyError, match="fails as soon as the last of them are missing or others"):
        check(NeedsItAll(), whole)


def test_a_strategy_that_fails_only_where_later_bars_are_others_is_refused() -> None:
    whole = sample_candles().head(600)

    class KnowsItsMarket(Rule):
        """Answers a shorter history, so that cutting the future off shows nothing."""

        def rule(self, view: MarketView) -> Signals:
            if not np.array_equal(view.close, whole.close[: len(view)]):
                raise KeyError("no such close")
            return long_where(view.close > view.sma(5))

    with pytest.raises(
        StrategyError, match="answers about the bars as they are and fails wherever later ones are other"
    ):
        check(KnowsItsMarket(), whole)


def test_a_note_says_which_questions_were_answered_by_an_exception() -> None:
    class RefusesCrashes(Rule):
        """A check of the data: no market falls or rises by 8 % within a bar."""

        def rule(self, view: MarketView) -> Signals:
            if len(view) > 1 and np.max(np.abs(np.diff(np.log(view.close)))) > 0.08:
                raise ValueError("these are no prices")
            return long_where(view.close > view.sma(5))

    report = exhaustive_look_ahead_check(
        RefusesCrashes(), MarketView(sample_candles().head(1_000)), {}, seeds=SeedTree(3)
    )
    (note,) = (text for text in report.warnings if "raised an exception at" in text)
    assert "compared nothing there: " in note
    failed, asked = map(int, re.search(r"raised an exception at (\d+) of (\d+) questions", note).groups())  # type: ignore[union-attr]
    parts = [tuple(map(int, part)) for part in re.findall(r"(\d+) of (\d+) where others (?:fall|rise|swing)", note)]
    assert sum(part[0] for part in parts) == failed < asked
    assert "taken away" not in note
    assert "wander" not in note
    assert "ValueError: these are no prices" in note


class FlatBeforeGaps(Rule):
    """Enters nowhere before a gap, which it knows from the time of the next bar."""

    def rule(self, view: MarketView) -> Signals:
        step = np.append(np.diff(view.timestamp), view.timeframe_ms)
        return long_where((view.close > view.sma(5)) & (step <= view.timeframe_ms))


def test_a_rule_that_avoids_gaps_by_the_time_of_the_next_bar_is_caught() -> None:
    number = np.arange(3_000)
    candles = sample_candles().take(number[number % 120 < 70])
    seeds = SeedTree(1)
    with pytest.raises(LookAheadError, match=r"side at bar .* is 0, but 1 once the bars after it are taken away"):
        check(FlatBeforeGaps(), candles)
    with pytest.raises(LookAheadError, match="side at bar"):
        exhaustive_look_ahead_check(FlatBeforeGaps(), MarketView(candles), {}, seeds=seeds)


def test_the_exhaustive_test_has_a_bound_and_says_how_far_it_is() -> None:
    view = MarketView(sample_candles())
    lines: list[str] = []
    report = exhaustive_look_ahead_check(Smooth(), view, {"smooth": "off"}, seeds=SeedTree(1), tell=lines.append)
    assert len(lines) == report.calls <= EXHAUSTIVE_CALLS
    assert lines[-1] == f"look-ahead test: question {report.calls}, about parameter set 1"
    # Most questions are about a window: the longer the data, the fewer whole passes.
    assert full_calls(4_000) == EXHAUSTIVE_CALLS - 6
    assert full_calls(400_000) < 10


def test_the_number_of_questions_follows_from_the_space_and_not_from_the_data() -> None:
    short, long = (check(Clean(), sample_candles().head(bars)) for bars in (1_500, 6_000))
    # Two choices, three whole numbers and two booleans: three rows and the defaults.
    assert short.parameter_sets == long.parameter_sets == 4
    assert max(short.calls, long.calls) < 100


class Clean(Smooth):
    def leaks(self, params: Any) -> bool:
        return False


def test_a_strategy_that_behaves_while_it_is_young_is_caught_by_its_answers() -> None:
    """What it counts lies where nothing can look; only the answers show it."""
    calls = zip(range(1_000))

    class Turns(Rule):
        def rule(self, view: MarketView) -> Signals:
            (call,) = next(calls)
            return long_where(view.close > view.sma(5) if call < 25 else view.close < view.sma(5))

    view = MarketView(sample_candles().head(1_000))
    with pytest.raises((LookAheadError, StrategyError)):
        exhaustive_look_ahead_check(Turns(), view, {}, seeds=SeedTree(1))
