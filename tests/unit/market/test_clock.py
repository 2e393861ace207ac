from __future__ import annotations

import copy
import itertools
from datetime import date, timedelta

import numpy as np
import pytest
from tests.unit.market.bars import DAY, HOUR, MONDAY, columns, local

from lockstep.core.errors import DataError
from lockstep.market.candles import Candles
from lockstep.market.clock import close_bounds, step_bounds
from lockstep.market.resampling import align_asof, resample

MINUTE = 60_000


def of_times(timestamp: np.ndarray, timeframe_ms: int | None = None) -> Candles:
    bars = {**columns(timestamp.size), "timestamp": timestamp}
    if timeframe_ms is None:
        return Candles.from_arrays(**bars)
    return Candles(**bars, timeframe_ms=timeframe_ms)


def test_a_day_of_25_hours_closes_when_the_next_one_opens() -> None:
    days = local("Europe/Berlin", (2023, 10, 28), (2023, 10, 29), (2023, 10, 30), (2023, 10, 31))
    bars = of_times(days)
    assert np.diff(days).tolist() == [DAY, 25 * HOUR, DAY]
    assert bars.timeframe == "1d"
    assert bars.close_time[:3].tolist() == bars.decision_time[:3].tolist() == days[1:].tolist()


def test_a_last_day_of_a_local_clock_is_used_late_and_decides_early() -> None:
    days = local("America/New_York", (2024, 3, 8), (2024, 3, 9), (2024, 3, 10))
    bars = of_times(days)
    # The day of 10 March has 23 hours, which no bar after it tells.
    assert bars.close_time[-1] - days[-1] == 25 * HOUR
    assert bars.decision_time[-1] - days[-1] == 23 * HOUR


def test_days_of_utc_close_after_24_hours_the_last_one_too() -> None:
    bars = of_times(MONDAY + DAY * np.arange(5))
    assert (bars.close_time - bars.timestamp).tolist() == (bars.decision_time - bars.timestamp).tolist() == [DAY] * 5


def test_a_part_of_a_series_knows_when_its_last_bar_closed() -> None:
    days = local("America/New_York", (2024, 11, 1), (2024, 11, 2), (2024, 11, 3), (2024, 11, 4), (2024, 11, 5))
    bars = of_times(days)
    for part in (bars.head(3), bars.slice(1, 3), bars.slice(0, -2), copy.copy(bars.head(3))):
        assert part.close_time[-1] == part.decision_time[-1] == days[3] == days[2] + 25 * HOUR
    assert bars.head(3).slice(0, 2).close_time[-1] == days[2]
    assert bars.head(3).tail(2).decision_time[-1] == days[3]
    assert len(bars.head(0).close_time) == 0


def test_values_may_be_exchanged_while_times_stay() -> None:
    days = local("America/New_York", (2024, 11, 1), (2024, 11, 2), (2024, 11, 3), (2024, 11, 4))
    part = of_times(days).head(3)
    other = part.with_values({"volume": np.zeros(3)})
    assert other.volume.tolist() == [0.0] * 3
    assert other.close.tolist() == part.close.tolist()
    assert other.close_time.tolist() == part.close_time.tolist()


def test_over_a_weekend_in_which_the_clock_jumps_the_safe_bound_is_used() -> None:
    friday, monday = local("America/New_York", (2024, 3, 8), (2024, 3, 11))
    early, late = close_bounds(np.array([friday, monday]), DAY)
    assert monday - friday == 3 * DAY - HOUR
    assert (early[0] - friday, late[0] - friday) == (23 * HOUR, DAY)
    friday, monday = local("America/New_York", (2024, 11, 1), (2024, 11, 4))
    early, late = close_bounds(np.array([friday, monday]), DAY)
    assert (early[0] - friday, late[0] - friday) == (DAY, 25 * HOUR)


def test_months_are_complete_bars_that_close_when_the_next_one_opens() -> None:
    months = local("UTC", *[(2023 + i // 12, i % 12 + 1, 1) for i in range(30)])
    bars = of_times(months)
    assert bars.timeframe_ms == 31 * DAY
    assert bars.close_time[:-1].tolist() == months[1:].tolist()
    assert bars.close_time[-1] == months[-1] + 31 * DAY + HOUR
    assert bars.decision_time[-1] == months[-1] + 28 * DAY - HOUR
    # From February on, so that 28 days come first.
    assert of_times(months[1:5]).timeframe_ms == 31 * DAY


def test_a_month_of_a_local_clock_is_not_seen_before_it_has_ended() -> None:
    months = local("America/New_York", *[(2024, month, 1) for month in range(1, 8)])
    days = of_times(local("UTC", *[(2024, 2, day) for day in range(1, 30)], *[(2024, 3, day) for day in range(1, 9)]))
    index = align_asof(of_times(months), days)
    # February ends on 1 March 05:00 UTC: the day of 29 February closes before, that of 1 March after.
    assert index[27:31].tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("minutes", [45, 90, 241, 270, 390, 7 * 24 * 60, 28 * 24 * 60, 90 * 24 * 60])
def test_a_complete_grid_of_any_length_is_accepted(minutes: int) -> None:
    step = minutes * MINUTE
    bars = of_times(MONDAY + step * np.arange(50))
    assert bars.timeframe_ms == step or minutes == 90 * 24 * 60
    assert np.diff(bars.timestamp).tolist() == (bars.close_time - bars.timestamp)[:-1].tolist()
    assert of_times(MONDAY + step * np.arange(50), step).timeframe_ms == step


def test_bars_of_270_minutes_that_start_with_each_session_are_accepted() -> None:
    opens = [local("America/New_York", (2024, 3, day, 9, 30), (2024, 3, day, 14, 0)) for day in (6, 7, 8, 11, 12)]
    assert of_times(np.concatenate(opens)).timeframe == "270m"


def test_a_day_on_its_own_clock_is_a_row_off_the_grid() -> None:
    time = MONDAY + DAY * np.arange(20)
    time[-1] -= 5 * HOUR
    with pytest.raises(DataError, match=r"off-grid: 1 row, first row 19 .* the last row: a bar that was not over"):
        of_times(time, DAY)


def test_short_bars_have_one_length() -> None:
    assert step_bounds(HOUR) == (HOUR, HOUR)
    assert step_bounds(DAY) == (23 * HOUR, 25 * HOUR)
    assert step_bounds(31 * DAY) == step_bounds(30 * DAY) == (28 * DAY - HOUR, 31 * DAY + HOUR)
    assert step_bounds(28 * DAY) == (28 * DAY - HOUR, 28 * DAY + HOUR)


def of_local_days(hours: int, first: tuple[int, int], days: int) -> np.ndarray:
    """Bars of so many hours that begin anew at each midnight of New York; the last one of a day is what remains."""
    midnights = [local("America/New_York", (2024, *first))[0]]
    for day in range(1, days + 1):
        start = date(2024, *first) + timedelta(days=day)
        midnights.append(local("America/New_York", (start.year, start.month, start.day))[0])
    return np.concatenate([np.arange(a, b, hours * HOUR, dtype=np.int64) for a, b in itertools.pairwise(midnights)])


@pytest.mark.parametrize("hours", [2, 3, 4, 6])
@pytest.mark.parametrize(("first", "shorter"), [((3, 8), -1), ((11, 1), 1)], ids=["23 hours", "25 hours"])
def test_bars_that_begin_anew_at_local_midnight_close_when_the_next_one_opens(
    hours: int, first: tuple[int, int], shorter: int
) -> None:
    time = of_local_days(hours, first, 6)
    bars = of_times(time)
    assert bars.timeframe == f"{hours}h"
    # The odd bar is the last one of the day of 23 or of 25 hours: 23 = 5 * 4 + 3, 25 = 6 * 4 + 1.
    odd = set(np.diff(time).tolist()) - {hours * HOUR}
    assert odd == {HOUR if shorter > 0 else (hours - 1) * HOUR}
    assert bars.close_time[:-1].tolist() == bars.decision_time[:-1].tolist() == time[1:].tolist()
    assert not bars.gaps.any()
    # Nothing tells when the last one ends: it is used late and decides early.
    assert bars.close_time[-1] - time[-1] == (hours + 1) * HOUR
    assert bars.decision_time[-1] - time[-1] == (hours - 1) * HOUR
    # A part that ends with the odd bar knows what the whole knows.
    at = int(np.argmax(np.diff(time) != hours * HOUR))
    for part in (bars.head(at + 1), copy.copy(bars.head(at + 1))):
        assert part.close_time[-1] == part.decision_time[-1] == time[at + 1]
    assert bars.with_values({"volume": np.ones(len(bars))}).close_time.tolist() == bars.close_time.tolist()


def test_bars_of_the_hours_of_the_wall_last_an_hour_more_when_the_clock_is_put_back() -> None:
    days = [(2024, 11, day, hour) for day in (1, 2, 3, 4) for hour in range(0, 24, 2)]
    bars = of_times(local("America/New_York", *days))
    assert sorted(set(np.diff(bars.timestamp).tolist())) == [2 * HOUR, 3 * HOUR]
    assert bars.close_time[:-1].tolist() == bars.timestamp[1:].tolist()
    assert not bars.gaps.any()


@pytest.mark.parametrize("hours", [2, 3, 4])
def test_what_is_no_clock_stays_off_the_grid(hours: int) -> None:
    grid = MONDAY + hours * HOUR * np.arange(100, dtype=np.int64)
    extra = np.insert(grid, 51, grid[50] + HOUR)
    twice = np.concatenate((grid[:30], grid[30:60] + HOUR, grid[60:]))
    last = np.append(grid, grid[-1] + HOUR)
    for time in (extra, last, *([twice] if hours < 4 else [])):
        with pytest.raises(DataError, match="off-grid"):
            of_times(time, hours * HOUR)


def test_a_part_before_the_clock_jumps_knows_that_there_is_one() -> None:
    """A cut view and the whole market agree about when their bars close."""
    time = np.delete(of_local_days(4, (9, 20), 60), slice(60, 60 + 6 * 30))
    whole = of_times(time)
    part = whole.head(61)
    assert not np.any(np.diff(part.timestamp) % (4 * HOUR))
    assert part.decision_time.tolist() == whole.decision_time[:61].tolist()
    assert part.close_time.tolist() == whole.close_time[:61].tolist()


def test_days_of_23_hours_are_not_joined_to_weeks_of_utc() -> None:
    days = local("America/New_York", *[(2024, 3, day) for day in range(4, 19)])
    with pytest.raises(DataError, match="across two of them"):
        resample(of_times(days), "1w")
