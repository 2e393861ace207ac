"""Parts of samples: in order, purged, normalised by training rows alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.unit.kinds.cnn_builders import candles_of

from lockstep.core.errors import DataError, InputError
from lockstep.learning.patterns.data_module import DataModule, SplitSettings, class_weights, data_module
from lockstep.learning.patterns.labels import LabelSettings
from lockstep.learning.patterns.windows import WindowSettings
from lockstep.market.candles import Candles

WINDOWS = WindowSettings(channels=("return", "body", "rsi"), window=8)
LABELS = LabelSettings(task="direction", horizon=3, volatility_bars=10)
SPLIT = SplitSettings()


def module_of(candles: Candles, split: SplitSettings = SPLIT) -> DataModule:
    return data_module(candles, WINDOWS, LABELS, split)


def doubled_from(candles: Candles, bar: int) -> Candles:
    later = np.arange(len(candles)) >= bar
    return replace(
        candles,
        **{name: np.where(later, 2.0, 1.0) * getattr(candles, name) for name in ("open", "high", "low", "close")},
    )


def test_statistics_are_those_of_training_rows_to_the_last_bit_whatever_comes_later() -> None:
    """Look-ahead would show here: every bar that no training window or label reads is changed."""
    candles = candles_of(420)
    module = module_of(candles)
    last_read = int(module.labels.last[module.parts.train].max())
    again = module_of(doubled_from(candles, last_read + 1))
    assert again.parts.train.tobytes() == module.parts.train.tobytes()
    assert again.statistics.mean.tobytes() == module.statistics.mean.tobytes()
    assert again.statistics.std.tobytes() == module.statistics.std.tobytes()
    assert again.statistics.return_scale == module.statistics.return_scale
    ours, theirs = (item.inputs(item.parts.train) for item in (module, again))
    assert ours.tobytes() == theirs.tobytes()
    # And they do depend on training rows: the test can fail.
    moved = module_of(doubled_from(candles, last_read - 2))
    assert moved.statistics.return_scale != module.statistics.return_scale


def test_training_windows_have_mean_zero_and_spread_one_per_channel() -> None:
    module = module_of(candles_of(420))
    first, last = int(module.parts.train[0]) - 7, int(module.parts.train[-1])
    covered = module.series[:, first : last + 1].astype(np.float64)
    assert covered.mean(axis=1) == pytest.approx(np.zeros(3), abs=1e-6)
    assert covered.std(axis=1) == pytest.approx(np.ones(3), abs=1e-5)
    returns = module.labels.returns[module.parts.train]
    assert module.statistics.return_scale == pytest.approx(returns.std())


def test_a_sample_is_the_window_that_ends_at_its_bar() -> None:
    module = module_of(candles_of(420))
    bars = module.parts.test[[0, 5]]
    found = module.inputs(bars)
    assert found.shape == (2, 3, 8)
    for place, bar in enumerate(bars):
        assert found[place].tobytes() == np.ascontiguousarray(module.series[:, bar - 7 : bar + 1]).tobytes()


def test_values_beyond_the_clip_are_held_there() -> None:
    candles = candles_of(420)
    module = data_module(candles, WINDOWS, LABELS, SPLIT, clip=1.5)
    assert float(np.abs(module.series).max()) == 1.5


def test_counts_add_up() -> None:
    module = module_of(candles_of(420))
    kept = sum(sum(part.values()) for part in module.counts().values())
    # Bars 21 ... 416 have a whole window (7 + 14 before) and label (3 after): 396 samples, some of them purged.
    assert kept + module.parts.purged == 420 - 21 - 3
    assert module.parts.purged > 0


@pytest.mark.parametrize("embargo", [0, 1, 6])
def test_the_last_label_of_a_part_ends_on_the_bar_before_the_next_parts_first_window(embargo: int) -> None:
    """Bars without gaps: the purged samples are those that have to go, to the bar, and the embargo's bars more.

    A window of 8 bars with an RSI of 14 before it reads 21 bars back, a label 3 ahead.
    """
    module = module_of(candles_of(420), SplitSettings(embargo=embargo))
    parts = module.parts
    for earlier, later in ((parts.train, parts.validation), (parts.validation, parts.test)):
        first_read = int(later[0]) - 21
        assert int(earlier[-1]) + 3 == first_read - 1 - embargo
    # Behind each of two borders go the samples whose label lies in the 21 bars, and those of label and embargo.
    assert parts.purged == 2 * (21 + 3 + embargo)


def test_balanced_weights_make_every_class_count_the_same() -> None:
    classes = np.array([0] * 2 + [1] * 6 + [2] * 4)
    names = ("low", "none", "high")
    weights = class_weights(classes, names, "balanced")
    assert weights is not None
    # 12 / (3 x 2), 12 / (3 x 6), 12 / (3 x 4)
    assert weights.tolist() == pytest.approx([2.0, 2 / 3, 1.0])
    assert class_weights(classes, names, "none") is None
    assert class_weights(classes, names, (1.0, 2.0, 3.0)).tolist() == [1.0, 2.0, 3.0]  # type: ignore[union-attr]
    with pytest.raises(DataError, match="found low 2, none 6, high 4, other 0"):
        class_weights(classes, (*names, "other"), "none")
    with pytest.raises(InputError, match="lists 3 numbers above 0"):
        class_weights(classes, names, (1.0, 0.0, 1.0))


def test_too_few_candles_are_refused_with_the_count_and_the_cure() -> None:
    with pytest.raises(DataError, match="no bar of 20 has a whole window and label: a window reads 22 bars"):
        module_of(candles_of(20))
    with pytest.raises(DataError, match=r"samples leave none for .* back 21 bars, labels 3 ahead"):
        module_of(candles_of(60))


def test_the_order_of_the_channels_stands_beside_their_statistics() -> None:
    """Keys of JSON are sorted: whoever fed the channels in their order would have had another network."""
    values = module_of(candles_of(420)).statistics.to_json(WINDOWS.channels)
    assert values["order"] == ["return", "body", "rsi"] != sorted(values["channels"])
