"""Rolling windows: the value at bar t is a function of the bars t - window + 1 ... t and of nothing else.

Each window is summed anew, so nothing drifts and a value does not depend on where the series starts. A window
that reaches before the first bar, or holds a NaN, gives NaN; once the NaN has left the window, values return.
The NaN head is therefore exactly window - 1 bars (one more for the `previous_` forms).
Arrays are float64 (n,), oldest bar first; infinities are not supported.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from lockstep.core.compiled import kernel as compile_kernel
from lockstep.core.types import Float
from lockstep.market.indicators._kernel import kernel

# Bars that advance together: 16 KiB a column, so that a block's sums stay in the first cache over all its passes.
_BLOCK: Final = 2048


@compile_kernel
def _sum_distances(values: Float, first: int, window: int, sums: Float) -> None:
    """Writes, for each window from `first` on, the sum of its later values less its oldest one, oldest first.

    All windows of a block advance together, so that vector instructions can be used without changing the order in which
    any one window is added up. Columns are slices of `values`: an index that might be negative would forbid that.
    """
    size = sums.size
    oldest = values[first : first + size]
    sums[:] = 0.0
    k = first + 1
    # Four values a pass: a sum is fetched and stored again a quarter as often.
    while k + 4 <= first + window:
        a, b = values[k : k + size], values[k + 1 : k + 1 + size]
        c, d = values[k + 2 : k + 2 + size], values[k + 3 : k + 3 + size]
        for i in range(size):
            x = oldest[i]
            sums[i] = (((sums[i] + (a[i] - x)) + (b[i] - x)) + (c[i] - x)) + (d[i] - x)
        k += 4
    while k < first + window:
        a = values[k : k + size]
        for i in range(size):
            sums[i] += a[i] - oldest[i]
        k += 1


def rolling_mean_python(values: Float, window: int) -> Float:
    """Arithmetic mean of the last `window` values; NaN head window - 1.

    Summed as differences from the window's oldest value, oldest first: the mean of equal values is that value,
    exactly.
    """
    n = values.size
    out = np.full(n, np.nan)
    for start in range(window - 1, n, _BLOCK):
        # No running sum (add the new value, subtract the old one): its rounding errors stay for ever, and a NaN too.
        first = start - window + 1
        mean = out[start : min(n, start + _BLOCK)]
        _sum_distances(values, first, window, mean)
        oldest = values[first : first + mean.size]
        for i in range(mean.size):
            mean[i] = oldest[i] + mean[i] / window
    return out


def rolling_std_python(values: Float, window: int, ddof: int = 0) -> Float:
    """Standard deviation of the last `window` values, sqrt(sum((x - mean)^2) / (window - ddof)); NaN head window - 1.

    Two passes over each window. `ddof` 0 is the population's (as Bollinger uses), 1 the sample's; all NaN
    where window <= ddof.
    """
    n = values.size
    out = np.full(n, np.nan)
    if window <= ddof:
        return out
    room = np.empty(_BLOCK)
    for start in range(window - 1, n, _BLOCK):
        first = start - window + 1
        squares = out[start : min(n, start + _BLOCK)]
        mean = room[: squares.size]
        _sum_distances(values, first, window, mean)
        oldest = values[first : first + mean.size]
        for i in range(mean.size):
            mean[i] = oldest[i] + mean[i] / window
            squares[i] = 0.0
        # The second pass: mean(x^2) - mean(x)^2 would do with one, but cancels where prices are large and quiet.
        for k in range(first, first + window):
            value = values[k : k + mean.size]
            for i in range(mean.size):
                distance = value[i] - mean[i]
                squares[i] += distance * distance
        for i in range(mean.size):
            squares[i] = np.sqrt(squares[i] / (window - ddof))
    return out


def rolling_median_python(values: Float, window: int) -> Float:
    """Median of the last `window` values (mean of the middle two for an even window); NaN head window - 1.

    Keeps the window sorted: one insertion and one removal per bar.
    """
    n = values.size
    out = np.full(n, np.nan)
    ordered = np.empty(window)
    held = 0  # values in `ordered`: those of the window that are not NaN
    for t in range(n):
        if t >= window:
            old = values[t - window]
            # A NaN was never inserted: it has no place in an order.
            if old == old:
                low, high = 0, held
                while low < high:
                    middle = (low + high) // 2
                    if ordered[middle] < old:
                        low = middle + 1
                    else:
                        high = middle
                for k in range(low, held - 1):
                    ordered[k] = ordered[k + 1]
                held -= 1
        new = values[t]
        if new == new:
            # From the top, one place at a time: the values above have to move anyway.
            k = held
            while k > 0 and ordered[k - 1] > new:
                ordered[k] = ordered[k - 1]
                k -= 1
            ordered[k] = new
            held += 1
        if held == window:
            # Adding 0.0 turns a negative zero, whose place among zeros is arbitrary, into a plain one.
            out[t] = (ordered[(window - 1) // 2] + ordered[window // 2]) / 2.0 + 0.0
    return out


def rolling_max_python(values: Float, window: int) -> Float:
    """Greatest of the last `window` values; NaN head window - 1. O(n) whatever the window (monotonic queue)."""
    n = values.size
    out = np.full(n, np.nan)
    queue = np.empty(n, dtype=np.int64)  # bars that may still become the greatest, values descending
    front, back, last_nan = 0, 0, -1
    for t in range(n):
        if values[t] != values[t]:
            front, back, last_nan = 0, 0, t
            continue
        # A bar that is not above this one can never be the greatest again, for it leaves the window earlier.
        while back > front and values[queue[back - 1]] <= values[t]:
            back -= 1
        queue[back] = t
        back += 1
        if queue[front] <= t - window:
            front += 1
        if t - last_nan >= window:
            out[t] = values[queue[front]]
    return out


def rolling_min_python(values: Float, window: int) -> Float:
    """Least of the last `window` values; NaN head window - 1. O(n) whatever the window (monotonic queue)."""
    n = values.size
    out = np.full(n, np.nan)
    queue = np.empty(n, dtype=np.int64)  # bars that may still become the least, values ascending
    front, back, last_nan = 0, 0, -1
    for t in range(n):
        if values[t] != values[t]:
            front, back, last_nan = 0, 0, t
            continue
        # A bar that is not below this one can never be the least again, for it leaves the window earlier.
        while back > front and values[queue[back - 1]] >= values[t]:
            back -= 1
        queue[back] = t
        back += 1
        if queue[front] <= t - window:
            front += 1
        if t - last_nan >= window:
            out[t] = values[queue[front]]
    return out


def shift_python(values: Float, bars: int) -> Float:
    """The value `bars` bars ago; NaN head `bars`. There is no shift towards the future."""
    n = values.size
    out = np.full(n, np.nan)
    for t in range(bars, n):
        out[t] = values[t - bars]
    return out


rolling_mean = kernel(rolling_mean_python)
rolling_std = kernel(rolling_std_python)
rolling_median = kernel(rolling_median_python)
rolling_max = kernel(rolling_max_python)
rolling_min = kernel(rolling_min_python)
shift = kernel(shift_python)

sma = rolling_mean
"""Simple moving average: `rolling_mean` under the name that charts use."""

volume_mean = rolling_mean
"""Mean volume of the last bars, this one included; `shift` it by one to compare a bar with those before it."""


def previous_max(values: Float, window: int) -> Float:
    """Greatest of the `window` values **before** this bar: bars t - window ... t - 1. NaN head window."""
    return shift(rolling_max(values, window), 1)


def previous_min(values: Float, window: int) -> Float:
    """Least of the `window` values **before** this bar: bars t - window ... t - 1. NaN head window."""
    return shift(rolling_min(values, window), 1)


def bollinger(values: Float, window: int = 20, width: float = 2.0) -> tuple[Float, Float, Float]:
    """Bollinger bands (upper, middle, lower): mean +- width x population standard deviation. NaN head window - 1.

    Source: J. Bollinger, Bollinger on Bollinger Bands (2001); the divisor is the window's length, as there.
    """
    middle = rolling_mean(values, window)
    reach = float(width) * rolling_std(values, window, 0)
    return middle + reach, middle, middle - reach
