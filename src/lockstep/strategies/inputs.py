"""Further series a strategy may read, declared by name, and the event series itself.

    class Trend(ls.Strategy):
        inputs = {"higher": HigherTimeframe("1h"), "btc": OwnCandles(), "news": EventSeries("surprise")}

Whatever the source, a value is visible at bar t only once it was known at the close of bar t: a bar from the moment
it has closed, an event from its timestamp on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from lockstep.core.errors import DataError, StrategyError
from lockstep.core.units import DAY_MS, format_timeframe, parse_timeframe
from lockstep.market.candles import Candles

if TYPE_CHECKING:
    from numpy.typing import NDArray

# 1970-01-05 was a Monday: weeks are counted from there, shorter timeframes from 1970-01-01 00:00 UTC.
_WEEK_ORIGIN_MS: Final = 4 * DAY_MS


@dataclass(frozen=True)
class HigherTimeframe:
    """Bars of a longer timeframe, built from the base candles unless the caller gives candles of that name."""

    timeframe: str

    def __post_init__(self) -> None:
        parse_timeframe(self.timeframe)


@dataclass(frozen=True)
class OwnCandles:
    """Candles the caller must give (another symbol, another venue); `timeframe` None accepts any."""

    timeframe: str | None = None


@dataclass(frozen=True)
class EventSeries:
    """Events the caller must give, with at least these columns."""

    columns: tuple[str, ...] = ()

    def __init__(self, *columns: str) -> None:
        object.__setattr__(self, "columns", tuple(columns))


Input: TypeAlias = HigherTimeframe | OwnCandles | EventSeries


@dataclass(frozen=True, kw_only=True)
class Events:
    """Things that became known at points in time.

    timestamp  int64 (n_events,), ms UTC, the moment of becoming known, ascending (equal ones allowed: the last counts)
    columns    name -> float64 (n_events,)
    """

    timestamp: NDArray[np.int64]
    columns: Mapping[str, NDArray[np.float64]]

    def __post_init__(self) -> None:
        timestamp = _read_only(np.array(self.timestamp, dtype=np.int64))
        if timestamp.ndim != 1:
            raise DataError(f"event timestamps are one-dimensional; found shape {timestamp.shape}")
        back = np.flatnonzero(np.diff(timestamp) < 0)
        if back.size:
            raise DataError(f"event timestamps must ascend; row {back[0] + 1} lies before row {back[0]} ({back.size} such)")
        columns = {}
        for name, values in self.columns.items():
            columns[name] = _read_only(np.array(values, dtype=np.float64))
            if columns[name].shape != timestamp.shape:
                raise DataError(f"event column {name!r} has shape {columns[name].shape}, the timestamps {timestamp.shape}")
        object.__setattr__(self, "timestamp", timestamp)
        object.__setattr__(self, "columns", MappingProxyType(columns))

    def __len__(self) -> int:
        return int(self.timestamp.size)

    def head(self, count: int) -> Events:
        """The first `count` events."""
        return Events(timestamp=self.timestamp[:count], columns={k: v[:count] for k, v in self.columns.items()})


Series: TypeAlias = Candles | Events


def known_from(series: Series) -> NDArray[np.int64]:
    """int64 (rows,), ms UTC: the moment from which each row may be used."""
    return series.timestamp if isinstance(series, Events) else series.timestamp + series.timeframe_ms


def known_by(series: Series, moment: int) -> Series:
    """The rows of `series` that are known at `moment` (ms UTC)."""
    count = int(np.searchsorted(known_from(series), moment, side="right"))
    return series if count == len(series) else series.head(count)


def resample(candles: Candles, timeframe_ms: int) -> Candles:
    """Bars of `timeframe_ms` from `candles`, only those that have closed by the close of the last bar.

    Buckets start at multiples of the timeframe (UTC; weeks on Mondays). A bucket without a base bar gives no bar:
    gaps stay gaps. open = first, high = max, low = min, close = last, volume = sum, in bar order.
    """
    base = candles.timeframe_ms
    if timeframe_ms % base or timeframe_ms <= base:
        raise StrategyError(
            f"a higher timeframe is a whole multiple of the base timeframe; found {format_timeframe(timeframe_ms)} "
            f"over bars of {format_timeframe(base)}"
        )
    origin = _WEEK_ORIGIN_MS if timeframe_ms % (7 * DAY_MS) == 0 else 0
    bucket = (candles.timestamp - origin) // timeframe_ms
    starts = np.flatnonzero(np.diff(bucket, prepend=bucket[:1] - 1)) if bucket.size else np.empty(0, np.int64)
    opened = bucket[starts] * timeframe_ms + origin
    if starts.size and opened[-1] + timeframe_ms > int(candles.timestamp[-1]) + base:
        starts, opened, end = starts[:-1], opened[:-1], int(starts[-1])
    else:
        end = len(candles)
    lasts = np.append(starts[1:], end)[: starts.size] - 1
    return Candles(
        timestamp=opened,
        open=candles.open[starts],
        high=np.maximum.reduceat(candles.high[:end], starts) if end else np.empty(0),
        low=np.minimum.reduceat(candles.low[:end], starts) if end else np.empty(0),
        close=candles.close[lasts],
        volume=np.add.reduceat(candles.volume[:end], starts) if end else np.empty(0),
        timeframe_ms=timeframe_ms,
    )


def _read_only(array: NDArray[np.generic]) -> NDArray[np.generic]:
    array.setflags(write=False)
    return array
