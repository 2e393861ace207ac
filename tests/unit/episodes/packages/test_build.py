"""Packages from stored data, and as events come: equal bytes, no future, nothing stale (R9.1, R9.5, R9.13)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.unit.episodes.package_builders import OHLCV, built, streamed
from tests.unit.episodes.package_cases import PLAN, market, message, snapshot
from tests.unit.market.bars import HOUR, MONDAY, SHARED

from lockstep.core.errors import DataError, InputError, LookAheadError
from lockstep.core.units import parse_timeframe
from lockstep.episodes.packages.batch import concatenated
from lockstep.episodes.packages.build import PackagePlan, build_packages
from lockstep.episodes.packages.features import FEATURES, INDICATORS, LOOKBACK, STATE, bar_values
from lockstep.episodes.packages.stream import PackageBuilder
from lockstep.market.orderbook import load_depth, load_trades
from lockstep.market.resampling import resample


@pytest.mark.parametrize("with_feeds", [False, True], ids=["candles", "trades and book"])
def test_one_by_one_and_in_batch_are_equal_bytes(with_feeds: bool) -> None:
    """The same events give the same canonical form, hashes and flags, through gaps, stale data and lost ids."""
    given = market(120, 7)
    moments = MONDAY + np.arange(10, 125) * HOUR + np.tile([0, 40, 1_234, 59 * 60_000], 30)[:115]
    batch = built(PLAN, given, moments, with_feeds=with_feeds, chunk=16)
    ones = streamed(PLAN, given, moments, with_feeds=with_feeds)
    assert [one.digest for one in batch.packages()] == [one.digest for one in ones]
    assert [one.validation_flags for one in batch.packages()] == [one.validation_flags for one in ones]
    assert np.unique(batch.completeness()).size > 2  # the market has all sorts of packages
    assert with_feeds == bool(batch.pools["cob_data"].there.any())


@pytest.mark.parametrize("chunk", [1, 7, 4_096])
def test_the_chunk_changes_nothing(chunk: int) -> None:
    given = market(80, 3)
    whole, parts = built(PLAN, given, with_feeds=True), built(PLAN, given, with_feeds=True, chunk=chunk)
    assert whole.hashes()[1].tolist() == parts.hashes()[1].tolist()


def test_what_is_known_is_there_and_nothing_later() -> None:
    """No look-ahead: every bar had closed, every trade and message was sent, less the latency of 40 ms."""
    given = market(120, 5)
    with_trades = with_pivots = 0
    for one in built(PLAN, given, with_feeds=True).packages():
        assert isinstance(one.timestamp, int)
        sent_by = one.timestamp - PLAN.latency_ms
        for name, table in (one.ohlcv_data or {}).items():
            assert table[-1, 0] + parse_timeframe(name) <= sent_by
        if one.tick_data is not None:
            assert one.tick_data[-1, 1] <= sent_by
            with_trades += 1
        if one.pivot_points is not None:
            assert one.pivot_points[-1, 0] + (PLAN.pivot_side + 1) * HOUR <= sent_by
            with_pivots += 1
    assert with_trades > 50
    assert with_pivots > 50


def test_a_moment_just_before_a_close_does_not_know_the_bar() -> None:
    given = market(40, 5)
    close = int(given["candles"]["1h"].close_time[35])
    moments = np.array([close + 39, close + 40])
    before, after = built(PLAN, given, moments, with_feeds=False).packages()
    assert before.ohlcv_data is not None
    assert after.ohlcv_data is not None
    assert after.ohlcv_data["1h"][-1, 0] - before.ohlcv_data["1h"][-1, 0] == HOUR
    assert before.current_price == given["candles"]["1h"].close[34]
    assert after.current_price == given["candles"]["1h"].close[35]


def test_stale_data_are_no_data_of_the_moment() -> None:
    """Until two hours after the last close one bar is missing at most; from then on the timeframe is not there."""
    given = market(30, 5)
    last = int(given["candles"]["1h"].close_time[-1]) + PLAN.latency_ms
    moments = last + HOUR * np.array([0, 1, 2, 9]) + np.array([0, HOUR - 1, 0, 0])
    ones = list(built(PLAN, given, moments, with_feeds=True).packages())
    assert ["1h" in (one.ohlcv_data or {}) for one in ones] == [True, True, False, False]
    assert [one.cnn_features is not None for one in ones] == [True, True, False, False]
    assert ones[-1].tick_data is None
    assert ones[-1].cob_data is None


def test_the_last_price_is_that_of_the_newer_of_trade_and_bar() -> None:
    given = market(40, 5)
    base, trades = given["candles"]["1h"], given["trades"]
    moments = np.sort(np.append(base.close_time[20:30], trades.timestamp[60:70])) + PLAN.latency_ms
    for one in built(PLAN, given, np.unique(moments), with_feeds=True).packages():
        assert isinstance(one.timestamp, int)
        sent_by = one.timestamp - PLAN.latency_ms
        row = int(np.searchsorted(base.close_time, sent_by, side="right")) - 1
        trade = int(np.searchsorted(trades.timestamp, sent_by, side="right")) - 1
        newer = trades.timestamp[trade] >= base.close_time[row]
        assert one.current_price == (trades.price[trade] if newer else base.close[row])


def test_a_rapid_change_makes_packages_premium_for_a_window() -> None:
    """R9.13: a jump of 5 % between two trades marks the packages of the minute after it, none ten minutes later."""
    given = market(60, 5)
    trades = given["trades"]
    price = np.full(len(trades), 100.0)
    price[len(trades) // 2 :] = 105.0
    time = MONDAY + 20 * HOUR + 20_000 * np.arange(len(trades))
    given["trades"] = type(trades)(
        trade_id=trades.trade_id, timestamp=time, price=price, quantity=trades.quantity, side=trades.side
    )
    jump = int(time[len(trades) // 2]) // 1_000 * 1_000 + 1_000 + PLAN.latency_ms  # known at its second's end
    moments = jump + np.array([-1, 0, 59_999, 600_000])
    batch = built(PLAN, given, moments, with_feeds=True)
    assert batch.is_rapid_change.tolist() == [False, True, True, False]
    assert [one.is_rapid_change for one in streamed(PLAN, given, moments, with_feeds=True)] == [
        False,
        True,
        True,
        False,
    ]


def test_features_are_what_their_names_say() -> None:
    """The formulas in the docstrings, on the last of 21 bars, by NumPy alone."""
    base = market(40, 9)["candles"]["1h"].tail(30)
    rows = np.column_stack([base.timestamp, *(getattr(base, name) for name in OHLCV)]).astype(np.float64)
    features, indicators, state = (values[-1] for values in bar_values(rows))
    o, h, low, c, v = rows[-1, 1:]
    close, returns = rows[:, 4], np.diff(rows[:, 4]) / rows[:-1, 4]
    sma, span = close[-20:].mean(), (rows[-20:, 2].max(), rows[-20:, 3].min())
    change = np.diff(close)[-14:]
    rsi = 100 * change[change > 0].sum() / np.abs(change).sum()
    by_name = {
        "return_1": returns[-1],
        "body": c / o - 1,
        "upper_wick": h / max(o, c) - 1,
        "lower_wick": low / min(o, c) - 1,
        "range": h / low - 1,
        "volume_ratio": v / rows[-20:, 5].mean() - 1,
        "distance_sma20": c / sma - 1,
        "volatility_20": returns[-20:].std(),
        "return_5": c / close[-6] - 1,
        "return_20": c / close[-21] - 1,
        "position_20": (c - span[1]) / (span[0] - span[1]),
        "rsi_14": rsi,
        "high_20": span[0],
        "low_20": span[1],
        "sma_20": sma,
        "std_20": close[-20:].std(),
    }
    previous = close[-15:-1]
    true_range = np.maximum(rows[-14:, 2], previous) - np.minimum(rows[-14:, 3], previous)
    by_name["atr_14"] = true_range.mean()
    for names, values in ((FEATURES, features), (INDICATORS, indicators), (STATE, state)):
        scale = {"rsi_14": 100.0} if names is STATE else {}
        expected = [by_name[name] / scale.get(name, 1.0) for name in names]
        np.testing.assert_allclose(values, expected, rtol=1e-9, atol=1e-12)


def test_values_of_a_bar_depend_on_the_lookback_alone() -> None:
    """Bit for bit, wherever the series starts: that is what makes incremental and batch one."""
    base = market(120, 9)["candles"]["1h"]
    rows = np.column_stack([base.timestamp, *(getattr(base, name) for name in OHLCV)]).astype(np.float64)
    whole = bar_values(rows)
    for stop in range(LOOKBACK, len(base) + 1):
        for all_of_them, alone in zip(whole, bar_values(rows[stop - LOOKBACK : stop]), strict=True):
            assert alone[-1].tobytes() == all_of_them[stop - 1].tobytes()
            assert np.isfinite(alone[-1]).all()


def test_a_builder_refuses_to_show_the_future() -> None:
    """No look-ahead by construction: what is known only later may not have been taken in."""
    builder = PackageBuilder(PLAN)
    builder.add_candle("1h", MONDAY, 100.0, 101.0, 99.0, 100.0, 1.0)
    with pytest.raises(LookAheadError, match="would see its future: something known at"):
        builder.package(MONDAY + HOUR + PLAN.latency_ms - 1)
    assert builder.package(MONDAY + HOUR + PLAN.latency_ms).current_price == 100.0
    with pytest.raises(DataError, match="packages ascend in time"):
        builder.package(MONDAY + HOUR + PLAN.latency_ms)


def test_an_event_that_comes_too_late_is_counted() -> None:
    """The bar was known at its close and 40 ms; the package of that moment was made without it."""
    builder = PackageBuilder(PLAN)
    close = MONDAY + HOUR
    assert builder.package(close + PLAN.latency_ms).ohlcv_data is None
    builder.add_candle("1h", MONDAY, 100.0, 101.0, 99.0, 100.0, 1.0)
    assert builder.late == 1
    builder.add_candle("1h", close, 100.0, 101.0, 99.0, 100.0, 1.0)
    assert builder.late == 1


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"price": np.array([float("nan")])}, "price is finite"),
        ({"price": np.array([-1.0])}, "prices are greater than zero"),
        ({"quantity": np.array([-1.0])}, "quantities are not negative"),
        ({"side": np.array([0], np.int8)}, "a side is 1"),
        ({"side": np.array([1, 1], np.int8)}, "one length"),
        ({"first_update_id": 99}, "a message's first id is not after its last"),
        ({"exchange_ms": 0}, "diffs bear the exchange's time"),
        ({"exchange_ms": MONDAY + 10}, "in feed order"),
    ],
)
def test_a_builder_checks_messages_as_a_feed_does(changes: dict[str, Any], text: str) -> None:
    builder = PackageBuilder(PLAN, depth=True)
    builder.add_depth(message(11, 11, []))
    with pytest.raises(DataError, match=text):
        builder.add_depth(replace(message(12, 12, [(1, 99.0, 1.0)]), **changes))


def test_a_builder_that_makes_no_package_keeps_nothing_waiting() -> None:
    """Bounded memory: messages are applied as they come, triggers are one time."""
    builder = PackageBuilder(PLAN, trades=True, depth=True)
    builder.add_depth(snapshot(10, [(1, 99.0, 1.0), (-1, 101.0, 1.0)]))
    for k in range(11, 2_000):
        builder.add_depth(message(k, k, [(1, 99.0, float(k))]))
    assert not builder._messages
    top = builder.package(MONDAY + 2_000 + PLAN.latency_ms).cob_data
    assert top is not None
    assert top.tolist() == [[99.0, 1_999.0, 101.0, 1.0]]


def test_a_builder_checks_what_it_is_given() -> None:
    builder = PackageBuilder(PLAN, trades=True)
    for row, text in (
        (("1d", MONDAY, 1.0, 1.0, 1.0, 1.0, 1.0), "one of the plan's timeframes"),
        (("1h", MONDAY, 1.0, 0.5, 1.0, 1.0, 1.0), "OHLC-inconsistent"),
        (("1h", MONDAY, 1.0, 1.0, 1.0, float("nan"), 1.0), "non-finite"),
    ):
        with pytest.raises(DataError, match=text):
            builder.add_candle(*row)
    builder.add_candle("1h", MONDAY, 1.0, 1.0, 1.0, 1.0, 1.0)
    with pytest.raises(DataError, match="bars of 1h ascend"):
        builder.add_candle("1h", MONDAY + HOUR - 1, 1.0, 1.0, 1.0, 1.0, 1.0)
    with pytest.raises(DataError, match="bars of 1h lie on one grid"):
        builder.add_candle("1h", MONDAY + HOUR + 1, 1.0, 1.0, 1.0, 1.0, 1.0)
    builder.add_trade(5, MONDAY, 1.0, 1.0, 1)
    with pytest.raises(DataError, match="trades ascend"):
        builder.add_trade(5, MONDAY, 1.0, 1.0, 1)
    with pytest.raises(DataError, match=r"a side of 1 or -1; found 1\.0, 1\.0, 0"):
        builder.add_trade(6, MONDAY, 1.0, 1.0, 0)
    with pytest.raises(DataError, match="made without an order book"):
        builder.add_depth(market(4, 1)["messages"][0])
    with pytest.raises(DataError, match="made without trades"):
        PackageBuilder(PLAN).add_trade(5, MONDAY, 1.0, 1.0, 1)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"window": 0}, "window is a whole number >= 1; found 0"),
        ({"latency_ms": -1}, "latency_ms is a whole number >= 0"),
        ({"timeframes": ()}, "one or more timeframes"),
        ({"timeframes": ("60m", "1h")}, "of different lengths"),
        ({"symbols": ("ETH/USDT",)}, "is one of its symbols"),
    ],
)
def test_a_plan_is_checked(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=text):
        PackagePlan(**{"symbol": "BTC/USDT", "timeframes": ("1h",), **changes})


def test_a_build_checks_its_arguments() -> None:
    candles = market(40, 1)["candles"]
    with pytest.raises(DataError, match="those of the plan's timeframes"):
        build_packages(PLAN, {"1h": candles["1h"]})
    with pytest.raises(DataError, match="have bars of 4h"):
        build_packages(PLAN, {"1h": candles["4h"], "4h": candles["4h"]})
    with pytest.raises(DataError, match="ascend strictly"):
        build_packages(PLAN, candles, moments=[MONDAY, MONDAY])
    with pytest.raises(InputError, match="chunk is a whole number"):
        build_packages(PLAN, candles, chunk=0)


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data is not here")
def test_real_candles_trades_and_book_make_whole_packages() -> None:
    """R9.2: ten of ten fields on the recorded ten minutes, one package a second, equal bytes both ways."""
    folder = SHARED / "orderbook" / "binance"
    trades, depth = (
        load_trades(folder / "BTCUSDT-trades.parquet"),
        load_depth(folder / "BTCUSDT-depth-diff.parquet"),
    )
    plan = PackagePlan(symbol="BTC/USDT", timeframes=("1s", "1m"), window=30, latency_ms=20, max_missing_bars=5)
    seconds = candles_of(trades)
    given = {"candles": {"1s": seconds, "1m": resample(seconds, "1m")}, "trades": trades}
    given["messages"] = list(depth.messages())
    start = int(seconds.close_time[100])
    moments = start // 1_000 * 1_000 + 1_000 * np.arange(300) + 500
    batch = concatenated(list(build_packages(plan, given["candles"], trades=trades, depth=depth, moments=moments)))
    assert np.count_nonzero(batch.completeness() == 1.0) > 250
    assert batch.flags().all(axis=1).sum() > 250
    some = moments[:60]
    ones = streamed(plan, given, some, with_feeds=True)
    assert [one.digest for one in batch.take(slice(0, 60)).packages()] == [one.digest for one in ones]


def candles_of(trades: Any) -> Any:
    """Bars of one second from trades, where there was a trade."""
    from lockstep.market.candles import Candles

    second = trades.timestamp // 1_000
    start = np.flatnonzero(np.diff(second, prepend=second[0] - 1))
    stop = np.append(start[1:], len(trades))
    return Candles(
        timestamp=second[start] * 1_000,
        open=trades.price[start],
        high=np.maximum.reduceat(trades.price, start),
        low=np.minimum.reduceat(trades.price, start),
        close=trades.price[stop - 1],
        volume=np.add.reduceat(trades.quantity, start),
        timeframe_ms=1_000,
        symbol="BTC/USDT",
    )
