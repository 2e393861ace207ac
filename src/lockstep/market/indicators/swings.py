"""Swing highs and lows, at the bars where they become known: `side` bars after the bar that makes them.

A swing high is a high strictly above the `side` highs before it and the `side` highs after it. It is a fact
only once those later bars have closed, so it stands at bar pivot + side: the pivot of a value at bar t is
t - side. Arrays are float64 (n,), oldest bar first. A NaN on either side means no swing.
"""

from __future__ import annotations

import numpy as np

from lockstep.core.types import Float
from lockstep.market.indicators._kernel import kernel


def swing_highs_python(high: Float, side: int = 2) -> Float:
    """Prices of swing highs at the bars where they become known, NaN elsewhere; NaN head 2 x side."""
    n = high.size
    out = np.full(n, np.nan)
    for t in range(2 * side, n):
        pivot = high[t - side]
        is_swing = True
        for k in range(1, side + 1):
            # Not written with >=, which a NaN would pass. Strict: of two equal highs side by side neither stands out.
            if not (high[t - side - k] < pivot and high[t - side + k] < pivot):
                is_swing = False
                break
        if is_swing:
            out[t] = pivot
    return out


def swing_lows_python(low: Float, side: int = 2) -> Float:
    """Prices of swing lows at the bars where they become known, NaN elsewhere; NaN head 2 x side."""
    n = low.size
    out = np.full(n, np.nan)
    for t in range(2 * side, n):
        pivot = low[t - side]
        is_swing = True
        for k in range(1, side + 1):
            # Not written with <=, as for highs.
            if not (low[t - side - k] > pivot and low[t - side + k] > pivot):
                is_swing = False
                break
        if is_swing:
            out[t] = pivot
    return out


def hold_python(values: Float) -> Float:
    """The most recent value that is not NaN, at every bar; NaN before the first."""
    n = values.size
    out = np.full(n, np.nan)
    held = np.nan
    for t in range(n):
        if values[t] == values[t]:
            held = values[t]
        out[t] = held
    return out


swing_highs = kernel(swing_highs_python)
swing_lows = kernel(swing_lows_python)
hold = kernel(hold_python)


def last_swing_high(high: Float, side: int = 2) -> Float:
    """Price of the most recent swing high known at each bar; NaN before the first.

    Depends on where the series starts until its first swing.
    """
    return hold(swing_highs(high, side))


def last_swing_low(low: Float, side: int = 2) -> Float:
    """Price of the most recent swing low known at each bar; NaN before the first.

    Depends on where the series starts until its first swing.
    """
    return hold(swing_lows(low, side))
