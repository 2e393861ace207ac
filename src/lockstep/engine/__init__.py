"""Arrays in, numbers out: fills, exits, costs, metrics and sweeps. Start at `README.md` beside this file."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lockstep.engine.arrays import MarketArrays, market_arrays
    from lockstep.engine.baselines import RandomEntries, buy_and_hold, random_entries
    from lockstep.engine.costs import Costs
    from lockstep.engine.entries import EntryBatch
    from lockstep.engine.metrics import Metric
    from lockstep.engine.settings import Execution, Fill
    from lockstep.engine.signals import Signals
    from lockstep.engine.simulate import Simulation, simulate, simulate_entries
    from lockstep.engine.sweep import SweepResult, sweep_entries
    from lockstep.engine.trades import ExitReason, Trades

# Name -> module. Importing the package stays free of NumPy and numba until a name is used.
_HOMES = {
    "Costs": "costs",
    "EntryBatch": "entries",
    "Execution": "settings",
    "ExitReason": "trades",
    "Fill": "settings",
    "MarketArrays": "arrays",
    "Metric": "metrics",
    "RandomEntries": "baselines",
    "Signals": "signals",
    "Simulation": "simulate",
    "SweepResult": "sweep",
    "Trades": "trades",
    "buy_and_hold": "baselines",
    "market_arrays": "arrays",
    "random_entries": "baselines",
    "simulate": "simulate",
    "simulate_entries": "simulate",
    "sweep_entries": "sweep",
}

__all__ = [
    "Costs",
    "EntryBatch",
    "Execution",
    "ExitReason",
    "Fill",
    "MarketArrays",
    "Metric",
    "RandomEntries",
    "Signals",
    "Simulation",
    "SweepResult",
    "Trades",
    "buy_and_hold",
    "market_arrays",
    "random_entries",
    "simulate",
    "simulate_entries",
    "sweep_entries",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
