"""Splits, units and bad ticks are told from crashes, thin markets and closed hours."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.unit.market.bars import DAY, HOUR, MONDAY, columns

from lockstep.market.quality import quality_report

Bars = dict[str, np.ndarray[Any, Any]]


def market(n: int = 600, seed: int = 3, step: int = HOUR, scale: float = 0.003) -> Bars:
    """A calm market around 100: moves of about `scale` a bar, volumes around 50."""
    rng = np.random.Generator(np.random.Philox(seed))
    close = 100 * np.cumprod(1 + rng.normal(0, scale, n))
    first = np.concatenate(([100.0], close[:-1]))
    reach = 1 + scale * rng.random((2, n))
    return {
        "timestamp": MONDAY + step * np.arange(n, dtype=np.int64),
        "open": first,
        "high": np.maximum(first, close) * reach[0],
        "low": np.minimum(first, close) / reach[1],
        "close": close,
        "volume": 20 + 60 * rng.random(n),
    }


def times(bars: Bars, rows: slice, factor: float) -> Bars:
    for name in ("open", "high", "low", "close"):
        bars[name][rows] *= factor
    return bars


def without(bars: Bars, start: int, stop: int) -> Bars:
    keep = np.ones(bars["open"].size, dtype=bool)
    keep[start:stop] = False
    return {name: values[keep] for name, values in bars.items()}


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (1 / 4, "price x 0.25 between two bars; a 4-for-1 split that is not adjusted"),
        (2 / 3, "a 3-for-2 split"),
        (1 / 7, "a 7-for-1 split"),
        (1 / 20, "a 20-for-1 split that is not adjusted, or another unit"),
        (5, "a 1-for-5 split"),
        (10, "a 1-for-10 split that is not adjusted, or another unit"),
        (13.7, "x 13.7 between two bars; another unit or another asset"),
    ],
)
def test_a_split_is_named_and_halves_the_score(factor: float, words: str) -> None:
    report = quality_report(times(market(), slice(250, None), factor))
    (item,) = report.breaks
    assert item.row == 250
    assert words in report.suspicions[0]
    assert words in str(report)
    assert report.score == 50.0


@pytest.mark.parametrize("scale", [0.003, 0.02])
def test_a_split_over_a_weekend_or_in_days_is_found(scale: float) -> None:
    bars = times(market(step=DAY, scale=scale), slice(250, None), 0.5)
    assert [item.row for item in quality_report(bars).breaks] == [250]
    bars = without(times(market(), slice(250, None), 0.1), 240, 250)
    assert [(item.row, item.exact) for item in quality_report(bars).breaks] == [(240, 10.0)]


def test_a_stretch_in_another_unit_has_two_breaks() -> None:
    report = quality_report(times(market(), slice(250, 260), 100))
    assert [(item.row, item.exact) for item in report.breaks] == [(250, 100.0), (260, 100.0)]
    assert report.score == 25.0


def test_a_split_at_the_last_bar_is_found() -> None:
    assert len(quality_report(times(market(), slice(599, None), 0.25)).breaks) == 1


@pytest.mark.parametrize("row", [1, 5, 300, 590, 595, 598, 599])
@pytest.mark.parametrize("factor", [1 / 4, 2 / 3, 1 / 20, 10])
def test_a_split_whose_volumes_are_not_adjusted_either_is_found_near_both_ends(row: int, factor: float) -> None:
    """Four for one: a quarter of the price, four times the volume, with no hundred bars after it to call that usual."""
    bars = times(market(), slice(row, None), factor)
    bars["volume"][row:] /= factor
    report = quality_report(bars)
    assert [item.row for item in report.breaks] == [row]
    assert report.score == 50.0


def test_a_tenfold_jump_over_a_gap_near_an_end_is_found() -> None:
    for row in (8, 585):
        bars = without(times(market(), slice(row, None), 0.1), row, row + 8)
        assert [item.row for item in quality_report(bars).breaks] == [row]


def test_a_fall_to_a_half_with_much_trading_near_the_end_is_no_split() -> None:
    bars = times(market(), slice(595, None), 0.5)
    bars["volume"][595] *= 10
    assert quality_report(bars).breaks == ()


def crash(factor: float) -> Bars:
    """Falls to `factor` within bar 250, with twelve times the volume."""
    bars = times(market(), slice(251, None), factor)
    bars["close"][250] *= factor
    bars["low"][250] *= factor * 0.97
    bars["volume"][250] *= 12
    return bars


@pytest.mark.parametrize("factor", [0.5, 0.25, 0.47, 0.1])
def test_a_crash_is_a_jump_and_no_split_even_at_an_exact_ratio(factor: float) -> None:
    report = quality_report(crash(factor))
    assert (report.breaks, report.bad_ticks, report.score) == ((), (), 100.0)
    assert [jump.row for jump in report.jumps] == [250]


def test_news_overnight_are_no_split() -> None:
    # Not an exact ratio; and an exact one with the trading of ten days in one.
    assert quality_report(times(market(), slice(250, None), 0.55)).breaks == ()
    bars = times(market(), slice(250, None), 0.5)
    bars["volume"][250] *= 10
    assert quality_report(bars).breaks == ()


def test_thin_trading_repetitions_and_weekends_are_no_splits() -> None:
    bars = market()
    quiet = np.arange(600) % 3 != 0
    for name in ("open", "high", "low"):
        bars[name][quiet] = bars["close"][quiet]
    bars["volume"][quiet] = 0
    weekend = without(without(bars, 400, 448), 100, 148)
    repeated = {name: np.insert(values, 300, values[300]) for name, values in weekend.items()}
    report = quality_report(repeated, "1h")
    assert (report.breaks, report.changes, report.bad_ticks) == ((), (), ())
    assert report.suspicions == ()


@pytest.mark.parametrize(("column", "factor"), [("high", 3.0), ("high", 1.2), ("low", 0.5), ("low", 0.05)])
def test_a_bad_tick_in_a_high_or_low_is_told_and_lowers_the_score(column: str, factor: float) -> None:
    bars = market()
    bars[column][300] *= factor
    report = quality_report(bars)
    (tick,) = report.bad_ticks
    assert (tick.row, tick.column, tick.price) == (300, column, bars[column][300])
    assert report.score == pytest.approx(100 * (1 - 10 / 600))
    assert report.suspicions[0].startswith("bad tick? row 300")
    assert report.to_dict()["bad_ticks"]["count"] == 1
    assert "bad ticks      1 highs or lows" in str(report)


def test_a_wick_that_was_traded_or_stands_in_a_storm_is_no_bad_tick() -> None:
    bars = market()
    bars["low"][300] *= 0.8
    bars["volume"][300] *= 8
    assert quality_report(bars).bad_ticks == ()
    bars = market()
    bars["low"][300:303] *= 0.85
    assert quality_report(bars).bad_ticks == ()


def test_without_volume_a_wick_has_to_be_further_off() -> None:
    bars = market()
    bars["volume"][:] = 0
    bars["high"][300] *= 3
    bars["high"][400] *= 1.03
    assert [tick.row for tick in quality_report(bars).bad_ticks] == [300]


def test_a_bad_close_is_one_spike_and_no_bad_tick_besides() -> None:
    bars = market()
    bars["close"][300] *= 3
    bars["high"][300] = bars["close"][300]
    report = quality_report(bars)
    assert ([jump.row for jump in report.jumps if jump.spike], report.bad_ticks, report.breaks) == ([300], (), ())
    assert report.score == pytest.approx(100 * (1 - 10 / 600))
    assert report.suspicions[0].startswith("spike? ")


def test_a_row_that_is_no_bar_makes_no_break() -> None:
    bars = market()
    bars["high"][300] = bars["low"][300] / 2
    bars["open"][310] = np.nan
    report = quality_report(bars)
    assert (report.bad_rows, report.breaks, report.bad_ticks) == (2, (), ())


def test_of_many_suspicions_the_greatest_three_are_listed() -> None:
    bars = market()
    for place, row in enumerate(range(100, 600, 100)):
        bars["high"][row] *= 2 + place
    lines = quality_report(bars).suspicions
    assert [line.split(",")[0] for line in lines[:3]] == ["bad tick? row 300", "bad tick? row 400", "bad tick? row 500"]
    assert lines[3] == "bad tick? ... and 2 more"


def test_what_lowers_the_score_is_said() -> None:
    bars = without(columns(200), 50, 100)
    bars["volume"][:20] = 0
    assert quality_report(bars).reasons == (
        "50 bars are missing (25%)",
        "20 bars have one price or no volume (13%)",
    )
