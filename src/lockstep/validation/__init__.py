"""Whether a result can be trusted: look-ahead, intervals, verdicts. See README.md."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lockstep.validation.causality import CausalityReport, exhaustive_look_ahead_check, quick_look_ahead_check

__all__ = ["CausalityReport", "exhaustive_look_ahead_check", "quick_look_ahead_check"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.causality"), name)
