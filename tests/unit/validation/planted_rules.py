"""What planted leaks are written with: rules of one function, and the check that they are put to."""

from __future__ import annotations

from typing import Any

import numpy as np

from lockstep.engine.signals import Signals
from lockstep.market.candles import Candles
from lockstep.market.sample import sample_candles
from lockstep.runs.seeds import SeedTree
from lockstep.strategies.base import Strategy
from lockstep.strategies.view import MarketView
from lockstep.validation import quick_look_ahead_check


def check(strategy: Strategy, candles: Candles | None = None, **inputs: Any) -> Any:
    candles = sample_candles() if candles is None else candles
    return quick_look_ahead_check(strategy, MarketView(candles, strategy.inputs, inputs), seeds=SeedTree(42))


def long_where(condition: Any, **levels: Any) -> Signals:
    return Signals(side=np.where(condition, 1, 0).astype(np.int8), **levels)


class Rule(Strategy):
    """A strategy whose decisions are `rule(view)`."""

    def rule(self, view: MarketView) -> Signals:
        raise NotImplementedError

    def signals(self, view: MarketView, params: Any) -> Signals:
        return self.rule(view)


def ahead(values: Any, bars: int) -> Any:
    out = np.full(values.size, np.nan)
    if values.size > bars:
        out[:-bars] = values[bars:]
    return out
