"""Prices of the market that a strategy brings along: the one future that a view cannot take away.

A table of closes beside the rule (a variable of the module or the notebook, an attribute, a file that was read at
import) knows every later bar. That it holds the market's own numbers is no fault: the rule may read them up to its bar.
So the entries of later bars are changed, in the table alone, and the decision is asked for again. One that changes has
read them.

    held_tables(strategy)          numbers in columns, wherever they can be put back
    matched(table, candles)        those columns of it that are the market's, entry by entry
    changed(tables, candles, ...)  a block in which the later entries are others
"""

from __future__ import annotations

import contextlib
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from lockstep.core.types import Float, Int
from lockstep.market.candles import Candles
from lockstep.strategies.base import Strategy
from lockstep.validation.held_values import is_users, names_in

LEAST_ENTRIES: Final = 40
"""Numbers in a column, at least, and of them equal to the market's in a row: no coincidence."""
_MOST_ENTRIES: Final = 5_000_000
_SEED_LENGTH: Final = 8
_LEAST_DISTINCT: Final = 6
"""Different values in a stretch of `_SEED_LENGTH`: a market that stands still equals many things."""
_MOST_SEEDS: Final = 200
_CLOSE: Final = 1e-6
"""Relative distance of numbers that are called equal: files hold rounded ones, and float32."""
_DEPTH: Final = 3
_MOST_VALUES: Final = 2_000

Columns = Mapping[str, Float]


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldTable:
    """Numbers that a strategy holds.

    place     where, in words
    columns   float64 (m,) each, by name; "" where there is one without a name
    put       makes the strategy hold others in their place; returns what undoes it
    """

    place: str
    columns: Columns
    put: Callable[[Columns], Callable[[], None]]


@dataclass(frozen=True, kw_only=True)
class Match:
    """A column of a table that is one of the market's.

    column   its name in the table
    market   the market's name for it: close, return of the close ...
    offset   entry i belongs to bar i + offset of the candles
    entries  int64 (k,), the entries that were seen to be equal
    """

    column: str
    market: str
    offset: int
    entries: Any


def market_columns(candles: Candles) -> dict[str, Float]:
    """The columns that a table may hold, float64 (n,) each, known at the close of their bar."""
    columns: dict[str, Float] = {name: value for name, value in candles.columns().items() if name != "timestamp"}
    close = candles.close
    with np.errstate(all="ignore"):
        ratio = np.append(np.nan, close[1:] / close[:-1])
        columns["return of the close"] = ratio - 1.0
        columns["logarithmic return of the close"] = np.log(ratio)
    return columns


def matched(table: HeldTable, candles: Candles) -> list[Match]:
    """The columns of a table that hold at least `LEAST_ENTRIES` bars of the market in a row."""
    matches = []
    market_values = market_columns(candles)
    for name, column in table.columns.items():
        order = np.argsort(column, kind="stable")
        of_column = []
        for market, values in market_values.items():
            offset = _offset(column, order, values)
            if offset is None:
                continue
            entries = np.arange(max(0, -offset), min(column.size, values.size - offset))
            equal = np.isclose(column[entries], values[entries + offset], rtol=_CLOSE, atol=1e-12)
            of_column.append(Match(column=name, market=market, offset=offset, entries=entries[equal]))
        # An entry that is two things of the market, the close of a bar and the next open, is known with the first.
        earlier = np.empty(0, dtype=np.int64)
        for match in sorted(of_column, key=lambda match: match.offset):
            entries = np.setdiff1d(match.entries, earlier)
            if entries.size >= LEAST_ENTRIES:
                matches.append(replace(match, entries=entries))
                earlier = np.union1d(earlier, entries)
    return matches


def _offset(column: Float, order: Int, values: Float) -> int | None:
    """Where a stretch of `values` stands in `column`, as bar minus entry; None where none does."""
    if column.size < LEAST_ENTRIES or values.size < LEAST_ENTRIES:
        return None
    ordered = column[order]
    starts = np.linspace(0, values.size - _SEED_LENGTH, min(_MOST_SEEDS, values.size - _SEED_LENGTH + 1))
    for start in dict.fromkeys(starts.astype(np.int64).tolist()):
        seed = values[start : start + _SEED_LENGTH]
        if not np.all(np.isfinite(seed)) or np.unique(seed).size < _LEAST_DISTINCT:
            continue
        slack = _CLOSE * abs(float(seed[0])) + 1e-12
        if np.ptp(np.diff(seed)) <= 4 * slack:  # even steps, as in a table of levels
            continue
        low, high = np.searchsorted(ordered, [seed[0] - slack, seed[0] + slack])
        places = order[low:high]
        places = places[places <= column.size - _SEED_LENGTH][:_MOST_VALUES]
        if places.size:
            stretches = column[places[:, None] + np.arange(_SEED_LENGTH)]
            equal = np.isclose(stretches, seed, rtol=_CLOSE, atol=1e-12).all(axis=1)
            if equal.any():
                return int(start - places[int(np.argmax(equal))])
    return None


@contextmanager
def changed(tables: Sequence[tuple[HeldTable, Sequence[Match]]], other: Candles, point: int) -> Iterator[None]:
    """In the block, entries of bars after `point` are those of the candles `other`, of the same times."""
    columns = market_columns(other)
    with contextlib.ExitStack() as stack:
        for table, matches in tables:
            fresh = {name: values.copy() for name, values in table.columns.items()}
            for match in matches:
                # Entries beyond the candles are later still; they belong to no bar that is asked about.
                bars = np.arange(fresh[match.column].size) + match.offset
                later = np.zeros(bars.size, dtype=np.bool_)
                later[match.entries] = True
                later &= bars > point
                fresh[match.column][later] = columns[match.market][bars[later]]
            # A class may refuse to be written to; then its table stays as it is.
            with contextlib.suppress(Exception):
                stack.callback(table.put(fresh))
        yield


def held_tables(strategy: Strategy) -> list[HeldTable]:
    """Columns of numbers on the instance, its classes, in their module, and in variables around its methods."""
    finder = _Finder()
    for name, value in list(vars(strategy).items()):
        finder.visit(f"self.{name}", value, _attribute(strategy, name))
    for kind in type(strategy).__mro__:
        if is_users(kind.__module__):
            finder.follow_class(kind)
    return finder.tables


class _Finder:
    def __init__(self) -> None:
        self.tables: list[HeldTable] = []
        self._seen: set[Any] = set()
        self._visited = 0

    def follow_class(self, kind: type) -> None:
        if kind in self._seen:
            return
        self._seen.add(kind)
        for name, value in list(vars(kind).items()):
            if not name.startswith("__") or isinstance(value, types.FunctionType):
                self.visit(f"{kind.__qualname__}.{name}", value, _attribute(kind, name))
        module = sys.modules.get(kind.__module__)
        if hasattr(module, "__lockstep_source__"):
            for name, value in list(vars(module).items()):
                if not name.startswith("__"):
                    self._variable(vars(module), name, value)

    def _follow_function(self, function: types.FunctionType) -> None:
        if function in self._seen or not is_users(function.__module__):
            return
        self._seen.add(function)
        for variable, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            with contextlib.suppress(ValueError):  # nothing was assigned yet
                place = f"the variable {variable} around {function.__qualname__}"
                self.visit(place, cell.cell_contents, _attribute(cell, "cell_contents"))
        if function.__defaults__:
            place = f"the defaults of {function.__qualname__}"
            self.visit(place, function.__defaults__, _attribute(function, "__defaults__"))
        for name, value in list((function.__kwdefaults__ or {}).items()):
            place = f"the default of {name} in {function.__qualname__}"
            self.visit(place, value, _item(function.__kwdefaults__, name))
        for name in sorted(names_in(function.__code__) & function.__globals__.keys()):
            self._variable(function.__globals__, name, function.__globals__[name])

    def _variable(self, variables: dict[str, Any], name: str, value: Any) -> None:
        key = id(variables), name
        if key not in self._seen:
            self._seen.add(key)
            self.visit(name, value, _item(variables, name))

    def visit(self, place: str, value: Any, put: Callable[[Any], Callable[[], None]], depth: int = 0) -> None:
        """Enter the tables in `value`; `put` makes its owner hold another value, and returns what undoes it."""
        self._visited += 1
        if depth > _DEPTH or self._visited > _MOST_VALUES:
            return
        if isinstance(value, types.FunctionType):
            self._follow_function(value)
        elif isinstance(value, types.ModuleType):
            if is_users(value.__name__):
                for name, item in list(vars(value).items()):
                    if not name.startswith("__"):
                        self._variable(vars(value), name, item)
        elif isinstance(value, staticmethod | classmethod):
            self.visit(place, value.__func__, put, depth)
        elif isinstance(value, type):
            if is_users(value.__module__):
                self.follow_class(value)
        elif (columns := _columns_of(value)) is not None:
            chosen = {name: column for name, column in columns.items() if LEAST_ENTRIES <= column.size <= _MOST_ENTRIES}
            if chosen:

                def put_columns(fresh: Columns) -> Callable[[], None]:
                    return put(_with_columns(value, fresh))

                self.tables.append(HeldTable(place=place, columns=chosen, put=put_columns))
        elif isinstance(value, dict):
            for key, item in list(value.items()):
                self.visit(f"{place}[{key!r}]", item, _item(value, key), depth + 1)
        elif isinstance(value, list):
            for number, item in enumerate(value):
                self.visit(f"{place}[{number}]", item, _item(value, number), depth + 1)
        elif isinstance(value, tuple):
            for number, item in enumerate(value):
                self.visit(f"{place}[{number}]", item, _place(value, number, put), depth + 1)
        elif is_users(type(value).__module__) and isinstance(getattr(value, "__dict__", None), dict):
            for name, item in list(vars(value).items()):
                self.visit(f"{place}.{name}", item, _attribute(value, name), depth + 1)


def _columns_of(value: Any) -> dict[str, Float] | None:
    """The numbers of an array, frame, list or mapping by column; None for what holds no columns of numbers."""
    if isinstance(value, Candles):
        return {name: column for name, column in value.columns().items() if name != "timestamp"}
    if isinstance(value, np.ndarray):
        if value.dtype.names is not None and value.ndim == 1:
            return {name: value[name] for name in value.dtype.names if value.dtype[name].kind == "f"} or None
        if value.dtype.kind != "f" or value.ndim not in (1, 2):
            return None
        return {"": value} if value.ndim == 1 else {str(i): value[:, i] for i in range(value.shape[1])}
    if type(value).__module__.partition(".")[0] == "pandas":
        if hasattr(value, "columns"):
            names = [name for name in value.columns if getattr(value[name], "dtype", None) in ("float64", "float32")]
            return {str(name): np.asarray(value[name], dtype=np.float64) for name in names}
        return {"": np.asarray(value)} if getattr(value, "dtype", None) in ("float64", "float32") else None
    if isinstance(value, list | tuple) and len(value) >= LEAST_ENTRIES:
        return _of_numbers(list(value))
    if isinstance(value, dict) and len(value) >= LEAST_ENTRIES:
        return _of_numbers(list(value.values()))
    return None


def _of_numbers(values: list[Any]) -> dict[str, Float] | None:
    if not isinstance(values[0], float | int | tuple | list):
        return None
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    if array.ndim == 1:
        return {"": array}
    return {str(i): array[:, i] for i in range(array.shape[1])} if array.ndim == 2 and array.shape[1] <= 64 else None


def _with_columns(value: Any, columns: Columns) -> Any:
    """A copy of `value` with other numbers in some columns."""
    if isinstance(value, Candles):
        return value.with_values(columns)
    if isinstance(value, np.ndarray):
        array = value.copy()
        for name, column in columns.items():
            if value.dtype.names is not None:
                array[name] = column
            else:
                array[... if name == "" else (slice(None), int(name))] = column
        return array
    if isinstance(value, list | tuple | dict):
        rows: list[Any] = list(value.values()) if isinstance(value, dict) else list(value)
        if "" in columns:
            rows = columns[""].tolist()
        else:
            kind = type(rows[0])
            table = np.asarray(rows, dtype=np.float64)
            for name, column in columns.items():
                table[:, int(name)] = column
            rows = [kind(row) for row in table.tolist()]
        return dict(zip(value, rows, strict=True)) if isinstance(value, dict) else type(value)(rows)
    copy = value.copy()
    if not hasattr(value, "columns"):
        copy.iloc[:] = columns[""]
        return copy
    for name in value.columns:
        if str(name) in columns:
            copy[name] = columns[str(name)].astype(copy[name].dtype)
    return copy


def _attribute(owner: Any, name: str) -> Callable[[Any], Callable[[], None]]:
    def put(value: Any) -> Callable[[], None]:
        before = getattr(owner, name)
        _write(owner, name, value)
        return lambda: _write(owner, name, before)

    return put


def _write(owner: Any, name: str, value: Any) -> None:
    """Set an attribute, also of a frozen dataclass, which refuses the usual way."""
    try:
        setattr(owner, name, value)
    except AttributeError:
        if isinstance(owner, type):
            raise
        object.__setattr__(owner, name, value)


def _place(values: tuple[Any, ...], number: int, put: Callable[[Any], Callable[[], None]]) -> Callable[..., Any]:
    """Puts another value into a tuple, that is another tuple into the place of it."""

    def put_item(value: Any) -> Callable[[], None]:
        items = [*values[:number], value, *values[number + 1 :]]
        return put(type(values)(*items) if hasattr(values, "_fields") else tuple(items))

    return put_item


def _item(owner: Any, key: Any) -> Callable[[Any], Callable[[], None]]:
    def put(value: Any) -> Callable[[], None]:
        before = owner[key]
        owner[key] = value
        return lambda: owner.__setitem__(key, before)

    return put
