"""One backtest of signals given as arrays."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lockstep.core.errors import StrategyError
from lockstep.engine.costs import Costs
from lockstep.engine.curve import curve_metrics
from lockstep.engine.entries import EntryBatch, compact
from lockstep.engine.levels import check_levels
from lockstep.engine.metrics import ALIASES, Metric, MetricValues, values_of
from lockstep.engine.preparation import MarketArrays, block_ends, market_arrays, run_batch, walk_terms
from lockstep.engine.report import capped, summary
from lockstep.engine.settings import Execution, settled
from lockstep.engine.signals import Signals
from lockstep.engine.trades import Trades, bar_returns, equity_curve, trades_of
from lockstep.market.candles import Candles, require_candles

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True, eq=False)
class BlockSums:
    """Sums over the returns r_j of the bars of B contiguous blocks, for validation without the curve.

    bars int64 (B,); r1 … r4 float64 (B,): Σ r, Σ r², Σ r³, Σ r⁴, flat bars included as 0. NaN after ruin.
    """

    bars: NDArray[np.int64]
    r1: NDArray[np.float64]
    r2: NDArray[np.float64]
    r3: NDArray[np.float64]
    r4: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Simulation:
    """The whole result of one backtest.

    trades      closed trades, as columns
    timestamp   int64 (n,): ms UTC at bar open
    costs, execution   the settings it was run with

    `metrics`, `curve_metrics`, `equity` and `blocks` are worked out when they are first read, from what the walk left
    and from the candles, which stay in memory with the result: the curve alone costs more than the walk.
    """

    trades: Trades
    timestamp: NDArray[np.int64]
    costs: Costs
    execution: Execution
    _candles: Candles = field(repr=False)
    _row: NDArray[np.float64] = field(repr=False)
    _sums: NDArray[np.float64] = field(repr=False)

    @cached_property
    def metrics(self) -> MetricValues:
        """Every Metric; None where undefined. Names of earlier releases answer as well (`metrics.ALIASES`)."""
        return values_of(self._row)

    @cached_property
    def curve_metrics(self) -> dict[str, float | int | None]:
        """Every CurveMetric: what a sweep does not have, such as best_month_pct; None where undefined."""
        candles = self._candles
        # A bar of a month or a local clock closes within bounds, one timeframe after its open where these allow it.
        closes = np.clip(candles.timestamp + candles.timeframe_ms, candles.decision_time, candles.close_time)
        capital = self.execution.initial_capital
        return curve_metrics(self.timestamp, closes, self.equity, self.trades.pnl, initial_capital=capital)

    @cached_property
    def equity(self) -> NDArray[np.float64]:
        """float64 (n,): equity at the close of each bar, quote currency."""
        capital, fee_rate = self.execution.initial_capital, self.costs.fee_rate
        return equity_curve(self._candles.close, self.trades, initial_capital=capital, fee_rate=fee_rate)

    @cached_property
    def blocks(self) -> BlockSums:
        """Sums of bar returns per block."""
        return _block_sums(self._sums, block_ends(self.timestamp.size, self.execution.blocks), self.returns)

    def __getitem__(self, metric: Metric | str) -> float | int | None:
        """The value of a metric, those of the curve included. Raises UnknownNameError with a suggestion."""
        name = str(metric)
        return self.curve_metrics[name] if name in self.curve_metrics else self.metrics[name]

    @property
    def ruined(self) -> bool:
        """Whether equity reached 0 or less, which ended trading."""
        return self.metrics[Metric.RUINED] == 1

    @property
    def returns(self) -> NDArray[np.float64]:
        """r_j, float64 (n,): return of each bar."""
        return bar_returns(self.equity, float(self.execution.initial_capital))

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the numbers should know: that the capital capped the size of trades."""
        note = capped(self.metrics, self.execution)
        return () if note is None else (note,)

    def equity_frame(self) -> pd.DataFrame:
        """A pandas frame of the equity curve, one row per bar.

        Its index `time` is the moment of the bar's open in UTC; columns `equity` at the bar's close (quote currency)
        and `drawdown_pct`, how far it is below its highest value so far (≤ 0).
        """
        import pandas as pd

        times = pd.DatetimeIndex(pd.to_datetime(self.timestamp, unit="ms", utc=True), name="time")
        peak = np.maximum.accumulate(np.concatenate(([self.execution.initial_capital], self.equity)))[1:]
        with np.errstate(invalid="ignore"):
            drawdown = 100.0 * (self.equity / peak - 1.0)
        return pd.DataFrame({"equity": self.equity, "drawdown_pct": drawdown}, index=times)

    def to_dict(self, *, curve: bool = True) -> dict[str, Any]:
        """Plain dicts, lists and Python numbers, ready for JSON (R3.19); `curve=False` leaves the equity curve out.

        What is undefined, or beyond the largest float, is None. `aliases` says which names of earlier releases mean
        which metric of today.
        """
        plain: dict[str, Any] = {
            "metrics": {str(metric): value for metric, value in self.metrics.items()},
            "curve_metrics": {str(metric): value for metric, value in self.curve_metrics.items()},
            "aliases": {name: str(metric) for name, metric in ALIASES.items()},
            "notes": list(self.notes),
            "trades": self.trades.to_dicts(self.timestamp),
        }
        if curve:
            plain["equity_curve"] = {"timestamp": self.timestamp.tolist(), "equity": self.equity.tolist()}
        return {name: _finite(value) for name, value in plain.items()}

    def to_json(self, *, curve: bool = True) -> str:
        """JSON text of `to_dict`; never NaN or infinity."""
        return json.dumps(self.to_dict(curve=curve), allow_nan=False)

    def __str__(self) -> str:
        metrics = {**self.metrics, **self.curve_metrics}
        return summary(metrics, self.trades, bars=self.timestamp.size, execution=self.execution)

    def __repr__(self) -> str:
        profit = self.metrics[Metric.NET_PROFIT_PCT]
        shown = "undefined" if profit is None else f"{profit:.2f}"
        return f"Simulation(bars={self.timestamp.size}, trades={len(self.trades)}, net_profit_pct={shown})"


def _finite(value: Any) -> Any:
    """Plain values with None in the place of NaN and infinities, for which JSON has no form."""
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def simulate(
    candles: Candles,
    signals: Signals,
    costs: Costs | None = None,
    execution: Execution | None = None,
    *,
    detail: Candles | None = None,
) -> Simulation:
    """Trades `signals` over `candles` by the rules of docs/engine.md.

    candles    the market, n bars
    signals    decisions at bar closes, arrays of shape (n,)
    costs      fees, slippage, spread; default Costs()
    execution  fill rule, sizing; default Execution()
    detail     finer candles of the same market, which settle whether stop or target came first in one bar

    Raises StrategyError when the signals are not as long as the candles or a stop is no price, DataError for unusable
    `detail`, InputError for costs that do not fit the prices, and for anything that is not of the type named.
    """
    require_candles(candles)
    costs, execution = settled(costs, execution)
    if len(signals) != len(candles):
        raise StrategyError(
            f"signals: one value per bar; found {len(signals)} values for {len(candles)} bars. "
            "Build the arrays from these candles."
        )
    # As a batch of one set: a backtest takes the very kernel of a sweep, so both have the same bits.
    batch = compact(signals, max_holding=execution.max_holding)
    check_levels(batch, candles.close, execution)
    return simulate_entries(candles, market_arrays(candles, detail), batch, costs, execution)


def simulate_entries(
    candles: Candles,
    market: MarketArrays,
    batch: EntryBatch,
    costs: Costs | None = None,
    execution: Execution | None = None,
) -> Simulation:
    """`simulate` for compact entries of one set: what re-running a set of a sweep calls. Raises as `simulate` does."""
    costs, execution = settled(costs, execution)
    if batch.sets != 1:
        raise ValueError(f"a simulation has entries of one set; found {batch.sets}")
    ends = block_ends(market.size, execution.blocks)
    walked = run_batch(market, walk_terms(market, costs, execution), batch, ends)
    trades = trades_of(walked.when, walked.money, at_close=execution.at_close, timestamp=candles.timestamp)
    return Simulation(
        trades=trades,
        timestamp=candles.timestamp,
        costs=costs,
        execution=execution,
        _candles=candles,
        _row=walked.metrics[0],
        _sums=walked.blocks[0],
    )


def _block_sums(sums: NDArray[np.float64], ends: NDArray[np.int64], returns: NDArray[np.float64]) -> BlockSums:
    """Third and fourth powers are needed of the best trial only, so they are summed from its curve."""
    bars = np.diff(ends, prepend=np.int64(0))
    # The walk marks the sums of a ruined set as undefined; the curve alone would not show it.
    undefined = np.isnan(sums[:, 0])
    third, fourth = np.empty(ends.size), np.empty(ends.size)
    # Block by block, in the order of the bars, so that the powers of a block are summed while they are in the
    # processor's cache. Powers beyond the largest float are infinite, and their sums undefined.
    with np.errstate(over="ignore", invalid="ignore"):
        for k, (lo, hi) in enumerate(itertools.pairwise([0, *ends.tolist()])):
            r = returns[lo:hi]
            square = r * r
            third[k], fourth[k] = (square * r).sum(), (square * square).sum()
    return BlockSums(
        bars=bars,
        r1=sums[:, 0].copy(),
        r2=sums[:, 1].copy(),
        r3=np.where(undefined, np.nan, third),
        r4=np.where(undefined, np.nan, fourth),
    )
