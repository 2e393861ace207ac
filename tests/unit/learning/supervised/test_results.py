"""Figures by class of a finished classifier: what accuracy alone hides."""

from __future__ import annotations

import math

import numpy as np

from lockstep.learning.supervised.data import Parts, Samples, samples_of
from lockstep.learning.supervised.results import per_class

NAMES = ("down", "flat", "up")


def samples(labels: list[int]) -> Samples:
    return samples_of((np.zeros((len(labels), 1), np.float32), np.array(labels)), classes=NAMES)


def test_figures_by_class_log_loss_and_missing_classes() -> None:
    """4 test samples: down named right, flat named up, up right twice. Shares of training: 1/4, 1/2, 1/4."""
    parts = Parts(train=samples([0, 1, 1, 2]), validation=samples([1, 1]), test=samples([0, 1, 2, 2]))
    chances = np.array([[0.5, 0.25, 0.25], [0.25, 0.25, 0.5], [0.25, 0.25, 0.5], [0.0, 0.0, 1.0]])
    figures = per_class(chances, parts)["per_class"]
    assert figures["confusion"] == [[1, 0, 0], [0, 0, 1], [0, 0, 2]]
    assert figures["classes"]["up"] == {"precision": 2 / 3, "recall": 1.0, "f1": 0.8, "support": 2}
    assert figures["classes"]["flat"]["precision"] is None  # never named
    assert math.isclose(figures["log_loss"], (2 * math.log(2) + math.log(4)) / 4)
    assert math.isclose(figures["prior_log_loss"], (3 * math.log(4) + math.log(2)) / 4)
    assert figures["missing"] == {"validation": ["down", "up"]}


def test_a_class_that_was_never_trained_on_has_no_prior_and_is_named() -> None:
    parts = Parts(train=samples([0, 1]), validation=None, test=samples([2, 0]))
    figures = per_class(np.array([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]), parts)["per_class"]
    assert figures["prior_log_loss"] is None
    assert figures["missing"] == {"training": ["up"], "test": ["flat"]}
    assert math.isfinite(figures["log_loss"])  # certain and wrong: 708 nats of the smallest normal number
