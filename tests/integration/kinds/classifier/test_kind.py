"""The PyTorch kind of classifier: the contract, equality with the plain functions, data, what is refused."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from tests.unit.kinds.builders import estimate_of, folder_of
from tests.unit.kinds.classifier_builders import SMALL, prepared_of, result_of, training_of

from lockstep.core.errors import DataError, IntegrityError, NotComparableError, SpecError
from lockstep.kinds.classifier import data as classifier_data
from lockstep.kinds.classifier.kind import KIND
from lockstep.kinds.classifier.spec import ClassifierSpec
from lockstep.runs.kind import PrepareContext
from lockstep.runs.spec import identity_body, load_spec, resolve
from lockstep.runs.store import FolderRunStore
from lockstep.runs.training import Training
from lockstep.testing.contracts.training_kind import TrainingContract

torch = pytest.importorskip("torch")


class TestClassifierTraining(TrainingContract):
    """3 epochs of 2 updates (12 samples): stopped inside every epoch and resumed, the bytes are the same."""

    @pytest.fixture(autouse=True)
    def _home(self, tmp_path: Path) -> None:
        self.home = tmp_path / "home"

    def make(self, seed: int) -> Training:
        return training_of(prepared_of(self.home, seed=seed, **SMALL), self.home)


def test_a_run_gives_the_numbers_of_the_function(tmp_path: Path) -> None:
    """One training below both: with nothing held out, losses and weights are those of train_pytorch_model."""
    pytest.importorskip("matplotlib")
    from lockstep.learning.supervised.pytorch_trainer import train_pytorch_model

    table = {"epochs": 3, "batch_size": 16, "learning_rate": 0.01, "test_size": 0.0}
    result = result_of(prepared_of(tmp_path, seed=5, data={"samples_per_class": 8}, training=table), tmp_path)
    _, history = train_pytorch_model(
        epochs=3, learning_rate=0.01, samples_per_class=8, seed=5, output_dir=tmp_path / "r", device="cpu"
    )
    assert json.loads(result.artifacts["training_history.json"])["loss"] == history["loss"]
    for name in ("best_model.pt", "last_model.pt"):
        assert result.artifacts[name] == (tmp_path / "r" / name).read_bytes()
    assert result.summary["test"] is None


def test_the_result_says_how_good_it_is_beside_the_commonest_class(tmp_path: Path) -> None:
    """R11.8, R11.9 as artifacts; held out 6 x 2 of 6 x 10."""
    prepared = prepared_of(tmp_path, data={"samples_per_class": 10}, training={"epochs": 2})
    result = result_of(prepared, tmp_path)
    summary = dict(result.summary)
    assert summary["samples"] == {"classes": 6, "training": 48, "validation": 0, "test": 12}
    assert summary["test"]["majority_class_accuracy"] == 2 / 12
    stored = torch.load(io.BytesIO(result.artifacts["best_model.pt"]), weights_only=True)
    assert (stored["epoch"], stored["loss"]) == (summary["training"]["epoch"], summary["training"]["loss"])
    history = json.loads(result.artifacts["training_history.json"])
    assert "timestamp" not in history  # a clock would make equal runs differ
    assert (history["best_loss"], history["seed"]) == (stored["loss"], 42)


def test_the_journal_names_rows_states_and_the_end_of_each_epoch(tmp_path: Path) -> None:
    steps = [
        (dict(step.scalars), dict(step.digests), step.segments["batches"]["index"].tolist())
        for step in training_of(prepared_of(tmp_path, **SMALL), tmp_path).steps()
    ]
    assert [(scalars["epoch"], scalars["batch"]) for scalars, _, _ in steps] == [
        (epoch, batch) for epoch in (1, 2, 3) for batch in (0, 1)
    ]
    assert len({digests["state"] for _, digests, _ in steps}) == 6
    assert ["epoch_loss" in scalars for scalars, _, _ in steps] == [False, True] * 3
    assert steps[-1][0]["val_loss"] is not None
    # 12 of 24 samples are trained on (a fifth of 4 held out of each class twice over), each once an epoch.
    assert [sorted(steps[i][2] + steps[i + 1][2]) for i in (0, 2, 4)] == [list(range(12))] * 3


def test_generated_samples_are_made_again_and_compared(tmp_path: Path) -> None:
    prepared = prepared_of(tmp_path, **SMALL)
    assert prepared.data["snapshots"] == []
    folder = folder_of(prepared, tmp_path / "run")
    spec = resolve(ClassifierSpec, load_spec(folder.read("spec")))
    restored = KIND.restore(spec, folder, PrepareContext(blobs=FolderRunStore(tmp_path).blobs))
    assert restored.data == prepared.data
    assert identity_body(restored.spec) == identity_body(prepared.spec)
    assert result_of(restored, tmp_path).artifacts == result_of(prepared, tmp_path).artifacts
    with pytest.raises(NotComparableError, match="the generator of this version makes"):
        classifier_data.restore({**prepared.data, "digest": "0" * 64}, tmp_path)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_a_file_of_samples_is_pinned_and_the_run_needs_it_no_more(tmp_path: Path, suffix: str) -> None:
    labels = np.repeat(np.arange(2), 8)
    arrays = {"x": np.eye(2, dtype=np.float32)[labels], "labels": labels}
    path = tmp_path / f"mine{suffix}"
    if suffix == ".npz":
        np.savez(path, **arrays)
    else:
        from safetensors.numpy import save_file

        save_file(arrays, path)
    data = {"source": "file", "path": path.name, "classes": ["down", "up"]}
    prepared = prepared_of(tmp_path / "home", base=tmp_path, data=data, training={"epochs": 1})
    assert prepared.data["classes"] == ["down", "up"]
    assert prepared.data["snapshots"] == [prepared.data["digest"]]
    path.unlink()
    folder = folder_of(prepared, tmp_path / "run")
    spec = resolve(ClassifierSpec, load_spec(folder.read("spec")))
    context = PrepareContext(blobs=FolderRunStore(tmp_path / "home").blobs)
    restored = KIND.restore(spec, folder, context)
    assert result_of(restored, tmp_path).artifacts == result_of(prepared, tmp_path).artifacts
    snapshot = context.blobs.path(prepared.data["digest"], classifier_data.SUFFIX)
    content = bytearray(snapshot.read_bytes())
    content[-1] ^= 1
    snapshot.write_bytes(content)
    with pytest.raises(IntegrityError, match=r"not the file's name\. It is not used; restore it from a copy"):
        KIND.restore(spec, folder, context)
    snapshot.unlink()
    with pytest.raises(DataError, match="there is no such snapshot"):
        KIND.restore(spec, folder, context)


def test_the_form_of_data_takes_no_part_in_the_fingerprint_but_the_digest_does(tmp_path: Path) -> None:
    small, large = (prepared_of(tmp_path, data={"samples_per_class": n}) for n in (4, 5))
    assert identity_body(small.spec) == identity_body(large.spec)
    assert small.data["digest"] != large.data["digest"]


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (b"", "a.npz", "cannot be read as .npz"),
        (b"xxxxxxxxxxx", "a.safetensors", "cannot be read as .safetensors"),
        (b"", "a.csv", "a file of samples is .npz or .safetensors; found .csv"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, content: bytes, name: str, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        classifier_data.read_samples(tmp_path / name)


def test_a_file_that_could_run_code_is_never_opened(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", labels=np.array([0, 1]), x=np.array([{}, {}], dtype=object))
    with pytest.raises(DataError, match=r"cannot be read as \.npz"):
        classifier_data.read_samples(tmp_path / "a.npz")


def test_a_file_without_labels_or_inputs_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", labels=np.array([0, 1]))
    with pytest.raises(DataError, match=r"holds the array 'labels' and at least one input; found \['labels'\]"):
        classifier_data.read_samples(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", labels=np.array([0.0, 1.0]), x=np.zeros((2, 1)))
    with pytest.raises(DataError, match=r"b.npz: labels are whole numbers"):
        classifier_data.read_samples(tmp_path / "b.npz")


def test_samples_that_were_given_in_python_have_to_be_given_again(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="give them again"):
        prepared_of(tmp_path, data={"source": "python"})


def test_a_path_without_a_file_source_is_refused() -> None:
    with pytest.raises(SpecError, match='path and source = "file" come together'):
        resolve(ClassifierSpec, {"kind": "classifier", "data": {"path": "x.npz"}})


def test_the_estimate_counts_updates_and_is_never_hashed(tmp_path: Path) -> None:
    prepared = prepared_of(tmp_path, data={"samples_per_class": 10}, training={"epochs": 4})
    estimate = estimate_of(KIND, prepared, tmp_path)
    assert estimate.steps == 4 * 3  # 48 to train on, batches of 16
    assert estimate.seconds is not None
    assert estimate.seconds > 0.0
    assert prepared.numerics["device"] == "cpu"
    assert "torch" in prepared.numerics


def test_parts_of_one_class_and_parts_that_share_samples_are_told(tmp_path: Path) -> None:
    x, labels = np.arange(40.0)[:, None] % 8, np.arange(40) % 2
    with pytest.raises(DataError, match="at least two classes apart; all 40 samples have label 0"):
        prepared_of(tmp_path, given=(x, labels * 0))
    assert any(
        "8 of the samples held out are also trained on" in note
        for note in prepared_of(tmp_path, given=(x, labels)).notes
    )


def test_samples_in_time_are_split_in_order_with_a_purge(tmp_path: Path) -> None:
    """40 samples: the last 8 are tested, 3 before them belong to no part."""
    given = (np.arange(40.0)[:, None], np.arange(40) % 2)
    prepared = prepared_of(tmp_path, given=given, training={"epochs": 1, "split": "in_order", "purge": 3})
    assert result_of(prepared, tmp_path).summary["samples"] == {
        "classes": 2,
        "training": 29,
        "validation": 0,
        "test": 8,
    }
    with pytest.raises(SpecError, match='purge belongs to split = "in_order"'):
        resolve(ClassifierSpec, {"kind": "classifier", "training": {"purge": 3}})


def test_a_validation_part_chooses_the_epoch_whose_weights_are_tested(tmp_path: Path) -> None:
    """Twelve epochs of noise: the training loss falls to the end, the validation loss does not."""
    random = np.random.default_rng(3)
    given = random.normal(size=(60, 12)).astype("f4"), np.arange(60) % 2
    table = {"epochs": 12, "validation_split": 0.3, "learning_rate": 0.02}
    result = result_of(prepared_of(tmp_path, given=given, training=table), tmp_path)
    history = json.loads(result.artifacts["training_history.json"])
    lowest = 1 + int(np.argmin(history["val_loss"]))
    assert lowest < 12 == 1 + int(np.argmin(history["loss"]))
    training = result.summary["training"]
    assert (training["epoch"], training["val_loss"], training["epochs"]) == (lowest, min(history["val_loss"]), 12)
    assert (history["best_epoch"], history["best_val_loss"]) == (lowest, min(history["val_loss"]))
    assert torch.load(io.BytesIO(result.artifacts["best_model.pt"]), weights_only=True)["epoch"] == lowest
    assert sum(map(sum, result.summary["per_class"]["confusion"])) == result.summary["test"]["samples"]
