"""What the result would be worth without the strategy: holding the market, and entering it at random.

Both run through the same kernel with the same costs, so that a difference is a difference of decisions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lockstep.engine.costs import Costs
from lockstep.engine.entries import NO_LIMIT, EntryBatch
from lockstep.engine.metrics import COLUMN, Metric
from lockstep.engine.preparation import MarketArrays, block_ends, run_batch, walk_terms
from lockstep.engine.settings import Execution
from lockstep.engine.signals import LONG
from lockstep.engine.simulate import Simulation, simulate_entries
from lockstep.engine.trades import ExitReason
from lockstep.market.candles import Candles
from lockstep.runs.seeds import SeedTree

DRAWS: Final = 200


def buy_and_hold(
    candles: Candles, market: MarketArrays, costs: Costs | None = None, execution: Execution | None = None
) -> Simulation:
    """The whole initial capital long from the first fill to the last close, with the same costs and fill rule.

    Fewer than two bars: no trade.
    """
    execution = Execution() if execution is None else execution
    # A risk of the whole capital makes the cap bind: size = initial capital.
    whole = replace(execution, risk_per_trade=1.0, position_size_pct=1.0, max_holding=None)
    first = np.zeros(min(market.size, 1), np.int32)
    none = np.full(first.size, np.nan)
    entry = EntryBatch(
        offsets=np.array([0, first.size], np.int64),
        bar=first,
        side=np.full(first.size, LONG, np.int8),
        stop=none,
        target=none,
        time_limit=np.full(first.size, NO_LIMIT, np.int32),
    )
    return simulate_entries(candles, market, entry, costs, whole)


@dataclass(frozen=True, kw_only=True)
class Luck:
    """One metric of the strategy among the same metric of the random draws.

    value       the strategy's; None where undefined
    mean, p05, p50, p95   over the draws in which it is defined (linear interpolation); None when in none
    percentile  share of those draws below the strategy, half of the ties added, in percent; None when undefined
    """

    value: float | None
    mean: float | None
    p05: float | None
    p50: float | None
    p95: float | None
    percentile: float | None


@dataclass(frozen=True, kw_only=True)
class RandomEntries:
    """The strategy beside `draws` random ones with the same trades at other times.

    trades       trades per draw on average (fewer than the strategy's where random positions met)
    net_profit_pct, sharpe_ratio   where the strategy stands among them
    """

    draws: int
    trades: float
    net_profit_pct: Luck
    sharpe_ratio: Luck

    def to_dict(self) -> dict[str, Any]:
        """Plain Python values for JSON."""
        return {
            "draws": self.draws,
            "trades": self.trades,
            "net_profit_pct": vars(self.net_profit_pct).copy(),
            "sharpe_ratio": vars(self.sharpe_ratio).copy(),
        }


def random_entries(
    market: MarketArrays, batch: EntryBatch, simulation: Simulation, seeds: SeedTree, *, draws: int = DRAWS
) -> RandomEntries | None:
    """Draws `draws` random strategies that make the trades of `simulation` at other times, and ranks it among them.

    batch        the entries (one set) that `simulation` was made from
    seeds        node of the seed tree; the same node gives the same draws

    Each draw keeps every trade's side, its stop, target and trail distances relative to the close of its signal bar,
    and its time limit; trades that ended by signal, exit flag or end of data get the time they took as limit,
    because a random entry meets no such decision. The trades are shuffled and laid out over the bars without
    overlap at the lengths they had, the free bars between them spread at random. None when there were no trades.
    """
    trades = simulation.trades
    if len(trades) == 0 or draws < 1:
        return None
    recipe = _recipes(market, batch, simulation)
    rng = seeds.generator()
    entries = _draw(market, recipe, trades.holding_periods, rng, draws)
    # All draws as sets of one batch: the same kernel as the strategy's own walk, called once.
    terms = walk_terms(market, simulation.costs, simulation.execution)
    walked = run_batch(market, terms, entries, block_ends(market.size, simulation.execution.blocks))
    return RandomEntries(
        draws=draws,
        trades=float(walked.metrics[:, COLUMN[Metric.TOTAL_TRADES]].mean()),
        net_profit_pct=_rank(simulation, walked.metrics, Metric.NET_PROFIT_PCT),
        sharpe_ratio=_rank(simulation, walked.metrics, Metric.SHARPE_RATIO),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Recipes:
    """Per trade, shape (T,): side; stop, target and trail as shares of the signal bar's close (NaN none); limit."""

    side: NDArray[np.int8]
    stop: NDArray[np.float64]
    target: NDArray[np.float64]
    trail: NDArray[np.float64] | None
    limit: NDArray[np.int32]


def _recipes(market: MarketArrays, batch: EntryBatch, simulation: Simulation) -> _Recipes:
    """What each trade of `simulation` was decided with, free of its place in time."""
    trades = simulation.trades
    at = np.searchsorted(batch.bar, trades.signal_bar)
    # Distances as shares of price: a stop 100 below 60,000 means something else at 20,000.
    close = market.bars.close[trades.signal_bar]
    decided = np.isin(
        trades.exit_reasons(), [ExitReason.SIGNAL, ExitReason.EXIT, ExitReason.END_OF_DATA], assume_unique=False
    )
    limit = batch.time_limit[at]
    return _Recipes(
        side=trades.side,
        stop=batch.stop[at] / close,
        target=batch.target[at] / close,
        trail=None if batch.trail is None else batch.trail[at] / close,
        limit=np.where(decided, np.minimum(limit, np.maximum(trades.holding_periods, 1)), limit).astype(np.int32),
    )


def _draw(
    market: MarketArrays, recipe: _Recipes, lengths: NDArray[np.int32], rng: np.random.Generator, draws: int
) -> EntryBatch:
    """`draws` sets of entries: shuffled trades of the given lengths, laid out without overlap."""
    n, trades = market.size, lengths.size
    # The last decision needs a bar to live in. A chain of reversals can fill all bars; then no slack is left.
    slack = max(n - 1 - int(lengths.sum()), 0)
    order = np.argsort(rng.random((draws, trades)), axis=1)
    before = np.cumsum(lengths[order], axis=1) - lengths[order]
    # Sorted cut points of the slack: every way to spread the free bars over the gaps between trades can occur.
    free = np.sort(rng.integers(0, slack + 1, (draws, trades)), axis=1)
    bar = np.minimum(before + free, n - 2)
    # Where reversals leave no room, clipped bars coincide; a set's bars ascend strictly, so the doubles go.
    keep = np.ones(bar.shape, np.bool_)
    keep[:, 1:] = np.diff(bar, axis=1) > 0
    flat, bars = order[keep], bar[keep].astype(np.int32)
    close = market.bars.close[bars]
    return EntryBatch(
        offsets=np.concatenate(([0], np.cumsum(keep.sum(axis=1)))).astype(np.int64),
        bar=bars,
        side=np.ascontiguousarray(recipe.side[flat]),
        stop=recipe.stop[flat] * close,
        target=recipe.target[flat] * close,
        time_limit=recipe.limit[flat],
        trail=None if recipe.trail is None else recipe.trail[flat] * close,
    )


def _rank(simulation: Simulation, metrics: NDArray[np.float64], metric: Metric) -> Luck:
    """The strategy's `metric` among the same column of the draws' `metrics`, float64 (draws, len(Metric))."""
    value = simulation.metrics[metric]
    drawn = metrics[:, COLUMN[metric]]
    drawn = drawn[~np.isnan(drawn)]
    if drawn.size == 0:
        return Luck(value=value, mean=None, p05=None, p50=None, p95=None, percentile=None)
    p05, p50, p95 = np.percentile(drawn, [5, 50, 95]).tolist()
    percentile = None
    if value is not None:
        below = np.count_nonzero(drawn < value) + 0.5 * np.count_nonzero(drawn == value)
        percentile = float(100.0 * below / drawn.size)
    return Luck(value=value, mean=float(drawn.mean()), p05=p05, p50=p50, p95=p95, percentile=percentile)
