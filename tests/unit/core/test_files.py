"""Writes are whole or absent, whichever call fails."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lockstep.core import files
from lockstep.core.errors import DiskError

CHANGING = ("open_new", "open_append", "write", "fsync", "rename", "truncate", "fsync_folder", "mkdir")


class FailingFileSystem(files.FileSystem):
    """The real file system, whose n-th changing call fails; a failing write may first take half of its bytes."""

    def __init__(self, fail_at: int, code: int) -> None:
        self.calls = 0
        self.fail_at = fail_at
        self.code = code

    def __getattribute__(self, name: str) -> object:
        real = super().__getattribute__(name)
        if name not in CHANGING:
            return real

        def call(*arguments: object) -> object:
            self.calls += 1
            if self.calls == self.fail_at:
                if name == "write":
                    descriptor, data = arguments
                    files.FileSystem.write(self, descriptor, data[: len(data) // 2])  # type: ignore[arg-type,index]
                raise OSError(self.code, "injected")
            return real(*arguments)  # type: ignore[operator]

        return call


@pytest.fixture
def real_fs() -> Iterator[None]:
    before = files.fs
    yield
    files.fs = before


@pytest.mark.usefixtures("real_fs")
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_whichever_call_fails_an_atomic_write_leaves_the_old_or_the_new_file(tmp_path: Path, code: int) -> None:
    target = tmp_path / "result.json"
    for fail_at in range(1, 50):
        target.write_bytes(b"old")
        failing = FailingFileSystem(fail_at, code)
        files.fs = failing
        try:
            files.write_atomic(target, b"new and longer")
        except DiskError as error:
            assert str(target) in str(error)
            assert target.read_bytes() in {b"old", b"new and longer"}
            assert list(files.temporary_files(tmp_path)) == []
        else:
            assert failing.calls < fail_at, "a failing call was swallowed"
            assert target.read_bytes() == b"new and longer"
            assert fail_at > 4  # open, write, fsync, rename, fsync of the folder were each made to fail
            return
    pytest.fail("the write never succeeded")


@pytest.mark.usefixtures("real_fs")
def test_after_a_failed_append_the_handle_refuses_to_go_on(tmp_path: Path) -> None:
    handle = files.AppendFile(tmp_path / "journal")
    handle.append(b"one\n")
    files.fs = FailingFileSystem(1, errno.ENOSPC)
    with pytest.raises(DiskError, match="The disk is full: free some space"):
        handle.append(b"two\n")
    with pytest.raises(DiskError, match="was closed, perhaps after a failed write"):
        handle.append(b"two\n")
    assert (tmp_path / "journal").read_bytes() == b"one\ntw"  # torn: the owner of the format cuts it


def test_appends_and_cuts_are_where_they_are_said_to_be(tmp_path: Path) -> None:
    with files.AppendFile(tmp_path / "log") as handle:
        handle.append(b"abc")
        handle.append(memoryview(b"defg"))
        handle.sync()
        assert handle.length == 7
    files.truncate(tmp_path / "log", 4)
    with files.AppendFile(tmp_path / "log") as handle:
        assert handle.length == 4
        handle.append(b"!")
    assert (tmp_path / "log").read_bytes() == b"abcd!"


@pytest.mark.usefixtures("real_fs")
def test_every_folder_on_the_way_is_forced_into_the_one_above_it(tmp_path: Path) -> None:
    """Else a power cut takes a whole new home away, with the finished run in it."""
    forced = []

    class Watched(files.FileSystem):
        def fsync_folder(self, folder: Path) -> None:
            forced.append(folder)
            super().fsync_folder(folder)

    files.fs = Watched()
    files.make_folder(tmp_path / "home" / "runs" / "one")
    assert forced == [tmp_path, tmp_path / "home", tmp_path / "home" / "runs"]


@pytest.mark.usefixtures("real_fs")
def test_a_removed_file_is_gone_on_the_device_too(tmp_path: Path) -> None:
    """Else a power cut brings it back: a failure that was mended, a checkpoint that was found damaged."""
    calls = []

    class Watched(files.FileSystem):
        def unlink(self, path: Path) -> None:
            super().unlink(path)
            calls.append(("unlink", path))

        def fsync_folder(self, folder: Path) -> None:
            super().fsync_folder(folder)
            calls.append(("fsync_folder", folder))

    (tmp_path / "failure.json").write_bytes(b"{}")
    files.fs = Watched()
    files.remove(tmp_path / "failure.json")
    assert calls == [("unlink", tmp_path / "failure.json"), ("fsync_folder", tmp_path)]
    files.remove(tmp_path / "failure.json")  # a missing one changes nothing
    assert len(calls) == 2


@pytest.mark.usefixtures("real_fs")
def test_two_threads_that_write_one_path_do_not_meet(tmp_path: Path) -> None:
    target = tmp_path / "snapshot"

    class Meanwhile(files.FileSystem):
        """While the first writer forces its file to the device, a second one writes the same path from start to end."""

        def fsync(self, descriptor: int) -> None:
            super().fsync(descriptor)
            files.fs = files.FileSystem()
            other = threading.Thread(target=files.write_atomic, args=(target, b"other"))
            other.start()
            other.join()
            assert target.read_bytes() == b"other"

    files.fs = Meanwhile()
    files.write_atomic(target, b"first")
    assert target.read_bytes() == b"first"
    assert [path.name for path in tmp_path.iterdir()] == ["snapshot"]


def test_a_temporary_file_is_abandoned_when_nobody_wrote_to_it_for_a_day(tmp_path: Path) -> None:
    """Its writer may live in another container, where a process id of this one says nothing."""
    left, fresh = tmp_path / f".a.arrow.1.77{files.TEMPORARY_SUFFIX}", files.temporary_path(tmp_path / "a.arrow")
    for path in (left, fresh, tmp_path / "a.arrow"):
        path.write_bytes(b"half")
    for path in (left, tmp_path / "a.arrow"):
        os.utime(path, (0, time.time() - files.ABANDONED_S - 60))
    files.remove_abandoned(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([fresh, tmp_path / "a.arrow"])


def test_what_a_crash_left_half_written_is_removed(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    left = tmp_path / "deep" / f".result.json.123{files.TEMPORARY_SUFFIX}"
    left.write_bytes(b"half")
    (tmp_path / "kept").write_bytes(b"whole")
    files.remove_temporary(tmp_path)
    assert not left.exists()
    assert (tmp_path / "kept").exists()


def test_a_file_in_a_folders_place_is_named_with_its_cure(tmp_path: Path) -> None:
    (tmp_path / "home").write_bytes(b"")
    with pytest.raises(DiskError, match=r"cannot create the folder .*home/runs: .* choose another"):
        files.make_folder(tmp_path / "home" / "runs")


def test_a_new_folder_is_nobody_elses(tmp_path: Path) -> None:
    """Many at once ask for one name; each gets a folder of its own."""
    paths: list[Path] = []
    threads = [
        threading.Thread(target=lambda: paths.append(files.make_new_folder(tmp_path / "deep" / "x"))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {path.name for path in paths} == {"x"} | {f"x_{number}" for number in range(2, 9)}
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DiskError, match="cannot create the folder"):
        files.make_new_folder(tmp_path / "file" / "x")
