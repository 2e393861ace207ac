"""What `lockstep runs show` says to do next."""

from __future__ import annotations

import json
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


def test_a_complete_run_that_is_resumed_or_compared_with_itself_is_called_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its report was printed when it ended; here it would look as if something had been computed."""
    spec = values(data={"last": 600}, search={"n_iterations": 4, "min_trades": 1})
    result = ls.train(spec, home=tmp_path)
    assert command_line(["resume", "last", "--home", str(tmp_path)]) == 0
    assert capsys.readouterr().out == (
        f"run {result.run_id} was complete already: nothing was computed. Its report: "
        f"lockstep runs show {result.run_id}\n"
    )
    assert command_line(["resume", "last", "--json", "--home", str(tmp_path)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["journal_hash"] == result.journal_hash
    assert document["notes"] == ["the run was complete already; nothing was computed"]
    # "equal" alone would read as if two runs had been compared.
    assert command_line(["diff", "last", result.run_id, "--home", str(tmp_path)]) == 0
    assert "note: both names mean this one run" in capsys.readouterr().out


def test_the_sample_is_written_to_a_file_and_the_file_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user without candles has a file of some in one command."""
    monkeypatch.chdir(tmp_path)
    assert command_line(["data", "snapshot", "sample", "--export", "prices.csv"]) == 0
    assert "written to  prices.csv (6,225 bars)" in capsys.readouterr().out
    assert len(Path("prices.csv").read_text().splitlines()) == 6_226, "a header and a line for each bar"
    assert command_line(["data", "snapshot", "sample", "--export", "prices.csv", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["exported"] == "prices.csv"
