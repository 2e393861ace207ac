"""Every dialect of file through the three doors: the command line, a spec and Python give one series."""

from __future__ import annotations

import gzip
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from tests.unit.market.formats import servers
from tests.unit.market.formats.files import (
    BARS,
    DAYS,
    HOUR,
    KLINES,
    comma,
    crypto_data_download,
    klines,
    moment,
    rows,
    series,
    write,
)

from lockstep.app.files import spec_overrides
from lockstep.app.request import training_request
from lockstep.cli.main import run
from lockstep.kinds.shared.market_data import pin
from lockstep.kinds.strategy.spec import StrategySpec
from lockstep.market.candles import Candles
from lockstep.market.load import load_candles
from lockstep.runs.kind import PrepareContext
from lockstep.runs.store import FolderRunStore

EARLY = series(40, start=int(BARS.timestamp[0]) - 5 * 24 * HOUR)  # 5 and 6 January: no day over 12
HEADER = "timestamp,open,high,low,close,volume"
Writer = Callable[[Path], object]


def lines(name: str, *header: str, cells: Any, candles: Candles = BARS, sign: str = ",", **how: Any) -> Writer:
    return lambda folder: write(folder / name, [*header, *rows(candles, cells, sign)], **how)


def packed(name: str, inner: str, text: list[str]) -> Writer:
    def put(folder: Path) -> None:
        with zipfile.ZipFile(folder / name, "w") as archive:
            archive.writestr(inner, "\n".join(text))

    return put


def both(*writers: Writer) -> Writer:
    return lambda folder: [put(folder) for put in writers]


def zstd(folder: Path) -> None:
    with pa.OSFile(str(folder / "a.csv.zst"), "wb") as sink, pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write("\n".join([KLINES, *klines(BARS)]).encode())


def exchanges(folder: Path) -> None:
    other = rows(series(start=int(BARS.timestamp[0]) + HOUR // 2), lambda *c: ["Kraken", *c])
    write(folder / "a.csv", ["venue," + HEADER, *other, *rows(BARS, lambda *c: ["OKX", *c])])


def polygon(folder: Path) -> None:
    columns = BARS.columns()
    table = {"ticker": ["X:BTCUSD"] * len(BARS), "window_start": columns.pop("timestamp") * 1_000_000, **columns}
    other = {**table, "ticker": ["X:ETHUSD"] * len(BARS), "close": columns["open"]}
    pq.write_table(pa.concat_tables([pa.table(other), pa.table(table)]), folder / "a.parquet")


def freqtrade(folder: Path) -> None:
    columns = BARS.columns()
    date = pa.array(columns.pop("timestamp")).cast(pa.timestamp("ms", "UTC"))
    feather.write_feather(pa.table({"date": date, **columns}), folder / "BTC_USDT-1h.feather")


def document(value: Any) -> Writer:
    return lambda folder: (folder / "a.json").write_text(json.dumps(value))


def german(t: int, *values: float) -> list[str]:
    return [moment(t, "%d.%m.%Y %H:%M"), *(comma(value, 3, ".") for value in values)]


ZONE, SERVER = {"timezone": "UTC"}, {"timezone": "+02:00"}
ROWS = [list(row) for row in servers.HOURS]
# What is written, the name or pattern to read, options, the bars that it holds.
DIALECTS: dict[str, tuple[Writer, str, Mapping[str, Any], Candles]] = {
    "Binance Vision": (lambda folder: write(folder / "a.csv", klines(BARS)), "a.csv", {}, BARS),
    "Binance Vision, names, microseconds": (lambda folder: write(folder / "a.csv", [KLINES, *klines(BARS, 1_000)]),
                                            "a.csv", {}, BARS),
    "Binance Vision, months": (both(packed("B-1h-2024-02.zip", "x.csv", klines(BARS.slice(50), 1_000)),
                                    packed("B-1h-2024-01.zip", "x.csv", klines(BARS.head(50)))),
                              "B-1h-*.zip", {}, BARS),
    "Kraken OHLCVT": (lines("X_60.csv", cells=lambda t, *c: [t // 1_000, *c, 7]), "X_60.csv", {}, BARS),
    "CryptoDataDownload": (lambda folder: write(folder / "a.csv", ["https://www.CryptoDataDownload.com",
                           *crypto_data_download(BARS, lambda t: t if t > BARS.timestamp[40] else t // 1_000)]),
                           "a.csv", {"symbol": "BTC/USDT"}, BARS),
    "yfinance, classic": (lines("a.csv", "Date,Open,High,Low,Close,Adj Close,Volume", candles=DAYS,
                                cells=lambda t, o, h, low, c, v: [moment(t, "%Y-%m-%d"), o, h, low, c, c / 2, v]),
                          "a.csv", {}, DAYS),
    "yfinance, two lines of names": (lines("a.csv", "Price,Close,High,Low,Open,Volume",
                                           "Ticker,MSFT,MSFT,MSFT,MSFT,MSFT",
                                           "Date,,,,,", candles=DAYS,
                                           cells=lambda t, o, h, low, c, v: [moment(t, "%Y-%m-%d"), c, h, low, o, v]),
                                     "a.csv", {}, DAYS),
    "yfinance, history": (lines("a.csv", "Date,Open,High,Low,Close,Volume,Dividends,Stock Splits", candles=DAYS,
                                cells=lambda t, *c: [moment(t, "%Y-%m-%d %H:%M:%S-05:00", -5), *c, 0.0, 0.0]),
                          "a.csv", {}, DAYS),
    "TradingView": (lines("a.csv", "time,open,high,low,close,Plot,Plot,Volume,Volume MA",
                          cells=lambda t, o, h, low, c, v: [t // 1_000, o, h, low, c, "", "1.5", v, v]),
                    "a.csv", {}, BARS),
    "MetaTrader 5": (lines("a.csv", "\t".join(f"<{name}>" for name in ["DATE", "TIME", "OPEN", "HIGH", "LOW", "CLOSE",
                                                                       "TICKVOL", "VOL", "SPREAD"]),
                           sign="\t", encoding="utf-16", end="\r\n",
                           cells=lambda t, o, h, low, c, v: [moment(t, "%Y.%m.%d", 2), moment(t, "%H:%M:%S", 2), o, h,
                                                             low, c, 3, v, 8]), "a.csv", SERVER, BARS),
    "MetaTrader 4": (lines("EURUSD60.csv", cells=lambda t, *c: [moment(t, "%Y.%m.%d", 2), moment(t, "%H:%M", 2), *c]),
                     "EURUSD60.csv", SERVER, BARS),
    "Dukascopy": (lines("a.csv", "Gmt time,Open,High,Low,Close,Volume", candles=EARLY,
                        cells=lambda t, *c: [moment(t, "%d.%m.%Y %H:%M:%S.000"), *c]), "a.csv", {}, EARLY),
    "Dukascopy, local": (lines("a.csv", "Local time,Open,High,Low,Close,Volume", candles=EARLY,
                               cells=lambda t, *c: [moment(t, "%d.%m.%Y %H:%M:%S.000 GMT+0100", 1), *c]),
                         "a.csv", {}, EARLY),
    "HistData": (lines("DAT_ASCII_EURUSD_M1_2024.csv", sign=";",
                       cells=lambda t, *c: [moment(t, "%Y%m%d %H%M%S", -5), *c]), "DAT_ASCII_*.csv", {}, BARS),
    "Excel, German": (lines("a.csv", "sep=;", "Datum;Eröffnung;Hoch;Tief;Schluss;Umsatz", sign=";", encoding="cp1252",
                            cells=german), "a.csv", ZONE, BARS),
    "Excel, American": (lines("a.csv", "Date,Open,High,Low,Close,Volume", cells=lambda t, *c: [
        moment(t, "%m/%d/%Y %I:%M:%S %p"), *(f'"{x:,.3f}"' for x in c)]), "a.csv", ZONE, BARS),
    "freqtrade, Feather": (freqtrade, "BTC_USDT-1h.feather", {}, BARS),
    "freqtrade and ccxt, JSON": (document(ROWS), "a.json", {}, BARS),
    "ccxt, packed": (lambda folder: (folder / "a.json.gz").write_bytes(gzip.compress(json.dumps(ROWS).encode())),
                     "a.json.gz", {}, BARS),
    "zstd": (zstd, "a.csv.zst", {}, BARS),
    "Polygon, two symbols": (polygon, "a.parquet", {"symbol": "BTC/USD"}, BARS),
    "Alpaca, two symbols": (document({"bars": {symbol: [
        {"t": moment(t, "%Y-%m-%dT%H:%M:%SZ"), "o": o, "h": h, "l": low, "c": c, "v": v, "n": 5, "vw": c}
        for t, o, h, low, c, v in ROWS] for symbol in ("BTC/USD", "ETH/USD")}}), "a.json", {"symbol": "BTC/USD"}, BARS),
    "days of a spreadsheet": (lines("a.csv", HEADER, cells=lambda t, *c: [f"{t / 86_400_000 + 25_569:.10f}", *c]),
                              "a.csv", {"time_unit": "excel", **ZONE}, BARS),
    "two exchanges": (exchanges, "a.csv", {"exchange": "okx"}, BARS),
    "a bar in progress": (lines("a.csv", HEADER + ",confirm", cells=lambda t, *c: [t, *c, int(t < BARS.timestamp[-1])]),
                          "a.csv", {"on_bad": "drop"}, BARS.head(89)),
    "hand-made": (lines("a.txt", "made;by;hand;on;a;cold;Monday", "day;hour;first;top;bottom;final;traded", sign=";",
                        cells=lambda t, *c: [moment(t, "%d.%m.%Y"), moment(t, "%H:%M"), *map(comma, c)]), "a.txt",
                  {"skip": 1, "decimal": ",", "time_format": "%d.%m.%Y %H:%M", "encoding": "utf-8", **ZONE,
                   "columns": {"timestamp": ["day", "hour"], "open": "first", "high": "top", "low": "bottom",
                               "close": "final", "volume": "traded"}}, BARS),
}  # fmt: skip
DIALECTS |= {f"server: {name}": (document(answer), "a.json", {}, BARS) for name, answer in servers.HOURLY.items()}
DIALECTS |= {f"server: {name}": (document(answer), "a.json", {}, DAYS) for name, answer in servers.DAILY.items()}


def arguments(options: Mapping[str, Any]) -> list[str]:
    out: list[str] = []
    for name, value in options.items():
        if name == "columns":
            for ours, theirs in value.items():
                out += ["--columns", f"{ours}={'+'.join(theirs) if isinstance(theirs, list) else theirs}"]
        else:
            out += [f"--{name.replace('_', '-')}", str(value)]
    return out


@pytest.mark.filterwarnings("ignore::lockstep.market.bars.DroppedRowsWarning")
@pytest.mark.parametrize("name", DIALECTS)
def test_three_doors_give_one_series(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put, source, options, bars = DIALECTS[name]
    put(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert load_candles(source, **options) == bars

    assert run(["data", "import", source, "--json", "--home", str(tmp_path / "home"), *arguments(options)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["digest"], report["bars"]) == (bars.digest, len(bars))
    assert [report[key]["close"] for key in ("first_bar", "last_bar")] == [bars.close[0], bars.close[-1]]

    reading = {key: value for key, value in options.items() if key != "columns"}
    if "columns" in options:
        reading["columns"] = [text for text in arguments(options) if "=" in text]
    spec = {"kind": "strategy", "strategy": {"name": "LIQUIDITY_SWEEP"},
            "data": {"source": "file", "path": source, "min_quality": 0}}  # fmt: skip
    values = training_request(spec, overrides=spec_overrides(reading)).values
    context = PrepareContext(blobs=FolderRunStore(tmp_path / "home").blobs, base=tmp_path)
    assert pin(StrategySpec.model_validate(values), {}, context).candles.digest == bars.digest
