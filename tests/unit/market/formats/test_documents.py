"""Candles in JSON, of exchanges, data sellers and pandas, and the same in Python lists."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tests.unit.market.formats.files import BARS, HOUR, moment

from lockstep.core.errors import DataError
from lockstep.market.load import load_candles

COLUMNS = {name: values.tolist() for name, values in BARS.columns().items()}
ROWS: list[list[Any]] = [list(row) for row in zip(*COLUMNS.values(), strict=True)]
SHORT = [dict(zip("tohlcv", row, strict=True)) for row in ROWS]
FRAME = pd.DataFrame(COLUMNS)
ISO = [{**record, "t": moment(record["t"], "%Y-%m-%dT%H:%M:%SZ"), "n": 5, "vw": 1.0} for record in SHORT]
KRAKEN = [[t // 1_000, str(o), str(h), str(low), str(c), str(low), str(v), 4] for t, o, h, low, c, v in ROWS]
BINANCE = [[t, *map(str, rest), t + HOUR - 1, "9.1", 12, "3.2", "4.4", "0"] for t, *rest in ROWS]
CHART = {
    "chart": {
        "result": [
            {
                "meta": {"symbol": "BTC-USD"},
                "timestamp": [t // 1_000 for t in COLUMNS["timestamp"]],
                "indicators": {"quote": [{name: COLUMNS[name] for name in ("open", "high", "low", "close", "volume")}]},
            }
        ],
        "error": None,
    }
}
DOCUMENTS: dict[str, Any] = {
    "ccxt": ROWS,
    "freqtrade": [[float(t), *rest] for t, *rest in ROWS],
    "binance": BINANCE,
    "kraken": {"error": [], "result": {"XXBTZUSD": KRAKEN, "last": 1_704_000_000}},
    "polygon": {"ticker": "X:BTCUSD", "resultsCount": 2, "results": [{**r, "vw": 1.0, "n": 5} for r in SHORT]},
    "alpaca": {"bars": {"BTC/USD": ISO}, "next_page_token": None},
    "alpaca, one symbol": {"bars": ISO, "symbol": "BTCUSD"},
    "charts": {"s": "ok", **{key: [record[key] for record in SHORT] for key in "tohlcv"}},
    "Yahoo": CHART,
    "pandas records": json.loads(FRAME.to_json(orient="records")),
    "pandas columns": json.loads(FRAME.to_json()),
    "pandas split": json.loads(FRAME.set_index("timestamp").to_json(orient="split")),
    "pandas index": json.loads(FRAME.set_index("timestamp").to_json(orient="index")),
    "pandas table": json.loads(FRAME.to_json(orient="table", index=False)),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_gives_its_candles_from_a_file_and_from_python(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(DOCUMENTS[name]))
    candles = load_candles(path)
    assert candles == BARS
    assert str(candles.format).startswith("JSON, ")
    assert load_candles(DOCUMENTS[name]) == BARS


def test_a_document_says_who_wrote_it() -> None:
    assert str(load_candles(DOCUMENTS["polygon"]).format).startswith("Polygon aggregates, by its keys; records in 'res")
    assert str(load_candles(DOCUMENTS["alpaca"]).format).startswith(
        "Alpaca bars, by its keys; records in 'bars BTC/USD'"
    )
    assert "as ccxt and freqtrade write them" in str(load_candles(ROWS).format)


def test_lines_of_json_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps(record) for record in ISO))
    assert load_candles(path) == BARS


def test_several_markets_in_a_document_are_chosen_between_by_their_symbol() -> None:
    other = [
        {**record, "o": record["o"] / 2, "h": record["h"] / 2, "l": record["l"] / 2, "c": record["c"] / 2}
        for record in ISO
    ]
    both = {"bars": {"ETH/USD": other, "BTC/USD": ISO}}
    with pytest.raises(DataError, match=r"the document holds 2: 'ETH/USD', 'BTC/USD'. Choose one: symbol='ETH/USD'"):
        load_candles(both)
    assert load_candles(both, symbol="BTC/USD") == BARS
    with pytest.raises(DataError, match="the symbol 'SOL/USD' is none of the markets"):
        load_candles(both, symbol="SOL/USD")
    with pytest.raises(DataError, match="the rows are of 'X:BTCUSD'; asked for the symbol 'ETH/USD'"):
        load_candles(DOCUMENTS["polygon"], symbol="ETH/USD")


def test_rows_in_another_order_need_their_names() -> None:
    """Coinbase: time, low, high, open, close, volume."""
    coinbase = [[t // 1_000, low, h, o, c, v] for t, o, h, low, c, v in ROWS]
    with pytest.raises(DataError, match="--columns timestamp,open,high,low,close,volume"):
        load_candles(coinbase)
    assert load_candles(coinbase, columns=["timestamp", "low", "high", "open", "close", "volume"]) == BARS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read as JSON"),
        ("[" * 100_000, "cannot be read as JSON|nested too deeply"),
        ('{"a": 1}', "candles are rows"),
        ("[]", "candles are rows"),
        ('[{"t": 1, "o": 1, "h": "x", "l": 1, "c": 1, "v": 1}, {"t": 2, "o": 1, "h": 1, "l": 1, "c": 1, "v": 1}]',
         "values of several types"),
    ],
)  # fmt: skip
def test_a_document_without_candles_is_explained(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        load_candles(path)
    assert str(path) in str(caught.value)
