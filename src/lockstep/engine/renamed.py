"""Metrics that have another name, or another meaning, than in an earlier release. Plain text, which needs no NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

OTHER_NAMES: Final[Mapping[str, str]] = {
    "gross_win_rate": "win_rate",
    "max_drawdown_bar_pct": "max_drawdown_pct",
}
"""Names of earlier releases -> the name of the same value today."""

EDITIONS: Final[Mapping[str, int]] = {"calmar_ratio": 2, "max_drawdown_pct": 2}
"""Names whose definition changed, with the number of the present one: the first of every name is 1 (decision 0075)."""

_SAME_TODAY: Final[Mapping[str, str]] = {
    "calmar_ratio": "calmar_ratio_trades",
    "max_drawdown_pct": "max_drawdown_trades_pct",
    **OTHER_NAMES,
}


def under_present_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """Metrics as a record has them, by name, under the names that mean the same today.

    A record of release 0.1 is known by `max_drawdown_bar_pct`, which no later one writes.
    """
    if "max_drawdown_bar_pct" not in values:
        return dict(values)
    return {_SAME_TODAY.get(name, name): value for name, value in values.items()}
