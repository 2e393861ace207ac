"""Six market patterns: seeded, addressable, and each showing what its name says."""

from __future__ import annotations

import numpy as np
import pytest

from lockstep.core.errors import InputError
from lockstep.core.hashing import digest_columns
from lockstep.learning.supervised.synthetic_patterns import Pattern, Windows, make_windows
from lockstep.runs.seeds import SeedTree

# Only additions, multiplications and comparisons make the windows, so every IEEE 754 machine gives this digest:
#   make_windows(3, SeedTree(42)), columns open, high, low, close, volume, label
DIGEST = "d00dbd33eb7bc1488d1cd0da1f4209750269133c233efb951b3ad72524658216"


def windows(samples_per_class: int = 40, seed: int = 42, **options: object) -> Windows:
    return make_windows(samples_per_class, SeedTree(seed), **options)  # type: ignore[arg-type]


def columns(made: Windows) -> dict[str, np.ndarray]:
    return {name: getattr(made, name) for name in ("open", "high", "low", "close", "volume", "label")}


def of(made: Windows, pattern: Pattern) -> np.ndarray:
    return np.flatnonzero(made.label == made.patterns.index(pattern))


def test_the_windows_of_a_seed_are_the_same_on_every_machine() -> None:
    assert digest_columns(columns(windows(3))) == DIGEST
    assert digest_columns(columns(windows(3, seed=0))) != DIGEST


def test_asking_for_more_windows_keeps_those_there_were() -> None:
    few, many = windows(2), windows(5)
    for pattern in Pattern:
        assert np.array_equal(few.close[of(few, pattern)], many.close[of(many, pattern)[:2]])


def test_a_window_holds_possible_candles() -> None:
    made = windows()
    assert (made.low > 0.0).all()
    assert (made.low <= np.minimum(made.open, made.close)).all()
    assert (made.high >= np.maximum(made.open, made.close)).all()
    assert (made.volume > 0.0).all()
    assert len(made) == 6 * 40


def test_trends_go_where_their_names_say() -> None:
    made = windows()
    change = made.close[:, -1] / made.open[:, 0] - 1.0
    # 64 bars of at least 0.15 v against noise of 8 v (= sqrt 64): means of 40 windows are far from zero.
    assert change[of(made, Pattern.BULL)].mean() > 0.03
    assert change[of(made, Pattern.BEAR)].mean() < -0.03
    assert abs(change[of(made, Pattern.SIDEWAYS)]).mean() < 0.02


def test_a_breakout_ends_outside_its_range_on_more_volume() -> None:
    made = windows()
    rows = of(made, Pattern.BREAKOUT)
    before = made.close[rows, :38]  # breaks out at bar 38 (0.6 x 64) at the earliest
    last = made.close[rows, -1]
    assert ((last > before.max(axis=1)) | (last < before.min(axis=1))).mean() > 0.9
    assert (made.volume[rows, -12:].mean(axis=1) > made.volume[rows, :38].mean(axis=1)).mean() > 0.9


def test_a_sweep_has_one_wick_that_stands_out() -> None:
    made = windows()
    rows = of(made, Pattern.SWEEP)
    body = np.maximum(made.open, made.close) - np.minimum(made.open, made.close)
    wicks = (made.high - made.low - body)[rows]
    falling = np.sort(wicks, axis=1)[:, ::-1]
    assert (falling[:, 0] > 1.5 * falling[:, 1]).all()
    at = wicks.argmax(axis=1)
    assert ((at >= 32) & (at < 55)).all()  # 0.5 x 64 to 0.85 x 64


def test_a_capitulation_falls_to_a_busy_low_and_recovers() -> None:
    made = windows()
    rows = of(made, Pattern.CAPITULATION)
    low_at = made.low[rows].argmin(axis=1)
    assert (low_at > 32).mean() > 0.95
    recovered = made.close[rows, -1] / made.low[rows].min(axis=1)
    assert (recovered > 1.0).all()
    around = np.array([made.volume[row, at - 5 : at + 1].mean() for row, at in zip(rows, low_at, strict=True)])
    assert (around > 1.3 * made.volume[rows, :20].mean(axis=1)).mean() > 0.9


@pytest.mark.parametrize("count", [0, -1, 1.5, True])
def test_a_number_of_samples_that_is_none_is_refused(count: object) -> None:
    with pytest.raises(InputError, match="samples_per_class is a whole number of at least 1; found"):
        make_windows(count, SeedTree(1))  # type: ignore[arg-type]


def test_a_window_too_short_to_show_a_pattern_is_refused() -> None:
    with pytest.raises(InputError, match="needs 16 bars to show; found bars = 8"):
        windows(1, bars=8)
