"""`kind = "cnn"` on a market whose secret is known: what can be learned is, and noise is not claimed to be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

from tests.unit.kinds.cnn_builders import candles_of, prepared_from, training_of

from lockstep.runs.loop import execute
from lockstep.testing.contracts.training_kind import fingerprint, new_folder

LEARNABLE: dict[str, Any] = {
    "features": {"channels": ["return", "body"], "window": 8},
    "labels": {"task": "direction", "horizon": 1, "volatility_bars": 20, "threshold": 0.3},
    "network": {"parameters": {"filters": [16, 16, 16], "hidden": 16, "dropout": 0.0, "batch_norm": False}},
    "training": {"epochs": 12, "learning_rate": 0.003},
    "recording": {"level": "none"},
}


def verdict_on(tmp_path: Path, planted: float) -> dict[str, Any]:
    prepared = prepared_from(tmp_path / "home", candles_of(3000, planted=planted), **LEARNABLE)
    folder = new_folder(tmp_path / "run", 1)
    outcome = execute(training_of(prepared, tmp_path / "home"), folder, fingerprint=fingerprint(1))
    return dict(outcome.result)


def test_a_planted_signal_is_learned_and_beats_both_baselines(tmp_path: Path) -> None:
    """The next return follows the product of the last two signs, which no straight line through a window tells."""
    result = verdict_on(tmp_path, planted=1.0)
    assert (
        result["verdict"]["sentence"]
        == "out of sample the network beats the majority class, volatility alone and logistic regression"
    )
    assert result["verdict"]["decision"] == "CAUTION"
    # One spread of drift decides the sign of a normal return in 84 of 100 cases.
    assert result["scores"]["test"]["network"]["balanced_accuracy"] > 0.5


def test_pure_noise_is_reported_as_not_beating(tmp_path: Path) -> None:
    result = verdict_on(tmp_path, planted=0.0)
    assert result["verdict"]["decision"] == "REJECT"
    assert "does not beat" in result["verdict"]["sentence"]
    assert not any(item["beats"] for item in result["return_advantage"].values())
