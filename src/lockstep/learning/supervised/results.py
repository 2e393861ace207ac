"""Summary entries of a finished classifier's training, the same for every library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.learning.supervised.data import Samples


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


def parts_of(train: Samples, validation: Samples | None, test: Samples | None) -> dict[str, Any]:
    """Number of classes, and of samples in each part."""
    return {
        "classes": len(train.classes),
        "training": len(train),
        "validation": 0 if validation is None else len(validation),
        "test": 0 if test is None else len(test),
    }
