"""What a strategy hands to the engine: decisions at bar closes, as arrays over the bars.

Every array has shape (n_bars,). A value at index t is a decision made at the close of bar t from bars 0 … t.
Stops, targets and trailing distances are prices (quote currency), read only at bars where `side` is not 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lockstep.core.errors import StrategyError

LONG, FLAT, SHORT = 1, 0, -1


@dataclass(frozen=True, kw_only=True, eq=False)
class Signals:
    """Decisions of one strategy with one set of parameters; checked at birth.

    side        int8 (n,): 1 open long, -1 open short, 0 nothing
    stop        float64 (n,) or None: price at which a loss is taken; finite wherever side is not 0
    target      float64 (n,) or None: price at which a profit is taken; finite wherever side is not 0
    time_limit  int, int32 (n,) or None: bars after the decision at whose close the position ends; ≥ 1
    exit        bool (n,) or None: True closes whatever position is open
    trail       float64 (n,) or None: distance of the trailing stop from the best price so far; > 0 and finite
                wherever side is not 0

    Raises StrategyError naming the array, the first offending bar, its value and the cure.
    """

    side: NDArray[np.int8]
    stop: NDArray[np.float64] | None = None
    target: NDArray[np.float64] | None = None
    time_limit: NDArray[np.int32] | int | None = None
    exit: NDArray[np.bool_] | None = None
    trail: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        """Brings every array to its dtype and checks it where it will be read."""
        side = _side(self.side)
        n = side.size
        object.__setattr__(self, "side", side)
        read = any(column is not None for column in (self.stop, self.target, self.trail, self.time_limit))
        at = np.flatnonzero(side != 0) if read else np.empty(0, np.intp)
        for name in ("stop", "target", "trail"):
            column = getattr(self, name)
            if column is not None:
                array = _column(name, column, n, np.float64)
                _check_at(name, array, at, ok=np.isfinite(array[at]), rule="is finite wherever side is not 0")
                object.__setattr__(self, name, array)
        if self.trail is not None:
            _check_at("trail", self.trail, at, ok=self.trail[at] > 0.0, rule="is above 0 wherever side is not 0")
        if self.exit is not None:
            object.__setattr__(self, "exit", _column("exit", self.exit, n, np.bool_))
        if self.time_limit is not None:
            object.__setattr__(self, "time_limit", _time_limit(self.time_limit, n, at))

    def __len__(self) -> int:
        return int(self.side.size)


def _side(values: ArrayLike) -> NDArray[np.int8]:
    array = np.asarray(values)
    if array.ndim != 1:
        raise StrategyError(f"signals: side has one value per bar, shape (n_bars,); found shape {array.shape}")
    # The common case first: strategies build int8. Nothing is copied then, and two bounds say that every bar is right.
    if array.dtype == np.int8:
        side = np.ascontiguousarray(array)
        if side.size == 0 or (side.max() <= LONG and side.min() >= SHORT):
            return side
        wrong = (side > LONG) | (side < SHORT)
    else:
        if array.dtype.kind not in "biuf":
            raise StrategyError(f"signals: side holds 1, 0 and -1; found dtype {array.dtype}")
        wrong = ~((array == LONG) | (array == FLAT) | (array == SHORT))
        side = np.where(wrong, 0, array).astype(np.int8)
    if wrong.any():
        bar = int(np.flatnonzero(wrong)[0])
        raise StrategyError(
            f"signals: side is 1 (long), -1 (short) or 0 (nothing); found {array[bar]!r} at bar {bar}. "
            "Fill bars without a decision with 0."
        )
    return side


def _column(name: str, values: ArrayLike, n: int, dtype: type) -> NDArray[Any]:
    array = np.asarray(values)
    if array.shape != (n,):
        raise StrategyError(
            f"signals: {name} has one value per bar, as side has: shape ({n},); found shape {array.shape}"
        )
    if dtype is np.bool_ and array.dtype != np.bool_:
        raise StrategyError(f"signals: {name} is an array of bool; found dtype {array.dtype}. Compare, as in `x > y`.")
    if array.dtype.kind not in "biuf":
        raise StrategyError(f"signals: {name} is numeric; found dtype {array.dtype}")
    return np.ascontiguousarray(array, dtype=dtype)


def _check_at(name: str, array: NDArray[Any], at: NDArray[np.intp], *, ok: NDArray[np.bool_], rule: str) -> None:
    if not ok.all():
        wrong = at[~ok]
        bar = int(wrong[0])
        raise StrategyError(
            f"signals: {name} {rule}; found {array[bar].item()!r} at bar {bar} ({wrong.size} such bars). "
            f"Set side to 0 until {name} is known (declare the warm-up), or leave {name} out."
        )


def _time_limit(values: ArrayLike, n: int, at: NDArray[np.intp]) -> NDArray[np.int32] | int:
    array = np.asarray(values)
    if array.dtype.kind not in "iu":
        raise StrategyError(f"signals: time_limit counts bars, so it is an integer; found dtype {array.dtype}")
    top = np.iinfo(np.int32).max
    if array.ndim == 0:
        value = int(array)
        if not 1 <= value <= top:
            rule = "at least 1 bar" if value < 1 else f"at most {top} bars"
            raise StrategyError(f"signals: time_limit is {rule}; found {value}. Use None for no time limit.")
        return value
    if array.shape != (n,):
        raise StrategyError(f"signals: time_limit is one integer or has shape ({n},); found shape {array.shape}")
    _check_at("time_limit", array, at, ok=array[at] >= 1, rule="is at least 1 bar")
    _check_at("time_limit", array, at, ok=array[at] <= top, rule=f"is at most {top} bars")
    # Where no signal is, any value may stand; clipping keeps the cast defined.
    return np.ascontiguousarray(np.clip(array, 0, top), dtype=np.int32)
