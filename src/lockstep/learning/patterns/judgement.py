"""Compare a network's predictions with those of its baselines, and derive the verdict. No torch.

Everything is chosen on validation rows; test rows are scored once, with the chosen network. A network beats a baseline
where the whole 95 % interval of its advantage on test rows lies above 0 (`validation.intervals`), and is worth a second
look where it beats every baseline. The advantage is in log loss for the classes, in squared error for the return.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lockstep.core.means import exact_mean
from lockstep.learning.patterns.baselines import all_baselines
from lockstep.learning.patterns.scores import (
    Predictions,
    classification,
    confidence_scores,
    log_losses,
    regression,
    temperature_of,
)
from lockstep.validation.intervals import Difference, difference
from lockstep.validation.verdict import Comparison, Verdict, beats_all, listed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.learning.patterns.data_module import DataModule
    from lockstep.runs.seeds import SeedTree

HELD_OUT: Final = ("validation", "test")
_FITTED: Final = ("network", "logistic")
"""Predictors whose probabilities need calibration; those of the others are frequencies of training rows."""
_WORDS: Final = {
    "majority": "the majority class",
    "known_side": "the known side",
    "volatility": "volatility alone",
    "logistic": "logistic regression",
}
_TEST: Final = (
    "the two-sided 95 % interval of the mean advantage in log loss per test row lies above 0; circular block "
    "bootstrap, since labels of neighbours share bars"
)


def judge(
    module: DataModule,
    network: Mapping[str, Predictions],
    *,
    weights: NDArray[np.float32] | None,
    seeds: SeedTree,
) -> dict[str, Any]:
    """Scores of network and baselines on validation and test rows, differences on test rows, and the verdict.

    network   predictions by part, "validation" and "test"
    weights   class weights of the network's training, float32 (classes,)
    seeds     node of the seed tree for the bootstrap
    """
    baselines = all_baselines(module, weights)
    predictors = {"network": network, **{item.name: item.predictions for item in baselines}}
    labels = {part: module.labels.classes[module.bars(part)] for part in HELD_OUT}
    heat = {
        name: temperature_of(parts["validation"].logits, labels["validation"], parts["validation"].weights)
        if name in _FITTED
        else 1.0
        for name, parts in predictors.items()
    }
    # Labels of bars closer than this share bars, so their errors are not independent.
    span = module.label_settings.ahead + 1
    advantages = {
        name: difference(
            log_losses(parts["test"].probabilities(heat[name]), labels["test"])
            - log_losses(network["test"].probabilities(heat["network"]), labels["test"]),
            span=span,
            seeds=seeds.child("log_loss", name),
        )
        for name, parts in predictors.items()
        if name != "network"
    }
    returns = _returns(module, network, span, seeds)
    return {
        "scores": {
            part: {name: classification(parts[part], labels[part], heat[name]) for name, parts in predictors.items()}
            for part in HELD_OUT
        },
        "baselines": {item.name: dict(item.facts) for item in baselines},
        "advantage": {name: item.to_json() for name, item in advantages.items()},
        "confidence": {part: _confidence(network[part], labels[part]) for part in HELD_OUT},
        **returns,
        "verdict": verdict(advantages).to_json(),
    }


def verdict(advantages: Mapping[str, Difference]) -> Verdict:
    """The verdict: which baselines the network beats on test rows, which not, and one sentence about it.

    Its decision is None where the independent samples are too few for any interval.
    """
    beaten = [_WORDS.get(name, name) for name, item in advantages.items() if item.beats]
    others = [_WORDS.get(name, name) for name, item in advantages.items() if not item.beats]
    undecided = all(item.low is None for item in advantages.values())
    if undecided:
        sentence = "out of sample the network does not beat its baselines: too few independent samples to tell"
    elif others:
        sentence = f"out of sample the network does not beat {listed(others)}"
    else:
        sentence = f"out of sample the network beats {listed(beaten)}"
    return Verdict.of_comparisons(
        [_comparison(name, item) for name, item in advantages.items()],
        test=_TEST,
        sentence=sentence,
        decision=None if undecided else beats_all(not others),
    )


def _comparison(name: str, item: Difference) -> Comparison:
    interval = (
        "too few independent samples for an interval"
        if item.low is None
        else f"95 % interval {item.low:+.4f} to {item.high:+.4f}"
    )
    return Comparison(
        name=name,
        words=_WORDS.get(name, name),
        beats=item.beats,
        reason=f"advantage {item.mean:+.4f} in log loss per test row, {interval}",
        figures={"advantage": item.mean, "low": item.low, "high": item.high},
    )


def _returns(module: DataModule, network: Mapping[str, Predictions], span: int, seeds: SeedTree) -> dict[str, Any]:
    """Errors of the return head, and of two baselines: predict 0, and predict the mean of training rows."""
    centre = exact_mean(module.labels.returns[module.parts.train]) or 0.0
    scores: dict[str, Any] = {}
    advantages: dict[str, Any] = {}
    for part in HELD_OUT:
        actual, expected = module.labels.returns[module.bars(part)], network[part].returns
        if expected is None:
            continue
        predicted = {"network": expected, "zero": np.zeros_like(actual), "mean": np.full_like(actual, centre)}
        scores[part] = {name: regression(values, actual) for name, values in predicted.items()}
        if part == "test":
            for name in ("zero", "mean"):
                gain = (predicted[name] - actual) ** 2 - (expected - actual) ** 2
                advantages[name] = difference(gain, span=span, seeds=seeds.child("return", name)).to_json()
    return {"returns": scores, "return_advantage": advantages}


def _confidence(predictions: Predictions, y: NDArray[np.int64]) -> dict[str, float | None] | None:
    if predictions.confidence is None:
        return None
    return confidence_scores(predictions.confidence, predictions.decided == y)
