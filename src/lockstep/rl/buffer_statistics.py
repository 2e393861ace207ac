"""What a profit-weighted buffer says of its content, and of both sides of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class AccountStatistics:
    """One side of the buffer. Means are None where there is nothing to average.

    size, mean_score, mean_value    of the present content
    mean_profit                     of experiences with a known outcome, a fraction
    draws                           sum of the training counts
    max_training_count              highest training count
    evicted                         evictions from this side since the buffer was created
    """

    size: int
    mean_score: float | None
    mean_profit: float | None
    mean_value: float | None
    draws: int
    max_training_count: int
    evicted: int


@dataclass(frozen=True, kw_only=True)
class BufferStatistics:
    """Statistics of the whole buffer, and of both accounts (R9.25).

    size, capacity      experiences in the buffer, and their largest number
    added               experiences added since the buffer was created
    unknown             experiences without an outcome yet; the unprofitable account holds them
    evicted_unknown     evictions before the outcome was known; `unprofitable.evicted` counts them too
    mean_score          None where the buffer is empty
    max_training_count  highest training count
    """

    size: int
    capacity: int
    added: int
    unknown: int
    evicted_unknown: int
    mean_score: float | None
    max_training_count: int
    profitable: AccountStatistics
    unprofitable: AccountStatistics


def account(sums: NDArray[np.float64], evicted: int, unknown: int) -> AccountStatistics:
    """One side from its row of `profit_kernels.account_sums`, its evictions, and how many have no outcome."""
    size = int(sums[0])
    settled = size - unknown
    return AccountStatistics(
        size=size,
        mean_score=None if size == 0 else float(sums[1]) / size,
        mean_profit=None if settled == 0 else float(sums[2]) / settled,
        mean_value=None if size == 0 else float(sums[3]) / size,
        draws=int(sums[4]),
        max_training_count=int(sums[5]),
        evicted=evicted,
    )
