"""Frames of pandas, polars and Arrow in the types that people's columns have."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.unit.market.formats.files import BARS, DAYS, moment

from lockstep.core.errors import DataError
from lockstep.market.load import load_candles

pl = pytest.importorskip("polars")
PRICES = ("open", "high", "low", "close", "volume")


def frame(candles: Any = BARS, **more: Any) -> Any:
    columns = {name: values.tolist() for name, values in candles.columns().items()}
    return pl.DataFrame({**columns, **more})


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin", "America/New_York"])
def test_polars_datetimes_of_every_unit_and_zone(unit: str, zone: str | None) -> None:
    times = pl.col("timestamp").cast(pl.Datetime("ms")).dt.cast_time_unit(unit)
    if zone is not None:
        times = times.dt.replace_time_zone("UTC").dt.convert_time_zone(zone)
    with_times = frame().with_columns(times)
    if zone is None:
        with pytest.raises(DataError, match="the zone of the times is not given"):
            load_candles(with_times)
        assert load_candles(with_times, timezone="UTC") == BARS
    else:
        assert load_candles(with_times) == BARS


def test_polars_dates_are_days_of_utc() -> None:
    dates = [dt.date.fromisoformat(moment(t, "%Y-%m-%d")) for t in DAYS.timestamp.tolist()]
    assert load_candles(frame(DAYS, timestamp=dates)) == DAYS


def test_polars_numbers_of_every_type() -> None:
    whole = frame().with_columns(pl.col("timestamp").cast(pl.UInt64), pl.col("volume").cast(pl.Float64))
    assert load_candles(whole) == BARS
    texts = [str(value) for value in BARS.volume.tolist()]
    exact = frame(volume=[Decimal(text) for text in texts])
    assert exact["volume"].dtype.is_decimal()
    assert load_candles(exact) == BARS
    assert load_candles(frame(volume=texts)) == BARS
    counts = frame().with_columns(pl.col("volume").cast(pl.Int64))
    assert load_candles(counts).volume.tolist() == [float(int(value)) for value in BARS.volume.tolist()]


def test_polars_labels_choose_the_market() -> None:
    both = pl.concat([frame(symbol=["BTC"] * 90), frame(symbol=["ETH"] * 90)])
    for kind in (pl.String, pl.Categorical, pl.Enum(["BTC", "ETH"])):
        table = both.with_columns(pl.col("symbol").cast(kind))
        assert load_candles(table, symbol="ETH") == BARS
        with pytest.raises(DataError, match="holds 2: 'BTC', 'ETH'"):
            load_candles(table)


def test_polars_chunks_views_and_missing_values() -> None:
    assert load_candles(pl.concat([frame().head(40), frame().tail(50)], rechunk=False)) == BARS
    missing = frame().with_columns(pl.when(pl.col("close") > 0).then(None).otherwise(pl.col("close")).alias("close"))
    with pytest.raises(DataError, match="non-finite: 90 rows"):
        load_candles(missing)
    assert load_candles(frame().lazy()) == BARS
    with pytest.raises(DataError, match="timestamp are missing"):
        load_candles(frame().select(PRICES))


def test_files_that_polars_writes(tmp_path: Path) -> None:
    table = frame(symbol=["BTC"] * 90).with_columns(pl.col("timestamp").cast(pl.Datetime("ms", "UTC")))
    table.write_parquet(tmp_path / "a.parquet")
    table.write_ipc(tmp_path / "a.feather", compat_level=pl.CompatLevel.newest())
    table.write_ipc(tmp_path / "b.arrow", compression="zstd")
    table.write_csv(tmp_path / "a.csv")
    table.write_json(tmp_path / "a.json")
    table.write_ndjson(tmp_path / "a.jsonl")
    for name in ("a.parquet", "a.feather", "b.arrow", "a.csv"):
        assert load_candles(tmp_path / name, symbol="BTC") == BARS
    for name in ("a.json", "a.jsonl"):  # polars leaves the zone out of JSON
        assert load_candles(tmp_path / name, symbol="BTC", timezone="UTC") == BARS
