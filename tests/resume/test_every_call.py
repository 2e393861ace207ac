"""A run dies, or the disk refuses, at its n-th call to the file system, for every n; then it goes on."""

from __future__ import annotations

import contextlib
import errno
import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lockstep.core.errors import DiskError
from lockstep.core.files import temporary_files
from lockstep.runs.check import check
from lockstep.runs.checkpoint import CheckpointPolicy
from lockstep.runs.folder import RunFolder, RunStatus
from lockstep.runs.loop import CompleteRun, execute
from lockstep.runs.training import Step
from lockstep.testing.contracts.training_kind import EVERY_STEP, fingerprint, hashed_files, new_folder
from lockstep.testing.faults import CountingFileSystem, Crash, CrashAt, FailAt, PowerCutAt, faults
from lockstep.testing.toy_training import ToySpec, ToyTraining

SPEC = ToySpec(seed=7, steps=3, batch=2)
PART_BYTES = 400  # a segment of this run rolls over twice


def go(folder: RunFolder, policy: CheckpointPolicy = EVERY_STEP) -> CompleteRun:
    return execute(ToyTraining(SPEC), folder, fingerprint=fingerprint(7), policy=policy, part_bytes=PART_BYTES)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = new_folder(tmp_path_factory.mktemp("whole") / "run", 7)
    go(folder)
    files = hashed_files(folder)
    assert sum(name.startswith("segments/path") for name in files) >= 2, "the run should roll a segment over"
    return files


def sound(folder: RunFolder) -> bool:
    """Nothing is damaged; a run that only lacks its manifest says so."""
    return {problem.file for problem in check(folder.path).problems} <= {"MANIFEST.json"}


def test_killed_at_every_call_the_resumed_run_equals_an_uninterrupted_one(
    tmp_path: Path, whole: dict[str, bytes]
) -> None:
    for n in itertools.count(1):
        folder = new_folder(tmp_path / str(n), 7)
        with contextlib.suppress(Crash), faults(CrashAt(n)) as disk:
            go(folder)
        if not disk.struck:
            break
        assert sound(folder), f"killed at call {n}: {check(folder.path).problems}"
        go(folder)
        assert hashed_files(folder) == whole, f"killed at call {n}"
        assert folder.status() is RunStatus.COMPLETE
        assert check(folder.path).problems == ()
        assert list(temporary_files(folder.path)) == []
    assert n > 100, "a run of three steps with checkpoints makes more calls than that"


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO], ids=["full disk", "input/output error"])
def test_a_disk_that_refuses_at_any_call_is_named_and_the_run_goes_on_afterwards(
    tmp_path: Path, whole: dict[str, bytes], number: int, lasting: bool
) -> None:
    cure = {errno.ENOSPC: "free some space", errno.EIO: "check its health"}[number]
    for n in itertools.count(1):
        folder = new_folder(tmp_path / str(n), 7)
        with faults(FailAt(n, number, lasting=lasting)) as disk:
            try:
                go(folder)
            except DiskError as error:
                assert error.exit_code == 4
                assert str(folder.path) in str(error)
                assert cure in str(error), n
        if not disk.struck:
            break
        assert sound(folder), f"failed at call {n}: {check(folder.path).problems}"
        go(folder)
        assert hashed_files(folder) == whole, f"failed at call {n}"
        assert check(folder.path).problems == ()
        assert list(temporary_files(folder.path)) == []
        shutil.rmtree(folder.path)
    assert n > 100


def test_killed_between_two_handovers_the_resumed_run_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    """40 steps without a checkpoint: lines and frames come 16 steps at a time, and no line before its frames."""
    spec, policy = ToySpec(seed=7, steps=40, batch=2), CheckpointPolicy(interval_s=1e9)

    def all_of_it(folder: RunFolder) -> None:
        execute(ToyTraining(spec), folder, fingerprint=fingerprint(7), policy=policy)

    sample = new_folder(tmp_path / "sample", 7)
    with faults(CountingFileSystem()) as counted:
        all_of_it(sample)
    assert counted.calls < 100, "two writes for a step would be more"
    expected = hashed_files(sample)
    for n in range(20, counted.calls, 4):
        folder = new_folder(tmp_path / str(n), 7)
        with contextlib.suppress(Crash), faults(CrashAt(n)):
            all_of_it(folder)
        assert sound(folder), f"killed at call {n}: {check(folder.path).problems}"
        all_of_it(folder)
        assert hashed_files(folder) == expected, f"killed at call {n}"


def test_what_is_held_back_is_written_when_a_training_fails(tmp_path: Path) -> None:
    class Failing(ToyTraining):
        def steps(self) -> Iterator[Step]:
            yield from itertools.islice(super().steps(), 5)
            raise ValueError("no sixth step")

    folder = new_folder(tmp_path / "run", 7)
    with pytest.raises(ValueError, match="no sixth step"):
        execute(Failing(ToySpec(seed=7, steps=9, batch=2)), folder, fingerprint=fingerprint(7))
    assert folder.journal.read_bytes().count(b"\n") == 1 + 5
    assert sound(folder)


SURVIVORS = {
    "nothing unforced survives": lambda path: False,
    "only the journal survives": lambda path: path.name == "journal.jsonl",
    "only segments survive": lambda path: path.suffix == ".seg",
}


@pytest.mark.parametrize("survives", SURVIVORS.values(), ids=SURVIVORS.keys())
def test_the_power_fails_at_every_call_and_the_resumed_run_equals_an_uninterrupted_one(
    tmp_path: Path, whole: dict[str, bytes], survives: Callable[[Path], bool]
) -> None:
    """A1 of the reliability promises: what is said to exist, exists after a power cut."""
    rare = CheckpointPolicy(interval_s=1e9)  # the last checkpoint only, so that much is unforced
    for policy in (EVERY_STEP, rare):
        for n in itertools.count(1):
            folder = new_folder(tmp_path / f"{policy.interval_s}-{n}", 7)
            with contextlib.suppress(Crash), faults(PowerCutAt(n, survives)) as disk:
                go(folder, policy)
            if not disk.struck:
                # 117 calls with a checkpoint at every step, 87 with the last one only.
                assert n > (80 if policy is rare else 100)
                break
            disk.cut()
            go(folder)
            assert hashed_files(folder) == whole, f"power failed at call {n}"
            assert check(folder.path).problems == ()
            shutil.rmtree(folder.path)


def test_a_manifest_that_survives_a_power_cut_is_right(tmp_path: Path) -> None:
    survived = 0
    for n in itertools.count(90):
        folder = new_folder(tmp_path / str(n), 7)
        with contextlib.suppress(Crash), faults(PowerCutAt(n)) as disk:
            go(folder)
        disk.cut()
        if folder.status() is RunStatus.COMPLETE:
            assert check(folder.path).problems == ()
            survived += 1
        if not disk.struck:
            break
    assert survived > 0


@pytest.mark.parametrize("share", [0.4, 0.75, 0.97], ids=lambda share: f"first killed after {share:.0%} of its calls")
def test_a_resume_killed_at_every_call_can_be_resumed_again(
    tmp_path: Path, whole: dict[str, bytes], share: float
) -> None:
    sample = new_folder(tmp_path / "counted", 7)
    with faults(CountingFileSystem()) as counted:
        go(sample)
    dead = new_folder(tmp_path / "dead", 7)
    with pytest.raises(Crash), faults(CrashAt(int(share * counted.calls))):
        go(dead)
    # The newest checkpoint is lost too, so that lines have to be cut and met again.
    newest = sorted(dead.checkpoints.glob("*.ckpt"))[-1]
    newest.write_bytes(newest.read_bytes()[:-1])
    expected = {"MANIFEST.json", f"checkpoints/{newest.name}"}
    for n in itertools.count(1):
        folder = RunFolder(tmp_path / str(n))
        shutil.copytree(dead.path, folder.path)
        with contextlib.suppress(Crash), faults(CrashAt(n)) as disk:
            go(folder)
        if not disk.struck:
            break
        assert {problem.file for problem in check(folder.path).problems} <= expected, f"resume killed at call {n}"
        go(folder)
        assert hashed_files(folder) == whole, f"resume killed at call {n}"
        assert not folder.cut_lines.exists()
        assert check(folder.path).problems == ()
        shutil.rmtree(folder.path)
    assert n > 20
