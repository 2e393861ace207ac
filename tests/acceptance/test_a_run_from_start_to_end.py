"""A user trains, looks, checks, verifies, compares, takes the run elsewhere and removes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.user import EXAMPLE, SMALL, User

KEYS = {
    "run_id",
    "status",
    "fingerprint",
    "journal_hash",
    "data_hash",
    "headline",
    "best",
    "trials",
    "verdict",
    "folder",
}


def test_train_list_show_check_verify_export_import_verify_remove(tmp_path: Path) -> None:
    """R4.40: exported, imported elsewhere and verified, a run says equal. Each command in an interpreter of its own."""
    # Beside each other: a folder below the first one would find its home.
    user = User(tmp_path / "here", fresh=True)
    user.folder.mkdir()
    trained = user("train", str(EXAMPLE), *SMALL, "--tag", "first", "--json")
    result = trained.json
    assert set(result) >= KEYS
    assert result["status"] == "complete"
    assert result["verdict"]["decision"] is None
    assert result["trials"]["total"] == 96
    assert set(result["best"]) == {"index", "parameters", "metrics"}
    assert "step" in trained.err, "progress goes to stderr"
    run_id = result["run_id"]

    assert [row["run_id"] for row in user("runs", "list", "--json").json] == [run_id]
    assert user("runs", "show", "first", "--json").json["journal_hash"] == result["journal_hash"]
    assert run_id in user("runs", "list").out
    assert user("runs", "check", run_id[:-2], "--json").json["sound"] is True
    assert user("verify", "last", "--json").json["outcome"] == "equal"
    assert user("verify", run_id, "--sample", "50%", "--json").json["outcome"] == "equal"

    user("runs", "export", "first", "run.tar")
    elsewhere = User(tmp_path / "elsewhere", fresh=True)
    elsewhere.folder.mkdir()
    imported = elsewhere("runs", "import", str(user.folder / "run.tar"), "--json")
    assert imported.json["run_id"] == run_id
    assert elsewhere("verify", run_id, "--json").json["journal_hash"] == result["journal_hash"]

    user("runs", "rm", "first")
    assert user("runs", "list", "--json").json == []


def test_the_same_spec_twice_gives_equal_journals_and_another_seed_differs(user: User, trained: dict[str, Any]) -> None:
    """R4.13, R4.14, R4.15, R4.16: without --seed the seed is 42; the same seed repeats, another explores elsewhere."""
    first = trained
    again = user("train", str(EXAMPLE), *SMALL, "--seed", "42", "--workers", "2", "--json").json
    other = user("train", str(EXAMPLE), *SMALL, "--seed", "99", "--json").json
    assert again["journal_hash"] == first["journal_hash"]
    assert again["best"] == first["best"]
    assert again["run_id"] != first["run_id"]
    assert other["fingerprint"] != first["fingerprint"]
    assert other["best"]["parameters"] != first["best"]["parameters"]
    assert user("diff", first["run_id"], again["run_id"], "--json").json["equal"] is True
    parted = user("diff", first["run_id"], other["run_id"], code=1)
    assert "seed" in parted.out


def test_a_random_seed_is_drawn_once_and_recorded(user: User) -> None:
    """Decision D9."""
    result = user("train", str(EXAMPLE), *SMALL, "--seed", "random", "--json").json
    shown = user("runs", "show", "last", "--json").json
    assert isinstance(shown["seed"], int)
    repeated = user("train", str(EXAMPLE), *SMALL, "--seed", str(shown["seed"]), "--json").json
    assert repeated["journal_hash"] == result["journal_hash"]


def test_seed_zero_is_a_seed(user: User, trained: dict[str, Any]) -> None:
    """R4.28: 0 is honoured, never taken for "none"."""
    zero = user("train", str(EXAMPLE), *SMALL, "--seed", "0", "--json").json
    assert zero["fingerprint"] != trained["fingerprint"]
    assert user("runs", "show", zero["run_id"], "--json").json["seed"] == 0


def test_the_report_for_people_says_what_how_good_and_how_to_repeat(user: User) -> None:
    """Decision D20: every report prints the line that reproduces it."""
    report = user("train", str(EXAMPLE), *SMALL).out
    for needed in ("EUR/USD", "buy and hold", "Random entries", "net profit", "to repeat this", "Not judged yet"):
        assert needed in report, f"{needed!r} is missing in\n{report}"


@pytest.mark.parametrize("command", [("--help",), ("train", "--help"), ("runs", "--help"), ("version",)])
def test_help_and_version_answer(user: User, command: tuple[str, ...]) -> None:
    assert user(*command).out.strip() != ""
