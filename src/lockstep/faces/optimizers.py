"""Optimizers under the names that people know, over the same proposers and the same engine as a run.

    optimizer = RandomSearchOptimizer(seed=42)
    results = optimizer.optimize(BacktestEngine(), frame, LiquiditySweepStrategy, space, n_iterations=200)
    results["best_parameters"], results["best_score"], results["all_results"]

They keep nothing but the last result. `ls.train` records the same search as a run that can be resumed and verified.
"""

from __future__ import annotations

import logging
import math
import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from lockstep.bootstrap import executor_of
from lockstep.core.errors import InputError, SpaceError
from lockstep.core.libraries import install_line
from lockstep.core.space import Space
from lockstep.engine.metrics import COUNTS, Metric
from lockstep.faces.evaluation import Setting, evaluation
from lockstep.faces.importance import importance
from lockstep.runs.seeds import DEFAULT_SEED
from lockstep.search.grid import GridProposer
from lockstep.search.loop import Evaluation, JudgedBatch, trials
from lockstep.search.objective import (
    DEFAULT_MIN_TRADES,
    Cause,
    Judge,
    ObjectiveFunction,
    Tally,
    no_valid_trial,
)
from lockstep.search.proposer import Proposer
from lockstep.search.sampled import RandomProposer

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from lockstep.runs.executor import Executor

Progress = Callable[[int, int, str], None]

BATCH: Final = 1024
_LOG = logging.getLogger(__name__)


class GridTooLargeWarning(UserWarning):
    """A grid has more than 10,000 combinations (R4.35)."""


class ParameterOptimizer(ABC):
    """Base of the optimizers: one `optimize`, one form of result, helpers on the last result.

    verbose  log progress at INFO of the logger `lockstep.faces.optimizers`
    """

    name: ClassVar[str]
    """Value of the result's key "optimizer"."""

    def __init__(self, *, verbose: bool = True) -> None:
        self.verbose = verbose
        self.results: dict[str, Any] | None = None
        """Result of the last `optimize`; None before the first."""

    @abstractmethod
    def optimize(
        self,
        backtest_engine: Any,
        data: Any,
        strategy_class: Any,
        parameter_space: Space | Mapping[str, Any] | None = None,
        objective: str | ObjectiveFunction = "sharpe_ratio",
        min_trades: int = DEFAULT_MIN_TRADES,
        progress_callback: Progress | None = None,
        n_jobs: int | None = None,
    ) -> dict[str, Any]:
        """Search; see `RandomSearchOptimizer.optimize` for arguments and result. Subclasses add keywords."""

    def _search(
        self,
        proposer: Proposer,
        setting: Setting,
        judge: Judge,
        *,
        n_jobs: int,
        executor: Executor | None,
        progress_callback: Progress | None,
    ) -> dict[str, Any]:
        """Search until there is nothing more to propose; the result that `RandomSearchOptimizer.optimize` describes."""
        for note in proposer.notes:
            warnings.warn(note, GridTooLargeWarning if self.name == "grid_search" else UserWarning, stacklevel=4)
        total = proposer.size or 0
        tally, table = Tally(), _Table(proposer.space)
        own = executor is None and n_jobs > 1
        pool = executor_of(n_jobs) if own else executor
        try:
            with evaluation(setting, pool) as evaluate:
                if progress_callback is not None:
                    progress_callback(0, total, "optimization")
                for done in trials(proposer, judge, evaluate, tally=tally, batch_size=BATCH):
                    table.add(done)
                    if progress_callback is not None:
                        progress_callback(min(tally.total + proposer.duplicates, total), total, "optimization")
                    if self.verbose:
                        _LOG.info("%s: %d of %d trials, %d valid", self.name, tally.total, total, tally.valid)
        finally:
            if own and pool is not None:
                pool.close()
        if tally.best is None:
            raise no_valid_trial(tally, judge, setting.reach())
        self.results = self._result(tally, table, judge, proposer.duplicates)
        return self.results

    def _result(self, tally: Tally, table: _Table, judge: Judge, duplicates: int) -> dict[str, Any]:
        best = tally.best or {}
        values, scores = table.joined("value"), table.joined("score")
        valid = np.isfinite(scores)
        top = float(np.percentile(scores[valid], 90.0))
        # Back from score to value: minimising turns the sign.
        sign = 1.0 if judge.direction == "maximize" else -1.0
        frontier = np.fmax.accumulate(np.where(valid, scores, -np.inf))
        counted = "total_combinations_tested" if self.name == "grid_search" else "total_iterations"
        stats = {
            counted: tally.total,
            "valid_configurations": tally.valid,
            "best_objective": best["objective"],
            "worst_objective": sign * float(scores[valid].min()),
            "mean_objective": float(values[valid].mean()),
            "median_objective": float(np.median(values[valid])),
            "std_objective": float(values[valid].std()),
            "top_10_pct_threshold": sign * top,
            "configurations_above_threshold": int((scores[valid] >= top).sum()),
            "convergence_curve": [sign * number if math.isfinite(number) else None for number in frontier.tolist()],
            "invalid_configurations": dict(tally.causes),
            "duplicates": duplicates,
        }
        return {
            "best_parameters": best["parameters"],
            "best_score": best["objective"],
            "best_metrics": best["metrics"],
            "best_index": best["index"],
            "all_results": table.frame(),
            "search_stats": stats,
            "optimizer": self.name,
            "total_evaluations": tally.total,
            "valid_evaluations": tally.valid,
            "first_error": tally.first_error,
        }

    def _last(self, results: Mapping[str, Any] | None) -> Mapping[str, Any]:
        search = self.results if results is None else results
        if search is None:
            raise InputError("there is no result yet: call optimize first, or pass what it returned as results=...")
        return search

    def get_top_n_configs(self, n: int = 10, results: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """The `n` best valid trials, best first: index, parameters, objective_value, metrics."""
        search = self._last(results)
        table: pd.DataFrame = search["all_results"]
        valid = table[table["cause"] == Cause.VALID.label]
        # A stable sort keeps the lower index first among equals.
        order = np.argsort(-valid["score"].to_numpy(), kind="stable")[: max(n, 0)]
        names = list(search["best_parameters"])
        return [
            {
                "index": int(valid.index[i]),
                "parameters": {name: _item(valid[name].iloc[i]) for name in names},
                "objective_value": float(valid["objective_value"].iloc[i]),
                "metrics": {str(metric): _number(metric, valid[f"metric_{metric}"].iloc[i]) for metric in Metric},
            }
            for i in order
        ]

    def analyze_parameter_importance(self, results: Mapping[str, Any] | None = None) -> dict[str, float]:
        """Share of each parameter in the objective of the valid trials; non-negative, sums to 1 (R4.37).

        Absolute correlation with the objective, for text and true/false the correlation ratio, normalised. A screen,
        not a proof: it sees one parameter at a time. Equal shares where no parameter correlates.
        """
        search = self._last(results)
        table: pd.DataFrame = search["all_results"]
        valid = table[table["cause"] == Cause.VALID.label]
        columns = {name: valid[name].to_numpy() for name in search["best_parameters"]}
        return importance(columns, valid["objective_value"].to_numpy(dtype=np.float64))

    def convergence(self, results: Mapping[str, Any] | None = None) -> dict[str, list[Any]]:
        """Columns of a convergence plot: trial index, objective (None where not valid), best so far."""
        search = self._last(results)
        table: pd.DataFrame = search["all_results"]
        valid = table["cause"] == Cause.VALID.label
        values = [float(v) if ok else None for v, ok in zip(table["objective_value"], valid, strict=True)]
        return {
            "trial": list(range(len(table))),
            "objective": values,
            "best_so_far": list(search["search_stats"]["convergence_curve"]),
        }


class GridSearchOptimizer(ParameterOptimizer):
    """Every combination of a finite space (R4.2). Needs no seed; warns above 10,000 combinations."""

    name = "grid_search"

    def optimize(
        self,
        backtest_engine: Any,
        data: Any,
        strategy_class: Any,
        parameter_space: Space | Mapping[str, Any] | None = None,
        objective: str | ObjectiveFunction = "sharpe_ratio",
        min_trades: int = DEFAULT_MIN_TRADES,
        progress_callback: Progress | None = None,
        n_jobs: int | None = 1,
        *,
        direction: str = "maximize",
        constraints: Sequence[str] = (),
        executor: Executor | None = None,
    ) -> dict[str, Any]:
        """Try every combination; arguments as in `RandomSearchOptimizer.optimize`, result as there.

        Raises SpaceError (a ValueError) naming a parameter whose range is continuous and has no step.
        """
        setting = Setting.of(backtest_engine, data, strategy_class, parameter_space)
        judge = Judge.make(objective, direction=direction, constraints=constraints, min_trades=min_trades)
        return self._search(
            GridProposer(setting.space),
            setting,
            judge,
            n_jobs=usable_workers(n_jobs),
            executor=executor,
            progress_callback=progress_callback,
        )


class RandomSearchOptimizer(ParameterOptimizer):
    """Random search: independent draws from the space, each evaluated once.

    Bergstra and Bengio, "Random Search for Hyper-Parameter Optimization", Journal of Machine Learning Research 13
    (2012) 281-305: where few of many parameters matter, random draws try more different values of each of them than a
    grid of the same size.

    seed  the same seed gives the same sets, on every market (R4.38); None is the default seed 42, and 0 is a seed
    """

    name = "random_search"

    def __init__(self, seed: int | None = None, *, verbose: bool = True) -> None:
        super().__init__(verbose=verbose)
        self.seed = DEFAULT_SEED if seed is None else seed

    def optimize(
        self,
        backtest_engine: Any,
        data: Any,
        strategy_class: Any,
        parameter_space: Space | Mapping[str, Any] | None = None,
        objective: str | ObjectiveFunction = "sharpe_ratio",
        min_trades: int = DEFAULT_MIN_TRADES,
        progress_callback: Progress | None = None,
        n_jobs: int | None = None,
        *,
        n_iterations: int = 100,
        direction: str = "maximize",
        constraints: Sequence[str] = (),
        executor: Executor | None = None,
    ) -> dict[str, Any]:
        """Draw `n_iterations` sets, drop repeated ones, evaluate the rest.

        backtest_engine    a `BacktestEngine`: capital, costs, risk, fill rule
        data               a frame of candles, or ls.Candles (n bars)
        strategy_class     a built-in name, an ls.Strategy, a face such as LiquiditySweepStrategy, or any class made
                           from a dict of parameters that has `generate_signals(data)`
        parameter_space    notation of `Space.parse` or an ls.Space; None takes the strategy's own
        objective          a metric's name, or a function of a trial's metrics (name -> number or None)
        min_trades         trials with fewer trades are counted, but never best
        progress_callback  called with (trials done, trials in all, "optimization")
        n_jobs             processes; None and -1 are the usable cores less a reserve. It never changes the result.
        n_iterations       draws
        direction, constraints   "maximize" or "minimize"; bounds such as "max_drawdown_pct >= -20"
        executor           workers to use instead of own ones

        Returns the dict of R4.33: best_parameters, best_score, best_metrics, all_results (a frame with one row per
        trial: parameters, metric_*, objective_value, score, cause), search_stats, optimizer, total_evaluations,
        valid_evaluations. Raises NoValidTrialError (a ValueError) with counts by cause, SpaceError, StrategyError.
        """
        setting = Setting.of(backtest_engine, data, strategy_class, parameter_space)
        judge = Judge.make(objective, direction=direction, constraints=constraints, min_trades=min_trades)
        return self._search(
            RandomProposer(setting.space, n_iterations=n_iterations, seed=self.seed),
            setting,
            judge,
            n_jobs=usable_workers(n_jobs),
            executor=executor,
            progress_callback=progress_callback,
        )


def usable_workers(n_jobs: int | None) -> int:
    """Processes for `n_jobs`; None and -1: the usable cores less a reserve (1, or 2 from 16 cores up), at least 1."""
    if n_jobs is None or n_jobs == -1:
        cores = len(os.sched_getaffinity(0))
        return max(cores - (2 if cores >= 16 else 1), 1)
    if isinstance(n_jobs, bool) or not isinstance(n_jobs, int) or n_jobs < 1:
        raise InputError(f"n_jobs is a whole number above 0, or -1 or None for the usable cores; found {n_jobs!r}")
    return n_jobs


class _Table:
    """Rows of all trials, collected batch by batch. Raises SpaceError for a parameter called like another column."""

    def __init__(self, space: Space) -> None:
        taken = {"objective_value", "score", "cause", *(f"metric_{metric}" for metric in Metric)} & set(space)
        if taken:
            raise SpaceError(
                f"parameter {min(taken)!r}: the table of results has a column of that name; rename the parameter, or "
                "use ls.train"
            )
        self._space = space
        self._parts: dict[str, list[NDArray[Any]]] = {}

    def add(self, done: JudgedBatch[Evaluation]) -> None:
        """Append the rows of a batch (n rows)."""
        judged = done.judged
        columns = {f"parameter.{name}": column for name, column in done.batch.columns.items()}
        columns |= {"metrics": done.evaluation.metrics, "value": judged.value}
        columns |= {"score": judged.score, "cause": judged.cause}
        for name, column in columns.items():
            self._parts.setdefault(name, []).append(column)

    def joined(self, name: str) -> NDArray[Any]:
        """One column over all trials."""
        return np.concatenate(self._parts[name])

    def frame(self) -> pd.DataFrame:
        """Parameters, metric_*, objective_value, score, cause; one row per trial, its index the trial's."""
        try:
            import pandas as pd
        except ImportError as error:
            raise InputError(
                f"the optimizer classes return pandas frames, and pandas is not installed: {install_line('pandas')}, "
                "or use ls.train"
            ) from error
        metrics = self.joined("metrics")
        columns: dict[str, Any] = {name: self.joined(f"parameter.{name}") for name in self._space}
        columns |= {f"metric_{metric}": metrics[:, place] for place, metric in enumerate(Metric)}
        columns["objective_value"] = self.joined("value")
        columns["score"] = self.joined("score")
        columns["cause"] = [Cause(int(cause)).label for cause in self.joined("cause")]
        return pd.DataFrame(columns)


def _item(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _number(metric: Metric, value: float) -> float | int | None:
    if math.isnan(value):
        return None
    return int(value) if metric in COUNTS else float(value)
