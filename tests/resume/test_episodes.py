"""Episode sessions in real processes: the same in each, killed and resumed as if they never had been (R9.51)."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")

from tests.acceptance.user import User
from tests.fork_server import Process
from tests.unit.episodes.episode_markets import SYMBOL, collected
from tests.unit.faces.networks import mine

from lockstep.episodes.book import EpisodeBook
from lockstep.faces.cnn_trainer import CNNTrainer
from lockstep.learning.gradients.record import SessionRecord
from lockstep.learning.gradients.replay import replay_gradients
from lockstep.runs.check import check
from lockstep.runs.folder import RunFolder, RunStatus
from lockstep.testing.contracts.training_kind import hashed_files

ROOT = Path(__file__).parents[2]
EPISODES, BATCH, EPOCHS = 40, 8, 120
STEPS = EPISODES // BATCH * EPOCHS  # 600
CHILD = """
import sys
sys.path.insert(0, sys.argv[1])
from tests.resume.test_episodes import session
session(sys.argv[2])
"""


def session(home: Path | str) -> CNNTrainer:
    """A home with a book, a model of the user's, one session on the book's best episodes."""
    home = Path(home)
    if not (home / "episodes").exists():
        collected(200, folder=home / "episodes")
    settings = {"training": {"epochs": EPOCHS, "batch_size": BATCH}, "recording": {"snapshot_every": 50}}
    trainer = CNNTrainer(mine(7), home=home, settings=settings, seed=5)
    trainer.train_on_profitable_episodes(SYMBOL, 0.7, EPISODES)
    return trainer


def start(home: Path, **variables: str) -> Process:
    """With variables of its own it is a new interpreter."""
    return User(home).python("-c", CHILD, str(ROOT), str(home), env=variables)


def only_run(home: Path) -> RunFolder:
    (path,) = (home / "runs").iterdir()
    return RunFolder(path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], CNNTrainer]:
    """The files of a session never interrupted, of this process, and its trainer."""
    home = tmp_path_factory.mktemp("whole")
    trainer = session(home)
    return hashed_files(only_run(home)), trainer


def test_a_fresh_process_makes_the_same_session(tmp_path: Path, whole: tuple[dict[str, bytes], CNNTrainer]) -> None:
    """R9.51: other hash seed, other threads asked for, another home: every hashed byte is the same."""
    child = start(tmp_path, PYTHONHASHSEED="77", OMP_NUM_THREADS="2", MKL_NUM_THREADS="2")
    assert child.communicate(timeout=120)[1] == ""
    assert child.wait() == 0
    assert hashed_files(only_run(tmp_path)) == whole[0]


def test_killed_in_the_middle_and_resumed_equals_an_uninterrupted_session(
    tmp_path: Path, whole: tuple[dict[str, bytes], CNNTrainer]
) -> None:
    """Kill -9 somewhere among 600 steps; the trainer resumes, the model and the book end as if nothing had been."""
    files, trainer = whole
    at = random.Random(3).randrange(50, STEPS - 100)
    child = start(tmp_path)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and child.poll() is None:
        journals = list(tmp_path.glob("runs/*/journal.jsonl"))
        if journals and journals[0].read_bytes().count(b"\n") > at:
            break
        time.sleep(0.001)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    folder = only_run(tmp_path)
    assert folder.status() is RunStatus.INTERRUPTED
    assert at < folder.journal.read_bytes().count(b"\n") < STEPS
    assert {problem.file for problem in check(folder.path).problems} <= {"MANIFEST.json"}
    assert not EpisodeBook.open(tmp_path / "episodes").column("training_count").any()
    again = CNNTrainer(mine(7), home=tmp_path)
    report = again.resume()
    assert (report.steps, report.episodes_used) == (STEPS, EPISODES)
    assert hashed_files(folder) == files
    ours, theirs = again.model.state_dict(), trainer.model.state_dict()
    assert all(ours[name].numpy().tobytes() == theirs[name].numpy().tobytes() for name in theirs)
    counts = EpisodeBook.open(tmp_path / "episodes").column("training_count")
    assert sorted(set(counts.tolist())) == [0, EPOCHS]
    assert replay_gradients(SessionRecord(folder)).state == folder.result()["state"]
