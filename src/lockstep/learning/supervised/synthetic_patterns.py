"""Generate six market patterns as windows of candles: seeded, scale-free, the same bits on every IEEE 754 machine.

Notation
    B        bars per window
    v        volatility of the window, fraction of price per bar, uniform on [0.001, 0.01)
    z        noise of variance 1: (u_1 + u_2 + u_3 + u_4 - 2) √3 with u uniform on [0, 1) (Irwin-Hall)
    s_t      step of bar t in units of v; close_t = close_{t-1} (1 + v s_t)                                        (1)

Each pattern is a rule for s_t, the spread of the wicks and the volume; see the functions below. Only additions,
multiplications, divisions and comparisons are used: no logarithm, no exponential, no `std`, whose last bits depend on
the CPU. Window i of a pattern has a stream of its own, so a larger number of samples never changes the first ones.

These are drawings of what traders call these patterns. What a network learns from them is not true of a real market.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import numpy as np

from lockstep.core.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.runs.seeds import SeedTree

BARS: Final = 64
_MIN_BARS: Final = 16
_SQRT_3: Final = 1.7320508075688772


class Pattern(StrEnum):
    """The patterns; a pattern's index in this order is its label."""

    BULL = "bull"
    BEAR = "bear"
    SIDEWAYS = "sideways"
    BREAKOUT = "breakout"
    SWEEP = "sweep"
    CAPITULATION = "capitulation"


@dataclass(frozen=True, kw_only=True, eq=False)
class Windows:
    """n windows of B bars: prices and volume float64 (n, B), `label` int64 (n,), the index into `patterns`."""

    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    volume: NDArray[np.float64]
    label: NDArray[np.int64]
    patterns: tuple[Pattern, ...]

    def __len__(self) -> int:
        return len(self.label)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Shape:
    """A pattern without prices, arrays (B,): steps and wicks in units of v, volume as a multiple of its level."""

    step: NDArray[np.float64]
    up: NDArray[np.float64]
    down: NDArray[np.float64]
    volume: NDArray[np.float64]


def make_windows(
    samples_per_class: int, seeds: SeedTree, *, patterns: Sequence[Pattern] = tuple(Pattern), bars: int = BARS
) -> Windows:
    """Generate `samples_per_class` windows of each pattern, pattern by pattern. Raises InputError.

    seeds   node of the seed tree; each window has its own stream child("window", pattern, index)
    """
    if isinstance(samples_per_class, bool) or not isinstance(samples_per_class, int) or samples_per_class < 1:
        raise InputError(f"samples_per_class is a whole number of at least 1; found {samples_per_class!r}")
    if bars < _MIN_BARS:
        raise InputError(f"a pattern needs {_MIN_BARS} bars to show; found bars = {bars}")
    windows = [
        _window(pattern, seeds.child("window", str(pattern), i).generator(), bars)
        for pattern in patterns
        for i in range(samples_per_class)
    ]
    columns = [np.stack(column) for column in zip(*windows, strict=True)]
    label = np.repeat(np.arange(len(patterns), dtype=np.int64), samples_per_class)
    return Windows(
        open=columns[0],
        high=columns[1],
        low=columns[2],
        close=columns[3],
        volume=columns[4],
        label=label,
        patterns=tuple(patterns),
    )


def _window(pattern: Pattern, rng: np.random.Generator, bars: int) -> tuple[NDArray[np.floating], ...]:
    """Open, high, low, close, volume of one window: eq. (1) at a random price, volatility and volume level."""
    price = _between(rng, 10.0, 1000.0)
    volatility = _between(rng, 0.001, 0.01)
    volume_level = _between(rng, 1_000.0, 100_000.0)
    shape = _SHAPES[pattern](rng, bars)
    close = price * np.cumprod(1.0 + volatility * shape.step)
    opened = np.concatenate(([price], close[:-1]))
    high = np.maximum(opened, close) * (1.0 + volatility * shape.up)
    low = np.minimum(opened, close) * (1.0 - volatility * shape.down)
    return opened, high, low, close, volume_level * shape.volume


def _noise(rng: np.random.Generator, bars: int) -> NDArray[np.float64]:
    """z of the module's notation, (bars,)."""
    u = rng.random((4, bars))
    return (u[0] + u[1] + u[2] + u[3] - 2.0) * _SQRT_3


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    return low + (high - low) * float(rng.random())


def _wicks(rng: np.random.Generator, bars: int) -> NDArray[np.float64]:
    return 0.5 * np.abs(_noise(rng, bars))


def _volume(rng: np.random.Generator, bars: int) -> NDArray[np.float64]:
    return 0.5 + rng.random(bars)


def _reverting(rng: np.random.Generator, bars: int, spread: float) -> NDArray[np.float64]:
    """Steps of x_t = 0.8 x_{t-1} + spread z_t, which stays about its level: s_t = x_t - x_{t-1}."""
    noise = _noise(rng, bars)
    steps = np.empty(bars)
    x = 0.0
    for t in range(bars):
        now = 0.8 * x + spread * float(noise[t])
        steps[t] = now - x
        x = now
    return steps


def _place(rng: np.random.Generator, bars: int, low: float, high: float) -> int:
    return int(bars * _between(rng, low, high))


def _shape(rng: np.random.Generator, step: NDArray[np.float64], volume: NDArray[np.float64]) -> _Shape:
    bars = len(step)
    return _Shape(step=step, up=_wicks(rng, bars), down=_wicks(rng, bars), volume=volume * _volume(rng, bars))


def _trend(rng: np.random.Generator, bars: int, sign: float) -> _Shape:
    drift = sign * _between(rng, 0.15, 0.4)
    return _shape(rng, drift + _noise(rng, bars), np.ones(bars))


def _bull(rng: np.random.Generator, bars: int) -> _Shape:
    """A drift up of 0.15 to 0.4 v per bar."""
    return _trend(rng, bars, 1.0)


def _bear(rng: np.random.Generator, bars: int) -> _Shape:
    """A drift down of 0.15 to 0.4 v per bar."""
    return _trend(rng, bars, -1.0)


def _sideways(rng: np.random.Generator, bars: int) -> _Shape:
    """A price that returns to its level."""
    return _shape(rng, _reverting(rng, bars, 1.0), np.ones(bars))


def _breakout(rng: np.random.Generator, bars: int) -> _Shape:
    """A tight range, then 0.5 to 1 v per bar to one side on 1.5 to 3 times the volume."""
    at = _place(rng, bars, 0.6, 0.8)
    sign = 1.0 if rng.random() < 0.5 else -1.0
    drift, busy = sign * _between(rng, 0.5, 1.0), _between(rng, 1.5, 3.0)
    after = np.arange(bars) >= at
    step = np.where(after, drift + 0.7 * _noise(rng, bars), _reverting(rng, bars, 0.6))
    return _shape(rng, step, np.where(after, busy, 1.0))


def _sweep(rng: np.random.Generator, bars: int) -> _Shape:
    """A range, one bar whose wick reaches 3 to 6 v beyond it on 2 to 4 times the volume, and a drift the other way."""
    at = _place(rng, bars, 0.5, 0.85)
    below = bool(rng.random() < 0.5)
    depth, busy = _between(rng, 3.0, 6.0), _between(rng, 2.0, 4.0)
    drift = _between(rng, 0.1, 0.3) * (1.0 if below else -1.0)
    place = np.arange(bars)
    step = np.where(place > at, drift + 0.7 * _noise(rng, bars), _reverting(rng, bars, 0.7))
    plain = _shape(rng, step, np.where(place == at, busy, 1.0))
    reach = np.where(place == at, depth, 0.0)
    return _Shape(
        step=plain.step,
        up=plain.up if below else plain.up + reach,
        down=plain.down + reach if below else plain.down,
        volume=plain.volume,
    )


def _capitulation(rng: np.random.Generator, bars: int) -> _Shape:
    """A fall that gets faster and busier up to a climax, and a quick recovery of part of it."""
    at = _place(rng, bars, 0.65, 0.85)
    start, end = _between(rng, 0.1, 0.3), _between(rng, 0.9, 1.6)
    back, busy = _between(rng, 0.4, 0.9), _between(rng, 2.5, 5.0)
    place = np.arange(bars)
    falling = place <= at
    way = np.where(falling, place / at, 0.0)
    way = way * way  # slow at first
    drift = np.where(falling, -(start + (end - start) * way), back)
    step = drift + (0.6 + 0.6 * way) * _noise(rng, bars)
    return _shape(rng, step, 1.0 + (busy - 1.0) * way)


_SHAPES: Final[dict[Pattern, Callable[[np.random.Generator, int], _Shape]]] = {
    Pattern.BULL: _bull,
    Pattern.BEAR: _bear,
    Pattern.SIDEWAYS: _sideways,
    Pattern.BREAKOUT: _breakout,
    Pattern.SWEEP: _sweep,
    Pattern.CAPITULATION: _capitulation,
}
