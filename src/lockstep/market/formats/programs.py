"""Programs and exchanges whose files are met often: by what a file is recognised, and what is known of it by that.

A name is given only for what stands in the file or in its name, and is told together with the reason. Where a program
documents a zone or the order of day and month, that counts as declared; everything else is read from the file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from lockstep.market.formats.cells import bare, is_clock, is_date, is_epoch, is_time
from lockstep.market.formats.layout import Layout

_HISTDATA: Final = re.compile(r"DAT_(ASCII|MT|NT|MS)_[A-Z0-9]+_M1", re.IGNORECASE)
_URL: Final = re.compile(r"cryptodatadownload\.com", re.IGNORECASE)
_KLINES: Final = (
    "open_time", "open", "high", "low", "close", "volume", "close_time", "quote_volume", "count",
    "taker_buy_volume", "taker_buy_quote_volume", "ignore",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Program:
    """Where a file is from.

    name       as people call it
    reason     what in the file says so
    zone       the zone of times that name none, where the program documents it
    day_first  True where the program documents that the day comes before the month
    server     the times are those of a trading server, whose zone nothing in the file states
    """

    name: str
    reason: str
    zone: str | None = None
    day_first: bool = False
    server: bool = False

    def __str__(self) -> str:
        return f"{self.name}, by {self.reason}"


def program_of(layout: Layout, file: str) -> Program | None:
    """The program that wrote a text file, or None where nothing says so.

    file   name of the file, without its folder
    """
    names = [bare(name) for name in layout.names]
    for rule in _RULES:
        if (program := rule(layout, names, file)) is not None:
            return program
    return None


def _crypto_data_download(layout: Layout, names: Sequence[str], file: str) -> Program | None:
    volumes = [name for name in names if name.startswith("volume") and len(name) > len("volume")]
    if any(_URL.search(line) for line in layout.before):
        return Program(name="CryptoDataDownload", reason="the address in its first line", zone="UTC")
    if {"unix", "date", "symbol"} <= set(names) and len(volumes) >= 2:
        return Program(name="CryptoDataDownload", reason="its columns unix, date, symbol and two volumes", zone="UTC")
    return None


def _binance(layout: Layout, names: Sequence[str], file: str) -> Program | None:
    if tuple(layout.names) == _KLINES and layout.header == 0:
        return Program(name="Binance klines", reason="12 columns with an open and a close time")
    if {"opentime", "closetime", "takerbuyvolume"} <= set(names) or {"opentime", "closetime", "ignore"} <= set(names):
        return Program(name="Binance klines", reason="its columns open_time, close_time and those of takers")
    return None


def _histdata(layout: Layout, names: Sequence[str], file: str) -> Program | None:
    if layout.header == 0 and (match := _HISTDATA.search(file)):
        return Program(name="HistData", reason=f"its name {match[0]}; EST all year, as they document", zone="-05:00")
    return None


def _metatrader(layout: Layout, names: Sequence[str], file: str) -> Program | None:
    if {"<DATE>", "<OPEN>", "<CLOSE>"} <= {name.upper() for name in layout.names}:
        return Program(name="MetaTrader 5", reason="names of columns such as <DATE>", server=True)
    dotted = layout.sample and re.fullmatch(r"\d{4}\.\d{2}\.\d{2}", layout.sample[0][0].strip())
    if layout.header == 0 and dotted:
        return Program(name="MetaTrader 4", reason="dates such as 2024.12.25 and no line of names", server=True)
    return None


def _dukascopy(layout: Layout, names: Sequence[str], file: str) -> Program | None:
    if names[:1] in (["gmttime"], ["localtime"], ["timeutc"], ["timeeet"]) and "open" in names:
        zone = None if names[0] in ("localtime", "timeeet") else "UTC"
        return Program(
            name="Dukascopy", reason=f"its column {layout.names[0]!r}; day first, as they write it", zone=zone,
            day_first=True,
        )  # fmt: skip
    return None


def _yahoo(layout: Layout, names: Sequence[str], file: str) -> Program | None:
    if layout.symbols:
        return Program(name="yfinance", reason="a line with the ticker below the names")
    if {"dividends", "stocksplits"} <= set(names):
        return Program(name="yfinance history", reason="its columns Dividends and Stock Splits")
    if list(names) == ["date", "open", "high", "low", "close", "adjclose", "volume"]:
        return Program(name="Yahoo Finance", reason="its seven columns with Adj Close")
    return None


def _kraken(layout: Layout, names: Sequence[str], file: str) -> Program | None:
    if layout.header == 0 and tuple(layout.names) == ("timestamp", "open", "high", "low", "close", "volume", "trades"):
        return Program(name="Kraken OHLCVT", reason="seven columns, seconds first and a count last, no line of names")
    return None


def _polygon(layout: Layout, names: Sequence[str], file: str) -> Program | None:
    if {"windowstart", "transactions", "ticker"} <= set(names):
        return Program(name="Polygon flat file", reason="its columns ticker, window_start and transactions")
    return None


def _alpaca(layout: Layout, names: Sequence[str], file: str) -> Program | None:
    if {"tradecount", "vwap", "timestamp"} <= set(names):
        return Program(name="Alpaca", reason="its columns trade_count and vwap")
    return None


def _trading_view(layout: Layout, names: Sequence[str], file: str) -> Program | None:
    if list(layout.names[:5]) == ["time", "open", "high", "low", "close"] and len(layout.names) > 6:
        return Program(name="TradingView", reason="its first columns time, open, high, low, close and those of a chart")
    return None


_RULES: Final[tuple[Callable[[Layout, Sequence[str], str], Program | None], ...]] = (
    _histdata, _crypto_data_download, _binance, _metatrader, _dukascopy, _yahoo, _kraken, _polygon, _alpaca,
    _trading_view,
)  # fmt: skip


def names_of_rows(sample: Sequence[Sequence[str]]) -> tuple[str, ...] | None:
    """The columns of rows that no line names, where the rows themselves leave no other reading; None elsewhere.

    The order time, open, high, low, close is what all programs write that give no names, but for some (low, high; close
    before high): a reading is taken only when in every sampled row high is the highest and low the lowest price.

    sample   the cells of the first rows, of one width
    """
    if not sample:
        return None
    first = [cell.strip() for cell in sample[0]]
    width = len(first)
    names: tuple[str, ...] | None = None
    if width >= 2 and is_date(first[0]) and is_clock(first[1]):
        rest = {6: (), 7: ("volume",), 8: ("volume", "spread"), 9: ("volume", "real_volume", "spread")}.get(width)
        names = None if rest is None else ("date", "time", "open", "high", "low", "close", *rest)
    elif is_epoch(first[0]) or is_time(first[0]):
        five = ("timestamp", "open", "high", "low", "close")
        if width in (5, 6):
            names = (*five, "volume")[:width]
        elif width == 7 and is_epoch(first[0]) and all(_is_count(row[6]) for row in sample):
            names = (*five, "volume", "trades")
        elif width == 8 and is_epoch(first[0]) and all(_is_mean(row) and _is_count(row[7]) for row in sample):
            names = (*five, "vwap", "volume", "trades")
        elif width == 12 and is_epoch(first[0]) and all(_follows(row[0], row[6]) for row in sample):
            names = _KLINES
    return names if names is not None and _prices_fit(sample, names.index("open")) else None


def _is_count(cell: str) -> bool:
    return cell.strip().removesuffix(".0").isdigit()


def _is_mean(row: Sequence[str]) -> bool:
    """Whether the sixth cell is a mean price of the bar, or 0 where nothing was traded."""
    try:
        high, low, mean = (float(row[at]) for at in (2, 3, 5))
    except ValueError:
        return False
    return mean == 0 or low <= mean <= high


def _follows(open_time: str, close_time: str) -> bool:
    return is_epoch(open_time) and is_epoch(close_time) and float(close_time) > float(open_time)


def _prices_fit(sample: Sequence[Sequence[str]], at: int) -> bool:
    """Whether open, high, low and close stand at four places from `at` on: high is the highest, low the lowest."""
    try:
        rows = [[float(_plain(cell)) for cell in row[at : at + 4]] for row in sample]
    except ValueError:
        return False
    fits = sum(low <= min(first, last) and high >= max(first, last) for first, high, low, last in rows)
    # One broken bar is for the rules of candles to name; rows of one price fit any order and prove none.
    return fits >= 0.9 * len(rows) and any(high > low for _, high, low, _ in rows)


def _plain(cell: str) -> str:
    text = cell.strip()
    return text.replace(",", "") if "." in text else text.replace(",", ".")
