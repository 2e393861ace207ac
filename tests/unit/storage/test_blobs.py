"""Blobs in a folder: names and bytes on disk, crashes, damage, cures. What every store promises: tests/contract."""

from __future__ import annotations

import errno
import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cloudpickle
import numpy as np
import pytest
from safetensors.numpy import load, save

from lockstep.core.errors import DataError, DiskError, IntegrityError
from lockstep.core.hashing import blake3_hex, digest_columns
from lockstep.storage.blobs import FolderBlobStore, StoreAddress, array_bytes, open_store
from lockstep.testing.faults import Crash, CrashAt, FailAt, PowerCutAt, faults

CONTENT = b"what runs share " * 100
DIGEST = blake3_hex(CONTENT)
ARRAYS = {"a": np.arange(5.0), "b": np.array(3, np.int64)}


@pytest.fixture
def blobs(tmp_path: Path) -> FolderBlobStore:
    return FolderBlobStore(tmp_path / "home" / "snapshots")


def names(blobs: FolderBlobStore) -> list[str]:
    return sorted(path.name for path in blobs.folder.iterdir()) if blobs.folder.exists() else []


def test_a_blob_is_the_file_of_its_digest_and_suffix(blobs: FolderBlobStore) -> None:
    assert blobs.put(CONTENT, ".toy") == DIGEST
    assert names(blobs) == [f"{DIGEST}.toy"]
    assert (blobs.folder / f"{DIGEST}.toy").read_bytes() == CONTENT
    assert blobs.path(DIGEST, ".toy") == blobs.folder / f"{DIGEST}.toy"


def test_arrays_are_an_ordinary_safetensors_file_named_by_their_columns(blobs: FolderBlobStore) -> None:
    """A number stays a number, and the file is the one that safetensors writes of arrays in C order."""
    digest = blobs.put_arrays({"a": np.asfortranarray(np.eye(3)), "b": ARRAYS["b"]}, ".safetensors")
    assert digest == digest_columns({"a": np.eye(3), "b": ARRAYS["b"]})
    data = (blobs.folder / f"{digest}.safetensors").read_bytes()
    assert data == save({"a": np.eye(3), "b": ARRAYS["b"]})
    assert load(data)["b"].shape == ()


def test_a_sound_blob_is_never_written_again(blobs: FolderBlobStore) -> None:
    blobs.put(CONTENT, ".toy")
    digest = blobs.put_arrays(ARRAYS, ".arrays")
    before = [blobs.path(DIGEST, ".toy").stat(), blobs.path(digest, ".arrays").stat()]
    with faults(FailAt(1, errno.EIO)) as disk:
        assert blobs.put(CONTENT, ".toy") == DIGEST
        assert blobs.put_arrays(ARRAYS, ".arrays") == digest
        blobs.put_named(DIGEST, ".toy", lambda: b"other", lambda path: None)
    assert disk.calls == 0
    after = [blobs.path(DIGEST, ".toy").stat(), blobs.path(digest, ".arrays").stat()]
    assert [(stat.st_ino, stat.st_mtime_ns) for stat in after] == [(stat.st_ino, stat.st_mtime_ns) for stat in before]


@pytest.mark.parametrize("lasting", [False, True])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_failure_at_any_call_leaves_no_blob_or_the_whole_one(tmp_path: Path, number: int, lasting: bool) -> None:
    for n in itertools.count(1):
        blobs = FolderBlobStore(tmp_path / str(n) / "snapshots")
        with faults(FailAt(n, number, lasting=lasting)) as disk:
            try:
                blobs.put(CONTENT, ".toy")
            except DiskError as error:
                assert str(tmp_path) in str(error)
        if not disk.struck:
            break
        assert names(blobs) in ([], [f"{DIGEST}.toy"])
        assert not blobs.has(DIGEST, ".toy") or blobs.get(DIGEST, ".toy") == CONTENT
        # What failed works when the disk does.
        assert blobs.get(blobs.put(CONTENT, ".toy"), ".toy") == CONTENT
    assert n > 6, "a folder, a file, its bytes, its fsync, its name, the folder's fsync"


@pytest.mark.parametrize("damaged", [False, True])
def test_a_death_at_any_call_leaves_the_blob_whole_or_as_it_was(tmp_path: Path, damaged: bool) -> None:
    """Also where a damaged blob is being replaced: then the damaged or the sound one is there, nothing between."""
    for n in itertools.count(1):
        blobs = FolderBlobStore(tmp_path / str(n))
        if damaged:
            blobs.folder.mkdir()
            (blobs.folder / f"{DIGEST}.toy").write_bytes(b"rotten")
        with faults(CrashAt(n)) as disk:
            try:
                blobs.put(CONTENT, ".toy")
            except Crash:
                assert disk.struck
        if not disk.struck:
            break
        if blobs.has(DIGEST, ".toy"):
            assert blobs.path(DIGEST, ".toy").read_bytes() in (CONTENT, b"rotten" if damaged else CONTENT)
        assert blobs.suffixes(DIGEST) in ((), (".toy",))
        assert blobs.get(blobs.put(CONTENT, ".toy"), ".toy") == CONTENT
    assert n > 5


def test_a_power_cut_at_any_call_leaves_the_blob_whole_or_absent(tmp_path: Path) -> None:
    for n in itertools.count(1):
        blobs = FolderBlobStore(tmp_path / str(n))
        blobs.folder.mkdir()
        disk = PowerCutAt(n)
        with faults(disk):
            try:
                blobs.put(CONTENT, ".toy")
            except Crash:
                disk.cut()
        if not disk.struck:
            break
        assert not blobs.has(DIGEST, ".toy") or blobs.get(DIGEST, ".toy") == CONTENT
    assert blobs.get(DIGEST, ".toy") == CONTENT


def test_a_file_that_is_taken_over_is_whole_in_one_place_at_any_crash(tmp_path: Path) -> None:
    for n in itertools.count(1):
        blobs, file = FolderBlobStore(tmp_path / str(n) / "snapshots"), tmp_path / f"{n}.part"
        file.write_bytes(CONTENT)
        with faults(CrashAt(n)) as disk:
            try:
                blobs.adopt(file, DIGEST, ".toy")
            except Crash:
                assert disk.struck
        assert file.exists() is not blobs.has(DIGEST, ".toy")
        assert (file if file.exists() else blobs.path(DIGEST, ".toy")).read_bytes() == CONTENT
        if not disk.struck:
            break
    file.write_bytes(CONTENT)
    blobs = FolderBlobStore(tmp_path)
    with faults(FailAt(1, errno.EXDEV)), pytest.raises(DiskError, match=f"cannot put data at .*{DIGEST}"):
        blobs.adopt(file, DIGEST, ".toy")


def test_what_a_dead_writer_left_is_cleared_after_a_day_and_what_is_being_written_stays(blobs: FolderBlobStore) -> None:
    blobs.put(CONTENT, ".toy")
    left, fresh = (blobs.folder / f".{DIGEST}.toy.{pid}.1.lockstep-tmp" for pid in (1, 2))
    for path in (left, fresh):
        path.write_bytes(b"half")
    os.utime(left, (0, 0))
    assert blobs.digests(".toy") == (DIGEST,)
    blobs.clear_abandoned()
    assert names(blobs) == sorted([fresh.name, f"{DIGEST}.toy"])


def test_files_of_other_names_are_no_blobs(blobs: FolderBlobStore) -> None:
    blobs.put(CONTENT, ".toy")
    for name in ("notes.toy", f"{DIGEST[:-1]}.toy", f"{DIGEST}x.toy", f"{DIGEST}", f"{DIGEST.upper()}.toy"):
        (blobs.folder / name).write_bytes(b"")
    (blobs.folder / f"{DIGEST}.folder").mkdir()
    assert blobs.digests(".toy") == (DIGEST,)
    assert blobs.suffixes(DIGEST) == (".toy",)


def test_a_folder_in_the_place_of_a_blob_is_called_a_folder_and_moved_away(blobs: FolderBlobStore) -> None:
    """The disk is well: nothing that a disk error would have a user check is wrong."""
    place = blobs.folder / f"{DIGEST}.toy"
    place.mkdir(parents=True)
    for attempt in (
        lambda: blobs.get(DIGEST, ".toy"),
        lambda: blobs.put(CONTENT, ".toy"),
        lambda: blobs.adopt(blobs.folder / "new", DIGEST, ".toy"),
    ):
        with pytest.raises(IntegrityError, match=r"has to be a file of data; found a folder. Move it away"):
            attempt()
    place.rmdir()
    assert blobs.put(CONTENT, ".toy") == DIGEST


def test_a_file_in_the_place_of_the_folder_is_a_disk_error(tmp_path: Path) -> None:
    (tmp_path / "snapshots").write_text("")
    blobs = FolderBlobStore(tmp_path / "snapshots")
    with pytest.raises(DiskError, match="cannot list"):
        blobs.digests(".toy")
    with pytest.raises(DiskError, match="Something is already there: choose another name"):
        blobs.put(CONTENT, ".toy")


def test_a_missing_blob_is_cured_by_a_copy_at_the_place_named(blobs: FolderBlobStore, tmp_path: Path) -> None:
    other = FolderBlobStore(tmp_path / "elsewhere")
    other.put(CONTENT, ".toy")
    with pytest.raises(DataError, match=r"copy the file there\.$") as refusal:
        blobs.get(DIGEST, ".toy")
    place = Path(str(refusal.value).partition(": there is no such snapshot. Import it (lockstep runs import FILE")[0])
    place.parent.mkdir(parents=True)
    shutil.copy(other.path(DIGEST, ".toy"), place)
    assert blobs.get(DIGEST, ".toy") == CONTENT


def test_a_damaged_blob_is_cured_by_a_copy_or_by_removing_it_and_storing_it_again(blobs: FolderBlobStore) -> None:
    digest = blobs.put_arrays(ARRAYS, ".arrays")
    for cure in ("copy", "remove"):
        path = blobs.path(digest, ".arrays")
        path.write_bytes(array_bytes({"a": np.arange(5.0), "b": np.array(4)}))
        with pytest.raises(IntegrityError, match="from a copy, or remove this file and import the data") as refusal:
            blobs.get_arrays(digest, ".arrays")
        place = Path(str(refusal.value).partition(": its arrays have digest")[0])
        assert place == path
        if cure == "copy":
            place.write_bytes(array_bytes(ARRAYS))
        else:
            place.unlink()
            blobs.put_arrays(ARRAYS, ".arrays")
        assert blobs.get_arrays(digest, ".arrays")["b"] == 3


def test_a_store_travels_to_other_processes_by_pickle_and_by_address(
    blobs: FolderBlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a relative folder too: the other process may have another current folder."""
    blobs.put(CONTENT, ".toy")
    assert cloudpickle.loads(cloudpickle.dumps(blobs)).get(DIGEST, ".toy") == CONTENT
    monkeypatch.chdir(tmp_path)
    address = FolderBlobStore(Path("home/snapshots")).address
    child = (
        "import json, sys; from lockstep.storage.blobs import StoreAddress, open_store\n"
        "path, arguments = json.loads(sys.argv[1])\n"
        "store = open_store(StoreAddress(path=path, arguments=tuple(arguments)))\n"
        f"sys.stdout.buffer.write(store.get({DIGEST!r}, '.toy'))"
    )
    sent = json.dumps([address.path, address.arguments])
    done = subprocess.run([sys.executable, "-c", child, sent], cwd="/", capture_output=True, check=True)
    assert done.stdout == CONTENT
    assert open_store(StoreAddress(path=address.path, arguments=address.arguments)) == FolderBlobStore(blobs.folder)


def test_places_are_named_from_the_folder_down(blobs: FolderBlobStore) -> None:
    digest = "ab" * 32
    assert blobs.place() == str(blobs.folder)
    assert blobs.place(digest) == f"{blobs.folder / digest}.*"
    assert blobs.place(digest, ".bin").endswith(f"{digest}.bin")
