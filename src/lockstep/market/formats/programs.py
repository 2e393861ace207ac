"""Programs and exchanges whose files are met often: by what a file is recognised, and what is known of it by that.

A name is given only for what stands in the file or in its name, and is told together with the reason. Where a program
documents a zone or the order of day and month, that counts as declared; everything else is read from the file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from lockstep.market.formats.cells import bare
from lockstep.market.formats.layout import Layout
from lockstep.market.formats.rows import KLINES

_HISTDATA: Final = re.compile(r"DAT_(ASCII|MT|NT|MS)_[A-Z0-9]+_M1", re.IGNORECASE)
_URL: Final = re.compile(r"cryptodatadownload\.com", re.IGNORECASE)


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
    if tuple(layout.names) == KLINES and layout.header == 0:
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
