"""Means that no vector width and no version of Python changes."""

from __future__ import annotations

import numpy as np

from lockstep.core.means import exact_mean, mean_in_order


def test_values_are_added_one_after_the_other() -> None:
    """1e16 + 1 is 1e16 in doubles: in this order the 1 is lost, compensated or exact sums would keep it."""
    assert mean_in_order([1e16, 1.0, -1e16]) == 0.0
    assert mean_in_order(np.array([1e16, 1.0, -1e16])) == 0.0
    assert mean_in_order([1e16, -1e16, 1.0]) == 1.0 / 3.0


def test_numbers_and_truth_values_of_any_width_are_read_as_doubles() -> None:
    assert mean_in_order(np.array([True, False, True, True])) == 0.75
    assert mean_in_order(np.array([0.5, 0.25], np.float32)) == 0.375
    assert mean_in_order(iter([1, 2])) == 1.5


def test_an_exact_mean_loses_nothing() -> None:
    assert exact_mean([1e16, 1.0, -1e16]) == 1.0 / 3.0
    assert exact_mean(np.array([0.1] * 10)) == 0.1


def test_of_nothing_one_is_zero_and_the_other_undefined() -> None:
    assert mean_in_order([]) == 0.0
    assert exact_mean(np.empty(0)) is None
