"""A Keras classifier's training as a `Training`: one step is one optimiser update.

A step's line holds epoch, batch, loss and hits, the digest of the rows that it saw and of the weights that it left;
the last of an epoch also what the epoch came to. The state is `Fit`'s: weights, optimiser, cursor, best weights. So a
run stopped inside an epoch goes on with the next batch of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from lockstep.core.hashing import digest_array
from lockstep.runs.training import Result, Step

if TYPE_CHECKING:
    from lockstep.learning.supervised.fit import Fit, Update


class FitTraining:
    """See the module's docstring; `finish` makes the result of a fit that has ended."""

    def __init__(self, fit: Fit, finish: Callable[[Fit], Result]) -> None:
        self._fit = fit
        self._finish = finish

    @property
    def total_steps(self) -> int | None:
        """Batches of an epoch times epochs."""
        return self._fit.total_steps

    def steps(self) -> Iterator[Step]:
        """One step per update, from the present state on."""
        for update in self._fit.steps():
            yield Step(
                index=update.index,
                scalars=_scalars(update),
                digests={"rows": digest_array(update.rows), "weights": self._fit.digest()},
            )

    def get_state(self) -> Mapping[str, Any]:
        """The fit's."""
        return self._fit.get_state()

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue after the update that `state` was taken at."""
        self._fit.set_state(state)

    def finish(self) -> Result:
        """Summary and files."""
        return self._finish(self._fit)


def _scalars(update: Update) -> dict[str, Any]:
    measured = update.measured
    scalars: dict[str, Any] = {
        "epoch": update.epoch,
        "batch": update.batch,
        "loss": measured.loss,
        "correct": measured.correct,
        "samples": measured.count,
    }
    return scalars if update.ended is None else scalars | update.ended.scalars()
