"""Intervals that keep their word: as wide as independence, or the overlap of labels, makes them."""

from __future__ import annotations

import numpy as np
import pytest

from lockstep.runs.seeds import SeedTree
from lockstep.validation.intervals import difference

RNG = np.random.Generator(np.random.Philox(key=11))
SEEDS = SeedTree(3)


def test_an_interval_of_independent_samples_is_that_of_the_normal_distribution() -> None:
    values = RNG.normal(loc=0.1, size=4000)
    interval = difference(values, span=1, seeds=SEEDS)
    error = values.std() / np.sqrt(4000)
    assert interval.mean == pytest.approx(values.mean())
    assert interval.standard_error == pytest.approx(error, rel=0.12)
    assert (interval.low, interval.high) == (
        pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error * 1.96),
        pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error * 1.96),
    )


def test_overlapping_samples_widen_the_interval_as_their_overlap_says() -> None:
    """Sums of 20 shared draws: the standard error is about sqrt(20) times that of as many independent samples."""
    draws = RNG.normal(size=6019)
    shared = np.convolve(draws, np.ones(20) / np.sqrt(20), mode="valid")
    naive = shared.std() / np.sqrt(len(shared))
    interval = difference(shared, span=60, seeds=SEEDS)
    assert interval.standard_error == pytest.approx(np.sqrt(20) * naive, rel=0.25)


@pytest.mark.parametrize("samples", [312, 900])
def test_a_network_that_is_no_better_is_said_to_beat_in_about_one_case_of_forty(samples: int) -> None:
    """Advantages of mean 0 whose labels overlap by 13 bars. 800 markets, 2.5 % of them wanted: 4.5 % is 3.6 standard
    errors above. With blocks of one span and quantiles of the draws it was 6 % to 9 %."""
    rng = np.random.Generator(np.random.Philox(key=12))
    beats = 0
    for market in range(800):
        running = np.cumsum(rng.normal(size=samples + 13))
        beats += difference(running[13:] - running[:-13], span=13, seeds=SEEDS.child(market), draws=200).beats
    assert 0.01 < beats / 800 < 0.045


def test_the_interval_is_a_function_of_the_seeds_address_alone() -> None:
    values = RNG.normal(size=500)
    one, two = (difference(values, span=4, seeds=SEEDS.child("a")) for _ in range(2))
    assert one == two
    assert one != difference(values, span=4, seeds=SEEDS.child("b"))


def test_too_few_blocks_give_no_interval_and_no_claim() -> None:
    interval = difference(np.full(239, 1.0), span=10, seeds=SEEDS)
    assert (interval.mean, interval.low, interval.high, interval.standard_error) == (1.0, None, None, None)
    assert not interval.beats
    # 240 samples are eight blocks of three spans of ten.
    assert difference(np.full(240, 1.0), span=10, seeds=SEEDS).beats
