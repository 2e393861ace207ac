"""The options about files of candles, on every command that takes one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.market.formats.files import BARS, moment, rows, write

from lockstep.cli.main import run


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOCKSTEP_HOME", str(tmp_path / "home"))
    lines = rows(
        BARS, lambda t, o, *rest: [moment(t, "%d.%m.%Y"), moment(t, "%H:%M"), str(o).replace(".", ","), *rest], ";"
    )
    lines = [line.replace(".", ",").replace(",01,2024", ".01.2024") for line in lines]
    return write(
        tmp_path / "prices.txt", ["made;by;hand;on;a;cold;Monday", "day;hour;first;top;bottom;final;traded", *lines]
    )


OPTIONS = [
    "--skip", "1", "--decimal", ",", "--time-format", "%d.%m.%Y %H:%M", "--timezone", "UTC", "--encoding", "utf-8",
    "--columns", "timestamp=day+hour,open=first,high=top", "--columns", "low=bottom,close=final,volume=traded",
]  # fmt: skip


def test_every_option_that_a_message_names_is_there(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "import", str(file), "--json", *OPTIONS]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["digest"] == BARS.digest
    assert report["first_bar"]["open"] == BARS.open[0]
    assert report["missing"] == 0
    assert "1 above left aside" in report["format"]
    assert run(["data", "quality", str(file), "--json", *OPTIONS]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == len(BARS)


def test_an_import_shows_what_to_look_at(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "import", str(file), *OPTIONS]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"first bar 2024-01-10 00:00 UTC open {BARS.open[0].item()!r}" in shown
    assert "step 1h, 90 bars, 0 not there in between" in shown
    assert "read as CSV; semicolon between columns" in shown


def test_without_the_options_the_message_shows_the_lines_and_the_guess(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["data", "import", str(file)]) == 2
    shown = capsys.readouterr().err
    assert "1: made;by;hand" in shown
    assert "Read as: semicolon between columns" in shown
    assert "--columns" in shown
