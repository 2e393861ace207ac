"""Trials as columns: numbers as they are stored, words as people read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from lockstep.core.space import Choice, Columns, Space
from lockstep.search.objective import Cause

if TYPE_CHECKING:
    from numpy.typing import NDArray


def coded(space: Space, columns: Columns) -> Columns:
    """`columns` with text choices as their index in the list of choices: segments hold numbers only."""
    result = {}
    for name, column in columns.items():
        dimension = space[name]
        if isinstance(dimension, Choice) and column.dtype == object:
            places = {value: i for i, value in enumerate(dimension.values)}
            result[name] = np.array([places[value] for value in column], dtype=np.int64)
        else:
            result[name] = column
    return result


def decoded(space: Space, columns: Mapping[str, NDArray[Any]]) -> Columns:
    """Parameters of rows of `trials` as values, from columns `parameter.NAME`; the inverse of `coded`."""
    result = {}
    for name, dimension in space.items():
        column = columns[f"parameter.{name}"]
        if isinstance(dimension, Choice) and isinstance(dimension.values[0], str):
            result[name] = dimension.at(column)
        else:
            result[name] = column
    return result


def in_words(space: Space, columns: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Columns of `trials` with text choices as text, and `cause` as its label: "valid", "too_few_trades" ...

    Columns of other kinds of search, which this space does not name, stay as they are.
    """
    words = dict(columns)
    if all(f"parameter.{name}" in columns for name in space):
        words |= {f"parameter.{name}": column for name, column in decoded(space, columns).items()}
    if "cause" in columns:
        labels = np.empty(len(columns["cause"]), dtype=object)
        labels[:] = [Cause(int(code)).label for code in columns["cause"]]
        words["cause"] = labels
    return words
