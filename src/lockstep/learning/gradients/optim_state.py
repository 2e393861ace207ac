"""Optimisers by settings, over one flat parameter, and their state as arrays.

Only elementwise optimisers are offered: only they compute the same over one flat array as tensor by tensor. The form
is part of the settings and of the record, because a fused update rounds differently from separate operations.
"single" and "foreach" give the bits of a plain PyTorch loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import torch

from lockstep.core.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

NAMES: Final = ("adam", "adamw", "sgd", "rmsprop")
FORMS: Final = ("single", "foreach", "fused")
_MOMENTS: Final = {"adam": 2, "adamw": 2, "sgd": 1, "rmsprop": 1}


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    """Everything that decides an update, beside weights, gradient and state.

    betas               Adam's and AdamW's decay rates
    momentum, nesterov  SGD's; momentum is RMSprop's too
    alpha               RMSprop's smoothing
    form                "single" is torch's default on the CPU
    """

    name: Literal["adam", "adamw", "sgd", "rmsprop"] = "adam"
    learning_rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    momentum: float = 0.0
    nesterov: bool = False
    alpha: float = 0.99
    form: Literal["single", "foreach", "fused"] = "single"

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise InputError(f"an optimiser is one of {', '.join(NAMES)}; found {self.name!r}")
        if self.form not in FORMS:
            raise InputError(f"the form of an optimiser is one of {', '.join(FORMS)}; found {self.form!r}")
        if self.form == "fused" and self.name == "rmsprop":
            raise InputError('torch has no fused RMSprop. Use form = "single" or "foreach".')
        if not self.learning_rate > 0.0:
            raise InputError(f"a learning rate is more than 0; found {self.learning_rate!r}")

    def make(self, weights: nn.Parameter) -> torch.optim.Optimizer:
        """A torch optimiser of one flat parameter (size,)."""
        form: dict[str, Any] = {"foreach": self.form == "foreach"}
        if self.name != "rmsprop":
            form["fused"] = self.form == "fused"
        common = {"lr": self.learning_rate, "weight_decay": self.weight_decay, **form}
        if self.name == "sgd":
            return torch.optim.SGD([weights], momentum=self.momentum, nesterov=self.nesterov, **common)
        if self.name == "rmsprop":
            return torch.optim.RMSprop([weights], alpha=self.alpha, eps=self.eps, momentum=self.momentum, **common)
        kind = torch.optim.Adam if self.name == "adam" else torch.optim.AdamW
        return kind([weights], betas=self.betas, eps=self.eps, **common)

    @property
    def moments(self) -> int:
        """How many numbers the optimiser keeps for each weight."""
        if self.name == "sgd":
            return 1 if self.momentum else 0
        return _MOMENTS[self.name] + (1 if self.name == "rmsprop" and self.momentum else 0)

    def to_json(self) -> dict[str, Any]:
        """The fields by name, as JSON values for the journal."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> OptimizerSettings:
        """Rebuild settings from what `to_json` returned."""
        return cls(**{**value, "betas": tuple(value["betas"])})


def optimizer_arrays(optimizer: torch.optim.Optimizer, weights: nn.Parameter) -> dict[str, NDArray[Any]]:
    """The optimiser's state by name, sorted: views on the CPU, each of at least one dimension. Empty before step 1."""
    state: Mapping[str, Any] = optimizer.state.get(weights, {})
    return {
        name: value.cpu().numpy().reshape(-1)
        for name, value in sorted(state.items())
        if isinstance(value, torch.Tensor)
    }


def load_optimizer_arrays(
    optimizer: torch.optim.Optimizer, weights: nn.Parameter, arrays: Mapping[str, NDArray[np.generic]]
) -> None:
    """Set the optimiser's state to copies of arrays that `optimizer_arrays` returned."""
    optimizer.state.pop(weights, None)
    for name, array in arrays.items():
        value = torch.from_numpy(array.copy()).to(weights.device)
        # torch keeps the count of steps as a scalar, on the host unless the update is fused on a card.
        if name == "step":
            fused = bool(optimizer.param_groups[0].get("fused"))
            value = value.reshape(()) if fused else value.reshape(()).cpu()
        optimizer.state[weights][name] = value


def set_learning_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    """Set the learning rate of all later updates."""
    for group in optimizer.param_groups:
        group["lr"] = value
