"""Real processes, really killed: kill -9 at random instants, again and again, then the run goes on."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest
from tests.acceptance.user import User
from tests.fork_server import Process

from lockstep.core.errors import RefusedError
from lockstep.runs.check import check
from lockstep.runs.checkpoint import CheckpointPolicy
from lockstep.runs.folder import RunFolder, RunStatus
from lockstep.runs.loop import execute
from lockstep.testing.contracts.training_kind import fingerprint, hashed_files, new_folder
from lockstep.testing.toy_training import ToySpec, ToyTraining

STEPS, BATCH, SEED = 1500, 2, 11
CHILD = """
import sys, time
from pathlib import Path
from lockstep.core.errors import Interrupted
from lockstep.runs.cancel import Cancel
from lockstep.runs.checkpoint import CheckpointPolicy
from lockstep.runs.folder import RunFolder
from lockstep.runs.loop import execute
from lockstep.runs.observer import Observer
from lockstep.testing.toy_training import ToySpec, ToyTraining

class Tell(Observer):
    def started(self, info):
        print("started", info.first_step, flush=True)
    def step(self, step, journal_hash):
        time.sleep(float(pause))

path, steps, batch, seed, interval, pause, fingerprint = sys.argv[1:]
spec = ToySpec(seed=int(seed), steps=int(steps), batch=int(batch))
policy = CheckpointPolicy(interval_s=float(interval), max_share=1e9)
try:
    with Cancel().on_signals() as cancel:
        execute(ToyTraining(spec), RunFolder(Path(path)), fingerprint=fingerprint, policy=policy, cancel=cancel,
                observers=[Tell()])
except Interrupted as stop:
    print(stop, flush=True)
    sys.exit(stop.exit_code)
"""


def start(
    folder: RunFolder, *, steps: int = STEPS, interval: float = 0.02, pause: float = 0.0, fresh: bool = False
) -> Process:
    """A process that runs, or resumes, the training; `pause` seconds after each step make it slow enough to hit."""
    arguments = [str(folder.path), str(steps), str(BATCH), str(SEED), str(interval), str(pause), fingerprint(SEED)]
    return User(folder.path.parent, fresh=fresh).python("-c", CHILD, *arguments)


def wait_until_started(child: Process) -> str:
    assert child.stdout is not None
    return child.stdout.readline()


def kill(child: Process) -> None:
    child.send_signal(signal.SIGKILL)
    child.communicate()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = new_folder(tmp_path_factory.mktemp("whole") / "run", SEED)
    execute(ToyTraining(ToySpec(seed=SEED, steps=STEPS, batch=BATCH)), folder, fingerprint=fingerprint(SEED))
    return hashed_files(folder)


@pytest.mark.parametrize("chance", range(3))
@pytest.mark.parametrize("interval", [0.02, 1e9], ids=["with checkpoints", "before the first checkpoint"])
def test_killed_at_random_instants_and_resumed_equals_an_uninterrupted_run(
    tmp_path: Path, whole: dict[str, bytes], interval: float, chance: int
) -> None:
    folder = new_folder(tmp_path / "run", SEED)
    rng = random.Random(f"{interval} {chance}")
    for _ in range(3):
        child = start(folder, interval=interval, pause=0.0002)
        wait_until_started(child)
        time.sleep(rng.random() * 0.4)
        kill(child)
        assert {problem.file for problem in check(folder.path).problems} <= {"MANIFEST.json"}
        if folder.status() is RunStatus.COMPLETE:
            break
    last = start(folder)
    assert last.communicate()[0] is not None
    assert last.returncode == 0
    assert hashed_files(folder) == whole
    assert check(folder.path).problems == ()


def test_killed_while_python_starts_leaves_a_run_that_can_be_begun(tmp_path: Path, whole: dict[str, bytes]) -> None:
    folder = new_folder(tmp_path / "run", SEED)
    for delay in (0.0, 0.1, 0.2, 0.25, 0.3):
        child = start(folder, fresh=True)
        time.sleep(delay)
        kill(child)
    child = start(folder, fresh=True)
    child.communicate()
    assert child.returncode == 0
    assert hashed_files(folder) == whole


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_stop_with_a_checkpoint_and_say_how_to_resume(
    tmp_path: Path, whole: dict[str, bytes], number: signal.Signals
) -> None:
    folder = new_folder(tmp_path / "run-0007", SEED)
    child = start(folder, interval=1e9, pause=0.01)
    wait_until_started(child)
    time.sleep(0.1)
    child.send_signal(number)
    out, _ = child.communicate()
    assert child.returncode == 130
    assert "lockstep resume run-0007" in out
    assert folder.status() is RunStatus.INTERRUPTED
    assert check(folder.path).problems == ()
    assert len(list(folder.checkpoints.glob("*.ckpt"))) == 1
    child = start(folder)
    first = wait_until_started(child)
    child.communicate()
    assert int(first.split()[1]) > 0, "it goes on where it stopped, not from the start"
    assert hashed_files(folder) == whole


def test_one_process_at_a_time_writes_a_run_and_the_other_is_told_which(tmp_path: Path) -> None:
    folder = new_folder(tmp_path / "run", SEED)
    child = start(folder, steps=1_000_000)
    try:
        wait_until_started(child)
        assert folder.status() is RunStatus.RUNNING
        with pytest.raises(RefusedError, match=rf"being written by process {child.pid} on ") as refusal:
            execute(ToyTraining(ToySpec(seed=SEED)), folder, fingerprint=fingerprint(SEED))
        assert str(folder.path) in str(refusal.value)
        with pytest.raises(RefusedError, match="when nobody writes it"):
            check(folder.path)
    finally:
        kill(child)
    assert folder.status() is RunStatus.INTERRUPTED
    assert os.path.exists(folder.path / "lock")  # noqa: PTH110 - the file stays; only the lock on it counts


def test_a_killed_run_goes_on_from_its_newest_checkpoint(tmp_path: Path) -> None:
    folder = new_folder(tmp_path / "run", SEED)
    child = start(folder, pause=0.01)
    wait_until_started(child)
    deadline = time.monotonic() + 20
    while len(list(folder.checkpoints.glob("*.ckpt"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.005)
    kill(child)
    newest = max(int(path.stem) for path in folder.checkpoints.glob("*.ckpt"))
    policy = CheckpointPolicy(interval_s=1e9)
    outcome = execute(
        ToyTraining(ToySpec(seed=SEED, steps=STEPS, batch=BATCH)), folder, fingerprint=fingerprint(SEED), policy=policy
    )
    assert outcome.first_step == newest
