"""Order books: synchronised by update ids, known at the exchange's times; the shared recording rebuilt exactly."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.episodes.package_cases import message, snapshot
from tests.unit.market.bars import MONDAY, SHARED
from tests.unit.market.depth_feeds import feed

from lockstep.core.errors import DataError
from lockstep.market.orderbook import (
    DepthFeed,
    DepthMessage,
    OrderBook,
    Trades,
    advance_book,
    load_depth,
    load_trades,
    replay_book,
    set_levels,
    set_levels_python,
)

FOLDER = SHARED / "orderbook" / "binance"
recorded = pytest.mark.skipif(not FOLDER.is_dir(), reason="../shared/data is not here")
BOOK = [(1, 99.0, 1.0), (1, 98.0, 2.0), (-1, 101.0, 3.0), (-1, 102.0, 4.0)]


def applied(*messages: DepthMessage) -> OrderBook:
    book = OrderBook()
    for one in messages:
        book.apply(one)
    return book


def test_a_diff_changes_adds_and_removes_levels() -> None:
    book = applied(snapshot(10, BOOK), message(11, 11, [(1, 99.0, 0.0), (1, 98.5, 7.0), (-1, 101.0, 9.0)]))
    top = book.top(5)
    assert top is not None
    assert top.tolist() == [[98.5, 7.0, 101.0, 9.0], [98.0, 2.0, 102.0, 4.0]]
    assert book.top(1).tolist() == [[98.5, 7.0, 101.0, 9.0]]  # type: ignore[union-attr]
    assert book.update_id == 11


def test_a_diff_that_came_before_the_snapshot_is_applied_after_it() -> None:
    """The trap of the shared recording: ids 8 to 12 came first, the snapshot holds ids until 10."""
    early = message(8, 12, [(1, 99.0, 0.0)])
    late = message(13, 13, [(-1, 98.5, 5.0)])
    book = applied(message(5, 7, [(1, 1.0, 1.0)]), early, snapshot(10, BOOK), late)
    assert book.top(1).tolist() == [[98.0, 2.0, 98.5, 5.0]]  # type: ignore[union-attr]
    assert book.report().reordered == 1
    assert book.report().crossed == 0

    # Without it: the ids show the hole. Where they are forced to fit, the bid of 99 stays, above the ask of 98.5.
    assert applied(snapshot(10, BOOK), late).top(1) is None
    forced = applied(snapshot(12, BOOK), late)
    assert forced.crossed
    assert forced.top(1) is None
    assert forced.report().crossed == 1


def test_nothing_is_known_of_a_snapshot_until_a_stamped_message_follows() -> None:
    book = applied(message(8, 12, []), snapshot(10, BOOK))
    assert book.time_ms is None
    assert book.top(1) is None
    book.apply(message(13, 13, []))
    assert book.time_ms == MONDAY + 13
    assert book.top(1) is not None


def test_a_snapshot_that_is_ahead_of_its_diffs_is_not_known_at_their_times() -> None:
    """No look-ahead: ids until 10 were sent at 10 ms; the diff of id 8 to 9, at 9 ms, is older than the book."""
    book = applied(snapshot(10, BOOK), message(8, 9, []))
    assert book.time_ms is None
    assert book.top(1) is None
    book.apply(message(10, 10, []))
    assert book.time_ms == MONDAY + 10
    assert book.top(1) is not None
    assert book.report().outdated == 2


def test_levels_beyond_what_the_snapshot_told_are_counted() -> None:
    """The snapshot's worst bid is 98: once 99 and 98 are gone, a bid of 97 may not be the best there is."""
    gone = message(11, 11, [(1, 99.0, 0.0), (1, 97.0, 1.0)])
    book = applied(snapshot(10, BOOK), gone)
    assert book.report().beyond == 0
    book.apply(message(12, 12, [(1, 98.0, 0.0)]))
    assert book.top(1).tolist() == [[97.0, 1.0, 101.0, 3.0]]  # type: ignore[union-attr]
    assert book.report().beyond == 1
    book.apply(snapshot(12, [(1, 97.0, 1.0), (-1, 101.0, 3.0)]))
    assert book.report().beyond == 1


def test_a_book_keeps_its_best_levels_however_long_the_feed_is() -> None:
    """Bounded memory: 2,000 bids that are never removed, one above the other, in a book of 100 levels."""
    book = OrderBook(max_levels=100, kept_messages=10)
    book.apply(snapshot(10, [(1, 1.0, 1.0), (-1, 9_999.0, 1.0)]))
    for k in range(2_000):
        book.apply(message(11 + k, 11 + k, [(1, 2.0 + k, 1.0 + k)]))
        assert book._sides[1].size <= 100
    top = book.top(1)
    assert top is not None
    assert top.tolist() == [[2_001.0, 2_000.0, 9_999.0, 1.0]]
    assert book.report().beyond == 0
    best = message(2_011, 2_011, [(1, 2_001.0 - k, 0.0) for k in range(book._sides[1].size)] + [(1, 5.0, 1.0)])
    book.apply(best)
    assert book.report().beyond == 1
    with pytest.raises(DataError, match="max_levels is a whole number >= 1"):
        OrderBook(max_levels=0)


def test_missing_ids_make_the_book_unknown_until_the_next_snapshot() -> None:
    book = applied(snapshot(10, BOOK), message(11, 12, []), message(14, 15, []))
    assert book.update_id is None
    assert book.top(1) is None
    assert book.report().gaps == 1
    book.apply(message(16, 16, []))
    assert book.top(1) is None
    book.apply(snapshot(15, BOOK))  # 14 to 15 it holds, 16 to 16 is applied again
    book.apply(message(17, 17, []))
    assert book.top(1) is not None
    assert book.update_id == 17
    assert book.report().reordered == 1


def test_a_diff_that_the_snapshot_holds_already_is_passed_over() -> None:
    book = applied(snapshot(10, BOOK), message(9, 10, [(1, 99.0, 0.0)]), message(11, 11, []))
    assert book.top(1).tolist() == [[99.0, 1.0, 101.0, 3.0]]  # type: ignore[union-attr]
    assert book.report().outdated == 1


def test_the_replay_counts_what_was_sent_by_each_moment_less_the_latency() -> None:
    messages = [snapshot(10, BOOK), message(11, 11, [(1, 99.0, 8.0)]), message(12, 12, [(1, 99.0, 9.0)])]
    moments = MONDAY + np.array([10, 11, 12, 13])
    tops, known, report = replay_book(feed(messages), moments, 1)
    assert [None if top is None else top[0, 1] for top in tops] == [None, 8.0, 9.0, 9.0]
    assert known.tolist() == [-1, MONDAY + 11, MONDAY + 12, MONDAY + 12]
    assert report.messages == 3
    tops, known, _ = replay_book(feed(messages), moments, 1, latency_ms=1)
    assert [None if top is None else top[0, 1] for top in tops] == [None, None, 8.0, 9.0]


def test_the_recorders_slow_clock_is_reported_and_not_used() -> None:
    slow = [message(k, k, [], exchange_ms=MONDAY + k, local_ns=(MONDAY + k - 1_300) * 1_000_000) for k in (11, 12)]
    book = applied(snapshot(10, BOOK), *slow)
    assert book.report().clock_slow_ms == 1_300.0
    assert book.time_ms == MONDAY + 12


levels = st.lists(
    st.tuples(st.integers(1, 12).map(float), st.sampled_from([0.0, 0.0, 1.0, 2.0])), min_size=0, max_size=60
)


@given(levels)
def test_a_sides_levels_are_those_of_a_dictionary(changes: list[tuple[float, float]]) -> None:
    """Kernel and twin against the plainest book there is: {price: quantity}, zeros left out."""
    price, quantity = np.array([p for p, _ in changes]), np.array([q for _, q in changes])
    plain = {p: q for p, q in dict(changes).items() if q > 0.0}
    for kernel in (set_levels, set_levels_python):
        held, amounts = np.full(64, np.nan), np.full(64, np.nan)
        size = kernel(held, amounts, 0, price.astype(np.float64), quantity.astype(np.float64))
        assert held[:size].tolist() == sorted(plain)
        assert amounts[:size].tolist() == [plain[p] for p in sorted(plain)]


def test_a_book_grows_with_its_levels() -> None:
    many = [(1, 1.0 + 0.001 * k, 1.0) for k in range(9_000)] + [(-1, 50.0 + 0.001 * k, 1.0) for k in range(9_000)]
    top = applied(snapshot(10, many), message(11, 11, [])).top(9_000)
    assert top is not None
    assert top.shape == (9_000, 4)
    assert top[0].tolist() == [1.0 + 0.001 * 8_999, 1.0, 50.0, 1.0]


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("price", np.array([0.0, 1.0]), "prices are greater than zero; 1 rows break it, the first is row 0"),
        ("quantity", np.array([1.0, -1.0]), "quantities are not negative; 1 rows break it, the first is row 1"),
        ("side", np.array([1, 0], np.int8), "a side is 1 \\(bid\\) or -1"),
        ("exchange_ms", np.array([MONDAY + 5, 0]), "diffs bear the exchange's time"),
        ("exchange_ms", np.array([MONDAY + 5, MONDAY + 4]), "never fall in feed order.*row 1"),
        ("first_update_id", np.array([11, 14]), "first id is not after its last"),
        ("price", np.array([1.0]), "one length"),
        ("price", np.array([1.0, np.nan]), "price is finite"),
        ("local_ns", np.array([1.5, 2.0]), "holds int64; found float64"),
    ],
)
def test_a_feed_that_breaks_a_rule_is_refused(name: str, value: Any, text: str) -> None:
    sound = feed([message(11, 11, [(1, 99.0, 1.0)]), message(12, 12, [(1, 99.0, 1.0)])])
    columns = {key: getattr(sound, key) for key in DepthFeed.__dataclass_fields__}
    with pytest.raises(DataError, match=text):
        DepthFeed(**{**columns, name: value})


def test_a_message_without_levels_still_has_ids_in_order() -> None:
    empty = message(11, 11, [])
    empty.check()
    with pytest.raises(DataError, match="first id is not after its last"):
        replace(empty, first_update_id=12).check()


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("trade_id", [1, 1], "ids ascend"),
        ("timestamp", [2, 1], "times never fall"),
        ("price", [1.0, 0.0], "greater than zero"),
        ("quantity", [1.0, -0.5], "not negative"),
        ("side", [1, 2], "a side is 1"),
    ],
)
def test_trades_that_break_a_rule_are_refused(name: str, value: Any, text: str) -> None:
    columns: dict[str, Any] = {
        "trade_id": [1, 2],
        "timestamp": [1, 2],
        "price": [1.0, 1.0],
        "quantity": [1.0, 1.0],
        "side": [1, -1],
    }
    with pytest.raises(DataError, match=text):
        Trades(**{**columns, name: value})


def test_trades_are_sampled_by_the_last_price_of_each_step_known_at_its_end() -> None:
    trades = Trades(
        trade_id=np.arange(4),
        timestamp=np.array([1_000, 1_999, 2_000, 4_500]),
        price=np.array([1.0, 2.0, 3.0, 4.0]),
        quantity=np.ones(4),
        side=np.ones(4, np.int8),
    )
    time, price = trades.sampled(1_000)
    assert time.tolist() == [2_000, 3_000, 5_000]
    assert price.tolist() == [2.0, 3.0, 4.0]


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"no")
    with pytest.raises(DataError, match=r"x\.parquet: it cannot be read as Parquet"):
        load_depth(tmp_path / "x.parquet")


@recorded
def test_the_recorded_feed_gives_the_published_levels() -> None:
    """6,492 states of 20 levels a side, prices and quantities, ids and times: all as the derived file has them."""
    import pyarrow.parquet as pq

    recorded_feed = load_depth(FOLDER / "BTCUSDT-depth-diff.parquet")
    table = pq.read_table(FOLDER / "BTCUSDT-top20-100ms.parquet")
    names = ("bid_px", "bid_qty", "ask_px", "ask_qty")
    sides = [np.stack([table.column(f"{name}_{i}").to_numpy() for i in range(20)], axis=1) for name in names]
    book, tops, known = OrderBook(), [], []
    for one in recorded_feed.messages():
        book.apply(one)
        top = book.top(20)
        if top is not None:
            tops.append(top)
            known.append((book.time_ms, book.update_id))
    np.testing.assert_array_equal(np.array(tops), np.stack(sides, axis=2))
    np.testing.assert_array_equal(
        np.array(known), np.stack([table.column(name).to_numpy() for name in ("timestamp", "update_id")], axis=1)
    )
    report = book.report()
    # 6,496 messages: one snapshot, two diffs that it holds, one that came before it and was applied after it.
    assert (report.messages, report.applied, report.reordered) == (6_496, 6_493, 1)
    assert (report.gaps, report.crossed) == (0, 0)
    assert 1_200 < report.clock_slow_ms < 1_400


@recorded
def test_without_the_earlier_diff_the_recorded_book_crosses() -> None:
    """The README's trap, shown: leave that one diff out and most states of the book are crossed."""
    messages = list(load_depth(FOLDER / "BTCUSDT-depth-diff.parquet").messages())
    at = next(index for index, one in enumerate(messages) if one.is_snapshot)
    left_out = messages[at - 1]
    assert left_out.first_update_id <= messages[at].final_update_id < left_out.final_update_id
    assert applied(messages[at], messages[at + 1]).report().gaps == 1  # the ids betray it at once
    # As if nobody looked at ids: the snapshot is taken to reach as far as the diff that is left out.
    careless = replace(messages[at], final_update_id=left_out.final_update_id)
    report = applied(careless, *messages[at + 1 :]).report()
    assert report.gaps == 0
    assert report.crossed > report.messages // 2


@recorded
def test_the_recorded_trades_lie_between_the_recorders_clock_and_the_books_prices() -> None:
    trades = load_trades(FOLDER / "BTCUSDT-trades.parquet")
    assert len(trades) == 19_904
    assert np.all(np.diff(trades.trade_id) == 1)
    # A taker who sells meets the bid: by the exchange's clock, trades lie within 0.1 % of the book known before them.
    tops, _, _ = replay_book(load_depth(FOLDER / "BTCUSDT-depth-diff.parquet"), trades.timestamp[500:600], 1)
    middle = np.array([(top[0, 0] + top[0, 2]) / 2 for top in tops if top is not None])
    assert middle.shape == (100,)
    assert np.all(np.abs(trades.price[500:600] / middle - 1.0) < 1e-3)


def test_messages_wait_until_they_were_sent() -> None:
    book, waiting = OrderBook(), deque([snapshot(10, BOOK), message(11, 11, []), message(12, 12, [])])
    advance_book(book, waiting, MONDAY + 10)
    assert len(waiting) == 3
    advance_book(book, waiting, MONDAY + 11)
    assert len(waiting) == 1
    assert book.update_id == 11
