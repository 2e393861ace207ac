"""Fitting a classifier as a sequence of updates, whatever library computes them.

`Progress` says which samples come when, and keeps the epochs' figures and the best weights. PyTorch's updates are
those of `learning.gradients.training` (`torch_task` is the task), so they can be recorded and replayed; a `Fit`
makes those of any other library:

    for update in fit.steps():    one optimiser update each; the last of an epoch carries what the epoch came to

Both can stop after any update: `get_state` there and `set_state` in another process go on as if nothing had happened.
That holds inside an epoch too, because the order of an epoch and the dropout of an update have addresses, made of the
seed and the number of the epoch or update, and no generator is carried along.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
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
    """What a network said about `count` samples: Σ of their losses, and how many labels it got right."""

    loss_sum: float
    correct: int
    count: int

    @property
    def loss(self) -> float:
        """Mean loss per sample."""
        return self.loss_sum / self.count

    @property
    def accuracy(self) -> float:
        """Share of labels it got right."""
        return self.correct / self.count

    def __add__(self, other: Measured) -> Measured:
        return Measured(
            loss_sum=self.loss_sum + other.loss_sum,
            correct=self.correct + other.correct,
            count=self.count + other.count,
        )


_NOTHING = Measured(loss_sum=0.0, correct=0, count=0)


class Learner(Protocol):
    """A network and its optimiser, holding its samples. Between calls nothing but `get_state` matters."""

    @property
    def samples(self) -> int:
        """How many samples it trains on."""
        ...

    def update(self, index: int, rows: NDArray[np.int64]) -> Measured:
        """One optimiser update on these samples; its random numbers depend on the seed and `index` alone."""
        ...

    def validate(self) -> Measured | None:
        """What the network says about the samples held out; None where there are none."""
        ...

    def weights(self) -> Weights:
        """A copy of the network's state, buffers included."""
        ...

    def get_state(self) -> Mapping[str, Any]:
        """Network and optimiser as nested mappings of arrays and numbers."""
        ...

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go to a state of `get_state`."""
        ...


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """A finished epoch, numbered from 1. Loss and accuracy as they were while it trained."""

    number: int
    loss: float
    accuracy: float
    val_loss: float | None
    val_accuracy: float | None
    is_best: bool
    """Whether its loss is strictly lower than that of every epoch before."""

    def scalars(self) -> dict[str, Any]:
        """For the journal's line of its last step."""
        return {
            "epoch_loss": self.loss,
            "epoch_accuracy": self.accuracy,
            "val_loss": self.val_loss,
            "val_accuracy": self.val_accuracy,
            "lowest": self.is_best,
        }


@dataclass(frozen=True, kw_only=True)
class Update:
    """One optimiser update: its number from 0, its epoch from 1, its place in the epoch from 0, and what it saw."""

    index: int
    epoch: int
    batch: int
    rows: NDArray[np.int64]
    measured: Measured
    ended: Epoch | None
    """The epoch that this update ended."""


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """How long and in what portions. Checked at birth: InputError."""

    epochs: int
    batch_size: int
    learning_rate: float

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(f"{name} is a whole number of at least 1; found {value!r}")
        rate = self.learning_rate
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0.0 < rate < math.inf:
            raise InputError(f"learning_rate is a number above 0; found {rate!r}")

    def batches(self, samples: int) -> int:
        """Batches of an epoch; the last may be smaller."""
        return -(-samples // self.batch_size)

    def order(self, samples: int, seeds: SeedTree) -> Epochs:
        """Which of so many samples each update learns from."""
        return Epochs(samples=samples, batch_size=self.batch_size, epochs=self.epochs, seeds=seeds.child("order"))


class Progress:
    """How far a training has come: the sums of the epoch under way, the epochs so far, the best weights.

    `keep_best` keeps a copy of the weights of the epoch with the lowest loss.
    """

    def __init__(self, settings: FitSettings, *, keep_best: bool = False) -> None:
        self.settings = settings
        self.epochs: list[Epoch] = []
        self.best_weights: Weights | None = None
        self._keep_best = keep_best
        self._running = _NOTHING

    @property
    def best(self) -> Epoch:
        """The epoch with the lowest loss; of equals the first. Raises ValueError before the end of the first epoch."""
        return min(self.epochs, key=lambda epoch: epoch.loss)

    @property
    def last(self) -> Epoch:
        """The last epoch; the one under way where a training was ended inside it."""
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
        """The lowest loss and its epoch (None where no epoch ended), and the last loss."""
        best = self.best if self.epochs else None
        return {
            "loss": None if best is None else best.loss,
            "epoch": None if best is None else best.number,
            "last_loss": self.last.loss,
        }

    def add(self, measured: Measured) -> None:
        """Count an update."""
        self._running = self._running + measured

    def end_epoch(self, held_out: Measured | None, weights: Callable[[], Weights]) -> Epoch:
        """Close the epoch under way. `weights` makes a copy of the network's, where it is the best so far."""
        lowest = min((epoch.loss for epoch in self.epochs), default=math.inf)
        ended = Epoch(
            number=len(self.epochs) + 1,
            loss=self._running.loss,
            accuracy=self._running.accuracy,
            val_loss=None if held_out is None else held_out.loss,
            val_accuracy=None if held_out is None else held_out.accuracy,
            is_best=self._running.loss < lowest,
        )
        if ended.is_best and self._keep_best:
            self.best_weights = weights()
        self.epochs.append(ended)
        self._running = _NOTHING
        return ended

    def history(self) -> dict[str, list[Any]]:
        """The epochs as columns: epoch (from 1), loss, accuracy, val_loss, val_accuracy."""
        return {
            "epoch": [epoch.number for epoch in self.epochs],
            **{
                name: [getattr(epoch, name) for epoch in self.epochs]
                for name in ("loss", "accuracy", "val_loss", "val_accuracy")
            },
        }

    def get_state(self) -> dict[str, Any]:
        """Sums of the epoch under way, epochs so far, best weights."""
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
        """Go to a state of `get_state`."""
        loss_sum, correct, count = state["running"]
        self._running = Measured(loss_sum=loss_sum, correct=correct, count=count)
        names = ("number", "loss", "accuracy", "val_loss", "val_accuracy", "is_best")
        self.epochs = [Epoch(**dict(zip(names, row, strict=True))) for row in state["epochs"]]
        best = state["best_weights"]
        self.best_weights = None if best is None else {name: np.array(array) for name, array in best.items()}


class Fit:
    """See the module's docstring."""

    def __init__(self, learner: Learner, settings: FitSettings, seeds: SeedTree, *, keep_best: bool = False) -> None:
        self.learner = learner
        self.progress = Progress(settings, keep_best=keep_best)
        self._order = settings.order(learner.samples, seeds)
        self._next = 0

    @property
    def total_steps(self) -> int:
        """Updates in all."""
        return self._order.steps

    def steps(self) -> Iterator[Update]:
        """The updates from the present state on. Raises RefusedError when the loss is no number any more."""
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
            yield Update(index=index, epoch=epoch + 1, batch=batch, rows=rows, measured=measured, ended=ended)

    def digest(self) -> str:
        """Of the network's weights and buffers as they are now."""
        return digest_columns(self.learner.weights())

    def get_state(self) -> dict[str, Any]:
        """Cursor, progress, network and optimiser."""
        return {"next": self._next, "progress": self.progress.get_state(), "learner": dict(self.learner.get_state())}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go to a state of `get_state`."""
        self._next = int(state["next"])
        self.progress.set_state(state["progress"])
        self.learner.set_state(state["learner"])
