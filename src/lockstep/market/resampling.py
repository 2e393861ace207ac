"""Longer bars from shorter ones, and longer bars seen from shorter ones without a look ahead.

A longer bar exists for a decision only once it has closed: `align_asof` compares its close time with the close
time of the bar at which the decision is made.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lockstep.core.errors import DataError
from lockstep.core.units import parse_timeframe
from lockstep.market.candles import Candles
from lockstep.market.checks import format_time
from lockstep.market.gaps import WEEK_MS

# Weeks begin on Monday, as exchanges have it; 1970-01-05 was the first Monday of the epoch.
_FIRST_MONDAY_MS: Final = 4 * 24 * 60 * 60_000


def bucket_open(timestamp: NDArray[np.int64], timeframe_ms: int) -> NDArray[np.int64]:
    """Open time of the longer bar that each time falls into, int64 (n,), milliseconds UTC.

    Longer bars begin at multiples of their length since 1970 UTC; whole weeks on Monday.
    """
    offset = _FIRST_MONDAY_MS if timeframe_ms % WEEK_MS == 0 else 0
    opens: NDArray[np.int64] = (timestamp - offset) // timeframe_ms * timeframe_ms + offset
    return opens


def resample(candles: Candles, timeframe: str) -> Candles:
    """Bars of a longer timeframe: first open, greatest high, least low, last close, summed volume.

    The first and the last bar are left out unless the shorter bars cover them from their open and to their close: a
    part of a bar is not that bar. Bars with gaps inside are built from what is there; bars without any row stay
    missing. Extra columns have no general rule of summing up and are left out.

    candles    the shorter bars
    timeframe  a multiple of theirs, such as "1h" for 5m bars

    Raises DataError when the timeframe is no multiple, a bar lies across two longer ones, or no longer bar is complete.
    """
    longer = complete_bars(candles, timeframe)
    if len(longer) == 0:
        raise DataError(f"no bar of {timeframe} is complete in {candles!r}. Load more bars.")
    return longer


def complete_bars(candles: Candles, timeframe: str) -> Candles:
    """As `resample`, but without an error where no longer bar is complete yet: then there are none."""
    length = parse_timeframe(timeframe)
    if length % candles.timeframe_ms != 0 or length < candles.timeframe_ms:
        raise DataError(
            f"a resampled timeframe is a multiple of the bars' own, {candles.timeframe}; found {timeframe!r}."
        )
    bucket = bucket_open(candles.timestamp, length)
    across = candles.close_time > bucket + length
    if across.any():
        # Its close would be known only after the longer bar counts as closed: a look ahead.
        row = int(np.argmax(across))
        raise DataError(
            f"a bar lies in one bar of {timeframe}, and those begin at multiples of their length since 1970 UTC; found "
            f"the {candles.timeframe} bar of {format_time(int(candles.timestamp[row]))} across two of them. Give the "
            "longer bars as candles of their own."
        )
    starts = np.flatnonzero(np.diff(bucket, prepend=bucket[:1] - 1))
    stops = np.append(starts[1:], len(candles))
    # A first or last bar that is cut off would have an open, extreme or close that the market never had.
    if starts.size and candles.timestamp[0] != bucket[0]:
        starts, stops = starts[1:], stops[1:]
    if starts.size and candles.decision_time[-1] < bucket[-1] + length:
        starts, stops = starts[:-1], stops[:-1]
    if starts.size == 0:
        return _no_bars(length, candles)
    rows = slice(int(starts[0]), int(stops[-1]))
    at = starts - starts[0]
    return Candles(
        timestamp=bucket[starts],
        open=candles.open[starts],
        high=np.maximum.reduceat(candles.high[rows], at),
        low=np.minimum.reduceat(candles.low[rows], at),
        close=candles.close[stops - 1],
        volume=np.add.reduceat(candles.volume[rows], at),
        timeframe_ms=length,
        symbol=candles.symbol,
        exchange=candles.exchange,
        source=candles.source,
    ).regular()


def _no_bars(timeframe_ms: int, like: Candles) -> Candles:
    """Candles of no rows, with the labels of `like`."""
    none = np.empty(0)
    return Candles(
        timestamp=np.empty(0, np.int64),
        open=none,
        high=none,
        low=none,
        close=none,
        volume=none,
        timeframe_ms=timeframe_ms,
        symbol=like.symbol,
        exchange=like.exchange,
        source=like.source,
    )


def asof_index(known_at: ArrayLike, decided_at: ArrayLike) -> NDArray[np.int64]:
    """For each decision, the number of the latest fact known by then; -1 where there is none yet.

    known_at    int64 (m,), milliseconds UTC, ascending: when each fact is known. A fact known exactly at the time of a
                decision is known to it.
    decided_at  int64 (n,), milliseconds UTC, any order
    """
    available = np.asarray(known_at, dtype=np.int64)
    if np.any(np.diff(available) < 0):
        row = int(np.argmax(np.diff(available) < 0)) + 1
        raise DataError(f"times at which facts are known ascend; row {row} is earlier than the one before. Sort them.")
    return np.searchsorted(available, np.asarray(decided_at, dtype=np.int64), side="right").astype(np.int64) - 1


def align_asof(higher: Candles, base: Candles | ArrayLike) -> NDArray[np.int64]:
    """For each base bar, the row of the latest `higher` bar that has closed when the decision is made; -1 before.

    higher  bars of another series, usually longer ones
    base    the candles whose **closes** are the moments of decision; or those moments themselves, int64 (n,),
            milliseconds UTC. (Not bar opens: the open time of a bar says nothing about when it is complete.)

    Returns int64 (n,), for `take_asof`.
    """
    moments = base.decision_time if isinstance(base, Candles) else base
    return asof_index(higher.close_time, moments)


def take_asof(values: ArrayLike, index: NDArray[np.int64]) -> NDArray[np.float64]:
    """`values` (m,) seen from each decision, float64 (n,); NaN where `index` is -1.

    values  one value per higher bar, such as its close or an indicator of it
    index   int64 (n,), rows of `values`, such as those of `align_asof`
    """
    source = np.asarray(values, dtype=np.float64)
    out = np.full(index.shape[0], np.nan)
    there = index >= 0
    out[there] = source[index[there]]
    return out
