"""The record of a classifier's training: replayed, computed again, packed, limited; networks of the user's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from tests.unit.kinds.builders import estimate_of
from tests.unit.kinds.classifier_builders import SMALL, prepared_of, run_of, training_of

from lockstep.core.errors import IntegrityError, MissingLibraryError, NetworkError
from lockstep.kinds.classifier.kind import KIND
from lockstep.kinds.classifier.spec import ClassifierSpec
from lockstep.learning.gradients.record import SessionRecord
from lockstep.learning.gradients.replay import recompute_session, recompute_state, replay_gradients
from lockstep.learning.gradients.sessions import load_session
from lockstep.runs.kind import PrepareContext
from lockstep.runs.spec import load_spec, resolve
from lockstep.runs.store import FolderRunStore

NETS = """
import torch
from torch import nn

class Normed(nn.Module):
    \"\"\"BatchNorm and dropout over one input of figures.\"\"\"
    def __init__(self, features, classes, hidden=6):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(features, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Dropout(0.3))
        self.head = nn.Linear(hidden, classes)

    def forward(self, x):
        return self.head(self.body(x))

class Flat(Normed):
    def forward(self, x):
        return super().forward(x).argmax(dim=1)

class Breaks(Normed):
    def forward(self, x):
        return self.head(x)

class Draws(Normed):
    def __init__(self, features, classes):
        super().__init__(features, classes)
        import random
        self.head.bias.data += random.random()
"""
FIGURES = np.random.Generator(np.random.Philox(key=3)).normal(size=(24, 5)).astype(np.float32)
LABELS = np.arange(24) % 3


def figures(tmp_path: Path, name: str = "Normed", **tables: Any) -> Any:
    """A prepared training of a network of `NETS`: 18 of 24 samples, 3 epochs of 3 updates."""
    (tmp_path / "nets.py").write_text(NETS)
    spec = {"network": {"name": f"nets.py:{name}"}, "training": {"epochs": 3, "batch_size": 7, "test_size": 0.25}}
    merged = {key: {**spec.get(key, {}), **tables.get(key, {})} for key in spec.keys() | tables.keys()}
    return prepared_of(tmp_path / "home", given=(FIGURES, LABELS), base=tmp_path, **merged)


@pytest.mark.parametrize("codec", ["raw", "blosc2"])
def test_the_stored_gradients_lead_to_the_last_model_to_the_last_bit(tmp_path: Path, codec: str) -> None:
    """R9.31 for section 11: BatchNorm, dropout, AdamW and clipping; the weights are those of last_model.pt."""
    if codec != "raw":
        pytest.importorskip("blosc2")
    table = {"optimizer": "adamw", "clip_norm": 0.5, "weight_decay": 0.01, "learning_rate": 0.01}
    folder = run_of(figures(tmp_path, training=table, recording={"codec": codec, "snapshot_every": 4}), tmp_path)
    record = SessionRecord(folder)
    replayed = replay_gradients(record, check_every=1)
    assert (replayed.checked, replayed.weights_file) == (9, True)
    assert any(record.columns["clip"] < 1.0)
    stored = torch.load(folder.artifacts / "last_model.pt", weights_only=True)["model_state_dict"]
    assert all(np.array_equal(stored[name].numpy(), array) for name, array in replayed.weights.items())
    assert "body.1.running_mean" in record.step(4).model_state


@pytest.mark.parametrize("level", ["full", "norms", "none"])
def test_every_step_is_computed_again_and_every_state_comes_back(tmp_path: Path, level: str) -> None:
    prepared = figures(tmp_path, recording={"level": level, "snapshot_every": 4})
    folder = run_of(prepared, tmp_path)
    record = SessionRecord(folder)
    again = recompute_session(training_of(prepared, tmp_path), record)
    assert (again.equal, again.computed) == (True, 9)
    training: Any = training_of(prepared, tmp_path)
    assert recompute_state(training, record, 5)["weights"].dtype == np.float32
    session = load_session(folder, thorough=True)
    assert (session.steps, session.model_name) == (9, "nets.py:Normed")


def test_whatever_is_recorded_the_numbers_are_the_same(tmp_path: Path) -> None:
    """Levels, codec and limits change no loss and no weight: the files of every run are equal to the last byte."""
    tables: list[dict[str, Any]] = [
        {"level": "full"},
        {"level": "norms"},
        {"level": "none", "digest_every": 5},
        {"every": 2, "select": ["head.*"]},
        {"max_bytes": 9_000, "at_limit": "norms"},
    ]
    left = []
    for table in tables:
        folder = run_of(figures(tmp_path, recording=table), tmp_path)
        left.append({path.name: path.read_bytes() for path in folder.artifacts.iterdir()})
    assert folder.result()["level"] == "norms", "the last of them met its limit"
    assert left[0].keys() == {"best_model.pt", "last_model.pt", "training_history.json", "weights.safetensors"}
    assert all(files == left[0] for files in left[1:])


def test_a_session_that_the_limit_ends_inside_an_epoch_keeps_what_it_has(tmp_path: Path) -> None:
    """The start takes a snapshot of 3 x 4 bytes a weight; a limit just above leaves room for a step or two."""
    folder = run_of(figures(tmp_path, recording={"max_bytes": 3_000}), tmp_path)
    summary = folder.result()
    assert summary["ended"] == "max_bytes"
    assert 0 < summary["steps"] < 3
    assert summary["training"]["epoch"] is None
    assert {path.name for path in folder.artifacts.iterdir()} == {"last_model.pt", "weights.safetensors"}
    stored = torch.load(folder.artifacts / "last_model.pt", weights_only=True)
    assert stored["epoch"] == 1
    assert stored["loss"] == summary["training"]["last_loss"]
    assert replay_gradients(SessionRecord(folder)).weights_file


def test_a_network_of_the_users_travels_with_the_run(tmp_path: Path) -> None:
    prepared = figures(tmp_path, network={"parameters": {"hidden": 4}})
    folder = run_of(prepared, tmp_path)
    (tmp_path / "nets.py").unlink()
    spec = resolve(ClassifierSpec, load_spec(folder.read("spec")))
    restored = KIND.restore(spec, folder, PrepareContext(blobs=FolderRunStore(tmp_path / "home").blobs))
    assert recompute_session(training_of(restored, tmp_path), SessionRecord(folder)).equal
    assert SessionRecord(folder).description.layout.slots[0].shape == (4, 5)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "Flat",
            r"nets.py:Flat: .*one score for each sample and class, \(7, 3\) for 7 samples; found torch.int64 \(7,\)",
        ),
        ("Breaks", r"nets.py:Breaks, line 2\d: the network cannot read an input of shape \(7, 5\)"),
        ("Draws", "made twice from the same seed it has other weights"),
        ("Absent", "Absent"),
    ],
)
def test_a_network_that_cannot_be_a_classifier_is_refused_before_the_run(
    tmp_path: Path, name: str, message: str
) -> None:
    with pytest.raises(NetworkError, match=message):
        figures(tmp_path, name)


def test_a_flipped_bit_of_a_packed_gradient_is_found_before_it_is_unpacked(tmp_path: Path) -> None:
    pytest.importorskip("blosc2")
    folder = run_of(figures(tmp_path, recording={"codec": "blosc2"}), tmp_path)
    path = folder.segments / "gradients.000000.seg"
    content = bytearray(path.read_bytes())
    content[-40] ^= 4
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match="does not match its digest"):
        replay_gradients(SessionRecord(folder))


def test_the_packer_is_part_of_the_numerics_and_asked_for_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blosc2 = pytest.importorskip("blosc2")
    assert figures(tmp_path, recording={"codec": "blosc2"}).numerics["blosc2"] == blosc2.__version__
    assert "blosc2" not in figures(tmp_path).numerics
    monkeypatch.setitem(__import__("sys").modules, "blosc2", None)
    with pytest.raises(MissingLibraryError, match=r"pip install -e .*\[codecs\]"):
        figures(tmp_path, recording={"codec": "blosc2"})


def test_the_estimate_is_that_of_the_record(tmp_path: Path) -> None:
    prepared = figures(tmp_path)
    folder = run_of(prepared, tmp_path)
    written = folder.result()["segment_bytes"] + folder.journal.stat().st_size
    assert estimate_of(KIND, prepared, tmp_path).disk_bytes == pytest.approx(written, rel=0.2)


def test_the_built_in_network_reads_three_inputs(tmp_path: Path) -> None:
    record = SessionRecord(run_of(prepared_of(tmp_path, **SMALL), tmp_path))
    assert record.description.layout.slots[0].name == "branches.0.0.weight"
    assert replay_gradients(record).weights_file
