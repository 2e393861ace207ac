"""Networks of agents, and target networks that follow them.

A target network is a copy whose parameters are buffers of the module. So no optimiser moves them, every record and
digest of the module's state contains them (`gradients.recorder`), and a replay from gradients need not know how they
follow.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import nn

from lockstep.core.errors import InputError

DTYPES: Final = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True, kw_only=True)
class NetworkShape:
    """Sizes of a perceptron: `inputs` features, layers of `hidden` rectified units, one output per action."""

    inputs: int
    actions: int = 3
    hidden: tuple[int, ...] = (64, 64)
    dtype: Literal["float32", "float64"] = "float32"

    def __post_init__(self) -> None:
        """Raises InputError for a size below 1."""
        for name, value in (("inputs", self.inputs), ("actions", self.actions), *(("hidden", n) for n in self.hidden)):
            if value < 1:
                raise InputError(f"a network's {name} is at least 1; found {value!r}")
        if self.dtype not in DTYPES:
            raise InputError(f"a network's dtype is one of {', '.join(DTYPES)}; found {self.dtype!r}")


def perceptron(shape: NetworkShape) -> nn.Sequential:
    """Linear layers with rectifiers between them, initialised by torch's defaults."""
    sizes = (shape.inputs, *shape.hidden)
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ReLU()]
    layers.append(nn.Linear(sizes[-1], shape.actions))
    return nn.Sequential(*layers).to(DTYPES[shape.dtype])


def target_of(network: nn.Module) -> nn.Module:
    """A copy of `network` whose parameters are buffers."""
    target = copy.deepcopy(network)
    for module in target.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            del module._parameters[name]
            module.register_buffer(name, parameter.detach().clone())
    return target


class Follower:
    """Moves target networks towards their originals: target <- target + tau (original - target).

    pairs  of an original and its target
    tau    share of the distance, in (0, 1]; 1 copies
    every  updates between two moves
    """

    def __init__(self, pairs: Sequence[tuple[nn.Module, nn.Module]], *, tau: float, every: int) -> None:
        if not 0.0 < tau <= 1.0 or every < 1:
            raise InputError(
                f"a target network follows by a share tau in (0, 1] every n >= 1 updates; found {tau!r} and {every!r}"
            )
        self._tau, self._every = tau, every
        self._originals: list[torch.Tensor] = []
        self._targets: list[torch.Tensor] = []
        for original, target in pairs:
            held = dict(target.named_buffers())
            for name, parameter in original.named_parameters():
                self._originals.append(parameter)
                self._targets.append(held[name])

    def after(self, step: int) -> None:
        """Move the targets where a move is due; call it after update `step`."""
        if (step + 1) % self._every:
            return
        with torch.no_grad():
            if self._tau == 1.0:
                torch._foreach_copy_(self._targets, self._originals)
            else:
                torch._foreach_lerp_(self._targets, self._originals, self._tau)
