"""`Fit`: fit a classifier as a sequence of updates, with any library.

`FitProgress` keeps the epochs' figures and the best weights. With PyTorch, `learning.gradients.training` runs the
updates (`torch_task` is the task), so they can be recorded and replayed; with any other library, `Fit` does:

    for update in fit.steps():    one optimiser update each; the last of an epoch has the epoch's figures

Both can stop after any update: `get_state` there and `set_state` in another process continue to the last bit. That
holds inside an epoch too, because the order of an epoch and the dropout of an update depend on the seed and the number
of the epoch or update alone; no generator has a state to lose.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from lockstep.core.errors import InputError, RefusedError
from lockstep.core.hashing import digest_columns
from lockstep.learning.gradients.epochs import Epochs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.runs.seeds import SeedTree

Weights = Mapping[str, "NDArray[Any]"]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Sums over `count` samples: of their losses, and of correct labels. Sums, so that batches add up exactly."""

    loss_sum: float
    correct: int
    count: int

    @property
    def loss(self) -> float:
        """Mean loss of one sample."""
        return self.loss_sum / self.count

    @property
    def accuracy(self) -> float:
        """Share of correct labels, 0 .. 1."""
        return self.correct / self.count

    def __add__(self, other: Measured) -> Measured:
        return Measured(
            loss_sum=self.loss_sum + other.loss_sum,
            correct=self.correct + other.correct,
            count=self.count + other.count,
        )


_NOTHING = Measured(loss_sum=0.0, correct=0, count=0)


class FitLearner(Protocol):
    """A network with its optimiser and its samples. Between calls nothing but `get_state` matters."""

    @property
    def samples(self) -> int:
        """How many samples the network trains on."""
        ...

    def update(self, index: int, rows: NDArray[np.int64]) -> Measured:
        """Update once from the samples `rows`; random numbers depend on the seed and `index` alone."""
        ...

    def validate(self) -> Measured | None:
        """Loss and accuracy on the validation samples; None where there are none."""
        ...

    def weights(self) -> Weights:
        """A copy of the network's state, buffers included."""
        ...

    def get_state(self) -> Mapping[str, Any]:
        """Network and optimiser as nested mappings of arrays and numbers."""
        ...

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore a state that `get_state` returned."""
        ...


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """Figures of a finished epoch.

    number                  from 1
    loss, accuracy          means over the training samples, each measured before its own update
    val_loss, val_accuracy  on the validation samples after the epoch; None where there are none
    is_best                 whether the loss that decides is strictly lower than that of every epoch before
    """

    number: int
    loss: float
    accuracy: float
    val_loss: float | None
    val_accuracy: float | None
    is_best: bool

    def scalars(self) -> dict[str, Any]:
        """The figures for the journal's line of the epoch's last step."""
        return {
            "epoch_loss": self.loss,
            "epoch_accuracy": self.accuracy,
            "val_loss": self.val_loss,
            "val_accuracy": self.val_accuracy,
            "lowest": self.is_best,
        }


@dataclass(frozen=True, kw_only=True)
class FitUpdate:
    """One optimiser update.

    index     its number, from 0
    epoch     number of its epoch, from 1
    batch     its number within the epoch, from 0
    rows      int64 (samples,), its samples
    measured  loss and accuracy on them before the update
    ended     figures of the epoch, after the epoch's last update; else None
    """

    index: int
    epoch: int
    batch: int
    rows: NDArray[np.int64]
    measured: Measured
    ended: Epoch | None


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """Epochs, samples per batch, Adam's learning rate, batches of an update. Raises InputError for 0 or less."""

    epochs: int
    batch_size: int
    learning_rate: float
    accumulate: int = 1

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "accumulate"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(f"{name} is a whole number of at least 1; found {value!r}")
        rate = self.learning_rate
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0.0 < rate < math.inf:
            raise InputError(f"learning_rate is a number above 0; found {rate!r}")

    def batches(self, samples: int) -> int:
        """How many updates an epoch of `samples` samples has; the last may learn from fewer."""
        return -(-samples // self.update_size)

    @property
    def update_size(self) -> int:
        """How many samples an update learns from, those of all its batches."""
        return self.batch_size * self.accumulate

    def order(self, samples: int, seeds: SeedTree) -> Epochs:
        """The order in which updates learn from `samples` samples."""
        return Epochs(samples=samples, batch_size=self.update_size, epochs=self.epochs, seeds=seeds.child("order"))


class FitProgress:
    """Progress of a training: sums of the current epoch, figures of finished ones, the best weights.

    keep_best      whether to keep a copy of the weights of the best epoch
    by_validation  whether the loss on validation samples decides which epoch that is, where there are such samples;
                   else the loss on training samples does
    """

    def __init__(self, settings: FitSettings, *, keep_best: bool = False, by_validation: bool = False) -> None:
        self.settings = settings
        self.epochs: list[Epoch] = []
        self.best_weights: Weights | None = None
        self._keep_best = keep_best
        self.by_validation = by_validation
        self._running = _NOTHING

    @property
    def best(self) -> Epoch:
        """The epoch with the lowest loss, the first of equal ones. Raises ValueError before the first epoch ends."""
        return min(self.epochs, key=self._deciding)

    def _deciding(self, epoch: Epoch) -> float:
        validated = self.by_validation and epoch.val_loss is not None
        return epoch.val_loss if validated and epoch.val_loss is not None else epoch.loss

    @property
    def last(self) -> Epoch:
        """The last epoch; the unfinished one where the training ended inside it."""
        running = self._running
        if running.count == 0:
            return self.epochs[-1]
        return Epoch(
            number=len(self.epochs) + 1,
            loss=running.loss,
            accuracy=running.accuracy,
            val_loss=None,
            val_accuracy=None,
            is_best=False,
        )

    def summary(self) -> dict[str, Any]:
        """Entries for the run's summary: the best epoch and its losses (None before one has ended), and the last loss.

        The loss on validation samples stands there, with the number of epochs, where it has decided.
        """
        best = self.best if self.epochs else None
        summary = {
            "loss": None if best is None else best.loss,
            "epoch": None if best is None else best.number,
            "last_loss": self.last.loss,
        }
        if not self.by_validation or best is None or best.val_loss is None:
            return summary
        return summary | {"val_loss": best.val_loss, "epochs": len(self.epochs)}

    def add(self, measured: Measured) -> None:
        """Add an update's sums to the current epoch."""
        self._running = self._running + measured

    def end_epoch(self, held_out: Measured | None, weights: Callable[[], Weights]) -> Epoch:
        """Finish the current epoch. `weights` copies those of the network; it is called only for the best epoch."""
        lowest = min(map(self._deciding, self.epochs), default=math.inf)
        ended = Epoch(
            number=len(self.epochs) + 1,
            loss=self._running.loss,
            accuracy=self._running.accuracy,
            val_loss=None if held_out is None else held_out.loss,
            val_accuracy=None if held_out is None else held_out.accuracy,
            is_best=False,
        )
        ended = replace(ended, is_best=self._deciding(ended) < lowest)
        if ended.is_best and self._keep_best:
            self.best_weights = weights()
        self.epochs.append(ended)
        self._running = _NOTHING
        return ended

    def history(self) -> dict[str, list[Any]]:
        """Finished epochs as columns: epoch (from 1), loss, accuracy, val_loss, val_accuracy."""
        return {
            "epoch": [epoch.number for epoch in self.epochs],
            **{
                name: [getattr(epoch, name) for epoch in self.epochs]
                for name in ("loss", "accuracy", "val_loss", "val_accuracy")
            },
        }

    def get_state(self) -> dict[str, Any]:
        """Sums of the current epoch, finished epochs, best weights."""
        running = self._running
        return {
            "running": [running.loss_sum, running.correct, running.count],
            "epochs": [
                [epoch.number, epoch.loss, epoch.accuracy, epoch.val_loss, epoch.val_accuracy, epoch.is_best]
                for epoch in self.epochs
            ],
            "best_weights": None if self.best_weights is None else dict(self.best_weights),
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore a state that `get_state` returned."""
        loss_sum, correct, count = state["running"]
        self._running = Measured(loss_sum=loss_sum, correct=correct, count=count)
        names = ("number", "loss", "accuracy", "val_loss", "val_accuracy", "is_best")
        self.epochs = [Epoch(**dict(zip(names, row, strict=True))) for row in state["epochs"]]
        best = state["best_weights"]
        self.best_weights = None if best is None else {name: np.array(array) for name, array in best.items()}


class Fit:
    """The updates of one training with a library other than PyTorch."""

    def __init__(self, learner: FitLearner, settings: FitSettings, seeds: SeedTree, *, keep_best: bool = False) -> None:
        self.learner = learner
        self.progress = FitProgress(settings, keep_best=keep_best)
        self._order = settings.order(learner.samples, seeds)
        self._next = 0

    @property
    def total_steps(self) -> int:
        """Number of updates of the whole training."""
        return self._order.steps

    def steps(self) -> Iterator[FitUpdate]:
        """Update by update, from the present state on. Raises RefusedError when the loss is not finite."""
        while self._next < self.total_steps:
            index = self._next
            epoch, batch = divmod(index, self._order.per_epoch)
            rows = self._order.ids(index)
            measured = self.learner.update(index, rows)
            if not math.isfinite(measured.loss_sum):
                raise RefusedError(
                    f"the loss is {measured.loss_sum} at update {index} (epoch {epoch + 1}): training has diverged. "
                    f"Lower learning_rate ({self.progress.settings.learning_rate}) or check the scale of the inputs."
                )
            self.progress.add(measured)
            self._next = index + 1
            ended = None
            if self._order.ends_epoch(index):
                ended = self.progress.end_epoch(self.learner.validate(), self.learner.weights)
            yield FitUpdate(index=index, epoch=epoch + 1, batch=batch, rows=rows, measured=measured, ended=ended)

    def digest(self) -> str:
        """Digest of the network's present weights and buffers."""
        return digest_columns(self.learner.weights())

    def get_state(self) -> dict[str, Any]:
        """Number of the next update, progress, network and optimiser."""
        return {"next": self._next, "progress": self.progress.get_state(), "learner": dict(self.learner.get_state())}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore a state that `get_state` returned."""
        self._next = int(state["next"])
        self.progress.set_state(state["progress"])
        self.learner.set_state(state["learner"])
