"""Times at which bars close, where a source writes those instead of opens: noticed by what no market does, and shifted.

Times alone cannot prove it. Two things make it likely: a session that starts one bar after a round time and ends on
one, and daily bars that lie on the days and hours at which a market has just closed.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from lockstep.core.units import DAY_MS, MINUTE_MS
from lockstep.market.checks import format_time
from lockstep.market.clock import HOUR_MS, step_bounds

# Markets open and close at these times of an hour.
_ROUND_MS: Final = 30 * MINUTE_MS
# Sessions, and the share of them that must look alike, before anything is said.
_LEAST_SESSIONS: Final = 4
_ALIKE: Final = 0.9
_LEAST_DAYS: Final = 10
# A daily bar that opens this late in UTC opens a day that is the next one in local time, or it is a close.
_EVENING_MS: Final = 19 * HOUR_MS + _ROUND_MS
_MONDAY_MS: Final = 3 * DAY_MS
_SECOND_MS: Final = 1_000


class CloseStampsWarning(UserWarning):
    """Times of candles that were read as opens look like closes; says why, and the option that moves them."""


def stamp_remark(reason: str) -> str:
    """What `close_stamps` found as a line with what to do; "" where that is nothing."""
    return f'times look like closes: {reason}. If they are, say stamp="close" (--stamp; [data] stamp)' if reason else ""


def close_stamps(timestamp: NDArray[np.int64], timeframe_ms: int) -> str:
    """Why the times look like closes of bars, in words; "" where they do not, or nothing can be said.

    timestamp     int64 (n,), milliseconds UTC, strictly ascending
    timeframe_ms  bar length in milliseconds
    """
    if timestamp.size < 2:
        return ""
    if reason := _last_instants(timestamp):
        return reason
    if timeframe_ms == DAY_MS:
        return _days(timestamp)
    return _sessions(timestamp, timeframe_ms) or _whole_days(timestamp, timeframe_ms)


def opens_of_closes(closes: NDArray[np.int64], timeframe_ms: int) -> NDArray[np.int64]:
    """When the bars open that close at `closes`: where the bar before ends, or one bar earlier after a gap. int64 (n,).

    closes        int64 (n,), milliseconds UTC, ascending; 23:59:59.999 and 23:59:59 are read as the midnight after them
    timeframe_ms  bar length in milliseconds
    """
    if closes.size == 0:
        return closes
    exact = closes
    for unit, rest in ((1, _SECOND_MS), (_SECOND_MS, MINUTE_MS)):
        if timeframe_ms % rest == 0 and np.all(exact % rest == rest - unit):
            exact = exact + unit
    times, place = np.unique(exact, return_inverse=True)
    shortest, longest = step_bounds(timeframe_ms)
    opens = times - timeframe_ms
    step = np.diff(times)
    opens[1:] = np.where((step >= shortest) & (step <= longest), times[:-1], opens[1:])
    return opens[place]


def _last_instants(timestamp: NDArray[np.int64]) -> str:
    for unit, rest in ((1, _SECOND_MS), (_SECOND_MS, MINUTE_MS)):
        if np.all(timestamp % rest == rest - unit):
            return f"all are the last instant of a bar, such as {format_time(int(timestamp[0]))}"
    return ""


def _days(timestamp: NDArray[np.int64]) -> str:
    """Daily bars of a market that rests on two days of the week."""
    if timestamp.size < _LEAST_DAYS:
        return ""
    weekday = (timestamp + _MONDAY_MS) % (7 * DAY_MS) // DAY_MS
    evening = timestamp % DAY_MS >= _EVENING_MS
    days = set(np.unique(weekday).tolist())
    if days == {1, 2, 3, 4, 5} and np.all(timestamp % DAY_MS < _ROUND_MS):
        return "daily bars lie on Tuesday to Saturday at midnight UTC, never on a Monday"
    if days == {0, 1, 2, 3, 4} and evening.all():
        return (
            f"daily bars lie on Monday to Friday in the evening UTC, such as {format_time(int(timestamp[0]))}, when "
            "their day is over"
        )
    return ""


def _sessions(timestamp: NDArray[np.int64], timeframe_ms: int) -> str:
    """Bars shorter than half an hour: sessions start one bar after a round time and end on one."""
    if timeframe_ms >= _ROUND_MS or _ROUND_MS % timeframe_ms:
        return ""
    after = np.flatnonzero(np.diff(timestamp) >= 2 * HOUR_MS) + 1
    if after.size < _LEAST_SESSIONS:
        return ""
    starts_late = np.mean(timestamp[after] % _ROUND_MS == timeframe_ms)
    ends_round = np.mean(timestamp[after - 1] % _ROUND_MS == 0)
    if starts_late < _ALIKE or ends_round < _ALIKE:
        return ""
    return (
        f"sessions start one bar after a round time ({format_time(int(timestamp[after[0]]))}) and end on one "
        f"({format_time(int(timestamp[after[0] - 1]))})"
    )


def _whole_days(timestamp: NDArray[np.int64], timeframe_ms: int) -> str:
    """A series of whole days that starts one bar after midnight and ends on midnight."""
    if timeframe_ms >= DAY_MS or DAY_MS % timeframe_ms:
        return ""
    first, last = int(timestamp[0]), int(timestamp[-1])
    if first % DAY_MS != timeframe_ms or last % DAY_MS or last - first < DAY_MS - timeframe_ms:
        return ""
    return f"they start one bar after midnight UTC ({format_time(first)}) and end on midnight ({format_time(last)})"
