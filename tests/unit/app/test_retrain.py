"""A run retrained with another model: from a user's file, a class, an instance (issue 3; R9.32)."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from torch import nn

import lockstep as ls
from lockstep.app.replay import ReplayResult
from lockstep.core.errors import InputError, NetworkError, RefusedError, SpecError
from lockstep.learning.gradients.record import SessionRecord
from lockstep.runs.folder import RunFolder
from lockstep.runs.store import FolderRunStore
from lockstep.runs.trust import foreign_code, is_imported, mark_imported

NETS = """
from torch import nn

class Straight(nn.Module):
    def __init__(self, features, classes):
        super().__init__()
        self.head = nn.Linear(features, classes)

    def forward(self, x):
        return self.head(x)

class Deep(nn.Module):
    def __init__(self, features, classes, hidden=6):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, classes))

    def forward(self, x):
        return self.body(x)

class Deaf(Straight):
    def forward(self, x):
        return self.head(x[:, 1:])
"""
FIGURES = np.random.Generator(np.random.Philox(key=3)).normal(size=(24, 5)).astype(np.float32)
SPEC: dict[str, Any] = {
    "kind": "classifier",
    "network": {"name": "nets.py:Deep", "parameters": {"hidden": 4}},
    "training": {"epochs": 2, "batch_size": 7, "test_size": 0.25},
}


class Mine(nn.Module):
    def __init__(self, features: int = 5, classes: int = 3) -> None:
        super().__init__()
        self.head = nn.Linear(features, classes, bias=False)

    def forward(self, x: Any) -> Any:
        return self.head(x)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("user")
    (folder / "nets.py").write_text(NETS)
    with pytest.MonkeyPatch.context() as there:
        there.chdir(folder)
        ls.train(SPEC, samples=(FIGURES, np.arange(24) % 3), home="home", tag="old")
    return folder


@pytest.fixture
def here(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = Path(shutil.copytree(trained, tmp_path / "user"))
    monkeypatch.chdir(folder)
    return folder


def batches(run: Any) -> list[list[int]]:
    return [step.samples.tolist() for step in SessionRecord(RunFolder(Path(run.folder))).steps()]


@pytest.mark.parametrize("change", ["training.epochs=3", "training.batch_size=5"])
def test_what_the_recorded_batches_stand_in_for_cannot_be_set(here: Path, change: str) -> None:
    """R9.32: it would change the fingerprint and not one step. No run is made."""
    with pytest.raises(InputError, match=f"so {change.split('=')[0]} stays as it is"):
        ls.retrain("old", overrides=[change], home="home")
    assert len(ls.list_runs(home="home")) == 1


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"overrides": ["network.name=nets.py:Straight"]}, "nets.py:Straight"),
        ({"network": "nets.py:Straight"}, "nets.py:Straight"),
        ({"network": Mine}, "test_retrain.py:Mine"),
        ({"network": Mine()}, "test_retrain.py:Mine"),
    ],
    ids=["override", "file", "class", "instance"],
)
def test_another_model_learns_from_the_same_batches_and_travels_with_the_new_run(
    here: Path, given: dict[str, Any], name: str
) -> None:
    """The old model's `hidden` says nothing to the new one; the new run needs neither old run nor file."""
    old = ls.list_runs(home="home")[0].row
    wanted = batches(old)
    new = ls.retrain("old", home="home", **given)
    assert isinstance(new, ls.TrainResult)
    assert (new.spec["network"]["name"], new.spec["network"]["parameters"]) == (name, {})
    assert batches(new) == wanted
    (here / "nets.py").unlink()
    shutil.rmtree(old.folder)
    again = ls.replay(new.run_id, mode="recompute", home="home")
    assert isinstance(again, ReplayResult)
    assert again.equal
    instance = given.get("network")
    if isinstance(instance, Mine):
        start = SessionRecord(RunFolder(Path(new.folder))).start_state()["weights"]
        assert start[:15].tobytes() == instance.head.weight.detach().numpy().tobytes(), "it begins with these weights"


def test_a_run_retrained_from_an_imported_one_counts_as_imported(here: Path) -> None:
    """Its code was allowed for the old run, and is allowed for this one; in another home it is asked about again."""
    store = FolderRunStore(here / "home")
    old = store.find("old")
    mark_imported(store.home, old.path.name, "theirs.lockstep")
    with pytest.raises(RefusedError, match=r"theirs\.lockstep and brings code of its own"):
        ls.retrain("old", home="home")
    new = RunFolder(ls.retrain("old", home="home", trust=True).folder)
    assert is_imported(new)
    assert foreign_code(new) is None
    other = RunFolder(ls.retrain("old", home="home", network=Mine).folder)
    assert is_imported(other)
    assert foreign_code(other) is None, "a class of this process is the user's own"


def test_the_file_as_it_is_now_is_another_model_and_keeps_its_parameters(here: Path) -> None:
    (here / "nets.py").write_text(NETS.replace("nn.ReLU()", "nn.Tanh()"))
    new = ls.retrain("old", network="nets.py:Deep", home="home")
    assert isinstance(new, ls.TrainResult)
    assert new.spec["network"]["parameters"] == {"hidden": 4}
    assert b"Tanh" in (Path(new.folder) / "code" / "nets.py").read_bytes()


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"network": "nets.py:Deaf"}, NetworkError, "cannot read an input of shape"),
        ({"network": "away.py:Net"}, NetworkError, "there is no such network file"),
        ({"overrides": ["network.parameters.hidden=-3"]}, NetworkError, "cannot be made from its parameters"),
        ({"overrides": ["network.nmae=nets.py:Deep"]}, SpecError, "nmae"),
    ],
)
def test_a_model_that_cannot_learn_from_the_batches_makes_no_run(
    here: Path, given: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        ls.retrain("old", home="home", **given)
    assert len(ls.list_runs(home="home")) == 1
