"""Proposers: which parameter sets a search tries next, by ask and tell.

    proposer = RandomProposer(space, n_iterations=200, seed=42)
    while len(batch := proposer.ask(1024)):
        proposer.tell(batch, scores)            # NaN where a trial is not valid

A *trial* is one parameter set with an index 0, 1, 2 ... in the order of proposing. What a proposer gives trial i is a
pure function of its space, its seed and, where it learns (`adaptive`), of the scores of earlier batches. It is never
a function of the number of workers, of time or of a global generator; and where it does not learn, not of the
batch size either. `lockstep.testing.contracts.proposer` checks all of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from lockstep.core.errors import InputError
from lockstep.core.space import Columns, Scalar, Space, row

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """Consecutive trials: `start` is the index of the first, `columns` one array (n,) of values per parameter."""

    start: int
    columns: Columns

    def __post_init__(self) -> None:
        sizes = {column.shape for column in self.columns.values()}
        if len(sizes) != 1 or len(next(iter(sizes))) != 1:
            raise InputError(f"the columns of a batch have one length; found {sizes}")

    def __len__(self) -> int:
        return int(next(iter(self.columns.values())).shape[0])

    @property
    def stop(self) -> int:
        """Index after the last trial."""
        return self.start + len(self)

    def rows(self) -> Iterator[dict[str, Scalar]]:
        """The parameter sets one by one, as plain Python values."""
        return (row(self.columns, i) for i in range(len(self)))


@runtime_checkable
class Proposer(Protocol):
    """Proposes trials. `ask` and `tell` alternate in any rhythm, but batches are told whole and in their order."""

    @property
    def space(self) -> Space:
        """The space that trials are drawn from."""
        ...

    @property
    def size(self) -> int | None:
        """How many trials there will be, or at most be, in all; None where that is open."""
        ...

    @property
    def adaptive(self) -> bool:
        """Whether scores change what comes later."""
        ...

    @property
    def remembers(self) -> bool:
        """Whether it keeps something of every trial in memory, to drop equal ones or to learn from all of them."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know before the start: a grid of a million sets, an unbalanced sequence."""
        ...

    @property
    def duplicates(self) -> int:
        """How many draws were dropped so far because an earlier trial had the same values."""
        ...

    def ask(self, count: int) -> Batch:
        """The next trials, `count` of them or fewer at the end; an empty batch when there are no more."""
        ...

    def tell(self, batch: Batch, scores: NDArray[np.float64]) -> None:
        """Scores (n,) of a batch, higher is better, NaN for a trial that is not valid. Raises InputError."""
        ...

    def report(self, trial: int, step: int, value: float) -> bool:
        """An intermediate value of a trial at `step` (a rung, a fold); False says that the trial may stop there.

        Nothing calls it yet outside the contract suite: the backtests of today have no step between start and end. It
        stands here because pruning by synchronous rungs needs it of every proposer, and an answer that changed what
        `ask` proposes later would change the numbers of proposers that exist.
        """
        ...

    def get_state(self) -> Mapping[str, Any]:
        """State after the last batch told (canonical JSON, small). Batches asked and not told are asked again."""
        ...

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go to a state that `get_state` of an equal proposer returned."""
        ...


class Cursor:
    """Bookkeeping of a proposer: how far it is, and whether batches come back whole and in order.

    asked, scored   trials that went out, and trials that came back with scores; each a number of trials from the start
    """

    def __init__(self) -> None:
        self.asked = 0
        self.scored = 0
        self._pending: list[tuple[int, int]] = []

    def ask(self, count: int) -> None:
        """Trials `asked` to `asked` + count - 1 go out."""
        if count:
            self._pending.append((self.asked, self.asked + count))
            self.asked += count

    def tell(self, batch: Batch, scores: NDArray[np.float64]) -> None:
        """A batch comes back. Raises InputError when it is not the next one or its scores do not fit."""
        if scores.shape != (len(batch),):
            raise InputError(f"scores have one value per trial of the batch, ({len(batch)},); found {scores.shape}")
        # An empty batch, the sign of the end, was never noted as pending.
        if not len(batch):
            return
        expected = self._pending[0] if self._pending else None
        if expected != (batch.start, batch.stop):
            due = f"trials {expected[0]} to {expected[1] - 1}" if expected else "none"
            raise InputError(
                f"batches are told whole and in the order they were asked; due: {due}, "
                f"found: trials {batch.start} to {batch.stop - 1}"
            )
        self._pending.pop(0)
        self.scored = batch.stop

    def reset(self, trials: int) -> None:
        """Continue after `told` trials, nothing pending."""
        self.asked = self.scored = trials
        self._pending.clear()


def checked_count(count: int, what: str = "the number of trials asked for") -> int:
    """`count` as a whole number above 0. Raises InputError."""
    if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 1:
        raise InputError(f"{what} is a whole number above 0; found {count!r}")
    return int(count)
