"""Observations: the numbers that a state may hold, and whether float32 or float64 holds them.

    float32, float16              float32
    float64                       float64, also where float32 would do: two of them never become one number
    whole numbers, booleans       float32 where it holds each of them exactly, else float64
    longer floats                 float64 where it holds each of them exactly

Everything else is refused: NaN and infinity, whole numbers that float64 rounds (beyond 2^53), complex numbers, text,
dates, objects, masked values. Equal numbers go in and come out, whatever their type was
(docs/decisions/0085-float64-states-stay-float64.md).
"""

from __future__ import annotations

import numbers
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lockstep.core.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

SINGLE_EXACT: Final = 2**24
"""float32 holds every whole number up to here."""
SINGLE: Final = np.dtype(np.float32)
DOUBLE: Final = np.dtype(np.float64)
DOUBLE_EXACT: Final = 2**53
"""float64 holds every whole number up to here."""
_CURES: Final = {
    "c": "Give its real and imaginary part as two numbers.",
    "U": "Code text as numbers first.",
    "S": "Code text as numbers first.",
    "M": "Give the time since a moment of your choice, as a number of seconds.",
    "m": "Divide it by a unit, such as np.timedelta64(1, 's').",
}


def observations(value: Any, place: str) -> NDArray[Any]:
    """`value` as a new array of its own shape, float32 or float64, that equals it number by number.

    Raises InputError for what the module's docstring refuses; `place` begins the message.
    """
    array = real_array(value, place)
    if array.dtype in (SINGLE, DOUBLE):
        result = array.copy()
    else:
        with np.errstate(over="ignore"):  # a longer float that is too large becomes infinite, and is refused as that
            result = np.array(array, _dtype(array, place), order="C")
    finite = np.isfinite(result)
    if not finite.all():
        raise InputError(
            f"{_holds(place)} finite numbers; found {array[~finite].flat[0]} (NaN or infinity, or beyond float64). "
            "Clean the features."
        )
    return result


def real_array(value: Any, place: str) -> NDArray[Any]:
    """`value` as an array of booleans, whole numbers or floats, not copied where it is one.

    Raises InputError where it is none; `place` begins the message.
    """
    # Most are arrays already, and experiences come one by one: the rest of the checks would take most of the time.
    if type(value) is np.ndarray and value.dtype.kind in "biuf":
        return value
    try:
        array = np.asarray(value)
        # NumPy makes floats of the whole numbers in a list that has floats too, and rounds them without a word.
        inexact = None if hasattr(value, "dtype") or array.dtype.kind != "f" else _rounded_integer(value)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise InputError(f"{place} is an array of numbers; found {_short(value)} ({error}).") from None
    if inexact is not None:
        raise InputError(
            f"{_holds(place)} whole numbers up to 2**53, which float64 holds exactly; found {inexact}. Subtract an "
            "origin, or use a larger unit."
        )
    if array.dtype.kind not in "biuf":
        cure = _CURES.get(array.dtype.kind, "Make an array of one type of number, np.float64 for example.")
        raise InputError(f"{_holds(place)} real numbers; found {_short(value)} of type {array.dtype}. {cure}")
    if np.ma.is_masked(value):
        raise InputError(f"{_holds(place)} a number everywhere; found masked values. Fill them or leave the rows out.")
    return array


def wider(*arrays: NDArray[Any]) -> np.dtype[Any]:
    """float64 where one of the arrays has it, else float32."""
    return DOUBLE if any(array.dtype == DOUBLE for array in arrays) else SINGLE


def require_single(place: str, array: NDArray[Any]) -> None:
    """Raise InputError where float32 makes another whole number of a large one; `place` begins the message.

    For networks, which compute in float32: a time in milliseconds and its neighbours would be one number to them. The
    rounding of smaller numbers, by 1 part in 10 million, is that of their own arithmetic.
    """
    large = np.abs(array) > SINGLE_EXACT
    if not np.any(large):
        return
    with np.errstate(over="ignore"):
        wrong = array[large][array[large].astype(np.float32) != array[large]]
    if wrong.size:
        raise InputError(
            f"{_holds(place)} numbers up to 2**24, or ones that float32 holds exactly: the network computes in "
            f"float32; found {wrong.flat[0]}. Subtract an origin or divide by a scale, or use a network of float64."
        )


def _dtype(array: NDArray[Any], place: str) -> type[np.floating[Any]]:
    """The type that holds every number of `array`. Raises InputError where none does."""
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind == "b" or (kind in "iu" and size <= 2) or (kind == "f" and size <= 4) or not array.size:
        return np.float64 if kind == "f" and size == 8 else np.float32
    if kind == "f":
        if size > 8:
            _require_double(array, place)
        return np.float64
    low, high = int(array.min()), int(array.max())
    if low >= -SINGLE_EXACT and high <= SINGLE_EXACT:
        return np.float32
    if low < -DOUBLE_EXACT or high > DOUBLE_EXACT:
        _require_double(array, place)
    doubles = array.astype(np.float64)
    return np.float32 if np.array_equal(doubles.astype(np.float32), doubles) else np.float64


def _require_double(array: NDArray[Any], place: str) -> None:
    """Raise InputError for the first finite number that float64 rounds."""
    with np.errstate(over="ignore"):
        doubles = array.astype(np.float64)
    if array.dtype.kind == "f":
        wrong = np.isfinite(doubles) & (doubles.astype(array.dtype) != array)
    else:
        # Compared as Python's numbers: NumPy would round the whole number to a float before it compares.
        pairs = zip(array.ravel().tolist(), doubles.ravel().tolist(), strict=True)
        wrong = np.array([number != double for number, double in pairs]).reshape(array.shape)
    if np.any(wrong):
        raise InputError(
            f"{_holds(place)} numbers that float64 holds exactly, whole ones up to 2**53; found {array[wrong].flat[0]}"
            ". Subtract an origin, or use a larger unit."
        )


def _rounded_integer(value: Any) -> int | None:
    """The first whole number in a list that float64 rounds, or None."""
    for number in np.array(value, object).flat:
        if isinstance(number, numbers.Integral) and int(number) != float(number):
            return int(number)
    return None


def _holds(place: str) -> str:
    return f"{place} {'hold' if place.endswith('s') else 'holds'}"


def _short(value: Any) -> str:
    return f"{value!r:.60}".replace("\n", " ")
