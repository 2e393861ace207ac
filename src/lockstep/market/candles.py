"""Candles: a frozen struct of read-only arrays, checked at birth and named by their digest.

Gaps are facts: rows that are not there are never filled. Prices and volumes are as the source had them.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lockstep.core.errors import DataError, InputError
from lockstep.core.hashing import digest_columns
from lockstep.core.types import Float
from lockstep.core.units import format_timeframe, parse_timeframe
from lockstep.market.bars import DroppedRowsWarning, LoadOptions, RawBars, read_checked
from lockstep.market.checks import COLUMNS, describe_defects, find_defects, format_time
from lockstep.market.clock import close_bounds, shows_local_clock, step_bounds
from lockstep.market.gaps import gaps_so_far
from lockstep.market.grid import duration, infer_timeframe
from lockstep.market.stamps import CloseStampsWarning, close_stamps, stamp_remark
from lockstep.market.times import instant_ms

if TYPE_CHECKING:
    import pandas as pd

_NAMED: Final = ("symbol", "exchange", "source", "format")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Candles:
    """Bars of one market, oldest first: read-only, C-contiguous arrays of one length n.

    Every rule of `market.checks` holds for every instance, so nothing downstream checks again. Equality and hash
    are those of `digest` and `timeframe_ms`; symbol, exchange and source are labels and take no part.

    timestamp     int64 (n,), milliseconds since 1970 UTC at bar **open**; strictly ascending
    open          float64 (n,), quote currency, > 0
    high          float64 (n,), quote currency, >= open, close, low
    low           float64 (n,), quote currency, <= open, close, high
    close         float64 (n,), quote currency, at bar end (`close_time`, `decision_time`)
    volume        float64 (n,), base currency, >= 0 (0 where the source has none)
    timeframe_ms  bar length in milliseconds
    extra         further columns by name, float64 (n,) each; NaN allowed, where a value is unknown
    symbol        such as "BTC/USDT"; a label
    exchange      such as "kraken"; a label
    source        where the rows came from; a label
    format        what the source was read as, and why, where that was not all usual; a label

    Raises DataError when a rule is broken: which, in how many rows, the first row, and what cures it.
    """

    timestamp: NDArray[np.int64]
    open: Float
    high: Float
    low: Float
    close: Float
    volume: Float
    timeframe_ms: int
    extra: Mapping[str, Float] = field(default_factory=dict)
    symbol: str | None = None
    exchange: str | None = None
    source: str | None = None
    format: str | None = None
    _next_open: int | None = field(default=None, init=False)
    _is_regular: bool = field(default=False, init=False)
    _is_local: bool | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        place = self.source or "candles"
        columns: dict[str, NDArray[Any]] = {name: _column(getattr(self, name), name, place) for name in COLUMNS}
        extra = {name: _column(value, name, place) for name, value in sorted(self.extra.items())}
        _check_shapes({**columns, **extra}, place)
        if taken := sorted(set(extra) & set(COLUMNS)):
            raise DataError(f"{place}: an extra column may not be called {taken[0]!r}: that name is taken. Rename it.")
        if not (isinstance(self.timeframe_ms, int | np.integer) and self.timeframe_ms > 0):
            raise DataError(f"{place}: a timeframe is a positive number of milliseconds; found {self.timeframe_ms!r}.")
        defects = find_defects(columns, int(self.timeframe_ms))
        if defects:
            raise DataError(describe_defects(defects, columns, int(self.timeframe_ms), place=place))
        self._set(columns, extra, int(self.timeframe_ms))

    def _set(
        self,
        columns: Mapping[str, NDArray[Any]],
        extra: Mapping[str, Float],
        timeframe_ms: int,
        next_open: int | None = None,
        is_regular: bool = False,
        is_local: bool | None = None,
    ) -> None:
        for name, value in columns.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "extra", MappingProxyType(dict(extra)))
        object.__setattr__(self, "timeframe_ms", timeframe_ms)
        # When the bar after the last one opens, where these are a part of a series: that ends a bar of a local clock.
        object.__setattr__(self, "_next_open", next_open)
        # Whether each bar lasts exactly one timeframe, as those do that were made from shorter ones.
        object.__setattr__(self, "_is_regular", is_regular)
        # Whether the series that these are a part of shows a local clock; None: they are the whole of it.
        object.__setattr__(self, "_is_local", is_local)

    @classmethod
    def from_arrays(
        cls,
        *,
        timestamp: ArrayLike,
        open: ArrayLike,
        high: ArrayLike,
        low: ArrayLike,
        close: ArrayLike,
        volume: ArrayLike,
        timeframe: str | None = None,
        extra: Mapping[str, ArrayLike] | None = None,
        symbol: str | None = None,
        exchange: str | None = None,
        source: str | None = None,
        format: str | None = None,
    ) -> Candles:
        """Candles of arrays, copied unless they are read-only already.

        timestamp  (n,), whole milliseconds since 1970 UTC at bar open
        open       (n,), quote currency; so are `high`, `low` and `close`
        volume     (n,), base currency; zeros where the source has none
        timeframe  such as "5m"; None infers the most common step between rows
        extra      further columns by name, (n,) each
        symbol     a label
        exchange   a label
        source     a label, named in errors
        format     a label, what the source was read as

        Raises DataError when a rule of `market.checks` is broken, or the timeframe cannot be inferred, or no two rows
        are one declared timeframe apart.
        """
        place = source or "candles"
        raw = {"timestamp": timestamp, "open": open, "high": high, "low": low, "close": close, "volume": volume}
        columns = {name: _column(value, name, place) for name, value in raw.items()}
        further = {name: _column(value, name, place) for name, value in (extra or {}).items()}
        _check_shapes({**columns, **further}, place)
        timeframe_ms = _inferred(columns, place) if timeframe is None else parse_timeframe(timeframe)
        candles = cls(
            **columns,
            timeframe_ms=timeframe_ms,
            extra=further,
            symbol=symbol,
            exchange=exchange,
            source=source,
            format=format,
        )
        _refuse_gaps_only(candles.timestamp, timeframe_ms, place)
        return candles

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, **options: Any) -> Candles:
        """Candles of a pandas frame; `options` are those of `market.load.load_candles`. Needs no pandas itself."""
        chosen = LoadOptions(**options)
        bars, report = read_checked(frame, chosen)
        if report.rows_dropped:
            warnings.warn(f"{bars.place}: {report}", DroppedRowsWarning, stacklevel=2)
        candles = cls.from_bars(bars, chosen)
        if chosen.stamp == "open" and (reason := close_stamps(candles.timestamp, candles.timeframe_ms)):
            warnings.warn(f"{bars.place}: {stamp_remark(reason)}", CloseStampsWarning, stacklevel=2)
        return candles

    @classmethod
    def from_bars(cls, bars: RawBars, options: LoadOptions) -> Candles:
        """Candles of bars that were read, checked against every rule. Raises DataError naming the first bad row."""
        return cls.from_arrays(
            timestamp=bars.columns["timestamp"],
            open=bars.columns["open"],
            high=bars.columns["high"],
            low=bars.columns["low"],
            close=bars.columns["close"],
            volume=bars.columns["volume"],
            extra={name: value for name, value in bars.columns.items() if name not in COLUMNS},
            timeframe=options.timeframe,
            symbol=options.symbol,
            exchange=options.exchange,
            source=bars.place,
            format=bars.format,
        )

    def to_frame(self) -> pd.DataFrame:
        """A pandas frame: columns timestamp (int64 ms), open ... volume and the extras; a plain index. Copies."""
        import pandas as pd

        return pd.DataFrame({name: value.copy() for name, value in self.columns().items()})

    @cached_property
    def digest(self) -> str:
        """BLAKE3 of the columns (names, dtypes, shapes, values), 64 hex digits. Labels and timeframe take no part."""
        return digest_columns(self.columns())

    @cached_property
    def gaps(self) -> NDArray[np.int32]:
        """int32 (n,): stretches of missing bars before each bar, cumulative, so that those within any span are one
        subtraction."""
        gaps = gaps_so_far(self.timestamp, self.timeframe_ms)
        gaps.setflags(write=False)
        return gaps

    @cached_property
    def lowest(self) -> float:
        """The lowest price of all bars, quote currency; infinite where there is none."""
        return float(self.low.min(initial=np.inf))

    @property
    def timeframe(self) -> str:
        """Bar length as text, such as "5m"."""
        whole = self.timeframe_ms % 1_000 == 0
        return format_timeframe(self.timeframe_ms) if whole else f"{self.timeframe_ms}ms"

    @property
    def close_time(self) -> NDArray[np.int64]:
        """int64 (n,): milliseconds UTC from which each bar is certainly complete, so that its values may be used.

        The open of the next bar where that follows at once (a day of summer time has 23 or 25 hours, a month 28 to 31
        days), else open time + timeframe, an hour later where a local clock may have been put back (`market.clock`).
        """
        return self._close_bounds[1]

    @property
    def decision_time(self) -> NDArray[np.int64]:
        """int64 (n,): milliseconds UTC at which a decision at each bar's close is certainly not after that close.

        Equal to `close_time` but for bars of four hours and more, and shorter ones of a local clock, that have no next
        bar to tell when they end.
        """
        return self._close_bounds[0]

    @cached_property
    def _close_bounds(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        if self._is_regular:
            early = late = self.timestamp + self.timeframe_ms
        else:
            early, late = close_bounds(self.timestamp, self.timeframe_ms, self._next_open, self._follows_local_clock)
        early.setflags(write=False)
        late.setflags(write=False)
        return early, late

    @cached_property
    def _follows_local_clock(self) -> bool:
        if self._is_local is not None:
            return self._is_local
        return shows_local_clock(self.timestamp, self.timeframe_ms)

    def columns(self) -> dict[str, NDArray[Any]]:
        """The arrays by name: timestamp, open, high, low, close, volume, then the extras in order of name."""
        return {**{name: getattr(self, name) for name in COLUMNS}, **self.extra}

    def slice(self, start: int, stop: int | None = None) -> Candles:
        """Rows start to stop - 1 (as Python slices count), sharing memory with this instance."""
        chosen = {name: value[start:stop] for name, value in self.columns().items()}
        end = len(self) if stop is None else range(len(self))[start:stop].stop
        return self._like(chosen, self._next_open if end >= len(self) else int(self.timestamp[end]))

    def head(self, n: int) -> Candles:
        """The n oldest rows, or all when there are fewer. `n` is not negative."""
        return self.slice(0, _count(n))

    def tail(self, n: int) -> Candles:
        """The n most recent rows, or all when there are fewer. `n` is not negative."""
        return self.slice(max(0, len(self) - _count(n)), len(self))

    def between(self, start: str | int | None = None, stop: str | int | None = None) -> Candles:
        """Rows whose bar opens at or after `start` and before `stop` (ISO text read as UTC, or milliseconds)."""
        low = 0 if start is None else int(np.searchsorted(self.timestamp, instant_ms(start)))
        high = len(self) if stop is None else int(np.searchsorted(self.timestamp, instant_ms(stop)))
        return self.slice(low, max(low, high))

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Candles:
        """The rows chosen by a mask bool (n,) or by ascending row numbers. Raises DataError when they do not ascend."""
        chosen = {name: value[rows] for name, value in self.columns().items()}
        if np.any(np.diff(chosen["timestamp"]) <= 0):
            raise DataError("row numbers ascend, each at most once; found others. Sort them first.")
        # Fancy indexing has copied already; frozen here, the copy is not copied once more.
        for value in chosen.values():
            value.setflags(write=False)
        return self._like(chosen)

    def with_values(self, values: Mapping[str, ArrayLike]) -> Candles:
        """The same bars with other values: `values` by column name, float64 (n,) each; times and labels stay.

        Raises DataError when the values break a rule of candles.
        """
        columns: dict[str, Any] = {**self.columns(), **values}
        labels = {name: getattr(self, name) for name in _NAMED}
        extra = {name: columns.pop(name) for name in self.extra}
        candles = Candles(**columns, extra=extra, timeframe_ms=self.timeframe_ms, **labels)
        object.__setattr__(candles, "_next_open", self._next_open)
        object.__setattr__(candles, "_is_regular", self._is_regular)
        object.__setattr__(candles, "_is_local", self._is_local)
        return candles

    def regular(self) -> Candles:
        """The same bars, known to last exactly one timeframe each, whatever local clocks and months do."""
        labels = {name: getattr(self, name) for name in _NAMED}
        return _restore(self.columns(), self.timeframe_ms, labels, is_regular=True)

    def alone(self) -> Candles:
        """The same rows as a snapshot has them: nothing beyond the columns says when a bar closes."""
        labels = {name: getattr(self, name) for name in _NAMED}
        return _restore(self.columns(), self.timeframe_ms, labels)

    def _like(self, columns: Mapping[str, NDArray[Any]], next_open: int | None = None) -> Candles:
        """Rows of checked candles need no second check: every rule is one about single rows or their order."""
        labels = {name: getattr(self, name) for name in _NAMED}
        frozen = {name: _frozen(value) for name, value in columns.items()}
        return _restore(frozen, self.timeframe_ms, labels, next_open, self._is_regular, self._follows_local_clock)

    def __len__(self) -> int:
        return int(self.timestamp.shape[0])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Candles):
            return NotImplemented
        return self.timeframe_ms == other.timeframe_ms and self.digest == other.digest

    def __hash__(self) -> int:
        return hash((self.timeframe_ms, self.digest))

    def __repr__(self) -> str:
        label = " ".join(part for part in (self.exchange, self.symbol, self.timeframe) if part)
        if len(self) == 0:
            return f"<Candles {label}: no bars>"
        span = f"{format_time(int(self.timestamp[0]))} to {format_time(int(self.timestamp[-1]))}"
        extras = f", extra: {', '.join(self.extra)}" if self.extra else ""
        form = f", read as {self.format}" if self.format else ""
        return f"<Candles {label}: {len(self):,} bars, {span}{extras}, {self.digest[:12]}{form}>"

    def __reduce__(self) -> tuple[Any, ...]:
        # Copies made by pickling would be writable; they are frozen again on arrival in a worker.
        labels = {name: getattr(self, name) for name in _NAMED}
        state = self._next_open, self._is_regular, self._is_local
        return _restore, (self.columns(), self.timeframe_ms, labels, *state)


def _restore(
    columns: Mapping[str, NDArray[Any]],
    timeframe_ms: int,
    labels: Mapping[str, str | None],
    next_open: int | None = None,
    is_regular: bool = False,
    is_local: bool | None = None,
) -> Candles:
    """Candles of columns that are checked already, without a second check. Pickle stores this function by its name."""
    candles = object.__new__(Candles)
    for name, label in labels.items():
        object.__setattr__(candles, name, label)
    for value in columns.values():
        value.setflags(write=False)
    extra = {name: value for name, value in columns.items() if name not in COLUMNS}
    candles._set({name: columns[name] for name in COLUMNS}, extra, timeframe_ms, next_open, is_regular, is_local)
    return candles


def _count(n: int) -> int:
    if n < 0:
        raise DataError(f"a number of rows is not negative; found {n}.")
    return n


def _read_only(array: NDArray[Any]) -> bool:
    """True when nobody can write through this array or an array it views."""
    base: Any = array
    while isinstance(base, np.ndarray):
        if base.flags.writeable:
            return False
        base = base.base
    return True


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    """`array` itself where it is contiguous and can change no more, else a read-only copy."""
    if array.flags.c_contiguous and _read_only(array):
        return array
    copy = np.array(array, order="C", copy=True)
    copy.setflags(write=False)
    return copy


def _column(values: ArrayLike, name: str, place: str) -> NDArray[Any]:
    """One column in its type, read-only. Raises DataError on what has no exact value of that type."""
    array = np.asarray(values)
    dtype: type[np.generic] = np.int64 if name == "timestamp" else np.float64
    if array.dtype == dtype and array.dtype.isnative:
        return _frozen(array)
    if array.dtype.kind == "u" and name == "timestamp" and array.size and int(array.max()) > np.iinfo(np.int64).max:
        raise DataError(f"{place}: column 'timestamp' does not fit 64 signed bits; found {int(array.max())}.")
    allowed = "iu" if name == "timestamp" else "fiu"
    if array.dtype.kind not in allowed or array.dtype.itemsize > 8:
        what = "whole milliseconds (int64)" if name == "timestamp" else "numbers (float64)"
        hint = "Convert it, or give the table to load_candles, which reads dates, seconds and text."
        # An empty list becomes float64, which says nothing about its type.
        if array.size == 0 and array.dtype.kind == "f":
            return _frozen(array.astype(dtype))
        raise DataError(f"{place}: column {name!r} holds {what}; found dtype {array.dtype}. {hint}")
    return _frozen(array.astype(dtype))


def _check_shapes(columns: Mapping[str, NDArray[Any]], place: str) -> None:
    n = columns["timestamp"].shape
    for name, value in columns.items():
        if value.ndim != 1:
            raise DataError(f"{place}: column {name!r} is one-dimensional; found shape {value.shape}.")
        if value.shape != n:
            raise DataError(
                f"{place}: columns have one length; found {name!r} with {value.shape[0]:,} "
                f"and 'timestamp' with {n[0]:,}."
            )


def require_candles(value: Any, name: str = "candles") -> None:
    """Raises InputError when a value is no `Candles`, saying how to make them."""
    if not isinstance(value, Candles):
        raise InputError(
            f"{name} are ls.Candles; found {type(value).__name__}. Make them with ls.load_candles(...), which takes a "
            "file or a pandas frame."
        )


def _inferred(columns: Mapping[str, NDArray[Any]], place: str) -> int:
    """The timeframe; where it cannot be inferred, a broken rule is the better explanation, if there is one."""
    try:
        return infer_timeframe(columns["timestamp"], place=place)
    except DataError:
        if defects := find_defects(columns):
            text = describe_defects(defects, columns, place=place)
            raise DataError(text) from None
        raise


def _refuse_gaps_only(timestamp: NDArray[np.int64], timeframe_ms: int, place: str) -> None:
    """Raises DataError unless some two rows are one timeframe apart: else the declared timeframe is not theirs."""
    step = np.diff(timestamp)
    if step.size == 0:
        return
    shortest, longest = step_bounds(timeframe_ms)
    if np.any((step >= shortest) & (step <= longest)):
        return
    raise DataError(
        f"{place}: nothing but gaps: no two of {timestamp.size:,} rows are one declared timeframe "
        f"({duration(timeframe_ms)}) apart; the shortest step is {duration(int(step.min()))}. "
        "Declare the timeframe that the rows have, or fetch the missing bars."
    )
