"""Samples of real candles keep the rule of `market.splits` and cross no gap; the rule itself: test_splits.py."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.kinds.cnn_builders import candles_of

from lockstep.core.errors import DataError
from lockstep.learning.patterns.data_module import PARTS, SplitSettings, data_module
from lockstep.learning.patterns.labels import LabelSettings
from lockstep.learning.patterns.windows import WindowSettings


@given(
    seed=st.integers(0, 99),
    window=st.integers(2, 12),
    horizon=st.integers(1, 9),
    pivot=st.integers(1, 5),
    gaps=st.lists(st.integers(1, 299), max_size=4, unique=True),
    task=st.sampled_from(["pivot", "direction"]),
)
def test_samples_of_real_candles_keep_the_rule_and_cross_no_gap(
    seed: int, window: int, horizon: int, pivot: int, gaps: list[int], task: str
) -> None:
    candles = candles_of(300, seed=seed, gaps=tuple(gaps))
    windows = WindowSettings(channels=("return", "body"), window=window)
    labels = LabelSettings(task=task, horizon=horizon, pivot_bars=pivot, volatility_bars=5)  # type: ignore[arg-type]
    try:
        module = data_module(candles, windows, labels, SplitSettings())
    except DataError:
        return
    reach = max(windows.reach, labels.before)
    train, validation, test = (module.bars(name) for name in PARTS)
    assert module.labels.last[train].max() < validation.min() - reach
    assert module.labels.last[validation].max() < test.min() - reach
    for bar in np.concatenate((train, validation, test)):
        span = candles.timestamp[bar - reach : bar + labels.ahead + 1]
        assert np.all(np.diff(span) == candles.timeframe_ms)
