"""Parts in the order of time: where samples are cut, and exactly how many are purged."""

from __future__ import annotations

import numpy as np
import pytest

from lockstep.core.errors import InputError
from lockstep.market.splits import cuts_from_end, purged


def rows(*parts: range) -> list[list[int]]:
    return [list(part) for part in parts]


def test_sizes_are_counted_from_the_end_and_the_first_part_gets_the_rest() -> None:
    assert cuts_from_end(100, (20, 15)) == (0, 65, 85, 100)
    assert cuts_from_end(100, ()) == (0, 100)
    # 90 + 15 do not fit into 100: the earlier part is cut short, the first is empty.
    assert cuts_from_end(100, (90, 15)) == (0, 0, 85, 100)
    with pytest.raises(InputError, match=r"0 samples or more; found sizes \[3, -1\]"):
        cuts_from_end(10, (3, -1))


def test_the_purge_leaves_the_last_sample_that_may_stay_and_takes_the_first_that_may_not() -> None:
    """Bars 0 ... 19, labels 3 bars ahead, windows 4 bars back, 2 of embargo: 3 + 4 + 2 = 9 bars lie between."""
    bars = np.arange(20)
    parts = purged(bars, bars + 3, (0, 15, 20), reach=4, embargo=2)
    # The second part reads from bar 15 - 4 = 11 on: i + 3 + 2 < 11 leaves i = 0 ... 5; 15 - 5 - 1 = 9.
    assert [part.tolist() for part in parts] == rows(range(6), range(15, 20))
    without = purged(bars, bars + 3, (0, 15, 20), reach=4)
    assert [part.tolist() for part in without] == rows(range(8), range(15, 20))


def test_each_label_is_asked_for_its_own_last_bar() -> None:
    """Labels of unequal length: of two neighbours the earlier may have to go and the later may stay."""
    bars = np.array([10, 12, 14, 16, 30])
    last = np.array([11, 29, 15, 17, 31])
    first, second = purged(bars, last, (0, 4, 5), reach=5)
    # Reads begin at 30 - 5 = 25: only the label that needs bar 29 is purged.
    assert bars[first].tolist() == [10, 14, 16]
    assert bars[second].tolist() == [30]


def test_a_part_that_is_purged_away_hands_its_border_on() -> None:
    """The middle part needs bars of the last one and goes; what is before is purged against the last part instead."""
    bars = np.arange(10)
    last = np.array([0, 1, 2, 8, 4, 9, 9, 9, 8, 9])
    first, middle, end = purged(bars, last, (0, 5, 8, 10), reach=0)
    assert middle.tolist() == []
    assert (first.tolist(), end.tolist()) == ([0, 1, 2, 4], [8, 9])


def test_parts_may_begin_and_end_anywhere_in_the_samples() -> None:
    """A window of a walk-forward: train on samples 10 ... 29, test on 30 ... 39 of 100."""
    bars = np.arange(100)
    train, test = purged(bars, bars + 1, (10, 30, 40), reach=2)
    # 30 - 2 = 28 is the first bar read: i + 1 < 28.
    assert [train.tolist(), test.tolist()] == rows(range(10, 27), range(30, 40))


def test_what_makes_no_sense_is_refused() -> None:
    bars = np.arange(10)
    for cuts in ((0,), (5, 3), (-1, 4), (0, 11)):
        with pytest.raises(InputError, match="ascending sample numbers between 0 and 10"):
            purged(bars, bars, cuts, reach=0)
    for reach, embargo in ((-1, 0), (0, -1)):
        with pytest.raises(InputError, match="numbers of bars, 0 or more"):
            purged(bars, bars, (0, 5, 10), reach=reach, embargo=embargo)
