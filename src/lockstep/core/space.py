"""Parameter spaces: which values each parameter of a search may take.

Notation of one parameter (R4.5), in Python:

    [1, 2, 3]  or  ["a", "b"]          a list names choices
    (10, 50)                           two whole numbers: every integer from 10 to 50, both included
    (0.0005, 0.005)                    two floats: uniform from low to high
    range(10, 60, 10)                  the integers of the range (Python's end stays excluded)
    {"low": .., "high": .., "step": .., "log": ..}     any range, with a step or on a logarithmic scale

TOML and YAML have no tuples, so there a list *always* names choices, two numbers included, and a range is
written `pierce_depth = { low = 0.0005, high = 0.005 }`. Whole numbers without a point make an integer range,
`low = 1.0` makes a continuous one.

A space turns positions in the unit cube into values (`decode`), counts and lists its grid (`grid_size`,
`grid_rows`) and writes itself back (`to_spec`), such that `Space.parse(space.to_spec()) == space`.

Notation: u in [0, 1) a position, d the number of parameters, n of sets, k of values of one parameter.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from lockstep.core.errors import SpaceError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Scalar: TypeAlias = bool | int | float | str
Columns: TypeAlias = dict[str, "NDArray[Any]"]


class ParameterColumns(dict[str, Any]):
    """Parameter sets as equally long columns: row i of all columns is set i.

    A type of its own, because a plain mapping of lists means their grid (`ls.sweep`).
    """


# Whole numbers beyond 2^53 have no exact float, and a grid beyond ten million steps was never meant.
LARGEST_INTEGER: Final = 2**53
MOST_STEPS: Final = 10_000_000
_KEYS: Final = ("low", "high", "step", "log")
_FORMS: Final = (
    "write a range as { low = 1, high = 5 } (in Python also (1, 5)), choices as a list [1, 2, 5]; "
    "a list always names choices, also with two numbers"
)


@dataclass(frozen=True)
class Choice:
    """One of the given values, each equally likely. Column: int64, float64, bool, or object for text."""

    values: tuple[Scalar, ...]

    def __post_init__(self) -> None:
        values = tuple(_plain(value) for value in self.values)
        if not values:
            raise SpaceError(f"a list of choices names at least one value; found an empty one: {_FORMS}")
        kinds = {bool if isinstance(v, bool) else str if isinstance(v, str) else float for v in values}
        if not all(isinstance(v, bool | int | float | str) for v in values) or len(kinds) > 1:
            raise SpaceError(
                f"choices are all numbers, all texts or all true/false; found {list(values)!r}: separate them"
            )
        if kinds == {float} and any(isinstance(v, float) for v in values):
            values = tuple(float(v) for v in values)
        for value in values:
            _check_number(value, "a choice")
        if len(set(values)) < len(values):
            twice = next(value for i, value in enumerate(values) if value in values[:i])
            raise SpaceError(f"a list names each choice once; found {twice!r} twice: remove one")
        object.__setattr__(self, "values", values)

    @property
    def size(self) -> int:
        """How many values there are."""
        return len(self.values)

    @cached_property
    def _table(self) -> NDArray[Any]:
        first = self.values[0]
        kind = np.bool_ if isinstance(first, bool) else np.int64 if isinstance(first, int) else np.float64
        return np.array(self.values, dtype=object if isinstance(first, str) else kind)

    def decode(self, unit: NDArray[np.float64]) -> NDArray[Any]:
        """Values (n,) at positions `unit` (n,) in [0, 1)."""
        return self._table[_cells(unit, self.size)]

    def at(self, index: NDArray[np.int64]) -> NDArray[Any]:
        """Values (n,) number `index` (n,) of the grid."""
        return self._table[index]

    def check(self, value: Any) -> Scalar:
        """`value` as one of the choices. Raises SpaceError."""
        plain = _plain(value)
        for choice in self.values:
            # In Python True == 1, in a spec they are different values.
            if choice == plain and isinstance(choice, bool) == isinstance(plain, bool):
                return choice
        raise SpaceError(f"the value is one of {list(self.values)!r}; found {value!r}")

    def to_spec(self) -> Any:
        """The list of the values, as a spec file writes choices."""
        return list(self.values)


@dataclass(frozen=True)
class IntRange:
    """Whole numbers low, low + step, ... high, both ends included. Column: int64.

    On a logarithmic scale (`low` >= 1, step 1) each integer v has the weight of [v - 1/2, v + 1/2].
    """

    low: int
    high: int
    step: int = field(default=1, kw_only=True)
    log: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        for name in ("low", "high", "step"):
            value = _plain(getattr(self, name))
            if isinstance(value, bool) or not isinstance(value, int) or abs(value) > LARGEST_INTEGER:
                raise SpaceError(f"{name} of an integer range is a whole number up to 2^53; found {value!r}: {_FORMS}")
            object.__setattr__(self, name, value)
        _check_order(self.low, self.high)
        if self.step < 1:
            raise SpaceError(f"the step of an integer range is at least 1; found {self.step}")
        rest = (self.high - self.low) % self.step
        if rest:
            raise SpaceError(
                f"a whole number of steps leads from low to high; found {self.low} to {self.high} in steps of "
                f"{self.step}: write high = {self.high - rest} or {self.high - rest + self.step}"
            )
        if self.log and (self.low < 1 or self.step != 1):
            raise SpaceError(
                f"a logarithmic integer range starts at 1 or above and has no step; found low {self.low}, "
                f"step {self.step}"
            )

    @property
    def size(self) -> int:
        """How many values there are."""
        return (self.high - self.low) // self.step + 1

    def decode(self, unit: NDArray[np.float64]) -> NDArray[Any]:
        """Values (n,) at positions `unit` (n,) in [0, 1)."""
        if not self.log:
            return self.at(_cells(unit, self.size))
        # Each integer has a cell of width 1; a position rounded to the very end would fall into the next one.
        values = np.floor(_log_positions(unit, self.low - 0.5, self.high + 0.5) + 0.5)
        return np.clip(values, self.low, self.high).astype(np.int64)

    def at(self, index: NDArray[np.int64]) -> NDArray[Any]:
        """Values (n,) number `index` (n,) of the grid."""
        return self.low + index * np.int64(self.step)

    def check(self, value: Any) -> Scalar:
        """`value` as an integer of this range. Raises SpaceError."""
        plain = _plain(value)
        if isinstance(plain, float) and plain.is_integer():
            plain = int(plain)
        if isinstance(plain, bool) or not isinstance(plain, int):
            raise SpaceError(f"the value is a whole number; found {value!r}")
        if not self.low <= plain <= self.high or (plain - self.low) % self.step:
            steps = f" in steps of {self.step}" if self.step != 1 else ""
            raise SpaceError(f"the value lies in {self.low} to {self.high}{steps}, ends included; found {value!r}")
        return plain

    def to_spec(self) -> Any:
        """The table {low, high, step, log}, defaults left out, as a spec file writes a range."""
        spec: dict[str, Any] = {"low": self.low, "high": self.high}
        return spec | ({"step": self.step} if self.step != 1 else {}) | ({"log": True} if self.log else {})


@dataclass(frozen=True)
class FloatRange:
    """Real numbers from `low` to `high`: uniform, on a logarithmic scale, or in steps. Column: float64.

    With a `step` the values are low, low + step, ... high in decimal arithmetic: 0.1 to 0.5 in steps of 0.1
    holds 0.3, not 0.30000000000000004.
    """

    low: float
    high: float
    step: float | None = field(default=None, kw_only=True)
    log: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        for name in ("low", "high", "step"):
            value = _plain(getattr(self, name))
            if value is None and name == "step":
                continue
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise SpaceError(f"{name} of a range is a number; found {value!r}: {_FORMS}")
            _check_number(value, name)
            object.__setattr__(self, name, float(value))
        _check_order(self.low, self.high)
        if not math.isfinite(self.high - self.low):
            raise SpaceError(f"the width of a range is finite; found {self.low!r} to {self.high!r}")
        if self.log and (self.low <= 0.0 or self.step is not None):
            raise SpaceError(
                f"a logarithmic range starts above 0 and has no step; found low {self.low!r}, step {self.step!r}"
            )
        if self.step is not None:
            self._check_step(self.step)

    def _check_step(self, step: float) -> None:
        if step <= 0.0:
            raise SpaceError(f"the step of a range is above 0; found {step!r}")
        # In decimals of what was written: in binary, 0.1 to 0.5 by 0.1 would not be a whole number of steps.
        ratio = (Decimal(repr(self.high)) - Decimal(repr(self.low))) / Decimal(repr(step))
        count = round(ratio)
        if count > MOST_STEPS:
            raise SpaceError(f"a range has at most {MOST_STEPS:,} steps; found {count:,}: take a larger step")
        if count < 1 or abs(ratio - count) > Decimal("1e-9"):
            last = Decimal(repr(self.low)) + int(ratio) * Decimal(repr(step))
            raise SpaceError(
                f"a whole number of steps leads from low to high; found {self.low!r} to {self.high!r} in steps of "
                f"{step!r}: write high = {float(last)!r} or {float(last + Decimal(repr(step)))!r}"
            )

    @property
    def size(self) -> int | None:
        """How many values there are; None when continuous."""
        return None if self.step is None else len(self._table)

    @cached_property
    def _table(self) -> NDArray[np.float64]:
        low, step = Decimal(repr(self.low)), Decimal(repr(self.step))
        count = round((Decimal(repr(self.high)) - low) / step)
        values = np.fromiter((float(low + i * step) for i in range(count + 1)), np.float64, count + 1)
        values[-1] = self.high  # the check allows 1e-9 of a step
        return values

    def decode(self, unit: NDArray[np.float64]) -> NDArray[Any]:
        """Values (n,) at positions `unit` (n,) in [0, 1)."""
        if self.step is not None:
            return self._table[_cells(unit, len(self._table))]
        if self.log:
            return _log_positions(unit, self.low, self.high)
        # Never above high: u is at most 1 - 2^-53, so that u times the rounded width is below the true width (or the
        # width is subnormal, and then exact), and rounding keeps the order of the sum and high.
        return self.low + unit * (self.high - self.low)

    def at(self, index: NDArray[np.int64]) -> NDArray[Any]:
        """Values (n,) number `index` (n,) of the grid; a continuous range has none."""
        if self.step is None:
            raise SpaceError("a continuous range has no grid: give it a step")
        return self._table[index]

    def check(self, value: Any) -> Scalar:
        """`value` as a number of this range. Raises SpaceError."""
        plain = _plain(value)
        if isinstance(plain, bool) or not isinstance(plain, int | float):
            raise SpaceError(f"the value is a number; found {value!r}")
        number = float(plain)
        if not self.low <= number <= self.high:
            raise SpaceError(f"the value lies in {self.low!r} to {self.high!r}, ends included; found {value!r}")
        if self.step is not None:
            nearest = float(self._table[np.abs(self._table - number).argmin()])
            if abs(nearest - number) > 1e-9 * self.step:
                raise SpaceError(
                    f"the value lies on steps of {self.step!r} from {self.low!r}; found {value!r}: "
                    f"the nearest is {nearest!r}"
                )
            return nearest
        return number

    def to_spec(self) -> Any:
        """The table {low, high, step, log}, defaults left out, as a spec file writes a range."""
        spec: dict[str, Any] = {"low": self.low, "high": self.high}
        return spec | ({"step": self.step} if self.step is not None else {}) | ({"log": True} if self.log else {})


Dimension: TypeAlias = Choice | IntRange | FloatRange


class Space(Mapping[str, Dimension]):
    """An ordered, immutable mapping from parameter name to its dimension.

    `Space({})` is the space of a strategy without parameters; `parse` refuses an empty notation, because a
    search needs something to vary.
    """

    __slots__ = ("_dimensions",)

    def __init__(self, dimensions: Mapping[str, Dimension]) -> None:
        for name, dimension in dimensions.items():
            _check_name(name)
            if not isinstance(dimension, Choice | IntRange | FloatRange):
                raise SpaceError(
                    f"parameter {name!r}: a dimension is a Choice, IntRange or FloatRange; found {dimension!r}: "
                    "use Space.parse for the short notation"
                )
        self._dimensions: dict[str, Dimension] = dict(dimensions)

    @classmethod
    def parse(cls, notation: Mapping[str, Any]) -> Space:
        """The space that `notation` describes (see the module). Raises SpaceError naming the parameter."""
        if not isinstance(notation, Mapping):
            raise SpaceError(f"a parameter space maps names to ranges or choices; found {notation!r:.80}: {_FORMS}")
        if not notation:
            raise SpaceError(f"a parameter space names at least one parameter; found none: {_FORMS}")
        dimensions = {}
        for name, spec in notation.items():
            _check_name(name)
            try:
                dimensions[name] = _parse_dimension(spec)
            except SpaceError as error:
                raise SpaceError(f"parameter {name!r}: {error}") from error
        return cls(dimensions)

    @property
    def names(self) -> tuple[str, ...]:
        """Parameter names in their order."""
        return tuple(self._dimensions)

    def __getitem__(self, name: str) -> Dimension:
        return self._dimensions[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._dimensions)

    def __len__(self) -> int:
        return len(self._dimensions)

    def __eq__(self, other: object) -> bool:
        # Order matters: it decides which column of a sampled row a parameter receives.
        if not isinstance(other, Space):
            return NotImplemented
        return list(self._dimensions.items()) == list(other._dimensions.items())

    def __hash__(self) -> int:
        return hash(tuple(self._dimensions.items()))

    def __repr__(self) -> str:
        return f"Space({self._dimensions!r})"

    def decode(self, unit: NDArray[np.float64]) -> Columns:
        """One column of values (n,) per parameter from positions `unit` (n, d) in [0, 1)."""
        unit = np.asarray(unit, dtype=np.float64)
        if unit.ndim != 2 or unit.shape[1] != len(self):
            raise SpaceError(f"positions have the shape (n, {len(self)}); found {unit.shape}")
        if unit.size and not (float(unit.min()) >= 0.0 and float(unit.max()) < 1.0):
            raise SpaceError(f"positions lie in [0, 1); found {float(unit.min())!r} to {float(unit.max())!r}")
        return ParameterColumns(
            (name, dimension.decode(np.ascontiguousarray(unit[:, i])))
            for i, (name, dimension) in enumerate(self._dimensions.items())
        )

    def grid_size(self) -> int:
        """How many combinations the grid has. Raises SpaceError naming a parameter that needs a step."""
        total = 1
        for name, dimension in self._dimensions.items():
            if dimension.size is None:
                raise SpaceError(
                    f"parameter {name!r}: a grid needs finitely many values; found the continuous range "
                    f"{dimension.to_spec()!r}: add a step ({{ low = 0.1, high = 0.5, step = 0.1 }}) or list choices"
                )
            total *= dimension.size
        return total

    def grid_rows(self, start: int, stop: int) -> Columns:
        """Combinations number `start` to `stop` - 1 of the grid, the last parameter varying fastest.

        Builds these rows only: a grid may have more combinations than memory holds.
        """
        size = self.grid_size()
        if not 0 <= start <= stop <= size:
            raise SpaceError(f"grid rows lie in 0 to {size}; found {start} to {stop}")
        if size > 2**62:
            raise SpaceError(f"a grid has at most 2^62 combinations; found {size}: widen the steps")
        # A row number is a number of mixed base: the last parameter is its lowest digit.
        rest = np.arange(start, stop, dtype=np.int64)
        columns: Columns = {}
        for name, dimension in reversed(self._dimensions.items()):
            rest, index = np.divmod(rest, np.int64(dimension.size or 1))
            columns[name] = dimension.at(index)
        return ParameterColumns((name, columns[name]) for name in self._dimensions)

    def validate(self, parameters: Mapping[str, Any]) -> dict[str, Scalar]:
        """`parameters` in the order of this space, each checked and as a plain Python value. Raises SpaceError."""
        unknown = [name for name in parameters if name not in self._dimensions]
        if unknown:
            raise SpaceError(f"parameter {unknown[0]!r}: not in this space, which names {', '.join(self.names)}")
        checked = {}
        for name, dimension in self._dimensions.items():
            if name not in parameters:
                raise SpaceError(f"parameter {name!r}: a value is missing; the space allows {dimension.to_spec()!r}")
            try:
                checked[name] = dimension.check(parameters[name])
            except SpaceError as error:
                raise SpaceError(f"parameter {name!r}: {error}") from error
        return checked

    def to_spec(self) -> dict[str, Any]:
        """Notation made of dicts, lists, numbers and text only, which `parse` reads back as an equal space."""
        return {name: dimension.to_spec() for name, dimension in self._dimensions.items()}


def row(columns: Mapping[str, NDArray[Any]], index: int) -> dict[str, Scalar]:
    """Set number `index` of `columns` as plain Python values."""
    return {name: _plain(column[index]) for name, column in columns.items()}


def _parse_dimension(spec: Any) -> Dimension:
    if isinstance(spec, Choice | IntRange | FloatRange):
        return spec
    if isinstance(spec, list):
        return Choice(tuple(spec))
    if isinstance(spec, range):
        if len(spec) == 0:
            raise SpaceError(f"a range holds at least one number; found the empty {spec!r}")
        ends = sorted((spec[0], spec[-1]))
        return Choice((ends[0],)) if len(spec) == 1 else IntRange(ends[0], ends[1], step=abs(spec.step))
    if isinstance(spec, tuple):
        if len(spec) != 2 or any(isinstance(v, bool) or not isinstance(_plain(v), int | float) for v in spec):
            raise SpaceError(f"a tuple is a range of two numbers (low, high); found {spec!r}: {_FORMS}")
        return _range({"low": spec[0], "high": spec[1]})
    if isinstance(spec, Mapping):
        unknown = [key for key in spec if key not in _KEYS]
        if unknown or "low" not in spec or "high" not in spec:
            raise SpaceError(f"a range has the keys low, high and perhaps step, log; found {dict(spec)!r}: {_FORMS}")
        return _range(spec)
    raise SpaceError(
        f"unsupported notation of type {type(spec).__name__}; found {spec!r:.80}: {_FORMS}. A fixed value belongs "
        "to the strategy's parameters, or is a list of one choice"
    )


def _range(spec: Mapping[str, Any]) -> IntRange | FloatRange:
    log = spec.get("log", False)
    if not isinstance(log, bool):
        raise SpaceError(f"log is true or false; found {log!r}")
    low, high, step = (_plain(spec.get(key)) for key in ("low", "high", "step"))
    if all(isinstance(v, int) and not isinstance(v, bool) for v in (low, high, 1 if step is None else step)):
        return IntRange(low, high, step=1 if step is None else step, log=log)
    return FloatRange(low, high, step=step, log=log)


def _plain(value: Any) -> Any:
    """`value` as a Python number or text: NumPy's scalars compare alike but do not serialise."""
    return value.item() if isinstance(value, np.generic) else value


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or not name.isidentifier():
        raise SpaceError(f"a parameter name is made of letters, digits and underscores; found {name!r}")


def _check_number(value: Any, what: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise SpaceError(f"{what} is a finite number; found {value!r}")
    if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
        raise SpaceError(f"{what} is at most 2^53 in size; found {value!r}")


def _check_order(low: float, high: float) -> None:
    if not low < high:
        raise SpaceError(f"low lies below high; found low {low!r} and high {high!r}: swap or widen them")


def _cells(unit: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Which of `count` equal cells of [0, 1) each position falls into."""
    # Below count without a clip: u is at most 1 - 2^-53, and (1 - 2^-53) c rounds to the double before c, or below it.
    return (unit * count).astype(np.int64)


def _log_positions(unit: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    # Imported here: numba costs half a second, and most spaces have no logarithmic dimension.
    from lockstep.core.scalar_math import log_interpolate

    return np.asarray(log_interpolate(np.ascontiguousarray(unit), float(low), float(high)))
