"""What a network has to beat: what anybody knows at the bar, from training rows alone."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn")

from lockstep.learning.patterns import baselines
from lockstep.learning.patterns.data_module import DataModule, SplitSettings, data_module
from lockstep.learning.patterns.labels import LabelSettings
from lockstep.learning.patterns.scores import log_losses
from lockstep.learning.patterns.windows import WindowSettings
from lockstep.market.candles import Candles

BARS = 3_000
LABELS = LabelSettings(task="direction", horizon=5, volatility_bars=40)


def module_of(deviations: np.ndarray, labels: LabelSettings = LABELS) -> DataModule:
    """A random walk without direction whose moves have these standard deviations (n,)."""
    rng = np.random.Generator(np.random.Philox(key=3))
    close = 100.0 * np.exp(np.cumsum(rng.normal(size=len(deviations)) * deviations))
    opened = np.concatenate(([100.0], close[:-1]))
    candles = Candles.from_arrays(
        timestamp=np.arange(len(close)) * 3_600_000,
        open=opened,
        high=np.maximum(opened, close) * (1.0 + deviations),
        low=np.minimum(opened, close) * (1.0 - deviations),
        close=close,
        volume=np.ones(len(close)),
        timeframe="1h",
        symbol="TEST/USD",
    )
    windows = WindowSettings(channels=("return", "range"), window=4)
    return data_module(candles, windows, labels, SplitSettings(validation=0.3, test=0.3))


CALM_AND_WILD = np.where(np.arange(BARS) // 60 % 2 == 0, 0.001, 0.006)
"""60 calm bars, 60 wild ones, and so on: after a change the last 40 bars say little of the next 5."""


def loss(module: DataModule, baseline: baselines.Baseline) -> float:
    y = module.labels.classes[module.parts.test]
    return float(log_losses(baseline.predictions["test"].probabilities(), y).mean())


def test_volatility_alone_says_flat_or_not_where_volatility_changes() -> None:
    """The majority cannot: in both stretches the label is measured by the deviation of the last 40 bars."""
    module = module_of(CALM_AND_WILD)
    known = baselines.volatility(module)
    assert loss(module, known) < loss(module, baselines.majority(module)) - 0.1
    p = known.predictions["test"].probabilities()
    train = module.labels.classes[module.parts.train]
    up_share = np.mean(train == 2) / np.mean(train != 1)
    assert p[:, 2] / (p[:, 0] + p[:, 2]) == pytest.approx(np.full(len(p), up_share)), "it knows no direction"


def test_in_a_market_of_one_volatility_it_is_worth_no_more_than_the_majority() -> None:
    module = module_of(np.full(BARS, 0.003))
    assert loss(module, baselines.volatility(module)) == pytest.approx(
        loss(module, baselines.majority(module)), abs=0.05
    )


def test_what_comes_after_the_training_part_changes_no_share_and_no_border() -> None:
    """Other test bars: the predictions for validation rows stay, bit for bit."""
    one = module_of(CALM_AND_WILD)
    later = CALM_AND_WILD.copy()
    later[int(one.parts.test[0]) + 1 :] = 0.02
    two = module_of(later)
    assert np.array_equal(one.parts.train, two.parts.train)
    first, second = (baselines.volatility(module).predictions["validation"].logits for module in (one, two))
    assert np.array_equal(first, second)


def test_a_bar_knows_the_volatility_of_its_past_alone() -> None:
    changed = CALM_AND_WILD.copy()
    changed[2_001:] = 0.02
    one, two = (module_of(item).labels.volatility for item in (CALM_AND_WILD, changed))
    assert np.array_equal(one[41:2_001], two[41:2_001])
    assert not np.array_equal(one[2_001:], two[2_001:])


@pytest.mark.parametrize(("task", "known"), [("direction", "volatility"), ("pivot", "known_side")])
def test_each_task_stands_beside_what_is_known_of_it(task: str, known: str) -> None:
    labels = LabelSettings(task=task, horizon=5, volatility_bars=40)  # type: ignore[arg-type]
    names = [item.name for item in baselines.all_baselines(module_of(CALM_AND_WILD[:600], labels), None)]
    assert names == ["majority", known, "logistic"]
    assert len(names) == baselines.BASELINES


def test_a_trial_of_the_logistic_regression_needs_about_as_many_iterations_as_the_whole() -> None:
    """Of a third of the rows, with three times the C: an estimate counts its iterations."""
    module = module_of(CALM_AND_WILD)
    part, whole = (baselines.LogisticTrial(module, None, most=most) for most in (400, 20_000))
    assert part.share == pytest.approx(1.0 / 3.0, abs=0.02)
    counts = [sum(item.fit(strength) for strength in baselines.STRENGTHS) for item in (part, whole)]
    assert counts[0] == pytest.approx(counts[1], rel=0.5)
