"""Rule families and the base that users build their own on: parameters in, signals out. See README.md."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lockstep.strategies.base import Strategy
    from lockstep.strategies.compiled import CompiledStrategy
    from lockstep.strategies.evaluate import Backtest, Sweep, backtest
    from lockstep.strategies.inputs import Events, EventSeries, HigherTimeframe, OwnCandles
    from lockstep.strategies.registry import available, lookup
    from lockstep.strategies.sweeps import sweep
    from lockstep.strategies.view import MarketView

# Name -> module. Importing the package stays free of NumPy and numba until a name is used.
_HOMES = {
    "Backtest": "evaluate",
    "CompiledStrategy": "compiled",
    "EventSeries": "inputs",
    "Events": "inputs",
    "HigherTimeframe": "inputs",
    "MarketView": "view",
    "OwnCandles": "inputs",
    "Strategy": "base",
    "Sweep": "evaluate",
    "available": "registry",
    "backtest": "evaluate",
    "lookup": "registry",
    "sweep": "sweeps",
}

__all__ = [
    "Backtest",
    "CompiledStrategy",
    "EventSeries",
    "Events",
    "HigherTimeframe",
    "MarketView",
    "OwnCandles",
    "Strategy",
    "Sweep",
    "available",
    "backtest",
    "lookup",
    "sweep",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
