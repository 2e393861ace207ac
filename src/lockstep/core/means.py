"""Means that are one number on every machine.

NumPy sums in pairs, and how wide the pairs are depends on the CPU's vectors; Python's `sum` compensates from 3.12 on
and does not before. Whatever is written into a run is therefore summed here: in the order of the values, or exactly.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray


def mean_in_order(values: Iterable[float] | NDArray[Any]) -> float:
    """The values (n,) added one after the other, over n; 0 of nothing. An array is read as Python floats."""
    items: list[float] = values.tolist() if hasattr(values, "tolist") else list(values)
    # Once per step of a training: this adds as a loop does, without its cost.
    return functools.reduce(operator.add, items, 0.0) / len(items) if items else 0.0


def exact_mean(values: Sequence[float] | NDArray[Any]) -> float | None:
    """The correctly rounded sum of the values (n,) over n; None of nothing."""
    return math.fsum(values) / len(values) if len(values) else None
