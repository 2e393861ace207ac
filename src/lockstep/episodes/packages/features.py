"""Values of a package that are computed from closed bars: features, indicators, a state vector, confirmed pivots.

    LOOKBACK    the bars that any of these values may depend on, the newest included

Every value at bar t is a function of the bars t - LOOKBACK + 1 ... t alone (windowed indicators only: see
`indicators.rolling`), so it does not depend on where a series starts, and one bar at a time gives the same bits as the
whole series. Values are relative to prices and volumes, so that markets are comparable; nothing is normalised with
statistics of a data set: that belongs to training, on its training part alone.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from lockstep.core.types import Float
from lockstep.market.indicators import rolling_atr, rolling_max, rolling_mean, rolling_min, rolling_std, shift
from lockstep.market.indicators.swings import swing_highs, swing_lows

WINDOW: Final = 20
LOOKBACK: Final = WINDOW + 1
_RSI: Final = 14

FEATURES: Final = (
    "return_1",
    "body",
    "upper_wick",
    "lower_wick",
    "range",
    "volume_ratio",
    "distance_sma20",
    "volatility_20",
)
"""Columns of `cnn_features`, fractions each: close / previous close - 1; close / open - 1; high / max(open, close) - 1;
low / min(open, close) - 1; high / low - 1; volume / its mean of 20 - 1 (0 where that is 0); close / its mean of 20 - 1;
population standard deviation of the last 20 returns."""
INDICATORS: Final = ("atr_14", "high_20", "low_20", "rsi_14", "sma_20", "std_20")
"""Names of `technical_indicators`: mean true range, highest high, lowest low, mean and population standard deviation of
the close (quote currency each); `rsi_14` with plain means of gains and losses (Cutler's form), in [0, 100]."""
STATE: Final = (
    "return_1",
    "return_5",
    "return_20",
    "volatility_20",
    "volume_ratio",
    "distance_sma20",
    "position_20",
    "rsi_14",
)
"""Entries of `rl_state`: returns over 1, 5 and 20 bars, features as above, the place of the close between lowest low
(0) and highest high (1) of 20 bars (0.5 where they are equal), and rsi / 100."""


def bar_values(rows: Float) -> tuple[Float, Float, Float]:
    """Features, indicators and state of every bar.

    rows  float64 (n, 6): open time, open, high, low, close, volume; closed bars, oldest first

    Returns float64 (n, 8), (n, 6) and (n, 8), in the orders of `FEATURES`, `INDICATORS` and `STATE`; NaN where a value
    needs bars before the first.
    """
    first, high, low, close, volume = (np.ascontiguousarray(rows[:, column]) for column in range(1, 6))
    returns = close / shift(close, 1) - 1.0
    mean_volume = rolling_mean(volume, WINDOW)
    # 0, not NaN, where nothing was traded: one quiet window would make the whole package incomplete.
    with np.errstate(divide="ignore", invalid="ignore"):
        volume_ratio = np.where(mean_volume == 0.0, 0.0, volume / mean_volume - 1.0)
    sma, deviation = rolling_mean(close, WINDOW), rolling_std(close, WINDOW)
    highest, lowest = rolling_max(high, WINDOW), rolling_min(low, WINDOW)
    volatility = rolling_std(returns, WINDOW)
    distance = close / sma - 1.0
    rsi = _cutler_rsi(close)
    with np.errstate(divide="ignore", invalid="ignore"):
        position = np.where(highest == lowest, 0.5, (close - lowest) / (highest - lowest))
    features = (
        returns,
        close / first - 1.0,
        high / np.maximum(first, close) - 1.0,
        low / np.minimum(first, close) - 1.0,
        high / low - 1.0,
        volume_ratio,
        distance,
        volatility,
    )
    indicators = (rolling_atr(high, low, close, 14), highest, lowest, rsi, sma, deviation)
    state = (
        returns,
        close / shift(close, 5) - 1.0,
        close / shift(close, WINDOW) - 1.0,
        volatility,
        volume_ratio,
        distance,
        position,
        rsi / 100.0,
    )
    return np.stack(features, axis=1), np.stack(indicators, axis=1), np.stack(state, axis=1)


def _cutler_rsi(close: Float) -> Float:
    """100 U / (U + D), U and D the plain means of the last 14 gains and losses; 50 where both are 0. NaN head 14."""
    # Plain means, not Wilder's averages, whose values depend on where a series starts.
    change = close - shift(close, 1)
    gain = rolling_mean(np.where(np.isnan(change), np.nan, np.maximum(change, 0.0)), _RSI)
    loss = rolling_mean(np.where(np.isnan(change), np.nan, np.maximum(-change, 0.0)), _RSI)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(gain + loss == 0.0, 50.0, 100.0 * gain / (gain + loss))


def pivots(rows: Float, side: int) -> tuple[Float, NDArray[np.int64]]:
    """Swing highs and lows, in the order in which they become known.

    rows  as for `bar_values`
    side  bars on both sides that a swing stands out from; it is known when the last of them has closed

    Returns float64 (k, 3): open time of the swing's bar, price, 1 for a high and -1 for a low (a bar that is both gives
    the high first); and int64 (k,), the bar at whose close each is known.
    """
    highs, lows = swing_highs(rows[:, 2], side), swing_lows(rows[:, 3], side)
    swings = np.stack((highs, lows), axis=1)
    # Row by row, so in order of time, and the high of a bar before its low.
    bars, kind = np.nonzero(~np.isnan(swings))
    time = rows[bars - side, 0]
    return np.stack((time, swings[bars, kind], np.where(kind == 0, 1.0, -1.0)), axis=1), bars.astype(np.int64)
