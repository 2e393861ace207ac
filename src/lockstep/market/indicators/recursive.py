"""Averages that never forget: EMA, Wilder's average, RSI, MACD.

Their value at bar t depends on all bars before, with weights that fall geometrically. Two things make the
start of a series matter as little as it can:

- The recursion is carried in twice the working precision (Dekker, Numer. Math. 18, 1971). In plain doubles two
  series with different starts stay some last bits apart for ever; so they become equal.
- `ema_warmup` and `wilder_warmup` give the number of bars after which the seed's weight is below 2^-80: from
  there on a value is the same to the last bit whatever came before, but for odds of about 1 in 10^8.

Seeding: the plain mean of the first `window` values, as TA-Lib does. A NaN inside the series restarts the
recursion: values return after `window` numbers in a row.
Arrays are float64 (n,), oldest bar first; infinities are not supported.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from lockstep.core.compiled import kernel as compile_kernel
from lockstep.core.errors import InputError
from lockstep.core.types import Float
from lockstep.market.indicators._kernel import kernel

# 2^27 + 1: multiplying by it splits a double into two halves of 26 bits, whose products have no rounding error
# (Veltkamp's splitting, used by Dekker).
_SPLIT: Final = 134217729.0


def _advance_python(high: float, low: float, weight: float, value: float) -> tuple[float, float]:
    """e + weight (value - e) for e = high + low, an unevaluated sum of two floats; the result likewise."""
    # Every bracket stands as in Dekker's paper: no other order of these operations keeps the errors, and fastmath,
    # which may choose another, would make them all zero.
    # value - high, exactly, as difference + rest
    difference = value - high
    part = difference - value
    rest = (value - (difference - part)) - (high + part) - low
    # weight * difference, exactly, as product + error; without a fused multiply-add, which not every CPU has
    product = weight * difference
    split = _SPLIT * weight
    weight_high = split - (split - weight)
    weight_low = weight - weight_high
    split = _SPLIT * difference
    difference_high = split - (split - difference)
    difference_low = difference - difference_high
    error = (
        (weight_high * difference_high - product) + weight_high * difference_low + weight_low * difference_high
    ) + (weight_low * difference_low)
    error += weight * rest
    # high + product, exactly, as total + tail; then made canonical, because only the canonical pair of one value is
    # unique, and two series become equal only if their pairs do
    total = high + product
    part = total - high
    tail = (high - (total - part)) + (product - part) + (low + error)
    new_high = total + tail
    return new_high, tail - (new_high - total)


_advance = compile_kernel(_advance_python)


def _smooth_python(values: Float, window: int, weight: float) -> Float:
    """Exponential average with the given weight of the newest value, seeded with the mean of `window` values."""
    n = values.size
    out = np.full(n, np.nan)
    high, low, seen = 0.0, 0.0, 0
    for t in range(n):
        value = values[t]
        # After a NaN the weights of older values are unknown, so the recursion starts anew.
        if value != value:
            high, low, seen = 0.0, 0.0, 0
            continue
        seen += 1
        # A plain sum is enough for the seed: its rounding error is forgotten like the seed itself.
        if seen < window:
            high += value
        elif seen == window:
            high, low = (high + value) / window, 0.0
        else:
            high, low = _advance(high, low, weight, value)
        if seen >= window:
            # `low` is below half a unit in the last place of `high`: the sum rounds to `high`.
            out[t] = high
    return out


_smooth = kernel(_smooth_python)


def ema(values: Float, window: int) -> Float:
    """Exponential moving average, weight 2 / (window + 1) on the newest value; NaN head window - 1."""
    return _smooth(values, window, 2.0 / (_at_least_one(window) + 1.0))


def wilder_mean(values: Float, window: int) -> Float:
    """Wilder's average, weight 1 / window on the newest value; NaN head window - 1.

    Source: J. W. Wilder, New Concepts in Technical Trading Systems (1978).
    """
    return _smooth(values, window, 1.0 / _at_least_one(window))


def rsi_python(values: Float, window: int = 14) -> Float:
    """Wilder's relative strength index, 100 U / (U + D), in [0, 100]; NaN head window.

    U and D are Wilder averages of the rises and of the falls from bar to bar. Without any movement it is 50
    (TA-Lib says 0). Source: J. W. Wilder, New Concepts in Technical Trading Systems (1978).
    """
    n = values.size
    out = np.full(n, np.nan)
    weight = 1.0 / window
    up, up_low, down, down_low, seen = 0.0, 0.0, 0.0, 0.0, 0
    for t in range(1, n):
        change = values[t] - values[t - 1]
        # One NaN spoils two changes; both averages restart together, or their ratio would mix two stretches.
        if change != change:
            up, up_low, down, down_low, seen = 0.0, 0.0, 0.0, 0.0, 0
            continue
        rise = max(change, 0.0)
        fall = max(-change, 0.0)
        seen += 1
        if seen < window:
            up += rise
            down += fall
        elif seen == window:
            up, down = (up + rise) / window, (down + fall) / window
        else:
            up, up_low = _advance(up, up_low, weight, rise)
            down, down_low = _advance(down, down_low, weight, fall)
        if seen >= window:
            # Not 100 - 100 / (1 + U / D), Wilder's form, which has no value where nothing fell.
            total = up + down
            out[t] = 100.0 * (up / total) if total > 0.0 else 50.0
    return out


rsi = kernel(rsi_python)


def macd(values: Float, fast: int = 12, slow: int = 26, signal: int = 9) -> tuple[Float, Float, Float]:
    """Moving average convergence-divergence: (line, signal line, histogram).

    line = ema(fast) - ema(slow), NaN head slow - 1 (of the longer, if they are the other way round);
    signal line = ema(line, signal), NaN head slow + signal - 2; histogram = line - signal line, same head.
    Each EMA is seeded with its own first values; TA-Lib starts the fast one later, which differs until the
    seeds are forgotten.
    Source: G. Appel, The Moving Average Convergence-Divergence Method (1979).
    """
    line = ema(values, fast) - ema(values, slow)
    trigger = ema(line, signal)
    return line, trigger, line - trigger


def ema_warmup(window: int, bits: int = 80) -> int:
    """Bars after which what came before weighs less than 2^-bits in `ema` (about 28 x (window + 1) for 80)."""
    return _forgotten(_at_least_one(window), 2.0 / (window + 1.0), bits)


def wilder_warmup(window: int, bits: int = 80) -> int:
    """Bars after which what came before weighs less than 2^-bits in `wilder_mean`, `wilder_atr` and `rsi`."""
    return _forgotten(_at_least_one(window), 1.0 / window, bits)


def _forgotten(window: int, weight: float, bits: int) -> int:
    # Multiplied out, because the C library's log may differ from one machine to the next.
    left, bars = 1.0, 0
    while left >= 2.0**-bits:
        left *= 1.0 - weight
        bars += 1
    return window + bars


def _at_least_one(window: int) -> int:
    if window < 1:
        raise InputError(f"a window is a whole number >= 1; found {window!r}.")
    return window
