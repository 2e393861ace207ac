"""The timeframe of rows that declare none: what most steps between them are."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from lockstep.core.errors import DataError
from lockstep.core.units import format_timeframe
from lockstep.market.checks import DROP, format_time, off_grid
from lockstep.market.clock import clock_jumps, step_bounds, whole_timeframe

# Where a smaller share of rows than this lies off a grid, the rows are wrong; else the timeframe is.
OFF_GRID_SHARE: Final = 1 / 3


def common_timeframe(timestamp: NDArray[np.int64], *, place: str = "candles") -> int:
    """The most common step between consecutive rows, in milliseconds; the shortest of equally common ones.

    A day for steps of 23 to 25 hours, 31 days for those of months.

    timestamp  int64 (n,), milliseconds UTC
    place      named in errors

    Raises DataError when there are fewer than two times.
    """
    step = np.diff(timestamp)
    step = step[step > 0]
    if step.size == 0:
        raise DataError(
            f"{place}: a timeframe can be inferred from two or more times; found {np.unique(timestamp).size}. Declare "
            "it: timeframe='5m' (--timeframe 5m; in a spec [market] timeframe)."
        )
    values, counts = np.unique(step, return_counts=True)
    return whole_timeframe(int(values[np.argmax(counts)]), step)


def infer_timeframe(timestamp: NDArray[np.int64], *, place: str = "candles") -> int:
    """The most common step between consecutive rows, in milliseconds (the shortest of equally common ones).

    timestamp  int64 (n,), milliseconds UTC
    place      named in errors

    Raises DataError when there are fewer than two times, or all steps differ, or some steps are shorter than the most
    common one (as when bars without trades are missing), so that a guess would be just that.
    """
    common = common_timeframe(timestamp, place=place)
    step = np.diff(timestamp)
    positive = step[step > 0]
    values, counts = np.unique(positive, return_counts=True)
    shortest, longest = step_bounds(common)
    alike = int(counts[(values >= shortest) & (values <= longest)].sum())
    if positive.size > 2 and alike == 1:
        raise DataError(
            f"{place}: nothing but gaps: all {positive.size:,} steps between rows differ "
            f"({duration(int(values[0]))} to {duration(int(values[-1]))}). Declare the timeframe, and check that "
            "these rows are bars."
        )
    shorter = (step > 0) & (step < shortest) & ~clock_jumps(timestamp, common)
    if shorter.any():
        number = int(shorter.sum())
        off = off_grid(timestamp, common)
        row = int(np.argmax(off))
        unfinished = ", the last one: a bar that was not over?" if row == off.size - 1 else ""
        raise DataError(
            f"{place}: the most common step is {duration(common)}, but {number:,} of {positive.size:,} steps "
            f"{'is' if number == 1 else 'are'} shorter (the shortest {duration(int(values[0]))}). Off its grid: "
            f"{int(off.sum()):,} row{'' if off.sum() == 1 else 's'}, the first row {row} "
            f"({format_time(int(timestamp[row]))}){unfinished}. "
            f"Declare the timeframe, such as timeframe='5m'; where {duration(common)} is right, {DROP} drops such rows."
        )
    return common


def duration(milliseconds: int) -> str:
    """A length of time as text, such as "5m"; in milliseconds where it is no whole number of seconds."""
    return format_timeframe(milliseconds) if milliseconds % 1_000 == 0 else f"{milliseconds} ms"
