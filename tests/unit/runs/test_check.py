"""Any byte changed, any file cut, missing, added or swapped in a run's folder is found and named."""

from __future__ import annotations

import contextlib
import itertools
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lockstep.core.errors import DiskError, IntegrityError, Interrupted, LockstepError
from lockstep.runs.cancel import Cancel
from lockstep.runs.check import check
from lockstep.runs.folder import RunFolder, RunStatus
from lockstep.runs.loop import execute
from lockstep.testing.contracts.training_kind import EVERY_STEP, StopAfter, fingerprint, hashed_files
from lockstep.testing.faults import Crash, CrashAt, faults
from lockstep.testing.toy_training import ToySpec, ToyTraining

SPEC = ToySpec(seed=3, steps=4, batch=2)
SAMPLES = 24  # bytes flipped per file; all bytes of a small file kind are flipped in the test further below


def new(path: Path, spec: ToySpec = SPEC) -> RunFolder:
    return RunFolder.create(
        path,
        spec=spec.document(),
        data={"digest": "d"},
        code={"digest": "c"},
        numerics={"python": "3.11"},
        environment={"host": "here"},
        sources={"mine.py": b"print('mine')\n"},
    )


def go(folder: RunFolder, stop_after: int | None = None) -> None:
    cancel = Cancel()
    observers = [] if stop_after is None else [StopAfter(cancel, stop_after)]
    execute(
        ToyTraining(SPEC),
        folder,
        fingerprint=fingerprint(3),
        policy=EVERY_STEP,
        part_bytes=400,
        cancel=cancel,
        observers=observers,
    )


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = new(tmp_path_factory.mktemp("complete") / "run")
    go(folder)
    return folder


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = new(tmp_path_factory.mktemp("interrupted") / "run")
    with pytest.raises(Interrupted):
        go(folder, stop_after=3)
    return folder


@pytest.fixture(scope="module")
def recut(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Interrupted, its newest checkpoints lost, resumed and killed at once: journal.cut is in use."""
    folder = new(tmp_path_factory.mktemp("recut") / "run")
    with pytest.raises(Interrupted):
        go(folder, stop_after=3)
    for name in ("000000000002.ckpt", "000000000003.ckpt"):
        (folder.checkpoints / name).unlink()
    cancel = Cancel()
    cancel.request("a test")
    with pytest.raises(Interrupted):
        execute(ToyTraining(SPEC), folder, fingerprint=fingerprint(3), cancel=cancel, part_bytes=400)
    assert folder.cut_lines.exists()
    return folder


@pytest.fixture(params=["complete", "interrupted", "recut"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> RunFolder:
    """A copy that may be damaged."""
    folder = RunFolder(tmp_path / "run")
    shutil.copytree(request.getfixturevalue(request.param).path, folder.path)
    return folder


def damage(folder: RunFolder, name: str, change: Callable[[bytes], bytes]) -> None:
    """Change one file, look whether check names it, and put it back."""
    path = folder.path / name
    good = path.read_bytes()
    bad = change(good)
    assert bad != good
    path.write_bytes(bad)
    try:
        report = check(folder.path)
        assert name in {problem.file for problem in report.problems}, (name, report.problems, bad)
        assert all(str(folder.path) in problem.message for problem in report.problems)
    finally:
        path.write_bytes(good)


def test_a_sound_run_has_no_problem(run: RunFolder) -> None:
    report = check(run.path)
    assert report.ok
    assert report.problems == ()
    assert report.files == len(run.listing()) >= 10
    report.raise_for_problems()


def test_every_kind_of_file_is_there_to_be_damaged(complete: RunFolder, recut: RunFolder) -> None:
    kinds = {name.split("/")[0] for folder in (complete, recut) for name in folder.listing()}
    documents = {f"{kind}.json" for kind in ("spec", "data", "code", "numerics", "environment", "inputs", "result")}
    folders = {"code", "segments", "checkpoints", "artifacts"}
    assert kinds == documents | folders | {"journal.jsonl", "journal.cut", "MANIFEST.json"}


def test_a_flipped_bit_in_any_file_is_noticed(run: RunFolder) -> None:
    rng = random.Random(5)
    for name, path in run.listing().items():
        size = path.stat().st_size
        places = {0, size - 1, *(rng.randrange(size) for _ in range(SAMPLES))}
        for at in places:
            bit = 1 << rng.randrange(8)
            damage(run, name, lambda data, at=at, bit=bit: data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :])  # type: ignore[misc]


@pytest.mark.parametrize(
    "name", ["journal.jsonl", "segments/observed.000000.seg", "checkpoints/000000000003.ckpt", "checkpoints/index.json"]
)
def test_every_single_byte_of_the_record_of_an_interrupted_run_is_checked(
    interrupted: RunFolder, tmp_path: Path, name: str
) -> None:
    folder = RunFolder(tmp_path / "run")
    shutil.copytree(interrupted.path, folder.path)
    for at in range(0, (folder.path / name).stat().st_size, 3):
        damage(folder, name, lambda data, at=at: data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])  # type: ignore[misc]


def test_a_file_cut_at_any_length_or_grown_is_noticed(run: RunFolder) -> None:
    for name, path in run.listing().items():
        size = path.stat().st_size
        for length in {0, 1, size // 3, size // 2, size - 2, size - 1} - {size}:
            damage(run, name, lambda data, length=length: data[:length])  # type: ignore[misc]
        if name != "journal.jsonl" and not name.startswith("segments/"):
            damage(run, name, lambda data: data + b"\n")


def test_a_journal_or_segment_of_a_complete_run_may_not_grow(complete: RunFolder, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    shutil.copytree(complete.path, folder.path)
    for name in ("journal.jsonl", "segments/path.000000.seg"):
        damage(folder, name, lambda data: data + b"{")


def test_a_journal_cut_at_a_line_is_found_by_the_checkpoint_after_it(run: RunFolder) -> None:
    lines = (run.journal).read_bytes().splitlines(keepends=True)
    for count in range(len(lines)):
        if check(run.path).status is RunStatus.INTERRUPTED and run.cut_lines.exists() and count >= 2:
            continue  # its newest checkpoint is that after the first step
        damage(run, "journal.jsonl", lambda data, count=count: b"".join(lines[:count]))  # type: ignore[misc]


def test_a_missing_file_is_named(run: RunFolder) -> None:
    for name, path in run.listing().items():
        hidden = run.path.parent / "hidden"
        path.rename(hidden)
        # Without its manifest a run is not complete, and check says that it could be.
        assert name in {problem.file for problem in check(run.path).problems}, name
        hidden.rename(path)


def test_a_file_that_does_not_belong_is_named(run: RunFolder) -> None:
    beside = ("notes.txt", "x.lockstep-tmp")
    for name in (*beside, "code/other.py", "segments/readme", "checkpoints/000000000001.ckpt.bak"):
        path = run.path / name
        path.write_text("hello")
        assert [problem.file for problem in check(run.path).problems] == [name]
        path.unlink()


def test_swapped_files_are_named(run: RunFolder) -> None:
    names = list(run.listing())
    for first, second in itertools.pairwise(names):
        one, two = run.path / first, run.path / second
        if one.read_bytes() == two.read_bytes():
            continue
        swap(one, two)
        names_of_problems = {problem.file for problem in check(run.path).problems}
        assert names_of_problems & {first, second}, (first, second)
        swap(one, two)
    assert check(run.path).ok


def swap(one: Path, two: Path) -> None:
    middle = one.with_name("middle")
    one.rename(middle)
    two.rename(one)
    middle.rename(two)


def test_a_file_replaced_by_a_link_to_its_copy_is_named(run: RunFolder) -> None:
    for name in ("spec.json", "journal.jsonl"):
        path = run.path / name
        copy = run.path.parent / path.name
        path.rename(copy)
        path.symlink_to(copy)
        assert name in {problem.file for problem in check(run.path).problems}
        path.unlink()
        copy.rename(path)


def test_files_of_another_run_are_named(run: RunFolder, tmp_path: Path) -> None:
    """Good in themselves, but of a run with another seed."""
    spec = ToySpec(seed=4, steps=4, batch=2)
    other = new(tmp_path / "other", spec)
    execute(ToyTraining(spec), other, fingerprint=fingerprint(4), policy=EVERY_STEP, part_bytes=400)
    for name, path in run.listing().items():
        theirs = other.path / name
        # Theirs may begin with ours (both saw the same signs at first): then it looks like an unfinished step.
        if not theirs.exists() or theirs.read_bytes().startswith(path.read_bytes()):
            continue
        damage(run, name, lambda data, theirs=theirs: theirs.read_bytes())  # type: ignore[misc]


def test_damaged_files_are_never_used(interrupted: RunFolder, complete: RunFolder, tmp_path: Path) -> None:
    """A resume either refuses, naming the damage, or ends in the bytes of an undamaged run."""
    whole = hashed_files(complete)
    rng = random.Random(8)
    for i, (name, good) in enumerate(interrupted.listing().items()):
        for change in ("flip", "cut", "miss"):
            folder = RunFolder(tmp_path / f"{i}{change}")
            shutil.copytree(interrupted.path, folder.path)
            path, data = folder.path / name, good.read_bytes()
            at = rng.randrange(len(data))
            path.unlink()
            if change != "miss":
                path.write_bytes(data[:at] + (bytes([data[at] ^ 4]) + data[at + 1 :] if change == "flip" else b""))
            try:
                go(folder)
            except (IntegrityError, DiskError) as error:
                assert path.name in str(error), (name, change)
            else:
                assert hashed_files(folder) == whole, (name, change)
                assert check(folder.path).ok
            shutil.rmtree(folder.path)


def test_a_run_that_was_created_but_not_begun_is_checked_too(tmp_path: Path) -> None:
    folder = new(tmp_path / "run")
    report = check(folder.path)
    assert report.ok
    assert report.notes == ("the run was not begun; resume begins it",)
    for kind in ("spec", "data", "code", "numerics", "environment"):
        damage(folder, f"{kind}.json", lambda data: data[:-3])


def test_what_a_crash_leaves_is_a_note_and_not_a_problem(tmp_path: Path) -> None:
    notes = set()
    for n in range(60, 76):
        folder = new(tmp_path / str(n))
        with contextlib.suppress(Crash), faults(CrashAt(n)):
            go(folder)
        report = check(folder.path)
        assert report.ok
        notes |= {note.split(" ends in ")[-1].split(" bytes of ")[-1] for note in report.notes}
    assert "an unfinished line; resume cuts them" in notes
    assert "an unfinished frame; resume cuts them" in notes


def test_a_folder_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="there is no such run folder"):
        check(tmp_path / "nothing")


def test_the_report_raises_one_error_naming_every_file(run: RunFolder) -> None:
    for name in ("spec.json", "environment.json"):
        (run.path / name).write_text("{}")
    with pytest.raises(IntegrityError) as damaged:
        check(run.path).raise_for_problems()
    assert "spec.json" in str(damaged.value)
    assert "environment.json" in str(damaged.value)
    assert isinstance(damaged.value, LockstepError)
