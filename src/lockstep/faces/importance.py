"""Association of each parameter with the objective, over the trials of a search. A screen, not a proof."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def importance(columns: Mapping[str, NDArray[Any]], objective: NDArray[np.float64]) -> dict[str, float]:
    """Shares by parameter: non-negative, summing to 1.

    columns (n,) per parameter, objective (n,) finite. Numbers: |Pearson correlation|. Texts and true/false: the
    correlation ratio, the root of the share of variance between their groups. Equal shares when every one is 0 or
    undefined (fewer than three trials, a constant objective).
    """
    raw = {name: _association(column, objective) for name, column in columns.items()}
    total = sum(raw.values())
    if total == 0.0:
        return {name: 1.0 / len(raw) for name in raw}
    return {name: float(value / total) for name, value in raw.items()}


def _association(column: NDArray[Any], objective: NDArray[np.float64]) -> float:
    spread = objective - objective.mean() if objective.size else objective
    variance = float((spread * spread).sum())
    if objective.size < 3 or variance == 0.0:
        return 0.0
    if column.dtype.kind in "iuf":
        values = column.astype(np.float64)
        moved = values - values.mean()
        size = float((moved * moved).sum())
        return 0.0 if size == 0.0 else min(abs(float((moved * spread).sum())) / np.sqrt(size * variance), 1.0)
    # Correlation ratio: there is no order among texts, so each value is a group of its own.
    between = 0.0
    for value in sorted(set(column.tolist())):
        group = spread[column == value]
        between += group.size * float(group.mean()) ** 2
    return float(np.sqrt(min(between / variance, 1.0)))
