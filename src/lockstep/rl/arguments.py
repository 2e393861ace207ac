"""What callers hand to a buffer, checked before anything changes."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, SupportsIndex

import numpy as np

from lockstep.core.errors import InputError
from lockstep.rl.observations import observations, real_array

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LARGEST: Final = float(np.finfo(np.float64).max)


def check_errors(errors: NDArray[np.float64], largest: float, what: str, names: Sequence[Any]) -> None:
    """Raise InputError for the first of td errors (n,) that is not finite, or larger than `largest`.

    The message calls it by `what` and its name of names (n,).
    """
    within = np.abs(errors) <= min(largest, _LARGEST)  # NaN is not
    if within.all():
        return
    k = int(within.argmin())
    place = f"found {errors[k]} for {what} {names[k]} (number {k} of this call); nothing was changed"
    if np.isfinite(errors[k]):
        raise InputError(
            f"buffer: td_errors lie within -{largest:.4g} .. {largest:.4g}, so that the priorities of a full buffer "
            f"have a finite sum; {place}. Scale the rewards down."
        )
    raise InputError(f"buffer: td_errors are finite; {place}. The loss has diverged: stop there.")


def real_numbers(name: str, values: Any) -> NDArray[np.float64]:
    """`values` as float64. Raises InputError for text, complex numbers, objects and ragged lists."""
    return real_array(values, f"buffer: {name}").astype(np.float64, copy=False)


def flags(name: str, values: Any) -> NDArray[np.bool_]:
    """`values` as booleans. Raises InputError for anything but False, True, 0 and 1: a text "False" is no False."""
    array = real_array(values, f"buffer: {name}")
    if array.dtype.kind == "b":
        return array
    if not np.all((array == 0) | (array == 1)):
        raise InputError(f"buffer: {name} are False or True; found {array[(array != 0) & (array != 1)].flat[0]}.")
    return array != 0


def state_column(columns: Mapping[str, Any], name: str) -> NDArray[Any]:
    """The column of states (n, *shape). Raises InputError where it is missing or has what no state has."""
    rows = None if columns.get(name) is None else observations(columns[name], f"buffer: {name}")
    if rows is None or rows.ndim == 0:
        raise InputError(f"buffer: experiences have {name}, one row each; found {columns.get(name)!r}.")
    return rows


def fact_column(columns: Mapping[str, Any], name: str, n: int, default: float | None) -> Any:
    """A column of facts (n,), or `default` where there is none. Raises InputError where it has no fact's form."""
    values = columns.get(name)
    if values is None:
        if default is None:
            raise InputError(f"buffer: experiences have {name}; found none. Give an array of shape ({n},).")
        return default
    array = real_array(values, f"buffer: {name}")
    if array.shape != (n,):
        raise InputError(f"buffer: {name} has the shape ({n},) here; found {array.shape}.")
    if name in ("actions", "optimal_actions", "training_counts") and array.dtype.kind not in "iu" and n:
        raise InputError(f"buffer: {name} holds whole numbers; found {array.dtype}.")
    return flags(name, array) if name in ("dones", "outcome_validated") else array


def whole_batch_size(batch_size: SupportsIndex) -> int:
    """`batch_size` as an int. Raises InputError where it is not a whole number >= 1."""
    try:
        count = operator.index(batch_size)
    except TypeError:
        raise InputError(f"buffer: batch_size is a whole number >= 1; found {batch_size!r}.") from None
    if isinstance(batch_size, bool) or count < 1:
        raise InputError(f"buffer: batch_size is a whole number >= 1; found {batch_size!r}.")
    return count


def same_shape(name: str, array: NDArray[Any], slots: NDArray[np.int64]) -> None:
    """Raise InputError where `array` does not have one entry per slot; `name` begins the message."""
    if array.shape != slots.shape:
        raise InputError(f"buffer: {name} has one entry per id, ({slots.size},); found shape {array.shape}.")
