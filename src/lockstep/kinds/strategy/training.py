"""A parameter search as a `Training`: one step is one batch of trials.

    the search loop (`search.loop`), evaluating in chunks through the executor -> one step for each batch

The rows of a step go to the segment `trials`, once: index, cause, objective, each parameter, each metric, and per block
of bars Σ r and Σ r² (the number of bars in a block is the same for all trials and stands in the result). Memory holds
the tally only: counts, the best trial, the first failure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lockstep.core.space import Columns, Space
from lockstep.engine.metrics import COUNTS, Metric
from lockstep.engine.renamed import EDITIONS
from lockstep.kinds.strategy.plan import StrategyPlan
from lockstep.kinds.strategy.result import finish
from lockstep.runs.kind import silent
from lockstep.runs.training import Result, Step
from lockstep.search.loop import JudgedBatch, trials
from lockstep.search.objective import Tally, no_valid_trial
from lockstep.search.trial_columns import coded
from lockstep.strategies.evaluate import Evaluated, join
from lockstep.strategies.task import SweepTask

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.runs.executor import Executor
    from lockstep.search.proposer import Batch

SEGMENT: Final = "trials"
COLUMN_EDITIONS: Final = {SEGMENT: {f"metric.{name}": edition for name, edition in EDITIONS.items()}}
"""Which columns of a trial mean something else than in the first release."""


class StrategyTraining:
    """The training of `kind = "strategy"`."""

    def __init__(self, plan: StrategyPlan, executor: Executor, tell: Callable[[str], None] = silent) -> None:
        """`tell` takes lines about the questions that `finish` puts to the winner."""
        self._plan = plan
        self._tell = tell
        self._executor = executor
        self._proposer = plan.proposer()
        self._tally = Tally()
        self._next = 0

    @property
    def total_steps(self) -> int | None:
        """Number of batches; a random search that draws duplicates makes fewer."""
        size = self._proposer.size
        return None if size is None else -(-size // self._plan.spec.search.batch_size)

    def steps(self) -> Iterator[Step]:
        """One step for each batch, from the present state on."""
        task = self._plan.task()
        batches = trials(
            self._proposer,
            self._plan.judge,
            lambda columns: self._evaluate(task, columns),
            tally=self._tally,
            batch_size=self._plan.spec.search.batch_size,
        )
        for done in batches:
            # Before the yield: the loop takes the state while this step is its last.
            index, self._next = self._next, self._next + 1
            yield Step(
                index=index,
                scalars=self._scalars(done.batch),
                segments={SEGMENT: trial_columns(self._plan.space, done)},
                editions=COLUMN_EDITIONS,
            )

    def get_state(self) -> Mapping[str, Any]:
        """Cursor, tally and the proposer's own state."""
        return {"next": self._next, "tally": self._tally.to_json(), "proposer": dict(self._proposer.get_state())}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue after the step that `state` was taken at."""
        self._next = int(state["next"])
        self._tally = Tally.from_json(state["tally"])
        # A new one, since a proposer that has drawn already cannot be put back.
        self._proposer = self._plan.proposer()
        self._proposer.set_state(state["proposer"])

    def finish(self) -> Result:
        """The winner, run again and compared to the last bit, asked for look-ahead, and its baselines.

        Raises NoValidTrialError, NotEqualError, LookAheadError.
        """
        # Only at the end: which rule left nothing is known when all trials are counted.
        if self._tally.best is None:
            raise no_valid_trial(self._tally, self._plan.judge, self._plan.reach())
        return finish(self._plan, self._tally, self._proposer.duplicates, self._tell)

    def _evaluate(self, task: SweepTask, searched: Columns) -> Evaluated:
        """Metrics of a batch, chunk by chunk. The chunks are the same for any number of workers."""
        size = self._plan.chunk
        # Complete sets travel to workers, so that they need not know spec or defaults.
        columns = self._plan.complete(searched)
        count = len(next(iter(columns.values())))
        chunks = [
            {name: column[start : start + size] for name, column in columns.items()} for start in range(0, count, size)
        ]
        return join(self._executor.map(task, chunks))

    def _scalars(self, batch: Batch) -> dict[str, Any]:
        best = self._tally.best
        return {
            "first_trial": batch.start,
            "trials": len(batch),
            "total": self._tally.total,
            "valid": self._tally.valid,
            "invalid": {name: count for name, count in self._tally.causes.items() if count},
            "best": None if best is None else {"index": best["index"], "objective": best["objective"]},
        }


def trial_columns(space: Space, done: JudgedBatch[Evaluated]) -> dict[str, NDArray[Any]]:
    """The rows of a batch in the segment `trials` (n rows).

    index int64, cause int8 (`search.objective.Cause`), objective float64 (NaN where undefined); `parameter.NAME` (a
    text choice as the number of its place in the list of choices, int64); `metric.NAME` float64, counts int64 with -1
    for a trial that was not evaluated; block_r1, block_r2 float64 (n, blocks).
    """
    batch, evaluated, judged = done.batch, done.evaluation, done.judged
    columns: dict[str, NDArray[Any]] = {
        "index": np.arange(batch.start, batch.stop, dtype=np.int64),
        "cause": judged.cause,
        "objective": judged.value,
    }
    columns |= {f"parameter.{name}": column for name, column in coded(space, batch.columns).items()}
    for place, metric in enumerate(Metric):
        # Counts are stored as integers, whose columns have no NaN: -1 stands for "not evaluated".
        values = evaluated.result.metrics[:, place]
        if metric in COUNTS:
            values = np.where(np.isnan(values), -1.0, values).astype(np.int64)
        columns[f"metric.{metric}"] = np.ascontiguousarray(values)
    columns["block_r1"] = np.ascontiguousarray(evaluated.result.blocks[:, :, 0])
    columns["block_r2"] = np.ascontiguousarray(evaluated.result.blocks[:, :, 1])
    return columns
