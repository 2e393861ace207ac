"""The folder store: whole runs only, safe names, quick lists."""

import os
import re
import shutil
import time

import pytest

from lockstep.core import files
from lockstep.core.errors import DiskError, InputError, RefusedError, UnknownNameError
from lockstep.runs.store import FolderRunStore, default_home, new_run_id, reproduction
from lockstep.storage.lock import Words, locked
from lockstep.testing.contracts.run_store import complete, create


def test_a_run_id_is_its_birth_in_utc_and_sorts_by_it():
    # 2026-11-20 23:58:01.007 UTC
    first, second = new_run_id(1_795_219_081_007), new_run_id(1_795_219_081_008)
    assert re.fullmatch(r"20261120T235801007-[0-9a-f]{6}", first), first
    assert first < second
    assert new_run_id(0).startswith("19700101T000000000-")


def test_the_later_of_two_runs_born_in_one_millisecond_is_the_last(tmp_path):
    class Still:
        """A clock that stands at one millisecond."""

        def utc_ms(self):
            return 1_795_219_081_007

        def monotonic(self):
            return 0.0

    store = FolderRunStore(tmp_path, clock=Still())
    for _ in range(6):
        newest = create(store)
        assert store.find("last").path == newest.path


def test_the_home_is_a_variable_or_a_folder_here(monkeypatch):
    monkeypatch.delenv("LOCKSTEP_HOME", raising=False)
    assert str(default_home()) == "lockstep-home"
    monkeypatch.setenv("LOCKSTEP_HOME", "/somewhere")
    assert str(default_home()) == "/somewhere"


@pytest.mark.parametrize("call", ["open_new", "write", "fsync", "rename", "fsync_folder"])
def test_a_run_that_cannot_be_created_leaves_nothing(tmp_path, monkeypatch, call):
    store = FolderRunStore(tmp_path)
    files.make_folder(store.runs)

    class Full(files.FileSystem):
        calls = 0

        def __getattribute__(self, name):
            if name == call:
                Full.calls += 1
                if Full.calls == 3:
                    raise OSError(28, "No space left on device")
            return super().__getattribute__(name)

    with monkeypatch.context() as patch:
        patch.setattr(files, "fs", Full())
        if call == "rename":
            Full.calls = 1
        with pytest.raises(DiskError, match="The disk is full"):
            create(store)
    assert list(store.runs.iterdir()) == []
    assert store.list() == []


def test_what_a_killed_process_left_half_made_is_cleared_and_what_is_held_is_not(tmp_path):
    """A process of another container that shares the home holds a lock; its id means nothing here."""
    store = FolderRunStore(tmp_path)
    create(store)
    names = (
        ".new-20260101T000000000-abcdef-1",
        ".remove-20260101T000000000-abcdef-2",
        ".new-20260101T000000001-abcdef-3",
    )
    left, half_removed, living = (store.runs / name for name in names)
    for folder in (left, half_removed, living):
        shutil.copytree(store.list()[0].folder, folder)
        (folder / "lock").touch()
    assert len(store.list()) == 1
    with locked(living, Words("a run elsewhere", "")):
        create(store)
    assert not left.exists()
    assert not half_removed.exists()
    assert living.exists()


def test_a_folder_without_a_lock_is_left_alone_for_a_day(tmp_path):
    """Earlier versions made them so, and may be at work now."""
    store = FolderRunStore(tmp_path)
    create(store)
    young, old = store.runs / ".new-young-1", store.runs / ".new-old-1"
    for folder in (young, old):
        folder.mkdir()
    os.utime(old, (0, 0))
    create(store)
    assert young.exists()
    assert not old.exists()


def test_a_folder_is_admitted_once_and_under_a_run_id_only(tmp_path):
    store = FolderRunStore(tmp_path)
    folder = create(store)
    shutil.copytree(folder.path, tmp_path / "copy")
    with pytest.raises(RefusedError, match="nothing is overwritten"):
        store.admit(tmp_path / "copy", folder.path.name)
    with pytest.raises(InputError, match="a run id looks like"):
        store.admit(tmp_path / "copy", "../../evil")


@pytest.mark.parametrize("name", ["..", "../x", "/etc", ".", ""])
def test_names_cannot_climb_out_of_the_home(tmp_path, name):
    store = FolderRunStore(tmp_path)
    create(store)
    create(store)
    with pytest.raises((UnknownNameError, DiskError)):
        store.find(name)


def test_a_thousand_runs_are_listed_in_a_moment(tmp_path):
    store = FolderRunStore(tmp_path)
    original = complete(store).path
    for i in range(999):
        shutil.copytree(original, store.runs / new_run_id(1_790_000_000_000 + i))
    began = time.monotonic()
    rows = store.list()
    assert len(rows) == 1_000
    # Generous for a busy machine: about 0.4 ms a run on an idle one.
    assert time.monotonic() - began < 5


def test_a_beginning_of_many_runs_lists_five_and_counts_the_others(tmp_path):
    store = FolderRunStore(tmp_path)
    for i in range(7):
        (store.runs / new_run_id(1_790_000_000_000 + i)).mkdir(parents=True)
    with pytest.raises(UnknownNameError) as caught:
        store.find("2026")
    assert "'2026' is the beginning of 7 runs: " in str(caught.value)
    assert str(caught.value).count("2026092") == 5
    assert " and 2 more. Write more letters, or give a run a name with `lockstep runs tag`." in str(caught.value)


def test_a_name_that_no_run_has_is_answered_with_a_near_one_or_none(tmp_path):
    """The latest run is named as such: to offer it would say that it was meant."""
    store = FolderRunStore(tmp_path)
    run = complete(store).path.name
    store.tag(run, "baseline")
    with pytest.raises(UnknownNameError, match=rf"id or tag\. Did you mean 'baseline'\? The latest run is {run}; "):
        store.find("basline")
    with pytest.raises(UnknownNameError, match=r"has this id or tag. Did you mean 'last'\?"):
        store.find("lsat")
    with pytest.raises(UnknownNameError, match=rf"id or tag\. The latest run is {run}; `lockstep runs list`"):
        store.find("seven")


@pytest.mark.parametrize("tag", ["2026", "202611", "20261121", "20261121T", "20261121T0113", "20261121T011319040-28d8"])
def test_a_tag_that_begins_like_a_run_is_refused_with_the_cure(tmp_path, tag):
    """It would take the place of the runs of that day in every command."""
    store = FolderRunStore(tmp_path)
    run = complete(store).path.name
    with pytest.raises(InputError, match=f"beginning of a run id.*found '{tag}'. Begin it with a letter, such as v"):
        store.tag(run, tag)
    for name in (f"v{tag}", "7", "12", "1000"):
        store.tag(run, name)
        assert store.find(name).path.name == run


def test_the_line_that_reproduces_a_run(tmp_path):
    folder = complete(FolderRunStore(tmp_path), seed=42)
    assert reproduction(folder) == {
        "seed": 42,
        "fingerprint": folder.read("manifest")["fingerprint"],
        "data_hash": "d" * 64,
        "command": f"lockstep verify {folder.path.name}",
    }


def test_a_store_in_a_read_only_place_says_so(tmp_path):
    if os.geteuid() == 0:
        target = tmp_path / "file"
        target.write_text("")
        with pytest.raises(DiskError, match="create the folder"):
            create(FolderRunStore(target / "home"))
    else:
        tmp_path.chmod(0o500)
        with pytest.raises(DiskError, match="Permission is denied"):
            create(FolderRunStore(tmp_path / "home"))
        tmp_path.chmod(0o700)


def test_a_folder_whose_name_only_looks_like_a_run_id_is_no_run(tmp_path):
    store = FolderRunStore(tmp_path)
    (store.runs / "20260101T000099000-abcdef").mkdir(parents=True)  # the 99th second of a minute
    assert store.list() == []


def test_data_that_runs_share_lie_in_the_folder_snapshots_of_the_home(tmp_path):
    """Homes of earlier versions have them there, and a spec may name such a file as its data."""
    digest = FolderRunStore(tmp_path).blobs.put(b"shared", ".toy")
    assert (tmp_path / "snapshots" / f"{digest}.toy").read_bytes() == b"shared"


def test_creating_a_run_clears_what_a_dead_writer_of_data_left_a_day_ago(tmp_path):
    store = FolderRunStore(tmp_path)
    store.blobs.put(b"shared", ".toy")
    left = tmp_path / "snapshots" / ".half.toy.1.1.lockstep-tmp"
    left.write_bytes(b"half")
    os.utime(left, (0, 0))
    create(store)
    assert not left.exists()
    assert len(store.blobs.digests(".toy")) == 1


def test_a_home_is_found_from_the_folders_below_it(tmp_path, monkeypatch):
    monkeypatch.delenv("LOCKSTEP_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    create(FolderRunStore(default_home()))
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert default_home() == tmp_path / "lockstep-home"
    (below / "lockstep-home").mkdir()
    assert str(default_home()) == "lockstep-home", "the nearest one"


def test_a_home_in_a_repository_is_not_among_its_files(tmp_path):
    create(FolderRunStore(tmp_path / "lockstep-home"))
    assert (tmp_path / "lockstep-home" / ".gitignore").read_text() == "*\n"
