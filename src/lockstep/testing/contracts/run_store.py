"""The contract of `runs.store.RunStore`, as tests that each adapter subclasses.

    class TestMine(RunStoreContract):
        def make(self, tmp_path: Path) -> RunStore:
            return MyStore(tmp_path)

pytest is needed to run it, but not to import it.
"""

# ruff: noqa: S101, D102, PT017 - these are tests: their names are sentences, and they need no pytest

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from lockstep.core.errors import InputError, RefusedError, UnknownNameError
from lockstep.runs.check import check
from lockstep.runs.folder import RunFolder, RunStatus
from lockstep.runs.identity import CodeIdentity, NumericsIdentity, fingerprint
from lockstep.runs.loop import execute
from lockstep.runs.spec import RunSpec
from lockstep.runs.store import RunStore
from lockstep.testing.toy_training import ToySpec, ToyTraining

NUMERICS = NumericsIdentity({"python": "3.11"})


def create(store: RunStore, *, seed: int = 42, name: str | None = None, source: RunFolder | None = None) -> RunFolder:
    """A new run of no kind in particular; `source` is the run that it is made from."""
    return store.create(
        spec=RunSpec(kind="toy", seed=seed, name=name),
        data={"digest": "d" * 64},
        code=CodeIdentity(package={"a.py": "1"}, sources={"mine.py": b"x = 1"}),
        numerics=NUMERICS,
        environment={"host": "here"},
        source=source,
    )


def complete(store: RunStore, *, seed: int = 42, drawn: int = 42, name: str | None = None) -> RunFolder:
    """A complete run; with `drawn` other than `seed` it is one that a faulty machine made."""
    folder = create(store, seed=seed, name=name)
    execute(ToyTraining(ToySpec(seed=drawn, steps=3)), folder, fingerprint=fingerprint(folder.identity_hashes()))
    return folder


class RunStoreContract:
    """Every test opens its own store by `make`."""

    def make(self, tmp_path: Path) -> RunStore:
        """A new, empty store below `tmp_path`."""
        raise NotImplementedError

    def test_an_empty_store_lists_nothing(self, tmp_path: Path) -> None:
        assert self.make(tmp_path).list() == []

    def test_the_data_that_runs_share_outlive_them(self, tmp_path: Path) -> None:
        store = self.make(tmp_path)
        digest = store.blobs.put(b"shared", ".toy")
        store.remove(create(store).path.name)
        assert store.blobs.get(digest, ".toy") == b"shared"
        assert store.home.is_dir()

    def test_a_new_run_holds_its_documents_and_the_users_code(self, tmp_path: Path) -> None:
        folder = create(self.make(tmp_path), seed=7, name="mine")
        assert folder.read("spec") == {"version": 1, "kind": "toy", "seed": 7, "numerics": "native"}
        assert folder.read("data") == {"digest": "d" * 64}
        assert folder.read("numerics") == {"python": "3.11"}
        assert (folder.sources / "mine.py").read_bytes() == b"x = 1"
        assert folder.read("environment")["spec"]["name"] == "mine"
        assert folder.read("environment")["host"] == "here"

    def test_an_identity_of_the_code_that_lacks_locksteps_files_is_refused(self, tmp_path: Path) -> None:
        store = self.make(tmp_path)
        spec = RunSpec(kind="toy")
        begin = partial(store.create, spec=spec, data={}, code=CodeIdentity(), numerics=NUMERICS, environment={})
        _raises(ValueError, "whole_code", begin)
        assert store.list() == []

    def test_runs_are_listed_oldest_first_with_what_is_known_of_them(self, tmp_path: Path) -> None:
        store = self.make(tmp_path)
        done, begun = complete(store, seed=1, drawn=1, name="mine"), create(store, seed=2)
        first, second = store.list()
        assert (first.run_id, second.run_id) == (done.path.name, begun.path.name)
        assert (first.status, second.status) == (RunStatus.COMPLETE, RunStatus.INTERRUPTED)
        assert (first.seed, first.kind, first.name, first.steps) == (1, "toy", "mine", 3)
        assert first.fingerprint == fingerprint(done.identity_hashes())
        assert first.journal_hash == done.read("manifest")["journal_hash"]
        assert second.fingerprint == fingerprint(begun.identity_hashes())
        assert second.journal_hash is None
        assert first.created_ms <= second.created_ms

    def test_many_runs_begun_at_once_have_different_ids(self, tmp_path: Path) -> None:
        store = self.make(tmp_path)
        assert len({create(store).path.name for _ in range(20)}) == 20

    def test_a_run_is_found_by_id_beginning_tag_path_and_last(self, tmp_path: Path) -> None:
        store = self.make(tmp_path)
        older, newer = create(store), create(store)
        store.tag(older.path.name, "good")
        for name in (older.path.name, older.path.name[:-1], "good", str(older.path)):
            assert store.find(name).path.resolve() == older.path.resolve()
        assert store.find("last").path == newer.path

    def test_what_is_not_found_is_told_with_what_there_is(self, tmp_path: Path) -> None:
        store = self.make(tmp_path)
        _raises(UnknownNameError, "there are no runs", lambda: store.find("last"))
        run_id = create(store).path.name
        _raises(UnknownNameError, f"The latest run is {run_id}", lambda: store.find("20200101"))
        create(store)
        _raises(UnknownNameError, "is the beginning of 2 runs", lambda: store.find(run_id[:2]))

    def test_tags_come_go_and_name_one_run(self, tmp_path: Path) -> None:
        store = self.make(tmp_path)
        one, two = complete(store, seed=1, drawn=1).path.name, complete(store, seed=2, drawn=2).path.name
        store.tag(one, "best")
        store.tag(one, "a.b-c_d")
        assert store.list()[0].tags == ("a.b-c_d", "best")
        store.tag(two, "best")
        assert [row.tags for row in store.list()] == [("a.b-c_d",), ("best",)]
        store.untag(two, "best")
        assert store.list()[1].tags == ()
        _raises(UnknownNameError, "has no tag 'best'; its tags: none", lambda: store.untag(two, "best"))

    def test_a_tag_that_could_be_misread_is_refused(self, tmp_path: Path) -> None:
        store = self.make(tmp_path)
        run_id = create(store).path.name
        for tag in ("", "last", "a/b", "../x", "x" * 65, "a b", "-a"):
            _raises(InputError, "a tag is 1 to 64 letters", partial(store.tag, run_id, tag))
        for tag in (run_id, run_id[:8], run_id[:4], run_id[:-1]):
            _raises(InputError, "Begin it with a letter, such as v", partial(store.tag, run_id, tag))

    def test_tags_do_not_make_a_record_look_damaged(self, tmp_path: Path) -> None:
        store = self.make(tmp_path)
        folder = complete(store)
        store.tag(folder.path.name, "good")
        assert check(folder.path).ok

    def test_a_removed_run_is_gone(self, tmp_path: Path) -> None:
        store = self.make(tmp_path)
        keep, drop = create(store), complete(store)
        store.remove(drop.path.name)
        assert [row.run_id for row in store.list()] == [keep.path.name]
        assert not drop.path.exists()

    def test_a_run_that_is_being_written_is_not_removed(self, tmp_path: Path) -> None:
        store = self.make(tmp_path)
        folder = create(store)
        with folder.lock():
            assert store.list()[0].status is RunStatus.RUNNING
            _raises(RefusedError, "is being written by", lambda: store.remove(folder.path.name))
        assert folder.has("spec")

    def test_equal_runs_raise_no_alarm(self, tmp_path: Path) -> None:
        store = self.make(tmp_path)
        names = [complete(store).path.name for _ in range(2)]
        assert [row.alarm for row in store.list()] == [None, None]
        assert store.alarm(names[0]) is None

    def test_a_known_fingerprint_with_another_journal_is_an_alarm_on_both(self, tmp_path: Path) -> None:
        store = self.make(tmp_path)
        good, bad = complete(store).path.name, complete(store, drawn=43).path.name
        other = complete(store, seed=5, drawn=5).path.name
        alarms = {row.run_id: row.alarm for row in store.list()}
        assert f"run {bad} has the same fingerprint but another journal" in str(alarms[good])
        assert f"run {good} has the same fingerprint but another journal" in str(alarms[bad])
        assert f"`lockstep diff {good} {bad}`" in str(store.alarm(bad))
        assert alarms[other] is None

    def test_an_unfinished_run_raises_no_alarm(self, tmp_path: Path) -> None:
        store = self.make(tmp_path)
        complete(store)
        create(store)
        assert [row.alarm for row in store.list()] == [None, None]

    def test_a_damaged_run_is_listed_with_its_problem(self, tmp_path: Path) -> None:
        store = self.make(tmp_path)
        bad, good = complete(store), complete(store)
        manifest = bad.document("manifest")
        manifest.write_bytes(manifest.read_bytes().replace(b'"steps":3', b'"steps":4'))
        first, second = store.list()
        assert first.run_id == bad.path.name
        assert "not the self-checking 'manifest' document" in str(first.problem)
        assert (second.run_id, second.problem) == (good.path.name, None)


def _raises(kind: type[Exception], text: str, call: Callable[[], Any]) -> None:
    try:
        call()
    except kind as error:
        assert text in str(error), f"expected {text!r} in {error}"
        return
    raise AssertionError(f"nothing was raised; expected {kind.__name__}")
