"""The last frame of the command line: whatever happens becomes a message and a documented exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import pytest

from lockstep.app import runs_admin
from lockstep.cli.main import run
from lockstep.core.errors import DiskError


def raising(error: BaseException) -> Callable[..., None]:
    def action(*_: object, **__: object) -> None:
        raise error

    return action


@pytest.mark.parametrize(
    ("error", "code"),
    [(DiskError("the disk is full"), 4), (KeyboardInterrupt(), 130), (MemoryError(), 4), (ZeroDivisionError("x"), 70)],
)
def test_an_error_below_becomes_its_exit_code(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runs_admin, "list_runs", raising(error))
    assert run(["runs", "list", "--json"]) == code
    assert json.loads(capsys.readouterr().out)["error"]["exit_code"] == code


def test_the_version_is_an_option_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["version"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("lockstep ")
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == told


def test_help_is_no_error_and_no_command_at_all_shows_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    assert "Exit codes:" in capsys.readouterr().out
    assert run([]) == 2
    assert capsys.readouterr().err.startswith("Usage: lockstep")


def test_a_mistyped_command_is_wrong_usage_and_offers_the_right_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["trian", "spec.toml"]) == 2
    assert "train" in capsys.readouterr().err


def test_a_mistyped_option_is_wrong_usage_and_says_where_help_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "spec.toml", "--sede", "7"]) == 2
    err = capsys.readouterr().err
    assert "--seed" in err
    assert "lockstep train --help" in err


def test_a_reader_that_leaves_early_is_no_error() -> None:
    """`lockstep version | head -1`: the rest of the output goes nowhere, in silence."""
    process = subprocess.Popen(
        [sys.executable, "-m", "lockstep", "version"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 0
