"""What a strategy sees: the candles up to the decision bar, and every other series as it was known then.

    n              bars of the view; a decision at bar t is taken at that bar's close, candles.decision_time[t]
    view.close     float64 (n,), read-only; likewise open, high, low, volume, timestamp (int64 ms UTC, bar open)
    view["1h"]     a further series, aligned: row t holds what was known at the close of base bar t

Arrays cannot be written to: a strategy that changed its input would change it for every other parameter set.
Indicators are shared by all parameter sets of a process: see `strategies.shared_values`.
"""

from __future__ import annotations

import operator
import weakref
from collections.abc import Callable, Hashable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from lockstep.core.errors import DataError, StrategyError
from lockstep.core.hashing import digest_array
from lockstep.core.units import format_timeframe, parse_timeframe
from lockstep.market import indicators
from lockstep.market.candles import Candles
from lockstep.market.resampling import asof_index, take_asof
from lockstep.strategies.inputs import (
    Events,
    EventSeries,
    HigherTimeframe,
    Input,
    Series,
    higher_bars,
    known_by,
    known_from,
)
from lockstep.strategies.shared_values import SHARED

if TYPE_CHECKING:
    from numpy.typing import NDArray

T = TypeVar("T")


class Aligned:
    """A further series seen from the base bars.

    index  int64 (n,): row of the series that was the last one known at the close of each base bar; -1 before the first
    """

    def __init__(self, index: NDArray[np.int64]) -> None:
        self.index = _read_only(index)

    def align(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Bring `values` (one per row of the series) to the base bars: float64 (n,), NaN before the first known row."""
        return _read_only(take_asof(values, self.index))


class AlignedBars(Aligned):
    """Bars of another series. `open` .. `volume` are aligned, float64 (n,), NaN before the first closed bar.

    bars   the series' own bars that have closed by the end of the view: work out indicators there and `align` them
    """

    def __init__(self, bars: Candles, index: NDArray[np.int64]) -> None:
        super().__init__(index)
        self.bars = bars

    def __getattr__(self, name: str) -> NDArray[np.float64]:
        if name not in {"open", "high", "low", "close", "volume"}:
            raise AttributeError(
                f"an aligned series has open, high, low, close, volume, index, bars and align; found {name!r}"
            )
        aligned = self.align(getattr(self.bars, name))
        self.__dict__[name] = aligned  # found without __getattr__ from now on
        return aligned


class AlignedEvents(Aligned):
    """Events; `series["column"]` is that column of the last event known at each base bar, NaN before the first."""

    def __init__(self, events: Events, index: NDArray[np.int64]) -> None:
        super().__init__(index)
        self.events = events

    def __getitem__(self, column: str) -> NDArray[np.float64]:
        if column not in self.events.columns:
            raise StrategyError(f"this event series has no column {column!r}; it has {', '.join(self.events.columns)}")
        return self.align(self.events.columns[column])


class MarketView:
    """Candles and further series up to one decision bar, the last. Cheap to make; indicators are worked out once."""

    def __init__(
        self,
        candles: Candles,
        declared: Mapping[str, Input] = MappingProxyType({}),
        series: Mapping[str, Series] = MappingProxyType({}),
    ) -> None:
        """The view a strategy with the inputs `declared` gets; `series` is what the caller supplies, by name.

        Raises StrategyError for a missing or unknown series, or one of the wrong kind.
        """
        # A series that nothing reads is most likely a slip in the name of one that is read.
        for name in series:
            if name not in declared:
                listing = ", ".join(declared) or "none"
                raise StrategyError(f"the strategy declares no input {name!r}; it declares {listing}")
        self.candles = candles
        self._declared = declared
        # What lies after the decision bar is in no attribute of a view. Memory that slices share may still hold it:
        # therefore the look-ahead test replaces the future as well as cutting it off.
        end = int(candles.decision_time[-1]) if len(candles) else 0
        self._series = {name: known_by(item, end) for name, item in series.items()}
        self._sources = {
            name: _source(name, declaration, self._series.get(name), candles) for name, declaration in declared.items()
        }
        self._aligned: dict[str, AlignedBars | AlignedEvents] = {}
        self._digests: dict[str, str] = {}
        self._owner: object | None = None
        self.timeframe_ms = candles.timeframe_ms
        self.timestamp: NDArray[np.int64] = candles.timestamp
        self.open: NDArray[np.float64] = candles.open
        self.high: NDArray[np.float64] = candles.high
        self.low: NDArray[np.float64] = candles.low
        self.close: NDArray[np.float64] = candles.close
        self.volume: NDArray[np.float64] = candles.volume

    def __len__(self) -> int:
        return len(self.candles)

    @property
    def extra(self) -> Mapping[str, NDArray[np.float64]]:
        """Further columns of the candles, float64 (n,) each (order-book imbalance, spread, ...)."""
        return self.candles.extra

    def __getitem__(self, name: str) -> Any:
        """The further series `name`, aligned: AlignedBars or AlignedEvents. Raises StrategyError for another name."""
        if name not in self._aligned:
            if name not in self._sources:
                raise StrategyError(f"the view has no series {name!r}; it has {', '.join(self._sources) or 'none'}")
            self._aligned[name] = self._align(self._sources[name])
        return self._aligned[name]

    def _align(self, source: Series) -> AlignedBars | AlignedEvents:
        # Everything is compared with the moment of decision, the close of the base bar.
        index = asof_index(known_from(source), self.candles.decision_time)
        return AlignedEvents(source, index) if isinstance(source, Events) else AlignedBars(source, index)

    def window(self, start: int, stop: int) -> MarketView:
        """The view of bars `start` .. `stop` - 1 alone, as it was at the close of the last of them."""
        return MarketView(self.candles.slice(start, stop), self._declared, self._series)

    def replaced(self, candles: Candles, change: Callable[[Series], Series]) -> MarketView:
        """The same strategy's view of other candles, with `change` applied to each series the caller supplied."""
        return MarketView(candles, self._declared, {name: change(item) for name, item in self._series.items()})

    def once(self, key: Hashable, compute: Callable[[], T]) -> T:
        """`compute()`, worked out once per view and `key`; arrays, alone or in a tuple, come back read-only.

        `compute` may use this view and the key alone. Its value may be let go of where memory is short
        (`shared_values.LIMIT`) and is computed again then.
        """
        if self._owner is None:
            self._owner = object()
            # Not at exit: then the whole store goes.
            weakref.finalize(self, SHARED.forget, self._owner).atexit = False
        value: T = SHARED.value(self._owner, key, compute)
        return value

    def _indicator(
        self, name: str, columns: tuple[str, ...], period: int, function: Callable[..., NDArray[np.float64]]
    ) -> NDArray[np.float64]:
        """`function` of these columns and `period`, computed once per process for columns of these very bytes."""
        arrays = [getattr(self, column) for column in columns]
        try:
            # 20.0 is the same key as 20, and is refused by the indicator, whoever asked for 20 before.
            key = name, operator.index(period)
        except TypeError:
            return function(*arrays, period)
        for column, array in zip(columns, arrays, strict=True):
            if column not in self._digests:
                self._digests[column] = digest_array(array)
        owner = tuple(self._digests[column] for column in columns)

        def compute() -> NDArray[np.float64]:
            # A view cannot be made writable where its base is read-only, and a kernel's result is not its own base.
            # So one strategy cannot change what others read.
            return _read_only(np.array(function(*arrays, period))).view()

        values: NDArray[np.float64] = SHARED.value(owner, key, compute)
        return values

    # Indicators of the base candles, float64 (n,), NaN where not yet defined; see market.indicators.

    def atr(self, period: int = 14) -> NDArray[np.float64]:
        """Average true range by Wilder's smoothing, price units; forgets the start slowly (`wilder_warmup`)."""
        return self._indicator("atr", ("high", "low", "close"), period, indicators.wilder_atr)

    def rolling_atr(self, period: int = 14) -> NDArray[np.float64]:
        """Average true range as the plain mean of the last `period` true ranges (R1.9), price units."""
        return self._indicator("rolling_atr", ("high", "low", "close"), period, indicators.rolling_atr)

    def sma(self, period: int) -> NDArray[np.float64]:
        """Simple moving average of the close."""
        return self._indicator("sma", ("close",), period, indicators.sma)

    def ema(self, period: int) -> NDArray[np.float64]:
        """Exponential moving average of the close."""
        return self._indicator("ema", ("close",), period, indicators.ema)

    def rsi(self, period: int = 14) -> NDArray[np.float64]:
        """Relative strength index of the close, 0 to 100."""
        return self._indicator("rsi", ("close",), period, indicators.rsi)

    def highest(self, period: int) -> NDArray[np.float64]:
        """Highest high of the last `period` bars, the decision bar included."""
        return self._indicator("highest", ("high",), period, indicators.rolling_max)

    def lowest(self, period: int) -> NDArray[np.float64]:
        """Lowest low of the last `period` bars, the decision bar included."""
        return self._indicator("lowest", ("low",), period, indicators.rolling_min)

    def mean_volume(self, period: int = 20) -> NDArray[np.float64]:
        """Mean volume of the last `period` bars, the decision bar included."""
        return self._indicator("mean_volume", ("volume",), period, indicators.rolling_mean)


def _source(name: str, declaration: Input, series: Series | None, candles: Candles) -> Series:
    if isinstance(declaration, EventSeries):
        if not isinstance(series, Events):
            raise StrategyError(f"input {name!r} is an event series: give inputs={{{name!r}: Events(...)}}")
        missing = [column for column in declaration.columns if column not in series.columns]
        if missing:
            raise DataError(f"input {name!r} lacks the event column {missing[0]!r}; it has {', '.join(series.columns)}")
        return series
    if series is None and isinstance(declaration, HigherTimeframe):
        return higher_bars(candles, declaration.timeframe)
    if not isinstance(series, Candles):
        kind = "nothing" if series is None else type(series).__name__
        raise StrategyError(f"input {name!r} is a candle series: give inputs={{{name!r}: candles}}; found {kind}")
    if declaration.timeframe is not None and series.timeframe_ms != parse_timeframe(declaration.timeframe):
        raise StrategyError(
            f"input {name!r} must have bars of {declaration.timeframe}; found {format_timeframe(series.timeframe_ms)}"
        )
    return series


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    array.setflags(write=False)
    return array
