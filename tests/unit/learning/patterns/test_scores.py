"""Scores against scikit-learn and closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from lockstep.learning.patterns.scores import (
    Predictions,
    auc,
    balanced_accuracy,
    brier_scores,
    calibration_error,
    classification,
    confidence_scores,
    log_losses,
    macro_f1,
    probabilities,
    regression,
    reliability,
    temperature_of,
)

RNG = np.random.Generator(np.random.Philox(key=11))
LOGITS = RNG.normal(size=(300, 3))
Y = RNG.choice(3, p=[0.2, 0.5, 0.3], size=300)
P = probabilities(LOGITS)
Q = LOGITS.argmax(axis=1)


def test_scores_are_scikit_learns() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    assert float(log_losses(P, Y).mean()) == pytest.approx(metrics.log_loss(Y, P))
    assert balanced_accuracy(Q, Y, 3) == pytest.approx(metrics.balanced_accuracy_score(Y, Q))
    assert macro_f1(Q, Y, 3) == pytest.approx(metrics.f1_score(Y, Q, average="macro"))
    assert auc(np.round(P[:, 1], 1), Y == 1) == pytest.approx(metrics.roc_auc_score(Y == 1, np.round(P[:, 1], 1)))
    # Brier (1950) sums over classes: twice the two-class score of scikit-learn.
    two = np.stack((1.0 - P[:, 1], P[:, 1]), axis=1)
    one = (Y == 1).astype(np.int64)
    assert float(brier_scores(two, one).mean()) == pytest.approx(2.0 * metrics.brier_score_loss(one, P[:, 1]))
    found = regression(P[:, 0], P[:, 1])
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(P[:, 1], P[:, 0]))
    assert found["mse"] == pytest.approx(metrics.mean_squared_error(P[:, 1], P[:, 0]))


def test_the_reliability_table_is_scikit_learns_calibration_curve() -> None:
    calibration = pytest.importorskip("sklearn.calibration")
    top, right = P.max(axis=1), P.argmax(axis=1) == Y
    accuracy, confidence = calibration.calibration_curve(right, top, n_bins=10)
    rows = [row for row in reliability(P, Y) if row["samples"]]
    assert [row["accuracy"] for row in rows] == pytest.approx(accuracy.tolist())
    assert [row["confidence"] for row in rows] == pytest.approx(confidence.tolist())


def test_the_calibration_error_weighs_bins_by_their_samples() -> None:
    p = np.array([[0.95, 0.05]] * 4 + [[0.65, 0.35]] * 6)
    y = np.array([0, 0, 0, 1, 0, 0, 0, 1, 1, 1])
    # 4 of 10 at .95 with 3 right, 6 of 10 at .65 with 3 right: .4 x |.95 - .75| + .6 x |.65 - .5|
    assert calibration_error(reliability(p, y)) == pytest.approx(0.4 * 0.2 + 0.6 * 0.15)


def test_scores_that_are_not_defined_are_none() -> None:
    assert auc(P[:, 0], np.ones(300, np.bool_)) is None
    nothing = np.empty(0, np.int64)
    assert balanced_accuracy(nothing, nothing, 3) is None
    assert macro_f1(nothing, nothing, 3) is None
    assert calibration_error(reliability(np.empty((0, 3)), nothing)) is None
    assert regression(np.empty(0), np.empty(0)) == {"mae": None, "mse": None}
    assert confidence_scores(P[:, 0], np.zeros(300, np.bool_))["auc"] is None


def test_weights_of_the_training_are_taken_out_of_the_probabilities() -> None:
    """Weighted cross-entropy is least at w p / sum(w p): from there the formula leads back to p."""
    p, w = np.array([[0.7, 0.2, 0.1]]), np.array([1.0, 3.0, 6.0])
    weighted = np.log(w * p / (w * p).sum())
    assert probabilities(weighted, weights=w) == pytest.approx(p)


def test_the_temperature_undoes_what_made_the_logits_too_sure() -> None:
    """Labels drawn from softmax(z), logits given as 3 z: the best temperature is 3, up to the noise of 4,000 draws."""
    rng = np.random.Generator(np.random.Philox(key=2))
    z = rng.normal(scale=1.5, size=(4000, 3))
    chances = probabilities(z).cumsum(axis=1)
    y = (rng.uniform(size=(4000, 1)) > chances).sum(axis=1)
    assert temperature_of(3.0 * z, y) == pytest.approx(3.0, rel=0.05)
    sure = Predictions(logits=3.0 * z, decided=z.argmax(axis=1))
    told = classification(sure, y, temperature_of(3.0 * z, y))
    assert told["log_loss"] < told["log_loss_uncalibrated"]
    assert told["calibration_error"] < 0.02
