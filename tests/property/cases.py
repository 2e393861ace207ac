"""Random markets and signals for the engine's tests: prices on a coarse tick, so that levels are hit exactly, bars
gap over stops and targets, and one bar often touches both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from tests.property import oracle

from lockstep.engine.costs import Costs
from lockstep.engine.settings import Execution
from lockstep.engine.signals import Signals
from lockstep.market.candles import Candles

MINUTE = 60_000


@dataclass(frozen=True, kw_only=True)
class Case:
    candles: Candles
    signals: Signals
    costs: Costs
    execution: Execution

    def by_oracle(self) -> oracle.Account:
        """The same case through the second simulator."""
        bars = {name: getattr(self.candles, name).tolist() for name in ("open", "high", "low", "close")}
        s = self.signals
        limit: Any = s.time_limit
        if limit is None:
            limit = self.execution.max_holding
        if limit is not None:
            limit = limit.tolist() if isinstance(limit, np.ndarray) else [limit] * len(s)
        given: dict[str, Any] = {
            "side": s.side.tolist(),
            "stop": None if s.stop is None else s.stop.tolist(),
            "target": None if s.target is None else s.target.tolist(),
            "trail": None if s.trail is None else s.trail.tolist(),
            "exit": None if s.exit is None else s.exit.tolist(),
            "limit": limit,
        }
        e, c = self.execution, self.costs
        rules = {
            "fill": str(e.fill),
            "fee": c.fee_rate,
            "maker": c.target_fee_rate,
            "slip": c.slippage_rate,
            "spread": c.spread,
            "capital": e.initial_capital,
            "risk": e.risk_per_trade * e.position_size_pct,
            "compounding": e.compounding,
        }
        return oracle.simulate(bars, given, rules)


def candles_of(
    open: Any, high: Any, low: Any, close: Any, *, start: int = 0, step: int = MINUTE, timestamp: Any = None
) -> Candles:
    """Candles of plain lists, one minute apart unless timestamps are given."""
    n = len(close)
    time = np.arange(n, dtype=np.int64) * step + start if timestamp is None else np.asarray(timestamp, np.int64)
    return Candles(
        timestamp=time,
        open=np.asarray(open, np.float64),
        high=np.asarray(high, np.float64),
        low=np.asarray(low, np.float64),
        close=np.asarray(close, np.float64),
        volume=np.ones(n),
        timeframe_ms=step,
    )


def random_candles(rng: np.random.Generator, n: int, *, tick: float = 1.0, gaps: float = 0.0) -> Candles:
    """n bars around 100 on a grid of `tick`; a share `gaps` of the steps misses bars."""
    close = 100.0 + np.cumsum(rng.integers(-3, 4, n)) * tick
    open_ = np.concatenate(([100.0], close[:-1])) + rng.integers(-2, 3, n) * tick
    high = np.maximum(open_, close) + rng.integers(0, 4, n) * tick
    low = np.minimum(open_, close) - rng.integers(0, 4, n) * tick
    lift = max(0.0, 10.0 - float(low.min())) if n else 0.0
    steps = np.where(rng.random(n) < gaps, 3, 1)
    return candles_of(
        open_ + lift, high + lift, low + lift, close + lift, timestamp=np.cumsum(steps).astype(np.int64) * MINUTE
    )


def random_case(rng: np.random.Generator, n: int) -> Case:
    """Everything that can be switched is switched at random."""
    candles = random_candles(rng, n, tick=float(rng.choice([1.0, 0.25])), gaps=float(rng.choice([0.0, 0.1])))
    close = candles.close
    density = float(rng.choice([0.02, 0.2, 0.7]))
    side = np.where(rng.random(n) < density, rng.choice([-1, 1], n), 0).astype(np.int8)
    if rng.random() < 0.4:
        side = np.abs(side) if rng.random() < 0.5 else -np.abs(side)
    wide = rng.integers(1, 8, n)
    # A stop of 0 or −1 ticks from the close is often on the wrong side of the next open: refusals.
    stop = close - side * (wide - rng.integers(0, 3, n)) if rng.random() < 0.8 else None
    target = close + side * (rng.integers(1, 10, n) - rng.integers(0, 2, n)) if rng.random() < 0.8 else None
    limit: Any = None
    if rng.random() < 0.6:
        limit = rng.integers(1, 12, n).astype(np.int32) if rng.random() < 0.5 else int(rng.integers(1, 12))
    maker = float(rng.choice([-0.0002, 0.0004])) if rng.random() < 0.5 else None
    return Case(
        candles=candles,
        signals=Signals(
            side=side,
            stop=stop,
            target=target,
            time_limit=limit,
            exit=rng.random(n) < 0.15 if rng.random() < 0.4 else None,
            trail=rng.integers(1, 7, n).astype(np.float64) if rng.random() < 0.35 else None,
        ),
        costs=Costs(
            # A quarter of the size per side ruins an account within a few trades.
            fee_rate=float(rng.choice([0.0, 0.001, 0.001, 0.25])),
            maker_fee_rate=maker,
            allow_high_fees=True,
            slippage_rate=float(rng.choice([0.0, 0.0005])),
            spread=float(rng.choice([0.0, 0.1])),
        ),
        execution=Execution(
            fill="close" if rng.random() < 0.5 else "next_open",
            compounding=bool(rng.random() < 0.4),
            max_holding=7 if rng.random() < 0.3 else None,
            risk_per_trade=float(rng.choice([0.002, 0.02, 0.5])),
            blocks=int(rng.integers(1, 20)),
        ),
    )
