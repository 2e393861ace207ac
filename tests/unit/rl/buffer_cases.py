"""An outcome and a test of draws, for the tests of buffers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from scipy.stats import chi2


@dataclass(frozen=True)
class Known:
    actual_profit: float = 0.004
    profitability_score: float = 0.4
    optimal_action: int = 2
    is_profitable: bool = True
    outcome_validated: bool = True


def statistic(counts: Counter[Any], probabilities: dict[Any, float]) -> tuple[float, float]:
    """Pearson's statistic, and its 99.99 % quantile. Cells expected less than 5 times are joined."""
    total = sum(counts.values())
    assert abs(sum(probabilities.values()) - 1.0) < 1e-12
    assert set(counts) <= set(probabilities)
    cells, rest = [], [0.0, 0.0]
    for cell, probability in probabilities.items():
        pair = [float(counts[cell]), probability * total]
        if pair[1] < 5.0:
            rest = [rest[0] + pair[0], rest[1] + pair[1]]
        else:
            cells.append(pair)
    if rest[1] >= 5.0:
        cells.append(rest)
    value = sum((seen - wanted) ** 2 / wanted for seen, wanted in cells)
    return value, float(chi2.ppf(0.9999, len(cells) - 1))
