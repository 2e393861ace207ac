"""Records of other people's making: every digest right, and values that no run has."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.runs.resealed import reseal

from lockstep.core.errors import IntegrityError
from lockstep.core.hashing import blake3_hex
from lockstep.runs.check import check, check_record
from lockstep.runs.checkpoint import CheckpointStore, Index, IndexEntry, missing_parts
from lockstep.runs.transfer import export_run, import_run
from lockstep.storage.documents import document_bytes
from lockstep.storage.segments import Position

ODD = {
    "spec.kind": ("spec", lambda body: body.update(kind=["toy"])),
    "spec.seed": ("spec", lambda body: body.update(seed="x")),
    "spec.numerics": ("spec", lambda body: body.update(numerics={})),
    "data.snapshots": ("data", lambda body: body.update(snapshots=["../../etc/passwd"])),
    "code.user": ("code", lambda body: body.update(user=["a"])),
    "code.package": ("code", lambda body: body.update(package={"a": 1})),
    "numerics": ("numerics", lambda body: body.update(python=3)),
    "environment.spec.name": ("environment", lambda body: body["spec"].update(name=5)),
    "environment.command": ("environment", lambda body: body.update(command="rm")),
    "environment.git": ("environment", lambda body: body.update(git="x")),
    "result.summary": ("result", lambda body: body.update(summary=[])),
    "result": ("result", lambda body: (body.clear(), body.update(a=1))),
}


@pytest.mark.parametrize("name", ODD)
def test_a_value_that_no_run_has_is_named_and_the_run_neither_leaves_nor_comes(home, tmp_path, name):
    kind, change = ODD[name]
    folder = home.train(steps=2)
    reseal(folder.path, lambda bodies, lines: change(bodies[kind]))
    report = check_record(folder.path)
    assert [problem.file for problem in report.problems] == [f"{kind}.json"]
    assert "no run of this program has that" in report.problems[0].message
    with pytest.raises(IntegrityError, match=f"{kind}.json"):
        export_run(folder, tmp_path / "run.zip", blobs=home.store.blobs)


@pytest.mark.parametrize(
    "manifest", [{"fingerprint": ["x"]}, {"steps": True}, {"files": {"a": 1}}, {"journal_hash": "x"}]
)
def test_a_manifest_of_another_form_is_named(home, manifest):
    folder = home.train(steps=2)
    reseal(folder.path, lambda bodies, lines: None, manifest=manifest)
    assert [problem.file for problem in check_record(folder.path).problems] == ["MANIFEST.json"]


def test_a_list_for_a_fingerprint_hides_no_other_run(home):
    good, bad = home.train(steps=2), home.train(steps=3)
    reseal(bad.path, lambda bodies, lines: None, manifest={"fingerprint": ["x"]})
    rows = {row.run_id: row for row in home.store.list()}
    assert rows[good.path.name].problem is None
    assert "fingerprint is a digest; found ['x']" in rows[bad.path.name].problem
    assert home.store.alarm(good.path.name) is None


def test_a_resealed_run_is_sound_where_nothing_was_changed(home):
    """The helper of these tests seals as the program does."""
    folder = home.train(steps=3)
    reseal(folder.path, lambda bodies, lines: None)
    assert check_record(folder.path).ok


def test_a_fingerprint_that_the_documents_do_not_have_is_named_in_journal_and_manifest(home):
    """R4.40: a claim is no proof."""
    folder = home.train(steps=2)
    reseal(folder.path, lambda bodies, lines: lines[0].update(fingerprint="f" * 64))
    report = check_record(folder.path)
    assert [problem.file for problem in report.problems] == ["journal.jsonl", "MANIFEST.json"]
    assert "names the fingerprint ffffffffffffffff" in report.problems[0].message


def test_a_manifest_that_names_another_fingerprint_than_the_journal_is_damage(home):
    folder = home.train(steps=2)
    reseal(folder.path, lambda bodies, lines: None, manifest={"fingerprint": "f" * 64})
    assert [problem.file for problem in check(folder.path).problems] == ["MANIFEST.json"]
    reseal(folder.path, lambda bodies, lines: None, manifest={"steps": 7})
    assert [problem.file for problem in check(folder.path).problems] == ["MANIFEST.json"]


def test_code_that_is_not_the_code_of_code_json_is_named(home, tmp_path):
    (tmp_path / "offset.py").write_text("OFFSET = 1.5\n")
    folder = home.train(base=tmp_path, steps=2)
    (folder.sources / "offset.py").write_text("OFFSET = 2.5\n")
    (folder.sources / "more.py").write_text("")
    reseal(folder.path, lambda bodies, lines: None)
    assert check(folder.path).ok, "every digest fits"
    assert [problem.file for problem in check_record(folder.path).problems] == ["code/more.py", "code/offset.py"]


@pytest.mark.parametrize("position", [Position(10**9, 1, 1, 1), Position(0, -1, 1, 1), Position(10**5, 1, 1, 1)])
def test_a_checkpoint_that_names_parts_without_end_costs_nothing(home, position):
    """Looking for a billion files would eat all memory."""
    folder = home.train(steps=2)
    store = CheckpointStore(folder.checkpoints)
    steps = store.stored_steps()[-1]
    checkpoint = store.load(steps)
    forged = replace(checkpoint, segments=dict.fromkeys(checkpoint.segments, position))
    data = forged.encode()
    store.path(steps).write_bytes(data)
    entries = tuple(entry for entry in store.index().entries if entry.steps != steps)
    entry = IndexEntry(steps=steps, length=len(data), blake3=blake3_hex(data))
    store.index_path.write_bytes(document_bytes("index", Index(entries=(*entries, entry)).body()))
    assert len(missing_parts(forged, folder.segments)) <= 10 * len(checkpoint.segments)
    assert not check_record(folder.path).ok


@pytest.mark.parametrize("value", [[1, 2, 3], [0, 0, 0, True], ["0", 0, 0, 0], {"part": 0}, [0, 0, 0, 1 << 63]])
def test_a_position_is_four_whole_numbers(value):
    with pytest.raises(ValueError, match="a position"):
        Position.from_json(value)


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: lines[1].update(segments=[]),
        lambda lines: lines[1].update(index=0.0),
        lambda lines: lines[1].update(scalars=None),
        lambda lines: lines[-1].update(artifacts=[]),
        lambda lines: lines[-1].pop("steps"),
        lambda lines: lines[0].update(spec=1),
    ],
)
def test_a_journal_line_that_lacks_what_its_type_has_is_damage(home, change):
    folder = home.train(steps=2)
    reseal(folder.path, lambda bodies, lines: (lines[0].update(fingerprint="f" * 64), change(lines)))
    problems = check_record(folder.path).problems
    assert any(problem.file == "journal.jsonl" for problem in problems)


def test_what_an_inspection_cannot_read_is_not_imported(home, other_home, tmp_path):
    folder = home.train(steps=2)
    export_run(folder, tmp_path / "run.zip", blobs=home.store.blobs)

    def inspect(staged):
        return staged.result()["no such key"]

    with pytest.raises(IntegrityError, match=r"run\.zip: a document of the run lacks .*KeyError"):
        import_run(tmp_path / "run.zip", other_home.store, inspect=inspect)
    assert other_home.store.list() == []
