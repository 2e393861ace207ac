"""Candles in JSON, of exchanges, data sellers and pandas, and the same in Python lists."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tests.unit.market.formats import servers
from tests.unit.market.formats.files import BARS, DAYS, HOUR, moment

from lockstep.core.errors import DataError
from lockstep.market.load import DroppedRowsWarning, load_candles

HOURS_END = int(BARS.timestamp[-1])
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


@pytest.mark.parametrize("name", [*servers.HOURLY, *servers.DAILY])
def test_an_answer_of_a_server_is_read_as_it_came(tmp_path: Path, name: str) -> None:
    bars = BARS if name in servers.HOURLY else DAYS
    document = {**servers.HOURLY, **servers.DAILY}[name]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(document))
    candles = load_candles(path)
    assert candles == bars
    assert load_candles(document) == bars
    house = name.split(",")[0]
    if house in ("Alpha Vantage", "OANDA", "Deribit", "Bybit", "Kraken", "CryptoCompare", "Yahoo", "Twelve Data"):
        assert house in str(candles.format) or name == "Bybit, stream"


def test_rows_in_another_order_tell_which() -> None:
    assert "rows of timestamp, low, high, open, close, volume" in str(load_candles(servers.HOURLY["Coinbase"]).format)
    kucoin = str(load_candles(servers.HOURLY["KuCoin"]).format)
    assert "rows of timestamp, open, close, high, low, volume, quote_volume in 'data'" in kucoin


def test_rows_that_two_orders_fit_need_their_names() -> None:
    """Each bar opens at its low and closes at its high, but for one: high before low, or low before high?"""
    odd = [[t, low, h, low, h, v] for t, _, h, low, _, v in ROWS]
    odd[3] = [odd[3][0], 5.0, 9.0, 6.0, 8.0, 1.0]  # as usual: open 5, high 9, low 6, which is above the open
    odd[5] = [odd[5][0], 6.0, 9.0, 5.0, 8.0, 1.0]  # Coinbase: low 6, high 9, open 5, which is below the low
    with pytest.raises(DataError, match="Nothing says which of the 6 values in a row is which") as caught:
        load_candles(odd)
    assert "--columns timestamp,open,high,low,close,volume" in str(caught.value)
    with pytest.raises(DataError, match="OHLC-inconsistent: 1 row, first row 3"):
        load_candles(odd, columns=["timestamp", "open", "high", "low", "close", "volume"])


def test_contracts_that_nothing_explains_are_no_pieces() -> None:
    """Seven columns of which the last is neither a count nor money for the sixth."""
    rows = [[*row, 0.25] for row in ROWS]
    with pytest.raises(DataError, match=r"--columns timestamp,open,high,low,close,volume,column7"):
        load_candles(rows)
    assert load_candles(rows, columns=["timestamp", "open", "high", "low", "close", "volume", "x"]) == BARS


@pytest.mark.parametrize(
    "document",
    [
        {
            "code": "0",
            "data": [servers.of_okx(row, confirm=str(int(at > 0))) for at, row in enumerate(servers.NEWEST_FIRST)],
        },
        servers.kraken(-2),
        {"candles": [{**servers.of_oanda(row, "mid"), "complete": row[0] < HOURS_END} for row in servers.HOURS]},
    ],
    ids=["OKX", "Kraken", "OANDA"],
)
def test_the_bar_in_progress_is_named_and_dropped_by_the_option(document: Any) -> None:
    with pytest.raises(DataError, match=r"unfinished: 1 row, first row 89 \(2024-01-13 17:00Z[\s\S]*--drop-bad"):
        load_candles(document)
    with pytest.warns(DroppedRowsWarning, match="unfinished: 1 row"):
        assert load_candles(document, on_bad="drop") == BARS.head(89)


def test_times_of_a_zone_that_the_document_names_need_its_offset() -> None:
    for document in (
        servers.alpha_vantage(servers.HOURS, "%Y-%m-%d %H:%M:%S", "US/Eastern"),
        {
            "meta": {"symbol": "AAPL", "exchange_timezone": "US/Eastern"},
            "values": [servers.named(row, datetime=moment(row[0], "%Y-%m-%d %H:%M:%S")) for row in servers.HOURS],
        },
    ):
        with pytest.raises(DataError, match=r"--timezone UTC.* The document names the zone 'US/Eastern'"):
            load_candles(document)
        assert load_candles(document, timezone="-05:00").timestamp[0] == BARS.timestamp[0] + 5 * HOUR


def test_bid_and_ask_are_two_prices() -> None:
    both = {"candles": [servers.of_oanda(row, "bid", "ask") for row in servers.HOURS]}
    with pytest.raises(DataError, match=r"columns open, high, low, close are missing; found .*'bid\.o'"):
        load_candles(both)
    columns = {name: f"ask.{name[0]}" for name in ("open", "high", "low", "close")}
    assert load_candles(both, columns=columns) == BARS
    assert "mid prices" in str(load_candles(servers.HOURLY["OANDA, three prices"]).format)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"Note": "our standard API call frequency is 5 calls per minute"}, "5 calls per minute.* a server's message"),
        ({"code": "51001", "msg": "Instrument ID does not exist", "data": []}, "does not exist.* a server's message"),
        ({"prices": [[1, 2.0], [2, 3.0]]}, "Rows of 2 values are no candles: ask for those of open, high, low"),
        ({"s": "no_data"}, "a server's message"),
    ],
)
def test_an_answer_without_candles_is_shown(document: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_candles(document)


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
