"""Score predictions of classes, probabilities, returns and confidence, and calibrate them. No torch.

Notation
    n samples, K classes; y class of a sample, p its probabilities (K,), q predicted class

    log loss            -mean ln p[y]                                                                            (1)
    Brier score         mean sum_k (p[k] - [y = k])^2, from 0 to 2                                               (2)
    balanced accuracy   mean recall over the classes that occur                                                  (3)
    macro F1            mean over all classes of 2 hits / (predicted + occurring), 0 where neither occurs        (4)
    ECE                 sum over B equal bins of max p of (samples in bin / n) |mean max p - accuracy|           (5)
    AUC                 chance that a sample of the class has the higher score than one outside, ties a half     (6)

Sources: Brier, Monthly Weather Review 78 (1950); Guo, Pleiss, Sun, Weinberger, "On calibration of modern neural
networks", ICML 2017 (ECE, temperature). Undefined scores are None. `validation.intervals` gives the interval of a
difference of scores.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lockstep.core.means import exact_mean

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Float = NDArray[np.float64]
    Int = NDArray[np.int64]

BINS: Final = 10
_SMALLEST: Final = 1e-15
_TEMPERATURES: Final = (0.05, 20.0)


def probabilities(
    logits: Float, *, weights: NDArray[np.floating[Any]] | None = None, temperature: float = 1.0
) -> Float:
    """softmax(logits / T) with the class weights of the training removed: float64 (n, K).

    Cross-entropy weighted by w is lowest at p_w[k] ~ w[k] p[k], so p[k] ~ p_w[k] / w[k].
    """
    z = np.asarray(logits, np.float64)
    if weights is not None:
        z = z - np.log(np.asarray(weights, np.float64))
    z = z / temperature
    z = np.exp(z - z.max(axis=1, keepdims=True))
    out: Float = z / z.sum(axis=1, keepdims=True)
    return out


def log_losses(p: Float, y: Int) -> Float:
    """-ln p[y] of each sample, float64 (n,)."""
    out: Float = -np.log(np.maximum(p[np.arange(len(y)), y], _SMALLEST))
    return out


def brier_scores(p: Float, y: Int) -> Float:
    """The term of eq. (2) of each sample, float64 (n,)."""
    hit = np.zeros_like(p)
    hit[np.arange(len(y)), y] = 1.0
    out: Float = ((p - hit) ** 2).sum(axis=1)
    return out


def balanced_accuracy(q: Int, y: Int, classes: int) -> float | None:
    """Eq. (3), 0 .. 1; None without samples."""
    recalls = [float((q[y == k] == k).sum()) / float((y == k).sum()) for k in range(classes) if (y == k).any()]
    return math.fsum(recalls) / len(recalls) if recalls else None


def macro_f1(q: Int, y: Int, classes: int) -> float | None:
    """Eq. (4), 0 .. 1; None without samples."""
    if not len(y):
        return None
    both = [(2.0 * float(((q == k) & (y == k)).sum()), float((q == k).sum() + (y == k).sum())) for k in range(classes)]
    return math.fsum(hits / total if total else 0.0 for hits, total in both) / classes


def reliability(p: Float, y: Int, bins: int = BINS) -> list[dict[str, float | int | None]]:
    """The table behind eq. (5), a row for each bin of the highest probability: edges, samples, its mean, accuracy."""
    top, right = p.max(axis=1), p.argmax(axis=1) == y
    place = np.minimum((top * bins).astype(np.int64), bins - 1)
    rows: list[dict[str, float | int | None]] = []
    for k in range(bins):
        inside = place == k
        rows.append(
            {
                "from": k / bins,
                "to": (k + 1) / bins,
                "samples": int(inside.sum()),
                "confidence": exact_mean(top[inside]),
                "accuracy": exact_mean(right[inside].astype(np.float64)),
            }
        )
    return rows


def calibration_error(table: list[dict[str, float | int | None]]) -> float | None:
    """Eq. (5) of a reliability table."""
    n = sum(int(row["samples"] or 0) for row in table)
    if n == 0:
        return None
    gaps = [
        int(row["samples"] or 0) / n * abs(float(row["confidence"]) - float(row["accuracy"]))
        for row in table
        if row["confidence"] is not None and row["accuracy"] is not None
    ]
    return math.fsum(gaps)


def auc(score: Float, positive: NDArray[np.bool_]) -> float | None:
    """Eq. (6), by ranks (Mann-Whitney); None where all samples are of one kind."""
    ups = int(positive.sum())
    downs = len(positive) - ups
    if ups == 0 or downs == 0:
        return None
    _, place, counts = np.unique(score, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2.0)[place]
    return (math.fsum(ranks[positive]) - ups * (ups + 1) / 2.0) / (ups * downs)


def temperature_of(logits: Float, y: Int, weights: NDArray[np.floating[Any]] | None = None) -> float:
    """The temperature with the lowest log loss on these samples (validation, never test), between 0.05 and 20."""
    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        # Searched in the logarithm, where a factor counts the same up and down.
        p = probabilities(logits, weights=weights, temperature=math.exp(log_temperature))
        return math.fsum(log_losses(p, y)) / len(y)

    low, high = map(math.log, _TEMPERATURES)
    return math.exp(float(minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-4}).x))


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Predictions of one predictor for n samples.

    logits      float64 (n, K), logits or log probabilities
    decided     int64 (n,), predicted classes
    weights     (K,), class weights of its training; None where all are 1
    returns     float64 (n,), expected returns, fractions; None for a predictor without them
    confidence  float64 (n,), logit of its confidence; None for a predictor without it
    """

    logits: Float
    decided: Int
    weights: NDArray[np.floating[Any]] | None = None
    returns: Float | None = None
    confidence: Float | None = None

    def probabilities(self, temperature: float = 1.0) -> Float:
        """Probabilities float64 (n, K), calibrated by a temperature."""
        return probabilities(self.logits, weights=self.weights, temperature=temperature)


def classification(predictions: Predictions, y: Int, temperature: float) -> dict[str, Any]:
    """Every score of the classes of one predictor on one part, by name."""
    p = predictions.probabilities(temperature)
    raw = predictions.probabilities()
    table = reliability(p, y)
    q, classes = predictions.decided, p.shape[1]
    return {
        "accuracy": exact_mean((q == y).astype(np.float64)),
        "balanced_accuracy": balanced_accuracy(q, y, classes),
        "macro_f1": macro_f1(q, y, classes),
        "log_loss": exact_mean(log_losses(p, y)),
        "log_loss_uncalibrated": exact_mean(log_losses(raw, y)),
        "brier": exact_mean(brier_scores(p, y)),
        "calibration_error": calibration_error(table),
        "temperature": temperature,
        "reliability": table,
    }


def regression(predicted: Float, actual: Float) -> dict[str, float | None]:
    """Errors of expected returns, fractions: mean absolute and mean squared."""
    return {"mae": exact_mean(np.abs(predicted - actual)), "mse": exact_mean((predicted - actual) ** 2)}


def confidence_scores(logit: Float, right: NDArray[np.bool_]) -> dict[str, float | None]:
    """How well the confidence head tells right decisions from wrong ones: AUC, and Brier score of its probability."""
    p = 1.0 / (1.0 + np.exp(-np.clip(logit, -700.0, 700.0)))
    return {
        "auc": auc(logit, right),
        "brier": exact_mean((p - right) ** 2),
        "mean": exact_mean(p),
        "right": exact_mean(right.astype(np.float64)),
    }
