"""Figures of a classifier, by hand and against scikit-learn."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from lockstep.learning.supervised import metrics

LABELS = np.array([0, 0, 0, 1, 1, 2])
PREDICTED = np.array([0, 0, 1, 1, 0, 0])


def test_the_confusion_matrix_has_the_truth_in_rows() -> None:
    matrix = metrics.confusion_matrix(LABELS, PREDICTED, 4)
    assert matrix.tolist() == [[2, 1, 0, 0], [1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    assert metrics.normalised(matrix)[0] == [2 / 3, 1 / 3, 0.0, 0.0]
    assert metrics.normalised(matrix)[3] == [None] * 4


def test_precision_recall_and_f1_by_hand() -> None:
    """Class 0: 2 of the 4 named, 2 of the 3 there; F1 = 2 * 2 / (4 + 3)."""
    report = metrics.class_report(metrics.confusion_matrix(LABELS, PREDICTED, 4), "abcd")
    assert report["a"] == {"precision": 2 / 4, "recall": 2 / 3, "f1": 4 / 7, "support": 3}
    assert report["c"] == {"precision": None, "recall": 0.0, "f1": 0.0, "support": 1}
    assert report["d"] == {"precision": None, "recall": None, "f1": None, "support": 0}
    macro, weighted = (metrics.averages(report, weighted=w) for w in (False, True))
    assert macro["precision"] == (2 / 4 + 1 / 2 + 0.0 + 0.0) / 4
    assert weighted["recall"] == pytest.approx((3 * 2 / 3 + 2 * 1 / 2 + 1 * 0.0) / 6)


def test_the_area_under_the_curve_counts_pairs_and_halves_ties() -> None:
    """Positives .8 and .5 against .5 and .2: pairs won 1, 1, 0.5, 1 of 4."""
    positive = np.array([True, True, False, False])
    assert metrics.roc_auc(positive, np.array([0.8, 0.5, 0.5, 0.2])) == 3.5 / 4
    assert metrics.roc_auc(np.ones(4, dtype=bool), np.arange(4.0)) is None
    assert metrics.roc_curve(np.zeros(4, dtype=bool), np.arange(4.0)) is None
    assert metrics.average_precision(np.zeros(4, dtype=bool), np.arange(4.0)) is None


def test_all_of_it_agrees_with_scikit_learn() -> None:
    """R11.27: accuracy, averages, matrix, ROC AUC, average precision and the report."""
    oracle = pytest.importorskip("sklearn.metrics")
    rng = np.random.Generator(np.random.Philox(key=3))
    labels = rng.integers(0, 4, 200)
    chances = np.round(rng.random((200, 4)), 1) + 0.3 * np.eye(4)[labels]  # rounded: many ties
    chances /= chances.sum(axis=1, keepdims=True)
    names = list("abcd")
    found = metrics.classification_metrics(labels, chances, names)
    predicted = chances.argmax(axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = oracle.classification_report(labels, predicted, target_names=names, output_dict=True)
    assert found["accuracy"] == pytest.approx(report["accuracy"])
    assert found["confusion_matrix"] == oracle.confusion_matrix(labels, predicted).tolist()
    for ours, theirs in (("macro_avg", "macro avg"), ("weighted_avg", "weighted avg")):
        for figure, name in (("precision", "precision"), ("recall", "recall"), ("f1", "f1-score")):
            assert found[ours][figure] == pytest.approx(report[theirs][name])
    for k, name in enumerate(names):
        side = (labels == k, chances[:, k])
        assert found["roc_auc"]["per_class"][name] == pytest.approx(oracle.roc_auc_score(*side))
        assert found["average_precision"][name] == pytest.approx(oracle.average_precision_score(*side))
        assert found["classification_report"][name]["recall"] == pytest.approx(report[name]["recall"])
        curve = metrics.roc_curve(*side)
        assert curve is not None
        false, true, _ = oracle.roc_curve(*side, drop_intermediate=False)
        assert np.allclose(curve[0], false)
        assert np.allclose(curve[1], true)
    assert found["roc_auc"]["macro"] == pytest.approx(oracle.roc_auc_score(labels, chances, multi_class="ovr"))
