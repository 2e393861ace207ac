"""Ranges and returns of bars: true range, average true range in both smoothing forms, log returns.

Arrays are float64 (n,), oldest bar first; prices > 0. A NaN price makes NaN what uses it.
"""

from __future__ import annotations

import numpy as np

from lockstep.core.scalar_math import log
from lockstep.core.types import Float
from lockstep.market.indicators._kernel import kernel
from lockstep.market.indicators.recursive import wilder_mean
from lockstep.market.indicators.rolling import rolling_mean


def true_range_python(high: Float, low: Float, close: Float) -> Float:
    """max(high - low, |high - previous close|, |low - previous close|), in quote currency; NaN head 1.

    The first bar has no previous close, so its true range is unknown (as in TA-Lib), not high - low.
    Source: J. W. Wilder, New Concepts in Technical Trading Systems (1978).
    """
    n = high.size
    out = np.full(n, np.nan)
    # From bar 1, not with high - low at bar 0: an average would then begin with a range of another kind.
    for t in range(1, n):
        spread = high[t] - low[t]
        above = abs(high[t] - close[t - 1])
        below = abs(low[t] - close[t - 1])
        # Written so that a NaN in any of the three prices gives NaN: comparisons alone would lose it.
        if spread == spread and above == above and below == below:
            out[t] = max(spread, above, below)
    return out


def log_returns_python(values: Float) -> Float:
    """ln(value / previous value); NaN head 1. By `core.scalar_math.log`, the same bits on every machine."""
    n = values.size
    out = np.full(n, np.nan)
    for t in range(1, n):
        # The logarithm of a quotient, not a difference of logarithms, whose leading digits would cancel.
        out[t] = log(values[t] / values[t - 1])
    return out


true_range = kernel(true_range_python)
log_returns = kernel(log_returns_python)


def rolling_atr(high: Float, low: Float, close: Float, window: int = 14) -> Float:
    """Average true range as the plain mean of the last `window` true ranges; NaN head window.

    A function of the last window + 1 bars only. The form of `DataCollector` (R1.9).
    """
    return rolling_mean(true_range(high, low, close), window)


def wilder_atr(high: Float, low: Float, close: Float, window: int = 14) -> Float:
    """Average true range by Wilder's smoothing; NaN head window.

    Seeded with the mean of the first `window` true ranges. See `recursive` for how long the start of the
    series matters (`wilder_warmup`).
    Source: J. W. Wilder, New Concepts in Technical Trading Systems (1978).
    """
    return wilder_mean(true_range(high, low, close), window)
