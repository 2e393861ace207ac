"""`ExperimentRunner`: a whole experiment (R11.23), with data, training, evaluation and figures in one folder.

    results/NAME_YYYYMMDD_HHMMSS/   (with _2, _3 ... where another experiment of the name began in the same second)
        config.json                 the configuration with every default filled in
        training/                   what train_pytorch_model wrote
        training_history.json       its history once more
        models/  logs/  plots/      best and last model; the experiment's log; four figures
        reports/metrics.json        on the test samples, with the best checkpoint loaded again

The parts are drawn with the seed (test) and the seed + 1 (validation).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import torch
from pydantic import Field

from lockstep.core import files
from lockstep.core.errors import InputError
from lockstep.learning.supervised import metrics, plots, run_log
from lockstep.learning.supervised.data import Parts, Samples, pattern_samples, samples_of, seen_before, three_parts
from lockstep.learning.supervised.history import save_history
from lockstep.learning.supervised.pytorch_trainer import train_pytorch_model
from lockstep.learning.supervised.torch_net import PatternNet
from lockstep.learning.supervised.torch_task import probabilities
from lockstep.runs.seeds import DEFAULT_SEED, MAX_SEED
from lockstep.runs.spec import SpecModel, resolve

if TYPE_CHECKING:
    from torch import nn

    from lockstep.core.clock import Clock

LOGGER: Final = "experiment"
FOLDERS: Final = ("models", "logs", "plots", "reports")


class ExperimentTable(SpecModel):
    """Table `experiment`: its name, seed and folder."""

    name: str = Field(default="experiment", min_length=1, pattern=r"^[A-Za-z0-9._-]+$")
    seed: int | None = Field(default=None, ge=0, le=MAX_SEED)
    output_root: str = "results"
    description: str = ""


class DataTable(SpecModel):
    """Table `data`: samples per pattern, and the share for training; the rest is the test part."""

    source: Literal["patterns", "python"] = "patterns"
    """"python": samples handed to `ExperimentRunner(..., dataset=...)`."""
    samples_per_class: int = Field(default=50, ge=1)
    train_split: float = Field(default=0.8, gt=0.0, lt=1.0)


class TrainingTable(SpecModel):
    """Table `training`: arguments of `train_pytorch_model`; `val_split` is a share of the training part."""

    epochs: int = Field(default=20, ge=1)
    batch_size: int = Field(default=16, ge=1)
    learning_rate: float = Field(default=0.001, gt=0.0)
    val_split: float = Field(default=0.1, ge=0.0, lt=1.0)
    device: Literal["auto", "cpu", "cuda"] = "auto"


class EvaluationTable(SpecModel):
    """Table `evaluation`: accepted because configuration files contain it, without effect.

    Evaluation uses a fixed batch size, so that no figure depends on this one.
    """

    batch_size: int = Field(default=32, ge=1)


class LoggingTable(SpecModel):
    """Table `logging`: the lowest level that the log records."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"


class ExperimentConfig(SpecModel):
    """The whole configuration; every table may be left out."""

    random_seed: int | None = Field(default=None, ge=0, le=MAX_SEED)
    experiment: ExperimentTable = ExperimentTable()
    data: DataTable = DataTable()
    training: TrainingTable = TrainingTable()
    evaluation: EvaluationTable = EvaluationTable()
    logging: LoggingTable = LoggingTable()


@dataclass(frozen=True, kw_only=True)
class ExperimentResult:
    """Result of an experiment.

    folder   where its files lie
    metrics  content of metrics.json: figures on the test samples
    history  content of training_history.json
    model    the network of the lowest loss
    """

    folder: Path
    metrics: Mapping[str, Any]
    history: Mapping[str, Any]
    model: nn.Module


class ExperimentRunner:
    """Runs one experiment from its configuration.

    config    a mapping, or the path of a JSON file, of the form of `ExperimentConfig`
    dataset   samples instead of the built-in ones, as for `train_pytorch_model`

    Raises SpecError listing every breach of the configuration's rules.
    """

    def __init__(self, config: Mapping[str, Any] | Path | str, *, dataset: Any = None, clock: Clock | None = None):
        source = "the experiment's configuration"
        if not isinstance(config, Mapping):
            source = str(config)
            config = _read_config(Path(config))
        self.config = resolve(ExperimentConfig, config, source=source)
        self.device: str | None = None if self.config.training.device == "auto" else self.config.training.device
        self._dataset = dataset
        self._clock = clock
        if (self.config.data.source == "python") != (dataset is not None):
            raise InputError('data.source = "python" and dataset=... come together; found one without the other')

    @property
    def seed(self) -> int:
        """Seed of the experiment: `random_seed`, else `experiment.seed`, else 42."""
        return seed_of(self.config)

    def run(self) -> ExperimentResult:
        """Run the experiment and write its folder. Raises InputError, DiskError, MissingLibraryError."""
        plots.require_matplotlib()
        config = self.config
        stamp = run_log.now(self._clock).strftime("%Y%m%d_%H%M%S")
        folder = files.make_new_folder(Path(config.experiment.output_root) / f"{config.experiment.name}_{stamp}")
        for name in FOLDERS:
            files.make_folder(folder / name)
        logger = run_log.log_to(
            LOGGER, folder / "logs", level=getattr(logging, config.logging.level), clock=self._clock
        )
        try:
            logger.info("Experiment: %s (seed %d)", config.experiment.name, self.seed)
            _write_json(folder / "config.json", config.model_dump(mode="json"))
            train, validation, test = self._parts()
            logger.info(
                "Samples: %d to train on, %d to validate, %d to test",
                len(train),
                0 if validation is None else len(validation),
                len(test),
            )
            if repeated := seen_before(Parts(train=train, validation=validation, test=test)):
                logger.warning(
                    "%d of the samples held out are also trained on, equal bit by bit: figures on them test nothing",
                    repeated,
                )
            _, history = self._train_model(config, train, validation, folder)
            model = self._best_model(train, folder)
            figures = self._evaluate(model, test, history, folder)
            logger.info("Accuracy on the test samples: %.4f", figures["accuracy"])
            logger.info("Always the commonest class: %.4f", figures["majority_class_accuracy"])
            return ExperimentResult(folder=folder, metrics=figures, history=history, model=model)
        finally:
            run_log.close_log(logger)

    def _parts(self) -> tuple[Samples, Samples | None, Samples]:
        table = self.config.data
        samples = (
            pattern_samples(table.samples_per_class, self.seed) if self._dataset is None else samples_of(self._dataset)
        )
        train, validation, test = three_parts(
            samples, test_size=1.0 - table.train_split, val_size=self.config.training.val_split, seed=self.seed
        )
        if test is None:
            raise RuntimeError("train_split is below 1, so there is a test part")
        return train, validation, test

    def _train_model(
        self, config: ExperimentConfig | Mapping[str, Any], train_data: Any, val_data: Any, output_dir: Path | str
    ) -> tuple[nn.Module, dict[str, Any]]:
        """Train on `train_data`, validate on `val_data` (None for none), into `output_dir`/training.

        `config` holds training.epochs, batch_size and learning_rate, and the seed. The history is also saved as
        `output_dir`/training_history.json. Returns (model, history).
        """
        table = _table(config, "training")
        model, history = train_pytorch_model(
            epochs=table["epochs"],
            batch_size=table["batch_size"],
            learning_rate=table["learning_rate"],
            output_dir=Path(output_dir) / "training",
            seed=seed_of(config),
            device=self.device,
            dataset=train_data,
            val_dataset=val_data,
            clock=self._clock,
        )
        save_history(history, Path(output_dir))
        return model, history

    def _best_model(self, train: Samples, folder: Path) -> nn.Module:
        """The network of the lowest loss, loaded from its file as a user would load it."""
        for name in ("best_model.pt", "last_model.pt"):
            files.write_atomic(folder / "models" / name, files.read_bytes(folder / "training" / name))
        model = PatternNet(train.shapes, len(train.classes))
        stored = torch.load(folder / "models" / "best_model.pt", weights_only=True)
        model.load_state_dict(stored["model_state_dict"])
        return model

    def _evaluate(self, model: nn.Module, test: Samples, history: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        """Score the model on the test part; write metrics.json and four figures. Returns the scores."""
        chances = probabilities(model, test)
        figures = metrics.classification_metrics(test.labels, chances, test.classes)
        figures["metadata"] = {
            "name": self.config.experiment.name,
            "description": self.config.experiment.description,
            "seed": self.seed,
            "classes": list(test.classes),
            "test_samples": len(test),
            "test_digest": test.digest,
            "best_epoch": history["best_epoch"],
            "timestamp": run_log.timestamp(self._clock),
        }
        _write_json(folder / "reports" / "metrics.json", figures)
        sides = {name: (test.labels == k, chances[:, k]) for k, name in enumerate(test.classes)}
        roc = {name: curve for name, side in sides.items() if (curve := metrics.roc_curve(*side)) is not None}
        recall = {
            name: curve for name, side in sides.items() if (curve := metrics.precision_recall_curve(*side)) is not None
        }
        matrix = metrics.confusion_matrix(test.labels, chances.argmax(axis=1), len(test.classes))
        drawn = {
            "confusion_matrix.png": plots.confusion_png(matrix, test.classes),
            "roc_curves.png": plots.curves_png(
                roc, title="ROC curves", labels=("False positive rate", "True positive rate"), diagonal=True
            ),
            "precision_recall.png": plots.curves_png(
                recall, title="Precision and recall", labels=("Recall", "Precision"), steps=True
            ),
            "training_history.png": plots.history_png(history),
        }
        for name, content in drawn.items():
            files.write_atomic(folder / "plots" / name, content)
        return figures


def seed_of(config: ExperimentConfig | Mapping[str, Any]) -> int:
    """Seed of a configuration: `random_seed`, else `experiment.seed`, else 42. 0 is a valid seed."""
    if isinstance(config, ExperimentConfig):
        first, second = config.random_seed, config.experiment.seed
    else:
        first, second = config.get("random_seed"), config.get("experiment", {}).get("seed")
    seed = first if first is not None else second
    return DEFAULT_SEED if seed is None else int(seed)


def _table(config: ExperimentConfig | Mapping[str, Any], name: str) -> Mapping[str, Any]:
    if isinstance(config, ExperimentConfig):
        table: Mapping[str, Any] = getattr(config, name).model_dump()
        return table
    return {**TrainingTable().model_dump(), **config.get(name, {})}


def _read_config(path: Path) -> Mapping[str, Any]:
    try:
        config = json.loads(files.read_bytes(path))
    except ValueError as error:
        raise InputError(f"{path}: not JSON: {error}. Mend the file.") from error
    if not isinstance(config, dict):
        raise InputError(f"{path}: a configuration is an object of tables; found {type(config).__name__}")
    return config


def _write_json(path: Path, value: Any) -> None:
    files.write_atomic(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())
