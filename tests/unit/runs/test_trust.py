"""Where a run came from, and whose code may run."""

from __future__ import annotations

import shutil

import pytest

from lockstep.runs.folder import RunFolder
from lockstep.runs.transfer import export_run, import_run
from lockstep.runs.trust import allow, foreign_code, is_imported


@pytest.fixture
def archive(home, tmp_path):
    (tmp_path / "offset.py").write_text("OFFSET = 1.5\n")
    return export_run(home.train(base=tmp_path, steps=2), tmp_path / "run.zip", blobs=home.store.blobs).path


def test_code_of_a_run_of_this_home_is_nobodys_question(home, archive):
    assert foreign_code(home.store.find("last")) is None


def test_an_imported_run_says_whose_code_it_brings_until_the_user_allows_it(other_home, archive):
    folder = RunFolder(import_run(archive, other_home.store).path)
    code = foreign_code(folder)
    assert (code.archive, dict(code.files), code.home) == ("run.zip", {"offset.py": 13}, other_home.path)
    allow(code)
    assert foreign_code(folder) is None


def test_an_answer_is_about_the_bytes_of_the_code(other_home, archive):
    folder = RunFolder(import_run(archive, other_home.store).path)
    allow(foreign_code(folder))
    (folder.sources / "offset.py").write_text("OFFSET = 9\n")
    assert foreign_code(folder) is not None
    (folder.sources / "offset.py").write_text("OFFSET = 1.5\n")
    assert foreign_code(folder) is None, "the same files are asked about once"


def test_a_damaged_answer_is_no_answer(other_home, archive):
    folder = RunFolder(import_run(archive, other_home.store).path)
    allow(foreign_code(folder))
    answer = next((other_home.path / "imports").glob("code-*.json"))
    answer.write_bytes(answer.read_bytes().replace(b"offset", b"offsat"))
    assert foreign_code(folder) is not None


def test_an_imported_run_without_code_asks_nothing(home, other_home, tmp_path):
    export_run(home.train(steps=2), tmp_path / "run.zip", blobs=home.store.blobs)
    folder = RunFolder(import_run(tmp_path / "run.zip", other_home.store).path)
    assert is_imported(folder)
    assert foreign_code(folder) is None


def test_a_run_folder_that_lies_in_no_home_counts_as_imported(home, archive, tmp_path):
    shutil.copytree(home.store.find("last").path, tmp_path / "unpacked")
    assert foreign_code(RunFolder(tmp_path / "unpacked")).archive is None


def test_a_run_that_is_removed_takes_its_mark_along(other_home, archive):
    taken = import_run(archive, other_home.store)
    other_home.store.remove(taken.run_id)
    assert not list((other_home.path / "imports").iterdir())
