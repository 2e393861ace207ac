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
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from lockstep.core.errors import DataError, StrategyError
from lockstep.core.units import parse_timeframe
from lockstep.market.candles import Candles
from lockstep.market.resampling import complete_bars

if TYPE_CHECKING:
    from numpy.typing import NDArray


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
        # Copied before they are frozen: the caller's own arrays stay writable.
        timestamp = _read_only(np.array(self.timestamp, dtype=np.int64))
        if timestamp.ndim != 1:
            raise DataError(f"event timestamps are one-dimensional; found shape {timestamp.shape}")
        back = np.flatnonzero(np.diff(timestamp) < 0)
        if back.size:
            raise DataError(
                f"event timestamps ascend; row {back[0] + 1} lies before the one above ({back.size} such): sort them"
            )
        columns = {}
        for name, values in self.columns.items():
            columns[name] = _read_only(np.array(values, dtype=np.float64))
            if columns[name].shape != timestamp.shape:
                raise DataError(
                    f"event columns are as long as the timestamps, {timestamp.size}; found {columns[name].shape} "
                    f"in {name!r}"
                )
        object.__setattr__(self, "timestamp", timestamp)
        object.__setattr__(self, "columns", MappingProxyType(columns))

    def __len__(self) -> int:
        return int(self.timestamp.size)

    def head(self, count: int) -> Events:
        """The first `count` events, a series of the same columns."""
        return Events(timestamp=self.timestamp[:count], columns={k: v[:count] for k, v in self.columns.items()})


Series: TypeAlias = Candles | Events


def known_from(series: Series) -> NDArray[np.int64]:
    """int64 (rows,), ms UTC: the moment from which each row may be used."""
    return series.timestamp if isinstance(series, Events) else series.close_time


def known_by(series: Series, moment: int) -> Series:
    """The rows of `series` that are known at `moment` (ms UTC)."""
    count = int(np.searchsorted(known_from(series), moment, side="right"))
    return series if count == len(series) else series.head(count)


def higher_bars(candles: Candles, timeframe: str) -> Candles:
    """The complete bars of `timeframe` within `candles`, as `market.resampling` makes them; there may be none yet."""
    length = parse_timeframe(timeframe)
    if length % candles.timeframe_ms or length <= candles.timeframe_ms:
        raise StrategyError(
            f"a higher timeframe is a whole multiple of the base timeframe {candles.timeframe}; found {timeframe}"
        )
    return complete_bars(candles, timeframe)


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    array.setflags(write=False)
    return array
