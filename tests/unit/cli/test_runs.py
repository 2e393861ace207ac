"""What `lockstep runs show` says to do next."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.kinds.builders import values

import lockstep as ls
from lockstep.cli.main import run as command_line


def test_a_finished_run_says_verify_and_an_interrupted_one_resume(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = ls.train(values(data={"last": 600}, search={"n_iterations": 8, "min_trades": 1}), home=tmp_path)
    for command, other in (("verify", "resume"), ("resume", "verify")):
        assert command_line(["runs", "show", result.run_id, "--home", str(tmp_path)]) == 0
        shown = capsys.readouterr().out
        assert f"lockstep {command} {result.run_id}" in shown
        assert f"lockstep {other}" not in shown
        # What a process leaves that dies as it ends: everything but the manifest.
        (Path(result.folder) / "MANIFEST.json").unlink(missing_ok=True)
