"""Where the log goes and how its lines look."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lockstep.learning.supervised import run_log

LINE = re.compile(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2} - tests\.log - (INFO|WARNING) - .*")


class Clock:
    def __init__(self, ms: int) -> None:
        self.ms = ms

    def utc_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return 0.0


def logs(folder: Path) -> list[Path]:
    return sorted(folder.glob("training_*.log"))


def test_lines_go_to_the_console_and_to_a_dated_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """R11.5, R11.6, R11.25: time, logger, level and message; the folder is made."""
    folder = tmp_path / "not" / "there"
    logger = run_log.log_to("tests.log", folder)
    logger.info("one")
    logger.warning("two")
    logger.debug("not at this level")
    run_log.close_log(logger)
    (path,) = logs(folder)
    assert re.fullmatch(r"training_\d{8}_\d{6}\.log", path.name)
    lines = path.read_text().splitlines()
    assert capsys.readouterr().out.splitlines() == lines
    assert [line.rsplit(" - ", 1)[1] for line in lines] == ["one", "two"]
    assert all(LINE.fullmatch(line) for line in lines), lines


def test_a_second_run_says_everything_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """R11.26."""
    for name in ("a", "b"):
        logger = run_log.log_to("tests.log", tmp_path / name, clock=Clock(1_700_000_000_000))
    logger.info("once")
    assert len(logger.handlers) == 2
    run_log.close_log(logger)
    assert capsys.readouterr().out.count("once") == 1
    assert logs(tmp_path / "a")[0].read_text() == ""
    assert logs(tmp_path / "b")[0].read_text().count("once") == 1


def test_two_runs_in_one_second_share_a_file_and_lose_nothing(tmp_path: Path) -> None:
    for text in ("first", "second"):
        logger = run_log.log_to("tests.log", tmp_path, clock=Clock(1_700_000_000_000))
        logger.info(text)
        run_log.close_log(logger)
    (path,) = logs(tmp_path)
    assert [line.rsplit(" - ", 1)[1] for line in path.read_text().splitlines()] == ["first", "second"]


def test_the_timestamp_is_iso_with_microseconds() -> None:
    """R11.10."""
    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}[+-]\d{2}:\d{2}", run_log.timestamp())


def test_the_loss_improvement_is_the_first_loss_less_the_lowest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """R11.22: the specification's sample, 2.1234 - 1.4521 = 0.6713; the last loss is not the lowest."""
    logger = run_log.log_to("tests.log", tmp_path)
    run_log.log_summary(logger, [2.1234, 1.9, 1.4521, 1.6])
    run_log.close_log(logger)
    said = capsys.readouterr().out
    assert "Loss improvement: 0.6713" in said
    assert "Best loss: 1.4521 (epoch 3)" in said
    assert "Final loss: 1.6000" in said
    assert "Total epochs: 4" in said
