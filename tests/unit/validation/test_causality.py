"""Planted leaks are caught, with the bar, the field and both values; clean strategies are not accused."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from tests.unit.validation.planted_rules import Rule, ahead, check, long_where

from lockstep.core.errors import LookAheadError, StrategyError
from lockstep.engine.signals import Signals
from lockstep.market.candles import Candles
from lockstep.market.sample import sample_candles
from lockstep.runs.seeds import SeedTree
from lockstep.strategies.base import Strategy
from lockstep.strategies.inputs import Events, EventSeries, HigherTimeframe, OwnCandles
from lockstep.strategies.liquidity_sweep import LiquiditySweep
from lockstep.strategies.registry import available, lookup
from lockstep.strategies.view import MarketView
from lockstep.validation import quick_look_ahead_check
from lockstep.validation.other_future import perturb_future


class ShiftByOne(Rule):
    def rule(self, view: MarketView) -> Signals:
        return long_where(ahead(view.close, 1) > 1.001 * view.close)


class ShiftFar(Rule):
    def rule(self, view: MarketView) -> Signals:
        return long_where(ahead(view.close, 2500) > 1.02 * view.close)


class CentredMean(Rule):
    def rule(self, view: MarketView) -> Signals:
        mean = np.full(len(view), np.nan)
        if len(view) >= 11:
            mean[5:-5] = sliding_window_view(view.close, 11).mean(axis=1)
        return long_where(view.close < 0.999 * mean)


class WholeSeriesNormalised(Rule):
    def rule(self, view: MarketView) -> Signals:
        return long_where((view.close - view.close.mean()) / view.close.std() > 1.0)


class BackFilled(Rule):
    def rule(self, view: MarketView) -> Signals:
        mean = view.sma(50).copy()
        bars = np.flatnonzero(~np.isnan(mean))
        if bars.size:
            mean[: bars[0]] = mean[bars[0]]
        return long_where(view.close < mean)


class FutureMaximum(Rule):
    def rule(self, view: MarketView) -> Signals:
        return long_where(view.close >= np.maximum.accumulate(view.close[::-1])[::-1])


class LastBarAsThreshold(Rule):
    def rule(self, view: MarketView) -> Signals:
        return long_where(view.close < view.close[-1])


class HourBeforeItsClose(Rule):
    """Groups bars by four and uses each group's last close on its first bar."""

    def rule(self, view: MarketView) -> Signals:
        group = np.arange(len(view)) // 4
        last = np.minimum(group * 4 + 3, len(view) - 1)
        return long_where(view.close[last] > 1.001 * view.open)


class StopKnowsTheNextLow(Rule):
    def rule(self, view: MarketView) -> Signals:
        side = (view.close > view.highest(20) * 0.9999).astype(np.int8)
        coming = np.append(view.low[1:], view.low[-1:])
        return Signals(side=side, stop=np.minimum(view.low, coming) * 0.999, target=view.close * 1.01)


class ExitKnowsTheNextClose(Rule):
    def rule(self, view: MarketView) -> Signals:
        side = (view.close > view.highest(20) * 0.9999).astype(np.int8)
        return Signals(side=side, exit=ahead(view.close, 1) < view.close)


class ExitKnowsTheWeekend(Rule):
    """Leaves at the last bar before missing ones: one bar in a week, and none of those that enter."""

    def rule(self, view: MarketView) -> Signals:
        leaving = np.append(np.diff(view.timestamp) > view.timeframe_ms, False)[: len(view)]
        side = (view.close > view.highest(20) * 0.9999).astype(np.int8)
        return Signals(side=np.where(leaving, 0, side), exit=leaving)


class TrailKnowsTheRange(Rule):
    def rule(self, view: MarketView) -> Signals:
        side = (view.close > view.highest(20) * 0.9999).astype(np.int8)
        return Signals(side=side, trail=np.full(len(view), float(view.high.max() - view.low.min()) / 10.0 + 1e-6))


class LimitCountsTheBarsLeft(Rule):
    def rule(self, view: MarketView) -> Signals:
        side = (view.close > view.highest(20) * 0.9999).astype(np.int8)
        return Signals(side=side, time_limit=len(view))


LEAKS = {
    ShiftByOne: "side",
    ShiftFar: "side",
    CentredMean: "side",
    WholeSeriesNormalised: "side",
    BackFilled: "side",
    FutureMaximum: "side",
    LastBarAsThreshold: "side",
    HourBeforeItsClose: "side",
    StopKnowsTheNextLow: "stop",
    ExitKnowsTheNextClose: "exit",
    ExitKnowsTheWeekend: "exit",
    TrailKnowsTheRange: "trail",
    LimitCountsTheBarsLeft: "time_limit",
}


@pytest.mark.parametrize(("leak", "field"), LEAKS.items(), ids=lambda item: getattr(item, "__name__", item))
def test_a_planted_leak_is_caught(leak: type[Strategy], field: str) -> None:
    with pytest.raises(LookAheadError) as caught:
        check(leak(), sample_candles().head(3_000))
    message = str(caught.value)
    assert f"{leak.__name__} reads the future: {field} at bar " in message
    assert "parameters {}" in message
    assert "once the bars after it are" in message


@pytest.mark.parametrize("leak", LEAKS, ids=lambda item: item.__name__)
def test_a_leak_is_caught_whatever_the_seed(leak: type[Strategy]) -> None:
    candles = sample_candles().head(3_000 if leak is ShiftFar else 1_000)
    for seed in range(1, 4):
        with pytest.raises(LookAheadError):
            quick_look_ahead_check(leak(), MarketView(candles), seeds=SeedTree(seed))


class FarAhead(Rule):
    """Looks further ahead than the windows that most questions are put to."""

    def rule(self, view: MarketView) -> Signals:
        return long_where(ahead(view.close, 4_000) > 1.02 * view.close)


def test_a_peek_far_ahead_is_caught_because_some_questions_are_put_to_all_of_the_data() -> None:
    with pytest.raises(LookAheadError, match="FarAhead reads the future"):
        check(FarAhead())


def test_the_first_bar_that_peeked_is_named_with_both_values() -> None:
    class PeeksOnce(Rule):
        def rule(self, view: MarketView) -> Signals:
            side = np.zeros(len(view), np.int8)
            at = int(np.searchsorted(view.timestamp, self.moment))
            if at + 1 < len(view) and view.timestamp[at] == self.moment:
                side[at] = 1
            return Signals(side=side)

    candles = sample_candles()
    PeeksOnce.moment = int(candles.timestamp[3_000])  # type: ignore[attr-defined]
    moment = datetime.fromtimestamp(PeeksOnce.moment / 1000.0, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")  # type: ignore[attr-defined]
    with pytest.raises(LookAheadError, match=f"side at bar {moment} is 1, but 0 once the bars after it"):
        check(PeeksOnce())


class Higher(Strategy):
    inputs = {"4h": HigherTimeframe("4h")}

    def signals(self, view: MarketView, params: Any) -> Signals:
        return long_where(view.close > view["4h"].high)


class HigherTooEarly(Strategy):
    """Takes a higher bar from the moment it opens."""

    inputs = {"4h": OwnCandles()}

    def signals(self, view: MarketView, params: Any) -> Signals:
        bars = view["4h"].bars
        index = np.searchsorted(bars.timestamp, view.timestamp, side="right") - 1
        high = (
            np.where(index >= 0, bars.high[np.maximum(index, 0)], np.nan) if len(bars) else np.full(len(view), np.nan)
        )
        return long_where(view.close >= 0.9999 * high)


def four_hours() -> Candles:
    from lockstep.market.resampling import resample

    return resample(sample_candles(), "4h")


def test_a_higher_bar_may_be_used_once_it_has_closed_and_no_earlier() -> None:
    report = check(Higher())
    assert report.decisions > 0
    with pytest.raises(LookAheadError, match="HigherTooEarly reads the future"):
        check(HigherTooEarly(), **{"4h": four_hours()})


class AfterNews(Strategy):
    inputs = {"news": EventSeries("surprise")}

    def signals(self, view: MarketView, params: Any) -> Signals:
        return long_where(view["news"]["surprise"] > 1.0)


class NewsNormalised(AfterNews):
    def signals(self, view: MarketView, params: Any) -> Signals:
        all_of_them = view["news"].events.columns["surprise"]
        scale = float(np.abs(all_of_them).max()) if all_of_them.size else 1.0
        return long_where(view["news"]["surprise"] > 0.4 * scale)


def test_events_count_from_their_moment_and_their_statistics_are_not_known_before() -> None:
    candles = sample_candles()
    rng = np.random.default_rng(3)
    moments = np.sort(rng.integers(candles.timestamp[0], candles.timestamp[-1], 400))
    news = Events(timestamp=moments, columns={"surprise": rng.standard_normal(400).cumsum() / 5.0})
    assert check(AfterNews(), news=news).decisions > 0
    with pytest.raises(LookAheadError, match="NewsNormalised"):
        check(NewsNormalised(), news=news)


class PeekingKernel(LiquiditySweep):
    """The plain twin is clean; only the path that sweeps take looks ahead."""

    def entries(self, prepared: Any, sets: Any, lo: int, hi: int) -> Any:
        batch = super().entries(prepared, sets, lo, hi)
        close = prepared.view.close
        keep = close[np.minimum(batch.bar + 1, close.size - 1)] > close[batch.bar]
        counts = [int(keep[a:b].sum()) for a, b in zip(batch.offsets[:-1], batch.offsets[1:], strict=True)]
        from lockstep.engine.entries import EntryBatch

        return EntryBatch(
            offsets=np.concatenate(([0], np.cumsum(counts))).astype(np.int64),
            bar=batch.bar[keep],
            side=batch.side[keep],
            stop=batch.stop[keep],
            target=batch.target[keep],
            time_limit=batch.time_limit[keep],
        )


LOOSE = {"pierce_depth": 0.0002, "volume_spike_threshold": 1.0, "reversal_candles": 1, "min_level_touches": 2}


def test_the_compiled_path_is_the_one_that_is_asked() -> None:
    view = MarketView(sample_candles())
    report = quick_look_ahead_check(LiquiditySweep(), view, [LOOSE], seeds=SeedTree(1))
    assert report.decisions > 100
    assert report.warnings == ()
    with pytest.raises(LookAheadError, match="PeekingKernel reads the future"):
        quick_look_ahead_check(PeekingKernel(), view, [LOOSE], seeds=SeedTree(1))


@pytest.mark.parametrize("name", available())
def test_every_built_in_strategy_is_asked_here_because_no_run_asks_it(name: str) -> None:
    """R2.18."""
    report = check(lookup(name), sample_candles().head(2_000))
    assert report.decisions > 0
    assert report.failures == 0


def test_a_strategy_that_draws_lots_is_refused_as_not_repeatable() -> None:
    class DrawsLots(Rule):
        def rule(self, view: MarketView) -> Signals:
            return long_where(np.random.default_rng().random(len(view)) > 0.5)

    with pytest.raises(StrategyError, match="DrawsLots gave two answers to one question: side at bar"):
        check(DrawsLots())


def test_a_hidden_start_dependence_is_a_warning_and_no_accusation() -> None:
    class CountsFromTheStart(Rule):
        def rule(self, view: MarketView) -> Signals:
            return long_where((np.arange(len(view)) % 7 == 0) & (view.close > view.open))

    report = check(CountsFromTheStart())
    assert len(report.warnings) == 1
    assert "decisions depend on where the data start: side at bar" in report.warnings[0]
    assert "declared warm-up of 0 bars" in report.warnings[0]


def test_a_strategy_that_never_decides_is_reported_as_hardly_tested() -> None:
    class Never(Rule):
        def rule(self, view: MarketView) -> Signals:
            return long_where(np.zeros(len(view), bool))

    report = check(Never())
    assert report.decisions == 0
    assert "decided nothing" in report.warnings[-1]


def test_the_answer_depends_on_the_seed_alone() -> None:
    view = MarketView(sample_candles())
    assert quick_look_ahead_check(Higher(), MarketView(sample_candles(), Higher.inputs), seeds=SeedTree(7)) == (
        quick_look_ahead_check(Higher(), MarketView(sample_candles(), Higher.inputs), seeds=SeedTree(7))
    )
    assert len(view) == 6_225


def test_a_perturbed_future_leaves_the_past_and_changes_everything_after() -> None:
    candles = sample_candles()
    for point in (0, 10, 3_000, len(candles) - 2):
        other = perturb_future(MarketView(candles), point, SeedTree(5).generator()).candles
        for name, values in candles.columns().items():
            changed = other.columns()[name]
            assert np.array_equal(changed[: point + 1], values[: point + 1]), name
            if name != "timestamp":
                # A drawn price may happen to equal the old one; a drawn path does not.
                assert np.mean(changed[point + 1 :] == values[point + 1 :]) < 0.01, name


@pytest.mark.parametrize(
    ("bars", "asked"),
    [
        # Nothing comes after the only bar, so there is nothing to take away or replace.
        (1, 0),
        # Only the first of two bars has a future: it is cut off, then replaced; all bars are asked about twice more.
        (2, 2 + 2),
    ],
)
def test_one_bar_and_two_are_too_short_to_accuse_anyone(bars: int, asked: int) -> None:
    report = check(Higher(), sample_candles().head(bars))
    assert (report.parameter_sets, report.comparisons, report.decisions) == (1, asked, 0)


class CalmMarket:
    """A market in which each bar opens at the close of the bar before, with a funding rate that never changes."""

    def __init__(self, bars: int = 600) -> None:
        rng = np.random.Generator(np.random.Philox(11))
        close = 100.0 + np.cumsum(rng.choice([-0.5, 0.5], bars))
        opens = np.append(100.0, close[:-1])
        self.candles = Candles(
            timestamp=3_600_000 * np.arange(bars, dtype=np.int64),
            open=opens,
            high=np.maximum(opens, close),
            low=np.minimum(opens, close),
            close=close,
            volume=np.full(bars, 10.0),
            timeframe_ms=3_600_000,
            extra={"funding": np.full(bars, 0.01)},
        )


class AvoidsTheComingJump(Rule):
    """Does not enter before a bar that opens away from this close; where no bar comes, there is no jump to avoid.

    Taking the future away changes none of its answers in a market without jumps: only another future shows the leak.
    """

    def rule(self, view: MarketView) -> Signals:
        coming = np.append(view.open[1:], view.close[-1:])
        return long_where(coming == view.close)


def test_a_leak_that_no_missing_bar_shows_is_caught_because_another_future_is_put_there() -> None:
    with pytest.raises(LookAheadError, match=r"is 1, but 0 once the bars after it are replaced by others"):
        check(AvoidsTheComingJump(), CalmMarket().candles)


class AvoidsTheComingFunding(Rule):
    """Does not enter before the funding rate changes; where no bar comes, it does not change."""

    def rule(self, view: MarketView) -> Signals:
        funding = view.extra["funding"]
        return long_where(np.append(funding[1:], funding[-1:]) == funding)


def test_a_leak_of_an_extra_column_is_caught_because_the_other_future_has_other_extras() -> None:
    with pytest.raises(LookAheadError, match=r"Funding reads the future: side at bar .* are replaced by others"):
        check(AvoidsTheComingFunding(), CalmMarket().candles)


def test_a_perturbed_future_changes_extras_events_and_other_candles_from_the_moment_on() -> None:
    candles = CalmMarket(200).candles
    other = CalmMarket(200).candles
    news = Events(timestamp=candles.timestamp + 60_000, columns={"surprise": np.zeros(200)})
    inputs = {"other": OwnCandles(), "news": EventSeries("surprise")}
    perturbed = perturb_future(MarketView(candles, inputs, {"other": other, "news": news}), 99, SeedTree(5).generator())
    # Bar 99 closes when bar 100 opens; the event of minute 1 of bar 99 is known then, that of bar 100 is not.
    for values, before in (
        (perturbed.candles.extra["funding"], candles.extra["funding"]),
        (perturbed["other"].bars.extra["funding"], other.extra["funding"]),
        (perturbed["other"].bars.close, other.close),
        (perturbed["news"].events.columns["surprise"], news.columns["surprise"]),
    ):
        assert np.array_equal(values[:100], before[:100])
        assert not np.any(values[100:] == before[100:])
