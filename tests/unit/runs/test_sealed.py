"""A complete run is read by way of its seal."""

from __future__ import annotations

import shutil

import pytest

from lockstep.core.errors import IntegrityError
from lockstep.runs.results import SearchView, read_result
from lockstep.runs.sealed import require_sealed, sealed_bytes, sealed_document


@pytest.fixture
def folder(home):
    return home.train(steps=3)


def test_a_file_is_its_sealed_bytes_or_an_error(folder):
    name = "artifacts/quantiles.json"
    path = folder.path / name
    assert sealed_bytes(folder, name) == path.read_bytes()
    assert sealed_bytes(folder, "artifacts/none") is None
    path.write_bytes(path.read_bytes()[:-1] + b" ")
    with pytest.raises(IntegrityError, match="its bytes changed"):
        sealed_bytes(folder, name)
    path.unlink()
    with pytest.raises(IntegrityError, match="missing"):
        sealed_bytes(folder, name)


@pytest.mark.parametrize("kind", ["spec", "data", "environment", "result"])
def test_a_sound_document_of_another_run_is_no_document_of_this_one(home, folder, kind):
    """It checks itself; only the manifest shows that it lies in the wrong folder."""
    other = home.train(steps=5)
    if kind == "data":
        folder.write("data", {"digest": "0" * 64, "snapshots": []})
    else:
        shutil.copy(other.document(kind), folder.document(kind))
    with pytest.raises(IntegrityError, match=f"{kind}.json"):
        sealed_document(folder, kind)
    with pytest.raises(IntegrityError, match=f"{kind}.json"):
        read_result(folder)


@pytest.mark.parametrize("damage", ["cut", "missing", "changed", "more"])
def test_columns_of_a_cut_or_missing_segment_are_never_read_as_fewer(folder, monkeypatch, damage):
    monkeypatch.setattr("lockstep.runs.results.TRIALS", "path")
    view = SearchView(folder=folder.path, best=None, counts={})
    assert len(view.trials()["estimate"]) == 3 * 8
    part = folder.segments / "path.000000.seg"
    data = part.read_bytes()
    if damage == "cut":
        part.write_bytes(data[: len(data) * 2 // 3])
    elif damage == "missing":
        part.unlink()
    elif damage == "changed":
        part.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    else:
        shutil.copy(part, folder.segments / "path.000001.seg")
    with pytest.raises(IntegrityError, match="path"):
        view.trials()


def test_a_run_that_has_not_ended_has_no_seal_to_compare_with(folder):
    folder.document("manifest").unlink()
    require_sealed(folder, lambda name: True)
    assert sealed_bytes(folder, "result.json") is None
