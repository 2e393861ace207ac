"""A sweep: one strategy with many sets of parameters over one market, here or in worker processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from lockstep.core.errors import SpaceError
from lockstep.core.space import Columns
from lockstep.engine.costs import Costs
from lockstep.engine.settings import Execution, settled
from lockstep.market.candles import Candles, require_candles
from lockstep.storage.blobs import FolderBlobStore
from lockstep.strategies.base import ParameterSets, Strategy
from lockstep.strategies.evaluate import CHUNK, Evaluated, Evaluator, OnError, Sweep, join
from lockstep.strategies.inputs import Series
from lockstep.strategies.parameter_sets import sets_of
from lockstep.strategies.registry import Reference, lookup
from lockstep.strategies.task import sweep_task

if TYPE_CHECKING:
    from lockstep.runs.executor import Executor


def sweep(
    candles: Candles,
    strategy: Reference,
    parameter_sets: ParameterSets,
    *,
    costs: Costs | None = None,
    execution: Execution | None = None,
    detail: Candles | None = None,
    inputs: Mapping[str, Series] | None = None,
    executor: Executor | None = None,
    on_error: OnError = "raise",
    progress: Callable[[int], None] | None = None,
) -> Sweep:
    """Run one strategy with k sets of parameters; everything else as for `backtest`.

    parameter_sets  a mapping of lists, which is their grid: {"fast": [10, 20], "slow": [50, 100]} is four sets;
                    `ls.columns(fast=[10, 20], slow=[50, 100])`, a frame, `Space.grid_rows` or `Space.decode`, which
                    are one set per row; or a list of dicts
    executor        does chunks of CHUNK sets in worker processes; the result is the same without
    on_error        "raise" or "record": what happens to a set whose strategy fails
    progress        called with the number of sets done
    """
    require_candles(candles)
    costs, execution = settled(costs, execution)
    rule = lookup(strategy)
    if not rule.parameter_names():
        raise SpaceError(f"{rule.name} has no parameters, so there is nothing to sweep: use backtest")
    columns = rule.columns(sets_of(parameter_sets))
    # Without a set there is nothing to send anywhere.
    if executor is not None and executor.workers > 1 and len(next(iter(columns.values()))):
        return _sweep_elsewhere(
            candles, rule, columns, executor, progress,
            costs=costs, execution=execution, detail=detail, inputs=inputs, on_error=on_error,
        )  # fmt: skip
    evaluator = Evaluator(rule, candles, costs=costs, execution=execution, detail=detail, inputs=inputs)
    done = evaluator.batch(columns, on_error=on_error, progress=progress)
    return _table(rule, columns, done)


def _table(strategy: Strategy, columns: Columns, done: Evaluated) -> Sweep:
    return Sweep(
        strategy=strategy.name,
        parameters=columns,
        result=done.result,
        not_evaluated=done.not_evaluated,
        errors=done.errors,
    )


def _sweep_elsewhere(
    candles: Candles,
    strategy: Strategy,
    columns: Columns,
    executor: Executor,
    progress: Callable[[int], None] | None,
    **options: Any,
) -> Sweep:
    count = len(next(iter(columns.values())))
    chunks = [{name: column[lo : lo + CHUNK] for name, column in columns.items()} for lo in range(0, count, CHUNK)]
    with TemporaryDirectory(prefix="lockstep-sweep-") as folder:
        task = sweep_task(strategy, candles, blobs=FolderBlobStore(Path(folder)), **options)
        parts: Sequence[Evaluated] = executor.map(task, chunks)
    if progress is not None:
        progress(count)
    return _table(strategy, columns, join(parts))
