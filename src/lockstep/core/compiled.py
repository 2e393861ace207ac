"""How every kernel of Lockstep is compiled: one set of switches, and a cache on disk that cannot go stale.

Switches (architecture, rule 4): no fastmath and no parallel loops, both of which change the order of floating-point
operations; `error_model="numpy"`, so that x / 0 is inf or NaN as it is in the twin; the interpreter lock is released.
`kernel_cache` checks the files.

numba notices a change of the file that holds a cached function, but not of another file whose kernels or constants
it uses. A kernel would then go on computing what the source no longer says. So the cache lives in a folder named
after a digest of every file that a kernel may use, and of the compiler's options: other source, other folder.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar, cast

import llvmlite
import numba

from lockstep.core.hashing import blake3_hex
from lockstep.core.kernel_cache import caching_in

P = ParamSpec("P")
R = TypeVar("R")

# Untyped: numba fills this module at run time.
_config: Any = numba.config

# From the bottom up: a kernel can only call kernels of its own room and of those before it.
ROOMS_WITH_KERNELS: Final = ("core", "market", "episodes", "engine", "strategies", "learning", "rl")


def compiler_settings() -> str:
    """What decides the machine code of a kernel beside its source: CPU, optimisation, mathematics library, checks.

    Read from numba's own values, which come from its variables, from a file `.numba_config.yaml` of the working folder
    or from code that changed them.
    """
    switches = {
        "opt": int(_config.OPT),
        "svml": bool(_config.USING_SVML),
        "vectorize": f"{int(_config.LOOP_VECTORIZE)}{int(_config.SLP_VECTORIZE)}",
        "checks": bool(_config.BOUNDSCHECK),
        "debug": bool(_config.DEBUGINFO_DEFAULT),
        "jit": not _config.DISABLE_JIT,
    }
    return " ".join(f"{name}={value}" for name, value in switches.items())


def compiler_target() -> str:
    """CPU name that numba compiles for, and a digest of the features where they are the host's own."""
    import llvmlite.binding
    from numba.core import codegen

    if _config.CPU_NAME is not None and _config.CPU_FEATURES is not None:
        return f"{_config.CPU_NAME}{',' if _config.CPU_FEATURES else ''}{_config.CPU_FEATURES}"
    name = _config.CPU_NAME or llvmlite.binding.get_host_cpu_name()
    host: Any = codegen.get_host_cpu_features  # without what NUMBA_ENABLE_AVX switches off
    features = _config.CPU_FEATURES or host()
    return f"{name} features {blake3_hex(features.encode())[:16]}"


@cache
def cache_folder(room: str) -> Path | None:
    """The folder of a room's compiled kernels, or None where no folder can be written.

    Below NUMBA_CACHE_DIR, else XDG_CACHE_HOME, else ~/.cache. A room outside Lockstep may use kernels of all our rooms.
    """
    package = Path(__file__).parents[1]
    reach = ROOMS_WITH_KERNELS.index(room) + 1 if room in ROOMS_WITH_KERNELS else len(ROOMS_WITH_KERNELS)
    sources = [path for name in ROOMS_WITH_KERNELS[:reach] for path in sorted((package / name).rglob("*.py"))]
    # Every file, not only those with kernels: a constant imported from anywhere becomes part of the compiled code.
    digests = [blake3_hex(path.read_bytes()) for path in sources]
    # numba compares its version, CPU and the function's own file, and no option of its compiler.
    digest = blake3_hex("".join([*digests, compiler_settings(), llvmlite.__version__]).encode())
    chosen = os.environ.get("NUMBA_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME")
    try:
        base = Path(chosen) if chosen else Path.home() / ".cache"
        folder = base / "lockstep" / "kernels" / digest[:24]
        folder.mkdir(parents=True, exist_ok=True)  # a cache, not a result: nothing is lost with it
    except (OSError, RuntimeError):
        return None
    return folder if os.access(folder, os.W_OK) else None


def kernel(python: Callable[P, R]) -> Callable[P, R]:
    """Compile `python` at its first call for each combination of argument types, or load it from the disk cache.

    The result is called as `python` is, so it has its signature. numba's own attributes, such as `py_func`, are not
    part of that; whoever needs the plain function keeps it under a name of its own, `x = kernel(x_python)`.
    """
    parts = python.__module__.split(".")
    folder = cache_folder(parts[1] if parts[0] == "lockstep" and len(parts) > 1 else "")
    with caching_in(folder) if folder is not None else nullcontext():
        compiled = numba.njit(cache=folder is not None, nogil=True, error_model="numpy", fastmath=False)(python)
    return cast("Callable[P, R]", compiled)
