"""The report of a pattern network: every figure from the summary, nothing claimed beside the verdict."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console, Group, RenderableType

from lockstep.cli.report_cnn import body, head

SCORE: dict[str, Any] = {
    "accuracy": 0.5,
    "balanced_accuracy": 0.4,
    "macro_f1": None,
    "log_loss": 1.0,
    "log_loss_uncalibrated": 1.25,
    "brier": 0.6,
    "calibration_error": 0.03,
    "temperature": 1.5,
    "reliability": [
        {"from": 0.4, "to": 0.5, "samples": 0, "confidence": None, "accuracy": None},
        {"from": 0.5, "to": 0.6, "samples": 1200, "confidence": 0.55, "accuracy": 0.5},
    ],
}
SPEC: dict[str, Any] = {
    "labels": {"task": "direction", "horizon": 24, "pivot_bars": 3},
    "features": {"window": 64, "channels": ["return", "body"]},
}


def advantage(low: float | None) -> dict[str, Any]:
    high = None if low is None else low + 0.2
    return {"mean": 0.1, "standard_error": None, "low": low, "high": high, "block": 13, "beats": bool(low and low > 0)}


def summary(best_epoch: int | None = 1) -> dict[str, Any]:
    part = {"down": 300, "flat": 600, "up": 300}
    return {
        "session": {"model": "net.py:Mine", "symbol": "BTC/USDT"},
        "model": {"classes": ["down", "flat", "up"], "parameters": 98_133, "best_epoch": best_epoch, "epochs": 4},
        "samples": {"purged": 1, "train": part, "validation": part, "test": part},
        "steps": 1_234,
        "ended": "complete" if best_epoch is not None else "max_bytes",
        "scores": {"test": {"majority": SCORE, "network": SCORE, "logistic": SCORE}},
        "advantage": {"majority": advantage(0.02), "logistic": advantage(None)},
        "returns": {"test": {name: {"mae": 0.002, "mse": 4e-6} for name in ("network", "zero", "mean")}},
        "return_advantage": {"zero": advantage(-0.1), "mean": advantage(0.01)},
        "confidence": {"test": {"auc": None, "brier": 0.2, "mean": 0.6, "right": 0.5}},
        "verdict": {"sentence": "out of sample the network does not beat logistic regression"},
    }


def text(parts: list[RenderableType]) -> str:
    out = io.StringIO()
    Console(file=out, width=120, no_color=True).print(Group(*parts))
    return out.getvalue()


def test_the_head_says_what_was_trained_on_what() -> None:
    rows = dict(head(SPEC, summary()))
    assert rows["network"] == "net.py:Mine, 98,133 parameters"
    assert rows["predicts"] == "direction over 24 bars, from 64 bars of 2 channels"
    assert rows["test"] == "1,200 samples (down 300, flat 600, up 300)"
    assert rows["purged"] == "1 sample between the parts"
    assert rows["steps"] == "1,234; chosen: epoch 2 of 4, by validation loss"


def test_a_session_that_its_record_ended_says_so() -> None:
    rows = dict(head(SPEC, summary(best_epoch=None)))
    assert rows["steps"].endswith("chosen: none, no epoch ended")
    assert rows["ended"] == "by max_bytes: the record reached its limit"


def test_differences_stand_with_their_intervals_and_claims_with_them_alone() -> None:
    shown = text(body(summary()))
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert "majority class +0.1000 +0.0200 to +0.2200 beats" in lines
    assert "logistic regression +0.1000 no interval: too few independent samples does not beat" in lines
    assert "by squared error the network does not beat saying zero, beats saying the mean of training rows" in lines
    assert "macro F1 - - -" in lines
    assert "0.5 to 0.6 1,200 55.0 % 50.0 %" in lines
    assert not any(line.startswith("0.4 to 0.5") for line in lines)
    assert lines[-1] == "verdict: out of sample the network does not beat logistic regression"
