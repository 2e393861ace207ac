"""Stopped kindly, stopped hard, killed: `resume` ends in the journal of a run that was never interrupted."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from tests.acceptance.user import EXAMPLE, LONG, User


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The journal of the long training, never interrupted."""
    user = User(tmp_path_factory.mktemp("uninterrupted"))
    result = user("train", str(EXAMPLE), *LONG, "--json").json
    return Path(result["folder"], "journal.jsonl").read_bytes()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: signal.Signals(number).name)
def test_a_first_signal_stops_at_the_next_step_and_resume_goes_on(
    tmp_path: Path, uninterrupted: bytes, number: signal.Signals
) -> None:
    user = User(tmp_path, fresh=number is signal.SIGINT)
    process = user.start("train", str(EXAMPLE), *LONG, "--json")
    folder = user.wait_for_steps(process, steps=5)
    os.killpg(process.pid, number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert f"lockstep resume {folder.name}" in err, "the exact command that goes on"
    assert '"status": "interrupted"' in out.splitlines()[-1]
    cut_short = (folder / "journal.jsonl").read_bytes()
    assert uninterrupted.startswith(cut_short)
    assert len(cut_short) < len(uninterrupted)
    assert user("resume", folder.name, "--json").json["status"] == "complete"
    assert (folder / "journal.jsonl").read_bytes() == uninterrupted


def test_a_second_ctrl_c_stops_at_once_and_nothing_is_lost(user: User, uninterrupted: bytes) -> None:
    process = user.start("train", str(EXAMPLE), *LONG)
    folder = user.wait_for_steps(process, steps=3)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode in (130, -signal.SIGINT)
    user("resume", folder.name)
    assert (folder / "journal.jsonl").read_bytes() == uninterrupted


@pytest.mark.parametrize("steps", [0, 7])
def test_a_killed_run_resumes_to_the_same_journal(user: User, uninterrupted: bytes, steps: int) -> None:
    process = user.start("train", str(EXAMPLE), *LONG)
    folder = user.wait_for_steps(process, steps=steps)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    (row,) = user("runs", "list", "--json").json
    assert row["status"] == "interrupted"
    user("resume", "last")
    assert (folder / "journal.jsonl").read_bytes() == uninterrupted
    user("runs", "check", "last")


def test_two_trainings_at_once_share_a_home(user: User, uninterrupted: bytes) -> None:
    processes = [user.start("train", str(EXAMPLE), *LONG, "--json") for _ in range(2)]
    for process in processes:
        _, err = process.communicate(timeout=240)
        assert process.returncode == 0, err
    folders = user.runs()
    assert len(folders) == 2
    assert all((folder / "journal.jsonl").read_bytes() == uninterrupted for folder in folders)


def test_a_run_that_is_being_written_is_not_resumed_a_second_time(user: User) -> None:
    # Longer than the test takes; it is stopped at the end.
    process = user.start("train", str(EXAMPLE), *LONG, "--set", "search.n_iterations=1000000")
    folder = user.wait_for_steps(process, steps=1)
    refused = user("resume", folder.name, code=1)
    assert "one process at a time" in refused.err
    assert user("runs", "list", "--json").json[0]["status"] == "running"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
