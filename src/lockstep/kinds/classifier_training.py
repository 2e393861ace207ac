"""A classifier's training as a `Training`: one step is one optimiser update.

A step's line holds epoch, batch, loss and hits, the digest of the rows that it saw and of the weights that it left;
the last of an epoch also what the epoch came to. The state is `Fit`'s: weights, optimiser, cursor, best weights. So a
run stopped inside an epoch goes on with the next batch of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from lockstep.core.hashing import digest_array
from lockstep.runs.training import Result, Step

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.learning.supervised.data import Samples
    from lockstep.learning.supervised.fit import Fit, Update


class ClassifierTraining:
    """The training of both kinds of classifier; `finish` makes the result of a fit that has ended."""

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
    if update.ended is not None:
        scalars |= {
            "epoch_loss": update.ended.loss,
            "epoch_accuracy": update.ended.accuracy,
            "val_loss": update.ended.val_loss,
            "val_accuracy": update.ended.val_accuracy,
            "lowest": update.ended.is_best,
        }
    return scalars


def judged(probabilities: NDArray[np.float64] | None, test: Samples | None, train: Samples) -> dict[str, Any] | None:
    """How the network does on samples it never saw, beside always naming the commonest class of the training part."""
    if probabilities is None or test is None:
        return None
    majority = int(np.bincount(train.labels, minlength=len(train.classes)).argmax())
    return {
        "samples": len(test),
        "accuracy": float((probabilities.argmax(axis=1) == test.labels).sum() / len(test)),
        "majority_class_accuracy": float((test.labels == majority).sum() / len(test)),
    }


def parts_of(train: Samples, validation: Samples | None, test: Samples | None) -> dict[str, Any]:
    """Sizes of the parts, for a summary."""
    return {
        "classes": len(train.classes),
        "training": len(train),
        "validation": 0 if validation is None else len(validation),
        "test": 0 if test is None else len(test),
    }


def lowest_of(fit: Fit) -> dict[str, Any]:
    """The epoch with the lowest loss, and the last one's."""
    return {"loss": fit.best.loss, "epoch": fit.best.number, "last_loss": fit.epochs[-1].loss}
