"""How long a pattern network and its baselines take to be judged, from short trials that are thrown away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import numpy as np

from lockstep.kinds.shared.step_timing import timed
from lockstep.learning.patterns import baselines
from lockstep.learning.patterns.baselines import BASELINES
from lockstep.learning.patterns.scores import temperature_of
from lockstep.learning.patterns.training import MarketPatternTask
from lockstep.runs.kind import Duration
from lockstep.runs.seeds import SeedTree
from lockstep.validation.intervals import difference

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.kinds.cnn.plan import CnnPlan
    from lockstep.learning.gradients.training import GradientTraining

_ROWS: Final = 1_024
"""Rows that are predicted for a trial: as many as an evaluation predicts at once."""
_FITTED: Final = 2
"""Predictors whose temperature is fitted: network and logistic regression."""
_RETURNS: Final = 2
"""Baselines of the return, each with an interval."""
_FEW_ROWS: Final = 400
_MANY_ROWS: Final = 4_000
_SHORT: Final = 1
_LONG: Final = 5
"""Iterations of the fits that are timed."""


def of_row(training: GradientTraining, bars: NDArray[np.int64]) -> Duration:
    """Time in which the network predicts one row in evaluation mode."""
    task, rows = cast("MarketPatternTask", training.task), bars[:_ROWS]
    return timed(lambda: task.heads_of_rows(training.learner, rows, "estimate")) * (1.0 / len(rows))


def of_scores(plan: CnnPlan) -> Duration:
    """Time of baselines, temperatures and intervals at the end."""
    module = plan.module
    held_out, classes = len(module.parts.test), len(module.label_settings.classes)
    seeds, gains = SeedTree(0), np.zeros(held_out)
    interval = timed(lambda: difference(gains, span=module.label_settings.ahead + 1, seeds=seeds))
    labels = module.labels.classes[module.parts.validation]
    logits = np.zeros((len(labels), classes))
    temperature = timed(lambda: temperature_of(logits, labels))
    return _of_fits(plan) + interval * (BASELINES + _RETURNS) + temperature * _FITTED


def _of_fits(plan: CnnPlan) -> Duration:
    """Time of all fits of the logistic regression.

    How many iterations a fit needs shows on a few rows; what an iteration takes, on more of them.
    """
    weights = plan.class_weights()
    few = baselines.LogisticTrial(plan.module, weights, most=_FEW_ROWS)
    iterations = sum(few.fit(strength) for strength in baselines.STRENGTHS)
    many = baselines.LogisticTrial(plan.module, weights, most=_MANY_ROWS)
    strength = baselines.STRENGTHS[-1]
    short, long = (timed(lambda: many.fit(strength, count), warm=False) for count in (_SHORT, _LONG))  # noqa: B023
    # The difference of two fits is iterations alone: each also has its fixed part.
    each = Duration(cpu=max(long.cpu - short.cpu, 0.0), wall=max(long.wall - short.wall, 0.0)) * (
        1.0 / (_LONG - _SHORT)
    )
    return (each * iterations + short * len(baselines.STRENGTHS)) * (1.0 / many.share)
