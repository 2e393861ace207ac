"""The search loop: what is asked, evaluated, judged and told, in which order, and where it goes on."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray

from lockstep.core.space import Columns, Space
from lockstep.engine.metrics import COLUMN, Metric
from lockstep.search.grid import GridProposer
from lockstep.search.loop import JudgedBatch, trials
from lockstep.search.objective import Cause, Judge, Tally
from lockstep.search.proposer import Batch
from lockstep.search.sampled import RandomProposer

SPACE = Space.parse({"a": (1, 10)})
JUDGE = Judge.make("sharpe_ratio", min_trades=3)


@dataclass(frozen=True)
class Rows:
    """An evaluation by hand: the sharpe ratio is -(a - 7)², trades are a, a = 5 breaks a constraint, a = 9 fails."""

    metrics: NDArray[np.float64]
    errors: dict[int, str]
    not_evaluated: NDArray[np.bool_]


@dataclass
class Strategy:
    """Counts the batches it is asked to evaluate; fails at the batch numbered `breaks`."""

    breaks: int = -1
    asked: list[list[int]] = field(default_factory=list)

    def __call__(self, columns: Columns) -> Rows:
        a = columns["a"]
        if len(self.asked) == self.breaks:
            raise KeyboardInterrupt
        self.asked.append(a.tolist())
        metrics = np.full((len(a), len(Metric)), np.nan)
        metrics[:, COLUMN[Metric.SHARPE_RATIO]] = -((a - 7.0) ** 2)
        metrics[:, COLUMN[Metric.TOTAL_TRADES]] = a
        return Rows(metrics, {int(row): "boom" for row in np.flatnonzero(a == 9)}, a == 5)


def search(proposer: GridProposer, tally: Tally, strategy: Strategy) -> list[JudgedBatch[Rows]]:
    return list(trials(proposer, JUDGE, strategy, tally=tally, batch_size=4))


def test_every_trial_is_evaluated_judged_and_counted_once() -> None:
    """a = 1 ... 10 in batches of 4: 1 and 2 trade too little, 5 is not evaluated, 9 fails; 7 is best, trial 6."""
    strategy, tally = Strategy(), Tally()
    batches = search(GridProposer(SPACE), tally, strategy)
    assert strategy.asked == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10]]
    assert [(done.batch.start, len(done.batch)) for done in batches] == [(0, 4), (4, 4), (8, 2)]
    causes = [Cause(int(cause)) for done in batches for cause in done.judged.cause]
    few, valid = Cause.TOO_FEW_TRADES, Cause.VALID
    assert causes == [few, few, valid, valid, Cause.NOT_EVALUATED, valid, valid, valid, Cause.STRATEGY_ERROR, valid]
    assert (tally.total, tally.valid) == (10, 6)
    assert tally.best is not None
    assert (tally.best["index"], tally.best["parameters"], tally.best["objective"]) == (6, {"a": 7}, 0.0)
    assert tally.first_error == {"trial": 8, "message": "boom"}
    assert batches[0].evaluation.metrics.shape == (4, len(Metric))


def test_when_a_batch_is_handed_out_it_was_told_and_counted() -> None:
    """The states taken between two batches are those after the first: a checkpoint there loses nothing."""
    proposer, tally = GridProposer(SPACE), Tally()
    for done in trials(proposer, JUDGE, Strategy(), tally=tally, batch_size=4):
        assert proposer.get_state() == {"told": done.batch.stop}
        assert tally.total == done.batch.stop


def test_scores_are_told_as_judged() -> None:
    """A proposer that learns gets what the judge made of the metrics: NaN for a trial that may not win."""

    class Listening(GridProposer):
        def __init__(self, space: Space) -> None:
            super().__init__(space)
            self.scores: list[float] = []

        def tell(self, batch: Batch, scores: NDArray[np.float64]) -> None:
            super().tell(batch, scores)
            self.scores += scores.tolist()

    proposer = Listening(SPACE)
    search(proposer, Tally(), Strategy())
    assert [a for a, score in zip(range(1, 11), proposer.scores, strict=True) if score != score] == [1, 2, 5, 9]
    assert proposer.scores[2:4] == [-16.0, -9.0]


def test_a_batch_whose_evaluation_is_broken_off_counts_as_never_asked() -> None:
    proposer, tally = GridProposer(SPACE), Tally()
    with pytest.raises(KeyboardInterrupt):
        search(proposer, tally, Strategy(breaks=1))
    assert (proposer.get_state(), tally.total) == ({"told": 4}, 4)


def test_it_goes_on_where_the_states_of_proposer_and_tally_are() -> None:
    whole, tally = Strategy(), Tally()
    search(GridProposer(SPACE), tally, whole)
    first, half = GridProposer(SPACE), Tally()
    next(trials(first, JUDGE, Strategy(), tally=half, batch_size=4))
    second, rest = GridProposer(SPACE), Strategy()
    second.set_state(first.get_state())
    going_on = Tally.from_json(half.to_json())
    search(second, going_on, rest)
    assert rest.asked == whole.asked[1:]
    assert going_on == tally


def test_a_proposer_that_drops_equal_draws_ends_early() -> None:
    proposer, tally = RandomProposer(SPACE, n_iterations=200, seed=1), Tally()
    batches = list(trials(proposer, JUDGE, Strategy(), tally=tally, batch_size=64))
    assert sum(len(done.batch) for done in batches) == tally.total == 10  # 200 draws of 10 values
