"""The rules that candles obey, each a pure function of the columns.

A rule that is broken gives a `Defect`: the rule, how many rows break it and the first of them. Nothing here
repairs; `Candles` refuses what breaks a rule, the quality report describes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lockstep.market.clock import clock_jumps, grid_unit, step_bounds

PRICES: Final = ("open", "high", "low", "close")
COLUMNS: Final = ("timestamp", *PRICES, "volume")
# Years 1970 to 9999: beyond them a "millisecond" is a misread unit, and dates cannot be written.
MAX_TIMESTAMP: Final = 253_402_300_799_999


class Rule(StrEnum):
    """What can be wrong with a row, in the order of reports."""

    TIME_RANGE = "time-range"
    UNSORTED = "unsorted"
    DUPLICATED = "duplicated"
    NON_FINITE = "non-finite"
    NON_POSITIVE_PRICE = "non-positive price"
    OHLC_INCONSISTENT = "OHLC-inconsistent"
    NEGATIVE_VOLUME = "negative volume"
    OFF_GRID = "off-grid"
    UNFINISHED = "unfinished"


MEANING: Final[Mapping[Rule, str]] = {
    Rule.TIME_RANGE: "timestamps are milliseconds since 1970 (UTC), not before 1970 and not after 9999",
    Rule.UNSORTED: "timestamps ascend",
    Rule.DUPLICATED: "each timestamp occurs once",
    Rule.NON_FINITE: "open, high, low, close and volume are finite numbers",
    Rule.NON_POSITIVE_PRICE: "prices are greater than zero",
    Rule.OHLC_INCONSISTENT: "low <= open, close <= high",
    Rule.NEGATIVE_VOLUME: "volume is not negative",
    Rule.OFF_GRID: "timestamps lie on the grid of the declared timeframe",
    Rule.UNFINISHED: "a bar is over, where the source says of each whether it is",
}
DROP: Final = "on_bad='drop' (--drop-bad; in a spec [data] on_bad = \"drop\")"
_LEAVE_OUT: Final = f"Fetch the rows again or leave them out; {DROP} drops and reports them."
CURE: Final[Mapping[Rule, str]] = {
    Rule.TIME_RANGE: (
        "Rows before 1970 are left out with start='1970-01-01' (in a spec [data] start; --last N on the command line); "
        "numbers of another unit need it declared: time_unit='s', 'ms', 'us' or 'ns' (--time-unit; in a spec [data] "
        "time_unit)."
    ),
    Rule.UNSORTED: (
        "Sort the rows by time after finding out why they were not: load_candles(..., sort=True) does "
        "(--sort; in a spec [data] sort = true)."
    ),
    Rule.DUPLICATED: f"Find out which of the rows is right; {DROP} keeps the first of each and reports the rest.",
    Rule.NON_FINITE: _LEAVE_OUT,
    Rule.NON_POSITIVE_PRICE: _LEAVE_OUT,
    Rule.OHLC_INCONSISTENT: _LEAVE_OUT,
    Rule.NEGATIVE_VOLUME: _LEAVE_OUT,
    Rule.OFF_GRID: (
        "Check the timeframe; without a declared one it is inferred from the rows. Where the timeframe is right, "
        f"{DROP} drops and reports the rows."
    ),
    Rule.UNFINISHED: f"Fetch the rows again when their time is over; {DROP} drops and reports them.",
}


@dataclass(frozen=True, kw_only=True)
class Defect:
    """One broken rule: how many rows break it, and the first (row number from 0)."""

    rule: Rule
    count: int
    row: int
    evidence: str

    def __str__(self) -> str:
        rows = "1 row" if self.count == 1 else f"{self.count:,} rows"
        return f"{self.rule}: {rows}, first row {self.row} ({self.evidence})"


def format_time(timestamp: int) -> str:
    """A UTC time in ISO form, minutes only where seconds are zero; the bare number where it is no date."""
    if not 0 <= timestamp <= MAX_TIMESTAMP:
        return f"{timestamp} ms"
    text = str(np.datetime64(int(timestamp), "ms"))
    return text.removesuffix(".000").removesuffix(":00").replace("T", " ") + "Z"


def row_text(columns: Mapping[str, NDArray[Any]], row: int) -> str:
    """One row as text: time, then the values in full precision."""
    values = " ".join(f"{name}={float(columns[name][row])!r}" for name in (*PRICES, "volume"))
    return f"{format_time(int(columns['timestamp'][row]))} {values}"


def flat_bars(columns: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_]:
    """Which bars have one price, open = high = low = close: bool (n,)."""
    first = columns["open"]
    flat: NDArray[np.bool_] = (first == columns["high"]) & (first == columns["low"]) & (first == columns["close"])
    return flat


def bad_rows(columns: Mapping[str, NDArray[Any]], timeframe_ms: int | None) -> dict[Rule, NDArray[np.bool_]]:
    """For every rule, which rows break it: bool (n,) each.

    columns       timestamp int64 (n,), milliseconds UTC at bar open; open, high, low, close, volume float64 (n,)
    timeframe_ms  declared bar length in milliseconds; None leaves the grid rule out
    """
    time = columns["timestamp"]
    n = time.shape[0]
    high, low = columns["high"], columns["low"]
    finite = np.ones(n, dtype=np.bool_)
    positive = np.ones(n, dtype=np.bool_)
    inside = np.ones(n, dtype=np.bool_)
    for name in PRICES:
        value = columns[name]
        finite &= np.isfinite(value)
        positive &= ~(value <= 0)  # NaN is reported once, as non-finite
        inside &= ~((value > high) | (value < low))
    finite &= np.isfinite(columns["volume"])
    step = np.diff(time)
    unsorted = np.zeros(n, dtype=np.bool_)
    unsorted[1:] = step < 0
    rows_by_rule = {
        Rule.TIME_RANGE: (time < 0) | (time > MAX_TIMESTAMP),
        Rule.UNSORTED: unsorted,
        Rule.DUPLICATED: _repeated(time, ascending=not unsorted.any()),
        Rule.NON_FINITE: ~finite,
        Rule.NON_POSITIVE_PRICE: ~positive,
        Rule.OHLC_INCONSISTENT: ~inside,
        Rule.NEGATIVE_VOLUME: columns["volume"] < 0,
    }
    if timeframe_ms is not None:
        rows_by_rule[Rule.OFF_GRID] = off_grid(time, timeframe_ms)
    return rows_by_rule


def _repeated(time: NDArray[np.int64], *, ascending: bool) -> NDArray[np.bool_]:
    """Rows whose timestamp stands in an earlier row."""
    out = np.zeros(time.shape[0], dtype=np.bool_)
    # Sorted times, the usual case, need no second sort: equal ones are neighbours.
    if ascending:
        out[1:] = time[1:] == time[:-1]
        return out
    order = np.argsort(time, kind="stable")
    ordered = time[order]
    out[order[1:]] = ordered[1:] == ordered[:-1]
    return out


def off_grid(time: NDArray[np.int64], timeframe_ms: int) -> NDArray[np.bool_]:
    """Rows off the grid through the most common phase, and rows nearer than a bar to the row on it before.

    The phase is free (a stock's hours open at half past), and for long bars only taken modulo half an hour, because
    they follow local clocks. Where a clock shows in bars of two hours and more, its jumps are no rows off the grid.
    """
    if time.shape[0] == 0:
        return np.zeros(0, dtype=np.bool_)
    # A clock that jumps moves all bars after it; they are compared as if it had not.
    jumps = np.append(False, clock_jumps(time, timeframe_ms))
    moved = np.cumsum(np.where(jumps, np.diff(time, prepend=time[:1]), 0) % timeframe_ms)
    phase = (time - moved) % grid_unit(timeframe_ms)
    values, counts = np.unique(phase, return_counts=True)
    out: NDArray[np.bool_] = phase != values[np.argmax(counts)]
    # A row that is right is not to blame for a wrong one before it.
    on_grid = np.flatnonzero(~out)
    step = np.diff(time[on_grid])
    out[on_grid[1:]] = (step > 0) & (step < step_bounds(timeframe_ms)[0]) & ~jumps[on_grid[1:]]
    return out


def find_defects(columns: Mapping[str, NDArray[Any]], timeframe_ms: int | None = None) -> tuple[Defect, ...]:
    """The broken rules, in the order of `Rule`; empty when the columns may become `Candles`.

    columns       as for `bad_rows`
    timeframe_ms  declared bar length in milliseconds; None leaves the grid rule out
    """
    defects = []
    for rule, bad in bad_rows(columns, timeframe_ms).items():
        count = int(np.count_nonzero(bad))
        if count:
            row = int(np.argmax(bad))
            defects.append(Defect(rule=rule, count=count, row=row, evidence=evidence(columns, rule, row)))
    return tuple(defects)


def evidence(columns: Mapping[str, NDArray[Any]], rule: Rule, row: int) -> str:
    """The row that breaks a rule, as text, with what beside it makes it wrong."""
    text = row_text(columns, row)
    if rule is Rule.OFF_GRID and row == columns["timestamp"].shape[0] - 1:
        return f"{text}, the last row: a bar that was not over?"
    if rule is Rule.UNSORTED:
        return f"{text}, after {format_time(int(columns['timestamp'][row - 1]))}"
    return text


def describe_defects(
    defects: tuple[Defect, ...], columns: Mapping[str, NDArray[Any]], timeframe_ms: int | None = None, *, place: str
) -> str:
    """An error text: the place, how many rows break how many rules, each with its first row, what cures the first.

    defects       of `find_defects`, all or some
    columns       those that `find_defects` examined
    timeframe_ms  the one that it examined them with
    place         where the rows come from
    """
    rows_by_rule = bad_rows(columns, timeframe_ms)
    # A row may break several rules; it is counted once.
    bad = int(np.count_nonzero(np.logical_or.reduce([rows_by_rule[defect.rule] for defect in defects])))
    rows = columns["timestamp"].shape[0]
    lines = [
        f"{place}: {bad:,} of {rows:,} row{'' if rows == 1 else 's'} break{'s' if bad == 1 else ''} "
        f"{len(defects)} rule{'' if len(defects) == 1 else 's'} of candles."
    ]
    lines += [f"  {defect}; the rule: {MEANING[defect.rule]}" for defect in defects]
    lines.append(CURE[defects[0].rule])
    return "\n".join(lines)
