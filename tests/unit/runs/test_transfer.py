"""Export and import: one file, whole and harmless, that verifies elsewhere."""

import io
import os
import stat
import zipfile

import pytest
from tests.unit.runs.resealed import reseal

from lockstep.core import canonical, files
from lockstep.core.errors import DataError, DiskError, InputError, IntegrityError, Interrupted, RefusedError
from lockstep.core.hashing import blake3_hex
from lockstep.runs.archive import look
from lockstep.runs.cancel import Cancel
from lockstep.runs.check import check
from lockstep.runs.folder import RunFolder, RunStatus
from lockstep.runs.transfer import INDEX, export_run, import_run
from lockstep.runs.verify import ExecutorChoice, verify
from lockstep.storage.documents import document_bytes


@pytest.fixture
def exported(home, tmp_path):
    (tmp_path / "offset.py").write_text("OFFSET = 1.5\n")
    folder = home.train(base=tmp_path, steps=6)
    return export_run(folder, tmp_path / "run.zip", blobs=home.store.blobs)


def forged(source, target, *, change=None, add=(), index_change=None, drop=()):
    """A copy of an export with entries changed, added or dropped; the index follows unless told otherwise."""
    with zipfile.ZipFile(source) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    index = canonical.loads(content.pop(INDEX))["body"]
    for name, data in (change or {}).items():
        content[name] = data
        index["files"][name] = {"blake3": blake3_hex(data), "length": len(data)}
    for name in drop:
        del content[name], index["files"][name]
    if index_change is not None:
        index_change(index)
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr(INDEX, document_bytes("export", index))
        for name, data in [*content.items(), *add]:
            archive.writestr(name, data)
    return target


def nothing_left(home):
    left = [path for path in home.path.rglob("*") if path.is_file()]
    return left == [] and (not home.store.runs.exists() or list(home.store.runs.iterdir()) == [])


def test_a_run_exported_and_imported_verifies_equal_in_the_other_home(exported, other_home):
    """R4.40: exported, imported on another machine and verified says equal."""
    taken = import_run(exported.path, other_home.store)
    folder = other_home.store.find(taken.run_id)
    assert check(folder.path).ok
    assert folder.status() is RunStatus.COMPLETE
    assert (folder.sources / "offset.py").read_text() == "OFFSET = 1.5\n"
    report = verify(
        folder.path,
        home=other_home.path,
        blobs=other_home.store.blobs,
        executor=ExecutorChoice("lockstep.clusters.in_process:InProcessExecutor"),
    )
    assert report.equal


def test_the_copy_is_the_run_byte_for_byte(home, exported, other_home, snapshot_of):
    taken = import_run(exported.path, other_home.store)
    here = {name: data for name, data in snapshot_of(home.store.find("last").path).items() if name.name != "lock"}
    assert snapshot_of(taken.path) == here


def test_the_same_run_gives_the_same_bytes(home, exported, tmp_path):
    second = export_run(home.store.find("last"), tmp_path / "again.zip", blobs=home.store.blobs)
    assert second.path.read_bytes() == exported.path.read_bytes()


def test_what_moved_is_counted(exported, other_home):
    taken = import_run(exported.path, other_home.store)
    assert (taken.files, taken.length, taken.run_id) == (exported.files, exported.length, exported.run_id)


def test_an_interrupted_run_can_be_taken_elsewhere_and_resumed(home, other_home, tmp_path):
    cancel = Cancel()
    cancel.request("a test")
    with pytest.raises(Interrupted):
        home.train(steps=5, cancel=cancel)
    export_run(home.store.find("last"), tmp_path / "run.zip", blobs=home.store.blobs)
    taken = import_run(tmp_path / "run.zip", other_home.store)
    assert RunFolder(taken.path).status() is RunStatus.INTERRUPTED


def test_nothing_is_overwritten(home, exported, other_home):
    with pytest.raises(RefusedError, match="something is there already, and nothing is overwritten"):
        export_run(home.store.find("last"), exported.path, blobs=home.store.blobs)
    import_run(exported.path, other_home.store)
    with pytest.raises(RefusedError, match="this run is there already, and nothing is overwritten"):
        import_run(exported.path, other_home.store)


def test_a_damaged_run_is_not_exported(home, tmp_path):
    folder = home.train(steps=3)
    folder.journal.write_bytes(folder.journal.read_bytes()[:-20])
    with pytest.raises(IntegrityError):
        export_run(folder, tmp_path / "run.zip", blobs=home.store.blobs)
    assert not (tmp_path / "run.zip").exists()


def test_a_run_without_its_data_is_not_exported(home, tmp_path):
    folder = home.train(steps=3)
    next(home.store.blobs.folder.iterdir()).unlink()
    with pytest.raises(DataError, match=r"snapshots/[0-9a-f]{64}\.\*: there is no such snapshot"):
        export_run(folder, tmp_path / "run.zip", blobs=home.store.blobs)


def test_a_full_disk_leaves_no_half_export(home, tmp_path, monkeypatch):
    folder = home.train(steps=3)

    class Full(files.FileSystem):
        def fsync(self, descriptor):
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files, "fs", Full())
        with pytest.raises(DiskError, match="The disk is full"):
            export_run(folder, tmp_path / "run.zip", blobs=home.store.blobs)
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_a_full_disk_leaves_no_half_import(exported, other_home, monkeypatch):
    class Full(files.FileSystem):
        calls = 0

        def write(self, descriptor, data):
            Full.calls += 1
            if Full.calls > 4:
                raise OSError(28, "No space left on device")
            return super().write(descriptor, data)

    with monkeypatch.context() as patch:
        patch.setattr(files, "fs", Full())
        with pytest.raises(DiskError, match="The disk is full"):
            import_run(exported.path, other_home.store)
    assert nothing_left(other_home)


def test_every_changed_byte_is_found_or_harmless(exported, other_home, tmp_path):
    """A flipped byte is refused, unless it lies where ZIP keeps nothing of the run (dates, attributes)."""
    whole = exported.path.read_bytes()
    bad = tmp_path / "bad.zip"
    refused = 0
    positions = range(0, len(whole), max(1, len(whole) // 150))
    for position in positions:
        bad.write_bytes(whole[:position] + bytes([whole[position] ^ 0x55]) + whole[position + 1 :])
        try:
            taken = import_run(bad, other_home.store)
        except (IntegrityError, InputError):
            refused += 1
            assert nothing_left(other_home)
        else:
            assert check(taken.path).ok
            other_home.store.remove(taken.run_id)
            for path in other_home.store.blobs.folder.iterdir():
                path.unlink()
    assert refused > 0.8 * len(positions)


def test_an_offset_before_the_first_byte_is_damage_and_no_fault_of_the_disk(exported, other_home, tmp_path):
    whole = bytearray(exported.path.read_bytes())
    # The end of a ZIP, 22 bytes without a comment, tells at 16 where the directory of its entries begins.
    whole[-22 + 16 + 3] |= 0x40
    (tmp_path / "bad.zip").write_bytes(whole)
    with pytest.raises(IntegrityError, match="not a whole export of a run"):
        import_run(tmp_path / "bad.zip", other_home.store)
    assert nothing_left(other_home)


@pytest.mark.parametrize("length", [0, 10, 0.3, 0.9, -1])
def test_a_cut_file_is_refused(exported, other_home, tmp_path, length):
    whole = exported.path.read_bytes()
    cut = tmp_path / "cut.zip"
    cut.write_bytes(whole[: int(length * len(whole)) if isinstance(length, float) else length])
    with pytest.raises(IntegrityError, match="not a whole export of a run"):
        import_run(cut, other_home.store)
    assert nothing_left(other_home)


def test_other_files_are_refused(other_home, tmp_path):
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(InputError, match="a ZIP, but not an export of a run"):
        import_run(tmp_path / "other.zip", other_home.store)
    with pytest.raises(DiskError, match="No such file"):
        import_run(tmp_path / "nowhere.zip", other_home.store)


EVIL = [
    "../evil",
    "run/../../evil",
    "/etc/evil",
    "run/./x",
    "run//x",
    "run/.hidden",
    "run/a/b/c",
    "other/x",
    "run",
    "run/a\\b",
    "run/a\u2025b",
    "run/code/..",
    "snapshots/x.arrow",
    "snapshots/" + "a" * 64 + "/x",
    "run/" + "x" * 200,
    "run/a b",
    "run/C:evil",
]


@pytest.mark.parametrize("name", EVIL)
def test_names_that_no_run_has_are_refused_and_nothing_is_written(exported, other_home, tmp_path, name):
    bad = forged(exported.path, tmp_path / "bad.zip", change={name: b"evil"})
    with pytest.raises(IntegrityError, match=r"which no run has|not named by a digest|holds other files"):
        import_run(bad, other_home.store)
    assert nothing_left(other_home)
    assert not list(tmp_path.rglob("*evil*"))


@pytest.mark.parametrize("name", ["run/tags.json", "run/lock", "run/code/offset.py.lockstep-tmp"])
def test_what_check_does_not_look_at_is_not_let_in(exported, other_home, tmp_path, name):
    """A tag that came along would answer to a name that the user gave to another run."""
    bad = forged(exported.path, tmp_path / "bad.zip", change={name: document_bytes("tags", {"tags": ["mine"]})})
    with pytest.raises(IntegrityError, match="no part of a run's record"):
        import_run(bad, other_home.store)
    assert nothing_left(other_home)


def test_what_a_killed_process_of_the_same_id_left_is_not_appended_to(home, exported, other_home, tmp_path):
    """In a container every process may have the same id."""
    files.temporary_path(tmp_path / "again.zip").write_bytes(b"half an export")
    again = export_run(home.store.find("last"), tmp_path / "again.zip", blobs=home.store.blobs)
    assert again.path.read_bytes() == exported.path.read_bytes()
    left = other_home.store.runs / f".new-{exported.run_id}-{os.getpid()}" / "run"
    left.mkdir(parents=True)
    (left / "journal.jsonl").write_bytes(b"half an import")
    assert check(import_run(exported.path, other_home.store).path).ok


@pytest.mark.parametrize("run_id", ["../../evil", "", "x", "20261121T094502123-3fa9c1/../..", 5, None])
def test_a_forged_run_id_is_refused(exported, other_home, tmp_path, run_id):
    bad = forged(exported.path, tmp_path / "bad.zip", index_change=lambda index: index.update(run_id=run_id))
    with pytest.raises(IntegrityError, match="names no run id"):
        import_run(bad, other_home.store)
    assert nothing_left(other_home)


@pytest.mark.parametrize(
    "entry",
    [
        {"blake3": "0" * 64, "length": -1},
        {"blake3": "0" * 64, "length": True},
        {"blake3": "0" * 64, "length": 2.0},
        {"blake3": 5, "length": 3},
        {"blake3": "0" * 64},
        {"blake3": "0" * 64, "length": 3, "mode": 7},
        "0" * 64,
    ],
)
def test_an_index_that_does_not_tell_length_and_digest_is_refused(exported, other_home, tmp_path, entry):
    def change(index):
        index["files"]["run/spec.json"] = entry

    bad = forged(exported.path, tmp_path / "bad.zip", index_change=change)
    with pytest.raises(IntegrityError, match=r"tells no length and digest of 'run/spec\.json'"):
        import_run(bad, other_home.store)
    assert nothing_left(other_home)


def test_an_empty_file_is_a_file(exported, other_home, tmp_path):
    """It passes the index; that the run's manifest does not list it is what keeps it out."""
    bad = forged(exported.path, tmp_path / "bad.zip", change={"run/artifacts/empty.csv": b""})
    with pytest.raises(IntegrityError, match=r"empty\.csv: does not belong to the run"):
        import_run(bad, other_home.store)


def test_files_beside_the_index_are_refused(exported, other_home, tmp_path):
    bad = forged(exported.path, tmp_path / "bad.zip", add=[("run/extra.json", b"x")])
    with pytest.raises(IntegrityError, match="holds other files than its index lists"):
        import_run(bad, other_home.store)


def test_a_name_that_appears_twice_is_refused(exported, other_home, tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        bad = forged(exported.path, tmp_path / "bad.zip", add=[("run/journal.jsonl", b"x")])
    with pytest.raises(IntegrityError, match="differ by name"):
        import_run(bad, other_home.store)


def test_a_link_is_refused(exported, other_home, tmp_path):
    bad = tmp_path / "bad.zip"
    with zipfile.ZipFile(exported.path) as source, zipfile.ZipFile(bad, "w") as target:
        for entry in source.infolist():
            data = source.read(entry)
            if entry.filename == "run/journal.jsonl":
                entry.external_attr = (stat.S_IFLNK | 0o777) << 16
            target.writestr(entry, data)
    with pytest.raises(IntegrityError, match=r"'run/journal\.jsonl' is a link, a folder, encrypted or packed"):
        import_run(bad, other_home.store)


def test_a_bomb_is_refused_by_its_index_or_stopped_at_the_promised_length(exported, other_home, tmp_path):
    name = "run/artifacts/big.bin"
    zeros = bytes(30_000_000)

    def honest(index):
        index["files"][name] = {"blake3": blake3_hex(zeros), "length": len(zeros)}

    def lying(index):
        index["files"][name] = {"blake3": blake3_hex(b""), "length": 10}

    for change, error, text in [
        (honest, RefusedError, "unpacked it has .* Free some space"),
        (lying, IntegrityError, "is not the file that the index lists"),
    ]:
        bad = tmp_path / "bad.zip"
        buffer = io.BytesIO()
        with zipfile.ZipFile(exported.path) as source, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target:
            index = canonical.loads(source.read(INDEX))["body"]
            change(index)
            target.writestr(INDEX, document_bytes("export", index))
            for entry in source.namelist():
                if entry != INDEX:
                    target.writestr(entry, source.read(entry))
            target.writestr(name, zeros)
        bad.write_bytes(buffer.getvalue())
        assert bad.stat().st_size < 1_000_000
        with pytest.raises(error, match=text):
            import_run(bad, other_home.store, max_bytes=10_000_000)
        assert nothing_left(other_home)


def test_a_record_that_was_edited_and_listed_anew_is_still_noticed(exported, other_home, tmp_path):
    with zipfile.ZipFile(exported.path) as archive:
        journal = archive.read("run/journal.jsonl")
    bad = forged(
        exported.path, tmp_path / "bad.zip", change={"run/journal.jsonl": journal.replace(b'"seen":8', b'"seen":9', 1)}
    )
    with pytest.raises(IntegrityError, match=r"journal\.jsonl"):
        import_run(bad, other_home.store)
    assert nothing_left(other_home)


def test_a_file_that_is_not_the_one_of_the_index_is_refused_though_it_is_as_long(exported, other_home, tmp_path):
    """Data are no part of the journal: nothing but the digest tells these bytes from those that were exported."""
    with zipfile.ZipFile(exported.path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    (snapshot,) = [name for name in content if name.startswith("snapshots/")]
    data = content[snapshot]
    content[snapshot] = data[:-1] + bytes([data[-1] ^ 1])
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        for name, whole in content.items():
            archive.writestr(name, whole)
    with pytest.raises(IntegrityError, match=rf"{snapshot} is not the file that the index lists"):
        import_run(tmp_path / "bad.zip", other_home.store)
    assert nothing_left(other_home)


def test_an_export_without_its_data_is_refused(exported, other_home, tmp_path):
    with zipfile.ZipFile(exported.path) as archive:
        (snapshot,) = [name for name in archive.namelist() if name.startswith("snapshots/")]
    bad = forged(exported.path, tmp_path / "bad.zip", drop=[snapshot])
    with pytest.raises(IntegrityError, match="does not hold exactly the data that the run names"):
        import_run(bad, other_home.store)
    assert nothing_left(other_home)


def test_data_that_is_there_already_stays(exported, home, other_home):
    other_home.train(steps=1)
    (there,) = other_home.store.blobs.folder.iterdir()
    before = there.stat().st_ino
    import_run(exported.path, other_home.store)
    assert there.stat().st_ino == before


def test_importing_again_brings_back_data_that_a_run_has_lost_and_nothing_else(exported, home, snapshot_of):
    """The cure that the error of a missing snapshot names, tried: one file of the export, that of the data."""
    run_id = home.store.find("last").path.name
    (lost,) = home.store.blobs.folder.iterdir()
    before = snapshot_of(home.path)
    lost.unlink()
    with pytest.raises(DataError, match=r"Import it \(lockstep runs import FILE for the data of a run"):
        home.store.blobs.get(lost.name.partition(".")[0], ".toy")
    taken = import_run(exported.path, home.store)
    assert (taken.run_id, taken.files) == (run_id, 1)
    assert snapshot_of(home.path) == before
    with pytest.raises(RefusedError, match="this run is there already, and nothing is overwritten"):
        import_run(exported.path, home.store)


def test_damaged_data_is_cured_by_removing_it_and_importing_again(exported, home):
    (path,) = home.store.blobs.folder.iterdir()
    digest = path.name.partition(".")[0]
    sound = path.read_bytes()
    path.write_bytes(sound[:-1])
    with pytest.raises(IntegrityError, match="restore it from a copy, or remove this file and import the data again"):
        home.store.blobs.get(digest, ".toy")
    path.unlink()
    import_run(exported.path, home.store)
    assert home.store.blobs.get(digest, ".toy") == sound


def test_data_of_another_run_never_comes_in_beside_a_run_that_is_there(exported, home, tmp_path):
    """An archive that lists more than the run names: only what it lacks is looked at."""
    other = "snapshots/" + "a" * 64 + ".toy"
    bad = forged(exported.path, tmp_path / "bad.zip", change={other: b"another's"})
    (path,) = home.store.blobs.folder.iterdir()
    path.unlink()
    import_run(bad, home.store)
    assert [left.name for left in home.store.blobs.folder.iterdir()] == [path.name]


def test_a_damaged_snapshot_neither_leaves_nor_comes(home, other_home, exported, tmp_path):
    """R4.40: a digest in a name is no proof of the bytes behind it."""
    blob = next(home.store.blobs.folder.iterdir())
    with zipfile.ZipFile(exported.path) as archive:
        name = next(name for name in archive.namelist() if name.startswith("snapshots/"))
    forged(exported.path, tmp_path / "forged.zip", change={name: b"garbage"})
    with pytest.raises(IntegrityError, match=r"forged\.zip: snapshots/.* is not the data of its digest"):
        import_run(tmp_path / "forged.zip", other_home.store)
    assert nothing_left(other_home)
    blob.write_bytes(b"toi")
    with pytest.raises(IntegrityError, match="not the bytes its name says"):
        export_run(home.store.find("last"), tmp_path / "again.zip", blobs=home.store.blobs)
    assert not (tmp_path / "again.zip").exists()


@pytest.mark.parametrize("there", ["the run", "only its data"])
def test_a_good_import_replaces_a_damaged_snapshot(exported, other_home, there):
    taken = import_run(exported.path, other_home.store)
    blob = next(other_home.store.blobs.folder.iterdir())
    sound = blob.read_bytes()
    blob.write_bytes(b"rot")
    if there == "only its data":
        other_home.store.remove(taken.run_id)
    import_run(exported.path, other_home.store)
    assert blob.read_bytes() == sound


def test_an_export_without_the_diff_is_sound_and_changes_nothing_else(home, other_home, tmp_path):
    folder = home.train(steps=2)
    body = folder.read("environment")
    git = {"commit": "0" * 40, "changed": True, "diff": "+secret"}
    reseal(folder.path, lambda bodies, lines: bodies.update(environment={**body, "git": git}))
    whole = export_run(folder, tmp_path / "whole.zip", blobs=home.store.blobs)
    assert whole.diff
    done = export_run(folder, tmp_path / "run.zip", blobs=home.store.blobs, diff=False)
    assert not done.diff
    assert b"+secret" not in (tmp_path / "run.zip").read_bytes()
    taken = RunFolder(import_run(done.path, other_home.store).path)
    assert taken.read("environment")["git"] == {"commit": "0" * 40, "changed": True, "diff": "", "left_out": True}
    assert taken.journal.read_bytes() == folder.journal.read_bytes()
    assert folder.read("environment")["git"] == git, "the run itself stays"


def test_a_look_shows_what_an_archive_holds_and_keeps_nothing(exported, other_home):
    contents = look(exported.path)
    assert (contents.run_id, contents.status, contents.kind) == (exported.run_id, "complete", "toy")
    assert contents.code == {"offset.py": "OFFSET = 1.5\n"}
    assert len(contents.files) == exported.files
    assert nothing_left(other_home)
