"""`Learner`: a model, its optimiser, and the only way in which a step changes them.

    noise of the step -> forward -> loss -> gradient -> clip -> update -> average of the weights, where one is kept

An update needs the clipped gradient, the learning rate and the momentum, nothing else. So stored gradients lead to the
same weights (`replay` applies them with the same optimiser). `get_state` and `set_state` carry everything that later
steps depend on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import torch

from lockstep.core.errors import InputError, IntegrityError, RefusedError
from lockstep.core.hashing import digest_columns
from lockstep.learning.gradients import determinism
from lockstep.learning.gradients.flat import FlatModel
from lockstep.learning.gradients.module_state import ArrayViews, StateOutside, declared_arrays, set_declared
from lockstep.learning.gradients.optim_state import (
    OptimizerSettings,
    WeightAverage,
    load_optimizer_arrays,
    optimizer_arrays,
    set_rates,
)
from lockstep.learning.gradients.user_failures import failures_of

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from lockstep.runs.seeds import SeedTree

WEIGHTS: Final = "weights"
OPTIMIZER: Final = "optimizer."
BUFFER: Final = "buffer."
# The constant of torch.nn.utils.clip_grad_norm_, so that clipping gives the bits of a plain PyTorch loop.
_CLIP_EPS: Final = 1e-6
_FLOAT32_BYTES: Final = 4

Arrays = Mapping[str, "NDArray[np.generic]"]
"""`weights` (size,), `optimizer.NAME`, `ema.NAME`, `buffer.NAME`: the whole state of a learner."""


class Losses(NamedTuple):
    """A loss to descend, and the named parts that are recorded beside it; all scalars."""

    total: torch.Tensor
    parts: Mapping[str, torch.Tensor]


Compute = Callable[["nn.Module"], Losses]
"""Gives the loss of the model on some samples, forward pass included."""


@dataclass(frozen=True)
class MicroBatch:
    """A part of a batch whose gradient is computed on its own: `samples` says how much it counts."""

    samples: int
    compute: Compute


def full_precision(output: torch.Tensor) -> torch.Tensor:
    """An output as float32 where its type has fewer bits, as under autocast: a loss in bfloat16 has three digits."""
    few = isinstance(output, torch.Tensor) and output.is_floating_point() and output.element_size() < _FLOAT32_BYTES
    return output.float() if few else output


def _numbers(losses: Mapping[str, torch.Tensor]) -> dict[str, float]:
    """The losses as Python numbers, all of the type to which torch promotes them together."""
    values = losses.values()
    if all(item.dtype == torch.float32 and item.device.type == "cpu" for item in values):
        return {name: item.item() for name, item in losses.items()}
    # One transfer for all: on a card each .item() would wait for the device.
    return dict(zip(losses, torch.stack([item.detach() for item in values]).tolist(), strict=True))


@dataclass(frozen=True, kw_only=True)
class Update:
    """Report of one update.

    losses         total and parts by name
    gradient_norm  L2 norm before clipping
    clip           factor that the gradient was scaled by, 1 where it was not clipped
    learning_rate  rate of this update
    momentum       momentum of this update where a schedule moves it, else None
    """

    losses: dict[str, float]
    gradient_norm: float
    clip: float
    learning_rate: float
    momentum: float | None = None


class Learner:
    """A model in training.

    module     takes part with every parameter that requires a gradient
    seeds      node of the seed tree; the noise of step n (dropout) is its stream ("noise", n)
    clip_norm  the gradient is scaled down to this L2 norm; None never clips

    Raises InputError for a clip_norm of 0 or less, and as `FlatModel` does.
    """

    def __init__(
        self,
        module: nn.Module,
        optimizer: OptimizerSettings,
        *,
        seeds: SeedTree,
        clip_norm: float | None = None,
        device: str = "cpu",
    ) -> None:
        if clip_norm is not None and not clip_norm > 0.0:
            raise InputError(f"clip_norm is more than 0, or absent for no clipping; found {clip_norm!r}")
        determinism.settle()
        self.device = device
        self.settings = optimizer
        self.clip_norm = clip_norm
        self.flat = FlatModel(module, device)
        self.optimizer = optimizer.make(self.flat.weights)
        decay = optimizer.ema_decay
        self._average = None if decay is None else WeightAverage(self.flat.weights, decay)
        self.momentum: Callable[[int], float] | None = None
        """Momentum of each step where a schedule moves it; None for the optimiser's own."""
        self._outside = StateOutside(self.flat.module)
        self._views, self._moment_views = ArrayViews(), ArrayViews()
        self._seeds = seeds.child("noise")

    @property
    def module(self) -> nn.Module:
        """The model; its parameters are views into `flat.weights`."""
        return self.flat.module

    def update(self, step: int, compute: Compute | Sequence[MicroBatch], learning_rate: float | None = None) -> Update:
        """Update the model once. `compute` runs in training mode, under the noise of `step`.

        Micro-batches follow each other in one stream of noise, and each has its own batch statistics. The gradient is
        that of the mean of their losses, weighted by their samples.

        Afterwards `gradient()` is the gradient as applied. Raises RefusedError when the gradient is not finite; then
        the weights are unchanged, but buffers that the forward pass changes are not.
        """
        determinism.settle()
        rate = self.settings.learning_rate if learning_rate is None else learning_rate
        if not self.module.training:
            self.module.train()
        with determinism.noise(self._seeds.child(step), self.device), failures_of(self.module, f"step {step}"):
            losses = self._differentiate([MicroBatch(1, compute)] if callable(compute) else compute)
        norm = float(torch.linalg.vector_norm(self.flat.gradient))
        if not math.isfinite(norm):
            raise RefusedError(
                f"step {step}: a gradient has to be finite; its norm is {norm} (losses {losses}). Lower the learning "
                "rate, set clip_norm, or look for extreme inputs in the batch of this step."
            )
        clip = 1.0
        if self.clip_norm is not None and norm > self.clip_norm:
            clip = self.clip_norm / (norm + _CLIP_EPS)
            self.flat.gradient.mul_(clip)
        momentum = None if self.momentum is None else self.momentum(step)
        set_rates(self.optimizer, rate, momentum)
        self.optimizer.step()
        if self._average is not None:
            self._average.add(self.flat.weights.detach())
        return Update(losses=losses, gradient_norm=norm, clip=clip, learning_rate=rate, momentum=momentum)

    def _differentiate(self, batches: Sequence[MicroBatch]) -> dict[str, float]:
        """Leave the gradient of the weighted mean in `flat.gradient`, and return the mean of each loss by name."""
        every = sum(batch.samples for batch in batches)
        sums: dict[str, torch.Tensor] = {}
        for place, batch in enumerate(batches):
            total, parts = batch.compute(self.module)
            determinism.settle()  # a network may have changed torch's switches since
            share = batch.samples / every
            self.flat.differentiate(total if len(batches) == 1 else total * share, add=place > 0)
            for name, value in {"total": total, **parts}.items():
                part = value.detach() if len(batches) == 1 else value.detach() * share
                sums[name] = part if name not in sums else sums[name] + part
        return _numbers(sums)

    def gradient(self) -> NDArray[np.generic]:
        """The gradient of the last update as applied (size,); a view on the CPU, valid until the next update."""
        return self._views.of("gradient", self.flat.gradient)

    @contextmanager
    def evaluating(self) -> Iterator[nn.Module]:
        """The model in evaluation mode without gradients, within the block; in training mode after it."""
        self.module.eval()
        try:
            with torch.no_grad():
                yield self.module
        finally:
            self.module.train()

    @property
    def averages(self) -> bool:
        """Whether an average of the weights is kept."""
        return self._average is not None

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The average in the place of the weights within the block; buffers stay. Changes nothing where there is none.

        Nothing may be trained within it.
        """
        if self._average is None:
            yield
            return
        weights = self.flat.weights.data
        trained = weights.clone()
        weights.copy_(self._average.values)
        try:
            yield
        finally:
            weights.copy_(trained)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """The state by name: views where the device is the CPU, valid until the next update."""
        moments = optimizer_arrays(self.optimizer, self.flat.weights, self._moment_views)
        return {
            WEIGHTS: self._views.of(WEIGHTS, self.flat.weights),
            **{f"{OPTIMIZER}{name}": array for name, array in moments.items()},
            **({} if self._average is None else self._average.arrays()),
            **self.buffer_arrays(),
        }

    def buffer_arrays(self) -> dict[str, NDArray[np.generic]]:
        """The module's buffers and declared state under the names `buffer.NAME`; views on the CPU."""
        return {f"{BUFFER}{name}": array for name, array in self._outside.arrays().items()}

    def digest(self) -> str:
        """BLAKE3 of the whole state: weights, optimiser, buffers."""
        return digest_columns(self.arrays())

    def get_state(self) -> dict[str, Any]:
        """A copy of the state, for a checkpoint. Raises InputError when user code moved or replaced a parameter."""
        self.flat.check_valid()
        return {name: array.copy() for name, array in self.arrays().items()}

    def set_state(self, arrays: Arrays) -> None:
        """Restore a state that `get_state` returned. Raises IntegrityError when it is another model's."""
        self.set_weights(arrays)
        prefix = len(OPTIMIZER)
        moments = {name[prefix:]: array for name, array in arrays.items() if name.startswith(OPTIMIZER)}
        load_optimizer_arrays(self.optimizer, self.flat.weights, moments)
        if self._average is not None:
            self._average.set_arrays(arrays)

    def set_weights(self, arrays: Arrays) -> None:
        """Set weights and buffers, not the optimiser. Raises IntegrityError when they are another model's."""
        weights, buffers = arrays[WEIGHTS], self.flat.buffers()
        named = {name[len(BUFFER) :]: array for name, array in arrays.items() if name.startswith(BUFFER)}
        declared = set(declared_arrays(self.module))
        if weights.shape != (self.flat.layout.size,) or named.keys() != buffers.keys() | declared:
            raise IntegrityError(
                f"a state belongs to the model it was taken from; this one has {weights.shape} weights and buffers "
                f"{sorted(named)}, the model {(self.flat.layout.size,)} and {sorted(buffers.keys() | declared)}."
            )
        with torch.no_grad():
            self.flat.weights.copy_(torch.from_numpy(weights.copy()))
            for name, value in buffers.items():
                value.copy_(torch.from_numpy(named[name].copy()))
        if declared:
            set_declared(self.module, {name: named[name] for name in declared})
