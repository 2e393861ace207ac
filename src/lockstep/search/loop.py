"""The search loop, the only one: ask -> evaluate -> judge -> tell -> tally.

    for done in trials(proposer, judge, evaluate, tally=tally, batch_size=1024):
        ...                     # the state of proposer and tally is the one after this batch

A run records each batch as a step, an optimizer class keeps it as rows of a table; whatever else searches (a window of
a walk-forward, a twin made of noise, a member of an ensemble) goes through here as well. Nobody keeps a cursor of the
loop: proposer and tally hold all of it, so a search goes on where their states are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from lockstep.core.space import Columns
from lockstep.search.objective import Judge, Judged, Tally
from lockstep.search.proposer import Batch, Proposer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Evaluation(Protocol):
    """Metrics of a batch of n parameter sets, before anybody judges them; rows in the order of the sets."""

    @property
    def metrics(self) -> NDArray[np.float64]:
        """float64 (n, len(Metric)), NaN where a metric is undefined or the set was not evaluated."""
        ...

    @property
    def errors(self) -> Mapping[int, str]:
        """Row -> message, of sets whose strategy failed."""
        ...

    @property
    def not_evaluated(self) -> NDArray[np.bool_] | None:
        """bool (n,): the set breaks a constraint of the strategy itself; None where none does."""
        ...


E = TypeVar("E", bound=Evaluation)


@dataclass(frozen=True, kw_only=True, eq=False)
class JudgedBatch(Generic[E]):
    """A batch that was asked for, evaluated, judged and told back. `evaluation` is what `evaluate` returned of it."""

    batch: Batch
    evaluation: E
    judged: Judged


def trials(
    proposer: Proposer, judge: Judge, evaluate: Callable[[Columns], E], *, tally: Tally, batch_size: int
) -> Iterator[JudgedBatch[E]]:
    """Search from the present state of `proposer` until it has no more trials; yields after each batch.

    evaluate    from the searched columns of n sets (`Batch.columns`) to their metrics
    tally       counts every batch, before it is yielded
    batch_size  trials asked for at a time; a batch may be shorter, the last one or where proposers say so

    Whatever `evaluate` raises passes through. The proposer has then handed out a batch that nobody told back: go on
    from a state that was taken before, in which the batch was never asked for.
    """
    while len(batch := proposer.ask(batch_size)):
        evaluation = evaluate(batch.columns)
        judged = judge.judge(evaluation.metrics, errors=evaluation.errors, not_evaluated=evaluation.not_evaluated)
        # Both before the yield: whoever stores a state then stores one that holds this batch.
        proposer.tell(batch, judged.score)
        tally.add(batch.start, batch.columns, evaluation.metrics, judged)
        yield JudgedBatch(batch=batch, evaluation=evaluation, judged=judged)
