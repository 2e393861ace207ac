"""From a market to a book: judged as it comes, predicted without the future, measured strictly after (R9.5, R9.8)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.unit.episodes.episode_markets import MINUTE, SYMBOL, WINDOW, collected, plan, trending
from tests.unit.episodes.package_cases import PLAN, market
from tests.unit.market.bars import HOUR, SHARED, walk

from lockstep.core.errors import DataError
from lockstep.episodes.book import EpisodeBook
from lockstep.episodes.collect import (
    EpisodeCollector,
    collect_episodes,
    follow_trend,
    outcome_rules_for,
)
from lockstep.episodes.outcomes import Action, OutcomeRules
from lockstep.episodes.packages.batch import PackageBatch
from lockstep.episodes.packages.build import PackagePlan
from lockstep.episodes.packages.package import PackageRules
from lockstep.market.candles import Candles
from lockstep.market.orderbook import Trades, load_depth, load_trades
from lockstep.market.resampling import resample


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file of a book but for the lock, which names a process."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != "lock"}


def fed(collector: EpisodeCollector, candles: Candles) -> EpisodeBook:
    """Bar by bar, a decision at each close."""
    columns = (candles.open, candles.high, candles.low, candles.close, candles.volume)
    for index, start in enumerate(candles.timestamp.tolist()):
        collector.add_candle("1m", start, *(float(column[index]) for column in columns))
        collector.decide(start + MINUTE)
    return collector.finish()


def test_a_market_becomes_a_book_whose_counts_add_up() -> None:
    """R9.5, R9.9, R9.13: 600 bars; the first 20 lack what needs 21 bars; the last 5 minutes have no outcome yet."""
    book = collected(600)
    report = book.report
    assert report is not None
    assert (report.packages, report.stored, len(book)) == (600, 580, 580)
    assert report.quarantined == {
        "total": 20,
        "completeness": 20,
        "valid_timestamp": 0,
        "valid_ohlcv": 0,
        "integrity": 0,
    }
    assert (report.validated, report.lapsed, report.pending) == (575, 0, 5)
    assert report.integrity == 1.0
    # Candles alone give no trades and no order book: 8 of 10 fields, 7 or fewer during the warm-up.
    assert set(np.unique(book.column("completeness"))) == {0.8}
    assert report.rapid_changes == int(book.column("is_rapid_change").sum()) > 0
    assert report.profitable == int(book.column("is_profitable").sum())
    priorities = [one.priority for one in book.ranked(limit=50)]
    assert priorities == sorted(priorities, reverse=True)
    assert "20 (completeness 20)" in report.text()


def test_an_outcome_is_what_the_bars_after_the_decision_say() -> None:
    """R9.8: the arithmetic of one episode: in at the next open, out at the first price five minutes later."""
    candles = trending(120)
    book = collect_episodes(candles, plan=plan())
    one = book[f"{SYMBOL}@{int(candles.close_time[60])}"]
    entry, leave = candles.open[61], candles.close[65]
    assert one.market_return == leave / entry - 1.0
    side = {Action.BUY: 1.0, Action.SELL: -1.0}[Action(one.predictions["action"])]
    assert one.outcome.actual_profit == pytest.approx(side * (leave / entry - 1.0) - 0.001, abs=1e-15)
    assert one.package is not None
    assert one.package.timestamp == int(candles.close_time[60])


def test_nothing_before_a_moment_depends_on_what_comes_after_it() -> None:
    """R9.8: another future from bar 300 on. Packages, predictions and settled outcomes before it stay, bit for bit."""
    candles, cut = trending(600), 300
    other = {name: getattr(candles, name).copy() for name in ("open", "high", "low", "close", "volume")}
    for name in ("open", "high", "low", "close"):
        other[name][cut:] *= 1.7
    changed = Candles(timestamp=candles.timestamp, **other, timeframe_ms=MINUTE, symbol=SYMBOL)
    one, two = (collect_episodes(item, plan=plan()) for item in (candles, changed))
    moment = int(candles.close_time[cut - 1])
    before = one.column("created_at") <= moment
    rows = np.flatnonzero(before)
    assert [one.episodes([row])[0].predictions for row in rows[-5:]] == [
        two.episodes([row])[0].predictions for row in rows[-5:]
    ]
    for name in ("package_mark", "completeness", "is_rapid_change"):
        assert one.column(name)[before].tobytes() == two.column(name)[before].tobytes(), name
    settled = one.column("created_at") + 300_000 <= moment
    for name in ("actual_profit", "market_return", "outcome_validated", "optimal_action"):
        assert one.column(name)[settled].tobytes() == two.column(name)[settled].tobytes(), name
    # It can fail: what ends after the cut is measured otherwise.
    assert not np.array_equal(one.column("market_return")[before], two.column("market_return")[before])
    # A pivot is a label: it may look one bar ahead, and no further.
    assert one.column("pivot_class")[rows[:-1]].tobytes() == two.column("pivot_class")[rows[:-1]].tobytes()


def test_a_predictor_is_given_packages_and_nothing_else() -> None:
    """What it says is kept with the episode, and its action is what is measured."""
    seen: list[int] = []

    def always_sell(batch: PackageBatch) -> dict[str, Any]:
        seen.append(int(batch.timestamp.max()))
        sure = np.linspace(0.0, 1.0, len(batch))
        return {"action": np.zeros(len(batch), np.int64), "sure": sure, "model": np.full(len(batch), "mine")}

    book = collected(200, predict=always_sell)
    last = list(book)[-1]
    assert last.predictions == {"action": 0, "sure": 1.0, "model": "mine"}
    moved, profit = book.column("market_return"), book.column("actual_profit")
    known = book.column("outcome_validated")
    np.testing.assert_allclose(profit[known], -moved[known] - 0.001, atol=1e-15)
    assert max(seen) == int(trending(200).close_time[-1])


def test_events_one_by_one_make_the_same_files_as_everything_at_once(tmp_path: Path) -> None:
    """R9.5: equal bytes: packages, columns, report."""
    collect_episodes(trending(150), plan=plan(), folder=tmp_path / "batch")
    fed(EpisodeCollector(plan(), folder=tmp_path / "stream"), trending(150))
    batch, stream = files_of(tmp_path / "batch"), files_of(tmp_path / "stream")
    assert sorted(batch) == sorted(stream)
    assert [name for name in batch if batch[name] != stream[name]] == []


def test_trades_a_book_and_gaps_make_the_same_episodes_either_way() -> None:
    """R9.5, R9.8: two timeframes, latency, trades, an order book with a hole, missing bars: both ways agree."""
    given = market(120, 5)
    candles, trades = given["candles"], given["trades"]
    rules = OutcomeRules(horizon_s=2 * 3600.0, max_delay_s=3600.0)
    own = replace(PLAN, max_tick_age_ms=4 * HOUR)
    feed = _feed(given["messages"])
    batch = collect_episodes(candles, plan=own, trades=trades, depth=feed, outcomes=rules)
    collector = EpisodeCollector(own, trades=True, depth=True, outcomes=rules)
    events: list[tuple[int, int, Any]] = []
    for name, bars in candles.items():
        for i in range(len(bars)):
            row = [float(column[i]) for column in (bars.open, bars.high, bars.low, bars.close, bars.volume)]
            events.append(
                (int(bars.close_time[i]), 0, lambda c, n=name, t=int(bars.timestamp[i]), r=row: c.add_candle(n, t, *r))
            )
    for i in range(len(trades)):
        trade = (int(trades.trade_id[i]), int(trades.timestamp[i]), float(trades.price[i]), float(trades.quantity[i]))
        events.append((trade[1], 1, lambda c, t=trade, s=int(trades.side[i]): c.add_trade(*t, s)))
    last = 0
    for message in feed.messages():
        last = max(last, message.exchange_ms)
        events.append((last, 2, lambda c, m=message: c.add_depth(m)))
    base = candles[own.base]
    for moment in (base.close_time + own.latency_ms).tolist():
        events.append((moment - own.latency_ms, 3, lambda c, m=moment: c.decide(m)))
    for _, _, event in sorted(events, key=lambda item: item[:2]):
        event(collector)
    stream = collector.finish()
    assert stream.report == batch.report
    assert batch.report is not None
    assert batch.report.validated > 30
    assert list(stream) == list(batch)
    assert batch.column("completeness").max() == 1.0


def _feed(messages: list[Any]) -> Any:
    from lockstep.market.orderbook import DepthFeed

    rows = [(message, place) for message in messages for place in range(len(message.price))]
    heads = ("local_ns", "exchange_ms", "is_snapshot", "first_update_id", "final_update_id")
    columns = {name: np.array([getattr(message, name) for message, _ in rows]) for name in heads}
    levels = {
        name: np.array([getattr(message, name)[place] for message, place in rows])
        for name in ("side", "price", "quantity")
    }
    return DepthFeed(**columns, **levels)


def test_what_may_not_teach_is_counted_with_its_reason_and_becomes_no_episode() -> None:
    """R9.4, R9.5: a book that asks for order books gets none from candles; one that asks for less gets its warm-up."""
    assert len(collected(100, rules=PackageRules(min_completeness=0.9))) == 0
    # Without features, indicators, state, pivots, trades and order book 4 of 10 are left.
    assert len(collected(100, rules=PackageRules(min_completeness=0.4))) == 100
    collector = EpisodeCollector(plan())
    bar = trending(60)
    for index in range(60):
        row = [float(column[index]) for column in (bar.open, bar.high, bar.low, bar.close, bar.volume)]
        collector.add_candle("1m", int(bar.timestamp[index]), *row)
        moment = int(bar.close_time[index])
        # The clock says that the last package comes from the future.
        collector.decide(moment, now_ms=moment if index < 59 else moment - 60_000)
    report = collector.finish().report
    assert report is not None
    assert report.quarantined["valid_timestamp"] == 1


def test_a_gap_lets_predictions_lapse_and_they_teach_nothing() -> None:
    """R9.8: an hour without bars: the five predictions whose exit falls into it come to nothing."""
    candles = trending(200)
    kept = np.ones(200, np.bool_)
    kept[100:160] = False
    book = collect_episodes(candles.take(kept), plan=plan())
    assert book.report is not None
    assert book.report.lapsed == 5
    rows = [book[f"{SYMBOL}@{int(candles.close_time[index])}"] for index in range(95, 100)]
    assert not any(one.outcome.outcome_validated for one in rows)
    assert all(one.market_return is None for one in rows)


def test_with_bars_longer_than_the_horizon_it_is_one_bar() -> None:
    """The default 300 s have no price in hourly bars."""
    assert outcome_rules_for(MINUTE) == OutcomeRules()
    assert outcome_rules_for(HOUR).horizon_s == 3600.0
    book = collect_episodes(walk(100, 1), symbol="X/Y", plan=PackagePlan(symbol="X/Y", timeframes=("1h",), window=8))
    assert book.report is not None
    assert book.report.validated > 50


def test_pivots_are_labelled_once_their_bars_are_in() -> None:
    """A swing high is class 0, a low 2, others 1; of the last bars nobody knows yet."""
    candles = trending(200)
    book = collect_episodes(candles, plan=plan())
    at = {int(moment): place for place, moment in enumerate(candles.close_time)}
    high, low = candles.high, candles.low
    found = set()
    for one in book:
        i = at[one.created_at]
        if i + 1 >= len(candles):
            assert one.pivot_class is None
            continue
        is_high = high[i] > max(high[i - 1], high[i + 1])
        is_low = low[i] < min(low[i - 1], low[i + 1])
        if is_high != is_low:
            assert one.pivot_class == (0 if is_high else 2)
        found.add(one.pivot_class)
    assert found == {0, 1, 2}


def test_the_trend_is_followed_where_it_is_known() -> None:
    up = collected(60)
    assert {one.predictions["action"] for one in list(up)[:20]} == {int(Action.BUY)}
    nothing = next(iter(up)).package
    assert nothing is not None
    bare = nothing.evolve(rl_state=None)
    batch = PackageBatch.from_packages([bare], plan().layout())
    assert follow_trend(batch)["action"].tolist() == [int(Action.HOLD)]


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: collect_episodes(trending(60, symbol="")), 'Give symbol="BTC/USDT"'),
        (lambda: collect_episodes({}), "none were given"),
        (lambda: collected(60, predict=lambda batch: {"side": np.zeros(len(batch))}), "`action` among them"),
        (lambda: collected(60, predict=lambda batch: {"action": np.zeros(1)}), "a predictor gives columns"),
        (lambda: collected(60, predict=lambda batch: {"action": np.full(len(batch), 7)}), "found another"),
        (lambda: collected(60, moments=[2, 1]), "ascend strictly"),
    ],
)
def test_bad_arguments_are_named(call: Any, text: str) -> None:
    with pytest.raises(DataError, match=text):
        call()


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data is not here")
def test_a_recorded_depth_feed_and_its_trades_make_complete_packages() -> None:
    """R9.1-R9.5 on real data: the feed's one snapshot comes after diffs that belong before it, and its recorder's clock
    is 1.3 s slow; ten minutes of BTC/USDT, a decision every second."""
    folder = SHARED / "orderbook" / "binance"
    trades, depth = load_trades(folder / "BTCUSDT-trades.parquet"), load_depth(folder / "BTCUSDT-depth-diff.parquet")
    bars = _bars_of(trades, 5_000)
    candles = {"5s": bars, "15s": resample(bars, "15s")}
    own = PackagePlan(symbol="BTC/USDT", timeframes=("5s", "15s"), window=16, pivot_side=1, latency_ms=20)
    rules = OutcomeRules(horizon_s=30.0, max_delay_s=10.0, round_trip_cost=0.0, target_profit=0.0005)
    moments = np.arange(int(bars.close_time[25]), int(bars.close_time[-8]), 1_000)
    book = collect_episodes(candles, plan=own, trades=trades, depth=depth, moments=moments, outcomes=rules)
    report = book.report
    assert report is not None
    assert report.integrity == 1.0
    assert report.mean_completeness is not None
    assert report.mean_completeness > 0.95
    assert report.stored > 0.95 * len(moments)
    assert report.validated > 0.9 * report.stored
    for one in book.ranked(limit=5):
        assert one.package is not None
        cob, ticks = one.package.cob_data, one.package.tick_data
        assert cob is not None
        assert ticks is not None
        assert cob[0, 0] < cob[0, 2]  # never crossed
        assert ticks[-1, 1] + 20 <= one.created_at
    assert book.profitable("BTC/USDT", min_profitability=0.5)


def _bars_of(trades: Trades, step: int) -> Candles:
    """Bars of the trades; a step without a trade has no bar."""
    slot = trades.timestamp // step
    first = np.flatnonzero(np.diff(slot, prepend=-1))
    last = np.append(first[1:], len(trades)) - 1
    return Candles(
        timestamp=slot[first] * step,
        open=trades.price[first],
        high=np.maximum.reduceat(trades.price, first),
        low=np.minimum.reduceat(trades.price, first),
        close=trades.price[last],
        volume=np.add.reduceat(trades.quantity, first),
        timeframe_ms=step,
        symbol="BTC/USDT",
    )


def test_the_window_of_a_plan_is_that_of_its_packages() -> None:
    one = collected(90).ranked(limit=1)[0]
    assert one.package is not None
    assert one.package.cnn_features is not None
    assert one.package.cnn_features.shape[0] <= WINDOW
