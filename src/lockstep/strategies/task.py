"""Evaluating parameter sets in worker processes.

A task travels with every item, so it holds references only: candles by the digest of a snapshot, which each worker
maps into memory once. A strategy from a file travels as its source; any other by its import path.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from lockstep.core.hashing import blake3_hex, digest_columns
from lockstep.core.space import Columns
from lockstep.engine.costs import Costs
from lockstep.engine.settings import Execution
from lockstep.market.candles import Candles
from lockstep.market.snapshot import open_snapshot, write_snapshot
from lockstep.strategies.base import Strategy
from lockstep.strategies.evaluate import Evaluated, Evaluator, OnError
from lockstep.strategies.inputs import Events, Series
from lockstep.strategies.registry import Reference, Source, kept_source, load_source

if TYPE_CHECKING:
    from lockstep.storage.blobs import BlobStore


@dataclass(frozen=True, kw_only=True)
class SweepTask:
    """Evaluates columns of parameter sets (`runs.executor.Task`). Made by `sweep_task`."""

    key: str
    strategy: Strategy | Source
    blobs: BlobStore
    candles: str
    detail: str | None
    inputs: Mapping[str, str | Events]
    costs: Costs | None
    execution: Execution | None
    on_error: OnError
    # Each worker makes its own at the first call. A list, since the dataclass is frozen; it is never sent.
    _evaluators: list[Evaluator] = field(default_factory=list, repr=False, compare=False)

    def __call__(self, columns: Columns, /) -> Evaluated:
        """Metrics of the sets in `columns` (complete, as `Strategy.columns` makes them)."""
        if not self._evaluators:
            self._evaluators.append(self._evaluator())
        return self._evaluators[0].batch(columns, on_error=self.on_error)

    def _evaluator(self) -> Evaluator:
        def opened(digest: str) -> Candles:
            return open_snapshot(self.blobs, digest)

        strategy = load_source(self.strategy) if isinstance(self.strategy, Source) else self.strategy
        inputs: dict[str, Series] = {
            name: series if isinstance(series, Events) else opened(series) for name, series in self.inputs.items()
        }
        return Evaluator(
            strategy,
            opened(self.candles),
            costs=self.costs,
            execution=self.execution,
            detail=None if self.detail is None else opened(self.detail),
            inputs=inputs,
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_evaluators": []}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


def sweep_task(
    strategy: Reference,
    candles: Candles,
    *,
    blobs: BlobStore,
    costs: Costs | None = None,
    execution: Execution | None = None,
    detail: Candles | None = None,
    inputs: Mapping[str, Series] | None = None,
    on_error: OnError = "record",
) -> SweepTask:
    """A task for `executor.map(task, chunks)`, each chunk complete columns. Writes the snapshots that are missing.

    Raises as `Evaluator` does where the arguments cannot be used, so that the error comes here and not out of a worker.
    """
    evaluator = Evaluator(strategy, candles, costs=costs, execution=execution, detail=detail, inputs=inputs)
    series = [candles, *([] if detail is None else [detail])]
    series += [item for item in (inputs or {}).values() if isinstance(item, Candles)]
    for item in series:
        write_snapshot(item, blobs)
    travelling = _travelling(evaluator.strategy)
    references = {name: item if isinstance(item, Events) else item.digest for name, item in (inputs or {}).items()}
    parts = [
        _name(travelling),
        candles.digest,
        "" if detail is None else detail.digest,
        *(f"{name}={_digest(item)}" for name, item in (inputs or {}).items()),
        repr(costs),
        repr(execution),
        on_error,
    ]
    return SweepTask(
        key=blake3_hex("\n".join(parts).encode()),
        strategy=travelling,
        blobs=blobs,
        candles=candles.digest,
        detail=None if detail is None else detail.digest,
        inputs=references,
        costs=costs,
        execution=execution,
        on_error=on_error,
        _evaluators=[evaluator],
    )


def _digest(series: Series) -> str:
    if isinstance(series, Candles):
        return series.digest
    return digest_columns({"timestamp": series.timestamp, **series.columns})


def _travelling(strategy: Strategy) -> Strategy | Source:
    """What is sent for `strategy`: its source when it came from a user's file, else itself, pickled by import path.

    A module made from a user's file exists in this process only.
    """
    source = kept_source(strategy)
    return strategy if source is None else source


# Instances that are named by their order of appearance in this process, because nothing else tells them apart.
_NUMBERED: Final[WeakKeyDictionary[Strategy, int]] = WeakKeyDictionary()
_numbers: Final = count()


def _name(strategy: Strategy | Source) -> str:
    """What tells one strategy from all others that this process may send to its workers.

    A class of a notebook may be defined again under its old name, and an instance may carry attributes; a worker must
    not take it for another that it holds already.
    """
    if isinstance(strategy, Source):
        return f"{strategy.digest}:{strategy.class_name}"
    kind = type(strategy)
    name = f"{kind.__module__}:{kind.__qualname__}"
    if kind.__module__.startswith("lockstep."):
        return name
    if strategy not in _NUMBERED:
        _NUMBERED[strategy] = next(_numbers)
    return f"{name}#{_NUMBERED[strategy]}"
