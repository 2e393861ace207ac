"""What a strategy is: parameters, the series it reads, and signals. Nothing else.

    class Crossing(ls.Strategy):
        parameters = {"fast": (5, 30), "slow": (40, 200)}
        defaults = {"fast": 10, "slow": 50}

        def warmup(self, params):
            return params["slow"]

        def signals(self, view, params):
            ...
            return ls.Signals(side=side, stop=stop, target=target)

A strategy holds no state: one instance serves every parameter set, every window and every worker. It never sees
money, fills or costs; the engine turns its signals into trades. A signal at bar t may use rows 0..t only, which
`validation.causality` checks before every training.
"""

from __future__ import annotations

import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, cast

import numpy as np

from lockstep.core.errors import SpaceError, StrategyError
from lockstep.core.near_names import did_you_mean
from lockstep.core.space import Choice, Columns, FloatRange, IntRange, ParameterColumns, Space, row
from lockstep.runs.user_modules import USER_FAILURES, path_of_frame

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.engine.signals import Signals
    from lockstep.market.candles import Candles
    from lockstep.strategies.inputs import Input
    from lockstep.strategies.view import MarketView

Params: TypeAlias = Mapping[str, Any]
ParameterSets: TypeAlias = "Mapping[str, Any] | Sequence[Params]"


class HasRemarks(ABC):
    """Beside `Strategy`: one that has something to say of a result, such as that it learned from the same bars."""

    @abstractmethod
    def remarks(self, candles: Candles) -> tuple[str, ...]:
        """What a reader of a backtest over `candles` should know beside its numbers, a sentence each."""


class Strategy:
    """Base of every strategy; subclass it and write `signals`.

    name         shown in reports; the class name where left out
    parameters   the search space, in the notation of `Space.parse` or as a `Space`
    defaults     values used for parameters that are not given; may also name settings that are not searched
    inputs       further series by name (`inputs.HigherTimeframe`, `OwnCandles`, `EventSeries`), found as `view[name]`
    constraints  text -> function of the parameters; a set for which one is false is not evaluated
    """

    name: ClassVar[str] = ""
    parameters: ClassVar[Space | Mapping[str, Any]] = Space({})
    defaults: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    inputs: ClassVar[Mapping[str, Input]] = MappingProxyType({})
    constraints: ClassVar[Mapping[str, Callable[[Params], bool]]] = MappingProxyType({})

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in cls.__dict__:
            cls.name = cls.__name__
        notation = cls.__dict__.get("parameters")
        if notation is not None and not isinstance(notation, Space):
            # `parse` refuses an empty notation; a strategy without parameters is allowed.
            cls.parameters = Space.parse(notation) if notation else Space({})

    def signals(self, view: MarketView, params: Params) -> Signals:
        """Signals of every bar of `view` (n bars); those of bar t from rows 0..t only. Must be overridden."""
        raise NotImplementedError(
            f"{type(self).__name__} has no signals(view, params): write one that returns ls.Signals"
        )

    def warmup(self, params: Params) -> int:
        """Bars at the start of a series on which no signal may stand, for these parameters."""
        return 0

    # ------------------------------------------------------------------ what follows is not meant to be overridden

    @property
    def space(self) -> Space:
        """The search space: an ordered mapping name -> dimension, empty when the strategy has no parameters."""
        return cast("Space", self.parameters)

    def parameter_names(self) -> tuple[str, ...]:
        """Every name `params` may hold: the space's, then settings that have only a default."""
        return tuple(dict.fromkeys((*self.space, *self.defaults)))

    def resolve(self, params: Params) -> dict[str, Any]:
        """`params` with defaults filled in, in the order of the space, as plain Python values.

        Values outside the search space are allowed (a default may lie outside the range that is searched); values of
        another kind are not. Raises SpaceError naming the parameter.
        """
        names = self.parameter_names()
        for name in params:
            if name not in names:
                listing = ", ".join(names) or "none"
                raise SpaceError(f"{self.name} has no parameter {name!r}.{did_you_mean(name, names)} It has {listing}")
        resolved = {}
        for name in names:
            if name in params:
                resolved[name] = _plain(name, params[name], self.space.get(name), self.defaults.get(name))
            elif name in self.defaults:
                resolved[name] = _plain(name, self.defaults[name], self.space.get(name), None)
            else:
                raise SpaceError(f"{self.name} needs a value for {name!r}: it has no default; give {name}=...")
        return resolved

    def columns(self, parameter_sets: ParameterSets) -> Columns:
        """Parameter sets as columns, one row per set, every parameter present: float64, int64 or object (text).

        `parameter_sets` is a mapping of equally long columns or a sequence of mappings.
        """
        if isinstance(parameter_sets, Mapping):
            return self._columns_from_mapping(parameter_sets)
        rows = [self.resolve(params) for params in parameter_sets]
        return ParameterColumns((name, _column([row[name] for row in rows])) for name in self.parameter_names())

    def _columns_from_mapping(self, mapping: Mapping[str, Any]) -> Columns:
        arrays = {name: np.asarray(values) for name, values in mapping.items()}
        sizes = {array.shape for array in arrays.values()}
        if len(sizes) != 1 or len(next(iter(sizes))) != 1:
            shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items()) or "no column"
            raise SpaceError(f"parameter columns are one-dimensional and equally long; found {shapes}")
        count = next(iter(arrays.values())).size
        if count == 0:
            return ParameterColumns((name, np.empty(0)) for name in self.parameter_names())
        # One resolved row checks the names and says of which kind each column is; the rest is checked as arrays, since
        # a grid of a million sets must not become a million dicts.
        first = self.resolve({name: array[0] for name, array in arrays.items()})
        columns = ParameterColumns()
        for name, value in first.items():
            if name not in arrays:
                columns[name] = _column([value] * count)
            elif isinstance(value, int | float) and not isinstance(value, bool) and arrays[name].dtype.kind in "iuf":
                columns[name] = _numeric_column(name, arrays[name], type(value))
            else:
                dimension, default = self.space.get(name), self.defaults.get(name)
                columns[name] = _column([_plain(name, item, dimension, default) for item in arrays[name]])
        return columns

    def broken_constraint(self, params: Params) -> str | None:
        """The text of the first constraint that `params` breaks, or None."""
        for text, holds in self.constraints.items():
            try:
                answer = bool(holds(params))
            except USER_FAILURES as error:
                raise strategy_failure(self, params, error, where=f"constraint {text!r}") from error
            if not answer:
                return text
        return None

    def admissible(self, columns: Columns) -> NDArray[np.bool_]:
        """bool (k,): which of the k sets in `columns` keep every constraint."""
        count = len(next(iter(columns.values()))) if columns else 0
        mask = np.ones(count, dtype=np.bool_)
        for text, holds in self.constraints.items():
            mask &= self._holds(text, holds, columns, count)
        return mask

    def _holds(self, text: str, holds: Callable[[Params], bool], columns: Columns, count: int) -> NDArray[np.bool_]:
        # Most constraints are comparisons, which NumPy answers for all sets at once; others are asked set by set.
        try:
            answer: Any = holds(columns)
        except Exception:  # noqa: BLE001 - written for single values; a real failure shows again below
            answer = None
        if isinstance(answer, np.ndarray) and answer.dtype == np.bool_ and answer.shape == (count,):
            return answer
        mask = np.empty(count, dtype=np.bool_)
        for index in range(count):
            params = row(columns, index)
            try:
                mask[index] = bool(holds(params))
            except USER_FAILURES as error:
                raise strategy_failure(self, params, error, where=f"constraint {text!r}") from error
        return mask

    def checked_signals(self, view: MarketView, params: Params) -> Signals:
        """`signals`, with its result checked. Raises StrategyError; an exception inside is reported with its line."""
        from lockstep.engine.signals import Signals

        try:
            signals = self.signals(view, params)
        except USER_FAILURES as error:
            raise strategy_failure(self, params, error, where="signals") from error
        if not isinstance(signals, Signals):
            raise StrategyError(
                f"{self.name}.signals returns ls.Signals; found {type(signals).__name__} for parameters {dict(params)}"
            )
        if len(signals) != len(view):
            raise StrategyError(
                f"{self.name}.signals returns one value per bar, {len(view)}; found {len(signals)} for parameters "
                f"{dict(params)}"
            )
        warm = self.warm_bars(params)
        self.check_warmup(np.flatnonzero(signals.side[:warm]), params)
        # An exit is a decision too: one in the warm-up would come from values that are not there yet.
        if signals.exit is not None:
            self.check_warmup(np.flatnonzero(signals.exit[:warm]), params, array="exit")
        return signals

    def warm_bars(self, params: Params) -> int:
        """`warmup(params)`, a number of bars, 0 or more. Raises StrategyError for anything else."""
        try:
            bars: Any = self.warmup(params)
        except USER_FAILURES as error:
            raise strategy_failure(self, params, error, where="warmup") from error
        if isinstance(bars, bool) or not isinstance(bars, int | np.integer) or bars < 0:
            raise StrategyError(f"{self.name}.warmup returns a number of bars, 0 or more; found {bars!r}")
        return int(bars)

    def check_warmup(self, early: NDArray[Any], params: Params, *, array: str = "side") -> None:
        """Raises StrategyError when `early`, bars within the warm-up at which `array` decides, is not empty."""
        if early.size:
            blank = "False" if array == "exit" else "0"
            raise StrategyError(
                f"{self.name}: no decision may stand in the declared warm-up of {self.warm_bars(params)} bars; found "
                f"one in {array} at bar {early[0]} ({early.size:,} in all) for parameters {dict(params)}. Clear these "
                f"bars ({array}[: self.warmup(params)] = {blank}), or declare a shorter warm-up if the rule really "
                "needs fewer"
            )


def strategy_failure(strategy: Strategy, params: Params, error: BaseException, where: str) -> StrategyError:
    """A StrategyError that names class, place, parameters, the original type and message, and the line (R3.18)."""
    frames = traceback.extract_tb(error.__traceback__)
    outside = [frame for frame in frames if frame.filename != __file__]
    own = _own_file(strategy)
    # The last line of the strategy's own file says more than the depths of NumPy it may have led to.
    frame = next((item for item in reversed(outside) if item.filename == own), outside[-1] if outside else None)

    def message(who: str, file_name: str) -> str:
        line = f" ({frame.line})" if frame is not None and frame.line else ""
        place = "" if frame is None else f" at {file_name}:{frame.lineno}{line}"
        return f"{who} failed in {where}: {type(error).__name__}: {error}{place}; parameters {dict(params)}"

    file_name = "" if frame is None else frame.filename
    name, kind = strategy.name, type(strategy).__qualname__
    # Once where they are the same, as they are unless the class has a `name` of its own.
    failure = StrategyError(message(name if name == kind else f"{name} ({kind})", path_of_frame(file_name)))
    failure.recorded = message(f"{name} ({kind})", file_name)
    return failure


def recorded(failure: StrategyError) -> str:
    """The message of a failure as a run stores it, the same on every machine."""
    return str(failure) if failure.recorded is None else failure.recorded


def _own_file(strategy: Strategy) -> str:
    code = getattr(type(strategy).signals, "__code__", None)
    return str(code.co_filename) if code is not None else ""


def _plain(name: str, value: Any, dimension: Any, default: Any) -> Any:
    """One parameter value as the plain Python type that its dimension (or default) calls for."""
    # NumPy scalars have a type and a `repr` of their own, and neither belongs into JSON or a message.
    if isinstance(value, np.generic):
        value = value.item()
    kind = _kind(dimension, default)
    if isinstance(dimension, Choice) and kind in (str, bool):
        try:
            return dimension.check(value)
        except SpaceError as error:
            raise SpaceError(f"parameter {name!r}: {error}") from error
    if kind is str or kind is bool:
        if not isinstance(value, kind):
            raise SpaceError(f"parameter {name!r} is {'text' if kind is str else 'true or false'}; found {value!r}")
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        if kind is None and isinstance(value, str | bool):
            return value
        raise SpaceError(f"parameter {name!r} is a number; found {value!r}")
    if not np.isfinite(value):
        raise SpaceError(f"parameter {name!r} is a finite number; found {value!r}")
    if kind is int:
        if value != int(value):
            raise SpaceError(f"parameter {name!r} is a whole number; found {value!r}")
        return int(value)
    return float(value) if kind is float else value


def _kind(dimension: Any, default: Any) -> type | None:
    if isinstance(dimension, IntRange):
        return int
    if isinstance(dimension, FloatRange):
        return float
    if isinstance(dimension, Choice):
        return type(dimension.values[0])  # a Choice holds values of one type
    return type(default) if default is not None else None


def _column(values: Sequence[Any]) -> NDArray[Any]:
    kinds = {type(value) for value in values}
    if kinds == {int}:
        return np.array(values, dtype=np.int64)
    if kinds and kinds <= {int, float}:
        return np.array(values, dtype=np.float64)
    if kinds == {bool}:
        return np.array(values, dtype=np.bool_)
    # Filled afterwards: `np.array` would make a fixed-width type of texts, and rows of tuples.
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def _numeric_column(name: str, array: NDArray[Any], kind: type) -> NDArray[Any]:
    numbers = array.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(numbers))
    if bad.size:
        raise SpaceError(f"parameter {name!r} is a finite number; found {array[bad[0]]!r} in set {bad[0]}")
    if kind is float:
        return np.ascontiguousarray(numbers)
    bad = np.flatnonzero(numbers != np.floor(numbers))
    if bad.size:
        raise SpaceError(f"parameter {name!r} is a whole number; found {array[bad[0]]!r} in set {bad[0]}")
    return np.ascontiguousarray(array.astype(np.int64))
