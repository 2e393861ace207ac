"""The sets of a batch one after the other: each is walked and summarised before the next begins.

A set's trades are needed for its metrics alone, and a backtest's are those of its only set. So every set writes over
the trades of the one before, in buffers that stay in the processor's nearest cache.
"""

from __future__ import annotations

import numpy as np

from lockstep.core.compiled import kernel
from lockstep.engine.statistics import summarise
from lockstep.engine.walk import walk_set
from lockstep.engine.walk_state import I8, TOTALS, Bars, Entries, Fine, Span, Terms, Walked


@kernel
def run_sets(
    bars: Bars,
    terms: Terms,
    fine: Fine,
    entries: Entries,
    offsets: I8,
    exit_offsets: I8,
    ends: I8,
    annual: float,
    walked: Walked,
) -> int:
    """Writes all of `walked`; returns the number of trades of the last set.

    offsets and exit_offsets are those of `EntryBatch`, the latter perhaps empty. ends is int64 (B,), first bar after
    each block; annual the bars per year.
    """
    when, money, blocks, metrics = walked.when, walked.money, walked.blocks, walked.metrics
    totals = np.empty(TOTALS)
    trades = 0
    for k in range(offsets.size - 1):
        flag, flag_end = np.int64(0), np.int64(0)
        if exit_offsets.size > 0:
            flag, flag_end = exit_offsets[k], exit_offsets[k + 1]
        span = Span(offsets[k], offsets[k + 1], int(flag), int(flag_end))
        sums = blocks[k]
        sums[:] = 0.0
        trades = walk_set(bars, terms, fine, entries, span, ends, when, money, totals, sums)
        summarise(
            when[:, :trades],
            money[:, :trades],
            totals,
            sums,
            bars.close.size,
            annual,
            terms.capital,
            terms.compounding,
            metrics[k],
        )
    return trades
