"""The experiment runner: what it passes on, what it leaves, and that its parts are really used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("matplotlib")

from lockstep.core.errors import InputError, SpecError
from lockstep.learning.supervised import experiment
from lockstep.learning.supervised.data import Samples, pattern_samples, three_parts
from lockstep.learning.supervised.experiment import ExperimentResult, ExperimentRunner, seed_of


def config(root: Path, **tables: Any) -> dict[str, Any]:
    return {
        "experiment": {"name": "small", "output_root": str(root)},
        "data": {"samples_per_class": 10},
        "training": {"epochs": 2, "val_split": 0.25},
        **tables,
    }


class Still:
    """A clock that stands still."""

    def utc_ms(self) -> int:
        return 1_700_000_000_000

    def monotonic(self) -> float:
        return 0.0


class Spy:
    """Stands for train_pytorch_model and notes what it was given."""

    def __init__(self) -> None:
        self.given: dict[str, Any] = {}

    def __call__(self, **given: Any) -> tuple[object, dict[str, Any]]:
        self.given = given
        return object(), {"epoch": [1], "loss": [0.5]}


@pytest.mark.parametrize(
    ("seeds", "expected"),
    [
        ({}, 42),
        ({"random_seed": 7}, 7),
        ({"random_seed": 0}, 0),
        ({"experiment": {"seed": 5}}, 5),
        ({"random_seed": 0, "experiment": {"seed": 5}}, 0),
    ],
)
def test_the_training_step_passes_on_values_seed_device_and_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seeds: dict[str, Any], expected: int
) -> None:
    """R11.23, R11.24: seed 42 unless random_seed or experiment.seed says otherwise; 0 is a seed."""
    spy = Spy()
    monkeypatch.setattr(experiment, "train_pytorch_model", spy)
    runner = ExperimentRunner({"training": {"device": "cpu"}})
    train, val = object(), object()
    plain = {"training": {"epochs": 3, "batch_size": 8, "learning_rate": 0.01}, **seeds}
    _, history = runner._train_model(plain, train, val, tmp_path)
    given = spy.given
    assert (given["epochs"], given["batch_size"], given["learning_rate"]) == (3, 8, 0.01)
    assert (given["seed"], given["device"]) == (expected, "cpu")
    assert given["output_dir"] == tmp_path / "training"
    assert given["dataset"] is train
    assert given["val_dataset"] is val
    text = (tmp_path / "training_history.json").read_text()
    assert json.loads(text) == history
    assert '\n  "epoch"' in text  # indent 2


def test_the_defaults_are_those_of_the_full_configuration() -> None:
    """Device auto is None, which train_pytorch_model decides."""
    runner = ExperimentRunner({})
    table = runner.config.training
    assert (table.epochs, table.batch_size, table.learning_rate, table.val_split) == (20, 16, 0.001, 0.1)
    assert runner.config.data.train_split == 0.8
    assert (runner.seed, runner.device) == (42, None)
    assert seed_of(runner.config) == 42


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[ExperimentResult, dict[str, Samples]]:
    """A whole experiment, and the parts that it handed to the training."""
    seen: dict[str, Samples] = {}
    real = experiment.train_pytorch_model

    def watched(**given: Any) -> Any:
        seen.update(train=given["dataset"], val=given["val_dataset"])
        return real(**given)

    root = tmp_path_factory.mktemp("experiments")
    with pytest.MonkeyPatch.context() as there:
        there.setattr(experiment, "train_pytorch_model", watched)
        result = ExperimentRunner(config(root, random_seed=3)).run()
    assert result.folder.parent == root
    return result, seen


def test_a_whole_experiment_leaves_metrics_four_plots_and_the_history(
    whole: tuple[ExperimentResult, dict[str, Samples]],
) -> None:
    """R11.24, R11.27; and the parts handed over are those of the split with seed and seed + 1."""
    result, seen = whole
    folder = result.folder
    assert folder.name.startswith("small_2")
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert found >= {
        "config.json",
        "models/best_model.pt",
        "models/last_model.pt",
        "plots/confusion_matrix.png",
        "plots/precision_recall.png",
        "plots/roc_curves.png",
        "plots/training_history.png",
        "reports/metrics.json",
        "training/best_model.pt",
        "training/training_history.json",
        "training_history.json",
    }
    assert len([name for name in found if name.startswith("logs/training_")]) == 1
    copied, first = (json.loads((folder / f"{p}training_history.json").read_text()) for p in ("", "training/"))
    assert copied == first == result.history
    stored = json.loads((folder / "reports/metrics.json").read_text())
    assert stored == result.metrics
    assert {"accuracy", "macro_avg", "weighted_avg", "confusion_matrix", "confusion_matrix_normalised"} <= set(stored)
    assert {"roc_auc", "classification_report", "metadata"} <= set(stored)
    parts = three_parts(pattern_samples(10, seed=3), test_size=0.2, val_size=0.25, seed=3)
    train, validation, test = parts
    assert validation is not None
    assert test is not None
    assert (len(train), len(validation), len(test)) == (36, 12, 12)  # 60: a fifth tested, a quarter of 48 validated
    assert seen["train"].digest == train.digest
    assert seen["val"].digest == validation.digest
    assert stored["metadata"]["test_digest"] == test.digest
    assert np.sum(stored["confusion_matrix"]) == 12
    assert len(result.history["val_loss"]) == 2


def test_the_model_judged_is_the_best_checkpoint_loaded_again(
    whole: tuple[ExperimentResult, dict[str, Samples]],
) -> None:
    import torch

    result, _ = whole
    best = torch.load(result.folder / "training" / "best_model.pt", weights_only=True)["model_state_dict"]
    assert all(torch.equal(value, result.model.state_dict()[name]) for name, value in best.items())


def test_validation_data_really_change_what_is_reported(tmp_path: Path) -> None:
    """An earlier program's sample ignored train_data and val_data."""
    runner = ExperimentRunner({"training": {"epochs": 1}})
    samples, other = pattern_samples(6, seed=1), pattern_samples(6, seed=2)
    one = runner._train_model(runner.config, samples, samples, tmp_path / "a")[1]
    two = runner._train_model(runner.config, samples, other, tmp_path / "b")[1]
    three = runner._train_model(runner.config, other, other, tmp_path / "c")[1]
    assert one["loss"] == two["loss"] != three["loss"]
    assert one["val_loss"] != two["val_loss"]


def test_a_data_set_of_the_users_and_a_json_file_are_taken_and_what_is_trained_on_and_judged_is_told(
    tmp_path: Path,
) -> None:
    """Eight samples, each five times: whatever is held out was seen."""
    values = config(tmp_path, data={"source": "python"}, training={"epochs": 1, "val_split": 0.0})
    (tmp_path / "config.json").write_text(json.dumps(values))
    x, labels = np.arange(40.0)[:, None] % 8, np.arange(40) % 2
    result = ExperimentRunner(tmp_path / "config.json", dataset=(x, labels)).run()
    assert result.metrics["metadata"]["classes"] == ["0", "1"]
    assert "val_loss" not in result.history
    (log,) = (result.folder / "logs").iterdir()
    assert "WARNING - 8 of the samples held out are also trained on" in log.read_text()


def test_a_configuration_that_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="epochs"):
        ExperimentRunner({"training": {"epoch": 3}})
    with pytest.raises(InputError, match="come together; found one without the other"):
        ExperimentRunner({"data": {"source": "python"}})
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(InputError, match="not JSON"):
        ExperimentRunner(tmp_path / "bad.json")
    (tmp_path / "bad.json").write_text("[]")
    with pytest.raises(InputError, match="an object of tables; found list"):
        ExperimentRunner(tmp_path / "bad.json")


def test_two_experiments_of_one_name_and_second_do_not_meet(tmp_path: Path) -> None:
    """Started side by side, as a loop over seeds does; the clock stands still."""
    values = config(tmp_path, training={"epochs": 1, "val_split": 0.0})
    one, two = (ExperimentRunner({**values, "random_seed": seed}, clock=Still()).run() for seed in (1, 2))
    assert two.folder.name == f"{one.folder.name}_2"
    seeds = [json.loads((item.folder / "reports/metrics.json").read_text())["metadata"]["seed"] for item in (one, two)]
    assert seeds == [1, 2]
