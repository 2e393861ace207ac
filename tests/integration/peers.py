"""Markets and signals on which peers are compared trade by trade with the engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lockstep.engine.signals import Signals
from lockstep.market.candles import Candles
from lockstep.market.load import load_candles
from lockstep.market.sample import sample_candles

DATA = Path(__file__).parents[2].parent / "shared" / "data"

#: Name -> (file, first row, rows). Windows start where each series is lively or has its gaps.
SERIES = {
    "sample": None,
    "btc-5m": ("binance/BTCUSDT-5m.parquet", 60_000, 8_000),
    "btc-1h": ("binance/BTCUSDT-1h.parquet", 0, 8_000),
    "pepe-15m": ("binance-usdm/1000PEPEUSDT-15m.parquet", 0, 6_000),
    "luna-1h": ("binance/LUNAUSDT-1h.parquet", 6_000, 6_000),
    "eurusd-1h": ("oanda/EURUSD-1h.parquet", 9_000, 6_000),
    "goog-1d": ("stocks/GOOG-1d.parquet", 0, 2_148),
}


def series(name: str) -> Candles:
    """Candles by name; skips where the data folder is absent."""
    where = SERIES[name]
    if where is None:
        return sample_candles()
    file, first, rows = where
    if not (DATA / file).exists():
        pytest.skip(f"no {file} beside the repository")
    return load_candles(DATA / file).slice(first, first + rows)


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A way to decide, and what its signals carry."""

    density: float
    near: float
    far: float
    stop: bool = True
    target: bool = True
    exits: bool = False
    trail: bool = False
    limit: int | None = None


#: From sparse with wide levels to dense with levels inside one bar's range, where nearly every rule bites.
RULES = {
    "wide": Rule(density=0.02, near=1.5, far=4.0, exits=True),
    "tight": Rule(density=0.10, near=0.3, far=1.2, exits=True),
    "dense": Rule(density=0.50, near=0.5, far=2.0),
    "reversing": Rule(density=0.05, near=0, far=0, stop=False, target=False),
    "limited": Rule(density=0.10, near=1.0, far=3.0, limit=12),
    "trailing": Rule(density=0.05, near=1.0, far=3.0, trail=True),
}


def average_range(candles: Candles, width: int = 14) -> NDArray[np.float64]:
    """Mean of the last `width` bar ranges, with a floor so that flat stretches keep levels apart."""
    ranges = candles.high - candles.low
    total = np.cumsum(np.concatenate(([0.0], ranges)))
    low = np.maximum(np.arange(ranges.size) + 1 - width, 0)
    mean = (total[np.arange(ranges.size) + 1] - total[low]) / (np.arange(ranges.size) + 1 - low)
    return np.maximum(mean, 1e-4 * candles.close)


def signals_for(candles: Candles, rule: Rule, seed: int) -> Signals:
    """Seeded signals; levels are random multiples of the average range on the right side of the close."""
    rng = np.random.default_rng(seed)
    n = len(candles)
    side = np.where(rng.random(n) < rule.density, rng.choice([-1, 1], n), 0).astype(np.int8)
    side[0] = 0  # backtesting.py asks a strategy from bar 1 on
    # No level at or below 0 where a bar's range exceeds the price (LUNA in May 2022).
    width = np.minimum(average_range(candles), 0.15 * candles.close)
    near = width * rng.uniform(0.5 * rule.near, 1.5 * rule.near, n)
    far = width * rng.uniform(0.5 * rule.far, 1.5 * rule.far, n)
    return Signals(
        side=side,
        stop=candles.close - side * near if rule.stop else None,
        target=candles.close + side * far if rule.target else None,
        exit=(rng.random(n) < 0.05) if rule.exits else None,
        trail=near * 0.8 if rule.trail else None,
        time_limit=rule.limit,
    )


def column(values: NDArray[Any] | None, default: float, n: int) -> NDArray[Any]:
    """A signals column, or `default` throughout."""
    return np.full(n, default) if values is None else values


def compare(
    ours: list[dict[str, Any]],
    theirs: list[dict[str, Any]],
    same: Callable[[dict[str, Any], dict[str, Any]], bool],
    explain: Callable[[dict[str, Any] | None, dict[str, Any] | None], str | None],
) -> tuple[int, dict[str, int], list[Any]]:
    """Pairs the trades by signal bar. Returns (identical, differences by written rule, unexplained)."""
    a = {trade["signal_bar"]: trade for trade in ours}
    b = {trade["signal_bar"]: trade for trade in theirs}
    identical, explained, unexplained = 0, {}, []
    for bar in sorted(set(a) | set(b)):
        x, y = a.get(bar), b.get(bar)
        if x is not None and y is not None and same(x, y):
            identical += 1
            continue
        why = explain(x, y)
        if why is None:
            unexplained.append((x, y))
        else:
            explained[why] = explained.get(why, 0) + 1
    return identical, explained, unexplained
