"""A run in one line: which figure it is known by follows from its summary, never from its kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import lockstep as ls
from lockstep.reports.headline import headline, read_run
from lockstep.runs.folder import RunFolder

VERDICT = {"decision": "REJECT", "sentence": "it does not beat holding", "reasons": ["one"], "evidence": {"z": 1.0}}


@pytest.mark.parametrize(
    ("summary", "name", "value", "text"),
    [
        (
            {"best": {"objective": 2.53783}, "objective": {"name": "sharpe_ratio"}, "trials": {"total": 1000}},
            "sharpe_ratio",
            2.53783,
            "sharpe_ratio 2.538 of 1,000 trials",
        ),
        (
            {"scores": {"test": {"network": {"log_loss": 0.48801}}}, "value": 0.5, "session": {}},
            "log_loss",
            0.48801,
            "log loss 0.4880 on test samples",
        ),
        (
            {"test": {"accuracy": 0.875, "samples": 120}, "value": 0.5, "session": {}},
            "accuracy",
            0.875,
            "accuracy 87.5 % of 120 test samples",
        ),
        (
            {"test": {"metrics": {"net_profit_pct": -7.1637}}, "value": 0.5, "session": {}},
            "net_profit_pct",
            -7.1637,
            "net profit -7.16 % on test bars",
        ),
        ({"value": 0.2317, "session": {"model": "x"}}, "session_value", 0.2317, "run value 0.232"),
    ],
)
def test_the_figure_is_the_first_that_the_summary_has(
    summary: dict[str, Any], name: str, value: float, text: str
) -> None:
    line = headline(summary)
    assert line is not None
    assert (line.name, line.value, line.text, line.verdict) == (name, value, text, None)
    assert line.to_json() == {"name": name, "value": value, "text": text}


@pytest.mark.parametrize(
    "summary",
    [
        {},
        {"observations": 48},
        {"value": 0.5},
        {"test": None, "scores": 3},
        {"test": {"accuracy": "high"}},
        {"best": {"objective": "large"}, "objective": {"name": "x"}, "trials": 5},
        {"value": True, "session": {}},
        {"verdict": "good"},
    ],
)
def test_a_summary_without_such_a_figure_has_no_headline(summary: dict[str, Any]) -> None:
    assert headline(summary) is None


@pytest.mark.parametrize(
    ("summary", "decision", "sentence"),
    [
        ({"verdict": VERDICT}, "REJECT", "it does not beat holding"),
        (
            {"verdict": {"sentence": "it beats all", "beats_all": True}, "advantage": {"majority": {"low": 0.1}}},
            "CAUTION",
            "it beats all",
        ),
        ({"sentence": "it does not beat flat", "beats_baselines": False}, "REJECT", "it does not beat flat"),
        ({"verdict": None}, None, "not judged yet (the best of many trials looks better than it is)"),
    ],
)
def test_the_verdict_of_every_release_has_one_form(
    summary: dict[str, Any], decision: str | None, sentence: str
) -> None:
    line = headline(summary)
    assert line is not None
    assert line.verdict is not None
    assert (line.verdict["decision"], line.verdict["sentence"]) == (decision, sentence)
    assert set(line.verdict) == {"decision", "sentence", "reasons", "evidence"}


def test_a_run_is_read_with_its_headline(tmp_path: Path) -> None:
    run = ls.train({"kind": "toy", "steps": 2}, home=tmp_path)
    result = read_run(RunFolder(run.folder), alarm="beware", notes=("slow",))
    assert (result.headline, result.verdict, result.alarm, result.notes) == (None, None, "beware", ("slow",))
