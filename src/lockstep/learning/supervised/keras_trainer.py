"""The reproducible Keras trainer (R11.18): one call trains an image classifier and writes a folder about it.

    model, x_test, y_test, history = train(epochs=10, output_dir="results", seed=42)

The folder holds radar_model.h5, training_history.json, training_history.png and a dated log. `kind =
"classifier-keras"` trains the same network as a run. Keras is imported by the first call of `train`.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lockstep.core import files
from lockstep.core.libraries import installed
from lockstep.learning.supervised import plots, run_log
from lockstep.learning.supervised.data import check_training, pattern_images, samples_of, three_parts, train_test_split
from lockstep.learning.supervised.fit import Fit, FitProgress, FitSettings
from lockstep.learning.supervised.history import save_history
from lockstep.learning.supervised.keras_library import require_keras
from lockstep.runs import seeds as seed_tree

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lockstep.core.clock import Clock

LOGGER: Final = "train"
MODEL_FILE: Final = "radar_model.h5"
HISTORY_PLOT: Final = "training_history.png"
SAMPLES_PER_CLASS: Final = 200
LEARNING_RATE: Final = 0.001


def set_seeds(seed: int = 42) -> None:
    """Seed the global generators of Python, NumPy, and of TensorFlow and torch where installed, for other code.

    The streams are those of each library's own call with this seed, `random.seed(seed)` for example. Lockstep itself
    draws from the seed tree only. 0 is a valid seed. Raises InputError for an invalid one.
    """
    seed_tree.set_seeds(seed)
    if installed("tensorflow"):
        importlib.import_module("tensorflow").random.set_seed(seed)
    if installed("torch"):
        importlib.import_module("lockstep.learning.supervised.pytorch_trainer").set_seeds(seed)


def setup_logging(output_dir: Path | str, level: int = logging.INFO) -> logging.Logger:
    """The logger "train", to the console and to a dated file in `output_dir` (`run_log.log_to`)."""
    return run_log.log_to(LOGGER, output_dir, level=level)


@contextlib.contextmanager
def _settled() -> Iterator[None]:
    """`determinism.settled` where Keras computes with torch."""
    if require_keras().backend.backend() != "torch":
        yield
        return
    from lockstep.learning.gradients import determinism

    with determinism.settled():
        yield


@_settled()
def train(
    epochs: int = 10,
    batch_size: int = 32,
    test_size: float = 0.2,
    output_dir: Path | str = "results",
    seed: int = 42,
    validation_split: float = 0.2,
    *,
    dataset: Any = None,
    clock: Clock | None = None,
) -> tuple[Any, NDArray[np.float32], NDArray[np.int64], dict[str, Any]]:
    """Train the image classifier and write its files into `output_dir`, which is created when missing.

    epochs, batch_size   passes over the samples, and samples per update
    test_size            share of all samples held out and returned, drawn with random_state = seed
    seed                 decides data, splits, first weights and order; 0 is a valid seed
    validation_split     share of the rest that is evaluated after each epoch; 0 makes the val_ lists null
    dataset              (x, y) instead of four patterns of 200 images: x (n, height, width, channels), y (n,) whole

    With the torch backend, torch's number of threads and its switches for determinism are afterwards what they were
    before; the global generators are seeded, as `set_seeds(seed)` does.

    Returns (model, x_test, y_test, history): x_test float32, y_test int64.
    Raises MissingLibraryError without Keras, a backend or matplotlib, InputError, DiskError.
    """
    settings = FitSettings(epochs=epochs, batch_size=batch_size, learning_rate=LEARNING_RATE)
    require_keras()
    plots.require_matplotlib()
    from lockstep.learning.supervised.keras_learner import KerasLearner, h5_bytes

    set_seeds(seed)
    logger = run_log.log_to(LOGGER, output_dir, clock=clock)
    try:
        configuration = {
            "Epochs": epochs,
            "Batch size": batch_size,
            "Learning rate": LEARNING_RATE,
            "Samples per class": SAMPLES_PER_CLASS if dataset is None else "as in the given data set",
            "Test size": test_size,
            "Validation split": validation_split,
            "Random seed": seed,
            "Device": f"cpu ({require_keras().backend.backend()} backend)",
        }
        run_log.log_start(logger, configuration)
        logger.info("Creating dataset...")
        samples = pattern_images(SAMPLES_PER_CLASS, seed) if dataset is None else samples_of(dataset)
        check_training(samples)
        rest, test = train_test_split(samples, test_size=test_size, random_state=seed)
        training, held_out, _ = three_parts(rest, test_size=0.0, val_size=validation_split, seed=seed)
        run_log.log_dataset(
            logger,
            samples=len(training),
            batches=settings.batches(len(training)),
            held_out=len(samples) - len(training),
        )
        seeds = seed_tree.SeedTree(seed)
        learner = KerasLearner(training, learning_rate=LEARNING_RATE, seeds=seeds, held_out=held_out)
        fit = Fit(learner, settings, seeds)
        run_log.log_epochs_begin(logger)
        for update in fit.steps():
            if update.ended is not None:
                run_log.log_epoch(logger, update.ended, epochs, keeps_best=False)
        history = keras_history(fit.progress, test_size=test_size, validation_split=validation_split, seed=seed)
        history["timestamp"] = run_log.timestamp(clock)
        folder = Path(output_dir)
        files.write_atomic(folder / MODEL_FILE, h5_bytes(learner.model))
        logger.info("Last model saved: %s (epoch %d)", folder / MODEL_FILE, epochs)
        backend = require_keras().backend.backend()
        logger.info("To open it with keras.models.load_model, start Python with KERAS_BACKEND=%s", backend)
        save_history(history, folder)
        files.write_atomic(folder / HISTORY_PLOT, plots.history_png(history))
        run_log.log_summary(logger, history["loss"])
        return learner.model, next(iter(test.inputs.values())), test.labels, history
    finally:
        run_log.close_log(logger)


def keras_history(progress: FitProgress, *, test_size: float, validation_split: float, seed: int) -> dict[str, Any]:
    """The history of a finished fit, without its timestamp."""
    columns = progress.history()
    return {name: columns[name] for name in ("epoch", "loss", "val_loss", "accuracy", "val_accuracy")} | {
        "epochs": progress.settings.epochs,
        "batch_size": progress.settings.batch_size,
        "test_size": test_size,
        "validation_split": validation_split,
        "seed": seed,
    }
