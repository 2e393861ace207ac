"""Order books and trades as a recorder wrote them, and the book as it was known at a moment, without a look ahead.

A depth feed is a sequence of messages: a snapshot holds whole sides, a diff the new quantities of some prices (0
removes one). Every message names the range of update ids that it covers. The rule of synchronisation is the exchange's
own (Binance, "How to manage a local order book correctly"):

- A snapshot of id S is asked for while diffs already arrive, so some diffs that came *before* it in the feed reach
  beyond S. They are applied after it; the others are in it already. Leaving them out crosses the book.
- Each diff begins where the one before ended, or the book is not known any more until the next snapshot.

Times. A decision is made by the exchange's clock, so a book counts as known at the exchange's time of its last message
(plus a latency that the caller may add), never at the recorder's: a recorder's clock that is slow makes messages look
known before they were sent (1.3 s in the shared Bitcoin files). A snapshot carries no exchange time: the book it
makes is known from the next message that has one and reaches up to it. Diffs that arrive after a snapshot which already
holds them are older than the book: at their times nobody could know it.

Depth. A feed sends only what changes, so price levels outside a snapshot are known only if an update for them arrived
later. `BookReport.beyond` counts the states whose best price is such a level. A side keeps its best `max_levels`
levels, however long the feed is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lockstep.core.compiled import kernel
from lockstep.core.errors import DataError
from lockstep.core.types import Float, Int

BID: Final = 1
ASK: Final = -1
_KEPT_MESSAGES: Final = 4_096  # diffs that may come before the snapshot that they follow
_FIRST_CAPACITY: Final = 4_096
_MAX_LEVELS: Final = 16_384


@dataclass(frozen=True, kw_only=True, eq=False)
class Trades:
    """Trades of one market, oldest first; read-only.

    trade_id   int64 (n,), strictly ascending
    timestamp  int64 (n,), milliseconds UTC by the exchange's clock; never falling
    price      float64 (n,), quote currency, > 0
    quantity   float64 (n,), base currency, >= 0
    side       int8 (n,), 1 where the buyer took, -1 where the seller did

    Raises DataError when a rule is broken: which, and the first row.
    """

    trade_id: Int
    timestamp: Int
    price: Float
    quantity: Float
    side: NDArray[np.int8]

    def __post_init__(self) -> None:
        _columns_checked(self, "trades", {"trade_id": np.int64, "timestamp": np.int64, "side": np.int8})
        _each(np.diff(self.trade_id) > 0, "trades", "trade ids ascend, each once", "Sort the rows by id.", after=1)
        _each(np.diff(self.timestamp) >= 0, "trades", "times never fall", "Sort the rows by time and id.", after=1)
        _each(self.price > 0.0, "trades", "prices are greater than zero", "Leave the row out.")
        _each(self.quantity >= 0.0, "trades", "quantities are not negative", "Leave the row out.")
        _each(np.abs(self.side) == 1, "trades", "a side is 1 (buyer took) or -1", "Check the column's meaning.")

    def __len__(self) -> int:
        return int(self.trade_id.shape[0])

    def sampled(self, step_ms: int) -> tuple[Int, Float]:
        """The last price of every step in which there was a trade, and the step's end, when it is known.

        Steps begin at multiples of `step_ms` since 1970. Most returns from trade to trade are zero, which is no scale
        to measure volatility with; `rapid_change` is meant for these samples, or for bars.
        """
        step = self.timestamp // step_ms
        last = np.flatnonzero(np.append(step[1:] != step[:-1], np.ones(min(1, step.shape[0]), np.bool_)))
        return (step[last] + 1) * step_ms, self.price[last]

    def rows(self, start: int, stop: int) -> Float:
        """float64 (stop - start, 5): trade id, time, price, quantity, side: the form of `tick_data`."""
        part = slice(start, stop)
        columns = (self.trade_id, self.timestamp, self.price, self.quantity, self.side)
        return np.stack([column[part].astype(np.float64) for column in columns], axis=1)


@dataclass(frozen=True, kw_only=True, eq=False)
class DepthFeed:
    """A recorded depth feed in feed order; read-only. Consecutive rows with one pair of ids are one message.

    local_ns         int64 (n,), nanoseconds by the recorder's clock; informative only
    exchange_ms      int64 (n,), milliseconds UTC by the exchange's clock, 0 where the message has none (snapshots)
    is_snapshot      bool (n,), true in rows of a snapshot, false in those of a diff
    first_update_id  int64 (n,), first of the ids that the row's message covers
    final_update_id  int64 (n,), last of them
    side             int8 (n,), 1 bid, -1 ask
    price            float64 (n,), quote currency, > 0
    quantity         float64 (n,), base currency, >= 0; 0 removes the level

    Raises DataError when a rule is broken: which, and the first row.
    """

    local_ns: Int
    exchange_ms: Int
    is_snapshot: NDArray[np.bool_]
    first_update_id: Int
    final_update_id: Int
    side: NDArray[np.int8]
    price: Float
    quantity: Float

    def __post_init__(self) -> None:
        whole = ("local_ns", "exchange_ms", "first_update_id", "final_update_id")
        dtypes: dict[str, Any] = {**dict.fromkeys(whole, np.int64), "side": np.int8, "is_snapshot": np.bool_}
        _columns_checked(self, "depth feed", dtypes)
        _each(self.price > 0.0, "depth feed", "prices are greater than zero", "Leave the row out.")
        _each(self.quantity >= 0.0, "depth feed", "quantities are not negative", "Leave the row out.")
        _each(np.abs(self.side) == 1, "depth feed", "a side is 1 (bid) or -1 (ask)", "Check the column's meaning.")
        ordered = self.first_update_id <= self.final_update_id
        _each(ordered, "depth feed", "a message's first id is not after its last", "Leave the message out.")
        stamped = self.exchange_ms > 0
        _each(stamped | self.is_snapshot, "depth feed", "diffs bear the exchange's time", "Leave the message out.")
        newest = np.maximum.accumulate(np.where(stamped, self.exchange_ms, 0))
        rising = ~stamped | (self.exchange_ms >= newest)
        _each(rising, "depth feed", "the exchange's times never fall in feed order", "Keep the feed's order.")

    def __len__(self) -> int:
        return int(self.price.shape[0])

    def messages(self) -> Iterator[DepthMessage]:
        """The feed's messages in feed order; their arrays are views."""
        starts = np.flatnonzero(_boundaries(self))
        stops = np.append(starts[1:], len(self))
        for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
            rows = slice(start, stop)
            yield DepthMessage(
                local_ns=int(self.local_ns[start]),
                exchange_ms=int(self.exchange_ms[start]),
                is_snapshot=bool(self.is_snapshot[start]),
                first_update_id=int(self.first_update_id[start]),
                final_update_id=int(self.final_update_id[start]),
                side=self.side[rows],
                price=self.price[rows],
                quantity=self.quantity[rows],
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class DepthMessage:
    """One message of a depth feed; the attributes are those of `DepthFeed`, arrays (levels,)."""

    local_ns: int
    exchange_ms: int
    is_snapshot: bool
    first_update_id: int
    final_update_id: int
    side: NDArray[np.int8]
    price: Float
    quantity: Float

    def check(self) -> None:
        """Check the rules of a feed for a message that comes alone. Raises DataError naming the rule and the row."""
        levels = {name: getattr(self, name) for name in ("side", "price", "quantity")}
        if all(np.shape(column) == (0,) for column in levels.values()):
            levels = dict.fromkeys(levels, np.ones(1, np.int8))  # ids and times are checked all the same
        names = (item.name for item in fields(self) if item.name not in levels)
        size = np.shape(levels["price"])[0]
        DepthFeed(**{name: np.full(size, getattr(self, name)) for name in names}, **levels)


@dataclass(frozen=True, kw_only=True)
class BookReport:
    """What a book met in its messages: facts about the feed; nothing is repaired.

    messages       messages seen
    applied        diffs that changed the book
    reordered      diffs that came before a snapshot and were applied after it
    outdated       diffs that a snapshot already held
    gaps           times that ids were missing, so that the book was unknown until the next snapshot
    crossed        states in which the best bid was not below the best ask; they are never given out
    beyond         states in which a best price lay beyond the levels that the last snapshot told or that were kept:
                   levels that have not changed since may be missing there
    clock_slow_ms  how far the recorder's clock is behind the exchange's at least; 0 when it need not be
    """

    messages: int
    applied: int
    reordered: int
    outdated: int
    gaps: int
    crossed: int
    beyond: int
    clock_slow_ms: float


class OrderBook:
    """A limit order book kept from messages in feed order; `top` is None while it is not known.

    Snapshots may come at any time, also again. Diffs of the last messages are kept for the next one.

    kept_messages  how many of the last diffs are kept, >= 1
    max_levels     how many levels a side are kept, the best ones, >= 1
    """

    def __init__(self, *, kept_messages: int = _KEPT_MESSAGES, max_levels: int = _MAX_LEVELS) -> None:
        for name, value in (("kept_messages", kept_messages), ("max_levels", max_levels)):
            if value < 1:
                raise DataError(f"{name} is a whole number >= 1; found {value!r}.")
        self._recent: deque[DepthMessage] = deque(maxlen=kept_messages)
        self._sides = {BID: _Side(1.0, max_levels), ASK: _Side(-1.0, max_levels)}
        self._synced = False
        self._last_id = -1
        self.time_ms: int | None = None
        self._counts = dict.fromkeys(("messages", "applied", "reordered", "outdated", "gaps", "crossed", "beyond"), 0)
        self._clock_slow_ms = 0.0

    @property
    def update_id(self) -> int | None:
        """Id of the last update in the book; None while it is not known."""
        return self._last_id if self._synced else None

    @property
    def crossed(self) -> bool:
        """Whether the best bid is at or above the best ask: such a book is no book."""
        bids, asks = self._sides[BID], self._sides[ASK]
        return bids.size > 0 and asks.size > 0 and bids.best >= asks.best

    def apply(self, message: DepthMessage) -> None:
        """Change the book by one message, the next in feed order, or hold it for the next snapshot."""
        self._counts["messages"] += 1
        if message.exchange_ms > 0 and message.local_ns > 0:
            self._clock_slow_ms = max(self._clock_slow_ms, message.exchange_ms - message.local_ns / 1e6)
        if message.is_snapshot:
            self._restart(message)
        else:
            if self._synced:
                self._follow(message)
                # A message that ends before the snapshot does is older than the book.
                if self._synced and (self.time_ms is not None or message.final_update_id >= self._last_id):
                    self.time_ms = message.exchange_ms
            # Held even where it was applied: the next snapshot may be older than it.
            self._recent.append(message)
        if self._synced:
            self._counts["crossed"] += self.crossed
            self._counts["beyond"] += any(side.beyond for side in self._sides.values())

    def _restart(self, snapshot: DepthMessage) -> None:
        for side, book in self._sides.items():
            book.clear()
            book.set(snapshot.price[snapshot.side == side], snapshot.quantity[snapshot.side == side])
            book.reach()
        self._synced, self._last_id = True, snapshot.final_update_id
        # No message tells when a snapshot was true; the next stamped one will.
        self.time_ms = None
        for message in self._recent:
            if message.final_update_id > snapshot.final_update_id and self._synced:
                self._follow(message)
                self._counts["reordered"] += 1

    def _follow(self, message: DepthMessage) -> None:
        if message.final_update_id <= self._last_id:
            self._counts["outdated"] += 1
            return
        # An id is missing, so some level may be wrong without a sign; a book that may be wrong is not shown.
        if message.first_update_id > self._last_id + 1:
            self._counts["gaps"] += 1
            self._synced, self.time_ms = False, None
            return
        for side, book in self._sides.items():
            book.set(message.price[message.side == side], message.quantity[message.side == side])
        self._last_id = message.final_update_id
        self._counts["applied"] += 1

    def top(self, levels: int) -> Float | None:
        """The best levels, float64 (k, 4): bid price, bid quantity, ask price, ask quantity, best first.

        k is `levels`, or less where a side has fewer. None while the book is not known, is empty, or is crossed.
        """
        bids, asks = self._sides[BID], self._sides[ASK]
        if not self._synced or self.time_ms is None or self.crossed:
            return None
        k = min(levels, bids.size, asks.size)
        if k == 0:
            return None
        return np.ascontiguousarray(np.stack([*bids.best_levels(k), *asks.best_levels(k)], axis=1))

    def report(self) -> BookReport:
        """Counts over all messages so far, and the least lag of the recorder's clock in milliseconds."""
        return BookReport(**self._counts, clock_slow_ms=self._clock_slow_ms)


class _Side:
    """One side's levels, best **last**: most changes happen near the best, and then little has to be moved.

    Prices of asks are held with a minus sign, so that both sides ascend towards their best. `_edge` is the worst price
    down to which every level is known, with that sign.
    """

    def __init__(self, sign: float, max_levels: int) -> None:
        self._max_levels, self._edge = max_levels, -np.inf
        self._price = np.empty(_FIRST_CAPACITY)
        self._quantity = np.empty(_FIRST_CAPACITY)
        self.size = 0
        self._sign = sign

    @property
    def best(self) -> float:
        return float(self._price[self.size - 1]) * self._sign

    @property
    def beyond(self) -> bool:
        """Whether the best level lies where levels may be missing."""
        return self.size > 0 and bool(self._price[self.size - 1] < self._edge)

    def clear(self) -> None:
        self.size, self._edge = 0, -np.inf

    def reach(self) -> None:
        """Every level down to the worst one held is known."""
        self._edge = float(self._price[0]) if self.size else -np.inf

    def best_levels(self, k: int) -> tuple[Float, Float]:
        rows = slice(self.size - k, self.size)
        return self._price[rows][::-1] * self._sign, self._quantity[rows][::-1].copy()

    def set(self, price: Float, quantity: Float) -> None:
        if self.size + price.shape[0] > self._price.shape[0]:
            grown = 2 * (self.size + price.shape[0])
            # np.resize fills the new room with repetitions; nothing beyond `size` is ever read.
            self._price, self._quantity = np.resize(self._price, grown), np.resize(self._quantity, grown)
        self.size = int(set_levels(self._price, self._quantity, self.size, price * self._sign, quantity))
        if self.size > self._max_levels:
            # A quarter at once, so that the copy is rare. Levels may be missing beyond those that stay, so the edge
            # moves to the worst of them.
            room = self._max_levels - self._max_levels // 4
            rows = slice(self.size - room, self.size)
            self._price, self._quantity = self._price[rows].copy(), self._quantity[rows].copy()
            self.size = room
            self._edge = max(self._edge, float(self._price[0]))


def set_levels_python(held: Float, amounts: Float, size: int, price: Float, quantity: Float) -> int:
    """Set quantities of prices in a side's levels, which ascend; a quantity of 0 removes. Returns the new size.

    held      float64 (capacity,), the first `size` are prices, strictly ascending; capacity >= size + len(price)
    amounts   float64 (capacity,), their quantities
    size      levels held
    price     float64 (k,), prices to set, any order; the later of equal ones counts
    quantity  float64 (k,), >= 0
    """
    # One price after the other, not a merge of two sorted lists: a diff has a few prices, a side has thousands, and
    # the later of two equal prices counts.
    for i in range(price.shape[0]):
        low, high = 0, size
        while low < high:
            middle = (low + high) // 2
            if held[middle] < price[i]:
                low = middle + 1
            else:
                high = middle
        # Equality of floats is meant: both prices were read from the same decimal text.
        there = low < size and held[low] == price[i]
        if quantity[i] == 0.0:
            # Removing a price that is not held is no error: it may lie beyond the snapshot's worst level.
            if there:
                for k in range(low, size - 1):
                    held[k] = held[k + 1]
                    amounts[k] = amounts[k + 1]
                size -= 1
        elif there:
            amounts[low] = quantity[i]
        else:
            # Only the levels better than this one move, and most changes happen near the best.
            for k in range(size, low, -1):
                held[k] = held[k - 1]
                amounts[k] = amounts[k - 1]
            held[low] = price[i]
            amounts[low] = quantity[i]
            size += 1
    return size


set_levels = kernel(set_levels_python)


def replay_book(
    feed: DepthFeed, moments: ArrayLike, levels: int, *, latency_ms: int = 0
) -> tuple[list[Float | None], NDArray[np.int64], BookReport]:
    """The book as it was known at each moment.

    feed        the messages
    moments     int64 (n,), milliseconds UTC, never falling
    levels      levels a side
    latency_ms  how long after the exchange's time a message counts as known

    Returns for each moment the top of the book (see `OrderBook.top`), the time of its last message (int64 (n,),
    milliseconds UTC, -1 where there is no book), and the report over all messages that were applied. Raises DataError
    when moments fall.
    """
    times = np.asarray(moments, np.int64)
    _each(np.diff(times) >= 0, "moments", "they never fall", "Sort them.", after=1)
    book, waiting = OrderBook(), deque(feed.messages())
    tops: list[Float | None] = []
    last = np.full(times.shape[0], -1, np.int64)
    for i, moment in enumerate(times.tolist()):
        advance_book(book, waiting, moment - latency_ms)
        tops.append(book.top(levels))
        if tops[-1] is not None and book.time_ms is not None:
            last[i] = book.time_ms
    return tops, last, book.report()


def advance_book(book: OrderBook, waiting: deque[DepthMessage], exchange_ms: int) -> None:
    """Apply the messages that were sent by a time of the exchange's clock; the others go on waiting.

    A snapshot, which has no time, is taken when a stamped message behind it is: before, nobody could know it.
    """
    while waiting:
        stamped = next((k for k, message in enumerate(waiting) if message.exchange_ms > 0), None)
        if stamped is None or waiting[stamped].exchange_ms > exchange_ms:
            return
        for _ in range(stamped + 1):
            book.apply(waiting.popleft())


def load_depth(path: str | Path) -> DepthFeed:
    """A depth feed from Parquet: the columns of `DepthFeed`, `qty` for the quantity. Raises DataError."""
    table = _read_columns(path, [item.name if item.name != "quantity" else "qty" for item in fields(DepthFeed)])
    return DepthFeed(**table)


def load_trades(path: str | Path) -> Trades:
    """Trades from Parquet: trade_id, timestamp, price, qty, buyer_is_maker. Raises DataError."""
    table = _read_columns(path, ["trade_id", "timestamp", "price", "qty", "buyer_is_maker"])
    # A buyer who made the price was hit by a seller who took it.
    table["side"] = np.where(table.pop("buyer_is_maker"), -1, 1).astype(np.int8)
    return Trades(**table)


def _read_columns(path: str | Path, names: list[str]) -> dict[str, NDArray[Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, columns=names)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: it cannot be read as Parquet ({error}). Check the path and the file.") from error
    missing = sorted(set(names) - set(table.column_names))
    if missing:
        raise DataError(f"{path}: the columns {names} are needed; found none called {missing[0]!r}.")
    return {("quantity" if name == "qty" else name): table.column(name).to_numpy() for name in names}


def _boundaries(feed: DepthFeed) -> NDArray[np.bool_]:
    """Which rows begin a message."""
    begins = np.zeros(len(feed), np.bool_)
    begins[:1] = True
    for column in (feed.first_update_id, feed.final_update_id, feed.is_snapshot, feed.exchange_ms):
        begins[1:] |= column[1:] != column[:-1]
    return begins


def _columns_checked(record: Any, place: str, dtypes: dict[str, Any]) -> None:
    """Columns of one length in their types, finite, as read-only copies of what may still change."""
    lengths = set()
    for item in fields(record):
        value = np.asarray(getattr(record, item.name))
        dtype = np.dtype(dtypes.get(item.name, np.float64))
        if value.ndim != 1 or not np.can_cast(value.dtype, dtype, "same_kind") or value.dtype.kind not in "biuf":
            raise DataError(
                f"{place}: column {item.name!r} is one-dimensional and holds {dtype}; found {value.dtype} "
                f"{value.shape}. Convert it."
            )
        column = np.array(value, dtype, order="C")
        if dtype.kind == "f":
            _each(np.isfinite(column), place, f"{item.name} is finite", "Leave the row out.")
        column.setflags(write=False)
        object.__setattr__(record, item.name, column)
        lengths.add(column.shape[0])
    if len(lengths) > 1:
        raise DataError(f"{place}: columns have one length; found lengths {sorted(lengths)}.")


def _each(holds: NDArray[np.bool_], place: str, rule: str, cure: str, *, after: int = 0) -> None:
    """Raises DataError naming the first row that breaks a rule; `after` 1 for a rule between neighbours."""
    bad = np.flatnonzero(~holds)
    if bad.size:
        raise DataError(f"{place}: {rule}; {bad.size:,} rows break it, the first is row {int(bad[0]) + after}. {cure}")
