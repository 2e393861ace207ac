"""Gradient training in real processes: the same in each, killed at random steps, on disks that refuse."""

from __future__ import annotations

import contextlib
import errno
import importlib
import itertools
import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")

from tests.acceptance.user import User
from tests.fork_server import Process
from tests.unit.learning.builders import Small

from lockstep.core.errors import DiskError
from lockstep.learning.gradients.optim_state import OptimizerSettings
from lockstep.learning.gradients.record import SessionRecord
from lockstep.learning.gradients.recorder import Recording
from lockstep.learning.gradients.replay import replay_gradients
from lockstep.runs.check import check
from lockstep.runs.checkpoint import CheckpointStore
from lockstep.runs.folder import RunFolder, RunStatus
from lockstep.runs.loop import execute
from lockstep.testing.contracts.training_kind import EVERY_STEP, fingerprint, hashed_files, new_folder
from lockstep.testing.faults import CountingFileSystem, Crash, CrashAt, FailAt, faults

ROOT = Path(__file__).parents[2]
EPOCHS = 40  # 120 steps
CHILD = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.unit.learning.builders import Small
from lockstep.runs.checkpoint import CheckpointPolicy
from lockstep.runs.folder import RunFolder
from lockstep.runs.loop import execute
from lockstep.runs.observer import Observer
from lockstep.testing.contracts.training_kind import fingerprint

class Tell(Observer):
    def started(self, info):
        print("started", info.first_step, flush=True)
    def step(self, step, journal_hash):
        time.sleep(float(sys.argv[4]))

small = Small(epochs=int(sys.argv[3]))
policy = CheckpointPolicy(interval_s=0.05, max_share=1e9)
execute(small.make(), RunFolder(Path(sys.argv[2])), fingerprint=fingerprint(1), policy=policy, observers=[Tell()])
"""


def start(folder: RunFolder, *, pause: float = 0.0, **variables: str) -> Process:
    """With variables of its own it is a new interpreter."""
    words = ("-c", CHILD, str(ROOT), str(folder.path), str(EPOCHS), str(pause))
    return User(folder.path.parent).python(*words, env=variables)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return Small(epochs=EPOCHS).run(tmp_path_factory.mktemp("whole") / "run")


def test_fresh_processes_give_the_same_journal_weights_and_optimiser(tmp_path: Path, whole: RunFolder) -> None:
    """R9.51: this process and another, with another hash seed and other threads asked for."""
    folder = new_folder(tmp_path / "run", 1)
    child = start(folder, PYTHONHASHSEED="77", OMP_NUM_THREADS="2", MKL_NUM_THREADS="2")
    child.communicate()
    assert child.returncode == 0
    assert hashed_files(folder) == hashed_files(whole)
    ours, theirs = (SessionRecord(item).state_after(-1 + EPOCHS * 3) for item in (folder, whole))
    assert {"weights", "optimizer.exp_avg", "optimizer.exp_avg_sq"} <= ours.keys()
    assert all(ours[name].tobytes() == theirs[name].tobytes() for name in theirs)


@pytest.mark.parametrize("chance", range(2))
def test_killed_at_random_steps_and_resumed_equals_an_uninterrupted_session(
    tmp_path: Path, whole: RunFolder, chance: int
) -> None:
    folder = new_folder(tmp_path / "run", 1)
    rng = random.Random(chance)
    for _ in range(3):
        child = start(folder, pause=0.01)
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(rng.random() * 1.0)
        child.send_signal(signal.SIGKILL)
        child.communicate()
        assert {problem.file for problem in check(folder.path).problems} <= {"MANIFEST.json"}
        if folder.status() is RunStatus.COMPLETE:
            break
    last = start(folder)
    last.communicate()
    assert last.returncode == 0
    assert hashed_files(folder) == hashed_files(whole)
    assert check(folder.path).problems == ()
    assert replay_gradients(SessionRecord(folder)).state == whole.result()["state"]


@pytest.mark.parametrize(
    "settings",
    [
        OptimizerSettings(learning_rate=3e-3),
        OptimizerSettings(name="adamw", weight_decay=0.02, form="foreach"),
        OptimizerSettings(name="adamw", weight_decay=0.02, form="fused"),
        OptimizerSettings(name="sgd", momentum=0.9, nesterov=True, form="fused"),
        OptimizerSettings(name="rmsprop", momentum=0.5, form="foreach"),
    ],
    ids=lambda settings: f"{settings.name}-{settings.form}",
)
@pytest.mark.parametrize("codec", ["raw", "blosc2"])
def test_resumed_at_every_checkpoint_the_session_ends_the_same(
    tmp_path: Path, settings: OptimizerSettings, codec: str
) -> None:
    """Every checkpoint in turn is made the newest one; journal, gradients, weights, BatchNorm's statistics and moments
    come out equal, with clipping, in every form of the optimisers."""
    if codec != "raw":
        pytest.importorskip(codec)
    recording = Recording(snapshot_every=4, codec=codec)  # type: ignore[arg-type]
    small = Small(epochs=1, batch=10, optimizer=settings, clip_norm=0.5, recording=recording)
    whole = small.run(tmp_path / "whole")
    for steps in CheckpointStore(whole.checkpoints).stored_steps():
        folder = RunFolder(tmp_path / str(steps))
        shutil.copytree(whole.path, folder.path)
        folder.document("manifest").unlink()
        for later in CheckpointStore(folder.checkpoints).stored_steps():
            if later > steps:
                CheckpointStore(folder.checkpoints).path(later).unlink()
        outcome = execute(small.make(), folder, fingerprint=fingerprint(1), policy=EVERY_STEP)
        assert outcome.first_step == steps
        assert hashed_files(folder) == hashed_files(whole)


SHORT = Small(epochs=1, recording=Recording(snapshot_every=2))


def go(folder: RunFolder) -> None:
    execute(SHORT.make(), folder, fingerprint=fingerprint(1), policy=EVERY_STEP)


def test_killed_at_any_call_to_the_file_system_the_resumed_session_is_the_same(tmp_path: Path) -> None:
    """Every thirteenth call; `test_every_call` tries each one of a smaller training."""
    whole = hashed_files(SHORT.run(tmp_path / "whole"))
    for n in itertools.count(1, 13):
        folder = new_folder(tmp_path / str(n), 1)
        with contextlib.suppress(Crash), faults(CrashAt(n)) as disk:
            go(folder)
        if not disk.struck:
            break
        go(folder)
        assert hashed_files(folder) == whole, f"killed at call {n}"
        shutil.rmtree(folder.path)
    assert n > 100


def test_a_full_disk_ends_the_session_with_everything_before_it_good(tmp_path: Path) -> None:
    """The error names the cure; each step that the journal has can be read and rebuilt; resume goes on."""
    whole = hashed_files(SHORT.run(tmp_path / "whole"))
    replayed = 0
    for n in itertools.count(30, 11):
        folder = new_folder(tmp_path / str(n), 1)
        with faults(FailAt(n, errno.ENOSPC, lasting=True)) as disk, contextlib.suppress(DiskError):
            go(folder)
        if not disk.struck:
            break
        assert {problem.file for problem in check(folder.path).problems} <= {"MANIFEST.json"}
        lines = folder.journal.read_bytes().count(b"\n") if folder.journal.exists() else 0
        if lines > 1:
            record = SessionRecord(folder)
            assert replay_gradients(record, check_every=1).checked == len(record) == min(lines - 1, 3)
            replayed += 1
        go(folder)
        assert hashed_files(folder) == whole, f"failed at call {n}"
        shutil.rmtree(folder.path)
    assert replayed > 2


class ShardFails(CountingFileSystem):
    """The n-th write to a shard of gradients fails after half of it; nothing else does."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self._left = n
        self._shards: set[int] = set()
        self.struck = False

    def open_append(self, path: Path) -> int:
        descriptor = super().open_append(path)
        (self._shards.add if path.name.startswith("gradients") else self._shards.discard)(descriptor)
        return descriptor

    def write(self, descriptor: int, data: bytes | bytearray | memoryview) -> int:
        if descriptor in self._shards:
            self._left -= 1
            if self._left == 0:
                self.struck = True
                os.write(descriptor, memoryview(data)[: len(data) // 2])
                raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().write(descriptor, data)


def test_a_shard_that_cannot_be_written_ends_the_session_cleanly_whichever_write_fails(tmp_path: Path) -> None:
    """The n-th write of a gradient fails, for every n, packed or raw; what came before is good and resume goes on."""
    recordings = [Recording(snapshot_every=2)]
    with contextlib.suppress(ImportError):
        importlib.import_module("blosc2")
        recordings.append(Recording(snapshot_every=2, codec="blosc2"))
    for recording in recordings:
        small = Small(epochs=1, recording=recording)
        place = tmp_path / recording.codec
        place.mkdir()
        whole = hashed_files(small.run(place / "whole"))
        for n in itertools.count(1):
            folder = new_folder(place / str(n), 1)
            with faults(ShardFails(n)) as disk, contextlib.suppress(DiskError):
                execute(small.make(), folder, fingerprint=fingerprint(1), policy=EVERY_STEP)
            if not disk.struck:
                break
            assert {problem.file for problem in check(folder.path).problems} <= {"MANIFEST.json"}
            execute(small.make(), folder, fingerprint=fingerprint(1), policy=EVERY_STEP)
            assert hashed_files(folder) == whole, f"failed at call {n}"
        assert n > 3
