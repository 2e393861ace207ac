"""What may be said of a network beside its baselines: no more than every interval says."""

from __future__ import annotations

import math

from lockstep.learning.patterns.judgement import verdict
from lockstep.validation.intervals import Difference
from lockstep.validation.verdict import Decision


def advantage(mean: float, error: float | None) -> Difference:
    """An advantage of `mean` with an interval of two standard errors on each side, or without any."""
    low, high = (None, None) if error is None else (mean - 2.0 * error, mean + 2.0 * error)
    return Difference(mean=mean, standard_error=error, low=low, high=high, block=3)


SURE, UNSURE, FEW = advantage(0.5, 0.125), advantage(0.5, 0.25), advantage(0.5, None)


def test_a_network_that_beats_every_baseline_needs_more_evidence() -> None:
    """One test part of one market is no proof: caution, not acceptance."""
    both = verdict({"majority": SURE, "logistic": SURE})
    assert both.decision is Decision.CAUTION
    assert both.sentence == "out of sample the network beats the majority class and logistic regression"
    assert both.evidence["beats"] == ["majority", "logistic"]
    assert both.evidence["does_not_beat"] == []


def test_one_interval_that_reaches_zero_is_enough_to_reject() -> None:
    """0.5 - 2 x 0.25 = 0 is not above 0."""
    one = verdict({"majority": SURE, "known_side": UNSURE})
    assert one.decision is Decision.REJECT
    assert one.sentence == "out of sample the network does not beat the known side"
    assert (one.evidence["beats"], one.evidence["does_not_beat"]) == (["majority"], ["known_side"])
    assert one.evidence["compared"]["known_side"] == {"advantage": 0.5, "low": 0.0, "high": 1.0}
    assert one.reasons[0] == (
        "the majority class: advantage +0.5000 in log loss per test row, 95 % interval +0.2500 to +0.7500"
    )
    assert "circular block bootstrap" in one.evidence["test"]


def test_too_few_independent_samples_decide_nothing() -> None:
    few = verdict({"majority": FEW, "logistic": FEW})
    assert few.decision is None
    assert few.sentence == "out of sample the network does not beat its baselines: too few independent samples to tell"
    assert few.evidence["beats"] == []
    assert few.reasons[1].endswith("too few independent samples for an interval")
    assert math.isclose(few.evidence["compared"]["majority"]["advantage"], 0.5)
