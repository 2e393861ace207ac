"""What predictions say: every figure from the summary, nothing claimed beside its interval."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lockstep.reports.page import Block, Figure, Table, Text
from lockstep.reports.sections import predictions
from lockstep.runs.folder import RunFolder
from lockstep.runs.results import TrainResult

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
    }


def result(**values: Any) -> TrainResult:
    facts: dict[str, Any] = {"run_id": "r1", "folder": Path("r1"), "status": "complete", "fingerprint": "f" * 64}
    return TrainResult(**facts, journal_hash=None, data_hash=None, seed=1, spec=SPEC, summary=values)


def blocks(**values: Any) -> list[Block]:
    (section,) = predictions.sections(RunFolder(Path("r1")), result(**values))
    assert section.title == "Out of sample"
    return list(section.blocks)


def tables(**values: Any) -> list[Table]:
    return [block for block in blocks(**values) if isinstance(block, Table)]


def paragraphs(**values: Any) -> list[str]:
    return [block.text for block in blocks(**values) if isinstance(block, Text)]


def test_the_facts_say_what_was_trained_on_what() -> None:
    rows = dict([*predictions.network_facts(result(**summary())), *predictions.sample_facts(result(**summary()))])
    assert rows == {
        "network": "net.py:Mine, 98,133 parameters",
        "predicts": "direction over 24 bars, from 64 bars of 2 channels",
        "chosen": "epoch 2 of 4, by validation loss",
        "train": "1,200 samples (down 300, flat 600, up 300)",
        "validation": "1,200 samples (down 300, flat 600, up 300)",
        "test": "1,200 samples (down 300, flat 600, up 300)",
        "purged": "1 sample between the parts",
    }


def test_a_session_whose_record_ended_before_an_epoch_says_so() -> None:
    assert dict(predictions.network_facts(result(**summary(best_epoch=None))))["chosen"] == "no epoch ended"


def test_scores_stand_beside_those_of_every_baseline_the_network_first() -> None:
    scores, *_ = tables(**summary())
    assert scores.caption == "Scores on 1,200 test samples, seen once, after training"
    assert list(scores.header) == ["", "network", "majority class", "logistic regression"]
    assert ("macro F1", "-", "-", "-") in scores.rows
    assert ("log loss", "1.0000", "1.0000", "1.0000") in scores.rows
    assert not any("temperature" in row[0] or "uncalibrated" in row[0] for row in scores.rows), "said in words below"


def test_validation_scores_are_left_to_the_full_report() -> None:
    values = summary()
    values["scores"]["validation"] = values["scores"]["test"]
    assert [table.brief for table in tables(**values) if table.caption.startswith("Scores")] == [True, False]


def test_differences_stand_with_their_intervals_and_claims_with_them_alone() -> None:
    _, differences, _ = tables(**summary())
    assert list(differences.rows) == [
        ("majority class", "+0.1000", "+0.0200 to +0.2200", "beats it"),
        ("logistic regression", "+0.1000", "none: too few independent samples", "does not beat it"),
    ]


def test_calibration_is_a_row_per_bin_that_holds_samples() -> None:
    *_, calibration = tables(**summary())
    assert list(calibration.rows) == [("0.5 to 0.6", "1,200", "55.0 %", "50.0 %")]


def test_the_other_heads_are_told_in_words() -> None:
    returns, calibration, confidence = paragraphs(**summary())
    assert (
        "By squared error the network does not beat predicting zero, beats predicting the mean of training rows."
        in returns
    )
    assert "log loss 1.2500 without it, 1.0000 with it" in calibration
    assert confidence.startswith("Confidence head: AUC - for telling right from wrong, Brier score 0.2000; mean 60.0 %")


def test_a_classifier_has_one_table_of_its_one_score() -> None:
    (table,) = tables(test={"accuracy": 0.875, "majority_class_accuracy": 1 / 6, "samples": 120})
    assert table.caption.startswith("Scores on 120 test samples")
    assert (list(table.header), list(table.rows)) == (
        ["", "network", "majority class"],
        [("accuracy", "87.5 %", "16.7 %")],
    )


def test_scores_of_a_predictor_and_a_name_that_nobody_wrote_words_for_are_shown_all_the_same() -> None:
    (table,) = tables(scores={"test": {"network": {"log_loss": 1.0, "top_two": 7}, "old_net": {"log_loss": 2.0}}})
    assert list(table.header) == ["", "network", "old net"]
    assert list(table.rows) == [("log loss", "1.0000", "2.0000"), ("top two", "7", "-")]


@pytest.mark.parametrize(
    "values", [{}, {"scores": 3}, {"scores": {"test": {}}}, {"scores": {"test": {"network": 0.5}}}, {"test": None}]
)
def test_another_form_of_summary_gives_no_section(values: dict[str, Any]) -> None:
    assert predictions.sections(RunFolder(Path("r1")), result(**values)) == []
    assert predictions.figures(RunFolder(Path("r1")), result(**values)) == []


def test_figures_show_advantage_and_calibration_in_the_words_of_the_tables() -> None:
    values = summary()
    # Two bins: a predictor with one bin has a point, not a curve.
    rows = [{"from": 0.5, "to": 0.6, "samples": 6, "confidence": 0.55, "accuracy": 0.5}] * 2
    values["scores"]["test"]["network"] = {**SCORE, "reliability": rows}
    (section,) = predictions.figures(RunFolder(Path("r1")), result(**values))
    advantage_figure, calibration = (block for block in section.blocks if isinstance(block, Figure))
    assert "over majority class +0.1000 (+0.0200 to +0.2200): beaten" in advantage_figure.alt
    assert calibration.alt == "Reliability curves on test samples. Calibration error: network 0.0300."


def test_a_confusion_matrix_is_drawn_wherever_it_stands() -> None:
    matrix = {"classes": ["up", "down"], "confusion": [[5, 1], [2, 4]]}
    (section,) = predictions.figures(RunFolder(Path("r1")), result(late=matrix))
    (figure,) = section.blocks
    assert isinstance(figure, Figure)
    # 5 + 4 of 5 + 1 + 2 + 4.
    assert figure.alt == "9 of 12 samples on the diagonal, which is right."
