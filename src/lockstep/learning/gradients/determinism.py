"""Deterministic torch: switches to set before it computes, its part of a run's numerics, noise from the seed tree.

- One thread, deterministic algorithms, no flushing of denormal numbers; on CUDA no TF32 and no autotuning.
  `settle` sets this for the whole process and is cheap to call again.
- `numerics_entries` names everything that changes last bits: versions, instruction sets, device. Seen on one machine:
  two threads, ATEN_CPU_CAPABILITY=default, ONEDNN_MAX_CPU_ISA=AVX2 and MKL_CBWR=COMPATIBLE each give other gradients.
- Layers such as dropout draw from torch's global generators and accept no other. `noise` seeds these for one block and
  then restores them, so a stream depends on its address in the seed tree, never on the order of calls.

Sources: PyTorch notes on reproducibility and numerical accuracy; oneDNN developer guide, "CPU dispatcher control".
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from lockstep.core.errors import InputError, MachineError
from lockstep.runs.numerics import MODE_VARIABLE

PORTABLE_VARIABLES: Final = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
"""Variables that `numerics = "portable"` sets for torch; `runs.numerics` sets those of other libraries."""
_WORKSPACE: Final = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

# torch reads its variables at its first operation, so this module is imported before anything computes with torch.
if os.environ.get(MODE_VARIABLE) == "portable":
    os.environ.update(PORTABLE_VARIABLES)
os.environ.setdefault(*_WORKSPACE)

import torch  # noqa: E402 - after its variables

if TYPE_CHECKING:
    from lockstep.runs.seeds import SeedTree

DEVICES: Final = ("cpu", "cuda", "auto")
_VARIABLES: Final = (*PORTABLE_VARIABLES, "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "DNNL_DEFAULT_FPMATH_MODE")


def resolve_device(name: str) -> str:
    """Turn the device of a spec into "cpu" or "cuda". "auto" is decided here, before the run, so that it is stored.

    Raises InputError for another name, MachineError for "cuda" where torch sees no card.
    """
    if name not in DEVICES:
        raise InputError(f"device is one of {', '.join(DEVICES)}; found {name!r}. Use cpu if in doubt.")
    there = torch.cuda.is_available()
    if name == "auto":
        return "cuda" if there else "cpu"
    if name == "cuda" and not there:
        raise MachineError('device = "cuda", but torch sees no card. Use device = "cpu", or a CUDA build of torch.')
    return name


def settle() -> None:
    """Set the rules of determinism for this process; does nothing where they are set."""
    # `runs.numerics.pinned_threads` sets OpenMP's number of threads for each step; torch has one of its own.
    if torch.get_num_threads() != 1:
        torch.set_num_threads(1)
    if _settled():
        return
    torch.use_deterministic_algorithms(True)
    torch.set_flush_denormal(False)
    backends: Any = torch.backends
    if getattr(backends, "fp32_precision", "none") != "none":
        backends.fp32_precision = "none"
    torch.set_float32_matmul_precision("highest")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


@contextmanager
def settled() -> Iterator[None]:
    """The rules of `settle` within the block; afterwards threads and switches are what they were before it.

    For functions that people call in a process of their own, whose other code need not follow these rules.
    """
    threads, mode = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    flushes = sys.float_info.min / 2.0 == 0.0  # torch does not say whether it flushes denormal numbers
    switches = [(place, name, getattr(place, name)) for place, name in _switches()]
    settle()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_deterministic_debug_mode(mode)
        torch.set_flush_denormal(flushes)
        for place, name, value in switches:
            setattr(place, name, value)


def _switches() -> list[tuple[Any, str]]:
    """Attributes that hold the switches of `settle`, in the order in which they can be set again."""
    backends: Any = torch.backends
    cudnn = [(backends.cudnn, "benchmark"), (backends.cudnn, "deterministic")]
    # torch has an older and a newer family for TF32, and refuses to read the older once the newer was used.
    if getattr(backends, "fp32_precision", "none") != "none":
        return [*cudnn, (backends, "fp32_precision")]
    older = [(backends.cuda.matmul, "allow_tf32"), (backends.cudnn, "allow_tf32"), (_MatmulPrecision(), "value")]
    try:
        for place, name in older:
            getattr(place, name)
    except RuntimeError:
        return cudnn
    return [*cudnn, *older]


class _MatmulPrecision:
    """torch's switch for products of matrices, as an attribute like the others."""

    @property
    def value(self) -> str:
        return str(torch.get_float32_matmul_precision())

    @value.setter
    def value(self, precision: str) -> None:
        torch.set_float32_matmul_precision(precision)


def _settled() -> bool:
    """Whether every switch still is as `settle` sets it; other code in a notebook may have changed one."""
    try:
        return bool(
            torch.get_deterministic_debug_mode() == 2
            and torch.get_float32_matmul_precision() == "highest"
            and torch.backends.cudnn.deterministic
            and not torch.backends.cudnn.benchmark
            and not torch.backends.cudnn.allow_tf32
        )
    except RuntimeError:  # torch refuses to say when somebody used `fp32_precision`, its newer switch for the same
        return False


def switches() -> dict[str, str]:
    """The switches of torch that decide results and that other code may change, by the name of the call."""
    return {
        "set_num_threads": str(torch.get_num_threads()),
        "use_deterministic_algorithms": str(torch.get_deterministic_debug_mode()),
        "set_default_dtype": str(torch.get_default_dtype()),
        "set_float32_matmul_precision": _matmul_precision(),
        "backends.mkldnn": str(_mkldnn()),
    }


def _matmul_precision() -> str:
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:  # see `_settled`
        return "mixed"


def numerics_entries(device: str = "cpu") -> dict[str, str]:
    """Torch's entries in `Prepared.numerics`. Raises MachineError when "portable" is set but came too late to act."""
    settle()
    capability = torch.backends.cpu.get_cpu_capability()
    if os.environ.get(MODE_VARIABLE) == "portable" and capability != "AVX2":
        raise MachineError(
            f'numerics = "portable" computes with AVX2, but torch had begun with {capability}. Start the process anew '
            f"with {' '.join(f'{name}={value}' for name, value in PORTABLE_VARIABLES.items())}."
        )
    variables = {name: os.environ[name] for name in _VARIABLES if name in os.environ}
    entries = {
        "torch": torch.__version__,
        "torch.capability": capability,
        "torch.threads": str(torch.get_num_threads()),
        "torch.deterministic": str(torch.are_deterministic_algorithms_enabled()),
        "torch.mkldnn": str(_mkldnn()),
        "torch.variables": " ".join(f"{name}={value}" for name, value in sorted(variables.items())) or "none",
        "device": device,
    }
    return entries | (_cuda_entries() if device == "cuda" else {})


def _cuda_entries() -> dict[str, str]:
    if not torch.cuda.is_available():
        raise MachineError(
            'the run computed with device = "cuda", but torch sees no card here. Use a machine with one.'
        )
    # The promise on CUDA is for the same card model and versions (docs/architecture.md, rule 4).
    major, minor = torch.cuda.get_device_capability()
    return {
        "device": f"cuda {torch.cuda.get_device_name()} sm_{major}{minor}",
        "torch.cuda": str(torch.version.cuda),
        "torch.cudnn": _cudnn(),
        "torch.tf32": str(torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32),
        "torch.cublas": os.environ.get(_WORKSPACE[0], "unset"),
    }


def _mkldnn() -> bool:
    backend: Any = torch.backends.mkldnn  # its functions carry no annotations
    return bool(backend.is_available() and backend.enabled)


def _cudnn() -> str:
    backend: Any = torch.backends.cudnn
    return str(backend.version())


@contextmanager
def noise(seeds: SeedTree, device: str = "cpu") -> Iterator[None]:
    """Seed torch's global generators from the node `seeds` within the block, and restore their state after it.

    So other code that draws from them is not affected. torch's CPU generator takes 32 bits of a seed, so two of very
    many streams may coincide; each is used for the masks of one step only.
    """
    seed = seeds.integer()
    before = torch.default_generator.get_state()
    before_cuda = torch.cuda.get_rng_state() if device == "cuda" else None
    torch.default_generator.manual_seed(seed)
    if before_cuda is not None:
        torch.cuda.manual_seed(seed)
    try:
        yield
    finally:
        torch.default_generator.set_state(before)
        if before_cuda is not None:
            torch.cuda.set_rng_state(before_cuda)
