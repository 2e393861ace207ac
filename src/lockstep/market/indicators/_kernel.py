"""How an indicator is compiled, and what happens to its arguments before the kernel sees them.

def ema_python(values, window): ...      the source, plain Python: the twin that tests compare with
ema = kernel(ema_python)                 the same source compiled, with its arguments checked
ema.compiled                             the bare dispatcher, for use inside other compiled code
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable
from typing import Any, Final, Generic, ParamSpec, TypeVar

import numpy as np

from lockstep.core.compiled import kernel as compile_kernel
from lockstep.core.errors import InputError

P = ParamSpec("P")
R = TypeVar("R")

# The least value of whole-number arguments; every other one (windows, sides) is at least 1.
_LEAST: Final = {"ddof": 0, "bars": 0}


class Kernel(Generic[P, R]):
    """A compiled indicator. Calling it accepts anything that NumPy turns into float64 (n,) arrays of one length.

    python    the uncompiled twin
    compiled  the compiled function, which checks no argument

    A call raises InputError when an array is not one-dimensional, lengths differ, or a window is not a whole number
    >= 1.
    """

    def __init__(self, python: Callable[P, R]) -> None:
        self.python = python
        self.compiled = compile_kernel(python)
        self.__doc__ = python.__doc__
        self.__name__ = python.__name__.removesuffix("_python")
        self.__module__ = python.__module__
        self.__wrapped__ = python
        self._signature = inspect.signature(python)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        ready: list[Any] = []
        length: int | None = None
        for name, value in bound.arguments.items():
            # Text, not types: these modules postpone annotations. A bool or a NumPy number must not choose the branch.
            kind = self._signature.parameters[name].annotation
            if kind == "int":
                ready.append(self._whole(name, value))
            elif kind == "float":
                ready.append(float(value))
            else:
                ready.append(self._array(name, value, length))
                length = ready[-1].shape[0]
        # All by place: numba compiles once more where a default is omitted. P cannot say that `ready` fits.
        compiled: Callable[..., R] = self.compiled
        return compiled(*ready)

    def _whole(self, name: str, value: Any) -> int:
        least = _LEAST.get(name, 1)
        try:
            number = operator.index(value)
        except TypeError:
            raise InputError(f"{self.__name__}: {name} is a whole number >= {least}; found {value!r}.") from None
        if number < least:
            raise InputError(f"{self.__name__}: {name} is a whole number >= {least}; found {number}.")
        return number

    def _array(self, name: str, value: Any, length: int | None) -> Any:
        try:
            array = np.ascontiguousarray(value, dtype=np.float64)
        except (TypeError, ValueError):
            raise InputError(f"{self.__name__}: {name} holds numbers; found {type(value).__name__}.") from None
        # Of the value, because ascontiguousarray makes one-dimensional what has no dimension.
        if np.ndim(value) != 1:
            raise InputError(f"{self.__name__}: {name} is one-dimensional; found shape {np.shape(value)}.")
        if length is not None and array.shape[0] != length:
            raise InputError(
                f"{self.__name__}: {name} has as many bars as the first array, {length}; found {array.shape[0]}."
            )
        # numba compiles once more for writable arrays; one kind of argument is enough, and nothing is written to it.
        array = array.view()
        array.flags.writeable = False
        return array

    def __repr__(self) -> str:
        return f"<indicator {self.__name__}{self._signature}>"


def kernel(python: Callable[P, R]) -> Kernel[P, R]:
    """Compile `python` on its first call (cached on disk, no fastmath, so both give the same bits)."""
    return Kernel(python)
