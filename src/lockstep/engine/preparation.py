"""From frozen values (Candles, Costs, Execution) to what the kernels read, and one call of the kernels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lockstep.core.errors import DataError, InputError
from lockstep.engine import sets as kernels
from lockstep.engine import statistics, walk_state
from lockstep.engine.costs import Costs
from lockstep.engine.entries import EntryBatch
from lockstep.engine.metrics import annual_bars
from lockstep.engine.settings import DEFAULT_STOP_DISTANCE, Execution
from lockstep.market.candles import Candles, require_candles

# One compiled form for all inputs: numba tells read-only arrays from writable ones, so what is absent is of the
# kind that would be there (columns of candles are read-only, columns of entries are not).
_NO_TRAIL = np.empty(0, np.float64)
_NO_EXITS = np.empty(0, np.int32)
_NO_OFFSETS = np.empty(0, np.int64)
_NO_DETAIL = np.empty(0, np.float64)
_NO_TIMES = np.empty(0, np.int64)
_NO_DETAIL.flags.writeable = False
_NO_TIMES.flags.writeable = False


@dataclass(frozen=True, kw_only=True, eq=False)
class MarketArrays:
    """What the engine reads of a market: made once, shared by all sets of a sweep.

    bars    open, high, low, close float64 (n,) and the number of gaps before each bar, int32 (n,)
    fine    finer bars that settle the order of stop and target, or empty arrays
    annual  bars per year, for annualised ratios
    lowest  the lowest price of all bars, infinite where there is none
    """

    bars: walk_state.Bars
    fine: walk_state.Fine
    annual: float
    lowest: float

    @property
    def size(self) -> int:
        """n, the number of bars."""
        return int(self.bars.close.size)


def market_arrays(candles: Candles, detail: Candles | None = None) -> MarketArrays:
    """Arrays of `candles`, with `detail` (finer bars of the same market) for ambiguous bars.

    Raises DataError when `detail` is not finer by a whole factor, InputError when either is no `Candles`.
    """
    require_candles(candles)
    if detail is not None:
        require_candles(detail, "detail")
    step = candles.timeframe_ms
    bars = walk_state.Bars(candles.open, candles.high, candles.low, candles.close, candles.gaps)
    if detail is None:
        fine = walk_state.Fine(_NO_TIMES, _NO_TIMES, _NO_TIMES, _NO_TIMES, _NO_DETAIL, _NO_DETAIL)
    else:
        if detail.timeframe_ms >= step or step % detail.timeframe_ms != 0:
            raise DataError(
                "detail: finer candles divide the bar length by a whole number; "
                f"found {detail.timeframe_ms} ms for bars of {step} ms. Load a finer timeframe, such as 1m for 5m."
            )
        fine = walk_state.Fine(
            candles.timestamp, candles.decision_time, detail.timestamp, detail.close_time, detail.high, detail.low
        )
    return MarketArrays(bars=bars, fine=fine, annual=annual_bars(candles.timestamp, step), lowest=candles.lowest)


def walk_terms(market: MarketArrays, costs: Costs, execution: Execution) -> walk_state.Terms:
    """Costs and execution as the kernel reads them. Raises InputError when a sale could yield nothing."""
    # `not >` rather than `<=`, so that a NaN is refused as well.
    if not market.lowest * (1.0 - costs.slippage_rate) > costs.spread / 2.0:
        raise InputError(
            f"costs: half the spread stays below every price; found spread {costs.spread!r} "
            f"against a lowest price of {market.lowest!r}. The spread is in price units, not in pips."
        )
    return walk_state.Terms(
        taker=float(costs.fee_rate),
        maker=float(costs.target_fee_rate),
        slippage=float(costs.slippage_rate),
        half_spread=float(costs.spread) / 2.0,
        capital=float(execution.initial_capital),
        risk=float(execution.risk_per_trade) * float(execution.position_size_pct),
        default_distance=DEFAULT_STOP_DISTANCE,
        compounding=bool(execution.compounding),
        at_close=execution.at_close,
    )


def block_ends(bars: int, blocks: int) -> NDArray[np.int64]:
    """int64 (blocks,): first bar after each block. Block k holds bars ⌊k·n/B⌋ … ⌊(k + 1)·n/B⌋ − 1."""
    return np.arange(1, blocks + 1, dtype=np.int64) * bars // blocks


def run_batch(
    market: MarketArrays,
    terms: walk_state.Terms,
    batch: EntryBatch,
    ends: NDArray[np.int64],
    metrics: NDArray[np.float64] | None = None,
    blocks: NDArray[np.float64] | None = None,
) -> walk_state.Walked:
    """Walks and summarises every set of `batch`: the only caller of the kernel, for sweeps and backtests alike.

    metrics, blocks   where to write them, contiguous, shaped as in `Walked`; new arrays where left out
    Returns the trades of the last set only.
    """
    # Not cleared: the kernel writes every cell that is read afterwards.
    count, room = batch.sets, _room(batch)
    walked = walk_state.Walked(
        when=np.empty((walk_state.WHEN_ROWS, room), np.int32),
        money=np.empty((walk_state.MONEY_ROWS, room), np.float64),
        blocks=np.empty((count, ends.size, 2), np.float64) if blocks is None else blocks,
        metrics=np.empty((count, statistics.METRICS), np.float64) if metrics is None else metrics,
    )
    exits = _NO_OFFSETS if batch.exit_offsets is None else batch.exit_offsets
    trades = kernels.run_sets(
        market.bars, terms, market.fine, _entries(batch), batch.offsets, exits, ends, market.annual, walked
    )
    return walked._replace(when=walked.when[:, :trades], money=walked.money[:, :trades])


def _room(batch: EntryBatch) -> int:
    """Columns for the trades of the set with the most entries."""
    entries = int(np.diff(batch.offsets).max(initial=0))
    # An odd number of lines of 64 bytes: rows whose distance is a power of two would share few places in the cache.
    return entries + 8 + (-entries) % 16


def _entries(batch: EntryBatch) -> walk_state.Entries:
    """The entries as the kernel reads them. Where only one side occurs, it need not look for opposite signals."""
    side = batch.side
    return walk_state.Entries(
        bar=batch.bar,
        side=side,
        stop=batch.stop,
        target=batch.target,
        time_limit=batch.time_limit,
        trail=_NO_TRAIL if batch.trail is None else batch.trail,
        exit_bar=_NO_EXITS if batch.exit_bar is None else batch.exit_bar,
        two_sided=bool(side.size and side.min() != side.max()),
    )
