"""Numbers that are times, dates or days of something else; numbers that must not lose their last digit."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from tests.unit.market.formats.files import BARS, DAYS, comma, moment, rows, series, write

from lockstep.core.errors import DataError
from lockstep.market.candles import Candles
from lockstep.market.load import load_candles

HEADER = "timestamp,open,high,low,close,volume"


def frame(candles: Candles, times: Any) -> pd.DataFrame:
    return candles.to_frame().reset_index(drop=True).assign(timestamp=times)


@pytest.mark.parametrize("form", ["%Y%m%d%H", "%Y%m%d%H%M", "%Y%m%d%H%M%S"])
def test_digits_of_a_date_and_an_hour_are_no_epoch_numbers(tmp_path: Path, form: str) -> None:
    path = write(tmp_path / "a.csv", [HEADER, *rows(BARS, lambda t, *c: [moment(t, form), *c])])
    assert load_candles(path, timezone="UTC") == BARS
    numbers = [int(moment(t, form)) for t in BARS.timestamp.tolist()]
    assert load_candles(frame(BARS, numbers), timezone="UTC") == BARS
    with pytest.raises(DataError, match=r"the zone of .* is not given"):
        load_candles(path)


def test_whole_numbers_that_are_dates_are_days(tmp_path: Path) -> None:
    numbers = [int(moment(t, "%Y%m%d")) for t in DAYS.timestamp.tolist()]
    for times in (numbers, [float(number) for number in numbers]):
        assert load_candles(frame(DAYS, times)) == DAYS
    assert load_candles(frame(DAYS, numbers), time_format="%Y%m%d") == DAYS
    frame(DAYS, numbers).to_parquet(tmp_path / "a.parquet")
    assert load_candles(tmp_path / "a.parquet") == DAYS


def test_an_epoch_number_is_none_of_these() -> None:
    for factor in (1, 1_000, 1_000_000):
        assert load_candles(frame(BARS, BARS.timestamp * factor)) == BARS
    assert load_candles(frame(BARS, BARS.timestamp // 1_000)) == BARS


def test_one_instant_of_the_day_in_a_format_needs_no_zone(tmp_path: Path) -> None:
    few = series(4, step=86_400_000)
    path = write(tmp_path / "a.csv", [HEADER, *rows(few, lambda t, *c: [moment(t, "%d/%m/%Y"), *c])])
    assert load_candles(path, time_format="%d/%m/%Y") == few
    hours = write(tmp_path / "b.csv", [HEADER, *rows(BARS, lambda t, *c: [moment(t, "%d/%m/%Y %H"), *c])])
    with pytest.raises(DataError, match="--timezone UTC"):
        load_candles(hours, time_format="%d/%m/%Y %H")


def test_a_declared_unit_is_believed() -> None:
    first = load_candles(frame(BARS, list(range(45_292, 45_382))), time_unit="s")
    assert first.timestamp[0] == 45_292_000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2024-11-01 00:00:00 EDT", "Names of zones are not read"),
        ("20240229 19:00:00 US/Eastern", "Names of zones are not read"),
        ("1.70925E+12", "may have cut digits"),
    ],
)
def test_a_time_that_is_not_read_gets_a_cure_of_its_own(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path / "a.csv", [HEADER, *rows(BARS, lambda _, *c: [text, *c])])
    with pytest.raises(DataError, match=message):
        load_candles(path)


def test_a_second_line_of_names_has_to_be_left_out(tmp_path: Path) -> None:
    lines = rows(BARS, lambda t, *c: [moment(t, "%Y-%m-%dT%H:%MZ"), *c])
    with pytest.raises(DataError, match=r"found 'timestamp' in row 50\. A line that is no row"):
        load_candles(write(tmp_path / "a.csv", [HEADER, *lines[:50], HEADER, *lines[50:]]))


def test_decimals_are_the_nearest_doubles() -> None:
    texts = [f"{1000 + 0.12345678 * row:.8f}" for row in range(len(BARS))]
    decimals = pa.array([Decimal(text) for text in texts])
    table = pa.table({**BARS.columns(), "volume": decimals})
    assert load_candles(table).volume.tolist() == [float(text) for text in texts]


@pytest.mark.parametrize("name", ["security_code", "ISIN", "instrument_name", "permno"])
def test_a_column_that_names_securities_is_compared(name: str) -> None:
    one = BARS.to_frame().reset_index()
    other = one.assign(timestamp=series(2 * len(BARS)).to_frame().reset_index()["timestamp"][len(BARS) :].to_numpy())
    values = (10_001, 10_002) if name == "permno" else ("AA", "BB")
    both = pd.concat([table.assign(**{name: value}) for table, value in zip((one, other), values, strict=True)])
    with pytest.raises(DataError, match=r"holds 2: .*columns={'symbol': None}"):
        load_candles(both)
    assert load_candles(both, symbol=str(values[0])).timestamp.tolist() == BARS.timestamp.tolist()
    assert len(load_candles(both, columns={"symbol": None})) == 2 * len(BARS)


@pytest.mark.parametrize(
    "names",
    [
        "MTS,OPEN,HIGH,LOW,CLOSE,VOLUME",
        "Datum,Er\u00f6ffn.,Hoch,Tief,Zuletzt,Vol.",
        "Data,Otwarcie,Max.,Min.,Ostatnio,Wol.",
    ],
)
def test_further_names_of_columns_are_recognised(tmp_path: Path, names: str) -> None:
    lines = rows(BARS, lambda t, *c: [t, *(f'"{comma(value, 3, ".")}"' for value in c)])
    assert load_candles(write(tmp_path / "a.csv", [names, *lines])) == BARS


def test_an_amount_of_money_is_no_volume_unless_it_is_asked_for(tmp_path: Path) -> None:
    lines = rows(BARS, lambda t, *c: [t, *c])
    path = write(tmp_path / "a.csv", ["timestamp,open,high,low,close,Volume USDT", *lines])
    with pytest.raises(DataError, match=r"an amount of the quote currency.*--columns 'volume=Volume USDT'"):
        load_candles(path)
    assert load_candles(path, columns={"volume": "Volume USDT"}) == BARS
    assert load_candles(path, symbol="USDT/EUR").volume.tolist() == BARS.volume.tolist()


def test_bars_before_1970_are_left_out_as_the_message_says(tmp_path: Path) -> None:
    old = pd.date_range("1969-12-20", periods=len(DAYS), freq="D")
    path = write(tmp_path / "a.csv", [HEADER, *(f"{day:%Y-%m-%d},10,11,9,10,5" for day in old)])
    with pytest.raises(DataError, match="start='1970-01-01'"):
        load_candles(path)
    assert len(load_candles(path, start="1970-01-01")) == len(DAYS) - 12
    assert len(load_candles(path, last=len(DAYS) - 12)) == len(DAYS) - 12


@pytest.mark.parametrize(
    ("name", "form"), [("Time", "%H%M"), ("Time", "%-H%M"), ("Time", "%H%M%S"), ("TIME", "%-H%M%S"), ("hour", "%-H")]
)
def test_a_time_of_day_in_digits_beside_the_date_is_not_lost(tmp_path: Path, name: str, form: str) -> None:
    lines = rows(BARS, lambda t, *c: [moment(t, "%Y-%m-%d"), moment(t, form), *c])
    path = write(tmp_path / "a.csv", [f"Date,{name},Open,High,Low,Close,Volume", *lines])
    assert load_candles(path, timezone="UTC") == BARS
    assert load_candles(path, timezone="UTC", columns={"timestamp": ["Date", name]}) == BARS
    with pytest.raises(DataError, match="--timezone UTC"):
        load_candles(path)


def test_numbers_beside_the_date_that_could_be_hours_or_minutes_are_refused(tmp_path: Path) -> None:
    lines = rows(BARS, lambda t, *c: [moment(t, "%Y-%m-%d"), moment(t, "%-H"), *c])
    path = write(tmp_path / "a.csv", ["Date,Time,Open,High,Low,Close,Volume", *lines])
    with pytest.raises(DataError, match="could count hours or minutes; its largest number is 23"):
        load_candles(path, timezone="UTC")


def test_a_link_that_leads_nowhere_is_called_one(tmp_path: Path) -> None:
    loop = tmp_path / "a.csv"
    loop.symlink_to(loop)
    with pytest.raises(DataError, match="is a link that leads to no file"):
        load_candles(loop)


def test_a_column_alone_is_no_table() -> None:
    with pytest.raises(DataError):
        load_candles(BARS.to_frame()["close"])


def test_texts_of_arrow_views_are_read_as_texts(tmp_path: Path) -> None:
    """As polars exports them, for columns of text and for their dictionaries."""
    texts = pa.array([str(value) for value in BARS.volume.tolist()], pa.string_view())
    labels = pa.DictionaryArray.from_arrays(pa.array([0] * 45 + [1] * 45), pa.array(["A", "B"], pa.string_view()))
    table = pa.table({**BARS.columns(), "volume": texts})
    assert load_candles(table) == BARS
    assert load_candles(table.append_column("symbol", labels), symbol="A") == BARS.head(45)
    with pa.OSFile(str(tmp_path / "a.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    assert load_candles(tmp_path / "a.arrow") == BARS
