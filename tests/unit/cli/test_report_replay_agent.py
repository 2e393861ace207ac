"""What a person reads of an agent: parts, baselines, the sentence; and that the shipped example runs."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

pytest.importorskip("torch")

from rich.console import Console

import lockstep as ls
from lockstep.cli.summary import trained

EXAMPLE = Path(__file__).parents[3] / "examples" / "replay_agent.toml"
SHORT = (
    "data.last=900",
    "training.updates=12",
    "training.learning_starts=40",
    "environment.episode_bars=60",
    "validation.evaluate_every=6",
)


def shown(result: ls.TrainResult) -> str:
    console = Console(file=io.StringIO(), width=160, color_system=None)
    console.print(trained(result))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert isinstance(text, str)
    return text


@pytest.mark.parametrize("mode", ["profit", "prioritized"])
def test_the_report_says_what_was_trained_and_what_it_does_not_beat(tmp_path: Path, mode: str) -> None:
    """Decision D20: with the line that reproduces it."""
    result = ls.train(EXAMPLE, overrides=(*SHORT, f"buffer.mode={mode}"), home=tmp_path)
    text = shown(result)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "double DQN, hidden layers 32 x 32" in text
    parts = [line.split()[0] for line in lines if line.startswith(("training ", "validation ", "test "))]
    assert parts == ["training", "validation", "test", "test"]  # in time, then the table's heading
    assert (
        f"updates 12 of 64 experiences; best on validation after update {result.summary['agent']['best_step'] + 1},"
        in (" ".join(text.split()))
    )
    assert ("% of what was drawn" in text) == (mode == "profit")
    assert any(line.startswith("result agent buy and hold always flat") for line in lines)
    assert result.summary["sentence"] in " ".join(text.split())
    assert f"lockstep verify {result.run_id}" in text
    assert result.to_json()["summary"]["test"]["baselines"]["always_flat"]["net_profit_pct"] == 0.0
