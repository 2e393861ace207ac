"""Two answers of a strategy to the same bars, compared."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lockstep.engine.signals import Signals

if TYPE_CHECKING:
    from numpy.typing import NDArray

PRICE_TOLERANCE: Final = 1e-9
"""Sums over arrays of another length may round differently."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The earliest bar at which two answers differ: the array, and both values."""

    bar: int
    field: str
    value: Any
    other: Any


def decided(signals: Signals) -> NDArray[np.int64]:
    """Bars with a decision: entries, or exits where there are no entries."""
    bars = np.flatnonzero(signals.side)
    if bars.size == 0 and signals.exit is not None:
        bars = np.flatnonzero(signals.exit)
    return bars.astype(np.int64)


def first_difference(
    answer: Signals, other: Signals, count: int, tolerance: float = PRICE_TOLERANCE
) -> Difference | None:
    """The earliest of the first `count` bars at which two answers differ, or None."""
    first: Difference | None = None
    for field, values, others, matters in _fields(answer, other, count):
        same = _same(values, others, tolerance) | ~matters
        if not same.all():
            bar = int(np.flatnonzero(~same)[0])
            if first is None or bar < first.bar:
                first = Difference(bar=bar, field=field, value=values[bar].item(), other=others[bar].item())
    return first


def difference_at(answer: Signals, other: Signals, bar: int) -> Difference | None:
    """How two answers that both have the bar differ there; None where they are the same."""
    difference = first_difference(from_bar(answer, bar), from_bar(other, bar), 1)
    return None if difference is None else replace(difference, bar=bar)


def differs_at(answer: Signals, other: Signals, bar: int) -> bool:
    """Whether two answers that both have the bar differ there."""
    return difference_at(answer, other, bar) is not None


def from_bar(signals: Signals, first: int) -> Signals:
    """The answer of bar `first` and later ones."""

    def rest(values: Any) -> Any:
        return values[first:] if isinstance(values, np.ndarray) else values

    return Signals(**{field.name: rest(getattr(signals, field.name)) for field in fields(signals)})


def _fields(
    answer: Signals, other: Signals, count: int
) -> list[tuple[str, NDArray[Any], NDArray[Any], NDArray[np.bool_]]]:
    """Field, both values (count,), and where they matter: levels count only where both enter."""
    everywhere = np.ones(count, dtype=np.bool_)
    entering = (answer.side[:count] != 0) & (answer.side[:count] == other.side[:count])
    fields = [("side", answer.side[:count], other.side[:count], everywhere)]
    fields.append(("exit", _array(answer.exit, count, False), _array(other.exit, count, False), everywhere))
    for name in ("stop", "target", "trail"):
        values, others = _array(getattr(answer, name), count, np.nan), _array(getattr(other, name), count, np.nan)
        fields.append((name, values, others, entering))
    limits = _array(answer.time_limit, count, 0), _array(other.time_limit, count, 0)
    fields.append(("time_limit", *limits, entering))
    return fields


def _array(values: NDArray[Any] | int | None, count: int, missing: Any) -> NDArray[Any]:
    if isinstance(values, np.ndarray):
        return values[:count]
    return np.full(count, missing if values is None else values)


def _same(values: NDArray[Any], others: NDArray[Any], tolerance: float) -> NDArray[np.bool_]:
    # Equality first, for infinities, whose difference is NaN.
    same: NDArray[np.bool_] = values == others
    if values.dtype.kind == "f" or others.dtype.kind == "f":
        near = np.abs(values - others) <= tolerance * np.maximum(np.abs(values), np.abs(others))
        same = same | near | (np.isnan(values) & np.isnan(others))
    return same
