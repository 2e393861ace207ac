"""The reproducible PyTorch trainer (R11.12): one call trains a classifier and writes a folder about it.

    model, history = train_pytorch_model(epochs=10, output_dir="results", seed=42)
    model = train_pytorch_model()              # the older form: the result also works as the model

The folder holds best_model.pt and last_model.pt (plain state dicts, `torch.load(..., weights_only=True)`),
training_history.json, training_loss.png and a dated log. `kind = "classifier"` trains the same network as a run, with
journal, checkpoints, resume and verify.
"""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn

from lockstep.core import files
from lockstep.learning.gradients import determinism
from lockstep.learning.supervised import plots, run_log
from lockstep.learning.supervised.data import Parts, check_training, pattern_samples, samples_of
from lockstep.learning.supervised.fit import FitSettings
from lockstep.learning.supervised.history import save_history
from lockstep.learning.supervised.torch_task import (
    Classifier,
    checkpoint_bytes,
    freed,
    make_classifier,
    torch_history,
)
from lockstep.runs import seeds as seed_tree

if TYPE_CHECKING:
    from lockstep.core.clock import Clock

LOGGER: Final = "train_pytorch"
LOSS_PLOT: Final = "training_loss.png"


def set_seeds(seed: int = 42) -> None:
    """Seed the global generators of Python, NumPy and torch on all devices, and make cuDNN deterministic.

    The streams are those of `random.seed(seed)`, `np.random.seed(seed)` and `torch.manual_seed(seed)`. This is for
    other code that draws from them, a user's data set for example: Lockstep itself draws from the seed tree only. 0 is
    a valid seed. Raises InputError for an invalid one.
    """
    seed_tree.set_seeds(seed)
    torch.manual_seed(seed)
    torch.cuda.manual_seed_all(seed)  # without a card in use torch stores the seed until there is one
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False


def setup_logging(output_dir: Path | str, level: int = logging.INFO) -> logging.Logger:
    """The logger "train_pytorch", to the console and to a dated file in `output_dir` (`run_log.log_to`)."""
    return run_log.log_to(LOGGER, output_dir, level=level)


class CheckpointManager:
    """Writes best_model.pt and last_model.pt, and remembers the lowest loss.

    best_loss     lowest loss saved as best; infinity before the first
    best_epoch    its epoch, from 1; 0 before the first
    """

    def __init__(self, output_dir: Path | str, logger: logging.Logger) -> None:
        self.output_dir = Path(output_dir)
        self.logger = logger
        self.best_loss = math.inf
        self.best_epoch = 0
        files.make_folder(self.output_dir)

    def save_checkpoint(
        self, model: nn.Module, epoch: int, loss: float, is_best: bool = False, is_last: bool = False
    ) -> None:
        """Save the model's state dict with epoch (from 1) and loss, as the best, the last, or both.

        The best is written only when its loss is strictly lower than the lowest before. Raises DiskError.
        """
        if is_best and loss < self.best_loss:
            self.best_loss, self.best_epoch = loss, epoch
            path = self._write("best_model.pt", model, epoch, loss)
            self.logger.info("Best model saved: %s (loss: %.4f)", path, loss)
        if is_last:
            path = self._write("last_model.pt", model, epoch, loss)
            self.logger.info("Last model saved: %s (epoch %d)", path, epoch)

    def _write(self, name: str, model: nn.Module, epoch: int, loss: float) -> Path:
        path = self.output_dir / name
        files.write_atomic(path, checkpoint_bytes(model.state_dict(), epoch=epoch, loss=loss))
        return path


class TrainedModel(tuple[nn.Module, dict[str, Any]]):
    """Result of a training: the pair (model, history), which also works as the model itself.

    Older code wrote `model = train_pytorch_model()`. So calls, and every attribute that a tuple lacks, are passed to
    the model. `isinstance(..., nn.Module)` is False: code that tests for it has to unpack the pair. It can be copied,
    pickled and stored by `torch.save` whole, as a module can.
    """

    __slots__ = ()

    def __new__(cls, model: nn.Module, history: dict[str, Any]) -> TrainedModel:
        """A tuple of the two: it unpacks as `model, history = ...`."""
        return super().__new__(cls, (model, history))

    def __getnewargs__(self) -> tuple[nn.Module, dict[str, Any]]:  # type: ignore[override]
        """What copies and pickles are made from: a tuple would hand itself to `__new__` as one argument."""
        return (self[0], self[1])

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """Scores of the model for the inputs, (batch, classes)."""
        return self[0](*inputs, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self[0], name)


@determinism.settled()
def train_pytorch_model(
    epochs: int = 10,
    batch_size: int = 16,
    learning_rate: float = 0.001,
    samples_per_class: int = 50,
    output_dir: Path | str = "results",
    seed: int = 42,
    device: str | None = None,
    *,
    dataset: Any = None,
    val_dataset: Any = None,
    clock: Clock | None = None,
) -> TrainedModel:
    """Train the classifier, write its files into `output_dir` (created when missing), return (model, history).

    epochs, batch_size   passes over the samples, and samples per update
    learning_rate        Adam's
    samples_per_class    size of the built-in data set: six market patterns, so 100 make 600 samples
    seed                 decides data, first weights, order and dropout; 0 is a valid seed
    device               "cpu" or "cuda"; None takes a card where there is one. "cuda" without one warns and is "cpu"
    dataset              samples instead of the built-in ones: (x, y), ({name: x}, y) or a PyTorch Dataset of
                         (input, ..., label); adds accuracy to the history
    val_dataset          the same, held out: adds val_loss and val_accuracy (and accuracy)

    torch's number of threads and its switches for determinism are afterwards what they were before; the global
    generators are seeded, as `set_seeds(seed)` does.

    Raises InputError for an invalid value, DiskError, MissingLibraryError without matplotlib.
    """
    settings = FitSettings(epochs=epochs, batch_size=batch_size, learning_rate=learning_rate)
    plots.require_matplotlib()
    set_seeds(seed)
    logger = run_log.log_to(LOGGER, output_dir, clock=clock)
    try:
        place = _device(device, logger)
        configuration = {
            "Epochs": epochs,
            "Batch size": batch_size,
            "Learning rate": learning_rate,
            "Samples per class": samples_per_class if dataset is None else "as in the given data set",
            "Random seed": seed,
            "Device": place,
        }
        run_log.log_start(logger, configuration)
        logger.info("Creating dataset...")
        samples = pattern_samples(samples_per_class, seed) if dataset is None else samples_of(dataset)
        held_out = None if val_dataset is None else samples_of(val_dataset, classes=samples.classes)
        check_training(samples, held_out)
        run_log.log_dataset(
            logger,
            samples=len(samples),
            batches=settings.batches(len(samples)),
            held_out=None if held_out is None else len(held_out),
        )
        seeds = seed_tree.SeedTree(seed)
        fitted = make_classifier(Parts(train=samples, validation=held_out), settings, seeds=seeds, device=place)
        manager = CheckpointManager(output_dir, logger)
        _run(fitted, manager, logger)
        history = torch_history(fitted.progress, samples, seed=seed, device=place, measured=dataset is not None)
        history["timestamp"] = run_log.timestamp(clock)
        save_history(history, manager.output_dir)
        files.write_atomic(manager.output_dir / LOSS_PLOT, plots.loss_png(history))
        run_log.log_summary(logger, history["loss"])
        return TrainedModel(freed(fitted.model), history)
    finally:
        run_log.close_log(logger)


def _run(fitted: Classifier, manager: CheckpointManager, logger: logging.Logger) -> None:
    run_log.log_epochs_begin(logger)
    epochs = fitted.progress.settings.epochs
    epoch = 0
    # A training yields one step per update; a new entry in the progress marks the end of an epoch.
    for _ in fitted.training.steps():
        if len(fitted.progress.epochs) == epoch:
            continue
        ended = fitted.progress.epochs[-1]
        epoch = ended.number
        run_log.log_epoch(logger, ended, epochs, keeps_best=True)
        manager.save_checkpoint(
            fitted.model, ended.number, ended.loss, is_best=ended.is_best, is_last=ended.number == epochs
        )


def _device(name: str | None, logger: logging.Logger) -> str:
    """The device to compute on. "cuda" without a card warns and becomes "cpu" (R11.21)."""
    if name == "cuda" and not torch.cuda.is_available():
        logger.warning("device 'cuda' was asked for, but torch sees no card here: training on the CPU")
        return "cpu"
    return determinism.resolve_device("auto" if name is None else name)
