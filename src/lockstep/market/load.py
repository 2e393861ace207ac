"""Candles from files and frames. Nothing is repaired: what breaks a rule is an error that names the row."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from lockstep.market.bars import DroppedRowsWarning, LoadOptions, LoadReport, read_checked
from lockstep.market.candles import Candles
from lockstep.market.stamps import CloseStampsWarning, close_stamps, stamp_remark

if TYPE_CHECKING:
    from lockstep.market.bars import Source

__all__ = ["CloseStampsWarning", "DroppedRowsWarning", "LoadOptions", "LoadReport", "load_candles", "load_with_report"]


def load_candles(
    source: Source,
    *,
    columns: Mapping[str, Any] | Sequence[str] | None = None,
    timeframe: str | None = None,
    time_unit: str | None = None,
    time_format: str | None = None,
    timezone: str | None = None,
    skip: int | None = None,
    decimal: Literal[".", ","] | None = None,
    encoding: str | None = None,
    adjusted: bool | None = None,
    sort: bool = False,
    start: str | int | None = None,
    stop: str | int | None = None,
    last: int | None = None,
    extra: Sequence[str] = (),
    on_bad: Literal["error", "drop"] = "error",
    stamp: Literal["open", "close"] = "open",
    symbol: str | None = None,
    exchange: str | None = None,
) -> Candles:
    """Candles of CSV, JSON, Parquet or Feather/Arrow files, also packed, of a frame, or of rows; docs/data.md has all.

    source        a path, a pattern such as "BTCUSDT-1h-*.zip", or a list of both, joined in the order of time; a
                  pandas, polars or Arrow frame, whose time may be its index; rows, records or columns as JSON has them
    columns       our name -> the source's name, for those not recognised by themselves (case, blanks and usual aliases
                  such as "Date", "Open time", "vol" are); {"volume": None} where the source has none (zeros);
                  {"timestamp": ["Date", "Time"]} where the time is in two. For rows that no line names, and that are
                  not recognised: the list of their names
    timeframe     bar length, such as "5m"; None infers the most common step
    time_unit     of numeric times: "s", "ms", "us", "ns" since 1970, or another count such as "ticks" or "excel"
                  (docs/data.md has all); None tells by magnitude, row by row where they differ and leave no doubt
    time_format   of text times, as for `datetime.strptime`, such as "%d.%m.%Y %H:%M:%S.%f"; None reads epoch numbers,
                  ISO-8601 and other usual forms. Day and month are told by the file or refused, never guessed
    timezone      "UTC" or a fixed offset, for times that name no zone; None refuses those, but for dates without a time
                  of day, which are days of UTC, and for files whose program documents it
    skip          lines to leave aside above the table of a text file; None finds them
    decimal       "." or ","; None reads it from the cells
    encoding      of a text file, such as "cp1252"; None reads its byte-order mark, else UTF-8
    adjusted      True scales all four prices by adjusted close / close; None and False leave them as traded
    sort          sort the rows by time; False refuses rows that are not sorted
    start         leave out bars that open before this (ISO text, read as UTC where it names no zone, or milliseconds)
    stop          leave out bars that open at or after this
    last          at most this many most recent rows, by their time, never by today's date
    extra         further columns to keep, by the source's names; numbers, missing values become NaN
    on_bad        "error", or "drop" to leave out non-finite, non-positive, inconsistent, negative and repeated rows
                  (the first of each repetition stays) and rows off the grid of the timeframe, such as a last bar that
                  was not over; a `DroppedRowsWarning` says how many, and `load_with_report` gives the list
    stamp         "close" where the times are those at which bars close: they are moved to the opens, one bar earlier.
                  a `CloseStampsWarning` says when times that were read as opens look like closes
    symbol        a label, such as "BTC/USDT"; where the source has a column or a key of symbols, the market to read
    exchange      a label

    Raises DataError when the source cannot be read or its rows break a rule; it names the first row, the count and the
    cure.
    """
    options = LoadOptions(
        columns=columns, timeframe=timeframe, time_unit=time_unit, time_format=time_format, timezone=timezone,
        skip=skip, decimal=decimal, encoding=encoding, adjusted=adjusted, sort=sort, start=start, stop=stop, last=last,
        extra=extra, on_bad=on_bad, stamp=stamp, symbol=symbol, exchange=exchange,
    )  # fmt: skip
    candles, report = load_with_report(source, options)
    if report.rows_dropped:
        warnings.warn(f"{candles.source}: {report}", DroppedRowsWarning, stacklevel=2)
    if report.stamp:
        warnings.warn(f"{candles.source}: {report.stamp}", CloseStampsWarning, stacklevel=2)
    return candles


def load_with_report(source: Source, options: LoadOptions | None = None) -> tuple[Candles, LoadReport]:
    """As `load_candles`, with a report of the rows read and dropped instead of a warning."""
    options = LoadOptions() if options is None else options
    bars, report = read_checked(source, options)
    candles = Candles.from_bars(bars, options)
    reason = "" if options.stamp == "close" else close_stamps(candles.timestamp, candles.timeframe_ms)
    return candles, replace(report, stamp=stamp_remark(reason))
