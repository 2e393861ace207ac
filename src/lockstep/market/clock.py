"""When bars open and close: steps that follow a local clock or the calendar, and moments known only within bounds.

A day of New York has 23, 24 or 25 hours and a month 28 to 31 days, while a series has one timeframe. Such a bar closes
when the next one opens. Where the next bar is not there, only bounds are known, and each use takes the safe one: what
a bar says is used from its latest possible close on, and a decision at its close is taken at the earliest.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lockstep.core.units import DAY_MS, MINUTE_MS

HOUR_MS: Final = 60 * MINUTE_MS
# Local clocks jump by an hour, that of Lord Howe Island by half of one.
_JUMP_MS: Final = 30 * MINUTE_MS
# Bars of this length and more begin at hours of a local clock (New York midnight, the 17:00 close of currencies).
_LOCAL_MS: Final = 4 * HOUR_MS
# Days of one, two, three, six and twelve months. Exactly 28 days are four weeks, which do not vary.
_CALENDAR_DAYS: Final = ((28, 31), (59, 62), (89, 92), (181, 184), (365, 366))
# A clock that jumps forth and back within a gap leaves no trace in its length. The nearest such pair is a month apart.
_UNTRACED_MS: Final = 28 * DAY_MS

# For so long bars lie on one grid before and after a jump of the clock; less may be a few rows that are wrong.
_SHOWN_MS: Final = DAY_MS // 2


def step_bounds(timeframe_ms: int) -> tuple[int, int]:
    """The shortest and the longest step between two bars that follow each other, in milliseconds.

    Both are `timeframe_ms` for bars of less than four hours: they follow the hours, which no clock change moves.
    """
    days = timeframe_ms / DAY_MS
    for shortest, longest in _CALENDAR_DAYS:
        if shortest < days <= longest or (days == shortest and shortest != 28):
            return shortest * DAY_MS - HOUR_MS, longest * DAY_MS + HOUR_MS
    if timeframe_ms >= _LOCAL_MS:
        return timeframe_ms - HOUR_MS, timeframe_ms + HOUR_MS
    return timeframe_ms, timeframe_ms


def grid_slack(timeframe_ms: int) -> int:
    """How much two bars may be closer than one timeframe, in milliseconds."""
    return timeframe_ms - step_bounds(timeframe_ms)[0]


def grid_unit(timeframe_ms: int) -> int:
    """What the opens of a series are equal modulo, in milliseconds: the bar, or what local clocks leave of it."""
    return math.gcd(timeframe_ms, _JUMP_MS) if grid_slack(timeframe_ms) else timeframe_ms


def whole_timeframe(step_ms: int, steps: NDArray[np.int64]) -> int:
    """The timeframe of a series whose most common step is `step_ms`: a day for 23 hours, 31 days for months.

    steps  int64 (k,), the steps of the series, milliseconds, > 0
    """
    for shortest, longest in _CALENDAR_DAYS:
        low, high = shortest * DAY_MS - HOUR_MS, longest * DAY_MS + HOUR_MS
        inside = steps[(steps >= low) & (steps <= high)]
        if low <= step_ms <= high and int(inside.max()) - int(inside.min()) > 2 * HOUR_MS:
            return longest * DAY_MS
    days = max(1, round(step_ms / DAY_MS))
    return days * DAY_MS if 0 < abs(step_ms - days * DAY_MS) <= HOUR_MS else step_ms


def clock_jumps(timestamp: NDArray[np.int64], timeframe_ms: int) -> NDArray[np.bool_]:
    """Which steps between rows hold a jump of a local clock, bool (n - 1,); none for bars that no clock can move.

    Bars of two to twelve hours that begin anew at each local midnight, or follow the hours of the wall, leave the grid
    of UTC by an hour (half of one on Lord Howe Island) and stay there until the clock jumps again: twice a year, never
    within four weeks. A step may be as short as that hour: the last bar of a day of 25. Where any row lies off its grid
    in another way, or only rows of half a day at either end do, this is no clock, and there are no jumps.

    timestamp     int64 (n,), milliseconds UTC at bar open, any order
    timeframe_ms  bar length in milliseconds
    """
    none = np.zeros(max(0, timestamp.size - 1), dtype=np.bool_)
    if not 2 * HOUR_MS <= timeframe_ms < DAY_MS or DAY_MS % timeframe_ms or timestamp.size < 3:
        return none
    step = np.diff(timestamp)
    rest = step % timeframe_ms
    jumps: NDArray[np.bool_] = rest != 0
    if not jumps.any() or step.min() < _JUMP_MS:
        return none
    moved = timestamp[1:][jumps]
    if timestamp[-1] - moved[-1] < _SHOWN_MS or moved[0] - timestamp[0] < _SHOWN_MS:
        return none
    moves = (_JUMP_MS, HOUR_MS, timeframe_ms - HOUR_MS, timeframe_ms - _JUMP_MS)
    if not np.isin(rest[jumps], moves).all() or np.any(np.diff(moved) < _UNTRACED_MS):
        return none
    return jumps


def shows_local_clock(timestamp: NDArray[np.int64], timeframe_ms: int) -> bool:
    """Whether a step between two bars shows that they follow a local clock. Arguments as for `close_bounds`."""
    if timeframe_ms < _LOCAL_MS:
        return bool(clock_jumps(timestamp, timeframe_ms).any())
    return bool(np.any(np.diff(timestamp) % timeframe_ms))


def close_bounds(
    timestamp: NDArray[np.int64], timeframe_ms: int, next_open: int | None = None, is_local: bool = False
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The earliest and the latest moment at which each bar may close, int64 (n,) each, milliseconds UTC.

    They are one moment wherever the next bar follows at once, and for every bar of less than four hours that follows no
    local clock.

    timestamp     int64 (n,), milliseconds UTC at bar open, strictly ascending
    timeframe_ms  bar length in milliseconds
    next_open     when the bar after the last one opens, where that is known
    is_local      whether the series that these bars are of shows a local clock (`shows_local_clock`)
    """
    shortest, longest = step_bounds(timeframe_ms)
    if shortest == longest and is_local:
        shortest, longest = timeframe_ms - HOUR_MS, timeframe_ms + HOUR_MS
    regular = timestamp + timeframe_ms
    if shortest == longest or timestamp.size == 0:
        return regular, regular
    following = np.append(timestamp[1:], timestamp[-1] if next_open is None else next_open)
    step = following - timestamp
    adjacent = (step > 0) & (step <= longest)
    # What a step over a gap has beyond whole bars may belong to the bar or to the gap.
    rest = (step + timeframe_ms // 2) % timeframe_ms - timeframe_ms // 2
    earlier, later = shortest - timeframe_ms, longest - timeframe_ms
    varies = longest - shortest > 2 * HOUR_MS
    unknown = (step > _UNTRACED_MS + timeframe_ms) if not varies else np.ones(timestamp.size, dtype=np.bool_)
    unknown[-1] |= next_open is None
    if not varies:
        # Those that may follow a local clock: all where one step shows it, else those off the hours of UTC.
        unknown &= is_local | (timestamp % min(timeframe_ms, DAY_MS) != 0)
        rest[step == 0] = 0
    early = regular + np.where(unknown, earlier, np.clip(rest, earlier, 0))
    late = regular + np.where(unknown, later, np.clip(rest, 0, later))
    return np.where(adjacent, following, early), np.where(adjacent, following, late)
