"""Every error becomes one message and one documented exit code."""

from __future__ import annotations

import errno
import json

import pytest

from lockstep.cli.failures import DEFECT, describe, tell
from lockstep.cli.main import run
from lockstep.core import errors
from lockstep.core.errors import LockstepError

CODES = {
    "InputError": 2,
    "SpecError": 2,
    "DataError": 2,
    "SpaceError": 2,
    "StrategyError": 2,
    "NetworkError": 2,
    "UnknownNameError": 2,
    "RefusedError": 1,
    "NoValidTrialError": 1,
    "LookAheadError": 1,
    "NotEqualError": 1,
    "IntegrityError": 1,
    "NotComparableError": 3,
    "MachineError": 4,
    "DiskError": 4,
    "WorkerLostError": 4,
    "MissingLibraryError": 4,
    "Interrupted": 130,
}


def test_the_table_below_covers_the_whole_error_tree() -> None:
    tree = {name for name, item in vars(errors).items() if isinstance(item, type) and issubclass(item, LockstepError)}
    assert tree - {"LockstepError"} == set(CODES)


@pytest.mark.parametrize(("name", "code"), CODES.items())
def test_an_error_of_the_tree_keeps_its_message_and_code(name: str, code: int) -> None:
    failure = describe(getattr(errors, name)("what happened"))
    assert (failure.type, failure.message, failure.exit_code) == (name, "what happened", code)


def test_a_full_disk_below_everything_is_an_error_of_the_machine() -> None:
    failure = describe(OSError(errno.ENOSPC, "No space left on device", "/x/y"))
    assert failure.exit_code == 4
    assert "/x/y" in failure.message


def test_no_memory_left_is_an_error_of_the_machine_with_cures() -> None:
    failure = describe(MemoryError())
    assert failure.exit_code == 4
    assert "--workers" in failure.message


def test_wrong_usage_is_a_sentence_that_names_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "spec.toml", "--workers", "0"]) == 2
    assert capsys.readouterr().err.endswith("greater than or equal to 1. See `lockstep train --help`.\n")


def test_an_unexpected_error_says_that_it_is_ours_and_how_to_report_it() -> None:
    failure = describe(ZeroDivisionError("division by zero"))
    assert failure.exit_code == DEFECT == 70
    assert "defect in Lockstep" in failure.message
    assert "ZeroDivisionError: division by zero" in failure.message
    assert "report it" in failure.message


def test_under_json_an_error_is_one_object_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert tell(errors.DataError("row 7"), json=True, verbose=False) == 2
    out, err = capsys.readouterr()
    assert json.loads(out) == {"error": {"type": "DataError", "message": "row 7", "exit_code": 2}}
    assert err == ""


def test_without_json_the_message_goes_to_stderr_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert tell(errors.DataError("row 7"), json=False, verbose=False) == 2
    assert capsys.readouterr() == ("", "lockstep: row 7\n")


def test_verbose_adds_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        raise errors.DataError("row 7")
    except errors.DataError as error:
        tell(error, json=False, verbose=True)
    assert "Traceback" in capsys.readouterr().err
