"""A user of `kind = "cnn"`: train on the bundled candles, replay, go through it again on another model, look at it."""

from __future__ import annotations

import json
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

from tests.acceptance.user import ROOT, User

from lockstep.cli.main import run as command_line

SPEC = ROOT / "examples" / "cnn.toml"
SMALL = ("--set", "data.last=900", "--set", "training.epochs=2", "--set", "network.parameters.hidden=8")

NETWORK = """\
from torch import nn


class Mine(nn.Module):
    def __init__(self, channels, window, classes, width=3):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(channels * window, width), nn.Tanh())
        self.heads = nn.Linear(width, classes + 2)

    def forward(self, x):
        out = self.heads(self.body(x))
        return out[:, :-2], out[:, -2], out[:, -1]
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("user")
    User(folder)("train", str(SPEC), *SMALL, "--tag", "net")
    return folder


@pytest.fixture
def user(trained: Path, tmp_path: Path) -> User:
    return User(Path(shutil.copytree(trained, tmp_path / "user")))


def test_gradients_give_the_weights_in_a_process_that_never_saw_the_model(user: User) -> None:
    """R9.31, with the data gone: nothing but the record is needed."""
    shutil.rmtree(user.home / "snapshots")
    answer = user("replay", "net", "--gradients", "--json")
    assert answer.json["outcome"] == "equal"
    assert answer.json["final_weights_compared"]
    assert answer.json["training_seconds"] > 0.0


def in_this_process(user: User, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """The same command line without loading torch again, for what needs no process of its own."""

    def say(*words: str) -> None:
        with monkeypatch.context() as there:
            there.chdir(user.folder)
            there.delenv("LOCKSTEP_HOME", raising=False)
            assert command_line(list(words)) == 0

    return say


def test_the_best_session_again_on_a_model_of_the_users_own(
    user: User, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """R9.32, R9.33: the most valuable steps through another network, computed again without the old run or the file."""
    say = in_this_process(user, monkeypatch)
    (user.folder / "my_net.py").write_text(NETWORK)
    other = ("--set", "network.name=my_net.py:Mine", "--set", "network.parameters.width=5")
    say("retrain", "best", "--top", "4", *other, "--tag", "again", "--json")
    again = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (again["status"], again["summary"]["steps"]) == ("complete", 4)
    assert again["summary"]["session"]["model"] == "my_net.py:Mine"
    (user.folder / "my_net.py").unlink()
    say("runs", "rm", "net")
    assert user("replay", "again", "--recompute", "--json").json["outcome"] == "equal"


def test_a_report_is_written_beside_the_user(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    say = in_this_process(user, monkeypatch)
    say("report", "net", "--out", "page")
    assert b"calibration" in (user.folder / "page" / "report.html").read_bytes()
    say("runs", "check", "net")


def test_a_killed_session_is_replayed_and_reported_as_far_as_it_went(tmp_path: Path) -> None:
    """R9.30, R9.50: kill -9 in the middle; every step in the journal comes back from the record."""
    user = User(tmp_path)
    process = user.start("train", str(SPEC), *SMALL, "--set", "training.epochs=400")
    user.wait_for_steps(process, 20)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    time.sleep(0.1)
    found = user("replay", "last", "--gradients", "--json").json
    assert found["outcome"] == "equal"
    assert found["steps"] >= 20
    assert found["training_seconds"] is None, "a killed process leaves no time"
    listed = user("sessions", "list", "--json").json["sessions"]
    assert [(item["status"], item["steps"]) for item in listed] == [("interrupted", found["steps"])]
