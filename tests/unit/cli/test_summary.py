"""Reports keep their numbers whatever the width, and call things what they are."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from lockstep.cli.pieces import metrics_table
from lockstep.engine.metrics import Metric

METRICS: dict[str, Any] = {str(metric): 12.345 for metric in Metric} | {"total_trades": 1234}


@pytest.mark.parametrize("width", [100, 60, 50])
def test_a_narrow_terminal_wraps_words_and_cuts_no_number(width: int) -> None:
    stream = io.StringIO()
    Console(file=stream, width=width).print(metrics_table("best", METRICS, {"buy and hold": METRICS}))
    printed = stream.getvalue()
    assert "…" not in printed
    assert printed.count("+12.35 %") == 2 * 4, "net profit, fall, mean and worst trades, in both columns"
    assert "1,234" in printed


def test_a_backtest_is_not_called_the_best() -> None:
    table = metrics_table("value", METRICS, {"buy and hold": METRICS})
    assert [column.header for column in table.columns] == ["  result", "value", "buy and hold"]
