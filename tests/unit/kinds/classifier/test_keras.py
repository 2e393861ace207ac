"""The Keras kind of classifier, on whatever backend is installed: the contract, its defaults, what it records."""

from __future__ import annotations

import importlib.util
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from tests.unit.kinds.classifier_builders import prepared_of, run_of, training_of

from lockstep import bootstrap  # noqa: F401 - registers the models
from lockstep.app.model import load_model
from lockstep.core.errors import NetworkError, SpecError
from lockstep.kinds.classifier.keras import KERAS_KIND
from lockstep.kinds.classifier.spec import KerasClassifierSpec
from lockstep.learning.supervised.fit import Measured
from lockstep.learning.supervised.results import judged
from lockstep.runs.spec import resolve
from lockstep.runs.store import FolderRunStore
from lockstep.runs.training import Training
from lockstep.testing.contracts.training_kind import TrainingContract


class TestKerasTraining(TrainingContract):
    """The same with Keras, on images of 26 x 26."""

    @pytest.fixture(autouse=True)
    def _home(self, tmp_path: Path) -> None:
        pytest.importorskip("h5py")
        if importlib.util.find_spec("keras") is None:
            pytest.skip("Keras is not installed")
        self.home = tmp_path / "home"

    def make(self, seed: int) -> Training:
        labels = np.arange(20) % 2
        images = np.random.Generator(np.random.Philox(key=1)).random((20, 26, 26, 1)) + labels[:, None, None, None]
        prepared = prepared_of(
            self.home, KERAS_KIND, (images, labels), seed=seed, training={"epochs": 2, "batch_size": 6}
        )
        return training_of(prepared, self.home, KERAS_KIND)


def test_the_keras_kind_has_the_defaults_of_the_keras_trainer() -> None:
    """4 x 200 samples, batches of 32, a fifth tested, a fifth of the rest validated."""
    spec = resolve(KerasClassifierSpec, {"kind": "classifier-keras"})
    table = spec.training
    assert (table.epochs, table.batch_size, table.test_size, table.validation_split) == (10, 32, 0.2, 0.2)
    assert spec.data.samples_per_class == 200


def test_the_journal_has_rows_and_weights_of_every_step_and_no_gradients(tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    if importlib.util.find_spec("keras") is None:
        pytest.skip("Keras is not installed")
    images = np.random.Generator(np.random.Philox(key=1)).random((20, 26, 26, 1))
    prepared = prepared_of(tmp_path, KERAS_KIND, (images, np.arange(20) % 2), training={"epochs": 1, "batch_size": 6})
    steps = list(training_of(prepared, tmp_path, KERAS_KIND).steps())
    assert all(step.digests.keys() == {"rows", "weights"} and not step.segments for step in steps)
    folder = run_of(prepared, tmp_path, KERAS_KIND)
    assert {path.name for path in folder.artifacts.iterdir()} == {"radar_model.h5", "training_history.json"}
    with pytest.raises(SpecError, match=r"recording\.level"):
        resolve(KerasClassifierSpec, {"kind": "classifier-keras", "recording": {"level": "full"}})


class _Stub:
    """A learner of this loss whose weights say how many updates it has seen."""

    def __init__(self, loss: float, *, forgetful: bool = False) -> None:
        self.loss, self.forgetful, self.updates = loss, forgetful, 0

    def get_state(self) -> dict[str, int]:
        return {"updates": self.updates}

    def set_state(self, state: dict[str, int]) -> None:
        if not self.forgetful:
            self.updates = state["updates"]

    def update(self, index: int, rows: np.ndarray) -> Measured:
        self.updates += 1
        return Measured(loss_sum=self.loss, correct=0, count=len(rows))

    def validate(self) -> None:
        return None

    def weights(self) -> dict[str, np.ndarray]:
        return {"w": np.array([float(self.updates)])}


@pytest.mark.parametrize(
    ("stub", "message"),
    [
        (_Stub(float("nan")), r"a loss is finite; with 6 samples it is nan. Scale the images"),
        (_Stub(1.0, forgetful=True), r"the same batch with the same noise, twice, gives equal weights; they differ"),
        (_Stub(1.0), None),
    ],
)
def test_a_keras_network_is_rehearsed_before_its_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stub: _Stub, message: str | None
) -> None:
    """The first batch of 6 twice, the last, the first once more; by the mechanism of all rehearsals."""
    pytest.importorskip("h5py")
    if importlib.util.find_spec("keras") is None:
        pytest.skip("Keras is not installed")
    monkeypatch.setattr("lockstep.kinds.classifier.keras_training._learner", lambda plan: stub)
    samples = np.zeros((20, 26, 26, 1)), np.arange(20) % 2
    table = {"epochs": 1, "batch_size": 6}
    with nullcontext() if message is None else pytest.raises(NetworkError, match=message):
        prepared_of(tmp_path, KERAS_KIND, samples, training=table)


def test_the_model_of_a_keras_run_predicts_its_test_as_it_was_tested(tmp_path: Path) -> None:
    """Built anew with the stored weights: the accuracy of the run, and the same from plain arrays."""
    pytest.importorskip("h5py")
    if importlib.util.find_spec("keras") is None:
        pytest.skip("Keras is not installed")
    labels = np.arange(20) % 2
    images = np.random.Generator(np.random.Philox(key=1)).random((20, 26, 26, 1)) + labels[:, None, None, None]
    prepared = prepared_of(tmp_path, KERAS_KIND, (images, labels), training={"epochs": 2, "batch_size": 6})
    folder = run_of(prepared, tmp_path, KERAS_KIND)
    model = load_model(folder, FolderRunStore(tmp_path).blobs)
    test = model.samples("test")  # type: ignore[attr-defined]
    output = model.predict(test)  # type: ignore[attr-defined]
    assert judged(output.probabilities, test, prepared.payload.parts.train) == folder.result()["test"]
    (plain,) = test.inputs.values()
    assert model.predict(plain).probabilities.tobytes() == output.probabilities.tobytes()  # type: ignore[attr-defined]
