"""Agents in real processes: the same in each, killed at random steps, on disks that refuse, with damaged records."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest

pytest.importorskip("torch")

from tests.acceptance.user import User
from tests.unit.kinds.agent_builders import market, prepared_of, training_of

from lockstep.core.errors import DiskError, IntegrityError
from lockstep.learning.gradients.record import SessionRecord
from lockstep.learning.gradients.replay import replay_gradients
from lockstep.runs.check import check
from lockstep.runs.folder import RunFolder
from lockstep.runs.loop import execute
from lockstep.runs.training import Training
from lockstep.testing.contracts.training_kind import EVERY_STEP, fingerprint, hashed_files, new_folder
from lockstep.testing.faults import FailAt, faults

ROOT = Path(__file__).parents[2]
UPDATES = 60
TABLES = {"training": {"updates": UPDATES}, "buffer": {"capacity": 60}, "validation": {"evaluate_every": 10}}
# One process forks those that are killed. Each waits for leave after every step, so that on no machine it is done
# before it is killed.
CHILD = """
import os, random, signal, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.resume.test_agents import fresh
from lockstep.runs.check import check
from lockstep.runs.checkpoint import CheckpointPolicy
from lockstep.runs.folder import RunFolder
from lockstep.runs.loop import execute
from lockstep.runs.observer import Observer
from lockstep.testing.contracts.training_kind import fingerprint

path, chance = Path(sys.argv[2]), random.Random(3)

def train(*observers):
    policy = CheckpointPolicy(interval_s=0.01, max_share=1e9)
    execute(fresh(path.parent), RunFolder(path), fingerprint=fingerprint(1), policy=policy, observers=observers)

class OneByOne(Observer):
    def step(self, step, journal_hash):
        os.write(told[1], b".")
        os.read(leave[0], 1)

kills = int(sys.argv[3])
if kills:
    fresh(path.parent)  # loads what torch loads late
for _ in range(kills):
    told, leave = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        train(OneByOne())
        os._exit(0)
    for _ in range(chance.randrange(1, 20)):
        os.read(told[0], 1)
        os.write(leave[1], b".")
    time.sleep(chance.uniform(0.0, 0.01))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, status
    assert check(path).ok
    print("killed")
train()
"""


def fresh(home: Path, algorithm: str = "double_dqn") -> Training:
    """A buffer of 60 that evicts for most of the run, episodes of 20 bars that end inside it."""
    table = {"algorithm": algorithm, "hidden": [8]}
    return training_of(prepared_of(market(), home / "home", agent=table, **TABLES), home / "home")


def finished(folder: RunFolder, *, kills: int, **variables: str) -> str:
    """What another process says that brought `folder` to its end, killed and begun again `kills` times.

    With variables of its own it is a new interpreter.
    """
    words = ("-c", CHILD, str(ROOT), str(folder.path), str(kills))
    child = User(folder.path.parent).python(*words, env=variables)
    out, err = child.communicate(timeout=240)
    assert child.wait() == 0, err
    return out


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    home = tmp_path_factory.mktemp("whole")
    folder = new_folder(home / "run", 1)
    execute(fresh(home), folder, fingerprint=fingerprint(1), policy=EVERY_STEP)
    return folder


def test_fresh_processes_give_the_same_journal_segments_and_artifacts(tmp_path: Path, whole: RunFolder) -> None:
    """R9.51: this process and another, with another hash seed and other threads asked for."""
    folder = new_folder(tmp_path / "run", 1)
    finished(folder, kills=0, PYTHONHASHSEED="7", OMP_NUM_THREADS="2")
    assert hashed_files(folder) == hashed_files(whole)


def test_killed_at_random_steps_it_is_as_if_it_had_never_been(tmp_path: Path, whole: RunFolder) -> None:
    """R9.51: kill -9 while a step is made, again and again; agent, target, buffer, environment come back."""
    folder = new_folder(tmp_path / "run", 1)
    assert finished(folder, kills=3).count("killed") == 3
    assert hashed_files(folder) == hashed_files(whole)


def test_a_disk_that_refuses_experiences_ends_it_and_everything_before_is_good(
    tmp_path: Path, whole: RunFolder
) -> None:
    """A full disk at the n-th write: DiskError, a sound record, and the same bytes after resuming."""
    for number in (40, 151, 333):
        folder = new_folder(tmp_path / str(number), 1)
        training = fresh(tmp_path)
        with faults(FailAt(number, errno.ENOSPC)), pytest.raises(DiskError):
            execute(training, folder, fingerprint=fingerprint(1), hand_over=1)
        assert check(folder.path).ok
        execute(fresh(tmp_path), folder, fingerprint=fingerprint(1))
        assert hashed_files(folder) == hashed_files(whole)


def test_a_flipped_byte_of_an_experience_is_found_before_it_is_learned_from(tmp_path: Path, whole: RunFolder) -> None:
    """R9.49: resume reads observations back; a damaged one is refused and named."""
    folder = RunFolder(shutil.copytree(whole.path, tmp_path / "run"))
    for name in ("MANIFEST.json", "result.json"):
        (folder.path / name).unlink()
    path = next(path for path in sorted(folder.segments.iterdir()) if path.name.startswith("experiences"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match="experiences"):
        execute(fresh(tmp_path), folder, fingerprint=fingerprint(1))


def test_the_actor_critic_replays_from_its_gradients_after_a_kill(tmp_path: Path) -> None:
    """R9.31: the record of an interrupted run is good to its last line; both critics' targets are in it."""
    folder = new_folder(tmp_path / "run", 1)
    steps = fresh(tmp_path, "actor_critic")
    with faults(FailAt(300, errno.ENOSPC)), pytest.raises(DiskError):
        execute(steps, folder, fingerprint=fingerprint(1), hand_over=1)
    record = SessionRecord(folder)
    assert 0 < len(record) < UPDATES
    assert replay_gradients(record, check_every=1).checked == len(record)
    assert any(name.startswith("targets.1.") for name in record.step(-1).model_state)
