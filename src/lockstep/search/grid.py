"""Every combination of a finite space, in order, never all in memory at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from lockstep.core.errors import SpaceError
from lockstep.core.space import Space
from lockstep.search.proposer import Batch, Cursor, checked_count

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WARN_ABOVE: Final = 10_000


class GridProposer:
    """Trial i is combination i of the grid, the last parameter varying fastest. Needs no seed.

    Integer ranges stand for all their values; a continuous range needs a step (SpaceError naming the parameter).
    """

    adaptive: Final = False
    remembers: Final = False
    duplicates: Final = 0

    def __init__(self, space: Space) -> None:
        if not space:
            raise SpaceError("a grid varies at least one parameter; the space is empty")
        self.space = space
        self.size = space.grid_size()
        self._cursor = Cursor()

    @property
    def notes(self) -> tuple[str, ...]:
        """Says when the grid is larger than people usually mean."""
        if self.size <= WARN_ABOVE:
            return ()
        counts = " x ".join(f"{dimension.size}" for dimension in self.space.values())
        return (
            f"the grid has {self.size:,} combinations ({counts}), more than {WARN_ABOVE:,}: "
            "take larger steps or fewer choices, or search at random",
        )

    def ask(self, count: int) -> Batch:
        """The next `count` combinations, fewer at the end of the grid."""
        start = self._cursor.asked
        stop = min(start + checked_count(count), self.size)
        self._cursor.ask(stop - start)
        return Batch(start=start, columns=self.space.grid_rows(start, stop))

    def tell(self, batch: Batch, scores: NDArray[np.float64]) -> None:
        """See `Proposer.tell`; scores change nothing."""
        self._cursor.tell(batch, scores)

    def report(self, trial: int, step: int, value: float) -> bool:
        """Always True: no trial is stopped early."""
        return True

    def get_state(self) -> Mapping[str, Any]:
        """The number of combinations that came back with scores, as {"told": n}."""
        return {"told": self._cursor.scored}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue after the first n combinations; nothing of them need be made again."""
        self._cursor.reset(int(state["told"]))
