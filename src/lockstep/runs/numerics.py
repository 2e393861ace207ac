"""Numerics: what the machine and the libraries contribute to a result, and how a run is given a fixed level of it.

Two machines of different age give different last bits because libraries pick code by CPU feature: NumPy dispatches
its loops, OpenBLAS its kernels, numba compiles for the host. Observed on one machine: np.exp, np.log and A @ B change
when AVX-512 is switched off. Hence

- the identity of a run holds the versions and the choices that were in force (`NumericsIdentity.collect`);
- `numerics = "portable"` fixes the choices at x86-64-v3 (AVX2, FMA), which every x86-64 server since 2013 has.
  They are read from the environment when the libraries load, so a process that has loaded them already is started
  again (`enter`), and child processes are given the variables (`environment`).

Sources: NumPy reference, "CPU build options / runtime dispatch" (NPY_DISABLE_CPU_FEATURES); numba manual, "Environment
variables" (NUMBA_CPU_NAME, NUMBA_CPU_FEATURES: empty, or the host's features are added to the named CPU's); OpenBLAS
README (OPENBLAS_CORETYPE); oneMKL developer guide, "Conditional numerical reproducibility" (MKL_CBWR: only COMPATIBLE
is the same on processors of every maker).

Nothing heavy is imported here, so that a command can pin its environment before NumPy loads.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final

from lockstep.core.errors import MachineError, RefusedError
from lockstep.runs import arithmetic

MODES: Final = ("native", "portable")
MODE_VARIABLE: Final = "LOCKSTEP_NUMERICS"
PORTABLE_CPU: Final = "x86-64-v3"
SAFE_PATH_VARIABLE: Final = "PYTHONSAFEPATH"
"""Keeps Python from putting the working folder, or that of a script, on the path (Python 3.11, `-P`)."""

THREAD_VARIABLES: Final = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "BLIS_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
}
"""One native thread: sums that threads share are split by their number, and workers must not fight for cores."""

_pools: tuple[int, Any] | None = None
_LIBRARIES: Final = ("numpy", "numba", "llvmlite", "scipy")
# NumPy 2.4 renamed its dispatch groups; a name it does not know is only a warning, so both sets could not be mixed.
_NUMPY_ABOVE_AVX2: Final = "X86_V4,AVX512_ICL,AVX512_SPR"
_NUMPY_ABOVE_AVX2_BEFORE_2_4: Final = (
    "AVX512F,AVX512CD,AVX512_KNL,AVX512_KNM,AVX512_SKX,AVX512_CLX,AVX512_CNL,AVX512_ICL,AVX512_SPR"
)


def portable_variables() -> dict[str, str]:
    """Variables that have to be set before NumPy, SciPy and numba load, for `numerics = "portable"`."""
    version = tuple(int(part) for part in _version("numpy").split(".")[:2])
    return {
        MODE_VARIABLE: "portable",
        "NPY_DISABLE_CPU_FEATURES": _NUMPY_ABOVE_AVX2 if version >= (2, 4) else _NUMPY_ABOVE_AVX2_BEFORE_2_4,
        "OPENBLAS_CORETYPE": "Haswell",
        "MKL_CBWR": "COMPATIBLE",
        "NUMBA_CPU_NAME": PORTABLE_CPU,
        "NUMBA_CPU_FEATURES": "",
        "NUMBA_DISABLE_INTEL_SVML": "1",
    }


def environment(mode: str, base: Mapping[str, str] | None = None) -> dict[str, str]:
    """The whole environment for a child process that is to compute in `mode`, on one native thread.

    base   variables to begin with; None for those of this process. Those of "portable" are taken out for "native"
    """
    _check_mode(mode)
    variables = dict(os.environ if base is None else base)
    portable = portable_variables()
    if mode == "portable":
        variables.update(portable)
    elif variables.get(MODE_VARIABLE) == "portable":
        for name in portable:
            variables.pop(name, None)
    variables.update(THREAD_VARIABLES)
    # `python -m` and workers put the working folder first on the path, where a user's signal.py would be loaded in
    # place of Python's own. The command does not; what a user's code imports comes by `sys_path` from the parent.
    variables[SAFE_PATH_VARIABLE] = "1"
    return variables


def pin_environment() -> None:
    """Make native libraries that load from now on use one thread, here and in child processes.

    And let no child process put the working folder on its path: see `environment`.
    """
    os.environ.update(THREAD_VARIABLES | {SAFE_PATH_VARIABLE: "1"})


def shortfalls(mode: str) -> list[str]:
    """Reasons, in words, why this process does not compute in `mode`; empty when it does."""
    _check_mode(mode)
    if mode == "native":
        return []
    missing = [
        f"{name} is not {value!r}" for name, value in portable_variables().items() if os.environ.get(name) != value
    ]
    if platform.machine() != "x86_64":
        missing.append(f"the machine is {platform.machine()}, not x86_64")
    if "numpy" in sys.modules:
        targets, features = _numpy_dispatch()
        above = sorted(set(targets) - {"X86_V3", "AVX", "F16C", "FMA3", "AVX2", "SSSE3", "SSE41", "POPCNT", "SSE42"})
        if above:
            missing.append(f"NumPy was loaded with {', '.join(above)}")
        if not {"AVX2", "FMA3"} <= features:
            missing.append("the CPU has no AVX2 and FMA")
    if "numba" in sys.modules and not missing:
        from lockstep.core.compiled import compiler_target

        if compiler_target() != PORTABLE_CPU:
            missing.append(f"numba was loaded for {compiler_target()}")
    return missing


def enter(mode: str, *, may_restart: bool, before_restart: Callable[[], None] | None = None) -> None:
    """Make this process compute in `mode`.

    may_restart      whether this process is a command line that can begin again. Where libraries loaded with other
                     settings already, it is then replaced by itself with the right environment: no return
    before_restart   called before it is replaced

    Raises RefusedError when only a restart would help and none is allowed, MachineError when the machine cannot do it.
    """
    if not shortfalls(mode):
        return
    restarted = os.environ.get(MODE_VARIABLE) == mode
    if not restarted and not {"numpy", "numba", "scipy"} & sys.modules.keys():
        os.environ.update(environment(mode))
        return
    reasons = "; ".join(shortfalls(mode))
    if restarted or platform.machine() != "x86_64":
        raise MachineError(
            f'numerics = "portable" needs an x86-64 CPU with AVX2 and FMA; here {reasons}. Use numerics = "native".'
        )
    if not may_restart:
        names = " ".join(f"{name}={value}" for name, value in portable_variables().items())
        raise RefusedError(
            f'numerics = "portable" has to be chosen before NumPy loads; {reasons}. '
            f"Use the lockstep command, or start Python with: {names}"
        )
    if before_restart is not None:
        before_restart()
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment(mode))  # noqa: S606 - ourselves


_PARALLEL: Final = "numba.np.ufunc.parallel"
"""numba's own pool; loaded with the first parallel kernel."""


class PinnedThreads:
    """Keeps the pools that are loaded at one thread until `release`."""

    def __init__(self) -> None:
        self._limits = ExitStack()
        self._pools: Any = None
        self._limits_numba = False

    def renew(self) -> None:
        """Limit pools of libraries loaded since, and those that other code has set to more threads."""
        parallel: Any = sys.modules.get(_PARALLEL)
        if parallel is not None and not self._limits_numba:
            self._limits.enter_context(_one_thread_of_numba())
            self._limits_numba = True
        elif parallel is not None and parallel._is_initialized and parallel.get_num_threads() != 1:
            parallel.set_num_threads(1)
        pools = _thread_pools()
        if pools is not self._pools:
            self._limits.enter_context(pools.limit(limits=1))
            self._pools = pools
            return
        for library in pools.lib_controllers:
            if library.num_threads != 1:
                library.set_num_threads(1)

    def release(self) -> None:
        """Give every pool the threads that it had."""
        self._limits.close()


@contextmanager
def pinned_threads() -> Iterator[PinnedThreads]:
    """Within the block, the native pools that are loaded use one thread: BLAS, OpenMP, numba's own.

    For processes that began unpinned.
    """
    pinned = PinnedThreads()
    try:
        pinned.renew()
        yield pinned
    finally:
        pinned.release()


@contextmanager
def _one_thread_of_numba() -> Iterator[None]:
    """Parallel kernels of a user split their sums by the number of threads that numba began with."""
    parallel: Any = sys.modules[_PARALLEL]
    config: Any = sys.modules["numba.core.config"]
    # Asking numba for the number would start its threads, which most processes never need.
    if parallel._is_initialized:
        before = parallel.get_num_threads()
        parallel.set_num_threads(1)
        try:
            yield
        finally:
            parallel.set_num_threads(before)
        return
    before, config.NUMBA_NUM_THREADS = config.NUMBA_NUM_THREADS, 1
    try:
        yield
    finally:
        # Threads that began within the block stay as many as they are; numba has no way to add some.
        if not parallel._is_initialized:
            config.NUMBA_NUM_THREADS = before


def _thread_pools() -> Any:
    """The pools of all libraries loaded so far. Finding them takes milliseconds, so they are remembered."""
    global _pools
    # Only what is loaded can be limited; whatever loads a library is imported first.
    import numpy  # noqa: F401
    import threadpoolctl  # type: ignore[import-untyped]

    modules = len(sys.modules)
    if _pools is None or _pools[0] != modules:
        _pools = (modules, threadpoolctl.ThreadpoolController())
    return _pools[1]


def _version(library: str) -> str:
    # Not at the top: a command that shows help needs none of it.
    from importlib.metadata import version

    return version(library)


def _check_mode(mode: str) -> None:
    if mode not in MODES:
        raise ValueError(f'numerics is "native" or "portable"; found {mode!r}')


def _numpy_dispatch() -> tuple[list[str], set[str]]:
    # NumPy offers no public name for this but text output (`numpy.show_config`), which reads these same two tables.
    from numpy._core._multiarray_umath import (  # type: ignore[import-not-found]
        __cpu_dispatch__,
        __cpu_features__,
    )

    enabled = {name for name, on in __cpu_features__.items() if on}
    return [name for name in __cpu_dispatch__ if name in enabled], enabled


def _blas_entries() -> dict[str, str]:
    """NumPy's own BLAS: kind, version, kernel choice, threads. SciPy's loads later and follows the same variables."""
    import numpy as np

    for pool in _thread_pools().info():
        if pool.get("user_api") == "blas" and "numpy" in str(pool.get("filepath")):
            return {
                "blas": f"{pool['internal_api']} {pool.get('version')}",
                "blas.kernel": str(pool.get("architecture")),
                "blas.variables": _blas_variables(str(pool["internal_api"])),
                "threads": str(pool["num_threads"]),
            }
    config: Any = np.show_config(mode="dicts")
    blas = config.get("Build Dependencies", {}).get("blas", {})
    return {
        "blas": f"{blas.get('name')} {blas.get('version')}",
        "blas.variables": _blas_variables(str(blas.get("name"))),
        "threads": os.environ.get("OMP_NUM_THREADS", "?"),
    }


def _blas_variables(name: str) -> str:
    prefixes = next((prefixes for blas, prefixes in arithmetic.VARIABLES_OF_BLAS.items() if blas in name.lower()), ())
    # SciPy and scikit-learn read this one at import: other routines, other order of operations.
    return arithmetic.written(arithmetic.variables(prefixes, also=("SCIPY_ARRAY_API",)))


@dataclass(frozen=True)
class NumericsIdentity:
    """Named entries. Two processes with equal entries compute the same bits."""

    entries: Mapping[str, str]

    @classmethod
    def collect(cls, extra: Mapping[str, str] | None = None) -> NumericsIdentity:
        """The entries of this process, on one native thread, with those that a kind adds (torch, device)."""
        with pinned_threads():
            import numpy as np

            from lockstep.core.compiled import compiler_settings, compiler_target

            targets, _ = _numpy_dispatch()
            entries = {
                "python": platform.python_version(),
                "implementation": platform.python_implementation(),
                "machine": platform.machine(),
                # The scalar and many of NumPy's functions come from its mathematics library.
                "libc": " ".join(platform.libc_ver()),
                **{name: _version(name) for name in _LIBRARIES},
                "numpy.dispatch": ",".join(sorted(targets)) or "baseline",
                "numba.target": compiler_target(),
                "numba.options": compiler_settings(),
                "cpu.floats": arithmetic.floats_of_cpu(),
                "libc.results": arithmetic.results_of_libm(),
                "numpy.results": arithmetic.results_of_numpy(),
                "numpy.buffer": str(np.getbufsize()),
                "device": "cpu",
                **_blas_entries(),
            }
        return cls({**entries, **dict(extra or {})})

    def body(self) -> dict[str, str]:
        """The body of numerics.json: the entries, sorted by name."""
        return dict(sorted(self.entries.items()))

    def hash(self) -> str:
        """BLAKE3 of the body, as the journal's first line records it."""
        from lockstep.core import canonical
        from lockstep.core.hashing import blake3_hex

        return blake3_hex(canonical.dumps(self.body()))


def entry_differences(
    then: Mapping[str, Any], now: Mapping[str, Any], sides: tuple[str, str] = ("then", "now")
) -> list[str]:
    """A sentence for each entry in which two flat tables differ, sorted by name; `sides` are the tables' names."""
    lines = []
    for name in sorted(then.keys() | now.keys()):
        if then.get(name) != now.get(name):
            before, after = then.get(name, "absent"), now.get(name, "absent")
            lines.append(f"{name}: {before} {sides[0]}, {after} {sides[1]}")
    return lines
