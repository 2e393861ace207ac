# ruff: noqa: S101 - these are tests
"""What every proposer must do, as tests: subclass `ProposerContract`, say how to make yours, run pytest.

    class TestMine(ProposerContract):
        def make(self, seed):
            return MyProposer(self.space, seed=seed)

`make(seed)` returns a new proposer of the same configuration each time, with at least 24 trials. The suite then plays
searches against it with a deterministic made-up score.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from lockstep.core import canonical
from lockstep.core.errors import InputError
from lockstep.core.space import Space
from lockstep.search.proposer import Batch, Proposer

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: A space with every kind of dimension, finite enough for a grid.
FINITE_SPACE = Space.parse(
    {
        "whole": (1, 4),
        "text": ["fast", "slow"],
        "real": {"low": 0.1, "high": 0.5, "step": 0.1},
        "flag": [True, False],
    }
)
#: The same with continuous and logarithmic dimensions.
OPEN_SPACE = Space.parse(
    {
        "whole": (1, 400),
        "text": ["fast", "slow"],
        "real": (-1.0, 1.0),
        "log": {"low": 1e-6, "high": 1e-2, "log": True},
    }
)


def scores_of(batch: Batch) -> NDArray[np.float64]:
    """A made-up score per trial from its values; every seventh trial is not valid."""
    score = np.zeros(len(batch))
    for name, column in batch.columns.items():
        numbers = [float(len(v)) if isinstance(v, str) else float(v) for v in column.tolist()]
        score += np.array(numbers) * (1.0 + len(name) / 10.0)
    score[(np.arange(batch.start, batch.stop) % 7) == 3] = np.nan
    return score


def play(proposer: Proposer, batch_size: int, limit: int | None = None) -> list[dict[str, Any]]:
    """All parameter sets of a search in batches of `batch_size`, at most `limit` of them."""
    rows: list[dict[str, Any]] = []
    while limit is None or len(rows) < limit:
        batch = proposer.ask(batch_size if limit is None else min(batch_size, limit - len(rows)))
        if not len(batch):
            break
        rows += list(batch.rows())
        proposer.tell(batch, scores_of(batch))
    return rows


class ProposerContract(ABC):
    """Tests of one proposer; a subclass defines `make` only."""

    batch_size: ClassVar[int] = 5
    needs_seed: ClassVar[bool] = True

    @abstractmethod
    def make(self, seed: int) -> Proposer:
        """A new proposer of at least 24 trials."""

    def test_it_satisfies_the_protocol(self) -> None:
        """Every attribute and method is there."""
        if not isinstance(self.make(42), Proposer):
            raise AssertionError("a proposer has all attributes and methods of lockstep.search.proposer.Proposer")

    def test_trials_are_numbered_without_a_hole(self) -> None:
        """Batches follow each other; none is longer than asked, only the last is shorter; then they are empty."""
        proposer = self.make(42)
        following = 0
        lengths = []
        while len(batch := proposer.ask(self.batch_size)):
            assert batch.start == following
            assert list(batch.columns) == list(proposer.space.names)
            following = batch.stop
            lengths.append(len(batch))
            proposer.tell(batch, scores_of(batch))
        assert following >= 24
        assert all(length == self.batch_size for length in lengths[:-1])
        assert proposer.size is None or following + proposer.duplicates <= proposer.size
        assert len(proposer.ask(self.batch_size)) == 0

    def test_every_trial_lies_in_the_space(self) -> None:
        """Values pass the space's own check, as the types it gives."""
        proposer = self.make(42)
        for parameters in play(proposer, self.batch_size):
            assert proposer.space.validate(parameters) == parameters

    def test_the_same_seed_proposes_the_same_trials(self) -> None:
        """R4.13, R4.28, R4.36: also seed 0, also twice in one process."""
        for seed in (0, 42):
            assert play(self.make(seed), self.batch_size) == play(self.make(seed), self.batch_size)

    def test_another_seed_proposes_other_trials(self) -> None:
        """R4.15: seeds 42, 99 and 0 explore different sets (a grid has no seed)."""
        plays = [canonical.dumps(play(self.make(seed), self.batch_size)) for seed in (0, 42, 99)]
        assert len(set(plays)) == (3 if self.needs_seed else 1)

    def test_the_batch_size_changes_nothing_where_nothing_is_learned(self) -> None:
        """A proposer that does not adapt gives trial i the same values in any batch."""
        if self.make(42).adaptive:
            return
        whole = play(self.make(42), self.batch_size)
        assert play(self.make(42), 1) == whole
        assert play(self.make(42), 7) == whole
        assert play(self.make(42), 10_000) == whole

    def test_interrupted_anywhere_it_goes_on_as_if_it_had_not_been(self) -> None:
        """A state taken after any batch, stored as canonical JSON and set in a new proposer, continues the search."""
        whole = play(self.make(42), self.batch_size)
        for batches in range(len(whole) // self.batch_size + 1):
            first = self.make(42)
            head = play(first, self.batch_size, limit=batches * self.batch_size)
            state = canonical.loads(canonical.dumps(first.get_state()))
            second = self.make(42)
            second.set_state(state)
            assert head + play(second, self.batch_size) == whole
            assert second.duplicates == self._duplicates_at_the_end()

    def test_a_batch_asked_and_never_told_is_asked_again(self) -> None:
        """A state describes what was told: workers that died with a batch lose nothing."""
        first = self.make(42)
        finished = first.ask(self.batch_size)
        first.tell(finished, scores_of(finished))
        lost = first.ask(self.batch_size)
        second = self.make(42)
        second.set_state(first.get_state())
        again = second.ask(self.batch_size)
        assert (again.start, list(again.rows())) == (lost.start, list(lost.rows()))

    def test_batches_told_in_another_order_or_shape_are_refused(self) -> None:
        """Results come back in index order, whole."""
        proposer = self.make(42)
        first, second = proposer.ask(self.batch_size), proposer.ask(self.batch_size)
        _refuses(lambda: proposer.tell(second, scores_of(second)))
        _refuses(lambda: proposer.tell(first, scores_of(first)[1:]))
        proposer.tell(first, scores_of(first))
        _refuses(lambda: proposer.tell(first, scores_of(first)))
        proposer.tell(second, scores_of(second))

    def test_asking_for_nothing_is_refused(self) -> None:
        """Zero trials, or half a trial, is a mistake of the caller."""
        for count in (0, -1, 1.5, True):
            _refuses(lambda count=count: self.make(42).ask(count))

    def test_global_generators_are_neither_read_nor_moved(self) -> None:
        """R4.36: NumPy's global state is the same afterwards, and changing it changes nothing."""
        np.random.seed(1)  # noqa: NPY002 - the global generator is what this test is about
        before = np.random.get_state()[1].tolist()  # type: ignore[index] # noqa: NPY002
        first = play(self.make(42), self.batch_size)
        assert np.random.get_state()[1].tolist() == before  # type: ignore[index] # noqa: NPY002
        np.random.seed(2)  # noqa: NPY002
        assert play(self.make(42), self.batch_size) == first

    def test_whoever_remembers_nothing_drops_nothing(self) -> None:
        """Equal sets can be told from new ones by memory alone; estimates of memory rely on it."""
        proposer = self.make(42)
        play(proposer, self.batch_size)
        assert proposer.remembers or proposer.duplicates == 0

    def test_an_intermediate_report_is_answered_yes_or_no(self) -> None:
        """A proposer that does not prune says yes."""
        proposer = self.make(42)
        batch = proposer.ask(self.batch_size)
        assert proposer.report(batch.start, 0, 0.5) in (True, False)

    def test_its_state_stays_small(self) -> None:
        """What grows with the search belongs to the trials, not to the state."""
        proposer = self.make(42)
        play(proposer, self.batch_size)
        assert len(canonical.dumps(proposer.get_state())) < 4096

    def _duplicates_at_the_end(self) -> int:
        proposer = self.make(42)
        play(proposer, self.batch_size)
        return proposer.duplicates


def _refuses(call: Any) -> None:
    try:
        call()
    except InputError:
        return
    raise AssertionError("the proposer accepted what it has to refuse with an InputError")
