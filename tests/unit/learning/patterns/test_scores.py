"""Scores against scikit-learn, closed forms, and intervals that keep their word."""

from __future__ import annotations

import numpy as np
import pytest

from lockstep.learning.patterns.judgement import verdict
from lockstep.learning.patterns.scores import (
    Predictions,
    auc,
    balanced_accuracy,
    brier_scores,
    calibration_error,
    classification,
    confidence_scores,
    difference,
    log_losses,
    macro_f1,
    probabilities,
    regression,
    reliability,
    temperature_of,
)
from lockstep.runs.seeds import SeedTree

RNG = np.random.Generator(np.random.Philox(key=11))
LOGITS = RNG.normal(size=(300, 3))
Y = RNG.choice(3, p=[0.2, 0.5, 0.3], size=300)
P = probabilities(LOGITS)
Q = LOGITS.argmax(axis=1)
SEEDS = SeedTree(3)


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


def test_an_interval_of_independent_samples_is_that_of_the_normal_distribution() -> None:
    values = RNG.normal(loc=0.1, size=4000)
    found = difference(values, span=1, seeds=SEEDS)
    error = values.std() / np.sqrt(4000)
    assert found.mean == pytest.approx(values.mean())
    assert found.standard_error == pytest.approx(error, rel=0.12)
    assert (found.low, found.high) == (
        pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error * 1.96),
        pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error * 1.96),
    )


def test_overlapping_samples_widen_the_interval_as_their_overlap_says() -> None:
    """Sums of 20 shared draws: the standard error is about sqrt(20) times that of as many independent samples."""
    draws = RNG.normal(size=6019)
    shared = np.convolve(draws, np.ones(20) / np.sqrt(20), mode="valid")
    naive = shared.std() / np.sqrt(len(shared))
    found = difference(shared, span=60, seeds=SEEDS)
    assert found.standard_error == pytest.approx(np.sqrt(20) * naive, rel=0.25)


@pytest.mark.parametrize("samples", [312, 900])
def test_a_network_that_is_no_better_is_said_to_beat_in_about_one_case_of_forty(samples: int) -> None:
    """Advantages of mean 0 whose labels overlap by 13 bars. 800 markets, 2.5 % of them wanted: 4.5 % is 3.6 standard
    errors above. With blocks of one span and quantiles of the draws it was 6 % to 9 %."""
    rng = np.random.Generator(np.random.Philox(key=12))
    beats = 0
    for market in range(800):
        running = np.cumsum(rng.normal(size=samples + 13))
        beats += difference(running[13:] - running[:-13], span=13, seeds=SEEDS.child(market), draws=200).beats
    assert 0.01 < beats / 800 < 0.045


def test_the_interval_is_a_function_of_the_seeds_address_alone() -> None:
    values = RNG.normal(size=500)
    one, two = (difference(values, span=4, seeds=SEEDS.child("a")) for _ in range(2))
    assert one == two
    assert one != difference(values, span=4, seeds=SEEDS.child("b"))


def test_too_few_blocks_give_no_interval_and_no_claim() -> None:
    found = difference(np.full(239, 1.0), span=10, seeds=SEEDS)
    assert (found.mean, found.low, found.high, found.standard_error) == (1.0, None, None, None)
    assert not found.beats
    # 240 samples are eight blocks of three spans of ten.
    assert difference(np.full(240, 1.0), span=10, seeds=SEEDS).beats
    assert "too few independent samples" in verdict({"majority": found})["sentence"]


def test_nothing_is_claimed_but_what_every_interval_says() -> None:
    sure, unsure = (difference(RNG.normal(loc=m, size=900), span=2, seeds=SEEDS) for m in (1.0, 0.0))
    both = verdict({"majority": sure, "logistic": sure})
    assert both["beats_all"]
    assert both["sentence"] == "out of sample the network beats the majority class and logistic regression"
    one = verdict({"majority": sure, "logistic": unsure})
    assert not one["beats_all"]
    assert one["sentence"] == "out of sample the network does not beat logistic regression"
