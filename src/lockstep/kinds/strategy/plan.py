"""Everything a strategy search needs, resolved: the same from a spec (prepare) and from a run's folder (restore)."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lockstep.core.errors import DataError, InputError, SpaceError, StrategyError
from lockstep.core.space import Columns, Space
from lockstep.engine.costs import Costs
from lockstep.engine.metrics import Metric
from lockstep.engine.settings import Execution
from lockstep.kinds.shared.market_data import Pinned
from lockstep.kinds.strategy.spec import StrategySpec
from lockstep.market.candles import Candles
from lockstep.search.objective import Judge, Reach
from lockstep.search.proposer import Proposer
from lockstep.search.proposers import proposer_of
from lockstep.strategies.base import Strategy
from lockstep.strategies.compiled import CompiledStrategy
from lockstep.strategies.evaluate import Evaluator
from lockstep.strategies.task import SweepTask, sweep_task
from lockstep.validation.branches import admits, corner_sets

if TYPE_CHECKING:
    from lockstep.storage.blobs import BlobStore

COMPILED_CHUNK: Final = 256
PLAIN_CHUNK: Final = 16
"""Sets in a task of an executor. Constants, so that the number of workers changes nothing. A plain strategy takes
milliseconds to seconds for a set, so small tasks keep all workers busy to the end."""


@dataclass(frozen=True, kw_only=True, eq=False)
class StrategyPlan:
    """The payload of a prepared search.

    spec       resolved: the space filled in, files without folders
    pinned     all candles, the held-out bars included
    strategy   built in, or loaded from the source that the run stores
    space      parameters that are searched, ordered by name
    fixed      values of parameters that are not searched
    bars       rows [start, stop) of the candles; the search sees no others
    blobs      from which workers read the candles
    """

    spec: StrategySpec
    pinned: Pinned
    strategy: Strategy
    space: Space
    fixed: Mapping[str, Any]
    judge: Judge
    costs: Costs
    execution: Execution
    bars: tuple[int, int]
    blobs: BlobStore

    def with_spec(self, spec: StrategySpec) -> StrategyPlan:
        """The same plan under its resolved spec."""
        return replace(self, spec=spec)

    def window(self, start: int, stop: int) -> StrategyPlan:
        """The same search over bars [start, stop) of the pinned candles only; warm-up takes the first of them.

        `strategies.window.trade_window` runs a set of this search on later bars. Raises InputError.
        """
        # Two bars at least: a decision and a fill.
        if not 0 <= start < stop - 1 < len(self.pinned.candles):
            raise InputError(
                f"a window to search holds two bars of the {len(self.pinned.candles)} there are; found {start} to "
                f"{stop}"
            )
        return replace(self, bars=(start, stop))

    @property
    def candles(self) -> Candles:
        """The candles that are searched."""
        return self.pinned.candles.slice(*self.bars)

    @property
    def search_bars(self) -> int:
        """Number of bars that are searched."""
        start, stop = self.bars
        return stop - start

    @property
    def trial_bytes(self) -> int:
        """Bytes of a trial's row on disk: metrics, objective, index, two sums per block, the parameters, 8 each; the
        cause, 1."""
        return 8 * (len(Metric) + 2 + 2 * self.execution.blocks + len(self.space)) + 1

    @property
    def chunk(self) -> int:
        """Number of sets in a task of the executor."""
        return COMPILED_CHUNK if isinstance(self.strategy, CompiledStrategy) else PLAIN_CHUNK

    def proposer(self) -> Proposer:
        """A new proposer before its first set. Raises SpaceError."""
        search = self.spec.search
        return proposer_of(search.optimizer, self.space, {**dict(search), "seed": self.spec.seed})

    def complete(self, columns: Columns) -> Columns:
        """Searched columns (n,) with fixed values and defaults added: every parameter of the strategy."""
        return complete(self.strategy, self.fixed, columns)

    def reach(self) -> Reach:
        """The bars to search beside the warm-up of the sets in the corners of the space."""
        warm = []
        for params in corner_sets(self.strategy, self.space, self.fixed):
            # A set whose warm-up fails is counted by the questions about look-ahead, and by the search.
            with contextlib.suppress(StrategyError):
                if admits(self.strategy, params):
                    warm.append(self.strategy.warm_bars(params))
        return Reach(bars=self.search_bars, shortest=min(warm, default=0), longest=max(warm, default=0))

    def evaluator(self) -> Evaluator:
        """The engine over the searched candles."""
        return Evaluator(
            self.strategy, self.candles, costs=self.costs, execution=self.execution, inputs=self.pinned.inputs
        )

    def task(self) -> SweepTask:
        """The task of workers: evaluate a chunk of complete columns."""
        return sweep_task(
            self.strategy,
            self.candles,
            blobs=self.blobs,
            costs=self.costs,
            execution=self.execution,
            inputs=self.pinned.inputs,
        )


def plan_of(
    spec: StrategySpec,
    pinned: Pinned,
    *,
    strategy: Strategy,
    judge: Judge,
    blobs: BlobStore,
) -> StrategyPlan:
    """Check that strategy, space, fixed values, costs and bars fit together. Raises the InputError tree."""
    space = space_of(spec, strategy)
    fixed = dict(spec.strategy.parameters)
    # One set, decoded and completed: a fixed value of a wrong kind is refused now and not at the first trial.
    complete(strategy, fixed, space.decode(np.zeros((1, len(space)))))
    holdout = spec.validation.holdout_bars
    if len(pinned.candles) - holdout < 2:
        raise DataError(
            f"validation.holdout_bars = {holdout} leaves {max(len(pinned.candles) - holdout, 0)} of "
            f"{len(pinned.candles)} candles to search: hold out fewer"
        )
    plan = StrategyPlan(
        spec=spec,
        pinned=pinned,
        strategy=strategy,
        space=space,
        fixed=fixed,
        judge=judge,
        costs=spec.costs_for(pinned.candles.symbol),
        execution=spec.execution_settings(),
        bars=(0, len(pinned.candles) - holdout),
        blobs=blobs,
    )
    plan.proposer()  # raises for a grid over a continuous range, before anything is written
    return plan


def space_of(spec: StrategySpec, strategy: Strategy) -> Space:
    """The space of the search, ordered by name. Raises SpaceError, StrategyError."""
    if spec.strategy.space is not None:
        space = Space.parse(spec.strategy.space)
    else:
        # A parameter with a fixed value is not searched, though the strategy's own space has it.
        space = Space({name: d for name, d in strategy.space.items() if name not in spec.strategy.parameters})
        if not space:
            raise SpaceError(f"{strategy.name} has no parameter left to search: add [strategy.space]")
    # Before the first trial: all of them would fail in the same way.
    unknown = [name for name in space if name not in strategy.parameter_names()]
    if unknown:
        names = ", ".join(strategy.parameter_names()) or "none"
        raise StrategyError(f"[strategy.space] {unknown[0]}: {strategy.name} has no such parameter; it has {names}")
    # By name, whatever the file's order: the order decides which draw belongs to which parameter.
    return Space({name: space[name] for name in sorted(space)})


def complete(strategy: Strategy, fixed: Mapping[str, Any], columns: Columns) -> Columns:
    """Searched columns (n,) with fixed values and defaults added. Raises SpaceError naming the parameter."""
    count = len(next(iter(columns.values())))
    whole: Columns = dict(columns)
    for name, value in fixed.items():
        # Text needs columns of objects: NumPy's own text has a fixed length.
        whole[name] = np.full(count, value, dtype=object if isinstance(value, str) else None)
    return strategy.columns(whole)
