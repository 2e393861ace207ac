"""Labels: what a network predicts at a bar, and the last bar that the label depends on. No torch.

Notation, at decision bar t (features end there)
    r(t) = close(t + H) / open(t + 1) - 1     return of a long position as the engine fills it: entered at the next
                                              bar's open, held H bars, closed by its time limit at a bar's close
    s(t)                                      standard deviation of the V log returns up to bar t

Tasks
    direction   up where r(t) > k s(t) sqrt(H), down where r(t) < -k s(t) sqrt(H), else flat.
                Needs bars up to t + H.
    pivot       high where high(t) is above the highs of the P bars before and the P bars after it, low where low(t) is
                below the lows of those bars; a bar that is both, or neither, is none. Needs bars up to t + max(P, H).

Half of a pivot is known at bar t: whether it lies beyond the P bars before. `known_side` is that half; a prediction is
worth something only where it beats the class frequencies for the same half (`baselines`). Of a direction, volatility is
known: it comes in clusters and returns to its mean, so s(t) and how it has changed lately say much about flat or not,
and nothing about up or down. `volatility` is those two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from lockstep.core.errors import InputError
from lockstep.market.indicators import (
    log_returns,
    previous_max,
    previous_min,
    rolling_std,
    swing_highs,
    swing_lows,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.market.candles import Candles

CLASSES: Final[dict[str, tuple[str, str, str]]] = {
    "pivot": ("low", "none", "high"),
    "direction": ("down", "flat", "up"),
}
_RECENT: Final = 4
UNKNOWN: Final = -1
"""The class of a bar whose label needs bars beyond the data."""


@dataclass(frozen=True, kw_only=True)
class LabelSettings:
    """Settings of the labels, in the notation of the module's docstring.

    task             "pivot" or "direction"
    horizon          H, bars
    pivot_bars       P, bars
    threshold        k, in standard deviations
    volatility_bars  V, bars
    """

    task: Literal["pivot", "direction"] = "pivot"
    horizon: int = 12
    pivot_bars: int = 3
    threshold: float = 0.5
    volatility_bars: int = 50

    def __post_init__(self) -> None:
        if self.task not in CLASSES:
            raise InputError(f"a task is one of {', '.join(CLASSES)}; found {self.task!r}")
        if min(self.horizon, self.pivot_bars) < 1 or self.volatility_bars < 2 or self.threshold < 0.0:
            raise InputError(
                "horizon and pivot_bars are at least 1, volatility_bars at least 2, threshold not negative; found "
                f"{self.horizon}, {self.pivot_bars}, {self.volatility_bars}, {self.threshold}"
            )

    @property
    def classes(self) -> tuple[str, str, str]:
        """Names of the three classes; a class's number is its index."""
        return CLASSES[self.task]

    @property
    def before(self) -> int:
        """How many bars before t the label reads."""
        return self.pivot_bars if self.task == "pivot" else self.volatility_bars

    @property
    def ahead(self) -> int:
        """How many bars after t the label reads; purging uses it."""
        return max(self.pivot_bars, self.horizon) if self.task == "pivot" else self.horizon


@dataclass(frozen=True, kw_only=True)
class Labels:
    """Labels of n bars.

    classes     int64 (n,), UNKNOWN where the data lack a bar that the label needs
    returns     float64 (n,), fractions, NaN in the same places
    last        int64 (n,), the last bar that the label of a bar needs
    known_side  int64 (n,), known at the bar: 1 above the highs before, 2 below the lows, 3 both, 0 neither
    volatility  float64 (n, 2), known at the bar: s(t), and the standard deviation of the last V // 4 log returns as a
                share of s(t), 1 where nothing moved; zeros for pivots
    """

    classes: NDArray[np.int64]
    returns: NDArray[np.float64]
    last: NDArray[np.int64]
    known_side: NDArray[np.int64]
    volatility: NDArray[np.float64]


def labels_of(candles: Candles, settings: LabelSettings) -> Labels:
    """The labels of every bar; `windows.unbroken` excludes those at gaps."""
    n, horizon = len(candles), settings.horizon
    returns = np.full(n, np.nan)
    if n > horizon:
        returns[: n - horizon] = candles.close[horizon:] / candles.open[1 : n - horizon + 1] - 1.0
    if settings.task == "pivot":
        classes, sides = _pivots(candles, settings.pivot_bars)
        volatility = np.zeros((n, 2))
    else:
        volatility, sides = _volatility(candles, settings.volatility_bars), np.zeros(n, np.int64)
        classes = _directions(returns, volatility[:, 0], settings)
    bars = np.arange(n)
    there = (bars >= settings.before) & (bars + settings.ahead < n) & np.isfinite(returns)
    return Labels(
        classes=np.where(there, classes, UNKNOWN),
        returns=np.where(there, returns, np.nan),
        last=bars + settings.ahead,
        known_side=sides,
        volatility=volatility,
    )


def _pivots(candles: Candles, side: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    n = len(candles)
    high, low = np.zeros(n, np.bool_), np.zeros(n, np.bool_)
    # The indicators report a swing when it is confirmed, `side` bars after it.
    if n > side:
        high[: n - side] = np.isfinite(swing_highs(candles.high, side)[side:])
        low[: n - side] = np.isfinite(swing_lows(candles.low, side)[side:])
    classes = np.ones(n, np.int64)
    classes[low & ~high], classes[high & ~low] = 0, 2
    above = candles.high > previous_max(candles.high, side)
    below = candles.low < previous_min(candles.low, side)
    return classes, above.astype(np.int64) + 2 * below.astype(np.int64)


def _volatility(candles: Candles, bars: int) -> NDArray[np.float64]:
    moves = log_returns(candles.close)
    level, recent = rolling_std(moves, bars), rolling_std(moves, max(bars // _RECENT, 2))
    share = np.ones_like(level)
    np.divide(recent, level, out=share, where=level > 0.0)
    return np.stack((level, share), axis=1)


def _directions(
    returns: NDArray[np.float64], volatility: NDArray[np.float64], settings: LabelSettings
) -> NDArray[np.int64]:
    limit = settings.threshold * volatility * np.sqrt(float(settings.horizon))
    classes = np.ones(len(returns), np.int64)
    classes[returns > limit], classes[returns < -limit] = 2, 0
    return classes
