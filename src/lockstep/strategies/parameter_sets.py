"""The sets of a sweep, in the forms that people write them: a grid, columns, a frame, or one dict per set."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lockstep.core.errors import SpaceError
from lockstep.core.space import ParameterColumns, Space

if TYPE_CHECKING:
    from lockstep.strategies.base import ParameterSets

LARGEST_GRID: Final = 50_000_000
_SHAPES: Final = (
    "a mapping of lists is their grid, ls.columns(name=[...], ...) or a frame is one set per row, and so is a list of "
    "dicts"
)


def columns(table: Any = None, /, **by_name: Any) -> ParameterColumns:
    """Parameter sets row by row: `ls.columns(fast=[10, 20], slow=[50, 100])` is two sets, (10, 50) and (20, 100).

    table     a mapping of equally long columns, or a pandas frame; left out, the columns are given by name

    Raises SpaceError for columns of unequal length. A plain mapping of lists, given to `ls.sweep`, is their grid.
    """
    if table is not None and by_name:
        raise SpaceError("parameter columns are one table, or given by name; found both: put them into one")
    source = by_name if table is None else table
    if not hasattr(source, "keys"):
        raise SpaceError(f"parameter columns are a mapping or a frame; found {type(source).__name__}: {_SHAPES}")
    arrays = ParameterColumns((str(name), np.asarray(source[name])) for name in source.keys())  # noqa: SIM118
    if len({array.shape for array in arrays.values()}) > 1 or any(array.ndim != 1 for array in arrays.values()):
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise SpaceError(f"parameter columns are one-dimensional and equally long; found {shapes}. Note: {_SHAPES}")
    return arrays


def sets_of(parameter_sets: Any) -> ParameterSets:
    """The sets of a sweep as columns, or as the list of dicts that they came as.

    A mapping of lists becomes its grid, the last parameter varying fastest. For one release, where the same call once
    meant its rows, a FutureWarning says how many sets it means. Raises SpaceError.
    """
    if isinstance(parameter_sets, ParameterColumns):
        return parameter_sets
    if hasattr(parameter_sets, "columns") and hasattr(parameter_sets, "to_numpy"):
        return columns(parameter_sets)
    return _grid(parameter_sets) if isinstance(parameter_sets, Mapping) else parameter_sets


def _grid(lists: Mapping[str, Any]) -> ParameterColumns:
    values = {name: _values(choices) for name, choices in lists.items()}
    sizes = [1 if not hasattr(choices, "__len__") else len(choices) for choices in values.values()]
    if not all(sizes):
        return ParameterColumns((name, np.empty(0)) for name in values)
    try:
        space = Space.parse(values)
        total = space.grid_size()
    except SpaceError as error:
        raise SpaceError(f"{error}. Note: {_SHAPES}") from error
    if total > LARGEST_GRID:
        raise SpaceError(
            f"a sweep holds its sets in memory, at most {LARGEST_GRID:,}; this grid has {total:,}. Take fewer values, "
            f"or let ls.train search at random. Note: {_SHAPES}"
        )
    if len(values) > 1 and len(set(sizes)) == 1 and sizes[0] > 1:
        factors = " x ".join(str(dimension.size) for dimension in space.values())
        warnings.warn(
            f"this mapping of lists means its grid: {total:,} sets ({factors}). Until release 0.1 it meant "
            f"{sizes[0]:,} sets, row by row; for those give ls.columns(...) of the same mapping. This warning goes "
            "with the next release",
            FutureWarning,
            stacklevel=5,
        )
    return ParameterColumns(space.grid_rows(0, total))


def _values(choices: Any) -> Any:
    """One parameter's values in the notation of a space: a list, a range, or the one value there is."""
    if isinstance(choices, np.ndarray):
        return choices.tolist() if choices.ndim else [choices.item()]
    if isinstance(choices, str | bytes) or not hasattr(choices, "__iter__"):
        return [choices.item() if isinstance(choices, np.generic) else choices]
    if isinstance(choices, list):
        return [choice.item() if isinstance(choice, np.generic) else choice for choice in choices]
    if hasattr(choices, "tolist"):
        return choices.tolist()
    return choices
