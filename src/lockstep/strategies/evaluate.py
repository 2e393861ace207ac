"""Backtests and sweeps of strategies, on one path: parameters -> entries -> the engine's walk.

    result = backtest(candles, "liquidity_sweep", {"pierce_depth": 0.001}, costs=Costs(), execution=Execution())
    table = sweep(candles, MyStrategy, {"fast": [5, 10], "slow": [50, 100]})    # 2 x 2 sets: the grid
    table.best("sharpe_ratio")

A backtest is a sweep of one set whose trades are kept, so the winner of a sweep, run again alone, has the same
metrics to the last bit. Plain strategies take the same path as compiled ones: their signals become entries first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from lockstep.core.errors import NoValidTrialError, StrategyError
from lockstep.core.space import Columns, row
from lockstep.engine import few_trades
from lockstep.engine.costs import Costs
from lockstep.engine.entries import EntryBatch, compact
from lockstep.engine.levels import check_levels
from lockstep.engine.metrics import COLUMN, Metric, MetricValues, as_metric, best_row
from lockstep.engine.preparation import MarketArrays, market_arrays
from lockstep.engine.settings import Execution, settled
from lockstep.engine.signals import Signals
from lockstep.engine.simulate import Simulation, simulate_entries
from lockstep.engine.statistics import METRICS
from lockstep.engine.sweep import SweepResult, sweep_entries
from lockstep.engine.trades import Trades
from lockstep.market.candles import Candles, require_candles
from lockstep.runs.user_modules import USER_FAILURES
from lockstep.strategies.base import HasRemarks, Params, Strategy, recorded, strategy_failure
from lockstep.strategies.batches import concatenate, empty_batch, limited, signals_of
from lockstep.strategies.compiled import CompiledStrategy
from lockstep.strategies.inputs import Series
from lockstep.strategies.registry import Reference, lookup
from lockstep.strategies.view import MarketView

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from numpy.typing import NDArray


CHUNK: Final = 2048
"""Sets per task of an executor. Fixed, so that the number of workers cannot change what is done."""
OnError = Literal["raise", "record"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Backtest:
    """One strategy with one set of parameters over one market; `remarks` are those of the strategy."""

    strategy: str
    parameters: dict[str, Any]
    simulation: Simulation
    remarks: tuple[str, ...] = ()

    @property
    def metrics(self) -> MetricValues:
        """Every metric; None where undefined."""
        return self.simulation.metrics

    @property
    def trades(self) -> Trades:
        """The closed trades, as columns."""
        return self.simulation.trades

    @property
    def equity(self) -> NDArray[np.float64]:
        """float64 (n,): equity at the close of each bar, quote currency."""
        return self.simulation.equity

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the numbers should know: `Simulation.notes`, then what the strategy remarks."""
        return self.simulation.notes + self.remarks

    def __getitem__(self, metric: Metric | str) -> float | int | None:
        """The value of one metric. Raises UnknownNameError with a suggestion for a name that no metric has."""
        return self.simulation[metric]

    def equity_frame(self) -> pd.DataFrame:
        """A pandas frame of the equity curve with times; see `Simulation.equity_frame`."""
        return self.simulation.equity_frame()

    def plot(self) -> Figure:
        """A matplotlib figure: equity with its highest value so far, drawdown, and the result of each trade.

        `figure.savefig("backtest.png")` writes it; a notebook shows it. Raises MissingLibraryError without matplotlib.
        """
        from lockstep.strategies.plot import backtest_figure

        return backtest_figure(str(self).partition("\n")[0], self.simulation)

    def to_dict(self, *, curve: bool = True) -> dict[str, Any]:
        """Plain values, ready for JSON (R3.19)."""
        values = self.simulation.to_dict(curve=curve)
        return {"strategy": self.strategy, "parameters": self.parameters, **values, "notes": list(self.notes)}

    def __str__(self) -> str:
        shown = ", ".join(f"{name}={value}" for name, value in self.parameters.items())
        return "\n".join([f"{self.strategy}({shown})", str(self.simulation), *self.remarks])


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluated:
    """Metrics of k parameter sets; rows in the order of the sets.

    result         metrics and block sums; rows of sets that were not evaluated are NaN
    not_evaluated  bool (k,): the set breaks a constraint of the strategy
    errors         set number -> message, of sets whose strategy failed (only with on_error="record")
    """

    result: SweepResult
    not_evaluated: NDArray[np.bool_]
    errors: dict[int, str] = field(default_factory=dict)

    @property
    def metrics(self) -> NDArray[np.float64]:
        """float64 (k, len(Metric)), NaN where undefined: what a search judges (`search.loop.Evaluation`)."""
        return self.result.metrics


@dataclass(frozen=True, kw_only=True)
class Best:
    """The best set of a sweep: its row, parameters and metrics."""

    index: int
    parameters: dict[str, Any]
    metrics: MetricValues


@dataclass(frozen=True, kw_only=True, eq=False)
class Sweep(Evaluated):
    """Every set of a sweep, in the order given.

    strategy    its name
    parameters  one column (k,) per parameter, defaults filled in
    """

    strategy: str
    parameters: Columns

    def __len__(self) -> int:
        return len(self.result)

    def __repr__(self) -> str:
        return (
            f"Sweep(strategy={self.strategy!r}, sets={len(self)}, parameters={list(self.parameters)}, "
            f"failed={len(self.errors)}, not_evaluated={int(self.not_evaluated.sum())})"
        )

    def parameters_of(self, index: int) -> dict[str, Any]:
        """The parameters of set `index` as plain Python values."""
        return row(self.parameters, index)

    def metrics_of(self, index: int) -> MetricValues:
        """The metrics of set `index`, None where undefined."""
        return self.result.values(index)

    def best(self, objective: Metric | str = Metric.SHARPE_RATIO, min_trades: int = 10) -> Best:
        """The set with the greatest `objective` among those with at least `min_trades`; of equals the first.

        Raises NoValidTrialError with the counts by cause when no set qualifies, UnknownNameError for no metric.
        """
        metric = as_metric(str(objective))
        values = self.result.column(metric)
        trades = self.result.column(Metric.TOTAL_TRADES)
        enough = trades >= min_trades
        # An infinite ratio is no better than one that is undefined: both come from too few trades.
        index = best_row(np.where(enough & np.isfinite(values), values, np.nan))
        if index is None:
            failed, excluded = len(self.errors), int(self.not_evaluated.sum())
            # Each set counts under one cause, so that the causes add up to all sets.
            few = len(self) - failed - excluded - int(enough.sum())
            first = f"; the first error: {self.errors[min(self.errors)]}" if self.errors else ""
            why = few_trades.reasons(self.result.metrics, trades < min_trades)
            because = f". {few_trades.in_words(why)}" if why else ""
            cure = few_trades.cure(why)
            raise NoValidTrialError(
                f"no set may win: of {len(self)}, {failed} failed, {excluded} break a constraint, {few} have fewer "
                f"than {min_trades} trades, {int(enough.sum())} have no {metric}{first}{because}"
                + (f". {cure}" if cure else "")
            )
        return Best(index=index, parameters=self.parameters_of(index), metrics=self.metrics_of(index))

    def columns(self) -> dict[str, NDArray[Any]]:
        """Parameters, then every metric by name, (k,) each: float64, NaN where undefined.

        A metric whose name a parameter has already is called `metric_` and its name.
        """
        columns = dict(self.parameters)
        for metric in Metric:
            # A user's parameter keeps its name: code that reads it was there first.
            name = f"metric_{metric}" if str(metric) in self.parameters else str(metric)
            columns[name] = self.result.metrics[:, COLUMN[metric]].copy()
        return columns

    def to_frame(self) -> pd.DataFrame:
        """A pandas frame with one row per set: parameters, then metrics."""
        import pandas as pd

        return pd.DataFrame(self.columns())


class Evaluator:
    """One strategy over one market, ready for any number of parameter sets."""

    def __init__(
        self,
        strategy: Reference,
        candles: Candles,
        *,
        costs: Costs | None = None,
        execution: Execution | None = None,
        detail: Candles | None = None,
        inputs: Mapping[str, Series] | None = None,
    ) -> None:
        """Arguments as in `sweep`. Raises StrategyError, UnknownNameError or DataError for what cannot be used."""
        require_candles(candles)
        self.costs, self.execution = settled(costs, execution)
        self.strategy: Strategy = lookup(strategy)
        self.candles = candles
        self.view = MarketView(candles, self.strategy.inputs, inputs or {})
        # Once for all sets: the market is the same for each of a million.
        self.market: MarketArrays = market_arrays(candles, detail)

    def one(self, params: Params) -> Backtest:
        """One set, with its trades. Raises StrategyError."""
        parameters = self.strategy.resolve(params)
        broken = self.strategy.broken_constraint(parameters)
        if broken is not None:
            raise StrategyError(f"{self.strategy.name}: the parameters {parameters} break the constraint {broken!r}")
        batch = self._limited(entries_of(self.strategy, self.view, parameters))
        check_levels(batch, self.candles.close, self.execution)
        simulation = simulate_entries(self.candles, self.market, batch, self.costs, self.execution)
        remarks = self.strategy.remarks(self.candles) if isinstance(self.strategy, HasRemarks) else ()
        return Backtest(strategy=self.strategy.name, parameters=parameters, simulation=simulation, remarks=remarks)

    def batch(
        self, columns: Columns, *, on_error: OnError = "raise", progress: Callable[[int], None] | None = None
    ) -> Evaluated:
        """k sets, given as complete columns (`Strategy.columns` makes them).

        on_error  "raise" lets the first StrategyError through; "record" keeps its message and goes on
        """
        try:
            mask = self.strategy.admissible(columns)
        except StrategyError as error:
            if on_error == "raise":
                raise
            # A constraint that fails says nothing about any set, so none is evaluated.
            count = len(next(iter(columns.values())))
            mask = np.zeros(count, np.bool_)
            errors = dict.fromkeys(range(count), recorded(error))
            return self._scattered(mask, np.zeros(count, np.bool_), errors, None)
        # Sets that break a constraint never reach the strategy, whose code may rely on the constraint.
        chosen = np.flatnonzero(mask)
        sets = columns if chosen.size == mask.size else {name: column[chosen] for name, column in columns.items()}
        failures: dict[int, str] = {}
        source = self._source(sets, chosen.size, failures if on_error == "record" else None)
        result = sweep_entries(
            self.market, source, chosen.size, costs=self.costs, execution=self.execution, progress=progress
        )
        errors = {int(chosen[index]): message for index, message in sorted(failures.items())}
        return self._scattered(mask, ~mask, errors, result)

    def _scattered(
        self, mask: NDArray[np.bool_], excluded: NDArray[np.bool_], errors: dict[int, str], result: SweepResult | None
    ) -> Evaluated:
        """Brings the rows of evaluated sets to their places among all sets; the others are NaN."""
        blocks = self.execution.blocks
        if result is None:
            result = sweep_entries(
                self.market, lambda lo, hi: empty_batch(hi - lo), 0, costs=self.costs, execution=self.execution
            )
        metrics, sums = result.metrics, result.blocks
        if not mask.all():
            metrics, sums = np.full((mask.size, METRICS), np.nan), np.full((mask.size, blocks, 2), np.nan)
            metrics[mask], sums[mask] = result.metrics, result.blocks
        # A set that failed was walked without entries, which looks like a set that never traded.
        failed = list(errors)
        metrics[failed], sums[failed] = np.nan, np.nan
        whole = SweepResult(metrics=metrics, blocks=sums, block_bars=result.block_bars, annual=result.annual)
        return Evaluated(result=whole, not_evaluated=excluded, errors=errors)

    def _source(self, sets: Columns, count: int, failures: dict[int, str] | None) -> Callable[[int, int], EntryBatch]:
        strategy = self.strategy
        if not isinstance(strategy, CompiledStrategy) or count == 0:
            return lambda lo, hi: concatenate([self._plain(row(sets, k), k, failures) for k in range(lo, hi)])
        try:
            prepared = strategy.prepare(self.view, sets)
        except USER_FAILURES as error:
            failure = strategy_failure(strategy, row(sets, 0), error, where="prepare")
            if failures is None:
                raise failure from error
            # What all sets share failed, so all of them did.
            failures.update(dict.fromkeys(range(count), recorded(failure)))
            return lambda lo, hi: empty_batch(hi - lo)

        # The built-in families make their levels from prices; looking at each again would cost every sweep.
        own = not type(strategy).__module__.startswith("lockstep.")

        def compiled(lo: int, hi: int) -> EntryBatch:
            try:
                batch = strategy.entries(prepared, sets, lo, hi)
                if own:
                    check_levels(batch, self.candles.close, self.execution)
                return self._limited(batch)
            except USER_FAILURES as error:
                # Which set failed is not known; one by one, only the guilty ones are lost.
                if hi - lo > 1 and failures is not None:
                    return concatenate([compiled(k, k + 1) for k in range(lo, hi)])
                failure = strategy_failure(strategy, row(sets, lo), error, where="entries")
                if failures is None:
                    raise failure from error
                failures[lo] = recorded(failure)
                return empty_batch(1)

        return compiled

    def _plain(self, params: Params, index: int, failures: dict[int, str] | None) -> EntryBatch:
        try:
            batch = compact(self.strategy.checked_signals(self.view, params))
            check_levels(batch, self.candles.close, self.execution)
            return self._limited(batch)
        except StrategyError as error:
            if failures is None:
                raise
            failures[index] = recorded(error)
            return empty_batch(1)

    def _limited(self, batch: EntryBatch) -> EntryBatch:
        return limited(batch, self.execution.max_holding)


def entries_of(strategy: Strategy, view: MarketView, params: Params) -> EntryBatch:
    """Entries of one complete set (`Strategy.resolve` makes it), by the path every evaluation takes.

    Raises StrategyError for an exception in the strategy, entries that break the engine's rules or the warm-up.
    """
    if not isinstance(strategy, CompiledStrategy):
        return compact(strategy.checked_signals(view, params))
    # As a sweep of one set: the kernels of a sweep decide here too, so that both give the same trades.
    sets = strategy.columns([params])
    try:
        batch = strategy.entries(strategy.prepare(view, sets), sets, 0, 1)
    except USER_FAILURES as error:
        raise strategy_failure(strategy, params, error, where="entries") from error
    broken = batch.check_valid(len(view)) if batch.sets == 1 else f"{batch.sets} sets instead of 1"
    if broken is not None:
        raise StrategyError(f"{strategy.name}.entries gave an unusable batch: {broken}; parameters {dict(params)}")
    warm = strategy.warm_bars(params)
    strategy.check_warmup(batch.bar[batch.bar < warm], params)
    if batch.exit_bar is not None:
        strategy.check_warmup(batch.exit_bar[batch.exit_bar < warm], params, array="exit")
    return batch


def decide(strategy: Strategy, view: MarketView, params: Params) -> Signals:
    """The decisions of one complete set as arrays over the bars of `view`, by the path every evaluation takes."""
    return signals_of(entries_of(strategy, view, params), len(view))


def backtest(
    candles: Candles,
    strategy: Reference,
    params: Params | None = None,
    *,
    costs: Costs | None = None,
    execution: Execution | None = None,
    detail: Candles | None = None,
    inputs: Mapping[str, Series] | None = None,
) -> Backtest:
    """Run one strategy with one set of parameters.

    candles    the market, n bars
    strategy   a name such as "liquidity_sweep", "file.py:Class", a subclass of ls.Strategy, or an instance of one
    params     values of its parameters; those left out take the strategy's defaults
    costs      fees, slippage, spread; default Costs()
    execution  fill rule, sizing; default Execution()
    detail     finer candles of the same market, for the order of stop and target within a bar
    inputs     further series that the strategy declares, by name

    Raises StrategyError (also for an exception inside the strategy, with its line), SpaceError, UnknownNameError,
    InputError for anything that is not of the type named.
    """
    evaluator = Evaluator(strategy, candles, costs=costs, execution=execution, detail=detail, inputs=inputs)
    return evaluator.one(params or {})


def join(parts: Sequence[Evaluated]) -> Evaluated:
    """Batches of one market put behind each other, in the order given."""
    errors: dict[int, str] = {}
    start = 0
    for part in parts:
        errors |= {start + index: message for index, message in part.errors.items()}
        start += len(part.result)
    first = parts[0].result
    return Evaluated(
        result=SweepResult(
            metrics=np.concatenate([part.result.metrics for part in parts]),
            blocks=np.concatenate([part.result.blocks for part in parts]),
            block_bars=first.block_bars,
            annual=first.annual,
        ),
        not_evaluated=np.concatenate([part.not_evaluated for part in parts]),
        errors=errors,
    )
