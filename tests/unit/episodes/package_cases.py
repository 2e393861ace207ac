"""Packages for tests, made so that what is wrong with them can be seen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from tests.unit.market.bars import HOUR, MONDAY, walk

from lockstep.episodes.packages.build import PackagePlan
from lockstep.episodes.packages.features import FEATURES, INDICATORS, STATE
from lockstep.episodes.packages.layout import PackageLayout
from lockstep.episodes.packages.package import ModelInputPackage
from lockstep.market.candles import Candles
from lockstep.market.orderbook import DepthMessage, Trades

NOW = MONDAY + 10 * HOUR
LAYOUT = PackageLayout(
    symbols=("BTC/USDT", "ETH/USDT"),
    timeframes=("1h", "4h"),
    indicators=INDICATORS,
    features=FEATURES,
    state=STATE,
)


def bars(rows: int = 3, until: int = NOW, step: int = HOUR) -> np.ndarray[Any, Any]:
    """Bars that end at `until`: open 100, high 102, low 99, close 101, volume 5."""
    time = until - step * np.arange(rows, 0, -1.0)
    return np.column_stack([time, *(np.full(rows, value) for value in (100.0, 102.0, 99.0, 101.0, 5.0))])


def payload(**changes: Any) -> dict[str, Any]:
    """All ten fields, each sound."""
    fields: dict[str, Any] = {
        "timestamp": NOW,
        "symbol": "BTC/USDT",
        "current_price": 101.0,
        "ohlcv_data": {"1h": bars(), "4h": bars(2, step=4 * HOUR)},
        "tick_data": np.array([[7.0, NOW - 5.0, 101.0, 0.5, 1.0]]),
        "cob_data": np.array([[100.5, 2.0, 101.5, 3.0], [100.0, 1.0, 102.0, 4.0]]),
        "technical_indicators": {name: 1.0 + index for index, name in enumerate(INDICATORS)},
        "pivot_points": np.array([[NOW - 5.0 * HOUR, 102.0, 1.0]]),
        "cnn_features": np.full((3, len(FEATURES)), 0.25, np.float32),
        "rl_state": np.full(len(STATE), 0.5, np.float32),
    }
    return {**fields, **changes}


def package(**changes: Any) -> ModelInputPackage:
    return ModelInputPackage(**payload(**changes))


PLAN = PackagePlan(
    symbol="BTC/USDT",
    timeframes=("1h", "4h"),
    window=6,
    ticks=4,
    levels=3,
    pivots=3,
    pivot_side=2,
    latency_ms=40,
    max_tick_age_ms=HOUR,
    max_book_age_ms=HOUR,
)


def market(n: int, seed: int) -> dict[str, Any]:
    """Hours with two gaps, the longer bars over them, trades and a book that stays one tick around the price."""
    rng = np.random.Generator(np.random.Philox(seed))
    kept = np.ones(n, np.bool_)
    kept[n // 3 : n // 3 + 3] = False
    base = walk(n, seed).take(kept)
    longer = Candles(**{**_longer(base), "timeframe_ms": 4 * HOUR})
    count = 3 * n
    time = np.sort(MONDAY + rng.integers(0, n * HOUR, count))
    price = np.round(100.0 + np.cumsum(rng.normal(0.0, 0.05, count)), 2)
    trades = Trades(
        trade_id=np.arange(count) * 3 + 10,
        timestamp=time,
        price=np.maximum(price, 1.0),
        quantity=np.round(rng.random(count), 4),
        side=rng.choice(np.array([-1, 1], np.int8), count),
    )
    return {"candles": {"1h": base, "4h": longer}, "trades": trades, "messages": list(messages(n, rng))}


def _longer(base: Candles) -> dict[str, Any]:
    start = base.timestamp // (4 * HOUR) * (4 * HOUR)
    opens = np.unique(start)
    parts = [np.flatnonzero(start == moment) for moment in opens]
    return {
        "timestamp": opens,
        "open": np.array([base.open[part[0]] for part in parts]),
        "high": np.array([base.high[part].max() for part in parts]),
        "low": np.array([base.low[part].min() for part in parts]),
        "close": np.array([base.close[part[-1]] for part in parts]),
        "volume": np.array([base.volume[part].sum() for part in parts]),
    }


def message(first: int, final: int, levels: list[tuple[int, float, float]], **changes: Any) -> DepthMessage:
    """A diff with ids first ... final; `levels` are (side, price, quantity)."""
    side, price, quantity = zip(*levels, strict=True) if levels else ((), (), ())
    given: dict[str, Any] = {"local_ns": 0, "exchange_ms": MONDAY + final, "is_snapshot": False, **changes}
    return DepthMessage(
        first_update_id=first,
        final_update_id=final,
        side=np.array(side, np.int8),
        price=np.array(price, np.float64),
        quantity=np.array(quantity, np.float64),
        **given,
    )


def snapshot(final: int, levels: list[tuple[int, float, float]]) -> DepthMessage:
    return message(final, final, levels, exchange_ms=0, is_snapshot=True)


def messages(n: int, rng: np.random.Generator) -> Iterator[DepthMessage]:
    """A feed of one message in half an hour: a snapshot after the third, and one hole in the ids."""
    last = 0
    for k in range(2 * n):
        time = MONDAY + k * HOUR // 2 + int(rng.integers(0, 1_000))
        if k in (3, n):
            levels = [(1, 100.0 - 0.01 * i, 1.0 + i) for i in range(5)]
            yield snapshot(last - (k == 3), levels + [(-1, 101.0 + 0.01 * i, 2.0 + i) for i in range(5)])
        first = last + (5 if k == n // 2 else 1)
        last = first + int(rng.integers(0, 4))
        side = int(rng.choice([-1, 1]))
        price = (100.0 if side == 1 else 101.0) - side * 0.01 * int(rng.integers(0, 8))
        yield message(first, last, [(side, price, float(rng.integers(0, 3)))], exchange_ms=time)
