"""Arrays in, numbers out: fills, exits, costs, metrics and sweeps. Start at `README.md` beside this file."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lockstep.engine.costs import Costs
    from lockstep.engine.entries import EntryBatch
    from lockstep.engine.metrics import Metric
    from lockstep.engine.settings import Execution, Fill
    from lockstep.engine.signals import Signals

# Name -> module. Importing the package stays free of NumPy and numba until a name is used.
_HOMES = {
    "Costs": "costs",
    "EntryBatch": "entries",
    "Execution": "settings",
    "Fill": "settings",
    "Metric": "metrics",
    "Signals": "signals",
}

__all__ = ["Costs", "EntryBatch", "Execution", "Fill", "Metric", "Signals"]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
