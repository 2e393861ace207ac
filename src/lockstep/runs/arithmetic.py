"""What a process computes with, asked of the process itself: how floats behave, what its libraries return, which
variables are set that a library obeys.

An effect is better than a spelling. A variable may be set and do nothing, or a setting may be changed by a call and
show in no variable. So where a library says what it does, or a few numbers show it, these are the entry; variables are
named only for what cannot be asked. docs/runs.md has the list.

Sources: GNU C library manual, "Hardware Capability Tunables" (variants of libm by CPU); OpenBLAS 0.3, `readenv.c`;
oneMKL developer guide, "Environment variables"; oneDNN developer guide, "CPU dispatcher control", "Floating-point math
mode" (under the prefixes ONEDNN_ and DNNL_; torch 2.13 obeys MKLDNN_ too); IEEE 754-2019, 4.3 (rounding).
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterable, Mapping
from struct import pack
from typing import Any, Final

VARIABLES_OF_BLAS: Final = {"openblas": ("OPENBLAS_",), "mkl": ("MKL_",), "blis": ("BLIS_",)}
"""Prefixes of the variables that a BLAS reads, by threadpoolctl's name for it."""
ONEDNN_PREFIXES: Final = ("ONEDNN_", "DNNL_", "MKLDNN_")
_NO_EFFECT: Final = frozenset(
    {
        # Those that another entry answers for: the kernel of BLAS, and threads, of which there is one.
        "OPENBLAS_CORETYPE",
        "OPENBLAS_NUM_THREADS",
        "OPENBLAS_DEFAULT_NUM_THREADS",
        "BLIS_ARCH_TYPE",
        "BLIS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "MKL_DOMAIN_NUM_THREADS",
        "MKL_DYNAMIC",
        "MKL_THREADING_LAYER",
        # Messages, waiting, memory.
        "OPENBLAS_VERBOSE",
        "OPENBLAS_THREAD_TIMEOUT",
        "BLIS_ARCH_DEBUG",
        "MKL_VERBOSE",
        "MKL_VERBOSE_OUTPUT_FILE",
        "MKL_FAST_MEMORY_LIMIT",
        "MKL_DISABLE_FAST_MM",
        "MKL_INTERFACE_LAYER",
        "MKL_SERVICE_FORCE_INTEL",
        "MKL_ROOT",
    }
)
_NO_EFFECT_IN_ONEDNN: Final = (
    "VERBOSE",
    "JIT_DUMP",
    "JIT_PROFILE",
    "PRIMITIVE_CACHE_CAPACITY",
    "CACHE_CONTEXT_UNSAFE",
    "GRAPH_DUMP",
    "GRAPH_VERBOSE",
    "GRAPH_CONSTANT_TENSOR_CACHE_CAPACITY",
)
_UNARY: Final = (
    *(math.exp, math.log, math.log1p, math.expm1, math.log2, math.log10, math.sqrt, math.sin, math.cos, math.tan),
    *(math.atan, math.sinh, math.cosh, math.tanh, math.asinh, math.erf, math.erfc, math.gamma, math.lgamma, math.cbrt),
)
# Variants of one function agree at all but one of some thousand points; these are such points of glibc 2.36, where the
# one with fused multiply-add parts from the one without.
_HARD: Final = tuple(
    0.013 + 0.00971 * k
    for k in (53, 335, 343, 358, 823, 928, 1088, 1157, 1617, 1901, 1962, 2691, 2885, 3525, 3868, 4050, 5196, 5393, 6884)
)
_POINTS: Final = (*_HARD, *(x / 2.0 for x in _HARD), *(0.013 + 0.0971 * k for k in range(64)))


def floats_of_cpu() -> str:
    """How this thread's CPU treats floats: whether numbers below the smallest normal one are kept, and how it rounds.

    A library that is built for speed may change either for the whole process when it loads.
    """
    # From values that the compiler does not know, or it would do the sums in advance.
    smallest, half_step = sys.float_info.min, sys.float_info.epsilon / 2.0
    one = smallest / smallest
    up, down = one + half_step > one, -one - half_step < -one
    if up and down:
        rounding = "unknown"
    elif up:
        rounding = "upward"
    elif down:
        rounding = "downward"
    else:
        # One above 1, half a step goes to the even neighbour above it; towards zero it stays.
        odd = one + sys.float_info.epsilon
        rounding = "nearest" if odd + half_step > odd else "towards zero"
    return f"denormals={'flushed' if smallest / 2.0 == 0.0 else 'kept'} rounding={rounding}"


def results_of_libm() -> str:
    """Digest of what the C mathematics library returns: its variants by CPU, or another library in its place."""
    values = [function(x) for function in _UNARY for x in _POINTS]
    values += [math.pow(x, 1.37) for x in _POINTS]
    return _digest(pack(f"{len(values)}d", *values))


def results_of_numpy() -> str:
    """Digest of functions, sums and products of NumPy over a few hundred fixed numbers."""
    import numpy as np

    doubles = np.linspace(0.02, 9.7, 333)
    # Sines of whole numbers have no structure that a sum in another order would not show.
    table = np.sin(np.arange(64 * 96, dtype=np.float64)).reshape(64, 96)
    parts: list[Any] = []
    for x in (doubles, doubles.astype(np.float32)):
        parts += [np.exp(x), np.log(x), np.log1p(x), np.sin(x), np.tanh(x), np.sqrt(x), np.power(x, x.dtype.type(1.3))]
        parts += [np.add.reduce(1.0 / x), (1.0 / x).std()]
    for y in (table, table.astype(np.float32)):
        parts += [y @ y.T, y.sum(axis=1), y.mean(), np.einsum("ij,ij->i", y, y)]
    parts.append(np.linalg.solve(table[:48, :48] + 9.0 * np.eye(48), table[:48, 50]))
    return _digest(b"".join(np.ascontiguousarray(part).tobytes() for part in parts))


def variables(prefixes: Iterable[str], also: Iterable[str] = ()) -> dict[str, str]:
    """Variables of this process that begin with a prefix or are named, by name, without those that change no number.

    An empty value is none: that is how the libraries read it.
    """
    starts, names = tuple(prefixes), frozenset(also)
    return {
        name: value
        for name, value in sorted(os.environ.items())
        if value and (name.startswith(starts) or name in names) and name not in _NO_EFFECT
    }


def variables_of_onednn() -> dict[str, str]:
    """What oneDNN reads from its variables, under its newest prefix, whichever was used.

    Where two prefixes say different things, all values stand there: which of them it takes is in no manual.
    """
    values: dict[str, list[str]] = {}
    for prefix in ONEDNN_PREFIXES:
        for name, value in variables((prefix,)).items():
            rest = name.removeprefix(prefix)
            if not rest.startswith(_NO_EFFECT_IN_ONEDNN):
                values.setdefault(f"{ONEDNN_PREFIXES[0]}{rest}", []).append(value.upper())
    return {name: ",".join(dict.fromkeys(spelled)) for name, spelled in sorted(values.items())}


def written(entries: Mapping[str, str]) -> str:
    """Names and values as one entry of the numerics: `A=1 B=2`, or `none`."""
    return " ".join(f"{name}={value}" for name, value in sorted(entries.items())) or "none"


def _digest(data: bytes) -> str:
    from lockstep.core.hashing import blake3_hex

    return blake3_hex(data)[:16]
