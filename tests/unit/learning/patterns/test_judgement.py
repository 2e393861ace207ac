"""What may be said of a network: chosen on validation rows, and as sure as overlapping labels allow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from tests.unit.kinds.cnn_builders import candles_of

from lockstep.learning.patterns.data_module import DataModule, SplitSettings, data_module
from lockstep.learning.patterns.judgement import judge
from lockstep.learning.patterns.labels import LabelSettings
from lockstep.learning.patterns.scores import Predictions, log_losses, temperature_of
from lockstep.learning.patterns.windows import WindowSettings
from lockstep.runs.seeds import SeedTree

HORIZON = 9
MODULE = data_module(
    candles_of(1_200),
    WindowSettings(channels=("return", "body"), window=4),
    LabelSettings(task="direction", horizon=HORIZON, volatility_bars=10),
    SplitSettings(validation=0.3, test=0.3),
)


def predictions(module: DataModule, *, validation: float, test: float) -> dict[str, Predictions]:
    """Logits that lean to the true class by the factor of their part, with seeded noise."""
    rng = np.random.Generator(np.random.Philox(key=7))
    parts = {}
    for part, factor in (("validation", validation), ("test", test)):
        y = module.labels.classes[module.bars(part)]
        logits = factor * (np.eye(3)[y] + rng.normal(size=(len(y), 3)))
        parts[part] = Predictions(logits=logits, decided=logits.argmax(axis=1).astype(np.int64))
    return parts


def judged(network: Mapping[str, Predictions]) -> dict[str, Any]:
    return judge(MODULE, network, weights=None, seeds=SeedTree(3))


def test_the_temperature_is_the_one_of_validation_rows_and_test_rows_do_not_move_it() -> None:
    """Fitted on test rows it would be chosen by the rows that it is judged on."""
    calm, wild = (judged(predictions(MODULE, validation=1.0, test=factor)) for factor in (1.0, 6.0))
    network = predictions(MODULE, validation=1.0, test=6.0)
    of_validation = temperature_of(network["validation"].logits, MODULE.labels.classes[MODULE.parts.validation])
    of_test = temperature_of(network["test"].logits, MODULE.labels.classes[MODULE.parts.test])
    assert of_test > 3.0 * of_validation  # logits six times as large want a temperature about six times as high
    for part in ("validation", "test"):
        assert wild["scores"][part]["network"]["temperature"] == of_validation
        assert calm["scores"][part]["network"]["temperature"] == of_validation
    assert wild["scores"]["validation"] == calm["scores"]["validation"]
    y = MODULE.labels.classes[MODULE.parts.test]
    losses = log_losses(network["test"].probabilities(of_validation), y)
    assert wild["scores"]["test"]["network"]["log_loss"] == pytest.approx(losses.mean())


def test_blocks_of_the_bootstrap_are_three_labels_long_because_labels_of_neighbours_share_bars() -> None:
    """A label reads its bar and 9 more, so 10 neighbours share a bar: blocks of 3 x 10 samples, above 343^(1/3) = 7."""
    found = judged(predictions(MODULE, validation=1.0, test=1.0))
    assert len(MODULE.parts.test) < 7.5**3
    assert {item["block"] for item in found["advantage"].values()} == {3 * (HORIZON + 1)}


def test_blocks_of_returns_are_as_long_as_those_of_classes() -> None:
    network = predictions(MODULE, validation=1.0, test=1.0)
    said = {
        part: Predictions(logits=item.logits, decided=item.decided, returns=np.zeros(len(item.decided)))
        for part, item in network.items()
    }
    found = judged(said)
    assert {item["block"] for item in found["return_advantage"].values()} == {3 * (HORIZON + 1)}
    # Saying nothing is as good as saying nothing: no advantage over "zero", exactly.
    assert found["return_advantage"]["zero"]["mean"] == 0.0
    assert not found["return_advantage"]["zero"]["beats"]
