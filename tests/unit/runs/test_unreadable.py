"""Files that are there and cannot be read: a disk or permissions, which says nothing about what they hold."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lockstep.app.runs_admin import check_run, export_run
from lockstep.core.errors import DiskError, UnknownNameError

Fail = Callable[[Path, int], None]


@pytest.fixture
def unreadable(monkeypatch: pytest.MonkeyPatch) -> Fail:
    """Lets every reading of a file end with an error number; root may read whatever the permissions say."""

    def fail(target: Path, number: int) -> None:
        opened = io.open

        def fault(path: Any, *arguments: Any, **options: Any) -> Any:
            if not isinstance(path, int) and Path(os.fspath(path)) == target:
                raise OSError(number, os.strerror(number), str(path))
            return opened(path, *arguments, **options)

        monkeypatch.setattr(io, "open", fault)

    return fail


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
@pytest.mark.parametrize("name", ["code.json", "result.json", "journal.jsonl", "MANIFEST.json"])
def test_a_file_that_cannot_be_read_is_a_matter_of_the_disk_and_not_damage(
    name: str, number: int, home: Any, unreadable: Fail, tmp_path: Path
) -> None:
    folder = home.train(steps=2)
    unreadable(folder.path / name, number)
    try:
        answer = check_run("last", home.store)
    except DiskError as error:  # without the journal nothing else can be compared
        text = str(error)
    else:
        assert answer.exit_code == DiskError.exit_code
        text = answer.text()
        assert "is damaged" not in text
    assert str(folder.path / name) in text
    assert os.strerror(number) in text
    with pytest.raises(DiskError, match=os.strerror(number)):
        export_run("last", tmp_path / "run.zip", home.store)


def test_damage_beside_it_is_still_damage(home: Any, unreadable: Fail) -> None:
    folder = home.train(steps=2)
    path = folder.path / "result.json"
    path.write_bytes(path.read_bytes() + b"x")
    unreadable(folder.path / "code.json", errno.EIO)
    answer = check_run("last", home.store)
    assert answer.exit_code == 1
    assert "is damaged" in answer.text()


def test_a_name_that_may_be_in_tags_that_cannot_be_read_is_not_said_to_be_unknown(home: Any, unreadable: Fail) -> None:
    folder = home.train(steps=2)
    home.store.tag(folder.path.name, "best")
    with pytest.raises(UnknownNameError):
        home.store.find("other")
    unreadable(folder.path / "tags.json", errno.EACCES)
    with pytest.raises(DiskError, match=r"cannot read .*tags\.json: Permission denied\. .*change its permissions"):
        home.store.find("best")


def test_data_that_changed_or_went_are_a_problem_of_the_run_that_pinned_them(home: Any) -> None:
    """`runs check` called a run sound whose snapshot had a flipped bit."""
    folder = home.train(steps=2)
    digests = folder.read("data").get("snapshots", [])
    if not digests:
        pytest.skip("this kind pins no data")
    digest = digests[0]
    path = home.store.blobs.path(digest, home.store.blobs.suffixes(digest)[0])
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert check_run("last", home.store).exit_code == 1
    path.unlink()
    assert check_run("last", home.store).exit_code != 0
