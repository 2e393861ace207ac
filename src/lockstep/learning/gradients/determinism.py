"""Deterministic torch: switches to set before it computes, its part of a run's numerics, noise from the seed tree.

- One thread, deterministic algorithms, no flushing of denormal numbers; on CUDA no TF32 and no autotuning.
  `settle` sets this for the whole process and is cheap to call again.
- `numerics_entries` names everything that changes last bits: versions, instruction sets, device. Seen on one machine:
  two threads, ATEN_CPU_CAPABILITY=default, ONEDNN_MAX_CPU_ISA=AVX2 and MKL_CBWR=COMPATIBLE each give other gradients.
  `runs.arithmetic` says why effects stand before spellings.
- Layers such as dropout draw from torch's global generators and accept no other. `noise` seeds these for one block and
  then restores them, so a stream depends on its address in the seed tree, never on the order of calls.

Sources: PyTorch notes on reproducibility and numerical accuracy; oneDNN developer guide, "CPU dispatcher control".
"""

from __future__ import annotations

import functools
import math
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from lockstep.core.errors import InputError, MachineError
from lockstep.core.hashing import blake3_hex
from lockstep.runs import arithmetic
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
_VARIABLES: Final = ("MKL_", "TORCH_MKLDNN_", "FBGEMM_")
"""Prefixes of variables by which torch's libraries choose their code on the CPU; oneDNN's stand apart."""
_VARIABLES_OF_CUDA: Final = ("CUBLAS", "CUDNN_", "TORCH_CUDNN_", "TORCH_BLAS_", "TORCH_LINALG_")
_TF32_VARIABLES: Final = ("NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE")


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
    if not _only_older():
        for place in _precision_places():
            if place.fp32_precision not in _EXACT:
                place.fp32_precision = "none"
    torch.set_float32_matmul_precision("highest")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    for place in _precision_places():
        if place.fp32_precision not in _EXACT:
            place.fp32_precision = "none"
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


@contextmanager
def settled() -> Iterator[None]:
    """The rules of `settle` within the block; afterwards threads and switches are what they were before it.

    For functions that people call in a process of their own, whose other code need not follow these rules.
    """
    threads, mode = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    flushes = _flushes()
    switches = [(place, name, getattr(place, name)) for place, name in _switches()]
    newer = [(place, place.fp32_precision) for place in _precision_places()]
    settle()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_deterministic_debug_mode(mode)
        torch.set_flush_denormal(flushes)
        for place, name, value in switches:
            setattr(place, name, value)
        for place, precision in newer:
            if place.fp32_precision != precision:
                place.fp32_precision = precision


def _switches() -> list[tuple[Any, str]]:
    """Attributes of torch's older family that hold the switches of `settle`, in the order of setting them again."""
    backends: Any = torch.backends
    cudnn = [(backends.cudnn, "benchmark"), (backends.cudnn, "deterministic")]
    older = [(backends.cuda.matmul, "allow_tf32"), (backends.cudnn, "allow_tf32"), (_MatmulPrecision(), "value")]
    return [*cudnn, *older] if _only_older() else cudnn


def _only_older() -> bool:
    """Whether the older family of TF32's switches says all: torch refuses to read it once the newer contradicts it."""
    try:
        torch.get_float32_matmul_precision()
        return isinstance(torch.backends.cuda.matmul.allow_tf32, bool) and isinstance(
            torch.backends.cudnn.allow_tf32, bool
        )
    except RuntimeError:
        return False


_EXACT: Final = ("none", "ieee")


@functools.cache
def _precision_places() -> tuple[Any, ...]:
    """What carries a switch of its own for products in reduced precision, from the most general on (torch 2.9)."""
    backends: Any = torch.backends
    general = (backends, backends.cudnn, backends.mkldnn)
    return tuple(place for place in (*general, *_products()) if hasattr(place, "fp32_precision"))


@functools.cache
def _products() -> tuple[Any, ...]:
    """The most particular of these: a general switch shows in each of them."""
    backends: Any = torch.backends
    cudnn, mkldnn = backends.cudnn, backends.mkldnn
    places = [getattr(library, name, None) for library in (cudnn, mkldnn) for name in ("conv", "rnn", "matmul")]
    return tuple(place for place in (backends.cuda.matmul, *places) if hasattr(place, "fp32_precision"))


@functools.cache
def _precisions() -> tuple[Callable[[], str], ...]:
    """Calls that say what the switches of `_products` are; their attributes take five times as long."""
    read: Any = getattr(torch._C, "_get_fp32_precision_getter", None)
    calls: list[Callable[[], str]] = []
    for place in _products():
        try:
            calls.append(functools.partial(read, place.backend, place.op))
        except (AttributeError, TypeError):  # it has no names of its own, or torch has no such function
            calls.append(functools.partial(getattr, place, "fp32_precision"))
    return tuple(calls)


def _flushes() -> bool:
    """Whether numbers below the smallest normal one become 0: torch does not say it."""
    return sys.float_info.min / 2.0 == 0.0


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
            and not _flushes()
            and all(precision() in _EXACT for precision in _precisions())
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
    variables = arithmetic.variables(_VARIABLES) | arithmetic.variables_of_onednn()
    entries = {
        "torch": torch.__version__,
        "torch.capability": capability,
        "torch.threads": str(torch.get_num_threads()),
        "torch.deterministic": str(torch.are_deterministic_algorithms_enabled()),
        "torch.mkldnn": str(_mkldnn()),
        "torch.variables": arithmetic.written(variables),
        "torch.settings": arithmetic.written(_settings()),
        "torch.results": _results(),
        "device": device,
    }
    return entries | (_cuda_entries() if device == "cuda" else {})


def _settings() -> dict[str, str]:
    """Settings by which other code of this process chooses how torch computes, and which `settle` leaves alone."""
    backends: Any = torch.backends
    kernels = {"flash": "flash", "efficient": "mem_efficient", "math": "math"}
    attention = [name for name, stem in kernels.items() if getattr(backends.cuda, f"{stem}_sdp_enabled")()]
    einsum = backends.opt_einsum
    autocast = str(torch.get_autocast_dtype("cpu")) if torch.is_autocast_enabled("cpu") else "off"
    return {
        "dtype": str(torch.get_default_dtype()),
        "autocast": autocast,
        "attention": "+".join(attention) or "none",
        "fastpath": str(backends.mha.get_fastpath_enabled()),
        "einsum": str(einsum.strategy) if einsum.is_available() and einsum.enabled else "in order",
        "nnpack": str(torch._C._get_nnpack_enabled()) if hasattr(torch._C, "_get_nnpack_enabled") else "absent",
    }


def _results() -> str:
    """Digest of a convolution, products and their gradients on the CPU, of numbers that no generator drew.

    It shows what a variable or switch does that nobody has thought of.
    """

    def waves(*shape: int) -> torch.Tensor:
        return torch.sin(torch.arange(math.prod(shape), dtype=torch.float32)).reshape(shape).requires_grad_()

    signal, weight, left, right = waves(8, 4, 32), waves(16, 4, 5), waves(64, 96), waves(96, 48)
    with torch.enable_grad(), torch.autocast("cpu", enabled=False):
        convolved = torch.nn.functional.conv1d(signal, weight, padding=2)
        logits = torch.log_softmax(left @ right, dim=1)
        loss: Any = torch.tanh(convolved).sum() + logits.exp().mean()
        loss.backward()
    tensors = (convolved, logits, weight.grad, left.grad, torch.exp(signal), torch.log1p(right.square()))
    data = b"".join(tensor.detach().numpy().tobytes() for tensor in tensors if tensor is not None)
    return blake3_hex(data)[:16]


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
        "torch.cuda.variables": arithmetic.written(arithmetic.variables(_VARIABLES_OF_CUDA, also=_TF32_VARIABLES)),
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
