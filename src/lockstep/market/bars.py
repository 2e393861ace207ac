"""Bars as a file or frame has them: read, typed, named, ordered and cut to a window, before any rule is applied.

The one exception is `on_bad="drop"`: rows that break a rule by themselves are left out, counted and reported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lockstep.core.clock import SystemClock
from lockstep.core.errors import DataError
from lockstep.core.units import parse_timeframe
from lockstep.market.checks import (
    CURE,
    DROP,
    MEANING,
    Defect,
    Rule,
    bad_rows,
    describe_defects,
    evidence,
    find_defects,
    format_time,
    off_grid,
)
from lockstep.market.formats.reading import Reading, read
from lockstep.market.formats.sources import ReadOptions
from lockstep.market.grid import OFF_GRID_SHARE, common_timeframe, infer_timeframe
from lockstep.market.stamps import opens_of_closes
from lockstep.market.times import instant_ms

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    Source: TypeAlias = str | Path | Sequence[str | Path] | pd.DataFrame | pa.Table | list[Any] | dict[str, Any]

# What dropping can cure by looking at one row alone; repetitions and rows off the grid come after them.
_DROPPED: Final = (Rule.NON_FINITE, Rule.NON_POSITIVE_PRICE, Rule.OHLC_INCONSISTENT, Rule.NEGATIVE_VOLUME)


class DroppedRowsWarning(UserWarning):
    """`load_candles(..., on_bad="drop")` left rows out; says how many and why."""


@dataclass(frozen=True, kw_only=True)
class RawBars:
    """Columns as a source has them, in the right types and names, but not checked against any rule.

    columns   timestamp int64 (n,), milliseconds UTC at bar open; open ... volume and extras float64 (n,)
    place     the path, or "frame"
    format    what the source was read as, and why; None where all about it was usual
    reading   the same, usual or not
    unfinished  bool (n,), rows of which the source says that their bar is not over; None where it does not say
    """

    columns: Mapping[str, NDArray[Any]]
    place: str
    format: str | None = None
    reading: str = ""
    unfinished: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return int(self.columns["timestamp"].shape[0])

    def take(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> RawBars:
        """The rows of a mask bool (n,) or of row numbers int64 (k,), in that order."""
        unfinished = None if self.unfinished is None else self.unfinished[rows]
        return replace(self, columns={name: value[rows] for name, value in self.columns.items()}, unfinished=unfinished)

    def unfinished_defect(self) -> Defect | None:
        """The rows of which the source says that their bar is not over, as a broken rule; None where there is none."""
        if self.unfinished is None or not self.unfinished.any():
            return None
        row = int(np.argmax(self.unfinished))
        text = evidence(self.columns, Rule.UNFINISHED, row)
        return Defect(rule=Rule.UNFINISHED, count=int(self.unfinished.sum()), row=row, evidence=text)


@dataclass(frozen=True, kw_only=True)
class LoadReport:
    """What loading did: rows read, rows dropped with the rules they broke (rows numbered as read), rows returned.

    format    what the source was read as, and why
    is_usual  whether nothing about that needs telling
    stamp     why times that were read as opens look like closes, and what to do; "" where they do not
    """

    rows_read: int
    rows_dropped: int
    rows_returned: int
    dropped: tuple[Defect, ...]
    format: str = ""
    is_usual: bool = True
    stamp: str = ""

    def __str__(self) -> str:
        text = f"{self.rows_read:,} rows read, {self.rows_dropped:,} dropped, {self.rows_returned:,} returned"
        return "\n".join([text, *(f"  dropped: {defect}" for defect in self.dropped)])


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """How a source is read: the options of `load_candles`, which says what each means."""

    columns: Mapping[str, Any] | Sequence[str] | None = None
    timeframe: str | None = None
    time_unit: str | None = None
    time_format: str | None = None
    timezone: str | None = None
    skip: int | None = None
    decimal: str | None = None
    encoding: str | None = None
    adjusted: bool | None = None
    sort: bool = False
    start: str | int | None = None
    stop: str | int | None = None
    last: int | None = None
    extra: Sequence[str] = ()
    on_bad: Literal["error", "drop"] = "error"
    stamp: Literal["open", "close"] = "open"
    symbol: str | None = None
    exchange: str | None = None

    def __post_init__(self) -> None:
        if self.on_bad not in ("error", "drop"):
            raise DataError(f"on_bad is 'error' or 'drop'; found {self.on_bad!r}. Lockstep never repairs a row.")
        if self.stamp not in ("open", "close"):
            raise DataError(f"stamp is 'open' or 'close', the moment of a bar that its time is; found {self.stamp!r}.")

    @property
    def reading(self) -> ReadOptions:
        """The part of the options that says how columns are read."""
        return ReadOptions(**{item.name: getattr(self, item.name) for item in fields(ReadOptions)})


def read_checked(source: Source, options: LoadOptions) -> tuple[RawBars, LoadReport]:
    """The rows of a source that `options` choose, and what became of the others. Order is checked, values are not."""
    reading = read(source, options.reading)
    bars = _raw(reading)
    rows_read = len(bars)
    bars = _in_order(bars, sort=options.sort)
    if options.stamp == "close":
        bars = _opened(bars, options)
    bars = _window(bars, start=options.start, stop=options.stop, last=options.last)
    before = len(bars)
    dropped: tuple[Defect, ...] = ()
    is_open = _last_is_open(bars, options.timeframe)
    if options.on_bad == "drop":
        bars, dropped = _drop(bars, options.timeframe, is_open=is_open)
    elif unfinished := bars.unfinished_defect():
        raise DataError(f"{bars.place}: {unfinished}; the rule: {MEANING[Rule.UNFINISHED]}.\n{CURE[Rule.UNFINISHED]}")
    elif is_open:
        note = (
            f"the last bar, {format_time(int(bars.columns['timestamp'][-1]))}, was not over yet: {DROP} leaves it out"
        )
        bars = replace(bars, format=f"{bars.reading}; {note}", reading=f"{bars.reading}; {note}")
    report = LoadReport(
        rows_read=rows_read, rows_dropped=before - len(bars), rows_returned=len(bars), dropped=dropped,
        format=bars.reading, is_usual=bars.format is None,
    )  # fmt: skip
    return bars, report


def read_bars(source: Source, options: LoadOptions | None = None, **keys: Any) -> RawBars:
    """The rows of a source as they are, with no rule applied: what the quality report looks at.

    options   how it is read; or `keys`, the same by name

    Raises DataError when the source cannot be read, has no rows, or holds values that are no numbers or times.
    """
    return _raw(read(source, (LoadOptions(**keys) if options is None else options).reading))


def _raw(reading: Reading) -> RawBars:
    text = None if reading.is_plain else reading.format
    return RawBars(
        columns=reading.columns, place=reading.place, format=text, reading=reading.format, unfinished=reading.unfinished
    )


def _last_is_open(bars: RawBars, timeframe: str | None) -> bool:
    """Whether the last bar has opened and is not over by the clock, as the last one that a server sends."""
    time = bars.columns["timestamp"]
    if time.shape[0] < 3 or np.any(np.diff(time) <= 0):
        return False
    length = common_timeframe(time) if timeframe is None else parse_timeframe(timeframe)
    return bool(0 <= SystemClock().utc_ms() - int(time[-1]) < length)


def _in_order(bars: RawBars, *, sort: bool) -> RawBars:
    """The rows in order of time. Raises DataError when they are not and `sort` is false."""
    time = bars.columns["timestamp"]
    if sort:
        return bars.take(np.argsort(time, kind="stable"))
    if np.any(np.diff(time) < 0):
        defects = tuple(defect for defect in find_defects(bars.columns) if defect.rule is not Rule.OFF_GRID)
        raise DataError(describe_defects(defects, bars.columns, place=bars.place))
    return bars


def _opened(bars: RawBars, options: LoadOptions) -> RawBars:
    """The rows of bars that are stamped at their close, with the times of their opens."""
    time = bars.columns["timestamp"]
    if options.timeframe is not None:
        timeframe_ms = parse_timeframe(options.timeframe)
    elif options.on_bad == "drop":
        timeframe_ms = common_timeframe(time, place=bars.place)
    else:
        timeframe_ms = infer_timeframe(time, place=bars.place)
    columns = {**bars.columns, "timestamp": opens_of_closes(time, timeframe_ms)}
    return replace(bars, columns=columns)


def _window(bars: RawBars, *, start: Any, stop: Any, last: int | None) -> RawBars:
    """The rows from `start` to before `stop`, at most the `last` of them."""
    time = bars.columns["timestamp"]
    low = 0 if start is None else int(np.searchsorted(time, instant_ms(start)))
    high = len(bars) if stop is None else int(np.searchsorted(time, instant_ms(stop)))
    if last is not None:
        if last < 1:
            raise DataError(f"last is a positive number of rows; found {last}.")
        low = max(low, high - last)
    if low >= high:
        raise DataError(f"{bars.place}: there are no rows between start ({start!r}) and stop ({stop!r}). Widen them.")
    return bars.take(np.arange(low, high)) if (low, high) != (0, len(bars)) else bars


def _drop(bars: RawBars, timeframe: str | None, *, is_open: bool) -> tuple[RawBars, tuple[Defect, ...]]:
    """The rows that break no rule, and the defects of the others. Raises DataError when none is left."""
    if is_open:
        last = np.arange(len(bars)) == len(bars) - 1
        bars = replace(bars, unfinished=last if bars.unfinished is None else last | bars.unfinished)
    defects = {defect.rule: defect for defect in find_defects(bars.columns)}
    unfinished = bars.unfinished_defect()
    if unfinished is not None:
        defects[Rule.UNFINISHED] = unfinished
    bad = bad_rows(bars.columns, None)
    wrong = np.zeros(len(bars), dtype=np.bool_)
    for rule in _DROPPED:
        wrong |= bad[rule]
    if bars.unfinished is not None:
        wrong |= bars.unfinished
    # Repetitions are looked for last: where the first row of a time is wrong, the second is the one to keep.
    rows = np.flatnonzero(~wrong)
    time = bars.columns["timestamp"]
    rows = rows[~bad_rows(bars.take(rows).columns, None)[Rule.DUPLICATED]]
    if rows.size == 0:
        raise DataError(describe_defects(tuple(defects.values()), bars.columns, place=bars.place))
    off = _off_grid(time[rows], timeframe)
    if off.any():
        first = int(rows[np.argmax(off)])
        defects[Rule.OFF_GRID] = Defect(
            rule=Rule.OFF_GRID,
            count=int(np.count_nonzero(off)),
            row=first,
            evidence=evidence(bars.columns, Rule.OFF_GRID, first),
        )
    order = (Rule.DUPLICATED, *_DROPPED, Rule.OFF_GRID, Rule.UNFINISHED)
    return bars.take(rows[~off]), tuple(defects[rule] for rule in order if rule in defects)


def _off_grid(time: NDArray[np.int64], timeframe: str | None) -> NDArray[np.bool_]:
    """Which rows to drop because they are off the grid: none where so many are that the timeframe must be wrong."""
    none = np.zeros(time.shape[0], dtype=np.bool_)
    if np.unique(time).size < 2:
        return none
    timeframe_ms = common_timeframe(time) if timeframe is None else parse_timeframe(timeframe)
    off = off_grid(time, timeframe_ms)
    return off if np.count_nonzero(off) < OFF_GRID_SHARE * time.shape[0] else none
