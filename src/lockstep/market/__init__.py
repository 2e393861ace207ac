"""Candles: what they are, where they come from, how good they are, and what is computed from them.

The names below are the package's public ones; each lives in the module named beside it. They are looked up
on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lockstep.market.candles import Candles as Candles
    from lockstep.market.load import load_candles as load_candles
    from lockstep.market.load import load_with_report as load_with_report
    from lockstep.market.sample import sample_candles as sample_candles

_HOME = {
    "Candles": "candles",
    "load_candles": "load",
    "load_with_report": "load",
    "sample_candles": "sample",
}

__all__ = [
    "Candles",
    "load_candles",
    "load_with_report",
    "sample_candles",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
