"""The compiled passes of `compiled_adam`, before and after the square roots; float32 and float64.

They use no other kernel and no constant of another file, so numba sees for itself when they change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba
from numba.extending import intrinsic

from lockstep.core.compiled import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _fma(context: Any, a: Any, b: Any, c: Any) -> Any:
    """a b + c, rounded once; all of one type."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.fma(*values)

    return (a(a, b, c), code) if a == b == c and isinstance(a, numba.types.Float) else None


fma: Any = intrinsic(_fma)


def advance_python(
    weights: NDArray[Any], gradient: NDArray[Any], first: NDArray[Any], second: NDArray[Any], share: Any, small: bool,
    beta2: Any, rest2: Any, decay: Any, decays: int,
) -> None:  # fmt: skip
    """Update the moments m and v, and apply the weight decay: 0 none, 1 Adam's, 2 AdamW's."""
    for k in range(weights.size):
        g, m = gradient[k], first[k]
        if decays == 1:
            g = fma(weights[k], decay, g)
        elif decays == 2:
            weights[k] = weights[k] * decay
        first[k] = fma(share, g - m, m if small else g)
        second[k] = fma(rest2 * g, g, second[k] * beta2)


advance = kernel(advance_python)


def descend_python(
    weights: NDArray[Any], first: NDArray[Any], root: NDArray[Any], correction: Any, eps: Any, rate: Any
) -> None:
    """Update the weights, given the square roots of v."""
    for k in range(weights.size):
        weights[k] = weights[k] + rate * first[k] / (root[k] / correction + eps)


descend = kernel(descend_python)
