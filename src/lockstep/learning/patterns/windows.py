"""Windows of market features: causal, scale-free channels, and the bars that have a usable window. No torch.

Notation
    o h l c v   open, high, low, close, volume of a bar
    x_k(t)      channel k at bar t: a function of bar t and of the `before` bars before it, of nothing else
    W           bars of a window; the window of bar t holds x_k(t - W + 1) ... x_k(t)

A window reads the bars t - W + 1 - before ... t. It is usable when the data have all of them and no two neighbours
among them have more than `max_gap` bars missing between them. The bars of the window alone decide that: to know that a
gap is a weekend, later weeks would have to be read (`market.gaps`).

Channels use only the four operations, square roots and `core.scalar_math`: the same bits on every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np

from lockstep.core.errors import DataError, InputError
from lockstep.market.gaps import missing_before
from lockstep.market.indicators import (
    log_returns,
    rolling_atr,
    rolling_max,
    rolling_mean,
    rolling_min,
    rolling_std,
    sma,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.market.candles import Candles

    Float = NDArray[np.float64]

_VOLUME_BARS: Final = 20
_RANGE_BARS: Final = 14
_MEAN_BARS: Final = 20


@dataclass(frozen=True)
class Channel:
    """A feature with one number per bar.

    before   how many bars before t it reads; it is NaN for the first `before` bars
    formula  the formula as text, for documentation and reports
    compute  gives float64 (n,)
    """

    before: int
    formula: str
    compute: Callable[[Candles], Float]


def _ratio(above: Float, below: Float) -> Float:
    """above / below, and 0 where `below` is 0: there no price moved, so `above` is 0 as well."""
    out = np.zeros_like(above)
    np.divide(above, below, out=out, where=below != 0.0)
    out[np.isnan(below)] = np.nan
    return out


def _returns(candles: Candles) -> Float:
    return log_returns(candles.close)


def _range(candles: Candles) -> Float:
    return (candles.high - candles.low) / candles.close


def _body(candles: Candles) -> Float:
    return _ratio(candles.close - candles.open, candles.high - candles.low)


def _upper_wick(candles: Candles) -> Float:
    return _ratio(candles.high - np.maximum(candles.open, candles.close), candles.high - candles.low)


def _lower_wick(candles: Candles) -> Float:
    return _ratio(np.minimum(candles.open, candles.close) - candles.low, candles.high - candles.low)


def _volume(candles: Candles) -> Float:
    spread = rolling_std(candles.volume, _VOLUME_BARS)
    return _ratio(candles.volume - rolling_mean(candles.volume, _VOLUME_BARS), spread)


def _atr(candles: Candles) -> Float:
    return rolling_atr(candles.high, candles.low, candles.close, _RANGE_BARS) / candles.close


def _rsi(candles: Candles) -> Float:
    change = np.full(len(candles), np.nan)
    change[1:] = np.diff(candles.close)
    up = rolling_mean(np.where(np.isnan(change), np.nan, np.maximum(change, 0.0)), _RANGE_BARS)
    down = rolling_mean(np.where(np.isnan(change), np.nan, np.maximum(-change, 0.0)), _RANGE_BARS)
    return _ratio(up - down, up + down)


def _position(candles: Candles) -> Float:
    highest, lowest = rolling_max(candles.high, _RANGE_BARS), rolling_min(candles.low, _RANGE_BARS)
    return _ratio((candles.close - lowest) - (highest - candles.close), highest - lowest)


def _mean_distance(candles: Candles) -> Float:
    return candles.close / sma(candles.close, _MEAN_BARS) - 1.0


def _bandwidth(candles: Candles) -> Float:
    return rolling_std(candles.close, _MEAN_BARS) / sma(candles.close, _MEAN_BARS)


CHANNELS: Final[Mapping[str, Channel]] = MappingProxyType(
    {
        "return": Channel(1, "ln(c / previous c)", _returns),
        "range": Channel(0, "(h - l) / c", _range),
        "body": Channel(0, "(c - o) / (h - l), 0 where h = l", _body),
        "upper_wick": Channel(0, "(h - max(o, c)) / (h - l), 0 where h = l", _upper_wick),
        "lower_wick": Channel(0, "(min(o, c) - l) / (h - l), 0 where h = l", _lower_wick),
        "volume": Channel(_VOLUME_BARS - 1, "(v - mean of 20) / standard deviation of 20, 0 where that is 0", _volume),
        "atr": Channel(_RANGE_BARS, "mean true range of 14 / c", _atr),
        "rsi": Channel(_RANGE_BARS, "(U - D) / (U + D), U and D mean rise and fall of c over 14 (Cutler)", _rsi),
        "position": Channel(_RANGE_BARS - 1, "c between lowest low (-1) and highest high (1) of 14", _position),
        "mean_distance": Channel(_MEAN_BARS - 1, "c / mean of 20 - 1", _mean_distance),
        "bandwidth": Channel(_MEAN_BARS - 1, "standard deviation of 20 / mean of 20", _bandwidth),
    }
)
DEFAULT_CHANNELS: Final = ("return", "range", "body", "upper_wick", "lower_wick", "volume", "atr", "rsi")


@dataclass(frozen=True, kw_only=True)
class WindowSettings:
    """Form of a window.

    channels  names out of `CHANNELS`, in order
    window    W, bars
    max_gap   bars that may be missing between two neighbours
    """

    channels: tuple[str, ...] = DEFAULT_CHANNELS
    window: int = 64
    max_gap: int = 0

    def __post_init__(self) -> None:
        unknown = [name for name in self.channels if name not in CHANNELS]
        if unknown or not self.channels or len(set(self.channels)) != len(self.channels):
            raise InputError(
                f"channels are different names out of {', '.join(CHANNELS)}; found {', '.join(self.channels) or 'none'}"
            )
        if self.window < 2 or self.max_gap < 0:
            raise InputError(
                f"a window has 2 bars or more, max_gap is not negative; found {self.window}, {self.max_gap}"
            )

    @property
    def before(self) -> int:
        """Bars that the channels read before the first bar of a window: the warm-up."""
        return max(CHANNELS[name].before for name in self.channels)

    @property
    def reach(self) -> int:
        """How many bars before t the window of bar t reads, warm-up included."""
        return self.window - 1 + self.before


def channel_series(candles: Candles, names: tuple[str, ...]) -> Float:
    """Channels by name, float64 (channels, n), not normalised; NaN in each channel's warm-up."""
    return np.stack([CHANNELS[name].compute(candles) for name in names])


def unbroken(candles: Candles, *, back: int, ahead: int, max_gap: int) -> NDArray[np.bool_]:
    """bool (n,): whether bars t - back ... t + ahead exist without a gap of more than `max_gap` bars."""
    n = len(candles)
    broken = missing_before(candles.timestamp, candles.timeframe_ms) > max_gap
    # breaks[t] counts broken steps into bars 0 ... t; the steps inside the span are into t - back + 1 ... t + ahead.
    breaks = np.cumsum(broken)
    bars = np.arange(n)
    out = (bars >= back) & (bars + ahead < n)
    inside = np.flatnonzero(out)
    out[inside] = breaks[inside + ahead] == breaks[inside - back]
    return out


def require_finite(series: Float, bars: NDArray[np.int64], settings: WindowSettings) -> None:
    """Raise DataError, with channel and bar, when a window of `bars` holds a value that is not finite."""
    covered = covered_bars(bars, settings.window, series.shape[1])
    bad = ~np.isfinite(series) & covered
    if bad.any():
        channel, bar = np.argwhere(bad)[0]
        raise DataError(
            f"every channel is a number at every bar that a window reads; {settings.channels[channel]} is "
            f"{series[channel, bar]} at row {bar:,}. Look at the candles there, or leave the channel out."
        )


def covered_bars(bars: NDArray[np.int64], window: int, n: int) -> NDArray[np.bool_]:
    """bool (n,): whether a window that ends at one of `bars` holds a bar."""
    # +1 where a window begins and -1 behind its end: one pass instead of `window` writes for each window.
    edges = np.zeros(n + 1, np.int64)
    np.add.at(edges, bars - window + 1, 1)
    np.add.at(edges, bars + 1, -1)
    covered: NDArray[np.bool_] = np.cumsum(edges[:-1]) > 0
    return covered
