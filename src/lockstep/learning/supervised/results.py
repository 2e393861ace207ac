"""Summary entries of a finished classifier's training, the same for every library."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from lockstep.learning.supervised.metrics import class_report, confusion_matrix

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.learning.supervised.data import Parts, Samples


def judged(probabilities: NDArray[np.float64] | None, test: Samples | None, train: Samples) -> dict[str, Any] | None:
    """Accuracy on the test samples, beside that of always naming the commonest class of the training part.

    probabilities  float64 (n, classes) for the test samples

    None without a test part.
    """
    if probabilities is None or test is None:
        return None
    majority = int(np.bincount(train.labels, minlength=len(train.classes)).argmax())
    return {
        "samples": len(test),
        "accuracy": float((probabilities.argmax(axis=1) == test.labels).sum() / len(test)),
        "majority_class_accuracy": float((test.labels == majority).sum() / len(test)),
    }


def per_class(probabilities: NDArray[np.float64] | None, parts: Parts) -> dict[str, Any]:
    """The entry `per_class` of a summary: what accuracy alone hides; empty without a test part.

    log_loss    mean of -log of the probability of the true class, in nats; `prior_log_loss` that of always giving each
                class its share of the training part, None where a tested class has no share
    classes     precision, recall, F1 and support by class, None where undefined
    confusion   counts, rows true and columns predicted, in the order of `names`
    missing     names of the classes without a sample, by part; parts that have all are left out
    """
    test, train = parts.test, parts.train
    if probabilities is None or test is None:
        return {}
    names = [str(name) for name in train.classes]
    matrix = confusion_matrix(test.labels, probabilities.argmax(axis=1).astype(np.int64), len(names))
    share = np.bincount(train.labels, minlength=len(names)) / len(train)
    held = {"training": train, "validation": parts.validation, "test": test}
    missing = {
        part: [names[k] for k in np.flatnonzero(np.bincount(samples.labels, minlength=len(names)) == 0)]
        for part, samples in held.items()
        if samples is not None
    }
    return {
        "per_class": {
            "names": names,
            "log_loss": _log_loss(probabilities[np.arange(len(test)), test.labels]),
            "prior_log_loss": None if (share[test.labels] == 0.0).any() else _log_loss(share[test.labels]),
            "classes": class_report(matrix, names),
            "confusion": matrix.tolist(),
            "missing": {part: lacking for part, lacking in missing.items() if lacking},
        }
    }


def _log_loss(chances: NDArray[np.float64]) -> float:
    # The smallest normal number in place of 0: a certain error costs 708 nats, not infinity.
    return -math.fsum(map(math.log, np.maximum(chances, np.finfo(np.float64).tiny).tolist())) / len(chances)


def parts_of(train: Samples, validation: Samples | None, test: Samples | None) -> dict[str, Any]:
    """Number of classes, and of samples in each part."""
    return {
        "classes": len(train.classes),
        "training": len(train),
        "validation": 0 if validation is None else len(validation),
        "test": 0 if test is None else len(test),
    }
