"""`prefetch`: asks for memory before it is needed, so that kernels that visit slots at random wait once, not for each.

A processor fetches a dozen cache lines at a time, but only those that it already knows of: a loop that computes
something with each line before it comes to the next address waits for one after the other. A prefetch reads nothing and
changes no number; an address outside the array is ignored by the processor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, overload

if TYPE_CHECKING:
    from numpy.typing import NDArray

LINE: Final = 8
"""Numbers of 8 bytes in a cache line."""


def _line(context: Any, array: Any, row: Any, column: Any) -> Any:
    """LLVM's prefetch of one element's cache line, for reading, to be kept in all caches."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        view = context.make_array(signature.args[0])(context, builder, values[0])
        pointer: Any = cgutils.get_item_pointer
        place = pointer(context, builder, signature.args[0], view, [values[1], values[2]])
        number = ir.IntType(32)
        address = builder.bitcast(place, ir.IntType(8).as_pointer())
        hint = ir.FunctionType(ir.VoidType(), [address.type, number, number, number])
        function = builder.module.declare_intrinsic("llvm.prefetch", [address.type], hint)
        builder.call(function, [address, number(0), number(3), number(1)])
        return context.get_dummy_value()

    return types.none(array, types.intp, types.intp), code


_fetch: Any = intrinsic(_line)


def prefetch(array: NDArray[Any], row: int, column: int) -> None:
    """Ask for the cache line of `array[row, column]`. In Python it does nothing."""


@overload(prefetch)
def _compiled(array: Any, row: Any, column: Any) -> Any:
    # numba compares the names and the annotations of both signatures.
    def ask(array: Any, row: Any, column: Any) -> Any:
        return _fetch(array, row, column)

    return ask
