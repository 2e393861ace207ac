"""The quality report: what is wrong, odd or missing in a series of bars, as facts, and one score.

Nothing is changed. The report also reads bars that `Candles` would refuse, so that a person can see why.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from lockstep.core.errors import DataError
from lockstep.core.scalar_math import log
from lockstep.core.units import DAY_MS, parse_timeframe
from lockstep.market.breaks import find_bad_ticks, find_breaks, trades_as_usual
from lockstep.market.candles import Candles
from lockstep.market.checks import PRICES, bad_rows, find_defects, flat_bars, off_grid
from lockstep.market.gaps import Gap, GapKind, find_gaps, missing_before
from lockstep.market.grid import OFF_GRID_SHARE, common_timeframe, infer_timeframe
from lockstep.market.quality_report import Jump, QualityReport, StuckBars, SymbolChange
from lockstep.market.stamps import close_stamps

if TYPE_CHECKING:
    from lockstep.market.bars import RawBars

BarColumns = Mapping[str, NDArray[Any]]

# A return this many robust standard deviations from the median is a jump. Real markets have some (tails are fat);
# the number tells how rough a series is, and one that is taken back at once is suspect.
JUMP_Z: Final = 20.0
# A jump of which the next bar takes back at least this share, in log price, is a spike: most are bad prints.
_TAKEN_BACK: Final = 0.8
# Another asset under the same name: bars missing for a day or more, and a price ten times higher or lower after.
_CHANGE_RATIO: Final = 10.0
_CHANGE_GAP_MS: Final = DAY_MS


def quality_report(bars: Candles | RawBars | BarColumns, timeframe: str | None = None) -> QualityReport:
    """Describe bars as they are.

    The score is 100 x the product of

    - completeness: n / (n + m), n bars and m bars missing in holes, counting only hours that are not usually closed;
    - soundness: 1 - min(1, 10 b / n), b rows that break a rule: each weighs ten;
    - liveness: 1 - d / n, d bars of one price or (where the source has volume) without volume;
    - plausibility: 1 - min(1/2, 10 s / n), s spikes (jumps that the next bar takes back) and bad ticks in highs and
      lows (`market.breaks`);
    - identity: 1/2 for every suspected symbol change, split and change of unit.

    A clean, complete, liquid series has 100; closed hours and jumps that stay, such as a crash, cost nothing. The score
    ranks data sets and holds a threshold; it does not say that a market can be traded.

    bars       candles, or the result of `bars.read_bars`, or columns: timestamp int64 (n,), milliseconds UTC at bar
               open, and open, high, low, close, volume float64 (n,), of any quality
    timeframe  bar length of unchecked rows; None infers the most common step

    Raises DataError when there are fewer than two different times, or no timeframe can be inferred.
    """
    if isinstance(bars, Candles):
        columns: BarColumns = bars.columns()
        timeframe_ms: int | None = bars.timeframe_ms
    else:
        columns = bars if isinstance(bars, Mapping) else bars.columns
        timeframe_ms = None if timeframe is None else parse_timeframe(timeframe)
    rows = int(columns["timestamp"].shape[0])
    declared = _grid(columns["timestamp"]) if timeframe_ms is None else timeframe_ms
    defects = find_defects(columns, declared)
    bad = np.zeros(rows, dtype=np.bool_)
    # Candles have no such row, and columns by themselves do not say.
    if not isinstance(bars, Candles | Mapping) and bars.unfinished is not None:
        defects += tuple(filter(None, [bars.unfinished_defect()]))
        bad |= bars.unfinished
    for rule_rows in bad_rows(columns, declared).values():
        bad |= rule_rows
    # Gaps and jumps need one row a time in order; broken rules are counted on the rows as the source has them.
    ordered, numbers = _ordered(columns)
    time = ordered["timestamp"]
    if time.shape[0] < 2:
        raise DataError(f"a quality report needs two or more bars at different times; found {time.shape[0]}.")
    length = infer_timeframe(time) if declared is None else declared
    gaps = tuple(_renumbered(gap, numbers) for gap in find_gaps(time, length))
    changes = tuple(_changes(ordered, find_gaps(time, length), numbers))
    jumps = _jumps(ordered, length, numbers)
    changed = {change.gap.row for change in changes}
    breaks = tuple(item for item in find_breaks(ordered, length, numbers) if item.row not in changed)
    # A jump of the close that is taken back is counted as that.
    spiked = {jump.row for jump in jumps if jump.spike}
    bad_ticks = tuple(tick for tick in find_bad_ticks(ordered, numbers) if tick.row not in spiked)
    flat, silent, has_volume = _flat_and_silent(ordered)
    dead = flat | silent if has_volume else flat
    n_bad = int(np.count_nonzero(bad))
    missing = sum(gap.bars_expected for gap in gaps if gap.kind is GapKind.HOLE)
    spikes = len(spiked) + len(bad_ticks)
    n_dead = int(np.count_nonzero(dead))
    score = 100.0 * (rows / (rows + missing)) * (1 - min(1.0, 10 * n_bad / rows)) * (1 - n_dead / time.shape[0])
    score *= (1 - min(0.5, 10 * spikes / rows)) * 0.5 ** (len(changes) + len(breaks))
    return QualityReport(
        rows=rows,
        first=int(time[0]),
        last=int(time[-1]),
        timeframe_ms=length,
        defects=defects,
        bad_rows=n_bad,
        gaps=gaps,
        jumps=jumps,
        stuck=_stuck(flat & silent & has_volume, time, numbers),
        changes=changes,
        breaks=breaks,
        bad_ticks=bad_ticks,
        stamp=close_stamps(time, length),
        flat=int(np.count_nonzero(flat)),
        zero_volume=int(np.count_nonzero(silent)),
        dead=n_dead,
        has_volume=has_volume,
        score=score,
        format=_format(bars),
    )


def _format(bars: Candles | RawBars | BarColumns) -> str:
    """What a source was read as, "" where nothing is to tell about it."""
    if isinstance(bars, Mapping):
        return ""
    return (bars.format or "") if isinstance(bars, Candles) else bars.reading


def _grid(timestamp: NDArray[np.int64]) -> int | None:
    """The timeframe of rows of which a few lie off its grid; None where none do, or too many to tell."""
    times = np.unique(timestamp)
    if times.size < 2:
        return None
    length = common_timeframe(times)
    off = np.count_nonzero(off_grid(times, length))
    return length if 0 < off < OFF_GRID_SHARE * times.size else None


def _ordered(columns: BarColumns) -> tuple[dict[str, NDArray[Any]], NDArray[np.int64]]:
    """The rows in order of time, the first of each time, and their row numbers in the source."""
    _, numbers = np.unique(columns["timestamp"], return_index=True)
    return {name: columns[name][numbers] for name in ("timestamp", *PRICES, "volume")}, numbers.astype(np.int64)


def _renumbered(gap: Gap, numbers: NDArray[np.int64]) -> Gap:
    return Gap(
        row=int(numbers[gap.row]),
        start=gap.start,
        stop=gap.stop,
        bars_missing=gap.bars_missing,
        bars_expected=gap.bars_expected,
        kind=gap.kind,
    )


def _flat_and_silent(columns: BarColumns) -> tuple[NDArray[np.bool_], NDArray[np.bool_], bool]:
    """Which bars have one price, which have no volume, bool (n,) each, and whether the source has volume at all."""
    return flat_bars(columns), columns["volume"] == 0, bool(np.any(columns["volume"] > 0))


def _changes(columns: BarColumns, gaps: tuple[Gap, ...], numbers: NDArray[np.int64]) -> list[SymbolChange]:
    """Gaps that may hide a change of asset. One day of missing bars is asked for: a crash happens in open hours."""
    changes = []
    for gap in gaps:
        before, after = float(columns["close"][gap.row - 1]), float(columns["open"][gap.row])
        if gap.stop - gap.start < _CHANGE_GAP_MS or not (before > 0 and after > 0):
            continue
        ratio = after / before
        if ratio >= _CHANGE_RATIO or ratio <= 1 / _CHANGE_RATIO:
            changes.append(SymbolChange(gap=_renumbered(gap, numbers), ratio=ratio))
    return changes


def _jumps(columns: BarColumns, timeframe_ms: int, numbers: NDArray[np.int64]) -> tuple[Jump, ...]:
    """Close-to-close returns between adjacent bars, measured in robust standard deviations.

    z = (r - median) / (1.4826 MAD), both over the returns that are not zero: in a quiet series most returns are
    zero, and then a MAD of all of them would be too. Returns over gaps are left out.
    """
    close, time = columns["close"], columns["timestamp"]
    usable = np.isfinite(close) & (close > 0)
    adjacent = (missing_before(time, timeframe_ms)[1:] == 0) & usable[1:] & usable[:-1]
    at = np.flatnonzero(adjacent) + 1
    returns = np.array([log(value) for value in (close[at] / close[at - 1]).tolist()])
    moving = returns[returns != 0]
    if moving.size < 2:
        return ()
    middle = float(np.median(moving))
    scale = 1.4826 * float(np.median(np.abs(moving - middle)))
    if scale == 0:
        return ()
    z = (returns - middle) / scale
    # By row, because returns over gaps are missing: the next entry need not be the next bar.
    by_row = dict(zip(at.tolist(), returns.tolist(), strict=True))
    quiet = trades_as_usual(columns["volume"])
    jumps = []
    for number in np.flatnonzero(np.abs(z) > JUMP_Z).tolist():
        row, value = int(at[number]), float(returns[number])
        following = by_row.get(row + 1)
        spike = following is not None and -following / value >= _TAKEN_BACK
        jumps.append(
            Jump(
                row=int(numbers[row]),
                timestamp=int(time[row]),
                log_return=value,
                z=float(z[number]),
                spike=spike,
                quiet=bool(quiet[row]),
            )
        )
    return tuple(jumps)


def _stuck(stuck: NDArray[np.bool_], time: NDArray[np.int64], numbers: NDArray[np.int64]) -> tuple[StuckBars, ...]:
    """Stretches of consecutive true rows of `stuck`, bool (n,)."""
    # Padded with false on both ends, every stretch has one rising and one falling edge.
    edges = np.diff(np.concatenate(([False], stuck, [False])).astype(np.int8))
    starts, stops = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    return tuple(
        StuckBars(row=int(numbers[start]), timestamp=int(time[start]), bars=int(stop - start))
        for start, stop in zip(starts.tolist(), stops.tolist(), strict=True)
    )
