"""Markets with something to learn: minutes that trend for an hour at a time, with jumps; and books made of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from lockstep.episodes.book import EpisodeBook
from lockstep.episodes.collect import collect_episodes
from lockstep.episodes.packages.build import PackagePlan
from lockstep.market.candles import Candles

MINUTE = 60_000
START = 1_704_067_200_000
SYMBOL = "BTC/USDT"
WINDOW = 16


def trending(n: int = 600, seed: int = 1, **labels: Any) -> Candles:
    """n minutes: an hour up .3 % a minute, an hour down, noise of .2 %, and a jump of 2 % every 150 minutes."""
    rng = np.random.Generator(np.random.Philox(seed))
    step = np.where(np.arange(n) // 60 % 2 == 0, 0.003, -0.003) + rng.normal(0.0, 0.002, n)
    step[149::150] += 0.02
    close = 100.0 * np.cumprod(1.0 + step)
    first = np.concatenate(([100.0], close[:-1]))
    reach = 1.0 + rng.random((2, n)) * 0.0005
    return Candles(
        timestamp=START + MINUTE * np.arange(n, dtype=np.int64),
        open=first,
        high=np.maximum(first, close) * reach[0],
        low=np.minimum(first, close) / reach[1],
        close=close,
        volume=1.0 + rng.random(n),
        timeframe_ms=MINUTE,
        **{"symbol": SYMBOL, **labels},
    )


def plan(symbol: str = SYMBOL, **changes: Any) -> PackagePlan:
    return PackagePlan(**{"symbol": symbol, "timeframes": ("1m",), "window": WINDOW, "pivot_side": 1, **changes})


def collected(n: int = 600, seed: int = 1, **options: Any) -> EpisodeBook:
    return collect_episodes(trending(n, seed), **{"plan": plan(), **options})
