"""The parts of collection at work on one market: packages, hashes, outcomes, changes, episodes, buffers (R9.47)."""

from __future__ import annotations

import itertools
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.unit.episodes.episode_markets import MINUTE, SYMBOL, collected, plan, trending
from tests.unit.market.bars import SHARED

from lockstep.episodes.book import EpisodeBook
from lockstep.episodes.collect import collect_episodes
from lockstep.episodes.outcomes import Action, OutcomeTracker, Prices, TrainingOutcome, settle_outcomes
from lockstep.episodes.packages.batch import PackageBatch
from lockstep.episodes.packages.build import build_packages
from lockstep.episodes.packages.package import FIELDS, FLAGS, PackageRules
from lockstep.episodes.packages.store import PackageStore, PackageWriter
from lockstep.episodes.packages.stream import PackageBuilder
from lockstep.market.rapid_change import RapidChangeDetector, detect_rapid_changes
from lockstep.rl import ProfitWeightedExperienceBuffer, RLExperience

BARS = 400


@pytest.fixture(scope="module")
def batches() -> list[PackageBatch]:
    return list(build_packages(plan(), {"1m": trending(BARS)}, chunk=128))


def test_every_package_matches_its_hashes_and_completeness_is_the_share_of_ten_fields(
    batches: list[PackageBatch], record_property: pytest.RecordProperty
) -> None:
    """R9.1, R9.2, R9.3, R9.47: 100 % integrity; with candles alone 8 of 10 fields once 21 bars are there."""
    hashed = [batch.hashed() for batch in batches]
    assert all(batch.integrity().all() for batch in hashed)
    complete = np.concatenate([batch.completeness() for batch in batches])
    assert complete[20:].tolist() == [0.8] * (BARS - 20)
    expected = [len(package.present_fields()) / len(FIELDS) for batch in batches for package in batch.packages()]
    assert complete.tolist() == expected
    record_property("mean completeness", float(complete.mean()))
    flags = np.concatenate([batch.flags() for batch in batches])
    assert flags[20:].all(axis=0).tolist() == [True] * len(FLAGS)


def test_a_changed_byte_of_any_payload_is_an_integrity_failure(batches: list[PackageBatch]) -> None:
    """R9.1, R9.3: the price of one package moves in its last bit; that package and no other is refused."""
    sound = batches[1].hashed()
    prices = sound.current_price.copy()
    prices[7] = np.nextafter(prices[7], np.inf)
    damaged = replace(sound, current_price=prices)
    assert np.flatnonzero(~damaged.integrity()).tolist() == [7]


def test_packages_are_judged_as_they_come_and_stored_with_hash_and_flags(
    tmp_path: Path, batches: list[PackageBatch]
) -> None:
    """R9.4, R9.5, R9.6: the first 20 lack five fields; the store holds the others and verifies them when it is read."""
    with PackageWriter(tmp_path, plan().layout(), rules=PackageRules(min_completeness=0.8)) as writer:
        for batch in batches:
            writer.add_batch(batch)
        assert writer.quarantine.counts()["completeness"] == 20
        worst = writer.quarantine.recent[-1]
        assert "technical_indicators" in worst.missing
        assert worst.reasons == ("completeness",)
    store = PackageStore(tmp_path)
    assert (len(store), store.verify()) == (BARS - 20, [])


def test_packages_one_by_one_have_the_hashes_of_those_made_together(batches: list[PackageBatch]) -> None:
    """R9.5: every package of the stream, hash by hash."""
    builder, candles = PackageBuilder(plan()), trending(BARS)
    columns = (candles.open, candles.high, candles.low, candles.close, candles.volume)
    together = [package.digest for batch in batches for package in batch.hashed().packages()]
    for index in range(150):
        builder.add_candle("1m", int(candles.timestamp[index]), *(float(column[index]) for column in columns))
        assert builder.package(int(candles.close_time[index])).digest == together[index]


def test_outcomes_begin_unvalidated_and_come_from_later_prices_alone() -> None:
    """R9.7, R9.8: at once and price by price the same; the price of the decision's own moment is never the entry."""
    assert TrainingOutcome().outcome_validated is False
    candles = trending(BARS)
    moments, prices = candles.close_time, Prices.of_candles(candles)
    actions = np.arange(BARS) % 3
    found = settle_outcomes(moments, actions, prices)
    known = found.outcome_validated
    assert (found.entry_ms[known] > moments[known]).all()
    assert (found.exit_ms[known] >= moments[known] + 300_000).all()
    assert ((found.profitability_score >= 0.0) & (found.profitability_score <= 1.0)).all()
    tracker, streamed = OutcomeTracker(), {}
    for time_ms, price in zip(prices.time.tolist(), prices.price.tolist(), strict=True):
        for one in tracker.observe(time_ms, price):
            streamed[int(one.prediction_id)] = one.outcome
        row = int(np.searchsorted(moments, time_ms))
        if row < BARS and moments[row] == time_ms:
            tracker.predict(str(row), time_ms, int(actions[row]))
    assert streamed == {row: found.outcome(row) for row in np.flatnonzero(known).tolist()}


def test_rapid_changes_are_found_either_way_and_make_premium_examples() -> None:
    """R9.11, R9.12, R9.13: the jump of 2 % at minute 149 is 2 % a minute; its packages rank higher."""
    candles = trending(BARS)
    at_once = detect_rapid_changes(candles.close_time, candles.close)
    event = at_once.event(149, SYMBOL)
    assert event is not None
    assert event.velocity_pct_per_min is not None
    assert event.velocity_pct_per_min > 1.5
    detector = RapidChangeDetector(SYMBOL)
    streamed = [detector.update(int(t), float(p)) for t, p in zip(candles.close_time, candles.close, strict=True)]
    assert [one for one in streamed if one is not None] == at_once.events(SYMBOL)
    one = collected(BARS)[f"{SYMBOL}@{int(candles.close_time[149])}"]
    assert one.is_rapid_change
    plain = replace(one, is_rapid_change=False)
    assert one.priority - plain.priority == pytest.approx(0.2)


def test_episodes_are_ranked_by_what_they_can_teach() -> None:
    """R9.9, R9.10: all of them; profit, rapid change, completeness and little use count."""
    book = collected(BARS)
    ranked = book.ranked()
    assert len(ranked) == len(book)
    for one in ranked[:20]:
        weight = 0.5 * one.score + 0.2 * bool(one.is_rapid_change) + 0.15 * 0.8 + 0.15
        assert one.priority == pytest.approx(weight)
    best = book.profitable(SYMBOL, max_episodes=25)
    assert [one.score for one in best] == sorted((one.score for one in best), reverse=True)
    book.count_run("s", {best[0].episode_id: 9})
    assert book.ranked()[0].episode_id != best[0].episode_id


def test_outcomes_of_episodes_feed_a_buffer_that_prefers_the_profitable() -> None:
    """R9.22, R9.23, R9.25, R9.27: a `TrainingOutcome` is what `rl` calls an outcome; accounts and shares follow it."""
    book = collected(BARS)
    buffer = ProfitWeightedExperienceBuffer(1_000, seed=1)
    settled = [one for one in book if one.outcome.outcome_validated]
    for one, after in itertools.pairwise(settled):
        assert one.package is not None
        assert after.package is not None
        experience = RLExperience(
            state=one.package.rl_state,  # type: ignore[arg-type]
            action=int(one.predictions["action"]),
            reward=0.0,
            next_state=after.package.rl_state,  # type: ignore[arg-type]
        )
        number = buffer.add(experience)
        assert buffer.update_outcome(number, one.outcome)
    profitable = sum(one.outcome.is_profitable for one in settled[:-1])
    accounts = buffer.statistics()
    assert (accounts.profitable.size, accounts.unprofitable.size) == (profitable, len(settled) - 1 - profitable)
    assert buffer.check_valid() == (True, "")
    batch = buffer.sample_batch(100)
    assert batch.is_profitable.mean() >= profitable / (len(settled) - 1)


def test_a_long_collection_on_disk_stays_in_bounded_memory(tmp_path: Path) -> None:
    """R9.47: four times the market, at most 2.5 times the peak: what grows are 130 bytes an episode, not its package.

    A package of 16 bars has 1.5 kB; held as objects, 12,000 of them would take 40 MB.
    """

    def peak(bars: int) -> int:
        candles = trending(bars, seed=9)
        tracemalloc.start()
        collect_episodes(candles, plan=plan(), folder=tmp_path / str(bars))
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    collect_episodes(trending(200), plan=plan())  # compiled and imported before anything is measured
    small, large = peak(4_000), peak(16_000)
    assert large < 2.5 * small
    assert large < 40e6


def test_collecting_costs_little_more_than_hashing(batches: list[PackageBatch]) -> None:
    """R9.47: the whole way, predictions and outcomes included, in at most eight times the bare hashing of the packages.

    A ratio within one process, of processor time, the better of three tries: other work on the machine hardly counts.
    """
    candles = trending(4_000, seed=9)
    packages = list(build_packages(plan(), {"1m": candles}))

    def seconds(call: object) -> float:
        began = time.process_time()
        call()  # type: ignore[operator]
        return time.process_time() - began

    hashing = min(seconds(lambda: [batch.hashes() for batch in packages]) for _ in range(3))
    whole = min(seconds(lambda: collect_episodes(candles, plan=plan())) for _ in range(3))
    assert whole < 8.0 * hashing


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data is not here")
def test_real_candles_of_a_month_become_episodes(tmp_path: Path) -> None:
    """R9.47 on real data: BTC/USDT 5m: every package sound, mean completeness that of candles without a book."""
    from lockstep.market.load import load_candles

    candles = load_candles(SHARED / "binance" / "BTCUSDT-5m.parquet", symbol="BTC/USDT", timeframe="5m")
    last = candles.take(slice(len(candles) - 3_000, len(candles)))
    book = collect_episodes(last, folder=tmp_path)
    report = book.report
    assert report is not None
    assert report.integrity == 1.0
    assert report.mean_completeness == pytest.approx(0.8, abs=0.01)
    assert report.validated > 2_900
    assert {int(one.predictions["action"]) for one in book.ranked(limit=200)} <= {int(item) for item in Action}
    assert EpisodeBook.open(tmp_path).report == report


def test_moments_of_decision_may_be_chosen() -> None:
    """Every third minute: the packages are those of the same moments in the whole collection."""
    candles = trending(200)
    some = collect_episodes(candles, plan=plan(), moments=candles.close_time[::3])
    every = {one.episode_id: one for one in collected(200)}
    assert len(some) > 50
    for one in some:
        assert one.created_at % (3 * MINUTE) == int(candles.close_time[0]) % (3 * MINUTE)
        assert one.package == every[one.episode_id].package
