"""What is no run is reported in words of its own: a backtest, an estimate."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest
from rich.console import Console, RenderableType

from lockstep.app.estimate import EstimateReport
from lockstep.cli.summary import backtested, estimated
from lockstep.runs.kind import Duration, Estimate


def text(report: RenderableType) -> str:
    stream = io.StringIO()
    Console(file=stream, width=100).print(report)
    return stream.getvalue()


@pytest.fixture(scope="module")
def backtest(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The report behind a real `lockstep backtest`, taken on its way to the terminal."""
    from lockstep.cli import summary
    from lockstep.cli.main import run as command_line

    reports: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(summary, "backtested", lambda report: reports.append(report) or report)
        patch.setattr(sys, "stdout", io.StringIO())
        options = ["--strategy", "liquidity_sweep", "--data", "sample", "--param", "min_level_touches=2", "--json"]
        assert command_line(["backtest", *options, "--home", str(tmp_path_factory.mktemp("home"))]) == 0
    return reports[0]


def test_a_backtest_stands_beside_holding_and_luck_and_is_not_called_the_best(backtest: Any) -> None:
    shown = text(backtested(backtest))
    header = next(line.split() for line in shown.splitlines() if "buy and hold" in line)
    assert header == ["backtest", "buy", "and", "hold"]
    assert "Random entries: 200 draws of the same trades at other times" in shown
    assert "touched stop and target in one bar" in shown


def test_an_estimate_stands_beside_what_is_free_and_says_what_is_too_little() -> None:
    need = Estimate(seconds=90.0, memory_bytes=2_000_000_000, disk_bytes=500, steps=3)
    report = EstimateReport(kind="cnn", notes=("500 bars",), estimate=need, memory_free=1_000_000_000, disk_free=10**9)
    rows = [" ".join(line.split()) for line in text(estimated(report)).splitlines()]
    assert rows == [
        "500 bars",
        "kind cnn",
        "steps 3",
        "time about 1 min 30 s on one core",
        "memory 2.0 GB (1.0 GB free here), TOO LITTLE",
        "disk 500 bytes (1.0 GB free here)",
        "no run was made",
    ]


def test_an_estimate_tells_preparation_training_and_judging_apart_in_processor_time() -> None:
    """2 + 60 + 20 = 82 s of the processor; on the clock 90 s, after 4 s."""
    need = Estimate(seconds=90.0, training=Duration(cpu=60.0, wall=65.0), judging=Duration(cpu=20.0, wall=25.0))
    report = EstimateReport(
        kind="cnn", notes=(), estimate=need, memory_free=1, disk_free=1, preparation=Duration(cpu=2.0, wall=4.0)
    )
    rows = [" ".join(line.split()) for line in text(estimated(report)).splitlines()]
    assert "time about 1 min 30 s on one core, after 4.0 s of preparation" in rows
    assert "processor about 1 min 22 s: preparation 2.0 s, training 1 min 0 s, judging 20 s" in rows
    body = report.to_json()
    assert (body["cpu_seconds"], body["seconds"]) == (82.0, 90.0)
    assert body["judging"] == {"cpu_seconds": 20.0, "seconds": 25.0}
