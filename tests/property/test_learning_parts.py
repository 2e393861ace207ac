"""Purging, as a property: nothing that a training label was made of is seen by a window of a later part."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.kinds.cnn_builders import candles_of

from lockstep.core.errors import DataError
from lockstep.learning.patterns.data_module import PARTS, SplitSettings, data_module, split
from lockstep.learning.patterns.labels import LabelSettings
from lockstep.learning.patterns.windows import WindowSettings


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int, SplitSettings]:
    steps = draw(st.lists(st.integers(1, 12), min_size=5, max_size=80))
    bars = np.cumsum(steps)
    ahead = np.array(draw(st.lists(st.integers(0, 20), min_size=len(bars), max_size=len(bars))))
    validation, test = draw(st.floats(0.05, 0.6)), draw(st.floats(0.05, 0.35))
    settings = SplitSettings(validation=validation, test=test, embargo=draw(st.integers(0, 15)))
    return bars, bars + ahead, draw(st.integers(0, 40)), settings


@given(case=cases())
def test_no_label_of_an_earlier_part_needs_a_bar_that_a_later_window_reads(
    case: tuple[np.ndarray, np.ndarray, int, SplitSettings],
) -> None:
    bars, last, reach, settings = case
    try:
        parts = split(bars, last, reach=reach, settings=settings)
    except DataError:
        return  # a part was left empty: refused, never overlapped
    needs = dict(zip(bars.tolist(), last.tolist(), strict=True))
    found = [getattr(parts, name).tolist() for name in PARTS]
    for earlier, later in ((0, 1), (0, 2), (1, 2)):
        for i in found[earlier]:
            assert all(needs[i] + settings.embargo < j - reach for j in found[later])
    kept = [bar for part in found for bar in part]
    assert kept == sorted(kept)
    assert len(kept) + parts.purged == len(bars)


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
