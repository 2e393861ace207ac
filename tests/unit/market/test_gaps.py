from __future__ import annotations

import numpy as np
from tests.unit.market.bars import DAY, HOUR, MONDAY

from lockstep.market.candles import Candles
from lockstep.market.gaps import GapKind, find_gaps, gaps_so_far, missing_before

WEEK = 7 * DAY


def always_open(weeks: int, step: int = HOUR) -> np.ndarray:
    return MONDAY + step * np.arange(weeks * WEEK // step, dtype=np.int64)


def currency(weeks: int) -> np.ndarray:
    """Hours from Sunday 22:00 to Friday 22:00 UTC."""
    time = always_open(weeks)
    hour = (time - MONDAY) % WEEK // HOUR
    return time[(hour < 4 * 24 + 22) | (hour >= 6 * 24 + 22)]


def without(time: np.ndarray, start: int, stop: int) -> np.ndarray:
    return time[(time < start) | (time >= stop)]


def like(time: np.ndarray, step: int = HOUR) -> Candles:
    flat = np.full(time.size, 10.0)
    return Candles(timestamp=time, open=flat, high=flat, low=flat, close=flat, volume=flat, timeframe_ms=step)


def test_missing_bars_are_counted_before_the_row_that_follows_them() -> None:
    time = MONDAY + HOUR * np.array([0, 1, 4, 5, 7])
    assert missing_before(time, HOUR).tolist() == [0, 0, 2, 0, 1]
    assert missing_before(time[:0], HOUR).tolist() == []
    assert missing_before(time[:1], HOUR).tolist() == [0]


def test_a_day_that_is_an_hour_long_or_short_is_no_gap() -> None:
    time = MONDAY + DAY * np.arange(4) + HOUR * np.array([5, 5, 4, 5])
    assert missing_before(time, DAY).tolist() == [0, 0, 0, 0]


def test_gaps_so_far_count_the_rows_before_which_bars_are_missing() -> None:
    """Without the division, and rounded alike: a step of two bars less half a one is the first that misses a bar."""
    rng = np.random.default_rng(3)
    for step in (1, 2, 7, 8, HOUR):
        time = np.cumsum(rng.integers(1, 4 * step + 1, 200))
        assert gaps_so_far(time, step).tolist() == np.cumsum(missing_before(time, step) > 0).tolist()
    assert gaps_so_far(time[:0], HOUR).tolist() == []
    assert gaps_so_far(MONDAY + HOUR * np.array([0, 1, 4, 5, 7]), HOUR).tolist() == [0, 0, 1, 1, 2]


def test_candles_know_their_gaps_and_their_lowest_price() -> None:
    candles = like(MONDAY + HOUR * np.array([0, 1, 4, 5, 7]))
    gaps = candles.gaps
    assert gaps.tolist() == [0, 0, 1, 1, 2]
    assert candles.gaps is gaps
    assert not candles.gaps.flags.writeable
    assert candles.slice(2, 5).gaps.tolist() == [0, 0, 1]
    assert candles.lowest == 10.0
    assert candles.head(0).lowest == np.inf


def test_a_hole_in_a_market_that_never_closes_is_a_hole() -> None:
    saturday = MONDAY + 5 * DAY
    gaps = find_gaps(without(always_open(6), saturday, saturday + 30 * HOUR), HOUR)
    assert [(gap.kind, gap.start, gap.stop, gap.bars_missing, gap.bars_expected) for gap in gaps] == [
        (GapKind.HOLE, saturday, saturday + 30 * HOUR, 30, 30)
    ]
    assert str(gaps[0]) == "2024-01-06 00:00Z to 2024-01-07 06:00Z: 30 bars"


def test_weekends_of_a_market_that_closes_are_sessions_and_a_lost_wednesday_is_not() -> None:
    wednesday = MONDAY + 2 * WEEK + 2 * DAY
    gaps = find_gaps(without(currency(8), wednesday, wednesday + 5 * HOUR), HOUR)
    weekends = [gap for gap in gaps if gap.kind is GapKind.CLOSED]
    # Seven weekends lie between the eight weeks; the eighth ends in two Sunday hours after one more.
    assert [gap.bars_missing for gap in weekends] == [48] * 8
    assert [(gap.start, gap.bars_missing) for gap in gaps if gap.kind is GapKind.HOLE] == [(wednesday, 5)]


def test_a_holiday_that_lengthens_a_weekend_is_a_hole_of_its_open_hours() -> None:
    friday = MONDAY + 3 * WEEK + 4 * DAY
    gaps = find_gaps(without(currency(8), friday + 12 * HOUR, friday + DAY), HOUR)
    (hole,) = [gap for gap in gaps if gap.kind is GapKind.HOLE]
    assert hole.bars_missing == 10 + 48  # Friday 12:00 to 22:00, then the weekend
    assert hole.bars_expected == 10


def test_hours_that_summer_time_moves_decide_nothing() -> None:
    """Half of the weeks close at 21:00, half at 22:00: both are weekends."""
    winter = currency(8)
    summer = currency(8) - HOUR + 8 * WEEK
    gaps = find_gaps(np.concatenate((winter, summer)), HOUR)
    assert {(gap.kind, gap.bars_expected) for gap in gaps} == {(GapKind.CLOSED, 0)}


def test_under_four_weeks_saturdays_without_any_bar_are_closed() -> None:
    assert {gap.kind for gap in find_gaps(currency(2), HOUR)} == {GapKind.CLOSED}
    saturday = MONDAY + 5 * DAY
    partly = without(always_open(2), saturday, saturday + 20 * HOUR)
    assert {gap.kind for gap in find_gaps(partly, HOUR)} == {GapKind.HOLE}


def test_days_of_a_stock_exchange_close_at_weekends() -> None:
    days = always_open(20, DAY)
    days = days[(days - MONDAY) % WEEK < 5 * DAY]
    assert {gap.kind for gap in find_gaps(days, DAY)} == {GapKind.CLOSED}
    holiday = find_gaps(without(days, MONDAY + 2 * DAY, MONDAY + 3 * DAY), DAY)[0]
    assert (holiday.kind, holiday.bars_missing) == (GapKind.HOLE, 1)


def test_nights_are_sessions_in_five_minute_bars_that_open_at_half_past() -> None:
    step = 300_000
    time = always_open(8, step)
    minute = (time - MONDAY) % DAY // 60_000
    weekday = (time - MONDAY) % WEEK < 5 * DAY
    time = time[weekday & (minute >= 14 * 60 + 30) & (minute < 21 * 60)]
    gaps = find_gaps(time, step)
    assert len(gaps) == 8 * 5 - 1
    assert {gap.kind for gap in gaps} == {GapKind.CLOSED}


def test_months_without_bars_are_a_hole_however_short_the_bars() -> None:
    time = np.concatenate((always_open(1, 60_000), always_open(1, 60_000) + 30 * WEEK))
    (gap,) = find_gaps(time, 60_000)
    assert (gap.kind, gap.bars_missing) == (GapKind.HOLE, 29 * WEEK // 60_000)
