"""A user of `kind = "cnn"`: train on the bundled candles, replay, go through it again on another model, look at it."""

from __future__ import annotations

import shutil
import signal
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

from tests.acceptance.user import ROOT, User

SPEC = ROOT / "examples" / "cnn.toml"
SMALL = ("--set", "data.last=900", "--set", "training.epochs=2", "--set", "network.parameters.hidden=8")


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


def test_computing_again_is_equal_and_a_flipped_byte_of_a_shard_is_not(user: User) -> None:
    """R9.49, R9.51: exit 0, and then 1 with the file named."""
    assert user("replay", "net", "--recompute", "--to", "6", "--json").json["outcome"] == "equal"
    (folder,) = user.runs()
    path = folder / "segments" / "gradients.000000.seg"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert "gradients.000000.seg" in user("replay", "net", "--gradients", code=1).err
    assert user("sessions", "list", "--thorough", "--json").json["sessions"] == []


def test_the_best_session_again_on_another_model_verifies(user: User) -> None:
    """R9.32, R9.33: the most valuable steps through a wider network, then computed again in a fresh process."""
    wider = ("--set", "network.parameters.hidden=16")
    again = user("replay", "best", "--session", "--top", "4", *wider, "--tag", "again", "--json").json
    assert (again["status"], again["summary"]["steps"]) == ("complete", 4)
    user("runs", "rm", "net")
    assert user("verify", "again", "--json").json["outcome"] == "equal"
    refused = user("replay", "again", "--session", "--set", "data.last=800", code=2)
    assert "data stays as it is" in refused.err


def test_a_report_is_written_beside_the_user_and_looks_the_same_twice(user: User) -> None:
    pytest.importorskip("matplotlib")
    answer = user("report", "net", "--json")
    page = user.folder / answer.json["page"]
    first = page.read_bytes()
    assert b"calibration" in first
    user("report", "net")
    assert page.read_bytes() == first
    user("runs", "check", "net")


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
    assert user("report", "last", "--json").json["report"]["subtitle"].startswith("cnn, interrupted")
