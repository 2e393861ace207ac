from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from tests.unit.market.bars import DAY, HOUR, MONDAY, walk

from lockstep.core.errors import DataError
from lockstep.market.candles import Candles
from lockstep.market.checks import Rule
from lockstep.market.quality import quality_report


def raw(n: int = 1_000, seed: int = 1) -> dict[str, np.ndarray[Any, Any]]:
    """A liquid random walk whose columns may be spoilt."""
    return {name: values.copy() for name, values in walk(n, seed).columns().items()}


def scale(bars: dict[str, np.ndarray[Any, Any]], rows: slice, factor: float) -> None:
    for name in ("open", "high", "low", "close"):
        bars[name][rows] *= factor


def test_a_sound_series_scores_a_hundred() -> None:
    report = quality_report(walk(1_000, seed=1))
    assert report.score == 100.0
    assert report.usable
    assert (report.gaps, report.jumps, report.stuck, report.changes, report.defects) == ((), (), (), (), ())


def test_missing_bars_cost_their_share() -> None:
    bars = walk(1_000, seed=1)
    keep = np.ones(1_000, dtype=bool)
    keep[400:500] = False
    report = quality_report(bars.take(keep))
    assert (len(report.holes), report.bars_missing) == (1, 100)
    assert report.score == pytest.approx(100 * 900 / (900 + 100))


def test_rows_that_break_rules_weigh_ten_and_make_the_series_unusable() -> None:
    bars = raw()
    bars["high"][[10, 20, 30]] = 0.5
    bars["timestamp"][51] = bars["timestamp"][50]
    report = quality_report(bars)
    assert not report.usable
    assert report.duplicates == 1
    assert {defect.rule: (defect.count, defect.row) for defect in report.defects} == {
        Rule.DUPLICATED: (1, 51),
        Rule.OHLC_INCONSISTENT: (3, 10),
    }
    # One hour is missing where the repeated row should be; 999 different times are left.
    assert report.score == pytest.approx(100 * 1000 / 1001 * (1 - 10 * 4 / 1000))


def test_dead_bars_are_those_of_one_price_or_without_volume() -> None:
    bars = raw()
    bars["volume"][100:120] = 0
    for name in ("open", "high", "low"):
        bars[name][110:130] = bars["close"][110:130]
    report = quality_report(bars)
    assert (report.zero_volume, report.flat, report.dead) == (20, 20, 30)
    assert [(run.row, run.bars) for run in report.stuck] == [(110, 10)]
    assert report.score == pytest.approx(100 * (1 - 30 / 1000))


def test_a_source_without_volume_is_not_blamed_for_it() -> None:
    bars = raw()
    bars["volume"][:] = 0
    report = quality_report(bars)
    assert not report.has_volume
    assert (report.zero_volume, report.dead, report.stuck, report.score) == (1_000, 0, (), 100.0)
    assert "the source has no volume" in str(report)


def test_a_bad_print_is_a_spike_and_a_crash_is_not() -> None:
    bars = raw()
    scale(bars, slice(300, 301), 2.0)
    report = quality_report(bars)
    assert [(jump.row, jump.spike) for jump in report.jumps] == [(300, True), (301, False)]
    assert report.score == pytest.approx(100 * (1 - 10 * 1 / 1000))
    bars = raw()
    scale(bars, slice(300, None), 0.55)
    report = quality_report(bars)
    assert [(jump.row, jump.spike) for jump in report.jumps] == [(300, False)]
    assert report.jumps[0].log_return == pytest.approx(np.log(0.55), abs=0.02)
    assert report.score == 100.0


@pytest.mark.parametrize(("move", "z"), [(0.295, None), (0.298, 0.298 / 0.014826)])
def test_jumps_are_measured_in_standard_deviations_of_a_normal_distribution(move: float, z: float | None) -> None:
    """Returns of -2, -1, 0, 1, 2 % in turn: median 0, median distance from it (MAD) 1 %, so that the standard deviation
    of a normal distribution with this MAD is 1.4826 %, and 20 of them are 29.652 %.

    A move of 29.5 % is thus no jump, though it is 29.5 MADs; one of 29.8 % is one.
    """
    returns = np.tile([-0.02, -0.01, 1e-7, 0.01, 0.02], 80)  # 1e-7 stands for 0, which is left out
    returns[202] = move
    close = 100.0 * np.exp(np.cumsum(returns))
    bars = {
        "timestamp": MONDAY + HOUR * np.arange(400, dtype=np.int64),
        **{name: close.copy() for name in ("open", "high", "low", "close")},
        "volume": np.ones(400),
    }
    found = [(jump.row, jump.z) for jump in quality_report(bars).jumps]
    assert found == ([] if z is None else [(202, pytest.approx(z, rel=1e-4))])


def test_a_tenfold_price_after_a_day_without_bars_is_perhaps_another_asset() -> None:
    bars = raw()
    bars["timestamp"][500:] += 2 * DAY
    scale(bars, slice(500, None), 1_000.0)
    report = quality_report(bars)
    assert len(report.changes) == 1
    assert report.changes[0].gap.row == 500
    assert report.changes[0].ratio == pytest.approx(1_000, rel=0.05)
    assert report.score == pytest.approx(50 * 1000 / (1000 + 48))
    assert report.jumps == ()  # a return over a gap says nothing about the bars


def test_unsorted_rows_are_reported_by_their_place_in_the_source() -> None:
    bars = raw(100)
    bars = {name: values[::-1].copy() for name, values in bars.items()}
    bars["timestamp"][10] += 7 * HOUR * 100
    report = quality_report(bars)
    assert {defect.rule for defect in report.defects} == {Rule.UNSORTED}
    # Row 10 now stands last in time; the hole it left is before row 9, the next later hour.
    assert [gap.row for gap in report.holes] == [9, 10]


def test_the_report_is_plain_and_the_same_every_time() -> None:
    bars = raw()
    bars["volume"][5] = np.nan
    bars["close"][7] = np.inf
    first, second = quality_report(bars), quality_report(bars)
    assert first == second
    assert str(first) == str(second)
    assert json.loads(json.dumps(first.to_dict(), allow_nan=False)) == first.to_dict()
    assert "NOT USABLE" in str(first)


def test_lists_in_the_dict_are_bounded_and_hold_the_greatest() -> None:
    time = MONDAY + HOUR * np.cumsum(np.where(np.arange(900) % 3 == 0, 2, 1))
    time[600:] += 50 * HOUR
    flat = np.full(900, 10.0)
    bars = Candles(timestamp=time, open=flat, high=flat, low=flat, close=flat, volume=flat, timeframe_ms=HOUR)
    gaps = quality_report(bars).to_dict()["gaps"]
    assert gaps["count"] == 299
    assert len(gaps["list"]) == 100
    assert gaps["longest_bars"] == max(gap["bars_missing"] for gap in gaps["list"]) == 51
    assert [gap["row"] for gap in gaps["list"]] == sorted(gap["row"] for gap in gaps["list"])
    assert "... and 294 more" in str(quality_report(bars))


def test_a_report_needs_two_bars() -> None:
    with pytest.raises(DataError, match="two or more bars at different times; found 1"):
        quality_report(walk(1, seed=1))


@pytest.mark.parametrize("timeframe", [None, "1h"])
def test_rows_off_the_grid_are_reported_without_a_declared_timeframe_too(timeframe: str | None) -> None:
    bars = raw()
    bars["timestamp"][500:510] += 14_000
    report = quality_report(bars, timeframe)
    assert {defect.rule: (defect.count, defect.row) for defect in report.defects} == {Rule.OFF_GRID: (10, 500)}
    assert report.timeframe_ms == HOUR
    assert report.score == pytest.approx(100 * (1 - 10 * 10 / 1000))


def test_a_series_without_gaps_has_a_longest_gap_of_no_bars() -> None:
    gaps = quality_report(walk(50, seed=1)).to_dict()["gaps"]
    assert (gaps["count"], gaps["longest_bars"], gaps["list"]) == (0, 0, [])
