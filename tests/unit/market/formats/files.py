"""Small series of bars, and files of them as programs and exchanges write them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from lockstep.market.candles import Candles

HOUR = 3_600_000
DAY = 24 * HOUR
START = 1_704_844_800_000  # 2024-01-10 00:00 UTC


def series(n: int = 90, *, step: int = HOUR, start: int = START) -> Candles:
    """Bars whose prices have two decimals and whose volumes have three; row 0 has a range."""
    row = np.arange(n)
    first = np.round(1_000 + 3.17 * (row % 7) - 2.09 * (row % 5), 2)
    last = np.round(first + 0.83 * ((row % 3) - 1), 2)
    return Candles.from_arrays(
        timestamp=start + step * row,
        open=first,
        high=np.round(np.maximum(first, last) + 0.31, 2),
        low=np.round(np.minimum(first, last) - 0.27, 2),
        close=last,
        volume=np.round(1_234.5 + 1.375 * row, 3),
    )


BARS = series()
DAYS = series(30, step=DAY)


def moment(timestamp: int, form: str, hours: float = 0) -> str:
    """A time in a form of strftime, on the clock of a zone that is some hours ahead of UTC."""
    return (dt.datetime.fromtimestamp(timestamp / 1_000, dt.UTC) + dt.timedelta(hours=hours)).strftime(form)


def rows(
    candles: Candles, cells: Callable[[int, float, float, float, float, float], Iterable[object]], delimiter: str = ","
) -> list[str]:
    """One line for each bar, of the cells that `cells` makes of time, open, high, low, close and volume."""
    columns = [getattr(candles, name).tolist() for name in ("timestamp", "open", "high", "low", "close", "volume")]
    return [delimiter.join(map(str, cells(*values))) for values in zip(*columns, strict=True)]


def write(path: Path, lines: Sequence[str], *, encoding: str = "utf-8", end: str = "\n") -> Path:
    """A file of these lines."""
    path.write_bytes((end.join(lines) + end).encode(encoding))
    return path


def klines(candles: Candles, factor: int = 1) -> list[str]:
    """Binance's twelve columns, times in milliseconds times `factor`."""
    return rows(
        candles,
        lambda t, o, h, low, c, v: [
            t * factor, f"{o:.8f}", f"{h:.8f}", f"{low:.8f}", f"{c:.8f}", f"{v:.8f}", (t + HOUR) * factor - 1,
            "9.1", 12, "3.2", "4.4", 0,
        ],
    )  # fmt: skip


KLINES = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore"
)


def crypto_data_download(candles: Candles, unit: Callable[[int], int] = lambda t: t) -> list[str]:
    """Newest first, below a line of names."""
    lines = rows(
        candles,
        lambda t, o, h, low, c, v: [
            unit(t), moment(t, "%Y-%m-%d %H:%M:%S"), "BTC/USDT", o, h, low, c, v, v * 1_000, 77,
        ],
    )  # fmt: skip
    return ["unix,date,symbol,open,high,low,close,Volume BTC,Volume USDT,tradecount", *reversed(lines)]


def comma(value: float, places: int = 3, group: str = "") -> str:
    """A number with a decimal comma."""
    text = f"{value:,.{places}f}" if group else f"{value:.{places}f}"
    return text.replace(",", "\0").replace(".", ",").replace("\0", group)
