"""Gaps: bars that are not there. They are counted and classified, never filled.

A market that closes has gaps that mean nothing (a currency's weekend, a stock's night). The data's own week tells them
from real ones: the share of weeks in which each hour of the week has bars.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lockstep.core.units import DAY_MS
from lockstep.market.checks import format_time
from lockstep.market.clock import HOUR_MS

WEEK_MS: Final = 7 * DAY_MS
# 1970-01-01 was a Thursday; adding three days makes Monday 00:00 UTC the start of the week.
_MONDAY_MS: Final = 3 * DAY_MS
# A slot of the week is closed when it has bars in at most 5 % of weeks, and open from 75 % on. Between lie the
# hours that summer time moves, and weekdays that are often holidays: their absence says nothing.
_CLOSED: Final = 0.05
_OPEN: Final = 0.75
_LEAST_WEEKS: Final = 4
# Holidays close a market for some days; a gap of over two weeks is a hole whatever hours it covers.
_LONGEST_CLOSED_MS: Final = 14 * DAY_MS


class GapKind(StrEnum):
    """Why bars are missing, as far as times tell: the market was closed, or was open and the bars are lost."""

    CLOSED = "session"
    HOLE = "hole"


@dataclass(frozen=True, kw_only=True)
class Gap:
    """Bars missing before row `row`.

    row            the first bar after the gap
    start          milliseconds UTC at which the first missing bar would have opened
    stop           milliseconds UTC at which `row` opens
    bars_missing   bars between, by the timeframe
    bars_expected  those of them in hours of the week that are not usually closed
    kind           CLOSED misses closed hours and no usually open one; anything else is a HOLE
    """

    row: int
    start: int
    stop: int
    bars_missing: int
    bars_expected: int
    kind: GapKind

    def __str__(self) -> str:
        bars = "1 bar" if self.bars_missing == 1 else f"{self.bars_missing:,} bars"
        return f"{format_time(self.start)} to {format_time(self.stop)}: {bars}"


def missing_before(timestamp: NDArray[np.int64], timeframe_ms: int) -> NDArray[np.int64]:
    """Bars missing between each row and the one before it; 0 for the first row.

    Steps are rounded to whole bars, so that days that begin an hour early or late (summer time) are no gaps.

    timestamp     int64 (n,), milliseconds UTC, strictly ascending
    timeframe_ms  bar length in milliseconds
    """
    out = np.zeros(timestamp.shape[0], dtype=np.int64)
    out[1:] = (np.diff(timestamp) + _half(timeframe_ms)) // timeframe_ms - 1
    return np.maximum(out, 0)


def gaps_so_far(timestamp: NDArray[np.int64], timeframe_ms: int) -> NDArray[np.int32]:
    """int32 (n,): stretches of missing bars before each row, cumulative: how often `missing_before` was above 0.

    Without its division, since every backtest asks. Arguments as there.
    """
    out = np.zeros(timestamp.shape[0], dtype=np.int32)
    # A step that rounds to two bars or more: (step + half) // timeframe >= 2.
    np.cumsum(np.diff(timestamp) >= 2 * timeframe_ms - _half(timeframe_ms), out=out[1:])
    return out


def _half(timeframe_ms: int) -> int:
    """What is added to a step before it is cut to whole bars, in milliseconds."""
    # Three hours are one bar of two hours, on the night on which a clock is put back, and no gap.
    return HOUR_MS - 1 if timeframe_ms == 2 * HOUR_MS else timeframe_ms // 2


def find_gaps(timestamp: NDArray[np.int64], timeframe_ms: int) -> tuple[Gap, ...]:
    """All gaps, in order of time.

    timestamp     int64 (n,), milliseconds UTC at bar open, strictly ascending
    timeframe_ms  bar length in milliseconds
    """
    missing = missing_before(timestamp, timeframe_ms)
    rows = np.flatnonzero(missing)
    if rows.size == 0:
        return ()
    # Slots of one bar see opening times to the bar; longer or odd bars are judged by the hours that they cover.
    width = timeframe_ms if timeframe_ms <= HOUR_MS and WEEK_MS % timeframe_ms == 0 else HOUR_MS
    closed, opened = _weekly_hours(timestamp, width)
    gaps = []
    for row in rows.tolist():
        count = int(missing[row])
        start = int(timestamp[row - 1]) + timeframe_ms
        stop = int(timestamp[row])
        kind, expected = GapKind.HOLE, count
        if stop - start <= _LONGEST_CLOSED_MS:
            slots = _slot(start + timeframe_ms * np.arange(count, dtype=np.int64), width)
            expected = count - int(np.count_nonzero(closed[slots]))
            if expected < count and not opened[slots].any():
                kind, expected = GapKind.CLOSED, 0
        gaps.append(Gap(row=row, start=start, stop=stop, bars_missing=count, bars_expected=expected, kind=kind))
    return tuple(gaps)


def _slot(time: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    """Number of the slot of the week, from Monday 00:00 UTC."""
    slots: NDArray[np.int64] = ((time + _MONDAY_MS) % WEEK_MS) // width
    return slots


def _weekly_hours(timestamp: NDArray[np.int64], width: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which slots of the week are usually closed and which usually open: bool (slots,) each.

    Fewer than four weeks with bars say too little: then the weekend counts as closed when no row opens on a
    Saturday, and weekdays as open (but for the late hours of Friday, which say nothing).
    """
    n_slots = WEEK_MS // width
    slot = _slot(timestamp, width)
    week = (timestamp + _MONDAY_MS) // WEEK_MS
    # Only weeks that have bars tell when the market opens; months without any say nothing about hours.
    weeks = np.unique(week).size
    if weeks >= _LEAST_WEEKS:
        # A slot counts once a week however many bars open in it.
        seen = np.unique(week * n_slots + slot) % n_slots
        share = np.bincount(seen, minlength=n_slots) / weeks
        return share <= _CLOSED, share >= _OPEN
    day = np.arange(n_slots) * width // DAY_MS
    hour = np.arange(n_slots) * width % DAY_MS // HOUR_MS
    if np.any(slot * width // DAY_MS == 5):
        return np.zeros(n_slots, dtype=np.bool_), np.ones(n_slots, dtype=np.bool_)
    friday_night = (day == 4) & (hour >= 20)
    closed = (day == 5) | (day == 6)
    return closed, ~(closed | friday_night)
