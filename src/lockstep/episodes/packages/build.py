"""Packages from stored candles, trades and order books, in bounded memory.

A package at moment t holds what was known at t by the exchange's clock, nothing else: bars that had closed, trades and
book messages stamped at or before t minus the latency. `stream.PackageBuilder` makes the same packages from events as
they come.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lockstep.core.errors import DataError, InputError
from lockstep.core.types import Float, Int
from lockstep.core.units import parse_timeframe
from lockstep.episodes.packages.batch import PackageBatch
from lockstep.episodes.packages.features import FEATURES, INDICATORS, LOOKBACK, STATE, bar_values, pivots
from lockstep.episodes.packages.layout import COB_COLUMNS, PackageLayout, pool_of
from lockstep.episodes.packages.pool import Ranges
from lockstep.market.candles import Candles
from lockstep.market.orderbook import DepthFeed, DepthMessage, OrderBook, Trades, advance_book
from lockstep.market.rapid_change import RapidChangeRules, RapidChanges, detect_rapid_changes

CHUNK: Final = 4_096


@dataclass(frozen=True, kw_only=True)
class PackagePlan:
    """How packages are made.

    symbol            name of the market
    symbols           names of all markets whose packages share a store; by default this one
    timeframes        timeframes of the bars a package holds; the shortest is the base
    window            bars of every timeframe, and rows of `cnn_features`, >= 1
    ticks             trades a package holds at most, >= 1
    levels            levels of the order book a side at most, >= 1
    pivots            pivots a package holds at most, >= 1
    pivot_side        bars on both sides of a pivot, >= 1
    latency_ms        how long after the exchange's time anything is known here, >= 0
    max_tick_age_ms   trades older than this are no data of the moment
    max_book_age_ms   the same for an order book's last message
    max_missing_bars  bars that may be missing after the last closed one; with more a timeframe is not there
    sample_ms         step in which trades are sampled for the rapid-change detector
    rapid             rules of the detector; a package is premium when something triggered in the last velocity window

    Raises InputError when a value is outside of its range.
    """

    symbol: str
    symbols: tuple[str, ...] = ()
    timeframes: tuple[str, ...]
    window: int = 64
    ticks: int = 64
    levels: int = 20
    pivots: int = 8
    pivot_side: int = 3
    latency_ms: int = 0
    max_tick_age_ms: int = 60_000
    max_book_age_ms: int = 5_000
    max_missing_bars: int = 1
    sample_ms: int = 1_000
    rapid: RapidChangeRules = field(default_factory=RapidChangeRules)

    def __post_init__(self) -> None:
        for name in (
            "window",
            "ticks",
            "levels",
            "pivots",
            "pivot_side",
            "max_tick_age_ms",
            "max_book_age_ms",
            "sample_ms",
        ):
            _whole(name, getattr(self, name), 1)
        for name in ("latency_ms", "max_missing_bars"):
            _whole(name, getattr(self, name), 0)
        lengths = [parse_timeframe(timeframe) for timeframe in self.timeframes]
        if not lengths or len(set(lengths)) != len(lengths):
            raise InputError(f"a plan has one or more timeframes of different lengths; found {self.timeframes!r}.")
        if self.symbols and self.symbol not in self.symbols:
            raise InputError(f"a plan's symbol is one of its symbols {self.symbols!r}; found {self.symbol!r}.")

    @property
    def base(self) -> str:
        """The shortest timeframe: its closes are the moments of decision by default."""
        return min(self.timeframes, key=parse_timeframe)

    def layout(self) -> PackageLayout:
        """Symbols and columns of the packages that this plan makes."""
        return PackageLayout(
            symbols=self.symbols or (self.symbol,),
            timeframes=self.timeframes,
            indicators=INDICATORS,
            features=FEATURES,
            state=STATE,
        )


def _whole(name: str, value: Any, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InputError(f"{name} is a whole number >= {least}; found {value!r}.")


def build_packages(
    plan: PackagePlan,
    candles: Mapping[str, Candles],
    *,
    trades: Trades | None = None,
    depth: DepthFeed | None = None,
    moments: ArrayLike | None = None,
    chunk: int = CHUNK,
) -> Iterator[PackageBatch]:
    """Batches of at most `chunk` packages, oldest first. They claim no hashes: who needs those computes them.

    Memory: one batch, and beside the candles themselves about 150 bytes for each base bar (pivots, rapid changes).

    plan     what packages hold
    candles  candles by timeframe, exactly those of the plan
    trades   trades of the same market, or None
    depth    depth feed of the same market, or None
    moments  int64 (n,), milliseconds UTC, strictly ascending: moments of decision; by default whenever a bar of the
             base timeframe is known
    chunk    packages in a batch, >= 1

    Raises DataError when timeframes do not fit the plan, or moments do not ascend.
    """
    if set(candles) != set(plan.timeframes):
        raise DataError(f"the candles are those of the plan's timeframes {plan.timeframes}; found {tuple(candles)}.")
    for name, bars in candles.items():
        if bars.timeframe_ms != parse_timeframe(name):
            raise DataError(f"the candles called {name!r} have bars of {bars.timeframe}. Give them their own name.")
    available = candles[plan.base].close_time + plan.latency_ms
    times = available if moments is None else np.asarray(moments, np.int64)
    if times.ndim != 1 or np.any(np.diff(times) <= 0):
        raise DataError("moments of decision are one-dimensional and ascend strictly; found others. Sort them.")
    _whole("chunk", chunk, 1)
    # A function of its own, so that arguments are checked at the call and not at the first batch.
    return _batches(plan, candles, trades, depth, times, chunk)


def _batches(
    plan: PackagePlan,
    candles: Mapping[str, Candles],
    trades: Trades | None,
    depth: DepthFeed | None,
    times: Int,
    chunk: int,
) -> Iterator[PackageBatch]:
    base = candles[plan.base]
    # Over the whole series, because both look back further than a batch; all else is cut from the candles by batch.
    rapid = _rapid_changes(plan, base, trades)
    swings, swing_bar = pivots(bar_rows(base, 0, len(base)), plan.pivot_side)
    book = OrderBook()
    waiting: deque[DepthMessage] = deque()
    feed = iter(()) if depth is None else depth.messages()
    layout = plan.layout()
    for at in range(0, times.shape[0], chunk):
        part = times[at : at + chunk]
        pools = {pool_of(name): _bars(plan, candles[name], part) for name in plan.timeframes}
        newest = np.searchsorted(base.close_time + plan.latency_ms, part, side="right") - 1
        fresh = pools[pool_of(plan.base)].there
        pools |= _computed(plan, base, newest, fresh)
        pools["pivot_points"] = _pivot_ranges(plan, swings, swing_bar, newest, fresh)
        pools["tick_data"], price = _ticks(plan, trades, part, base, newest)
        pools["cob_data"] = _books(plan, book, waiting, feed, part)
        yield (
            PackageBatch(
                layout=layout,
                timestamp=part,
                symbol=np.full(part.shape[0], layout.symbols.index(plan.symbol), np.uint16),
                current_price=price,
                has_price=~np.isnan(price),
                is_rapid_change=rapid.within(part, plan.rapid.window_ms),
                pools={name: pools[name] for name in layout.pools()},
            ).compacted()
        )


def _rapid_changes(plan: PackagePlan, base: Candles, trades: Trades | None) -> RapidChanges:
    if trades is None:
        time, price = base.close_time, base.close
    else:
        time, price = trades.sampled(plan.sample_ms)
    return detect_rapid_changes(time + plan.latency_ms, price, plan.rapid)


def bar_rows(bars: Candles, start: int, stop: int) -> Float:
    """Bars start ... stop - 1 as float64 (stop - start, 6): open time, open, high, low, close, volume."""
    columns = (bars.timestamp, bars.open, bars.high, bars.low, bars.close, bars.volume)
    return np.stack([column[start:stop].astype(np.float64) for column in columns], axis=1)


def _bars(plan: PackagePlan, bars: Candles, times: Int) -> Ranges:
    """The last `window` bars closed by each moment; none where they are too old to describe it."""
    available = bars.close_time + plan.latency_ms
    stop = np.searchsorted(available, times, side="right")
    start = np.maximum(stop - plan.window, 0)
    fresh = stop > 0
    fresh[fresh] = times[fresh] - available[stop[fresh] - 1] < (plan.max_missing_bars + 1) * bars.timeframe_ms
    return _cut(fresh, start, stop, lambda low, high: bar_rows(bars, low, high))


def _cut(there: NDArray[np.bool_], start: Int, stop: Int, rows: Callable[[int, int], NDArray[Any]]) -> Ranges:
    """Ranges over the part of a table that some package uses: `rows(low, high)` gives that part."""
    low = int(start[there].min()) if there.any() else 0
    high = int(stop[there].max()) if there.any() else 0
    return Ranges(
        rows=np.ascontiguousarray(rows(low, high)),
        start=np.where(there, start - low, -1),
        stop=np.where(there, stop - low, -1),
    )


def _computed(plan: PackagePlan, base: Candles, newest: Int, fresh: NDArray[np.bool_]) -> dict[str, Ranges]:
    """Features, indicators and state at each moment's newest bar; bars before the first with every value are left out.

    newest  int64 (n,), row of the newest closed bar at each moment, -1 for none
    fresh   bool (n,), whether that bar is recent enough
    """
    begin = LOOKBACK - 1
    full = fresh & (newest >= begin)
    stop = newest + 1
    first = np.maximum(stop - plan.window, begin)
    # LOOKBACK - 1 bars more than are used: values then do not depend on where the batch was cut.
    low = max(0, int(first[full].min(initial=begin if not full.any() else len(base))) - LOOKBACK + 1)
    high = int(stop[full].max(initial=low))
    features, indicators, state = bar_values(bar_rows(base, low, high))

    def part(values: NDArray[Any]) -> Callable[[int, int], NDArray[Any]]:
        return lambda start, end: values[max(0, start - low) : max(0, end - low)]

    return {
        "cnn_features": _cut(full, first, stop, part(features.astype(np.float32))),
        "technical_indicators": _cut(full, newest, stop, part(indicators)),
        "rl_state": _cut(full, newest, stop, part(state.astype(np.float32))),
    }


def _pivot_ranges(plan: PackagePlan, swings: Float, swing_bar: Int, newest: Int, fresh: NDArray[np.bool_]) -> Ranges:
    # By the bar that confirms a swing, not by the swing's own bar, which lies `pivot_side` bars before.
    stop = np.searchsorted(swing_bar, newest, side="right")
    start = np.maximum(stop - plan.pivots, 0)
    return _cut(fresh & (stop > 0), start, stop, lambda low, high: swings[low:high])


def _ticks(plan: PackagePlan, trades: Trades | None, times: Int, base: Candles, newest: Int) -> tuple[Ranges, Float]:
    """The last trades, and the last price known: of a trade, or of a bar's close where that is newer. NaN for none."""
    price = np.full(times.shape[0], np.nan)
    closed = newest >= 0
    price[closed] = base.close[newest[closed]]
    if trades is None:
        none = np.full(times.shape[0], -1, np.int64)
        return Ranges(rows=np.empty((0, 5)), start=none, stop=none), price
    available = trades.timestamp + plan.latency_ms
    stop = np.searchsorted(available, times, side="right")
    oldest = np.searchsorted(available, times - plan.max_tick_age_ms, side="right")
    start = np.maximum(stop - plan.ticks, oldest)
    # A bar's last trade lies before its close time, so a trade of that very time is the newer price.
    traded = stop > 0
    newer = traded.copy()
    newer[traded] = trades.timestamp[stop[traded] - 1] >= np.where(
        closed[traded], base.close_time[np.maximum(newest[traded], 0)], np.iinfo(np.int64).min
    )
    price[newer] = trades.price[stop[newer] - 1]
    return _cut(stop > start, start, stop, trades.rows), price


def _books(
    plan: PackagePlan, book: OrderBook, waiting: deque[DepthMessage], feed: Iterator[DepthMessage], times: Int
) -> Ranges:
    """The top of the book at each moment, as far as its last message is fresh."""
    tops: list[Float] = []
    lengths = np.full(times.shape[0], -1, np.int64)
    # An order book cannot be cut into columns beforehand: it is the sum of all its messages.
    for i, moment in enumerate(times.tolist()):
        sent_by = moment - plan.latency_ms
        # One message beyond the moment is read: it tells that no earlier one is still to come.
        while not waiting or waiting[-1].exchange_ms <= sent_by:
            message = next(feed, None)
            if message is None:
                break
            waiting.append(message)
        advance_book(book, waiting, sent_by)
        if book.time_ms is None or sent_by - book.time_ms > plan.max_book_age_ms:
            continue
        top = book.top(plan.levels)
        if top is not None:
            tops.append(top)
            lengths[i] = top.shape[0]
    stop = np.cumsum(np.maximum(lengths, 0))
    there = lengths >= 0
    rows = np.concatenate(tops) if tops else np.empty((0, len(COB_COLUMNS)))
    start = np.where(there, stop - np.maximum(lengths, 0), -1)
    return Ranges(rows=rows, start=start, stop=np.where(there, stop, -1))
