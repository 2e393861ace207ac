"""Where a rule of the formats begins and ends: the last case on each side of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.unit.market.formats.files import BARS, DAYS, HOUR, moment, rows, series, write

from lockstep.core.errors import DataError
from lockstep.market.bars import DroppedRowsWarning
from lockstep.market.candles import Candles
from lockstep.market.formats.markets import MarketChoice
from lockstep.market.load import load_candles

HEADER = "Date,Time,Open,High,Low,Close,Volume"


@pytest.mark.parametrize("clock", ["2400", "1060", "103060", "103099", "106000"])
def test_a_number_beside_the_date_that_is_no_time_of_day_is_refused_and_the_cure_works(
    tmp_path: Path, clock: str
) -> None:
    """It is not left aside: the bars would all lie at midnight."""
    lines = rows(DAYS, lambda t, *cells: [moment(t, "%Y-%m-%d"), clock if t == DAYS.timestamp[3] else "0930", *cells])
    path = write(tmp_path / "a.csv", [HEADER, *lines])
    with pytest.raises(DataError, match=rf"'Time' beside the date .* found '{clock}' in row 3, which is none"):
        load_candles(path)
    assert load_candles(path, columns={"timestamp": "Date"}) == DAYS


@pytest.mark.parametrize("clock", ["%H%M", "%H%M%S"])
def test_numbers_that_are_times_of_day_are_read(tmp_path: Path, clock: str) -> None:
    lines = rows(BARS, lambda t, *cells: [moment(t, "%Y-%m-%d"), moment(t, clock), *cells])
    assert load_candles(write(tmp_path / "a.csv", [HEADER, *lines]), timezone="UTC") == BARS


@pytest.mark.parametrize(("count", "ending"), [(8, "'M7'. Choose"), (9, "'M7' and 1 more. Choose")])
def test_at_most_eight_markets_are_listed(count: int, ending: str) -> None:
    with pytest.raises(DataError) as caught:
        MarketChoice().index([f"M{number}" for number in range(count)], "a.csv", "the column 'symbol'")
    assert ending in str(caught.value)


def test_the_comma_that_decides_nothing_is_shown_and_not_the_cell_before_it(tmp_path: Path) -> None:
    flat = [f"{moment(int(t), '%Y-%m-%dT%H:%M:%SZ')};{1200 if row == 0 else '1,201'};1,300;1,200;1,250;7"
            for row, t in enumerate(BARS.timestamp)]  # fmt: skip
    with pytest.raises(DataError, match=r"the comma in '1,201' could be"):
        load_candles(write(tmp_path / "a.csv", ["Date;Open;High;Low;Close;Volume", *flat]))


@pytest.mark.parametrize("form", ["%Y-%m-%dT%H:%M:%S.000Z", "epoch"])
def test_records_by_their_time_are_read_whichever_way_it_is_written(form: str) -> None:
    names = ("open", "high", "low", "close", "volume")
    records = {
        str(t) if form == "epoch" else moment(t, form): {name: getattr(BARS, name)[row] for name in names}
        for row, t in enumerate(BARS.timestamp.tolist())
    }
    assert load_candles(json.loads(json.dumps(records))) == BARS


def named(candles: Candles, column: str, value: str) -> list[str]:
    return [f"timestamp,open,high,low,close,volume,{column}", *rows(candles, lambda *cells: [*cells, value])]


@pytest.mark.parametrize(
    ("column", "one", "other"),
    [("symbol", "AAA", "BBB"), ("exchange", "binance", "kraken"), ("interval", "1h", "60s"), ("permno", "101", "202")],
)
def test_files_of_several_series_are_not_joined(tmp_path: Path, column: str, one: str, other: str) -> None:
    later = series(start=int(BARS.timestamp[-1]) + HOUR)
    first = write(tmp_path / "a1.csv", named(BARS, column, one))
    second = write(tmp_path / "a2.csv", named(later, column, other))
    with pytest.raises(DataError, match=rf"{second}: files that are joined are of one market; its .* is '{other}'"):
        load_candles([first, second])
    write(second, named(later, column, one))
    assert len(load_candles([first, second])) == 180


def test_documents_of_several_markets_are_not_joined(tmp_path: Path) -> None:
    names = ("t", "o", "h", "l", "c", "v")
    paths = []
    for number, ticker in enumerate(("AAA", "BBB")):
        bars = series(20, start=int(BARS.timestamp[0]) + 20 * number * HOUR)
        cells = zip(bars.timestamp, bars.open, bars.high, bars.low, bars.close, bars.volume, strict=True)
        results = [{name: value.item() for name, value in zip(names, row, strict=True)} for row in cells]
        paths.append(tmp_path / f"p{number}.json")
        paths[-1].write_text(json.dumps({"ticker": ticker, "results": results}))
    with pytest.raises(DataError, match=r"its symbol is 'BBB', that of .*p0.json is 'AAA'"):
        load_candles(paths)


def test_hours_that_have_the_number_of_their_end_are_refused(tmp_path: Path) -> None:
    lines = rows(BARS, lambda t, *cells: [moment(t, "%Y-%m-%d"), int(moment(t, "%H")) + 1, *cells])
    with pytest.raises(DataError, match="hours count from 0 to 23; the column 'hour' beside the date goes up to 24"):
        load_candles(write(tmp_path / "a.csv", ["date,hour,open,high,low,close,volume", *lines]), timezone="UTC")


@pytest.mark.parametrize("sixth", ["mean", "close", "trades", "money"])
def test_seven_cells_whose_sixth_may_be_no_volume_need_names(tmp_path: Path, sixth: str) -> None:
    """A mean price, an adjusted close, a count, or the money of a coin whose price is about 1."""

    def cells(t: int, o: float, h: float, low: float, c: float, v: float) -> list[object]:
        value = {"mean": round((h + low) / 2, 3), "close": round(0.93 * c, 4), "trades": 203, "money": v + 0.25}[sixth]
        prices = [o, h, low, c] if sixth != "money" else [1.0, 1.002, 0.998, 1.001]
        return [t // 1_000, *prices, value, int(v)]

    path = write(tmp_path / "a.csv", rows(BARS, cells))
    with pytest.raises(DataError):
        load_candles(path)
    names = ["timestamp", "open", "high", "low", "close", "other", "volume"]
    assert load_candles(path, columns=names).volume[0] == 1234.0


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    record = '{"t": 1704844800000, "o": 10, "h": 11, "l": 9, "c": 10, "v": 5, "c": 9}'
    (tmp_path / "a.json").write_text(f"[{record}]")
    with pytest.raises(DataError, match="a key stands once in an object; found 'c' with two values"):
        load_candles(tmp_path / "a.json")


@pytest.mark.parametrize("gap", ["", "none"])
def test_rows_without_a_symbol_are_of_no_other_market(gap: str) -> None:
    frame = BARS.to_frame().reset_index()
    frame["symbol"] = np.where(np.arange(90) < 60, "AAA", "")
    if gap == "none":
        frame["symbol"] = frame["symbol"].replace("", None)
    with pytest.raises(DataError, match=r"holds 2: 'AAA', ''"):
        Candles.from_frame(frame)
    assert len(Candles.from_frame(frame, symbol="AAA")) == 60


def test_numbers_of_markets_count_also_as_floats() -> None:
    frame = BARS.to_frame().reset_index()
    frame["permno"] = np.where(np.arange(90) < 60, 10107.0, 14593.0)
    with pytest.raises(DataError, match=r"holds 2: '10107', '14593'"):
        Candles.from_frame(frame)
    assert len(Candles.from_frame(frame, symbol="14593")) == 30


@pytest.mark.parametrize(
    ("market", "symbol", "is_taken"),
    [
        ("\u5e73\u5b89\u94f6\u884c", "\u8d35\u5dde\u8305\u53f0", False),
        ("\u5e73\u5b89\u94f6\u884c", "\u5e73\u5b89\u94f6\u884c", True),
        ("ETH", "ETH-PERP", False),
        ("BTC", "BTC-28JUN24", False),
        ("BTC", "BTC/USDT", True),
        ("BTC", "BTC-USDT-SWAP", False),
    ],
)
def test_a_name_is_taken_for_the_symbol_only_where_both_are_one_market(
    market: str, symbol: str, is_taken: bool
) -> None:
    if is_taken:
        MarketChoice(symbol=symbol).require(market, "a.csv")
    else:
        with pytest.raises(DataError, match="asked for the symbol"):
            MarketChoice(symbol=symbol).require(market, "a.csv")


def test_days_of_a_spreadsheet_that_were_cut_to_two_digits_are_refused(tmp_path: Path) -> None:
    lines = [f"{45352 + k / 100:.2f},10,11,9,10,5" for k in range(1, 20)]
    path = write(tmp_path / "a.csv", ["timestamp,open,high,low,close,volume", *lines])
    with pytest.raises(DataError, match="Two digits are too few for a time of day"):
        load_candles(path, time_unit="excel", timezone="UTC")


def test_records_with_keys_that_only_later_ones_have_are_read_whole(tmp_path: Path) -> None:
    records = [{"t": int(t), "o": 10, "h": 11, "l": 9, "c": 10, "v": 5} for t in series(120).timestamp]
    for record in records[110:]:
        record |= {"symbol": "ETH"}  # type: ignore[dict-item]
    with pytest.raises(DataError, match="holds 2"):
        load_candles(records)


def test_rows_of_other_lengths_are_no_table(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(
        json.dumps({"columns": ["timestamp", "open", "high", "low", "close"], "data": [[1, 2, 3, 1, 2], [1, 2]]})
    )
    with pytest.raises(DataError):
        load_candles(tmp_path / "a.json")


@pytest.mark.parametrize("text", ["%Y-%m-%dT%H:%M:%SZ"])
def test_an_epoch_and_a_text_of_other_times_leave_the_time_open(tmp_path: Path, text: str) -> None:
    """The epoch of the close beside the text of the open, with its zone: not the same, and no zone's distance."""
    lines = rows(BARS, lambda t, *cells: [t // 1_000 + 3_600, moment(t, text), *cells])
    path = write(tmp_path / "a.csv", ["unix,date,open,high,low,close,volume", *lines])
    with pytest.raises(DataError, match="timestamp"):
        load_candles(path)
    assert load_candles(path, columns={"timestamp": "date"}) == BARS


@pytest.mark.parametrize("flags", ["floats", "words", "last"])
def test_a_bar_in_progress_is_seen_however_it_is_written(flags: str) -> None:
    frame = BARS.to_frame().reset_index()
    over = np.arange(90) < 89
    values = {
        "floats": over.astype(np.float64),
        "words": np.where(over, "closed", "open"),
        "last": [True if flag else None for flag in over],
    }
    frame["is_final"] = values[flags]
    with pytest.raises(DataError, match="unfinished: 1 row"):
        Candles.from_frame(frame)
    with pytest.warns(DroppedRowsWarning, match="unfinished: 1 row"):
        assert len(Candles.from_frame(frame, on_bad="drop")) == 89
