"""Metrics of a single backtest: what needs the whole equity curve, or a second look at all trades.

Notation and formulas are those of `metrics.Metric`. Plain NumPy, since they are worked out once and not for each set of
a sweep.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from lockstep.engine.metrics import CurveMetric
from lockstep.engine.statistics import NOISE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    F8 = NDArray[np.float64]

_DAY_MS: Final = 86_400_000


def curve_metrics(
    timestamp: NDArray[np.int64], closes: NDArray[np.int64], equity: F8, pnl: F8, *, initial_capital: float
) -> dict[str, float | int | None]:
    """The metrics that a sweep does not have.

    timestamp   int64 (n,), ms UTC at bar open
    closes      int64 (n,), ms UTC at bar close
    equity      float64 (n,), at each close
    pnl         float64 (trades,), quote currency
    """
    best, worst = _months(timestamp, equity, initial_capital)
    return {
        CurveMetric.SQN: _system_quality(pnl, initial_capital),
        CurveMetric.LONGEST_DRAWDOWN_DAYS: _longest_drawdown(timestamp, closes, equity, initial_capital),
        CurveMetric.BEST_MONTH_PCT: best,
        CurveMetric.WORST_MONTH_PCT: worst,
    }


def _system_quality(pnl: F8, initial_capital: float) -> float | None:
    if pnl.size < 2 or not np.isfinite(pnl).all():
        return None
    deviation = float(pnl.std(ddof=1))
    if not deviation > NOISE * initial_capital:
        return None
    return math.sqrt(pnl.size) * float(pnl.mean()) / deviation


def _longest_drawdown(
    timestamp: NDArray[np.int64], closes: NDArray[np.int64], equity: F8, initial_capital: float
) -> float | None:
    if not np.isfinite(equity).all():
        return None
    if not equity.size:
        return 0.0
    # The capital stands at the open of the first bar, the equity of a bar at its close.
    marks = np.concatenate(([initial_capital], equity))
    times = np.concatenate((timestamp[:1], closes))
    # A close that misses the peak by rounding is at the peak.
    highest = np.flatnonzero(marks >= np.maximum.accumulate(marks) * (1.0 - NOISE))
    between = np.diff(highest) > 1
    lengths = np.diff(times[highest])[between]
    unfinished = int(times[-1] - times[highest[-1]])
    longest: int = max([0, unfinished, *lengths.tolist()])
    return longest / _DAY_MS


def _months(timestamp: NDArray[np.int64], equity: F8, initial_capital: float) -> tuple[float | None, float | None]:
    """Best and worst return of a calendar month (UTC), in percent. The first and the last are counted as they are."""
    if not equity.size or not np.isfinite(equity).all() or not (equity > 0.0).all():
        return None, None
    first, last = timestamp[[0, -1]].astype("datetime64[ms]").astype("datetime64[M]")
    starts = np.arange(first + 1, last + 1).astype("datetime64[ms]").astype(np.int64)
    # The last bar before each month begins, and the last of all. A month without a bar has none of its own.
    ends = np.unique(np.append(np.searchsorted(timestamp, starts), equity.size)) - 1
    levels = np.concatenate(([initial_capital], equity[ends]))
    returns = 100.0 * (levels[1:] / levels[:-1] - 1.0)
    return float(returns.max()), float(returns.min())
