from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.unit.market.bars import DAY, HOUR, walk

from lockstep.core.errors import DataError
from lockstep.market.collector import DataCollector
from lockstep.market.indicators import rolling_atr, sma
from lockstep.market.source import FileSource, SampleSource


def source(tmp_path: Path, n: int = 300, step: int = HOUR) -> FileSource:
    pq.write_table(pa.table(walk(n, seed=2, step=step).columns()), tmp_path / "a.parquet")
    return FileSource(tmp_path / "a.parquet")


def test_columns_come_in_the_order_of_the_specification(tmp_path: Path) -> None:
    """R1.9: a collector computes ATR and SMA indicators next to OHLCV."""
    frame = DataCollector(source(tmp_path)).fetch_ohlcv("btc/usdt", "Kraken", "1h", lookback_candles=200)
    assert list(frame.columns) == ["timestamp", "open", "high", "low", "close", "volume", "atr", "sma_20", "sma_50"]
    assert frame["timestamp"].dtype == np.int64
    assert frame["timestamp"].is_monotonic_increasing
    assert frame["timestamp"].is_unique
    assert len(frame) == 200


def test_names_are_put_in_their_usual_case(tmp_path: Path) -> None:
    bars = DataCollector(source(tmp_path)).fetch_candles("btc/usdt", "Kraken", "1h")
    assert (bars.symbol, bars.exchange) == ("BTC/USDT", "kraken")


def test_earlier_rows_are_read_so_that_the_first_wanted_one_has_values(tmp_path: Path) -> None:
    whole = walk(300, seed=2)
    bars = DataCollector(source(tmp_path)).fetch_candles("A/B", "x", "1h", lookback_candles=200)
    assert not any(np.isnan(values).any() for values in bars.extra.values())
    np.testing.assert_array_equal(bars.extra["sma_50"], sma(whole.close, 50)[100:])
    np.testing.assert_array_equal(bars.extra["atr"], rolling_atr(whole.high, whole.low, whole.close, 14)[100:])


def test_where_the_source_begins_the_head_is_nan_and_not_filled(tmp_path: Path) -> None:
    bars = DataCollector(source(tmp_path)).fetch_candles("A/B", "x", "1h")
    assert [int(np.isnan(bars.extra[name]).sum()) for name in ("atr", "sma_20", "sma_50")] == [14, 19, 49]
    assert np.isnan(bars.extra["sma_50"][:49]).all()


def test_fewer_than_a_hundred_candles_ask_for_a_backfill(tmp_path: Path) -> None:
    """R1.19: fewer than 100 candles raises ValueError mentioning backfill."""
    with pytest.raises(ValueError, match=r"at least 100 candles; found 99. Backfill") as caught:
        DataCollector(source(tmp_path, n=99)).fetch_ohlcv("A/B", "x", "1h")
    assert isinstance(caught.value, DataError)
    assert len(DataCollector(source(tmp_path, n=100)).fetch_ohlcv("A/B", "x", "1h")) == 100


def test_the_most_recent_rows_are_returned_however_old(tmp_path: Path) -> None:
    """R1.20: the N most recent candles are returned even if all are years old."""
    bars = DataCollector(source(tmp_path)).fetch_candles("A/B", "x", "1h", lookback_candles=120)
    assert bars.timestamp.tolist() == walk(300, seed=2).timestamp[-120:].tolist()


def test_days_are_converted_with_the_timeframe_of_the_job(tmp_path: Path) -> None:
    """R1.21: lookback_days converts with the job's own timeframe: 5 days are 120 hours, not 5 x 288."""
    collector = DataCollector(source(tmp_path))
    with pytest.warns(DeprecationWarning, match="lookback_days is deprecated"):
        assert len(collector.fetch_candles("A/B", "x", "1h", lookback_days=5)) == 120
    with pytest.warns(DeprecationWarning, match="lookback_days"):
        assert len(collector.fetch_candles("A/B", "x", "1h", lookback_candles=150, lookback_days=5)) == 150
    days = DataCollector(source(tmp_path, step=DAY))
    with pytest.warns(DeprecationWarning, match="lookback_days"):
        assert len(days.fetch_candles("A/B", "x", "1d", lookback_days=110)) == 110


def test_other_timeframes_are_refused_with_the_list(tmp_path: Path) -> None:
    """R1.22: unsupported timeframe raises ValueError listing allowed ones."""
    with pytest.raises(ValueError, match="one of 1m, 5m, 15m, 1h, 4h, 1d; found '30m'"):
        DataCollector(source(tmp_path)).fetch_ohlcv("A/B", "x", "30m")


def test_a_lookback_is_positive(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="positive number of candles; found 0"):
        DataCollector(source(tmp_path)).fetch_ohlcv("A/B", "x", "1h", lookback_candles=0)


def test_a_file_of_another_timeframe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing but gaps"):
        DataCollector(source(tmp_path)).fetch_candles("A/B", "x", "5m")


def test_the_sample_is_the_default_source_and_only_itself() -> None:
    bars = DataCollector().fetch_candles("EUR/USD", "any", lookback_candles=500)
    assert len(bars) == 500
    assert len(SampleSource().candles(symbol="eur/usd", exchange="any", timeframe="1h")) == 6_225
    with pytest.raises(DataError, match="sample is EUR/USD 1h; asked for BTC/USDT 5m"):
        SampleSource().candles(symbol="BTC/USDT", exchange="any", timeframe="5m")
