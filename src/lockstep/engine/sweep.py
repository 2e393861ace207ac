"""Many parameter sets over one market: entries in batches that fit the processor's cache, one row of metrics each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lockstep.engine.costs import Costs
from lockstep.engine.entries import EntryBatch
from lockstep.engine.metrics import COLUMN, COUNTS, Metric, MetricValues, values_of
from lockstep.engine.preparation import MarketArrays, block_ends, run_batch, walk_terms
from lockstep.engine.settings import Execution, settled
from lockstep.engine.statistics import METRICS

#: (lo, hi) -> the entries of sets lo … hi − 1.
BatchSource = Callable[[int, int], EntryBatch]

#: Entries of one batch stay near this many bytes: written by one kernel, read by the next, from cache.
BATCH_BYTES: Final = 1 << 20
_FIRST_BATCH: Final = 8
_LARGEST_BATCH: Final = 4096


@dataclass(frozen=True, kw_only=True, eq=False)
class SweepResult:
    """Metrics and return sums of k sets, in the order of the sets.

    metrics     float64 (k, len(Metric)): columns in the order of `Metric`; NaN is undefined (None)
    blocks      float64 (k, B, 2): Σ r and Σ r² of the bars of each block; NaN where a set was ruined
    block_bars  int64 (B,): bars per block, the same for every set
    annual      bars per year used for annualised ratios
    """

    metrics: NDArray[np.float64]
    blocks: NDArray[np.float64]
    block_bars: NDArray[np.int64]
    annual: float

    def __len__(self) -> int:
        return int(self.metrics.shape[0])

    def __repr__(self) -> str:
        return f"SweepResult(sets={len(self)}, blocks={self.block_bars.size})"

    def column(self, metric: Metric) -> NDArray[np.float64]:
        """float64 (k,): one metric of every set."""
        column: NDArray[np.float64] = self.metrics[:, COLUMN[metric]]
        return column

    def columns(self) -> dict[str, NDArray[Any]]:
        """Every metric by name, contiguous: int64 for counts, float64 with NaN for undefined otherwise."""
        return {
            str(metric): np.ascontiguousarray(self.column(metric)).astype(np.int64 if metric in COUNTS else np.float64)
            for metric in Metric
        }

    def values(self, index: int) -> MetricValues:
        """The metrics of one set as plain Python numbers, None where undefined."""
        return values_of(self.metrics[index])


def sweep_entries(
    market: MarketArrays,
    source: BatchSource,
    sets: int,
    *,
    costs: Costs | None = None,
    execution: Execution | None = None,
    progress: Callable[[int], None] | None = None,
) -> SweepResult:
    """Walks `sets` parameter sets whose entries `source(lo, hi)` gives, batch by batch.

    The size of a batch follows the number of entries seen so far and cannot change a result: sets never meet.
    `progress` is called with the number of sets done after each batch. Raises InputError for costs that do not fit
    the market's prices; whatever `source` raises passes through.
    """
    costs, execution = settled(costs, execution)
    terms = walk_terms(market, costs, execution)
    ends = block_ends(market.size, execution.blocks)
    metrics = np.empty((sets, METRICS), np.float64)
    blocks = np.empty((sets, execution.blocks, 2), np.float64)
    lo, width = 0, _FIRST_BATCH
    while lo < sets:
        hi = min(sets, lo + width)
        batch = source(lo, hi)
        if batch.sets != hi - lo:
            raise ValueError(f"a batch source gives the sets asked for: {hi - lo} of them; found {batch.sets}")
        run_batch(market, terms, batch, ends, metrics[lo:hi], blocks[lo:hi])
        width = _next_width(batch)
        lo = hi
        if progress is not None:
            progress(lo)
    return SweepResult(
        metrics=metrics, blocks=blocks, block_bars=np.diff(ends, prepend=np.int64(0)), annual=market.annual
    )


def _next_width(batch: EntryBatch) -> int:
    """Sets per batch such that the next one, if like this one, fills BATCH_BYTES."""
    # A set may have no entry at all; the floor of one byte avoids a division by 0.
    per_set = max(batch.nbytes / max(batch.sets, 1), 1.0)
    return int(min(max(BATCH_BYTES / per_set, 1.0), _LARGEST_BATCH))
