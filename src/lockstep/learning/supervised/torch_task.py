"""`ClassifierTask`: a PyTorch classifier as a task of `learning.gradients.training`, with cross-entropy, by epochs."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from lockstep.core.errors import NetworkError
from lockstep.learning.gradients import determinism
from lockstep.learning.gradients.epochs import Epochs, check_samples
from lockstep.learning.gradients.learner import Learner, Losses, full_precision
from lockstep.learning.gradients.module_state import load_module_arrays, module_arrays
from lockstep.learning.gradients.optim_state import OptimizerSettings
from lockstep.learning.gradients.recorder import Recorder, Recording
from lockstep.learning.gradients.training import Batch, GradientTraining, Task, micro_batches
from lockstep.learning.gradients.user_failures import failures_of
from lockstep.learning.supervised.fit import FitProgress, FitSettings, Measured
from lockstep.learning.supervised.history import HISTORY_FILE, history_bytes
from lockstep.learning.supervised.results import judged, parts_of, per_class
from lockstep.learning.supervised.torch_net import PatternNet

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.learning.gradients.learner import Compute
    from lockstep.learning.patterns.task import Order
    from lockstep.learning.supervised.data import Parts, Samples
    from lockstep.runs.seeds import SeedTree

UNRECORDED: Final = Recording(level="none", digest_every=1 << 40)
"""For a training without a journal: nothing is stored, and no digest is computed."""
_CHUNK: Final = 512
"""Samples per forward pass without gradients. It decides bits: a matrix product may depend on its height."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Classifier:
    """A classifier's training, its progress, and its network."""

    training: GradientTraining
    progress: FitProgress
    model: nn.Module


def make_classifier(
    parts: Parts,
    settings: FitSettings,
    *,
    seeds: SeedTree,
    device: str = "cpu",
    model: nn.Module | None = None,
    optimizer: OptimizerSettings | None = None,
    clip_norm: float | None = None,
    rate: Callable[[int, int], float] | None = None,
    momentum: Callable[[int], Callable[[int], float] | None] | None = None,
    smoothing: float = 0.0,
    averaged: bool = False,
    order: Order | None = None,
    keep_best: bool = False,
    recording: Recording = UNRECORDED,
    session: Mapping[str, Any] | None = None,
) -> Classifier:
    """Build the training of a network.

    seeds       decides the first weights, the order of samples and every update's dropout
    model       maps one tensor per input, (batch, ...) each, to scores (batch, classes); default `PatternNet`
    optimizer   default Adam with the settings' learning rate
    rate        learning rate from a step and the number of steps; default the optimiser's
    momentum    from the number of steps, the momentum of each where a schedule moves it
    smoothing   share of each label that the training loss spreads over all classes
    averaged    whether the average of the weights is validated and tested, in the place of the trained ones
    order       which samples each step learns from; default epochs drawn from the seed
    keep_best   whether to keep the weights of the best epoch for `finish`: of the lowest loss on validation samples, or
                on training samples where there is no validation part
    session     metadata for the summary, see `GradientTraining`
    """
    determinism.settle()
    if model is None:
        # Built on the CPU: a card's generator would give other first weights.
        with determinism.noise(seeds.child("network")):
            model = PatternNet(parts.train.shapes, len(parts.train.classes))
    if optimizer is None:
        optimizer = OptimizerSettings(name="adam", learning_rate=float(settings.learning_rate))
    learner = Learner(model, optimizer, seeds=seeds, clip_norm=clip_norm, device=device)
    progress = FitProgress(settings, keep_best=keep_best, by_validation=keep_best)
    if order is None:
        order = settings.order(len(parts.train), seeds)
    if momentum is not None:
        learner.momentum = momentum(order.steps)
    task = ClassifierTask(
        parts, progress, order, seeds=seeds, device=device, rate=rate, smoothing=smoothing, averaged=averaged
    )
    training = GradientTraining(task, learner, Recorder(recording, learner), session)
    return Classifier(training=training, progress=progress, model=model)


class ClassifierTask(Task):
    """Learns from the training part and validates after each epoch.

    The journal's line of a step has its epoch (from 1), batch (from 0) and number of correct labels; that of an
    epoch's last step has the epoch's figures as well. A recorded order counts as one epoch.
    """

    def __init__(
        self,
        parts: Parts,
        progress: FitProgress,
        order: Order,
        *,
        seeds: SeedTree,
        device: str = "cpu",
        rate: Callable[[int, int], float] | None = None,
        smoothing: float = 0.0,
        averaged: bool = False,
    ) -> None:
        self._parts = parts
        self._progress = progress
        self._order = order
        self._per_epoch = order.per_epoch if isinstance(order, Epochs) else max(order.steps, 1)
        self._inputs, self._labels = _tensors(parts.train, device)
        self._held_out = None if parts.validation is None else _tensors(parts.validation, device)
        self._seeds = seeds
        self._rate = rate
        self._smoothing = smoothing
        self._averaged = averaged
        self._seen: list[tuple[Tensor, Tensor, int]] = []

    @property
    def total_steps(self) -> int:
        """Batches of an epoch times epochs, or the steps of a recorded order."""
        return self._order.steps

    def learning_rate(self, step: int) -> float | None:
        """Learning rate of `step` by the schedule; None for the optimiser's own."""
        return None if self._rate is None else self._rate(step, self._order.steps)

    def batch(self, step: int) -> Batch | None:
        """The samples that the order names; None after the last step. Raises DataError for an unknown sample."""
        if step >= self._order.steps:
            return None
        ids = self._order.ids(step)
        check_samples(step, ids, len(self._labels))
        self._seen = []
        return Batch(ids=ids, compute=micro_batches(ids, self._progress.settings.batch_size, self._loss_of))

    def _loss_of(self, ids: NDArray[np.int64]) -> Compute:
        at = torch.from_numpy(ids).to(self._labels.device)
        labels, inputs = self._labels[at], [x[at] for x in self._inputs]

        def compute(model: nn.Module) -> Losses:
            scores = full_precision(model(*inputs))
            loss = nn.functional.cross_entropy(scores, labels, label_smoothing=self._smoothing)
            self._seen.append((loss.detach(), _correct(scores.detach(), labels), len(ids)))
            return Losses(loss, {})

        return compute

    def after(self, step: int, learner: Learner) -> Mapping[str, Any]:
        """Count the update; at the end of an epoch evaluate the validation samples. Returns the step's scalars."""
        if not self._seen:
            raise RuntimeError("after() is called after an update; there was none")
        measured = Measured(loss_sum=0.0, correct=0, count=0)
        for loss, correct, count in self._seen:
            measured = measured + Measured(loss_sum=float(loss) * count, correct=int(correct), count=count)
        self._progress.add(measured)
        scalars: dict[str, Any] = {
            "epoch": step // self._per_epoch + 1,
            "batch": step % self._per_epoch,
            "correct": measured.correct,
        }
        if (step + 1) % self._per_epoch == 0:
            # A user's network may draw in evaluation mode too: from a stream that belongs to this step.
            noise = determinism.noise(self._seeds.child("validation", step), learner.device)
            with self._judged_weights(learner):
                with noise:
                    held_out = self._validate(learner)
                scalars |= self._progress.end_epoch(held_out, lambda: state_arrays(learner.module)).scalars()
        return scalars

    def _validate(self, learner: Learner) -> Measured | None:
        if self._held_out is None:
            return None
        inputs, labels = self._held_out
        total = Measured(loss_sum=0.0, correct=0, count=0)
        place = f"validation after epoch {len(self._progress.epochs) + 1}"
        with learner.evaluating() as model, failures_of(model, place):
            for start in range(0, len(labels), _CHUNK):
                part = slice(start, start + _CHUNK)
                scores = _finite_scores(model, [x[part] for x in inputs])
                loss_sum = float(nn.functional.cross_entropy(scores, labels[part], reduction="sum"))
                correct = int(_correct(scores, labels[part]))
                total = total + Measured(loss_sum=loss_sum, correct=correct, count=len(labels[part]))
        return total

    def result(self, learner: Learner) -> Mapping[str, Any]:
        """Sizes, the best epoch, and accuracy of the best epoch's network on the test samples."""
        chances = None
        parts = self._parts
        if parts.test is not None:
            with self._best(learner) as model, determinism.noise(self._seeds.child("test"), learner.device):
                chances = probabilities(model, parts.test, learner.device)
        weights = sum(array.size for array in state_arrays(learner.module).values())
        return {
            "network": {"library": "torch", "weights": weights},
            **({"model": {"weights": "ema" if self._averaged else "trained"}} if learner.averages else {}),
            "samples": parts_of(parts.train, parts.validation, parts.test),
            "training": self._progress.summary(),
            "test": judged(chances, parts.test, parts.train),
            **per_class(chances, parts),
        }

    def artifacts(self, learner: Learner) -> Mapping[str, bytes]:
        """best_model.pt, last_model.pt, training_history.json.

        The first and the last are missing where `max_bytes` ended the run within its first epoch.
        """
        last = self._progress.last
        files = {"last_model.pt": checkpoint_bytes(learner.module.state_dict(), epoch=last.number, loss=last.loss)}
        if self._progress.epochs:
            best = self._progress.best
            train, seed = self._parts.train, self._seeds.root
            history = torch_history(self._progress, train, seed=seed, device=learner.device, measured=True)
            with self._best(learner) as model:
                files["best_model.pt"] = checkpoint_bytes(model.state_dict(), epoch=best.number, loss=best.loss)
            files[HISTORY_FILE] = history_bytes(history)
        return files

    @contextlib.contextmanager
    def _best(self, learner: Learner) -> Iterator[nn.Module]:
        """The network with its best weights, within the block."""
        model, best = learner.module, self._progress.best_weights
        if best is None:
            with self._judged_weights(learner):
                yield model
            return
        now = state_arrays(model)
        load_arrays(model, best)
        try:
            yield model
        finally:
            load_arrays(model, now)

    def _judged_weights(self, learner: Learner) -> contextlib.AbstractContextManager[None]:
        """The weights that are validated and tested, within the block: the averaged or the trained ones."""
        return learner.averaged() if self._averaged else contextlib.nullcontext()

    def get_state(self) -> dict[str, Any]:
        """Sums, finished epochs and best weights; the rest follows from step and seed."""
        return self._progress.get_state()

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore a state that `get_state` returned."""
        self._progress.set_state(state)


def torch_history(progress: FitProgress, samples: Samples, *, seed: int, device: str, measured: bool) -> dict[str, Any]:
    """The history of a training, without its timestamp.

    `measured` adds the accuracy; validation samples add loss and accuracy of their own.
    """
    columns: Mapping[str, list[Any]] = progress.history()
    held_out = columns["val_loss"][0] is not None
    history: dict[str, Any] = {"loss": columns["loss"], "epoch": columns["epoch"]}
    if measured or held_out:
        history["accuracy"] = columns["accuracy"]
    if held_out:
        history |= {"val_loss": columns["val_loss"], "val_accuracy": columns["val_accuracy"]}
    return history | {
        "lr": progress.settings.learning_rate,
        "batch_size": progress.settings.batch_size,
        "epochs": progress.settings.epochs,
        "seed": seed,
        "best_loss": progress.best.loss,
        "best_epoch": progress.best.number,
        **({"best_val_loss": progress.best.val_loss} if progress.by_validation and held_out else {}),
        "device": device,
        "samples_per_class": samples.per_class,
    }


def state_arrays(model: nn.Module) -> dict[str, NDArray[Any]]:
    """A copy of the state dict as arrays, in its order."""
    return module_arrays(model)


def load_arrays(model: nn.Module, weights: Mapping[str, NDArray[Any]]) -> None:
    """Load arrays that `state_arrays` returned into a model of the same form."""
    load_module_arrays(model, weights)


def freed(model: nn.Module) -> nn.Module:
    """Give the parameters of a trained network memory of their own again; in training they are views into one array."""
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()
    return model


def probabilities(model: nn.Module, samples: Samples, device: str = "cpu") -> NDArray[np.float64]:
    """Class probabilities (n, classes) of a trained model, in evaluation mode. Raises NetworkError for NaN."""
    determinism.settle()
    inputs, labels = _tensors(samples, device)
    with _evaluating(model), failures_of(model, "evaluation"):
        parts = [
            torch.softmax(_finite_scores(model, [x[start : start + _CHUNK] for x in inputs]).double(), dim=1)
            .cpu()
            .numpy()
            for start in range(0, len(labels), _CHUNK)
        ]
    return np.concatenate(parts)


def checkpoint_bytes(weights: Mapping[str, Any], *, epoch: int, loss: float) -> bytes:
    """Bytes of a .pt file with epoch, model_state_dict and loss; equal contents give equal bytes.

    It loads with `weights_only=True`, so reading it runs no code.
    """
    # Copies: a parameter may be a view into all of them, and torch.save would write the whole for each.
    # What a network declares beside its tensors stays as it is.
    state = {
        name: value.detach().cpu().clone() if isinstance(value, Tensor) else value for name, value in weights.items()
    }
    buffer = io.BytesIO()
    torch.save({"epoch": epoch, "model_state_dict": state, "loss": loss}, buffer)
    return buffer.getvalue()


@contextlib.contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)


def _tensors(samples: Samples, device: str) -> tuple[list[Tensor], Tensor]:
    inputs = [torch.from_numpy(np.array(array)).to(device) for array in samples.inputs.values()]
    return inputs, torch.from_numpy(np.array(samples.labels)).to(device)


def _finite_scores(model: nn.Module, inputs: list[Tensor]) -> Tensor:
    """Scores in evaluation mode. Raises NetworkError when one is NaN or infinite: argmax would name a class for it."""
    scores = full_precision(model(*inputs))
    if not bool(torch.isfinite(scores).all()):
        raise NetworkError(
            "evaluated, a score is finite; found NaN or infinity. Lower the learning rate, set training.clip_norm, or "
            "look at what the network divides by in evaluation mode"
        )
    return scores


def _correct(scores: Tensor, labels: Tensor) -> Tensor:
    return (scores.argmax(dim=1) == labels).sum()
