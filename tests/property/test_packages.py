"""Packages over random markets: no look-ahead, two forms that agree, contents that decide bytes (R9.1, R9.2, R9.8)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tests.unit.episodes.package_builders import streamed
from tests.unit.episodes.package_cases import LAYOUT, NOW, PLAN, market, package
from tests.unit.market.bars import HOUR, MONDAY
from tests.unit.market.depth_feeds import feed

from lockstep.episodes.packages.batch import PackageBatch, concatenated
from lockstep.episodes.packages.build import build_packages
from lockstep.episodes.packages.package import FLAGS, ModelInputPackage, PackageRules
from lockstep.episodes.packages.pool import Ranges, compact, compact_python
from lockstep.market.candles import Candles
from lockstep.market.orderbook import Trades

odd_floats = st.sampled_from([0.0, -0.0, 1.0, -1.0, 101.0, np.inf, -np.inf, np.nan]) | st.floats(width=32)


def digests(given_market: dict[str, Any], moments: Any, **options: Any) -> list[str]:
    batches = build_packages(
        PLAN,
        given_market["candles"],
        trades=given_market["trades"],
        depth=feed(given_market["messages"]),
        moments=moments,
        **options,
    )
    return [one.digest for one in concatenated(list(batches)).packages()]


def altered_after(given_market: dict[str, Any], moment: int) -> dict[str, Any]:
    """The same market until `moment` less the latency; everything known later is another."""
    sent_by = moment - PLAN.latency_ms
    candles = {}
    for name, table in given_market["candles"].items():
        scale = np.where(table.close_time > sent_by, 1.7, 1.0)
        columns = {key: getattr(table, key) * scale for key in ("open", "high", "low", "close", "volume")}
        candles[name] = Candles(timestamp=table.timestamp, timeframe_ms=table.timeframe_ms, **columns)
    t = given_market["trades"]
    later = t.timestamp > sent_by
    trades = Trades(
        trade_id=t.trade_id + np.where(later, 5, 0),
        timestamp=t.timestamp,
        price=t.price * np.where(later, 0.5, 1.0),
        quantity=t.quantity + later,
        side=np.where(later, -t.side, t.side).astype(np.int8),
    )
    messages = [
        replace(one, quantity=one.quantity + 1.0) if one.exchange_ms > sent_by else one
        for one in given_market["messages"]
    ]
    return {"candles": candles, "trades": trades, "messages": messages}


@settings(max_examples=40)
@given(seed=st.integers(0, 10**6), source=st.sampled_from(["bar", "trade", "book"]), data=st.data())
def test_a_package_never_changes_when_later_data_do(seed: int, source: str, data: Any) -> None:
    """No look-ahead: bars, trades and book messages after a moment are altered; the packages until it stay.

    The moment lies within milliseconds of when something becomes known, where a mistake would show.
    """
    whole = market(64, seed)
    times = {
        "bar": whole["candles"]["1h"].close_time,
        "trade": whole["trades"].timestamp,
        "book": np.array([one.exchange_ms for one in whole["messages"] if one.exchange_ms > 0]),
    }[source]
    event = int(times[data.draw(st.integers(times.shape[0] // 10, times.shape[0] * 9 // 10))])
    moment = event + data.draw(st.sampled_from([0, 1, PLAN.latency_ms - 1, PLAN.latency_ms, PLAN.latency_ms + 1]))
    moments = np.unique(np.append(MONDAY + np.arange(2, 70) * HOUR + PLAN.latency_ms, moment))
    before, after = (digests(each, moments) for each in (whole, altered_after(whole, moment)))
    count = int(np.searchsorted(moments, moment, side="right"))
    assert before[:count] == after[:count]
    assert before[count:] != after[count:]


@settings(max_examples=15)
@given(
    seed=st.integers(0, 10**6),
    chunk=st.integers(1, 40),
    offsets=st.lists(st.integers(0, 3_599_999), min_size=40, max_size=40),
)
def test_incremental_and_batch_agree_on_any_market(seed: int, chunk: int, offsets: list[int]) -> None:
    """Equal canonical forms, hence equal hashes, whatever the moments and the chunk."""
    moments = MONDAY + np.arange(15, 55) * HOUR + np.array(offsets)
    given_market = market(56, seed)
    ones = streamed(PLAN, given_market, moments, with_feeds=True)
    assert digests(given_market, moments, chunk=chunk) == [one.digest for one in ones]


def tables(columns: int, dtype: Any = np.float64) -> st.SearchStrategy[Any]:
    return st.none() | st.integers(0, 3).flatmap(lambda rows: arrays(dtype, (rows, columns), elements=odd_floats))


@st.composite
def any_package(draw: st.DrawFn) -> ModelInputPackage:
    """Packages of the layout with anything in them."""
    bars = draw(
        st.none()
        | st.dictionaries(st.sampled_from(["1h", "4h"]), tables(6).filter(lambda t: t is not None), min_size=1)
    )
    sound = package()
    if draw(st.booleans()):
        bars = sound.ohlcv_data
    names = LAYOUT.indicators
    return ModelInputPackage(
        timestamp=draw(st.sampled_from([NOW, NOW + 5, -1, 0, 2**53])),
        symbol=draw(st.sampled_from(LAYOUT.symbols)),
        current_price=draw(st.none() | odd_floats),
        ohlcv_data=bars,
        tick_data=draw(tables(5)),
        cob_data=draw(tables(4)),
        technical_indicators=draw(st.none() | st.fixed_dictionaries(dict.fromkeys(names, odd_floats))),
        pivot_points=draw(tables(3)),
        cnn_features=draw(tables(8, np.float32)),
        rl_state=draw(st.none() | arrays(np.float32, 8, elements=odd_floats)),
        is_rapid_change=draw(st.booleans()),
    )


@settings(max_examples=60)
@given(ones=st.lists(any_package(), min_size=1, max_size=6), now_ms=st.sampled_from([None, NOW]))
def test_columns_and_objects_agree_on_anything(ones: list[ModelInputPackage], now_ms: int | None) -> None:
    """R9.1, R9.2, R9.3: hashes, completeness and flags of both forms, NaN, infinities and negative zeros included."""
    rules = PackageRules(cnn_shape=(2, 8), rl_shape=(8,), max_package_age_s=1.0)
    for batch in (PackageBatch.from_packages(ones, LAYOUT), PackageBatch.from_packages(ones, LAYOUT).compacted()):
        md5s, blake3s = batch.hashes()
        assert [row.tobytes().hex() for row in md5s] == [one.data_hash for one in ones]
        assert ["blake3:" + row.tobytes().hex() for row in blake3s] == [one.digest for one in ones]
        assert batch.completeness().tolist() == [one.completeness_score for one in ones]
        for row, one in zip(batch.flags(rules, now_ms=now_ms).tolist(), ones, strict=True):
            assert dict(zip(FLAGS, row, strict=True)) == dict(one._validate_data(rules, now_ms=now_ms))


@settings(max_examples=60)
@given(a=any_package(), b=any_package())
def test_packages_are_equal_exactly_when_their_hashes_are(a: ModelInputPackage, b: ModelInputPackage) -> None:
    """R9.1: two payloads share a hash only when they are the same bytes."""
    same = all(
        repr(getattr(a, name)) == repr(getattr(b, name)) and _bytes(getattr(a, name)) == _bytes(getattr(b, name))
        for name in a.payload()
    )
    assert (a.data_hash == b.data_hash) == (a.digest == b.digest) == same


def _bytes(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if hasattr(value, "items"):
        return [(key, _bytes(item)) for key, item in value.items()]
    return np.float64(value).tobytes() if isinstance(value, float) else value


windows = st.lists(st.none() | st.lists(st.integers(0, 2), min_size=0, max_size=4), min_size=1, max_size=12)


def ranges(contents: list[list[int] | None]) -> Ranges:
    """Each package's rows on their own, one column."""
    lengths = np.array([-1 if rows is None else len(rows) for rows in contents], np.int64)
    flat = [value for rows in contents if rows for value in rows]
    stop = np.cumsum(np.maximum(lengths, 0))
    start = np.where(lengths < 0, -1, stop - np.maximum(lengths, 0))
    rows = np.array(flat, np.float64).reshape(-1, 1)
    return Ranges(rows=rows, start=start, stop=np.where(lengths < 0, -1, stop))


def table_list(pool: Ranges) -> list[Any]:
    return [None if pool.table(i) is None else pool.table(i)[:, 0].tolist() for i in range(pool.start.shape[0])]  # type: ignore[index]


@given(windows)
def test_compact_pools_hold_the_same_rows_and_depend_on_contents_alone(contents: list[list[int] | None]) -> None:
    """Kernel and twin agree; nothing is lost; compacting twice, or from other ranges, gives the same table."""
    pool = ranges(contents)
    small = pool.compacted()
    assert table_list(small) == contents
    assert small.rows.shape[0] <= pool.rows.shape[0]
    again, doubled = small.compacted(), ranges([*contents, *contents]).take(slice(0, len(contents))).compacted()
    for other in (again, doubled):
        assert other.rows.tolist() == small.rows.tolist()
        assert other.start.tolist() == small.start.tolist()
    results = []
    for kernel in (compact, compact_python):
        start, take = np.empty(pool.start.shape[0], np.int64), np.full(int(pool.lengths.sum()), -9, np.int64)
        used = int(kernel(pool.rows.view("<u8"), pool.start, pool.stop, start, take))
        results.append((used, start.tolist(), take[:used].tolist()))
    assert results[0] == results[1]


@given(windows, st.integers(0, 3), arrays(np.bool_, 48))
def test_counting_rows_in_ranges_is_counting_rows(contents: list[list[int] | None], skip: int, marks: Any) -> None:
    pool = ranges(contents)
    marked = marks[: pool.rows.shape[0]]
    found = pool.count(marked, skip=skip).tolist()
    expected = [
        0 if start < 0 else int(np.count_nonzero(marked[start:stop][skip:]))
        for start, stop in zip(pool.start.tolist(), pool.stop.tolist(), strict=True)
    ]
    assert found == expected
