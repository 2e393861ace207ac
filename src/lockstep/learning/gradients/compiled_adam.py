"""Adam and AdamW over a flat array in two compiled passes, with the bits of torch's own update.

    machine = compiled_adam(settings, weights, moments)        # None: torch's own has to be used
    machine.apply(gradient, learning_rate)

torch's update is a dozen passes over the array; a replay does little else. Notation: w weights, g gradient, m and v the
moments, t the number of the update, eta its rate, lambda the weight decay, o(.) one rounding to the array's type:

    g <- fma(lambda, w, g)                      Adam;  AdamW: w <- o(w o(1 - eta lambda))
    m <- fma(c, o(g - m), b)                    (c, b) = (1 - beta1, m) where 1 - beta1 < 1/2, else (-beta1, g)
    v <- fma(o((1 - beta2) g), g, o(beta2 v))
    s <- sqrt(v)                                by torch: its vectors of roots are not always the nearest numbers;
                                                the fused form's are
    w <- o(w + o(o(-eta / (1 - beta1^t) m) / o(o(s / sqrt(1 - beta2^t)) + eps)))

Where the roundings are is nothing that torch promises: it follows from its kernels and from how they were compiled. So
both are computed on numbers of all sizes before the first use in a process, and compared bit for bit (`_proven`); where
they differ, as other versions or instruction sets may, the replay goes on with torch's own update.

Source: Kingma, Ba, "Adam: a method for stochastic optimization", ICLR 2015; Loshchilov, Hutter, "Decoupled weight decay
regularization", ICLR 2019; the order of operations is that of torch.optim.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch import nn

from lockstep.learning.gradients.optim_state import load_optimizer_arrays, optimizer_arrays, set_rates

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.learning.gradients.optim_state import OptimizerSettings

    Arrays = Mapping[str, NDArray[Any]]

STATE: Final = ("exp_avg", "exp_avg_sq", "step")
"""Names under which torch keeps m, v and t."""
_PROOF: Final = 1 << 12
"""Elements on which the two are compared; the rest modulo this many is added, for the end of a vector."""
_RATES: Final = (1e-3, 0.37)


def compiled_adam(
    settings: OptimizerSettings, weights: NDArray[Any], moments: Arrays, *, proof: bool = True
) -> CompiledAdam | None:
    """An Adam over `weights` (size,), which it changes in place, continuing from copies of `moments` by torch's names.

    None for another optimiser, another state, or where the bits would not be torch's. `proof` False does not ask.
    """
    if settings.name not in ("adam", "adamw") or settings.amsgrad or (moments and sorted(moments) != sorted(STATE)):
        return None
    if proof and not _proven(replace(settings, learning_rate=_RATES[0]), weights.dtype.str, _tested(weights.size)):
        return None
    return CompiledAdam(settings, weights, moments)


class CompiledAdam:
    """See the module's docstring. Made by `compiled_adam`."""

    def __init__(self, settings: OptimizerSettings, weights: NDArray[Any], moments: Arrays) -> None:
        self._settings, self._weights = settings, weights
        self._begun = bool(moments)
        self._first = moments["exp_avg"].copy() if moments else np.zeros_like(weights)
        self._second = moments["exp_avg_sq"].copy() if moments else np.zeros_like(weights)
        # torch counts in float32, whatever the weights are.
        self._count = moments["step"].copy() if moments else np.zeros(1, np.float32)
        self._root = np.empty_like(weights)
        # Views of the same memory.
        self._square, self._square_root = torch.from_numpy(self._second), torch.from_numpy(self._root)
        # Here and not at the top: only a replay needs numba.
        from lockstep.learning.gradients.adam_kernels import advance, descend

        self._advance, self._descend = advance, descend

    def apply(self, gradient: NDArray[Any], learning_rate: float) -> None:
        """Update the weights with a gradient (size,), which stays as it is."""
        settings, kind = self._settings, self._weights.dtype.type
        (beta1, beta2), decay = settings.betas, settings.weight_decay
        # numba compiles anew for arrays that may be written to; those of a record may not.
        gradient = gradient.view()
        gradient.flags.writeable = False
        self._count += np.float32(1.0)
        self._begun = True
        step = float(self._count[0])
        # In Python's floats, as torch computes them, then rounded once to the array's type.
        share = kind(1 - beta1)
        small = bool(abs(share) < kind(0.5))
        decays = 0 if decay == 0 else 2 if settings.name == "adamw" else 1
        self._advance(
            self._weights,
            gradient,
            self._first,
            self._second,
            share if small else share - kind(1.0),
            small,
            kind(beta2),
            kind(1 - beta2),
            kind(1 - learning_rate * decay if decays == 2 else decay),
            decays,
        )
        if settings.form == "fused":
            np.sqrt(self._second, out=self._root)
        else:
            torch.sqrt(self._square, out=self._square_root)
        self._descend(
            self._weights,
            self._first,
            self._root,
            kind((1 - beta2**step) ** 0.5),
            kind(settings.eps),
            kind(-(learning_rate / (1 - beta1**step))),
        )

    def moments(self) -> dict[str, NDArray[Any]]:
        """The state by torch's names: views, valid until the next update. Empty before the first."""
        return dict(zip(STATE, (self._first, self._second, self._count), strict=True)) if self._begun else {}


def _tested(size: int) -> int:
    return size if size <= _PROOF else _PROOF + size % _PROOF


@functools.lru_cache(maxsize=64)
def _proven(settings: OptimizerSettings, dtype: str, size: int) -> bool:
    """Whether both give the same bits over a few updates of `size` elements: denormal, zero, ordinary and huge."""
    rng = np.random.Generator(np.random.Philox(key=7))

    def numbers() -> NDArray[Any]:
        info = np.finfo(dtype)
        lowest, highest = float(np.log2(info.smallest_subnormal)), float(np.log2(info.max)) / 2.2
        scales = np.exp2(rng.uniform(lowest, highest, size))
        scales[: size // 2] = np.exp2(rng.uniform(-12.0, 3.0, size // 2))
        values: NDArray[Any] = (rng.normal(size=size) * scales).astype(dtype)
        values[rng.random(size) < 0.05] = 0.0
        return rng.permutation(values)

    weights = numbers()
    parameter = nn.Parameter(torch.from_numpy(weights.copy()))
    optimizer = settings.make(parameter)
    ours = CompiledAdam(settings, weights, {})
    for step in range(4):
        gradient, rate = numbers(), _RATES[step % 2]
        parameter.grad = torch.from_numpy(gradient.copy())
        if step == 2:  # and from a state that was loaded
            load_optimizer_arrays(optimizer, parameter, optimizer_arrays(optimizer, parameter))
        set_rates(optimizer, rate)
        optimizer.step()
        ours.apply(gradient, rate)
        theirs = {"weights": parameter.detach().numpy(), **optimizer_arrays(optimizer, parameter)}
        mine = {"weights": weights, **ours.moments()}
        if theirs.keys() != mine.keys() or any(theirs[name].tobytes() != mine[name].tobytes() for name in theirs):
            return False
    return True
