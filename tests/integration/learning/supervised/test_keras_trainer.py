"""The Keras trainer, really trained; small images except where the default data set is the subject."""

# ruff: noqa: NPY002 - the legacy global generator is what set_seeds seeds

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import random
import subprocess
import sys
import types
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lockstep.core.errors import MissingLibraryError
from lockstep.learning import keras_trainer as public_place
from lockstep.learning.supervised import keras_trainer

KEYS = {
    "epoch", "loss", "val_loss", "accuracy", "val_accuracy", "epochs", "batch_size", "test_size", "validation_split",
    "seed", "timestamp",
}  # fmt: skip


def need_keras() -> Any:
    pytest.importorskip("matplotlib")
    pytest.importorskip("h5py")
    if importlib.util.find_spec("keras") is None:
        pytest.skip("Keras is not installed")
    from lockstep.learning.supervised.keras_library import require_keras

    return require_keras()


@pytest.fixture(autouse=True)
def _globals_stay_as_they_were() -> Iterator[None]:
    python, numpy = random.getstate(), np.random.get_state()
    yield
    random.setstate(python)
    np.random.set_state(numpy)


def squares(count: int = 40, side: int = 26) -> tuple[np.ndarray, np.ndarray]:
    """Two classes of images: the left or the right half is bright, under noise."""
    rng = np.random.Generator(np.random.Philox(key=2))
    labels = np.arange(count) % 2
    images = rng.random((count, side, side, 1)).astype(np.float32)
    images[labels == 0, :, : side // 2] += 1.0
    images[labels == 1, :, side // 2 :] += 1.0
    return images, labels


def small(folder: Path, **options: Any) -> tuple[Any, np.ndarray, np.ndarray, dict[str, Any]]:
    need_keras()
    defaults = {"epochs": 2, "batch_size": 8, "output_dir": folder, "dataset": squares()}
    return keras_trainer.train(**{**defaults, **options})


def test_set_seeds_seeds_tensorflow_when_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """R11.3; R11.1 in this module too."""
    seeded: list[int] = []
    stand_in = types.ModuleType("tensorflow")
    stand_in.random = types.SimpleNamespace(set_seed=seeded.append)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tensorflow", stand_in)
    keras_trainer.set_seeds(42)
    first = (random.random(), np.random.rand(2).tolist())
    keras_trainer.set_seeds()
    assert (random.random(), np.random.rand(2).tolist()) == first
    assert seeded == [42, 42]


def test_train_has_the_six_parameters_and_defaults() -> None:
    """R11.18, under both names."""
    parameters = inspect.signature(public_place.train).parameters
    plain = {n: p.default for n, p in parameters.items() if p.kind is not inspect.Parameter.KEYWORD_ONLY}
    assert plain == {
        "epochs": 10,
        "batch_size": 32,
        "test_size": 0.2,
        "output_dir": "results",
        "seed": 42,
        "validation_split": 0.2,
    }
    assert public_place.train is keras_trainer.train


def test_train_returns_four_items_and_leaves_its_four_files(tmp_path: Path) -> None:
    """R11.18, R11.19, R11.20, R11.25."""
    model, x_test, y_test, history = small(tmp_path / "new")
    assert x_test.shape == (8, 26, 26, 1)  # 40 x 0.2
    assert y_test.shape == (8,)
    assert set(history) == KEYS
    assert len(KEYS) == 11
    assert all(len(history[n]) == 2 for n in ("epoch", "loss", "val_loss", "accuracy", "val_accuracy"))
    names = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert len(names) == 4
    assert [name for name in names[1:] if not name.endswith(".log")] == [
        "training_history.json",
        "training_history.png",
    ]
    assert json.loads((tmp_path / "new" / "training_history.json").read_text()) == history
    assert model.count_params() > 0


def test_one_seed_gives_one_result_to_the_last_byte_and_another_seed_another(tmp_path: Path) -> None:
    """R11.14 for Keras; R11.4: the test part moves with the seed."""
    one, again, zero = (small(tmp_path / name, seed=s) for name, s in (("a", 42), ("b", 42), ("c", 0)))
    assert one[3]["loss"] == again[3]["loss"] != zero[3]["loss"]
    assert np.array_equal(one[1], again[1])
    assert not np.array_equal(one[1], zero[1])
    for name in ("radar_model.h5", "training_history.png"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_it_really_learns(tmp_path: Path) -> None:
    """R11.29: far better than 1 in 2 on images it never saw."""
    model, x_test, y_test, history = small(tmp_path, epochs=12)
    from lockstep.learning.supervised.keras_learner import probabilities

    assert (probabilities(model, x_test).argmax(axis=1) == y_test).mean() == 1.0
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    assert history["val_accuracy"][-1] == 1.0


def test_the_model_opens_with_keras_and_rebuilds_from_code(tmp_path: Path) -> None:
    """Decision D14: architecture and weights are in the file; Lockstep itself loads only the weights."""
    keras = need_keras()
    model, x_test, *_ = small(tmp_path)
    from lockstep.learning.supervised.keras_learner import load_weights, probabilities

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        opened = keras.models.load_model(tmp_path / "radar_model.h5", compile=False)
    rebuilt = load_weights(tmp_path / "radar_model.h5", x_test.shape[1:], 2)
    assert np.array_equal(probabilities(opened, x_test), probabilities(model, x_test))
    assert np.array_equal(probabilities(rebuilt, x_test), probabilities(model, x_test))


def test_the_log_says_how_a_fresh_process_opens_the_model_and_it_does(tmp_path: Path) -> None:
    """`import keras` looks for TensorFlow there, unless the variable names what is installed."""
    model, *_ = small(tmp_path, epochs=1)
    (log,) = tmp_path.glob("training_*.log")
    line = next(line for line in log.read_text().splitlines() if "load_model" in line)
    variable, value = line.rpartition(" ")[2].split("=")
    code = "import sys, keras; print(keras.models.load_model(sys.argv[1], compile=False).count_params())"
    call = [sys.executable, "-c", code, str(tmp_path / "radar_model.h5")]
    opened = subprocess.run(call, env={**os.environ, variable: value}, capture_output=True, text=True, check=True)
    assert (variable, opened.stdout.split()) == ("KERAS_BACKEND", [str(model.count_params())])


def test_without_a_validation_split_the_lists_are_null(tmp_path: Path) -> None:
    *_, history = small(tmp_path, validation_split=0.0, epochs=1)
    assert history["val_loss"] == history["val_accuracy"] == [None]


def test_the_default_data_set_is_four_patterns_of_200_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """800 images of 128 x 128 x 1; 160 tested, 128 of the 640 left validated, 512 = 4 x 128 trained on."""
    need_keras()
    _, x_test, y_test, history = keras_trainer.train(epochs=1, batch_size=128, output_dir=tmp_path)
    assert x_test.shape == (160, 128, 128, 1)
    assert sorted(set(y_test.tolist())) == [0, 1, 2, 3]
    assert history["val_accuracy"][0] > 0.3  # after four updates already better than 1 in 4
    console = capsys.readouterr()
    assert "Dataset created: 512 samples, 4 batches, 288 held out" in console.out
    assert "STARTING REPRODUCIBLE TRAINING" in console.out
    assert " - train - INFO - Epoch [  1/1] | Loss: " in console.out
    assert "BEST" not in console.out, "mark and saved best model go together, and only the last one is saved here"
    assert console.err == ""


def test_a_missing_keras_is_a_message_with_a_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """R11.29: where Keras cannot be imported; nothing is written before it is noticed."""
    monkeypatch.setitem(sys.modules, "keras", None)
    with pytest.raises(ImportError) as caught:
        keras_trainer.train(output_dir=str(tmp_path / "none"))
    assert isinstance(caught.value, MissingLibraryError)
    assert str(caught.value).startswith("training with Keras needs keras, which cannot be loaded here")
    assert "[keras]'" in str(caught.value)
    assert not (tmp_path / "none").exists()


def test_a_backend_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from lockstep.learning.supervised import keras_library

    monkeypatch.setenv("KERAS_BACKEND", "nosuchbackend")
    monkeypatch.setattr(keras_library, "installed", lambda name: name == "keras")
    with pytest.raises(MissingLibraryError, match="Keras computes with nosuchbackend, which is not installed"):
        keras_library.require_keras()


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ((np.zeros((4, 9, 9, 1)), np.array([0, 1, 0, 1])), "sides of at least 25; found samples of shape"),
        (({"a": np.zeros((4, 3)), "b": np.zeros((4, 3))}, np.array([0, 1, 0, 1])), "takes one image per sample"),
    ],
)
def test_a_data_set_that_is_no_images_is_refused(tmp_path: Path, dataset: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(tmp_path, dataset=dataset, test_size=0.5, validation_split=0.0)


def test_tensorflow_trains_the_same_way_where_it_is_installed(tmp_path: Path) -> None:
    """Decision D14: one run uses TensorFlow. In a process of its own: a backend is chosen once per process."""
    need_keras()
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip("TensorFlow is not installed")
    ask = f"""
import numpy as np
from lockstep.learning.keras_trainer import train
rng = np.random.Generator(np.random.Philox(key=2))
x, y = rng.random((40, 26, 26, 1)), np.arange(40) % 2
losses = [train(epochs=2, batch_size=8, output_dir={str(tmp_path)!r}, dataset=(x, y))[3]["loss"] for _ in range(2)]
import keras
assert keras.backend.backend() == "tensorflow" and losses[0] == losses[1], losses
"""
    subprocess.run([sys.executable, "-c", ask], check=True, env={**__import__("os").environ, "KERAS_BACKEND": ""})


@pytest.mark.parametrize(
    ("shape", "classes"), [((25, 25, 1), 2), ((26, 40, 3), 5), ((128, 128, 1), 4), ((31, 27, 2), 3)]
)
def test_weights_are_counted_without_making_them(shape: tuple[int, ...], classes: int) -> None:
    """What an estimate says of a network is what Keras makes."""
    need_keras()
    from lockstep.learning.supervised.keras_learner import build_model, weight_count
    from lockstep.runs.seeds import SeedTree

    assert weight_count(shape, classes) == build_model(shape, classes, SeedTree(1)).count_params()
