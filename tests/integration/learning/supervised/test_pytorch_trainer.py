"""The PyTorch trainer: seeds, files, history, log, checkpoints, and the older way to call it."""

# ruff: noqa: NPY002 - the legacy global generator is what set_seeds seeds

from __future__ import annotations

import copy
import inspect
import io
import json
import logging
import math
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("matplotlib")

from lockstep.core.errors import DataError, InputError  # noqa: E402
from lockstep.learning.gradients import determinism  # noqa: E402
from lockstep.learning.supervised import pytorch_trainer  # noqa: E402
from lockstep.learning.supervised.data import pattern_samples, train_test_split  # noqa: E402
from lockstep.learning.supervised.pytorch_trainer import (  # noqa: E402
    CheckpointManager,
    TrainedModel,
    set_seeds,
    setup_logging,
    train_pytorch_model,
)
from lockstep.learning.supervised.torch_net import PatternNet  # noqa: E402

KEYS = ["loss", "epoch", "lr", "batch_size", "epochs", "seed", "best_loss", "best_epoch", "device", "samples_per_class"]
NAMES = {"best_model.pt", "last_model.pt", "training_history.json", "training_loss.png"}


@pytest.fixture(autouse=True)
def _globals_stay_as_they_were() -> Iterator[None]:
    """Global generators and cuDNN's flags are this module's subject, not its legacy."""
    python, numpy, torch_state = random.getstate(), np.random.get_state(), torch.get_rng_state()
    yield
    random.setstate(python)
    np.random.set_state(numpy)
    torch.set_rng_state(torch_state)


def small(folder: Path, **options: Any) -> TrainedModel:
    return train_pytorch_model(**{"epochs": 3, "samples_per_class": 8, "output_dir": folder, **options})


def text_of(folder: Path) -> str:
    (path,) = folder.glob("training_*.log")
    return path.read_text()


def said(folder: Path) -> list[str]:
    return [line.split(" - ", 3)[3] for line in text_of(folder).splitlines()]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainedModel]:
    folder = tmp_path_factory.mktemp("trained") / "made" / "by it"
    return folder, small(folder, seed=42)


def test_set_seeds_fixes_the_streams_of_python_numpy_and_torch() -> None:
    """R11.1: those of each library's own call, so that numbers of a script with these three lines come out again."""
    draws = []
    for _ in range(2):
        set_seeds(42)
        draws.append((random.random(), np.random.rand(3).tolist(), torch.rand(3).tolist()))
    random.seed(42), np.random.seed(42), torch.manual_seed(42)
    draws.append((random.random(), np.random.rand(3).tolist(), torch.rand(3).tolist()))
    assert draws[0] == draws[1] == draws[2]
    set_seeds(0)
    assert (random.random(), np.random.rand(3).tolist(), torch.rand(3).tolist()) != draws[0]


def test_set_seeds_has_cudnn_deterministic_and_seeds_every_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """R11.2."""
    seeded: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    set_seeds(7)
    assert torch.backends.cudnn.deterministic is True
    assert torch.backends.cudnn.benchmark is False
    assert 7 in seeded
    assert inspect.signature(set_seeds).parameters["seed"].default == 42


def test_the_function_has_the_seven_parameters_and_defaults() -> None:
    """R11.12."""
    parameters = inspect.signature(train_pytorch_model).parameters
    plain = {n: p.default for n, p in parameters.items() if p.kind is not inspect.Parameter.KEYWORD_ONLY}
    assert plain == {
        "epochs": 10,
        "batch_size": 16,
        "learning_rate": 0.001,
        "samples_per_class": 50,
        "output_dir": "results",
        "seed": 42,
        "device": None,
    }


def test_a_run_leaves_its_five_files(trained: tuple[Path, TrainedModel]) -> None:
    """R11.5, R11.16, R11.25: also when called as a function, into a folder that was not there."""
    folder, _ = trained
    names = {path.name for path in folder.iterdir()}
    assert names >= NAMES
    assert len([name for name in names - NAMES if re.fullmatch(r"training_\d{8}_\d{6}\.log", name)]) == 1
    assert (folder / "training_loss.png").read_bytes()[:4] == b"\x89PNG"


def test_the_history_has_the_eleven_keys_and_can_be_plotted(trained: tuple[Path, TrainedModel]) -> None:
    """R11.10, R11.11, R11.28."""
    folder, (_, history) = trained
    stored = json.loads((folder / "training_history.json").read_text())
    assert stored == history
    assert list(stored) == [*KEYS, "timestamp"]
    assert len(stored["loss"]) == len(stored["epoch"]) == stored["epochs"] == 3
    assert stored["epoch"] == [1, 2, 3]
    assert stored["best_loss"] == min(stored["loss"])
    assert stored["best_epoch"] == stored["loss"].index(min(stored["loss"])) + 1
    assert (stored["lr"], stored["batch_size"], stored["seed"], stored["samples_per_class"]) == (0.001, 16, 42, 8)
    assert all(math.isfinite(loss) for loss in stored["loss"])


def test_the_best_and_the_last_model_hold_their_epochs_and_load_as_plain_weights(tmp_path: Path) -> None:
    """R11.8, R11.9: told apart by ending a bumpy training (a large rate) at an epoch that is not the best."""
    losses = small(tmp_path / "long", learning_rate=0.05, epochs=12, seed=1)[1]["loss"]
    worse = next(k for k in range(1, 12) if losses[k] >= min(losses[:k])) + 1
    model, history = small(tmp_path, learning_rate=0.05, epochs=worse, seed=1)
    assert history["loss"] == losses[:worse]
    best, last = (torch.load(tmp_path / f"{n}_model.pt", weights_only=True) for n in ("best", "last"))
    assert set(best) == {"epoch", "model_state_dict", "loss"}
    assert (best["epoch"], best["loss"]) == (history["best_epoch"], history["best_loss"])
    assert (last["epoch"], last["loss"]) == (worse, losses[worse - 1])
    assert best["epoch"] < worse
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in last["model_state_dict"].items())
    # The weights of the best epoch are those of a training that ended there.
    shorter, _ = small(tmp_path / "shorter", learning_rate=0.05, epochs=best["epoch"], seed=1)
    assert all(torch.equal(v, shorter.state_dict()[n]) for n, v in best["model_state_dict"].items())
    assert any(not torch.equal(v, last["model_state_dict"][n]) for n, v in best["model_state_dict"].items())


def test_two_runs_with_one_seed_are_equal_and_another_seed_differs(
    trained: tuple[Path, TrainedModel], tmp_path: Path
) -> None:
    """R11.14: losses, and every byte of the files that hold no time."""
    folder, (_, history) = trained
    torch.rand(5), np.random.rand(5), random.random()  # whoever drew before plays no part
    again, zero = small(tmp_path / "again", seed=42), small(tmp_path / "zero", seed=0)
    assert again[1]["loss"] == history["loss"]
    assert zero[1]["loss"] != history["loss"]
    for name in ("best_model.pt", "last_model.pt", "training_loss.png"):
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name


def test_the_number_of_threads_before_plays_no_part(trained: tuple[Path, TrainedModel], tmp_path: Path) -> None:
    torch.set_num_threads(2)
    try:
        assert small(tmp_path, seed=42)[1]["loss"] == trained[1][1]["loss"]
    finally:
        torch.set_num_threads(1)


def test_the_result_is_copied_and_stored_whole(trained: tuple[Path, TrainedModel]) -> None:
    """A copy is one: changing it leaves the original. Older code deep-copied and stored what it had as the model."""
    _, result = trained
    stored = io.BytesIO()
    torch.save(result, stored)
    stored.seek(0)
    loaded = torch.load(stored, weights_only=False)
    copies = [copy.deepcopy(result), copy.copy(result), loaded]
    inputs = [torch.rand(2, *shape) for shape in pattern_samples(1, 0).shapes.values()]
    scores = result.eval()(*inputs)
    for other in copies:
        assert type(other) is TrainedModel
        assert other[1] == result[1]
        assert torch.equal(other.eval()(*inputs), scores)
    with torch.no_grad():
        next(copies[0].parameters()).zero_()
    assert torch.equal(result(*inputs), scores)


def test_threads_and_flags_of_torch_are_afterwards_what_they_were(tmp_path: Path) -> None:
    """Also where the training fails. Other code in the process need not follow our rules."""

    def flags() -> list[Any]:
        cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
        return [
            torch.get_num_threads(),
            torch.get_deterministic_debug_mode(),
            torch.get_float32_matmul_precision(),
            cudnn.deterministic,
            cudnn.benchmark,
            cudnn.allow_tf32,
            matmul.allow_tf32,
        ]

    before, mine = flags(), [2, 1, "high", False, True, True, True]
    torch.set_num_threads(2)
    torch.set_deterministic_debug_mode(1)
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = False, True
    torch.backends.cudnn.allow_tf32 = True
    torch.set_float32_matmul_precision("high")
    try:
        assert flags() == mine
        small(tmp_path, epochs=1)
        assert flags() == mine
        with pytest.raises(InputError):
            small(tmp_path, epochs=0)
        assert flags() == mine
    finally:
        torch.set_num_threads(before[0])
        torch.set_float32_matmul_precision(before[2])
        torch.backends.cudnn.allow_tf32 = before[5]
        determinism.settle()


def test_the_result_is_a_pair_and_can_be_used_as_the_model(trained: tuple[Path, TrainedModel]) -> None:
    """R11.13, R11.15: `model, history = ...` and the older `model = ...`."""
    _, result = trained
    model, history = result
    assert len(result) == 2
    assert isinstance(model, torch.nn.Module)
    assert history["epochs"] == 3
    assert result.state_dict().keys() == model.state_dict().keys()
    assert result.eval() is model
    inputs = [torch.zeros(2, *shape) for shape in pattern_samples(1, 1).shapes.values()]
    assert torch.equal(result(*inputs), model(*inputs))
    assert result.head is model.head
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        result.nothing  # noqa: B018


def test_the_log_tells_configuration_epochs_checkpoints_and_summary(trained: tuple[Path, TrainedModel]) -> None:
    """R11.6, R11.7, R11.22."""
    folder, (_, history) = trained
    lines = said(folder)
    first, best = history["loss"][0], history["best_loss"]
    expected = [
        "=" * 70,
        "STARTING REPRODUCIBLE TRAINING",
        "=" * 70,
        "  Epochs: 3",
        "  Batch size: 16",
        "  Learning rate: 0.001",
        "  Samples per class: 8",
        "  Random seed: 42",
        f"  Device: {history['device']}",
        "Creating dataset...",
        "Dataset created: 48 samples, 3 batches",  # 6 x 8, ceil(48 / 16)
        "-" * 70,
        f"Epoch [  1/3] | Loss: {first:.4f} | BEST",
        f"Best model saved: {folder / 'best_model.pt'} (loss: {first:.4f})",
        f"Last model saved: {folder / 'last_model.pt'} (epoch 3)",
        "  Total epochs: 3",
        f"  Final loss: {history['loss'][-1]:.4f}",
        f"  Best loss: {best:.4f} (epoch {history['best_epoch']})",
        f"  Loss improvement: {first - best:.4f}",
        "=" * 70,
        "TRAINING COMPLETE",
        "=" * 70,
    ]
    rest = iter(lines)
    assert all(any(line == wanted for line in rest) for wanted in expected), lines
    assert all(line.split(" - ")[1:3] == ["train_pytorch", "INFO"] for line in text_of(folder).splitlines())


def test_a_mark_and_a_saved_model_go_together(tmp_path: Path) -> None:
    """Appendix A25: the mark stands exactly where a best model was saved."""
    small(tmp_path, learning_rate=0.05, epochs=12, seed=1)
    lines = said(tmp_path)
    marked = [i for i, line in enumerate(lines) if line.startswith("Epoch [") and line.endswith("| BEST")]
    saved = [i for i, line in enumerate(lines) if line.startswith("Best model saved")]
    assert [i + 1 for i in marked] == saved
    assert 1 < len(saved) < 12


def test_a_second_run_in_one_process_says_nothing_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """R11.26."""
    for name in ("one", "two"):
        capsys.readouterr()
        small(tmp_path / name, epochs=1)
    console = capsys.readouterr()
    assert console.out.count("TRAINING COMPLETE") == 1
    assert console.err == ""
    assert text_of(tmp_path / "one").count("TRAINING COMPLETE") == 1
    assert logging.getLogger("train_pytorch").handlers == []


def test_a_hundred_samples_per_class_are_600_samples_and_19_batches_of_32(tmp_path: Path) -> None:
    """R11.30: 6 classes x 100 = 600; ceil(600 / 32) = 19."""
    small(tmp_path, epochs=1, samples_per_class=100, batch_size=32)
    assert "Dataset created: 600 samples, 19 batches" in said(tmp_path)


def test_the_device_is_found_and_a_missing_card_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """R11.21."""
    logger = logging.getLogger("tests.device")
    for there, expected in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert pytorch_trainer._device(None, logger) == expected
    _, history = small(tmp_path, epochs=1, device="cuda")
    assert history["device"] == "cpu"
    assert " - WARNING - device 'cuda' was asked for, but torch sees no card here" in text_of(tmp_path)


def test_a_data_set_of_the_users_adds_accuracy_and_validation(tmp_path: Path) -> None:
    """Optional dataset and val_dataset add val_loss, accuracy, val_accuracy."""
    rng = np.random.Generator(np.random.Philox(key=1))
    labels = np.repeat(np.arange(3), 30)
    x = rng.normal(size=(90, 5)) + 3.0 * np.eye(5)[labels]
    _, history = train_pytorch_model(
        epochs=12, learning_rate=0.01, output_dir=tmp_path, dataset=(x, labels), val_dataset=(x[::3], labels[::3])
    )
    assert set(history) == {*KEYS, "timestamp", "accuracy", "val_loss", "val_accuracy"}
    assert len(history["val_loss"]) == len(history["accuracy"]) == 12
    assert history["val_accuracy"][-1] > 0.9  # 3 standard deviations apart
    assert history["samples_per_class"] == 30
    assert "Dataset created: 90 samples, 6 batches, 30 held out" in said(tmp_path)


def test_images_of_the_users_go_through_the_map_branch(tmp_path: Path) -> None:
    images = np.zeros((12, 1, 16, 16), dtype=np.float32)
    images[6:, 0, :, :8] = 1.0
    result = train_pytorch_model(
        epochs=15, learning_rate=0.01, output_dir=tmp_path, dataset=(images, np.repeat([0, 1], 6)), batch_size=4
    )
    assert result[1]["accuracy"][-1] == 1.0


def test_the_network_learns_the_patterns_better_than_the_commonest_class(tmp_path: Path) -> None:
    """Really trained: held-out accuracy against 1 in 6."""
    train, test = train_test_split(pattern_samples(50, seed=3), test_size=0.2, random_state=3)
    _, history = train_pytorch_model(epochs=12, output_dir=tmp_path, dataset=train, val_dataset=test)
    assert history["val_accuracy"][-1] > 0.6
    assert history["loss"][-1] < 0.6 * history["loss"][0]


def test_a_checkpoint_manager_starts_empty_and_takes_strictly_lower_losses_only(tmp_path: Path) -> None:
    """R11.8."""
    logger = setup_logging(tmp_path)
    manager = CheckpointManager(tmp_path, logger)
    assert (manager.best_loss, manager.best_epoch) == (math.inf, 0)
    model = torch.nn.Linear(2, 1)
    manager.save_checkpoint(model, 1, 0.5, is_best=True, is_last=False)
    manager.save_checkpoint(model, 2, 0.5, is_best=True, is_last=False)
    assert (manager.best_loss, manager.best_epoch) == (0.5, 1)
    manager.save_checkpoint(model, 3, 0.4, is_best=True, is_last=True)
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    assert torch.load(tmp_path / "best_model.pt", weights_only=True)["epoch"] == 3
    assert torch.load(tmp_path / "last_model.pt", weights_only=True)["loss"] == 0.4


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"epochs": 0}, InputError, "epochs is a whole number"),
        ({"samples_per_class": 0}, InputError, "samples_per_class is a whole number"),
        ({"seed": -1}, InputError, "a seed is a whole number"),
        ({"device": "tpu"}, InputError, "device is one of"),
        ({"dataset": (np.zeros((2, 1, 1, 1, 1)), np.array([0, 1]))}, InputError, "the default network takes figures"),
        ({"dataset": (np.zeros((2, 3, 1)), np.array([0, 1]))}, InputError, "at least 2 places a side"),
        ({"val_dataset": (np.zeros((1, 1)), np.array([5]))}, DataError, "have the inputs of those to train on"),
        ({"dataset": (np.zeros((4, 1)), np.zeros(4, int))}, DataError, "all 4 samples have label 0"),
        ({"val_dataset": (np.zeros((1, 1)), np.array([6]))}, DataError, "labels are 0 to 5"),
    ],
)
def test_what_cannot_be_trained_is_refused_by_name(
    tmp_path: Path, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        small(tmp_path, **options)


def test_the_network_takes_inputs_of_every_kind() -> None:
    net = PatternNet({"s": (2, 7), "m": (1, 6, 9), "f": (3,)}, 4)
    assert net(torch.zeros(5, 2, 7), torch.zeros(5, 1, 6, 9), torch.zeros(5, 3)).shape == (5, 4)


def test_the_known_names_are_found_under_the_package_as_under_faces() -> None:
    """`from lockstep.train_pytorch import train_pytorch_model, set_seeds`: one function, two addresses."""
    from lockstep import train_pytorch
    from lockstep.faces import train_pytorch as face

    assert set(train_pytorch.__all__) == set(face.__all__)
    assert all(getattr(train_pytorch, name) is getattr(face, name) for name in face.__all__)
