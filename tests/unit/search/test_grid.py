"""The grid proposer."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from lockstep.core.errors import SpaceError
from lockstep.core.space import Space
from lockstep.search.grid import GridProposer


def test_every_combination_is_proposed_once() -> None:
    """R4.2: grid tests every combination and needs no seed."""
    proposer = GridProposer(Space.parse({"a": [1, 2, 3], "b": (1, 4)}))
    batch = proposer.ask(100)
    assert len(batch) == proposer.size == 3 * 4
    assert len({tuple(row.items()) for row in batch.rows()}) == 12


def test_a_continuous_parameter_is_refused_by_name() -> None:
    with pytest.raises(SpaceError, match="'risk': a grid needs finitely many values"):
        GridProposer(Space.parse({"a": [1, 2], "risk": (0.5, 2.0)}))


def test_an_empty_space_is_refused() -> None:
    with pytest.raises(SpaceError, match="varies at least one parameter"):
        GridProposer(Space({}))


def test_above_ten_thousand_combinations_it_warns_with_the_factors() -> None:
    """R4.35."""
    assert GridProposer(Space.parse({"a": (1, 100), "b": (1, 100)})).notes == ()
    (note,) = GridProposer(Space.parse({"a": (1, 100), "b": (1, 101)})).notes
    assert "10,100 combinations (100 x 101)" in note


def test_a_grid_of_a_million_sets_holds_one_batch_at_a_time() -> None:
    proposer = GridProposer(Space.parse({"a": (1, 1000), "b": (1, 1000)}))
    tracemalloc.start()
    try:
        for _ in range(50):
            batch = proposer.ask(1024)
            proposer.tell(batch, np.zeros(len(batch)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000  # two int64 columns of 1,024 rows are 16 KiB; the whole grid would be 16 MB
