"""Metrics of a classifier from true labels and class probabilities; undefined ones are None.

Notation
    n_kl     samples of class k named l (the confusion matrix, rows true, columns predicted)
    precision_k = n_kk / Σ_l n_lk       recall_k = n_kk / Σ_l n_kl                                              (1)
    F1_k     harmonic mean of the two                                                                             (2)
    AUC_k    P(score of a sample of k > score of another) + P(equal) / 2: Mann-Whitney's U over n_k (n - n_k)     (3)
    AP_k     Σ over thresholds of (recall step) · precision                                                       (4)

Macro averages are plain means over classes, weighted ones by their samples. Ties of scores share a threshold.
Source: scikit-learn's definitions, against which the tests compare where it is installed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_AVERAGED = ("precision", "recall", "f1")


def confusion_matrix(labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """n_kl, (classes, classes), from places of true and predicted classes, (n,) each."""
    matrix = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(matrix, (labels, predicted), 1)
    return matrix


def normalised(matrix: NDArray[np.int64]) -> list[list[float | None]]:
    """Shares of each true class; a row of None for a class without samples."""
    return [[None if row.sum() == 0 else float(item / row.sum()) for item in row] for row in matrix]


def class_report(matrix: NDArray[np.int64], names: Sequence[str]) -> dict[str, dict[str, float | int | None]]:
    """Precision, recall, F1 (eqs. 1 and 2) and support by class."""
    report: dict[str, dict[str, float | int | None]] = {}
    for k, name in enumerate(names):
        hits, named, there = int(matrix[k, k]), int(matrix[:, k].sum()), int(matrix[k].sum())
        report[name] = {
            "precision": hits / named if named else None,
            "recall": hits / there if there else None,
            # 2PR / (P + R) without dividing by zero where both are 0.
            "f1": 2 * hits / (named + there) if named + there else None,
            "support": there,
        }
    return report


def averages(report: Mapping[str, Mapping[str, float | int | None]], *, weighted: bool) -> dict[str, float]:
    """Macro or weighted averages of a class report.

    An undefined figure counts as 0, as in scikit-learn: a classifier that never names a class gains nothing by it.
    """
    weights = [float(row["support"] or 0) if weighted else 1.0 for row in report.values()]
    return {
        figure: sum(float(row[figure] or 0.0) * weight for row, weight in zip(report.values(), weights, strict=True))
        / sum(weights)
        for figure in _AVERAGED
    }


def roc_auc(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> float | None:
    """Eq. (3); None where one of the two sides is empty."""
    there, others = int(positive.sum()), int((~positive).sum())
    if there == 0 or others == 0:
        return None
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    rank = (last - (counts - 1) / 2.0)[place]  # equal scores share the mean of their ranks
    u = float(rank[positive].sum()) - there * (there + 1) / 2.0
    return u / (there * others)


def roc_curve(
    positive: NDArray[np.bool_], scores: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """False and true positive rates from (0, 0) to (1, 1); None where one of the two sides is empty."""
    hits, false = _by_threshold(positive, scores)
    if hits[-1] == 0 or false[-1] == 0:
        return None
    start = np.zeros(1)
    return np.concatenate((start, false / false[-1])), np.concatenate((start, hits / hits[-1]))


def precision_recall_curve(
    positive: NDArray[np.bool_], scores: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Recall and precision, from recall 0 with precision 1 by convention; None without positives."""
    hits, false = _by_threshold(positive, scores)
    if hits[-1] == 0:
        return None
    return np.concatenate(([0.0], hits / hits[-1])), np.concatenate(([1.0], hits / (hits + false)))


def average_precision(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> float | None:
    """Eq. (4); None without positives."""
    curve = precision_recall_curve(positive, scores)
    if curve is None:
        return None
    recall, precision = curve
    return float(np.sum(np.diff(recall) * precision[1:]))


def _by_threshold(
    positive: NDArray[np.bool_], scores: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How many positives and others score at least each distinct score, from the highest down."""
    order = np.argsort(-scores, kind="stable")
    falling = scores[order]
    ends = np.append(np.flatnonzero(np.diff(falling)), len(falling) - 1)
    hits = np.cumsum(positive[order])[ends]
    return hits.astype(np.int64), (ends + 1 - hits).astype(np.int64)


def classification_metrics(
    labels: NDArray[np.int64], probabilities: NDArray[np.float64], names: Sequence[str]
) -> dict[str, Any]:
    """Content of metrics.json: plain numbers, None where undefined.

    labels          (n,) places in `names`
    probabilities   (n, classes); the predicted class is the first of the highest
    """
    predicted = probabilities.argmax(axis=1).astype(np.int64)
    matrix = confusion_matrix(labels, predicted, len(names))
    report = class_report(matrix, names)
    sides = {name: (labels == k, probabilities[:, k]) for k, name in enumerate(names)}
    areas = {name: roc_auc(*side) for name, side in sides.items()}
    defined = [area for area in areas.values() if area is not None]
    majority = int(np.bincount(labels, minlength=len(names)).max())
    return {
        "accuracy": float((predicted == labels).sum() / len(labels)),
        "majority_class_accuracy": majority / len(labels),
        "macro_avg": averages(report, weighted=False),
        "weighted_avg": averages(report, weighted=True),
        "confusion_matrix": matrix.tolist(),
        "confusion_matrix_normalised": normalised(matrix),
        "roc_auc": {"per_class": areas, "macro": sum(defined) / len(defined) if defined else None},
        "average_precision": {name: average_precision(*side) for name, side in sides.items()},
        "classification_report": report,
    }
