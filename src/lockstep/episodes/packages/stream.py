"""Packages as events come: the same bytes as `build` makes from the stored data.

Events go in as they become known. A package of a moment is refused when an event from after that moment is in already,
so no package can see its future. An event that comes too late for a package is counted: that package lacks it, and the
one built from stored data does not.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lockstep.core.errors import DataError, LookAheadError
from lockstep.core.types import Float
from lockstep.core.units import parse_timeframe
from lockstep.episodes.packages.build import PackagePlan
from lockstep.episodes.packages.features import INDICATORS, LOOKBACK, bar_values, pivots
from lockstep.episodes.packages.layout import OHLCV_COLUMNS
from lockstep.episodes.packages.package import ModelInputPackage
from lockstep.market.checks import find_defects
from lockstep.market.clock import grid_slack, grid_unit
from lockstep.market.orderbook import DepthMessage, OrderBook, advance_book
from lockstep.market.rapid_change import RapidChangeDetector


class PackageBuilder:
    """Makes the packages of one plan from candles, trades and depth messages as they become known.

    Memory is bounded: windows, the order book, and what the detector looks back on.

    plan    what packages hold
    trades  whether trades will come; rapid changes are then looked for in trades, not in bars
    depth   whether depth messages will come
    late    events so far that came after a package at whose moment they should have been known. While it is 0, packages
            are those that `build_packages` makes; else raise the plan's `latency_ms`
    """

    def __init__(self, plan: PackagePlan, *, trades: bool = False, depth: bool = False) -> None:
        self.plan = plan
        self._bars: dict[str, deque[list[float]]] = {
            name: deque(maxlen=max(plan.window, LOOKBACK, 2 * plan.pivot_side + 1)) for name in plan.timeframes
        }
        self._features: deque[NDArray[np.float32]] = deque(maxlen=plan.window)
        self._newest: tuple[dict[str, float], NDArray[np.float32]] | None = None
        self._pivots: deque[Float] = deque(maxlen=plan.pivots)
        self._trades = trades
        self._ticks: deque[list[float]] = deque(maxlen=plan.ticks)
        self._book = OrderBook() if depth else None
        self._messages: deque[DepthMessage] = deque()
        self._detector = RapidChangeDetector(plan.symbol, plan.rapid)
        self._triggered: int | None = None  # when something was rapid last
        self._sample: tuple[int, float] | None = None  # end of the step that is being sampled, last price in it
        self._seen_until = -(2**62)
        self._sent_until = -(2**62)
        self._made_at = -(2**62)
        self.late = 0

    def add_candle(
        self, timeframe: str, timestamp: int, open: float, high: float, low: float, close: float, volume: float
    ) -> None:
        """Take in a bar that has closed; times ascend within a timeframe.

        Raises DataError when the timeframe is none of the plan's, or the bar breaks a rule of candles.
        """
        if timeframe not in self._bars:
            raise DataError(f"a bar is of one of the plan's timeframes {self.plan.timeframes}; found {timeframe!r}.")
        bars, length = self._bars[timeframe], parse_timeframe(timeframe)
        row = [float(timestamp), float(open), float(high), float(low), float(close), float(volume)]
        columns: dict[str, Any] = {name: np.array([value]) for name, value in zip(OHLCV_COLUMNS, row, strict=True)}
        defects = find_defects({**columns, "timestamp": np.array([timestamp], np.int64)})
        if defects:
            raise DataError(f"a bar of {timeframe} is no candle: {defects[0]}. Leave it out and report its source.")
        if bars:
            _follows(timeframe, timestamp, int(bars[-1][0]))
        bars.append(row)
        self._saw(timestamp + length)
        if timeframe == self.plan.base:
            self._computed(timestamp + length, float(close))

    def _computed(self, closed: int, close: float) -> None:
        """Compute features, state, pivots and rapid changes at the bar that has just closed.

        closed  its close time, milliseconds UTC
        close   its close, quote currency
        """
        # Over the last LOOKBACK bars alone: the same bits as over the whole series (see `features`).
        plan, bars = self.plan, self._bars[self.plan.base]
        rows = np.array(bars)
        if len(bars) >= LOOKBACK:
            features, indicators, state = bar_values(rows[-LOOKBACK:])
            self._features.append(features[-1].astype(np.float32))
            named = dict(zip(INDICATORS, indicators[-1].tolist(), strict=True))
            self._newest = named, state[-1].astype(np.float32)
        turns, confirmed = pivots(rows[-(2 * plan.pivot_side + 1) :], plan.pivot_side)
        self._pivots.extend(turns[confirmed == min(rows.shape[0], 2 * plan.pivot_side + 1) - 1])
        if not self._trades:
            self._observe(closed, close)

    def add_trade(self, trade_id: int, timestamp: int, price: float, quantity: float, side: int) -> None:
        """Take in a trade; ids ascend and times never fall. Raises DataError."""
        if not self._trades:
            raise DataError("this builder was made without trades. Make it with trades=True.")
        last = self._ticks[-1] if self._ticks else None
        if last is not None and (trade_id <= last[0] or timestamp < last[1]):
            raise DataError(
                f"trades ascend; found id {trade_id} at {timestamp} after {int(last[0])} at {int(last[1])}."
            )
        if not (np.isfinite(price) and price > 0.0 and np.isfinite(quantity) and quantity >= 0.0 and abs(side) == 1):
            raise DataError(
                f"a trade has a price > 0, a quantity >= 0 and a side of 1 or -1; "
                f"found {price!r}, {quantity!r}, {side!r}. Leave it out."
            )
        self._ticks.append([float(trade_id), float(timestamp), float(price), float(quantity), float(side)])
        self._saw(timestamp)
        # A step's last price is known when the step is over, which only a later trade or package shows.
        step = self.plan.sample_ms
        end = (timestamp // step + 1) * step
        if self._sample is not None and self._sample[0] < end:
            self._observe(*self._sample)
        self._sample = end, float(price)

    def add_depth(self, message: DepthMessage) -> None:
        """Take in a message of the depth feed, in feed order. Raises DataError, and then nothing has changed."""
        if self._book is None:
            raise DataError("this builder was made without an order book. Make it with depth=True.")
        message.check()
        if 0 < message.exchange_ms < self._sent_until:
            raise DataError(
                f"messages come in feed order; found one of {message.exchange_ms} after one of {self._sent_until}."
            )
        self._messages.append(message)
        if message.exchange_ms > 0:
            self._sent_until = message.exchange_ms
            self._saw(message.exchange_ms)
            # No package may be older than what was taken in, so nothing has to wait.
            advance_book(self._book, self._messages, message.exchange_ms)

    def _saw(self, exchange_ms: int) -> None:
        available = exchange_ms + self.plan.latency_ms
        self.late += available <= self._made_at
        self._seen_until = max(self._seen_until, available)

    def _observe(self, time: int, price: float) -> None:
        event = self._detector.update(time + self.plan.latency_ms, price)
        if event is not None:
            self._triggered = event.timestamp

    def package(self, moment: int) -> ModelInputPackage:
        """The package of a moment (milliseconds UTC, later than the one before).

        Raises LookAheadError when something known only later has been taken in; DataError when the moment is not later
        than that of the package before.
        """
        if self._seen_until > moment:
            raise LookAheadError(
                f"a package at {moment} would see its future: something known at {self._seen_until} was taken in. "
                "Make each package before taking in what comes after it."
            )
        if moment <= self._made_at:
            raise DataError(f"packages ascend in time; asked for {moment} after {self._made_at}.")
        self._made_at = moment
        tables = {name: self._table(name, moment) for name in self.plan.timeframes}
        bars = {name: table for name, table in tables.items() if table is not None}
        fresh = self.plan.base in bars
        named, state = (None, None) if self._newest is None or not fresh else self._newest
        return ModelInputPackage(
            timestamp=moment,
            symbol=self.plan.symbol,
            current_price=self._price(),
            ohlcv_data=bars or None,
            tick_data=self._tick_table(moment),
            cob_data=self._book_table(moment),
            technical_indicators=named,
            pivot_points=np.array(self._pivots) if self._pivots and fresh else None,
            cnn_features=None if named is None else np.array(self._features),
            rl_state=state,
            is_rapid_change=self._is_rapid(moment),
        )

    def _table(self, timeframe: str, moment: int) -> Float | None:
        bars, length = self._bars[timeframe], parse_timeframe(timeframe)
        if not bars:
            return None
        available = int(bars[-1][0]) + length + self.plan.latency_ms
        if moment - available >= (self.plan.max_missing_bars + 1) * length:
            return None
        return np.array(bars)[-self.plan.window :]

    def _price(self) -> float | None:
        bars = self._bars[self.plan.base]
        closed = int(bars[-1][0]) + parse_timeframe(self.plan.base) if bars else None
        if self._ticks and (closed is None or self._ticks[-1][1] >= closed):
            return self._ticks[-1][2]
        return bars[-1][4] if bars else None

    def _tick_table(self, moment: int) -> Float | None:
        oldest = moment - self.plan.latency_ms - self.plan.max_tick_age_ms
        rows = [row for row in self._ticks if row[1] > oldest]
        return np.array(rows) if rows else None

    def _book_table(self, moment: int) -> Float | None:
        if self._book is None:
            return None
        sent_by = moment - self.plan.latency_ms
        if self._book.time_ms is None or sent_by - self._book.time_ms > self.plan.max_book_age_ms:
            return None
        return self._book.top(self.plan.levels)

    def _is_rapid(self, moment: int) -> bool:
        if self._sample is not None and self._sample[0] + self.plan.latency_ms <= moment:
            self._observe(*self._sample)
            self._sample = None
        return self._triggered is not None and self._triggered > moment - self.plan.rapid.window_ms


def _follows(timeframe: str, timestamp: int, last: int) -> None:
    """Raises DataError unless a bar may come after another, by the rules of `checks`: later, and on its grid."""
    length = parse_timeframe(timeframe)
    if timestamp < last + length - grid_slack(length):
        raise DataError(f"bars of {timeframe} ascend; found {timestamp} after {last}. Sort them.")
    if (timestamp - last) % grid_unit(length):
        raise DataError(
            f"bars of {timeframe} lie on one grid; found {timestamp} after {last}, which is not a whole number of "
            "bars later. Check the timeframe."
        )
