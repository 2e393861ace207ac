"""Causal indicators: float64 (n,) in, float64 (n,) out, a NaN head of documented length, never back-filled.

The value at bar t uses bars 0 ... t only. Compiled by numba without fastmath; every kernel `x` has its plain Python
twin `x.python`, and the bare `x.compiled` for use inside other compiled code.
"""

from __future__ import annotations

from lockstep.market.indicators.ranges import log_returns, rolling_atr, true_range, wilder_atr
from lockstep.market.indicators.recursive import ema, ema_warmup, macd, rsi, wilder_mean, wilder_warmup
from lockstep.market.indicators.rolling import (
    bollinger,
    previous_max,
    previous_min,
    rolling_max,
    rolling_mean,
    rolling_median,
    rolling_min,
    rolling_std,
    shift,
    sma,
    volume_mean,
)
from lockstep.market.indicators.swings import hold, last_swing_high, last_swing_low, swing_highs, swing_lows

__all__ = [
    "bollinger",
    "ema",
    "ema_warmup",
    "hold",
    "last_swing_high",
    "last_swing_low",
    "log_returns",
    "macd",
    "previous_max",
    "previous_min",
    "rolling_atr",
    "rolling_max",
    "rolling_mean",
    "rolling_median",
    "rolling_min",
    "rolling_std",
    "rsi",
    "shift",
    "sma",
    "swing_highs",
    "swing_lows",
    "true_range",
    "volume_mean",
    "wilder_atr",
    "wilder_mean",
    "wilder_warmup",
]
