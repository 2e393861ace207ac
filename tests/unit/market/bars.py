"""Bars for tests, made so that the expected numbers can be seen."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from lockstep.market.candles import Candles

HOUR = 3_600_000
DAY = 24 * HOUR
MONDAY = 1_704_067_200_000  # 2024-01-01 00:00 UTC, a Monday
SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"


def columns(n: int = 5, step: int = HOUR, start: int = MONDAY) -> dict[str, np.ndarray[Any, Any]]:
    """n rising bars: open 10, 11, ...; high open + 2; low open - 1; close open + 1; volume 100, 101, ..."""
    first = 10.0 + np.arange(n)
    return {
        "timestamp": start + step * np.arange(n, dtype=np.int64),
        "open": first,
        "high": first + 2,
        "low": first - 1,
        "close": first + 1,
        "volume": 100.0 + np.arange(n),
    }


def local(zone: str, *dates: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Milliseconds UTC of local times."""
    return np.array([int(datetime(*date, tzinfo=ZoneInfo(zone)).timestamp()) * 1000 for date in dates], np.int64)


def candles(n: int = 5, step: int = HOUR, start: int = MONDAY, **labels: Any) -> Candles:
    return Candles(**columns(n, step, start), timeframe_ms=step, **labels)


def walk(n: int, seed: int, step: int = HOUR, start: int = MONDAY) -> Candles:
    """A random walk with gaps of no bar: prices around 100."""
    rng = np.random.Generator(np.random.Philox(seed))
    close = 100 + np.cumsum(rng.normal(0, 0.3, n))
    close = np.maximum(close, 1.0)
    first = np.concatenate(([100.0], close[:-1])) if n else close
    reach = rng.random((2, n)) * 0.3
    return Candles(
        timestamp=start + step * np.arange(n, dtype=np.int64),
        open=first,
        high=np.maximum(first, close) + reach[0],
        low=np.maximum(np.minimum(first, close) - reach[1], 0.1),
        close=close,
        volume=rng.random(n) * 10,
        timeframe_ms=step,
    )
