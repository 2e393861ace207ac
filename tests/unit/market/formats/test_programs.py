"""Files of exchanges, charting programs and data sellers load at the first attempt, with the values written in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from tests.unit.market.formats.files import (
    BARS,
    DAYS,
    KLINES,
    comma,
    crypto_data_download,
    klines,
    moment,
    rows,
    series,
    write,
)

from lockstep.core.errors import DataError
from lockstep.market.load import load_candles


@pytest.mark.parametrize("factor", [1, 1_000], ids=["ms", "us"])
@pytest.mark.parametrize("header", [[], [KLINES]], ids=["no header", "header"])
def test_binance_klines(tmp_path: Path, header: list[str], factor: int) -> None:
    candles = load_candles(write(tmp_path / "BTCUSDT-1h-2024-01.csv", [*header, *klines(BARS, factor)]))
    assert candles == BARS
    assert "read as Binance klines, by " in repr(candles)


def test_binance_klines_that_change_from_milliseconds_to_microseconds(tmp_path: Path) -> None:
    lines = [*klines(BARS.head(50)), *klines(BARS.slice(50), 1_000)]
    candles = load_candles(write(tmp_path / "a.csv", lines))
    assert candles == BARS
    assert "each row by its size: 50 in ms, 40 in us" in str(candles.format)


def test_kraken_ohlcvt(tmp_path: Path) -> None:
    lines = rows(BARS, lambda t, o, h, low, c, v: [t // 1_000, o, h, low, c, v, 7])
    candles = load_candles(write(tmp_path / "XBTUSD_60.csv", lines))
    assert candles == BARS
    assert str(candles.format).startswith("Kraken OHLCVT, by")


def test_crypto_data_download_with_address_newest_first_and_mixed_stamps(tmp_path: Path) -> None:
    lines = crypto_data_download(BARS, lambda t: t if t % 2 == 0 and t > BARS.timestamp[40] else t // 1_000)
    path = write(tmp_path / "a.csv", ["https://www.CryptoDataDownload.com", *lines])
    candles = load_candles(path)
    assert candles == BARS
    assert "1 above left aside" in str(candles.format)
    assert "volume of 'Volume BTC'" in str(candles.format)
    assert load_candles(write(tmp_path / "b.csv", lines)) == BARS
    lines[0] = lines[0].replace("Volume BTC,Volume USDT", "Volume USDT,Volume BTC")
    assert load_candles(write(tmp_path / "c.csv", lines)).volume[0] == BARS.volume[0] * 1_000


def test_crypto_data_download_of_old_with_hours_of_am_and_pm(tmp_path: Path) -> None:
    lines = rows(BARS, lambda t, o, h, low, c, v: [moment(t, "%Y-%m-%d %I-%p"), "BTCUSD", o, h, low, c, v, v * 1_000])
    header = ["https://www.CryptoDataDownload.com", "Date,Symbol,Open,High,Low,Close,Volume BTC,Volume USD"]
    assert load_candles(write(tmp_path / "a.csv", [*header, *reversed(lines)])) == BARS


def test_yahoo_finance_with_and_without_adjusted_prices(tmp_path: Path) -> None:
    lines = rows(DAYS, lambda t, o, h, low, c, v: [moment(t, "%Y-%m-%d"), o, h, low, c, c * 0.75, v])
    path = write(tmp_path / "a.csv", ["Date,Open,High,Low,Close,Adj Close,Volume", *lines])
    candles = load_candles(path)
    assert candles == DAYS
    assert "'Adj Close' is left aside" in str(candles.format)
    scaled = load_candles(path, adjusted=True)
    for name in ("open", "high", "low", "close"):
        np.testing.assert_allclose(getattr(scaled, name), getattr(DAYS, name) * 0.75, rtol=1e-15)
    assert scaled.close.tolist() == (DAYS.close * 0.75).tolist()
    assert scaled.volume.tolist() == DAYS.volume.tolist()
    with pytest.raises(DataError, match=r"all four prices are adjusted or none; columns maps close.*adjusted=True"):
        load_candles(path, columns={"close": "Adj Close"})


def test_adjusted_prices_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="adjusted prices need a column such as 'Adj Close'"):
        load_candles(pa.table(dict(DAYS.columns())), adjusted=True)


def test_a_whole_set_of_adjusted_columns_is_read_in_place_of_the_others() -> None:
    columns = DAYS.columns()
    names = ("open", "high", "low", "close")
    table = pa.table({**columns, **{f"adj{name.title()}": columns[name] / 2 for name in names}})
    assert load_candles(table) == DAYS
    halved = load_candles(table, adjusted=True)
    assert halved.open.tolist() == (DAYS.open / 2).tolist()
    assert halved.high.tolist() == (DAYS.high / 2).tolist()


def test_yfinance_with_a_ticker_below_the_names(tmp_path: Path) -> None:
    lines = rows(DAYS, lambda t, o, h, low, c, v: [moment(t, "%Y-%m-%d"), c, h, low, o, v])
    header = ["Price,Close,High,Low,Open,Volume", "Ticker,MSFT,MSFT,MSFT,MSFT,MSFT", "Date,,,,,"]
    assert load_candles(write(tmp_path / "a.csv", [*header, *lines])) == DAYS
    with pytest.raises(DataError, match="the rows are of 'MSFT'; asked for the symbol 'AAPL'"):
        load_candles(tmp_path / "a.csv", symbol="AAPL")


@pytest.mark.parametrize("by_ticker", [False, True])
def test_yfinance_with_two_tickers_is_two_markets(tmp_path: Path, by_ticker: bool) -> None:
    fields, tickers = ["Close", "High", "Low", "Open", "Volume"], ["AAPL", "MSFT"]
    pairs = [(f, t) for t in tickers for f in fields] if by_ticker else [(f, t) for f in fields for t in tickers]
    cells = rows(
        DAYS,
        lambda t, o, h, low, c, v: [
            moment(t, "%Y-%m-%d"),
            *(
                {"Open": o, "High": h, "Low": low, "Close": c, "Volume": v}[f] * (2 if t == "AAPL" else 1)
                for f, t in pairs
            ),
        ],
    )
    names, markets = ",".join(["Price", *(f for f, _ in pairs)]), ",".join(["Ticker", *(t for _, t in pairs)])
    first, second = (markets, names) if by_ticker else (names, markets)
    path = write(tmp_path / "a.csv", [first, second, "Date" + "," * len(pairs), *cells])
    assert load_candles(path, symbol="MSFT") == DAYS
    with pytest.raises(DataError, match=r"of one market; the line of tickers holds 2: 'AAPL', 'MSFT'.*--symbol AAPL"):
        load_candles(path)


def test_yfinance_history_with_offsets_that_change_in_the_year(tmp_path: Path) -> None:
    offset = lambda row: "-05:00" if row < 15 else "-04:00"  # noqa: E731 - the end of winter time
    lines = [
        f"{moment(int(t), '%Y-%m-%d %H:%M:%S', -5 if row < 15 else -4)}{offset(row)},{o},{h},{low},{c},{v},0.0,0.0"
        for row, (t, o, h, low, c, v) in enumerate(zip(*DAYS.columns().values(), strict=True))
    ]
    path = write(tmp_path / "a.csv", ["Date,Open,High,Low,Close,Volume,Dividends,Stock Splits", *lines])
    assert load_candles(path) == DAYS


def test_a_frame_of_yfinance_with_two_levels_of_names() -> None:
    index = pd.DatetimeIndex(pd.to_datetime(DAYS.timestamp, unit="ms"), name="Date")
    names = ["Close", "High", "Low", "Open", "Volume"]
    frame = pd.DataFrame({(name, "MSFT"): getattr(DAYS, name.lower()) for name in names}, index=index)
    frame.columns = pd.MultiIndex.from_tuples(frame.columns, names=["Price", "Ticker"])
    assert load_candles(frame) == DAYS
    both = pd.concat([frame, frame.rename(columns={"MSFT": "AAPL"}) * 2], axis=1)
    assert load_candles(both, symbol="MSFT") == DAYS
    with pytest.raises(DataError, match="holds 2: 'MSFT', 'AAPL'"):
        load_candles(both)


def test_a_tradingview_export_with_columns_that_share_a_name(tmp_path: Path) -> None:
    lines = rows(BARS, lambda t, o, h, low, c, v: [t // 1_000, o, h, low, c, "", "1.5", v, v])
    path = write(tmp_path / "BINANCE_BTCUSDT, 60.csv", ["time,open,high,low,close,Plot,Plot,Volume,Volume MA", *lines])
    assert load_candles(path) == BARS
    iso = rows(BARS, lambda t, o, h, low, c, v: [moment(t, "%Y-%m-%dT%H:%M:%S+01:00", 1), o, h, low, c, v])
    assert load_candles(write(tmp_path / "b.csv", ["time,open,high,low,close,Volume", *iso])) == BARS


def test_a_needed_column_that_stands_twice_is_refused_where_the_two_differ(tmp_path: Path) -> None:
    lines = rows(BARS, lambda t, o, h, low, c, v: [t, o, h, low, c, c + 1, v])
    with pytest.raises(DataError, match="found 'close' twice"):
        load_candles(write(tmp_path / "a.csv", ["timestamp,open,high,low,close,close,volume", *lines]))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_metatrader_5_in_its_encodings(tmp_path: Path, encoding: str) -> None:
    lines = rows(
        BARS,
        lambda t, o, h, low, c, v: [
            moment(t, "%Y.%m.%d", 2), moment(t, "%H:%M:%S", 2), o, h, low, c, int(v * 1_000), 0, 8,
        ],
        "\t",
    )  # fmt: skip
    header = "\t".join(
        f"<{name}>" for name in ["DATE", "TIME", "OPEN", "HIGH", "LOW", "CLOSE", "TICKVOL", "VOL", "SPREAD"]
    )
    path = write(tmp_path / "a.csv", [header, *lines], encoding=encoding, end="\r\n")
    options = {"encoding": "utf-16-le"} if encoding == "utf-16-le" else {}
    with pytest.raises(DataError, match=r"is the server's. Declare it: timezone='UTC'.*--timezone UTC"):
        load_candles(path, **options)
    candles = load_candles(path, timezone="+02:00", **options)
    assert candles.close.tolist() == BARS.close.tolist()
    assert candles.timestamp.tolist() == BARS.timestamp.tolist()
    assert candles.volume.tolist() == (BARS.volume * 1_000).astype(int).tolist()
    mapping = {"timestamp": ["<DATE>", "<TIME>"], "volume": "<VOL>"}
    assert not load_candles(path, timezone="+02:00", columns=mapping, **options).volume.any()


def test_metatrader_4_and_histdata_look_alike_but_for_the_name_of_the_file(tmp_path: Path) -> None:
    """HistData documents EST without summer time; a MetaTrader server's zone stands nowhere."""
    lines = rows(BARS, lambda t, o, h, low, c, v: [moment(t, "%Y.%m.%d", -5), moment(t, "%H:%M", -5), o, h, low, c, v])
    with pytest.raises(DataError, match="is the server's"):
        load_candles(write(tmp_path / "EURUSD60.csv", lines))
    assert load_candles(tmp_path / "EURUSD60.csv", timezone="-05:00") == BARS
    assert load_candles(write(tmp_path / "DAT_MT_EURUSD_M1_202401.csv", lines)) == BARS
    lines = rows(BARS, lambda t, o, h, low, c, v: [moment(t, "%Y%m%d %H%M%S", -5), o, h, low, c, v], ";")
    candles = load_candles(write(tmp_path / "DAT_ASCII_EURUSD_M1_202401.csv", lines))
    assert candles == BARS
    assert "EST all year" in str(candles.format)
    with pytest.raises(DataError, match="the zone of '20240109 190000'"):
        load_candles(write(tmp_path / "eurusd.csv", lines))


def test_dukascopy_in_gmt_local_time_and_with_a_decimal_comma(tmp_path: Path) -> None:
    early = series(40, start=BARS.timestamp[0] - 5 * 24 * 3_600_000)  # 5 to 6 January: no day over 12
    lines = rows(early, lambda t, o, h, low, c, v: [moment(t, "%d.%m.%Y %H:%M:%S.000"), o, h, low, c, v])
    assert load_candles(write(tmp_path / "a.csv", ["Gmt time,Open,High,Low,Close,Volume", *lines])) == early
    lines = rows(early, lambda t, o, h, low, c, v: [moment(t, "%d.%m.%Y %H:%M:%S.000 GMT+0100", 1), o, h, low, c, v])
    assert load_candles(write(tmp_path / "b.csv", ["Local time,Open,High,Low,Close,Volume", *lines])) == early
    lines = rows(early, lambda t, *cells: [moment(t, "%d.%m.%Y %H:%M:%S.000"), *(comma(value) for value in cells)], ";")
    candles = load_candles(write(tmp_path / "c.csv", ["Gmt time;Open;High;Low;Close;Volume", *lines]))
    assert candles == early
    assert "decimal comma, by '" in str(candles.format)
    lines = rows(early, lambda t, *cells: [moment(t, "%d.%m.%Y %H:%M:%S.000", 1), *cells])
    with pytest.raises(DataError, match=r"the zone of '05.01.2024 01:00:00.000'"):
        load_candles(write(tmp_path / "d.csv", ["Local time,Open,High,Low,Close,Volume", *lines]))


def test_freqtrade_feather_and_json(tmp_path: Path) -> None:
    columns = BARS.columns()
    date = pa.array(columns.pop("timestamp")).cast(pa.timestamp("ms", "UTC"))
    feather.write_feather(pa.table({"date": date, **columns}), tmp_path / "BTC_USDT-1h.feather")
    assert load_candles(tmp_path / "BTC_USDT-1h.feather") == BARS


def test_polygon_and_alpaca_tables_of_several_symbols(tmp_path: Path) -> None:
    columns = BARS.columns()
    time = columns.pop("timestamp")
    one = pa.table({"ticker": ["X:BTCUSD"] * len(BARS), "window_start": time * 1_000_000, **columns,
                    "transactions": [1] * len(BARS)})  # fmt: skip
    other = one.set_column(0, "ticker", pa.array(["X:ETHUSD"] * len(BARS)))
    pq.write_table(pa.concat_tables([one, other]), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"the column 'ticker' holds 2: 'X:BTCUSD', 'X:ETHUSD'. Choose one: symbol="):
        load_candles(tmp_path / "a.parquet")
    for spelling in ("X:ETHUSD", "ETH/USD", "ethusd"):
        assert load_candles(tmp_path / "a.parquet", symbol=spelling) == BARS
    pq.write_table(one, tmp_path / "b.parquet")
    assert load_candles(tmp_path / "b.parquet") == BARS
    with pytest.raises(DataError, match="the rows are of 'X:BTCUSD'; asked for the symbol 'SOL/USD'"):
        load_candles(tmp_path / "b.parquet", symbol="SOL/USD")
    assert load_candles(tmp_path / "b.parquet", symbol="SOL/USD", columns={"symbol": None}) == BARS


def test_a_column_that_names_only_the_base_is_no_contradiction() -> None:
    table = pa.table({"symbol": ["BTC"] * len(BARS), **BARS.columns()})
    assert load_candles(table, symbol="BTC/USDT") == BARS
    with pytest.raises(DataError, match="asked for the symbol 'ETH/USDT'"):
        load_candles(table, symbol="ETH/USDT")
    other = table.set_column(0, "symbol", pa.array(["SOL"] * len(BARS)))
    assert load_candles(pa.concat_tables([other, table]), symbol="BTC/USDT") == BARS


def test_the_program_is_told_with_its_reason(tmp_path: Path) -> None:
    named = crypto_data_download(BARS, lambda t: t)
    told = str(load_candles(write(tmp_path / "a.csv", named)).format)
    assert "CryptoDataDownload, by its columns unix, date, symbol and two volumes" in told
    plain = rows(BARS, lambda t, *c: [moment(t, "%Y-%m-%d %H:%M:%S"), *c, c[-1]])
    other = write(tmp_path / "b.csv", ["Date,Open,High,Low,Close,Volume BTC,Volume BTC Traded", *plain])
    assert "CryptoDataDownload" not in str(load_candles(other, timezone="UTC", columns={"volume": "Volume BTC"}).format)
    bare = str(load_candles(write(tmp_path / "c.csv", klines(BARS))).format)
    assert "Binance klines, by 12 columns with an open and a close time" in bare
