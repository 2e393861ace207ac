"""verify: the run again, in a fresh process, compared line by line; by samples; across versions."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from tests.unit.runs.resealed import reseal

from lockstep.core.errors import (
    DataError,
    InputError,
    IntegrityError,
    Interrupted,
    LockstepError,
    MachineError,
    NotComparableError,
    RefusedError,
    UnknownNameError,
)
from lockstep.runs import registry
from lockstep.runs.cancel import Cancel
from lockstep.runs.identity import NumericsIdentity
from lockstep.runs.numerics import environment, portable_variables
from lockstep.runs.verify import ChildCrashError, ExecutorChoice, _error_of, verify
from lockstep.runs.verify_child import plan_sample
from lockstep.storage.lock import Words, locked
from lockstep.testing.toy_kind import DRIFT

ONE = ExecutorChoice("lockstep.clusters.in_process:InProcessExecutor")


def again(home, folder, **options):
    executor = options.pop("executor", ONE)
    return verify(folder.path, home=home.path, blobs=home.store.blobs, executor=executor, **options)


def test_a_run_computed_again_in_a_fresh_process_is_equal_and_untouched(home, snapshot_of):
    folder = home.train(steps=12)
    before = snapshot_of(home.path)
    progress = []
    report = again(home, folder, on_step=lambda done, of: progress.append((done, of)))
    assert report.equal
    assert (report.steps, report.computed, report.sampled) == (12, 12, False)
    assert report.journal_hash == folder.read("manifest")["journal_hash"]
    assert progress[-1] == (12, 12)
    assert snapshot_of(home.path) == before


def test_a_run_without_a_single_step_is_verified_too(home):
    assert again(home, home.train(steps=0)).equal


def test_worker_processes_give_the_same(home):
    """docs/architecture.md, rule 2: the number of workers never changes a result."""
    assert again(home, home.train(steps=4), executor=ExecutorChoice("lockstep.clusters.loky:LokyExecutor", (2,))).equal


def test_a_user_file_that_travelled_with_the_run_is_used(home, tmp_path):
    (tmp_path / "offset.py").write_text("OFFSET = 2.5\n")
    folder = home.train(base=tmp_path, steps=3)
    (tmp_path / "offset.py").write_text("OFFSET = 99\n")
    assert again(home, folder).equal


@pytest.mark.parametrize(
    ("drift", "where", "field", "column", "row"),
    [
        ("scalar:5", "step 5", "scalars.halves", None, None),
        ("sign:0", "step 0", "scalars.halves", None, None),  # 0.0 became -0.0, which Python calls equal
        ("segment:7", "step 7", "segments.path", "estimate", 3),
        ("result:0", "the end", "result.observations", None, None),
    ],
)
def test_the_first_step_and_field_that_came_out_different_are_named(
    home, monkeypatch, drift, where, field, column, row
):
    folder = home.train(steps=10)
    monkeypatch.setenv(DRIFT, drift)
    report = again(home, folder)
    assert not report.equal
    assert (report.first.where, report.first.column, report.first.row) == (where, column, row)
    # The end line names the digests of artifacts and result; the changed summary is in the result only.
    assert report.first.field == field


@pytest.mark.parametrize("sample", [None, 1.0])
def test_a_training_that_ends_early_differs_where_the_record_goes_on(home, monkeypatch, sample):
    folder = home.train(steps=10)
    monkeypatch.setenv(DRIFT, "short:7")
    report = again(home, folder, sample=sample)
    first = report.first
    assert (first.where, first.step, first.field, first.first, first.second) == ("step 7", 7, "type", "step", "end")
    assert report.computed == 7


def test_verifying_stops_at_the_first_difference(home, monkeypatch):
    folder = home.train(steps=40)
    monkeypatch.setenv(DRIFT, "scalar:5")
    assert again(home, folder).computed == 6


def test_the_values_of_a_difference_are_the_records_and_the_new_ones(home, monkeypatch):
    folder = home.train(steps=3)
    monkeypatch.setenv(DRIFT, "scalar:2")
    report = again(home, folder)
    # halves at step 2: 0/2 + 1/2 + 2/2 = 1.5; the drift makes it -1.
    assert (report.first.first, report.first.second) == (1.5, -1.0)


def test_other_code_or_numerics_are_not_comparable_and_across_compares_all_the_same(home):
    entries = {**NumericsIdentity.collect().body(), "numpy": "1.2.3"}
    folder = home.train(steps=5, identity=NumericsIdentity(entries))
    with pytest.raises(NotComparableError, match=r"numerics: numpy: 1\.2\.3 then, .* now\n"):
        again(home, folder)
    report = again(home, folder, across=True)
    assert report.equal
    assert len(report.differences) == 1
    assert report.differences[0].startswith("numerics: numpy: 1.2.3 then, ")
    assert again(home, folder, across=True, sample=0.5).equal


def test_a_sample_computes_a_share_of_the_steps_between_checkpoints(home):
    folder = home.train(steps=50)
    report = again(home, folder, sample=0.2, sample_seed=3)
    assert (report.equal, report.sampled) == (True, True)
    assert report.computed == 10
    assert again(home, folder, sample=1.0).computed == 50


def test_a_sample_finds_a_difference_in_what_it_computes_and_in_the_result(home, monkeypatch):
    folder = home.train(steps=30)
    monkeypatch.setenv(DRIFT, "segment:17")
    report = again(home, folder, sample=1.0)
    assert (report.first.where, report.first.column, report.first.row) == ("step 17", "estimate", 3)
    assert report.first.second == pytest.approx(
        [report.first.first[0], report.first.first[1] + 1e-9, report.first.first[2]]
    )
    assert report.first.first != report.first.second
    monkeypatch.setenv(DRIFT, "result:0")
    assert again(home, folder, sample=0.05).first.where == "the end"


@pytest.mark.parametrize("share", [0.0, -0.1, 1.5, float("nan")])
def test_a_sample_is_a_share(home, share):
    with pytest.raises(InputError, match=r"a sample is a share of the steps.*0\.02 is 2 %"):
        again(home, home.train(steps=1), sample=share)


@pytest.mark.parametrize("seed", range(20))
def test_pieces_of_a_sample_start_at_boundaries_cross_none_and_cover_the_share(seed):
    pieces = plan_sample([10, 25, 60, 100], 100, 0.3, seed)
    assert sum(stop - start for start, stop in pieces) == 30
    assert all(start in (0, 10, 25, 60) for start, _ in pieces)
    assert all(stop <= {0: 10, 10: 25, 25: 60, 60: 100}[start] for start, stop in pieces)
    assert pieces == sorted(pieces)


def test_other_seeds_sample_other_pieces():
    plans = {tuple(plan_sample(list(range(0, 100, 10)), 100, 0.2, seed)) for seed in range(10)}
    assert len(plans) > 3
    assert plan_sample([], 7, 0.001, 1) == [(0, 1)]


def test_damage_is_found_before_anything_is_computed(home):
    folder = home.train(steps=3)
    path = folder.document("result")
    path.write_bytes(path.read_bytes().replace(b"observations", b"observationz"))
    with pytest.raises(IntegrityError, match=r"result\.json"):
        again(home, folder)


def test_an_interrupted_run_is_not_verified(home):
    cancel = Cancel()
    cancel.request("a test")
    with pytest.raises(Interrupted):
        home.train(steps=3, cancel=cancel)
    with pytest.raises(RefusedError, match=r"only a complete run is verified; this one is interrupted\. Resume it"):
        again(home, home.store.find("last"))


def test_missing_data_is_named(home):
    folder = home.train(steps=3)
    for path in home.store.blobs.folder.iterdir():
        path.unlink()
    with pytest.raises(DataError, match="there is no such snapshot"):
        again(home, folder)


def test_a_kind_that_no_process_can_find_is_named(home):
    folder = home.train(steps=1)
    kind = registry.get("toy")
    registry.unregister("toy")
    registry.register("toy", kind)
    with pytest.raises(InputError, match=r"registered as an object.*runs\.registry\.register\('toy', "):
        again(home, folder)
    registry.unregister("toy")
    with pytest.raises(UnknownNameError, match="kind = 'toy': no such kind"):
        again(home, folder)


def test_a_fresh_process_that_dies_is_the_machines_fault(home, monkeypatch):
    folder = home.train(steps=5)
    monkeypatch.setenv(DRIFT, "crash:2")
    with pytest.raises(MachineError, match="the fresh process was killed by signal 9"):
        again(home, folder)
    assert not list(home.path.glob(".verify-*"))


def test_what_a_killed_verify_left_is_removed_by_the_next_and_what_is_held_is_not(home):
    """Another container's verify is told by its lock: its process id means nothing here."""
    folder = home.train(steps=1)
    left, living = home.path / ".verify-abc", home.path / ".verify-def"
    for scratch in (left, living):
        (scratch / "run").mkdir(parents=True)
        (scratch / "lock").touch()
    with locked(living, Words("a verify elsewhere", "")):
        assert again(home, folder).equal
    assert not left.exists()
    assert living.exists()


def test_ctrl_c_ends_the_fresh_process_and_leaves_the_run(home, snapshot_of):
    folder = home.train(steps=300)
    before = snapshot_of(folder.path)
    workers = ExecutorChoice("lockstep.clusters.loky:LokyExecutor", (2,))
    with pytest.raises(Interrupted, match="the run is untouched"):
        again(home, folder, executor=workers, on_step=lambda done, of: os.kill(os.getpid(), signal.SIGINT))
    assert snapshot_of(folder.path) == before
    assert not list(home.path.glob(".verify-*"))
    deadline = time.monotonic() + 5
    while any(
        "verify_child" in " ".join(p.info["cmdline"] or ()) and p.ppid() == os.getpid()
        for p in psutil.process_iter(["cmdline"])
    ):
        assert time.monotonic() < deadline, "the fresh process is still there"
        time.sleep(0.05)


def portable_entries():
    """The numerics of a portable process."""
    code = (
        "from lockstep.runs.numerics import NumericsIdentity as N; import json; print(json.dumps(N.collect().body()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment("portable"), capture_output=True, text=True, check=True
    )
    return NumericsIdentity(json.loads(done.stdout))


def test_a_portable_run_is_verified_in_a_portable_process(home):
    """The fresh process gets the environment that the spec names, whatever this one has."""
    folder = home.train(steps=3, numerics="portable", identity=portable_entries())
    assert again(home, folder).equal
    assert folder.read("numerics")["numba.target"] == "x86-64-v3"


def test_a_native_run_of_a_portable_shell_is_verified_there(home, monkeypatch):
    """Its spec says native, and yet it was computed with what the shell's variables chose."""
    folder = home.train(steps=3, identity=portable_entries())
    for name, value in portable_variables().items():
        monkeypatch.setenv(name, value)
    assert again(home, folder).equal


def test_the_working_folder_shadows_no_module_of_the_fresh_process(home, tmp_path, monkeypatch):
    """A trader's folder may hold a signal.py; it is not run, in a worker neither."""
    folder = home.train(steps=2)
    place = tmp_path / "trading"
    place.mkdir()
    for name in ("signal", "statistics", "queue"):
        (place / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry not in ("", ".", str(place))])
    assert again(home, folder, executor=ExecutorChoice("lockstep.clusters.loky:LokyExecutor", (2,))).equal
    assert not (tmp_path / "ran").exists()


def test_an_error_that_nobody_foresaw_is_a_crash_and_no_answer():
    """Decision 0006: 1 means "not equal", and a crash says nothing about that."""
    assert isinstance(_error_of("KeyError", "x"), ChildCrashError)
    assert isinstance(_error_of("IntegrityError", "x"), IntegrityError)
    assert isinstance(_error_of("MemoryError", ""), MachineError)
    assert not isinstance(_error_of("KeyError", "x"), LockstepError)


def test_a_fingerprint_that_the_documents_do_not_have_is_never_equal(home):
    folder = home.train(steps=2)
    reseal(folder.path, lambda bodies, lines: lines[0].update(fingerprint="f" * 64))
    with pytest.raises(IntegrityError, match="names the fingerprint ffff"):
        again(home, folder)
