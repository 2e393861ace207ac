"""The folder of a run: its documents, its lock, its status."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import pytest

from lockstep.core.errors import DiskError, RefusedError
from lockstep.core.hashing import blake3_hex
from lockstep.runs.folder import RunFolder, RunStatus, flat_name, require_folder
from lockstep.storage.documents import document_hash

DOCUMENTS = ("spec", "data", "code", "numerics", "environment")


def new(path: Path, **sources: bytes) -> RunFolder:
    bodies: dict[str, Any] = {kind: {"of": kind} for kind in DOCUMENTS}
    return RunFolder.create(path, **bodies, sources={f"{name}.py": content for name, content in sources.items()})


def test_creating_writes_five_documents_and_the_sources(tmp_path: Path) -> None:
    folder = new(tmp_path / "runs" / "one", mine=b"x = 1\n")
    assert set(folder.listing()) == {"code/mine.py", *(f"{kind}.json" for kind in DOCUMENTS)}
    assert folder.read("spec") == {"of": "spec"}
    assert folder.identity_hashes()["data"] == document_hash({"of": "data"}) == blake3_hex(b'{"of":"data"}')
    assert "environment" not in folder.identity_hashes()


def test_a_folder_with_files_is_not_made_a_run(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("hello")
    with pytest.raises(RefusedError, match=r"needs an empty folder; .* holds files"):
        new(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_status_follows_from_the_files_alone(tmp_path: Path) -> None:
    folder = new(tmp_path / "run")
    assert folder.status() is RunStatus.INTERRUPTED
    with folder.lock():
        assert folder.status() is RunStatus.RUNNING
    folder.write("failure", {})
    assert folder.status() is RunStatus.FAILED
    folder.write("manifest", {})
    assert folder.status() is RunStatus.COMPLETE
    assert (folder.path / "MANIFEST.json").exists()


def test_a_second_writer_is_refused_naming_the_first(tmp_path: Path) -> None:
    folder = new(tmp_path / "run")
    message = (
        rf"one process at a time .* {folder.path} is being written by process {os.getpid()} on .* stop it and resume"
    )
    with folder.lock(), pytest.raises(RefusedError, match=message), folder.lock():
        pass
    with folder.lock():
        pass


def test_the_listing_leaves_out_lock_tags_and_temporary_files(tmp_path: Path) -> None:
    folder = new(tmp_path / "run")
    before = set(folder.listing())
    folder.write("tags", {"tags": ["best"]})
    (folder.path / ".spec.json.1.lockstep-tmp").write_text("torn")
    with folder.lock():
        assert set(folder.listing()) == before


@pytest.mark.parametrize("name", ["a", "a.json", "A-b_c.1", "x" * 120])
def test_flat_names(name: str) -> None:
    assert flat_name(name) == name


@pytest.mark.parametrize("name", ["", ".", "..", ".a", "a/b", "a\\b", "a b", "a\0", "ä", "x" * 121, "a%2e", "a?"])
def test_names_that_could_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="flat name"):
        flat_name(name)


def test_a_missing_document_and_a_missing_folder_are_disk_errors(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match=r"cannot read .*result\.json"):
        RunFolder(tmp_path).result()
    with pytest.raises(DiskError, match="there is no such run folder"):
        require_folder(tmp_path / "none")


def test_odd_floats_of_a_body_come_back(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write("result", {"summary": {"sharpe": math.nan, "factor": math.inf}})
    assert math.isnan(folder.result()["sharpe"])
    assert folder.result()["factor"] == math.inf
