"""The rehearsal of a user's network before its run: passes on real batches with a network that is thrown away.

    1. in training: the first batch twice, the last batch of an epoch, the first batch once more; forward and backward,
       each from the same listed state and under the same noise. Outputs, gradients and listed state have to come out
       equal, weights untouched, and nothing else changed: then a step depends on what a checkpoint keeps.
    2. in training with very large weights: weights that are clipped only when they are large show here.
    3. in evaluation: the same twice; outputs finite, and no state changed at all.

Listed state is buffers, and what a module declares by `get_extra_state`. Networks that come with Lockstep are tested
elsewhere, so of these only shapes are tried.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from lockstep.core.errors import NetworkError
from lockstep.core.hashing import digest_columns
from lockstep.kinds.shared import unlisted_state
from lockstep.kinds.shared.passes import Judge, Pass, others_noise
from lockstep.learning.gradients import determinism
from lockstep.learning.gradients.determinism import noise
from lockstep.learning.gradients.flat import FlatModel
from lockstep.learning.gradients.module_state import declared_arrays, set_declared
from lockstep.learning.gradients.user_failures import cure_of
from lockstep.runs.user_modules import USER_FAILURES

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from lockstep.kinds.shared.network_code import NetworkCode
    from lockstep.runs.seeds import SeedTree

_LARGE: Final = 1_000.0
_LEAVE_WEIGHTS: Final = (
    "Only the optimiser changes weights. Compute with a changed copy in place of it, such as "
    "F.linear(x, self.layer.weight.clamp(-1, 1)), and use nn.Embedding without max_norm"
)


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """What a network is rehearsed with.

    batches   inputs of the first batch of an epoch and of its last, which may be smaller; more than one row in the
              first
    check     raises NetworkError for an output of other form than the kind needs, from the output and its rows
    tensors   the tensors of an output
    loss      loss of an output, from the output and the number of the batch, 0 or 1
    """

    batches: tuple[Sequence[torch.Tensor], Sequence[torch.Tensor]]
    check: Callable[[Any, int], None]
    tensors: Callable[[Any], Sequence[torch.Tensor]]
    loss: Callable[[Any, int], torch.Tensor]


def rehearse(code: NetworkCode, make: Callable[[], nn.Module], plan: Rehearsal, seeds: SeedTree) -> None:
    """Put a network through the rehearsal.

    make    makes the network as its training begins with it
    seeds   stream of the noise

    Raises NetworkError, which names rule, line and cure; InputError for weights that cannot be trained.
    """
    determinism.settle()
    with as_before():
        _try_shapes(code, make(), plan, seeds)
        if code.is_users:
            # Another one: what the first has remembered would hide that it remembers.
            _Stage(code, FlatModel(make()), plan, seeds).play()


def judge_of(name: str) -> Judge:
    """The judge of a network's passes."""
    return Judge(
        name=name,
        method="forward()",
        state="neither a weight nor a buffer",
        list_it=(
            "Keep it in a buffer (self.register_buffer), or declare it with get_extra_state() and set_extra_state()"
        ),
        noise="neither weight nor buffer nor drawn from torch's own generator",
        draw="Draw with torch, which Lockstep seeds for each step: torch.rand_like(x), torch.randn_like(x)",
        settle=determinism.settle,
        switches=determinism.switches,
    )


@contextmanager
def as_before() -> Iterator[None]:
    """Give the process its generators and torch's switches back after the block, whatever a user's code did to them."""
    default = torch.get_default_dtype()
    try:
        with others_noise():
            yield
    finally:
        torch.set_default_dtype(default)
        determinism.settle()


def _try_shapes(code: NetworkCode, module: nn.Module, plan: Rehearsal, seeds: SeedTree) -> None:
    first, last = plan.batches
    # One sample alone: a squeeze() that loses the batch, or a norm over one row, shows only there.
    start = _listed(module)
    for inputs in (first, last, [item[:1] for item in first]):
        with noise(seeds):
            plan.check(code.call(module, *inputs), len(inputs[0]))
        _restore(module, start)
    for inputs in (first, last):
        with noise(seeds):
            try:
                output = code.call(module, *inputs, train=True)
            except NetworkError as error:
                if len(inputs[0]) == len(first[0]):
                    raise
                raise NetworkError(
                    f"{error} (the last batch of an epoch has {len(inputs[0])} of the training samples: choose another "
                    "training.batch_size)"
                ) from error
        _restore(module, start)
        plan.check(output, len(inputs[0]))
        if not any(tensor.requires_grad for tensor in plan.tensors(output)):
            raise NetworkError(
                f"{code.name}: an output depends on a trained parameter; none does. Look for detach(), no_grad() or "
                "requires_grad_(False) in the network"
            )


class _Stage:
    def __init__(self, code: NetworkCode, flat: FlatModel, plan: Rehearsal, seeds: SeedTree) -> None:
        self._code, self._flat, self._plan, self._seeds = code, flat, plan, seeds
        self._module = flat.module
        self._start = _listed(self._module)
        self._judge = judge_of(code.name)

    def play(self) -> None:
        one = self._pass(0)
        two = self._pass(0)
        self._require_equal(one, two, "twice")
        self._pass(1)
        self._stray()
        self._require_equal(two, self._pass(0), "before and after another batch")
        self._evaluate()
        self._with_large_weights()

    def _stray(self) -> None:
        """A pass over larger inputs, whatever comes of it: what a network has seen so far may matter to the next."""
        inputs = [item * 2 if item.is_floating_point() else item for item in self._plan.batches[0]]
        with noise(self._seeds), contextlib.suppress(NetworkError):
            self._code.call(self._module, *inputs, train=True)

    def _pass(self, number: int, *, train: bool = True) -> Pass:
        module, flat, inputs = self._module, self._flat, self._plan.batches[number]
        _restore(module, self._start)
        before, versions = _parameters(module), _versions(module)
        with self._judge.watching(), noise(self._seeds):
            output = self._code.call(module, *inputs, train=train)
            if train:
                self._differentiate(self._plan.loss(output, number))
        if _parameters(module) != before or (train and _versions(module) != versions):
            name = next(
                (name for name, value in _parameters(module).items() if value != before.get(name)),
                next((n for n, version in _versions(module).items() if version != versions.get(n)), "a weight"),
            )
            raise NetworkError(
                f"{self._code.name}: forward() changes or replaces the weight {name}, or whether it is trained. "
                f"{_LEAVE_WEIGHTS}"
            )
        flat.check_valid()
        tensors = {str(place): _array(item) for place, item in enumerate(self._plan.tensors(output))}
        return Pass(
            results={
                "outputs": digest_columns(tensors),
                "gradients": digest_columns({"gradient": flat.gradient.numpy()}),
                "buffers": _digest(_listed(module)),
            },
            unlisted=unlisted_state.read(module),
        )

    def _differentiate(self, loss: torch.Tensor) -> None:
        try:
            self._flat.differentiate(loss)
        except USER_FAILURES as error:
            if isinstance(error, NetworkError):
                raise
            cure = cure_of(error)
            raise NetworkError(
                f"{self._code.name}{self._code.line(error)}: the network fails when its gradients are computed: "
                f"{type(error).__name__}: {error}{'. ' if cure else ''}{cure}"
            ) from error

    def _require_equal(self, one: Pass, two: Pass, when: str) -> None:
        self._judge.require_equal(one, two, when)
        persistent = set(self._module.state_dict())
        for name, value in self._module.named_buffers():
            if name not in persistent and _array(value).tobytes() != self._start.get(name, value.numpy()).tobytes():
                raise NetworkError(
                    f"{self._code.name}: forward() changes {name}, a buffer that is not persistent, so files of "
                    "weights would lack it. Register it without persistent=False"
                )
        self._judge.require_listed(one, two)

    def _evaluate(self) -> None:
        for number in (0, 1):
            one, two = self._pass(number, train=False), self._pass(number, train=False)
            self._judge.require_equal(one, two, "twice in evaluation mode")
            if two.results["buffers"] != _digest(self._start):
                after = _listed(self._module)
                name = next(name for name, value in after.items() if not _same(value, self._start.get(name)))
                raise NetworkError(
                    f"{self._code.name}: in evaluation mode forward() changes the buffer {name}; then a result depends "
                    "on how often a network was looked at. Change it only `if self.training:`"
                )
            self._judge.require_listed(one, two)

    def _with_large_weights(self) -> None:
        """Weights that are clipped when they are large: `.data.clamp_` leaves no other trace at the start."""
        module = self._module
        _restore(module, self._start)
        with torch.no_grad():
            self._flat.weights.mul_(_LARGE)
        before = _parameters(module)
        with noise(self._seeds), contextlib.suppress(NetworkError):  # such weights may be more than a network bears
            self._code.call(module, *self._plan.batches[0], train=True)
        after = _parameters(module)
        name = next((name for name, value in after.items() if value != before.get(name)), None)
        if name is not None:
            raise NetworkError(
                f"{self._code.name}: forward() changes the weight {name} when it is large. {_LEAVE_WEIGHTS}"
            )


def _array(value: torch.Tensor) -> NDArray[Any]:
    whole = value.detach().cpu()
    few = whole.is_floating_point() and whole.element_size() < 4  # bfloat16 is no type of NumPy's
    return np.atleast_1d((whole.float() if few else whole).numpy())


def _listed(module: nn.Module) -> dict[str, NDArray[Any]]:
    """Copies of buffers and declared state, by name."""
    buffers = {name: np.array(value.detach().cpu().numpy()) for name, value in module.named_buffers()}
    return buffers | declared_arrays(module)


def _digest(listed: dict[str, NDArray[Any]]) -> str:
    return digest_columns({name: np.atleast_1d(value) for name, value in listed.items()})


def _same(one: NDArray[Any], two: NDArray[Any] | None) -> bool:
    return two is not None and one.tobytes() == two.tobytes()


def _restore(module: nn.Module, listed: dict[str, NDArray[Any]]) -> None:
    buffers = dict(module.named_buffers())
    with torch.no_grad():
        for name, value in buffers.items():
            if name in listed and value.shape == listed[name].shape:
                value.copy_(torch.from_numpy(listed[name].copy()))
    set_declared(module, listed)


def _parameters(module: nn.Module) -> dict[str, tuple[bool, int, bytes]]:
    return {
        name: (value.requires_grad, value.data_ptr(), digest_columns({"w": _array(value)}).encode())
        for name, value in module.named_parameters()
    }


def _versions(module: nn.Module) -> dict[str, int]:
    """How often torch has changed each parameter in place, by name: also a clip that clips nothing counts."""
    return {name: value._version for name, value in module.named_parameters()}
