"""The sets of a sweep: a mapping of lists is a grid, everything else says its rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from lockstep.core.errors import SpaceError
from lockstep.core.space import ParameterColumns, Space
from lockstep.strategies.parameter_sets import columns, sets_of


def rows(table: Any) -> list[tuple[Any, ...]]:
    return list(zip(*(np.asarray(column).tolist() for column in table.values()), strict=True))


def test_a_mapping_of_lists_is_their_grid() -> None:
    made = sets_of({"a": [10, 20, 30], "b": ["x", "y"]})
    assert rows(made) == [(10, "x"), (10, "y"), (20, "x"), (20, "y"), (30, "x"), (30, "y")]


@pytest.mark.parametrize("values", [[1, 2, 3], range(1, 4), np.arange(1, 4), pd.Series([1, 2, 3]), (1, 3)])
def test_any_list_of_values_is_one_and_a_pair_of_whole_numbers_is_a_range(values: Any) -> None:
    assert rows(sets_of({"a": values, "b": 0.5, "c": np.float64(2.0)})) == [(1, 0.5, 2.0), (2, 0.5, 2.0), (3, 0.5, 2.0)]


def test_for_one_release_a_call_that_once_meant_rows_says_how_many_sets_it_means() -> None:
    with pytest.warns(FutureWarning, match=r"its grid: 4 sets \(2 x 2\). Until release 0.1 .* 2 sets, .* ls.columns"):
        made = sets_of({"fast": [10, 20], "slow": [50, 100]})
    assert rows(made) == [(10, 50), (10, 100), (20, 50), (20, 100)]


@pytest.mark.parametrize(
    "table",
    [
        columns(fast=[10, 20], slow=[50, 100]),
        columns({"fast": [10, 20], "slow": [50, 100]}),
        pd.DataFrame({"fast": [10, 20], "slow": [50, 100]}),
    ],
)
def test_columns_and_frames_are_a_set_per_row(table: Any) -> None:
    assert rows(sets_of(table)) == [(10, 50), (20, 100)]


def test_what_a_space_draws_is_a_set_per_row() -> None:
    space = Space.parse({"a": [1, 2], "b": [3, 4]})
    assert len(sets_of(space.decode(np.full((7, 2), 0.5)))["a"]) == 7  # type: ignore[call-overload]
    assert rows(sets_of(space.grid_rows(1, 3))) == [(1, 4), (2, 3)]


def test_a_list_of_dicts_stays_one() -> None:
    sets = [{"a": 1}, {"a": 2}]
    assert sets_of(sets) is sets


def test_an_empty_list_is_no_set() -> None:
    assert rows(sets_of({"a": [], "b": [1, 2]})) == []


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({"a": [1, 1, 2]}, "found 1 twice.*ls.columns"),
        ({"a": (0.1, 0.5)}, "continuous range.*ls.columns"),
        ({name: list(range(100)) for name in "abcde"}, "this grid has 10,000,000,000.*ls.columns"),
    ],
)
def test_a_grid_that_cannot_be_names_the_other_forms(lists: dict[str, Any], message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        sets_of(lists)


def test_columns_are_equally_long() -> None:
    with pytest.raises(SpaceError, match=r"equally long; found a \(2,\), b \(1,\).*their grid"):
        columns(a=[1, 2], b=[3])
    with pytest.raises(SpaceError, match="one table, or given by name"):
        columns({"a": [1]}, b=[2])
    with pytest.raises(SpaceError, match="a mapping or a frame; found list"):
        columns([1, 2])
    assert isinstance(columns(a=[1]), ParameterColumns)
