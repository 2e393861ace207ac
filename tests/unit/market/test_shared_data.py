"""Real files, where they are at hand: their known defects (../shared/data/README.md) are found, no others invented."""

from __future__ import annotations

import pytest
from tests.unit.market.bars import HOUR, SHARED

from lockstep.core.errors import DataError
from lockstep.market.bars import read_bars
from lockstep.market.candles import Candles
from lockstep.market.checks import Rule, format_time
from lockstep.market.gaps import find_gaps
from lockstep.market.load import LoadOptions, load_candles, load_with_report
from lockstep.market.quality import quality_report
from lockstep.market.quality_report import QualityReport
from lockstep.market.resampling import resample
from lockstep.market.snapshot import open_snapshot, write_snapshot
from lockstep.storage.blobs import FolderBlobStore

pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data is not here")

# file, timeframe, rows, gaps, bars missing, flat, zero volume
FILES = [
    ("binance/BTCUSDT-1m", "1m", 63_643, 0, 0, 0, 0),
    ("binance/BTCUSDT-5m", "5m", 121_739, 1, 16, 14, 14),
    ("binance/BTCUSDT-1h", "1h", 58_419, 28, 128, 4, 4),
    ("binance/ETHUSDT-5m", "5m", 121_743, 1, 16, 14, 14),
    ("binance/SOLUSDT-1h", "1h", 23_988, 5, 12, 1, 1),
    ("binance-usdm/BTCUSDT-5m", "5m", 143_900, 0, 0, 3, 3),
    ("binance-usdm/1000PEPEUSDT-15m", "15m", 35_997, 0, 0, 0, 0),
    ("binance-usdm/ETHUSDT-4h", "4h", 13_597, 0, 0, 0, 0),
    ("okx-swap/BTCUSDT-5m", "5m", 70_499, 0, 0, 190, 189),
    ("oanda/EURUSD-1h", "1h", 74_439, 641, 30_730, 1, 74_439),
]


def load(name: str) -> Candles:
    return load_candles(SHARED / f"{name}.parquet")


def report(name: str) -> QualityReport:
    return quality_report(read_bars(SHARED / f"{name}.parquet"))


@pytest.mark.parametrize(("name", "timeframe", "rows", "gaps", "missing", "flat", "silent"), FILES)
def test_a_file_is_described_as_its_readme_does(
    name: str, timeframe: str, rows: int, gaps: int, missing: int, flat: int, silent: int
) -> None:
    bars = load(name)
    assert (bars.timeframe, len(bars)) == (timeframe, rows)
    assert load_candles(SHARED / f"{name}.parquet", timeframe=timeframe) == bars
    found = quality_report(bars)
    assert (len(found.gaps), found.bars_missing, found.flat, found.zero_volume) == (gaps, missing, flat, silent)
    assert found.usable
    assert found.score > 99


def test_the_longest_outage_of_bitcoin_hours_is_that_of_february_2018() -> None:
    longest = max(report("binance/BTCUSDT-1h").gaps, key=lambda gap: gap.bars_missing)
    assert format_time(longest.start) == "2018-02-08 01:00Z"
    # From the last bar's open to the next one's are 34 hours: 33 bars are missing.
    assert longest.stop - longest.start + HOUR == 34 * HOUR
    assert longest.bars_missing == 33


def test_outages_written_as_flat_bars_are_stuck_runs() -> None:
    """OKX: 189 bars in 21 runs, the longest 122 bars from 2022-12-18 08:40."""
    stuck = report("okx-swap/BTCUSDT-5m").stuck
    assert (len(stuck), sum(run.bars for run in stuck)) == (21, 189)
    longest = max(stuck, key=lambda run: run.bars)
    assert (format_time(longest.timestamp), longest.bars) == ("2022-12-18 08:40Z", 122)


def test_luna_is_recognised_as_two_assets() -> None:
    found = report("binance/LUNAUSDT-1h")
    assert len(found.gaps) == 6
    (change,) = found.changes
    # The last bar before opens at 2022-05-13 00:00; the new one's first opens on the 31st, 18 days later.
    assert format_time(change.gap.stop)[:10] == "2022-05-31"
    assert (change.gap.stop - change.gap.start) // (24 * HOUR) == 18
    assert change.ratio == pytest.approx(1.0 / 0.00005)
    assert found.score < 50
    bars = load("binance/LUNAUSDT-1h")
    row = change.gap.row
    assert bars.close[row] / bars.close[row - 1] == pytest.approx(170_000, rel=0.05)


def test_an_illiquid_and_delisted_coin_scores_low() -> None:
    found = report("binance/CVCUSDT-5m")
    assert found.zero_volume / found.rows == pytest.approx(0.156, abs=0.0005)
    assert found.flat / found.rows == pytest.approx(0.37, abs=0.005)
    (gap,) = found.gaps
    assert (format_time(gap.start)[:10], format_time(gap.stop)[:10]) == ("2022-12-09", "2023-05-12")
    assert (gap.stop - gap.start) // (24 * HOUR) == 154
    assert found.score < 50


def test_weekends_are_told_from_the_fourteen_shorter_holes_of_the_currency_market() -> None:
    gaps = report("oanda/EURUSD-1h").gaps
    # Shorter than a weekend: less than the 47 bars that the shortest weekend misses.
    short = [gap for gap in gaps if gap.bars_missing < 47]
    assert len(short) == 14
    assert all(gap.kind == "hole" for gap in short)
    assert sum(gap.kind == "session" for gap in gaps) == 613


def test_the_defects_of_the_yahoo_file_are_named_exactly() -> None:
    """9 duplicate dates on the last Sunday of March, 9 missing at the end of October, 89 rows outside low to high."""
    path = SHARED / "yahoo" / "BTCUSD-1d.parquet"
    with pytest.raises(DataError) as caught:
        load_candles(path)
    text = str(caught.value)
    assert "98 of 4,065 rows break 2 rules" in text
    assert "duplicated: 9 rows, first row 254 (2011-03-27 00:00Z open=0.82 high=0.85 low=0.76 close=0.799" in text
    assert "OHLC-inconsistent: 89 rows, first row 1 (2010-07-17 00:00Z open=0.04951 high=0.08585 low=0.05941" in text
    found = report("yahoo/BTCUSD-1d")
    assert (found.duplicates, len(found.gaps), found.bars_missing) == (9, 9, 9)
    assert {format_time(gap.start)[5:7] for gap in found.gaps} == {"10"}
    assert [(format_time(run.timestamp)[:10], run.bars) for run in found.stuck] == [
        ("2010-07-16", 1),
        ("2011-06-19", 6),
    ]
    kept, dropped = load_with_report(path, LoadOptions(on_bad="drop"))
    assert {defect.rule for defect in dropped.dropped} == {Rule.DUPLICATED, Rule.OHLC_INCONSISTENT}
    assert len(kept) == 4_065 - dropped.rows_dropped


def test_stock_days_have_their_holidays_as_holes() -> None:
    gaps = find_gaps(load("stocks/GOOG-1d").timestamp, 24 * HOUR)
    weekends = [gap for gap in gaps if gap.kind == "session"]
    assert all(gap.bars_missing == 2 for gap in weekends)
    assert len(gaps) - len(weekends) < 9 * 10  # nine years of about nine holidays


def test_five_minutes_summed_up_are_the_hours_of_another_download() -> None:
    five, hours = load("binance/BTCUSDT-5m"), load("binance/BTCUSDT-1h")
    made = resample(five, "1h")
    common = hours.between(int(made.timestamp[0]), int(made.close_time[-1]))
    assert made.timestamp.tolist() == common.timestamp.tolist()
    same = (made.close == common.close) & (made.high == common.high) & (made.low == common.low)
    assert same.mean() > 0.999


def test_bars_of_other_kinds_are_read_by_mapping() -> None:
    mapping = {"open": "bid_open", "high": "bid_high", "low": "bid_low", "close": "bid_close", "volume": None}
    quotes = load_candles(SHARED / "quotes/oanda/EURUSD-1h-bidask.parquet", columns=mapping, extra=["ask_close"])
    bids = load("oanda/EURUSD-1h")
    assert (quotes.close == bids.close).all()
    assert (quotes.extra["ask_close"] > quotes.close).mean() > 0.999
    with pytest.raises(DataError, match="columns open, high, low, close, volume are missing"):
        load_candles(SHARED / "sentiment/fear-greed-1d.parquet")


def test_a_large_file_comes_back_from_its_snapshot(tmp_path: object) -> None:
    from pathlib import Path

    blobs = FolderBlobStore(Path(str(tmp_path)))
    bars = load("binance-usdm/BTCUSDT-5m")
    write_snapshot(bars, blobs)
    assert open_snapshot(blobs, bars.digest) == bars
