"""One run of each release stays readable: checked, read, resumed, and computed again to the same bytes."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from lockstep.runs.check import check
from lockstep.runs.checkpoint import CheckpointStore
from lockstep.runs.folder import RunFolder, RunStatus
from lockstep.runs.journal import read_lines
from lockstep.storage.segments import SegmentReader
from lockstep.testing.contracts.training_kind import hashed_files
from lockstep.testing.toy_training import ToySpec

RUNS = Path(__file__).parent / "runs"
RELEASES = sorted(path.parent.name for path in RUNS.glob("v*/complete"))
"""Folders of the toy's runs; those of archives, `v*-kinds`, are tested by `test_stored_kinds`."""
JOURNAL_HASHES = {"v0.1.0": "b542cdfb1e59afebbac5943904d706f1bc0cf13b95c4f79aa6c88914a13234b7"}


@pytest.fixture
def recipe() -> ModuleType:
    spec = importlib.util.spec_from_file_location("recipe", RUNS / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(params=RELEASES)
def release(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of a release's runs: a test that wrote into the stored ones would spoil them."""
    return Path(shutil.copytree(RUNS / request.param, tmp_path / request.param))


def test_there_is_a_run_of_every_release() -> None:
    assert list(JOURNAL_HASHES) == RELEASES


@pytest.mark.parametrize(("name", "status"), [("complete", RunStatus.COMPLETE), ("interrupted", RunStatus.INTERRUPTED)])
def test_a_stored_run_is_sound(release: Path, name: str, status: RunStatus) -> None:
    report = check(release / name)
    assert report.problems == ()
    assert report.status is status


def test_a_stored_run_reads_as_it_was_written(release: Path) -> None:
    folder = RunFolder(release / "complete")
    lines = list(read_lines(folder.journal))
    assert lines[-1].hash == JOURNAL_HASHES[release.name]
    assert ToySpec.from_document(folder.read("spec")) == ToySpec(seed=42, steps=5, batch=4)
    assert folder.result()["observations"] == 5 * 4
    path = SegmentReader(folder.segments).read("path")
    assert list(path["observation"]) == list(range(20))
    assert path["estimate"].tobytes() == (folder.artifacts / "path.f8").read_bytes()
    median = np.array([line.content["scalars"]["median"] for line in lines if line.type == "step"])
    assert (median == path["estimate"][3::4, 1]).all()
    assert CheckpointStore(folder.checkpoints).load(3).state["index"] == 3


def test_a_stored_interrupted_run_is_resumed_to_the_bytes_of_the_complete_one(
    release: Path, recipe: ModuleType
) -> None:
    folder = RunFolder(release / "interrupted")
    recipe.go(folder)
    assert hashed_files(folder) == hashed_files(RunFolder(release / "complete"))
    assert check(folder.path).problems == ()


def test_the_recipe_still_gives_the_stored_run(tmp_path: Path, recipe: ModuleType) -> None:
    """The newest release's formats are today's. Checkpoints are read, not compared: safetensors may pad otherwise."""
    recipe.main(tmp_path / "again")
    newest = RUNS / RELEASES[-1]
    for name in ("complete", "interrupted"):
        ours, theirs = RunFolder(tmp_path / "again" / name), RunFolder(newest / name)
        assert hashed_files(ours) == hashed_files(theirs)
        assert list(ours.listing()) == list(theirs.listing())
