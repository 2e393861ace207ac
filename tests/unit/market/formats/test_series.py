"""Rows of several exchanges or lengths of bars in one file, and rows that are no bars yet."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.unit.market.formats.files import BARS, HOUR, moment, rows, series, write

import lockstep.market.bars as bars_module
from lockstep.app.data import data_quality
from lockstep.core.errors import DataError
from lockstep.market.bars import DroppedRowsWarning, LoadOptions
from lockstep.market.load import load_candles, load_with_report
from lockstep.storage.blobs import FolderBlobStore

HEADER = "timestamp,open,high,low,close,volume"


def two_series(tmp_path: Path, column: str, values: tuple[str, str]) -> Path:
    """The bars, and the same shifted by half an hour, row by row, told apart by one column."""
    other = series(start=int(BARS.timestamp[0]) + HOUR // 2)
    lines = [
        line
        for pair in zip(rows(BARS, lambda *c: [values[0], *c]), rows(other, lambda *c: [values[1], *c]), strict=True)
        for line in pair
    ]
    return write(tmp_path / "a.csv", [f"{column},{HEADER}", *lines])


@pytest.mark.parametrize("column", ["exchange", "Venue", "MIC", "exchange_name", "dataset"])
def test_two_exchanges_are_two_series(tmp_path: Path, column: str) -> None:
    path = two_series(tmp_path, column, ("BINANCE", "Kraken"))
    with pytest.raises(DataError, match=r"holds 2: 'BINANCE', 'Kraken'. Choose one: .*--exchange BINANCE;"):
        load_candles(path)
    assert load_candles(path, exchange="binance") == BARS
    assert load_candles(path, exchange="Kraken").timestamp[0] == BARS.timestamp[0] + HOUR // 2
    with pytest.raises(DataError, match="Choose one"):
        load_candles(path, exchange="okx")
    assert len(load_candles(path, columns={"symbol": None})) == 2 * len(BARS)


@pytest.mark.parametrize("values", [("1h", "4h"), ("60", "240"), ("1Hour", "4Hour"), ("60min", "4hour"), ("H1", "H4")])
def test_two_lengths_of_bars_are_two_series(tmp_path: Path, values: tuple[str, str]) -> None:
    path = two_series(tmp_path, "interval", values)
    with pytest.raises(DataError) as error:
        load_candles(path)
    option = re.search(r"--timeframe (\w+)", str(error.value))
    assert option is not None
    assert load_candles(path, timeframe=option[1]) == BARS


def test_one_exchange_is_a_label(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [f"exchange,interval,{HEADER}", *rows(BARS, lambda *c: ["NASDAQ", "1h", *c])])
    assert load_candles(path, exchange="another house") == BARS


FLAGS = [("confirm", 0, 1), ("is_closed", "false", "true"), ("complete", False, True), ("x", False, True),
         ("closed", "0", "1"), ("partial", 1, 0)]  # fmt: skip


@pytest.mark.parametrize(("column", "no", "yes"), FLAGS)
def test_a_bar_that_the_source_calls_unfinished_is_no_bar(column: str, no: Any, yes: Any) -> None:
    frame = BARS.to_frame().assign(**{column: [yes] * (len(BARS) - 1) + [no]})
    with pytest.raises(DataError, match=r"unfinished: 1 row, first row 89 \(2024-01-13 17:00Z [\s\S]*on_bad='drop'"):
        load_candles(frame)
    with pytest.warns(DroppedRowsWarning, match="unfinished: 1 row"):
        assert load_candles(frame, on_bad="drop") == BARS.head(89)
    assert load_candles(frame.head(89)) == BARS.head(89)
    assert load_candles(frame, last=5, stop=int(BARS.timestamp[89])) == BARS.slice(84, 89)


def test_a_column_of_that_name_may_hold_something_else() -> None:
    for values in (np.arange(90), ["open"] * 90, BARS.close):
        assert load_candles(BARS.to_frame().assign(final=values)) == BARS


def test_unfinished_rows_of_a_stream_leave_the_finished_ones(tmp_path: Path) -> None:
    """Binance's stream sends a kline every second until it is over."""
    messages = []
    for t, o, h, low, c, v in zip(*(values.tolist() for values in BARS.columns().values()), strict=True):
        for is_over in (False, True):
            kline = {"t": t, "T": t + HOUR - 1, "s": "BTCUSDT", "i": "1h", "o": str(o), "c": str(c), "h": str(h),
                     "l": str(low), "v": str(v if is_over else v / 2), "n": 5, "x": is_over, "q": str(v * c),
                     "V": "0.5", "L": 77}  # fmt: skip
            messages.append({"e": "kline", "E": t + HOUR, "s": "BTCUSDT", "k": kline})
    path = write(tmp_path / "a.jsonl", [json.dumps(message) for message in messages])
    with pytest.raises(DataError, match="unfinished: 90 rows"):
        load_candles(path, sort=True)
    with pytest.warns(DroppedRowsWarning):
        assert load_candles(path, on_bad="drop") == BARS
    messages[7]["k"]["s"] = "ETHUSDT"
    with pytest.raises(DataError, match="'s' holds 2: 'BTCUSDT', 'ETHUSDT'"):
        load_candles(messages)


def test_the_quality_report_counts_unfinished_rows_and_says_what_was_read(tmp_path: Path) -> None:
    lines = rows(BARS, lambda t, *c: [moment(t, "%Y-%m-%dT%H:%MZ"), *c, int(t < BARS.timestamp[-1])])
    path = write(tmp_path / "a.csv", [f"{HEADER},confirm", *lines])
    report = data_quality(str(path), blobs=FolderBlobStore(tmp_path / "blobs"))
    assert not report.usable
    assert "broken rule    unfinished: 1 row, first row 89" in str(report)
    assert "read as        CSV; comma between columns" in str(report)
    assert "1 rows are not over, as 'confirm' says" in report.to_dict()["format"]


class _Clock:
    def __init__(self, now: int) -> None:
        self.now = now

    def utc_ms(self) -> int:
        return self.now


@pytest.mark.parametrize(("age", "is_open"), [(-1, False), (0, True), (HOUR - 1, True), (HOUR, False)])
def test_the_last_bar_is_open_until_its_time_is_over(monkeypatch: pytest.MonkeyPatch, age: int, is_open: bool) -> None:
    """As ccxt gives it, nothing but the clock says so: it is told, and dropped where broken rows are."""
    now = int(BARS.timestamp[-1]) + age
    monkeypatch.setattr(bars_module, "SystemClock", lambda: _Clock(now))
    candles = load_candles(BARS.to_frame())
    assert candles == BARS
    assert ("2024-01-13 17:00Z, was not over yet" in str(candles.format)) is is_open
    left, report = load_with_report(BARS.to_frame(), LoadOptions(on_bad="drop"))
    assert len(left) == 90 - is_open
    assert report.rows_dropped == is_open


def test_several_files_of_which_one_says_what_is_over(tmp_path: Path) -> None:
    frame = BARS.to_frame()
    frame.head(40).to_csv(tmp_path / "a-2024-01.csv", index=False)
    frame.tail(50).assign(confirm=[1] * 49 + [0]).to_csv(tmp_path / "a-2024-02.csv", index=False)
    with pytest.raises(DataError, match="unfinished: 1 row, first row 89"):
        load_candles(tmp_path / "a-2024-*.csv")


def test_the_last_minute_of_an_hour_is_a_time_of_day(tmp_path: Path) -> None:
    lines = [f"25.01.2024 {9 + k // 60:02}:{k % 60:02}:00,1,3,1,2,5" for k in range(55, 65)]
    candles = load_candles(write(tmp_path / "a.csv", ["timestamp,open,high,low,close,volume", *lines]), timezone="UTC")
    assert np.diff(candles.timestamp).tolist() == [60_000] * 9
