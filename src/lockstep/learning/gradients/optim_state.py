"""Optimisers by settings, over one flat parameter, and their state as arrays.

Only elementwise optimisers are offered: only they compute the same over one flat array as tensor by tensor. The form
is part of the settings and of the record, because a fused update rounds differently from separate operations.
"single" and "foreach" give the bits of a plain PyTorch loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import torch

from lockstep.core.errors import InputError, IntegrityError
from lockstep.learning.gradients.module_state import ArrayViews

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

Name = Literal["adam", "adamw", "nadam", "radam", "sgd", "rmsprop"]
NAMES: Final[tuple[Name, ...]] = ("adam", "adamw", "nadam", "radam", "sgd", "rmsprop")
FORMS: Final = ("single", "foreach", "fused")
UNFUSED: Final = {"nadam": "NAdam", "radam": "RAdam", "rmsprop": "RMSprop"}
"""Optimisers of which torch has no fused form, and their names in sentences."""
EMA_WEIGHTS: Final = "ema.weights"
EMA_UPDATES: Final = "ema.updates"
_MOMENTS: Final = {"adam": 2, "adamw": 2, "nadam": 2, "radam": 2, "sgd": 1, "rmsprop": 1}
_SCALARS: Final = ("step", "mu_product")
"""Entries of torch's state that are one number for all weights."""
_LATER: Final = ("amsgrad", "momentum_decay", "ema_decay")
"""Fields that stored records of earlier releases lack; at their defaults they are in no record."""


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    """Everything that decides an update, beside weights, gradient and state.

    betas               decay rates of Adam, AdamW, NAdam and RAdam
    momentum, nesterov  SGD's; momentum is RMSprop's too
    alpha               RMSprop's smoothing
    form                "single" is torch's default on the CPU
    amsgrad             Adam's and AdamW's: divide by the largest second moment so far
    momentum_decay      NAdam's
    ema_decay           keep a moving average of the weights with this decay, in (0, 1); None keeps none

    The average begins with the weights after the first update: a <- decay a + (1 - decay) w after each later one, as
    torch's AveragedModel with get_ema_multi_avg_fn.
    """

    name: Name = "adam"
    learning_rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    momentum: float = 0.0
    nesterov: bool = False
    alpha: float = 0.99
    form: Literal["single", "foreach", "fused"] = "single"
    amsgrad: bool = False
    momentum_decay: float = 0.004
    ema_decay: float | None = None

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise InputError(f"an optimiser is one of {', '.join(NAMES)}; found {self.name!r}")
        if self.form not in FORMS:
            raise InputError(f"the form of an optimiser is one of {', '.join(FORMS)}; found {self.form!r}")
        if self.form == "fused" and self.name in UNFUSED:
            raise InputError(f'torch has no fused {UNFUSED[self.name]}. Use form = "single" or "foreach".')
        if self.amsgrad and self.name not in ("adam", "adamw"):
            raise InputError(f'amsgrad belongs to "adam" and "adamw"; found {self.name!r}')
        if self.ema_decay is not None and not 0.0 < self.ema_decay < 1.0:
            raise InputError(f"ema_decay lies between 0 and 1, both excluded; found {self.ema_decay!r}")
        if not self.learning_rate > 0.0:
            raise InputError(f"a learning rate is more than 0; found {self.learning_rate!r}")

    def make(self, weights: nn.Parameter) -> torch.optim.Optimizer:
        """A torch optimiser of one flat parameter (size,)."""
        form: dict[str, Any] = {"foreach": self.form == "foreach"}
        if self.name not in UNFUSED:
            form["fused"] = self.form == "fused"
        common = {"lr": self.learning_rate, "weight_decay": self.weight_decay, **form}
        if self.name == "sgd":
            return torch.optim.SGD([weights], momentum=self.momentum, nesterov=self.nesterov, **common)
        if self.name == "rmsprop":
            return torch.optim.RMSprop([weights], alpha=self.alpha, eps=self.eps, momentum=self.momentum, **common)
        common |= {"betas": self.betas, "eps": self.eps}
        if self.name == "nadam":
            return torch.optim.NAdam([weights], momentum_decay=self.momentum_decay, **common)
        if self.name == "radam":
            return torch.optim.RAdam([weights], **common)
        kind = torch.optim.Adam if self.name == "adam" else torch.optim.AdamW
        return kind([weights], amsgrad=self.amsgrad, **common)

    @property
    def moments(self) -> int:
        """How many numbers are kept for each weight beside it: the optimiser's, and the average."""
        average = 0 if self.ema_decay is None else 1
        if self.name == "sgd":
            return average + (1 if self.momentum else 0)
        return average + _MOMENTS[self.name] + (1 if self.amsgrad or (self.name == "rmsprop" and self.momentum) else 0)

    def has_state_of(self, other: OptimizerSettings) -> bool:
        """Whether a state of an optimiser of `other` is one of these settings too: the same arrays."""
        return self._kept() == other._kept()

    def _kept(self) -> tuple[Any, ...]:
        return self.name, self.amsgrad, self.momentum > 0.0, self.ema_decay is None

    def to_json(self) -> dict[str, Any]:
        """The fields by name, as JSON values for the journal."""
        return {
            name: value
            for name, value in asdict(self).items()
            if name not in _LATER or value != type(self).__dataclass_fields__[name].default
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> OptimizerSettings:
        """Rebuild settings from what `to_json` returned."""
        return cls(**{**value, "betas": tuple(value["betas"])})


def optimizer_arrays(
    optimizer: torch.optim.Optimizer, weights: nn.Parameter, views: ArrayViews | None = None
) -> dict[str, NDArray[Any]]:
    """The optimiser's state by name, sorted: views on the CPU, each of at least one dimension. Empty before step 1.

    views  of an earlier call for the same optimiser, where there was one
    """
    state: Mapping[str, Any] = optimizer.state.get(weights, {})
    views = ArrayViews() if views is None else views
    return {
        name: views.of(name, value).reshape(-1)
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
        if name in _SCALARS:
            fused = bool(optimizer.param_groups[0].get("fused"))
            value = value.reshape(()) if fused else value.reshape(()).cpu()
        optimizer.state[weights][name] = value


def set_rates(optimizer: torch.optim.Optimizer, learning_rate: float, momentum: float | None = None) -> None:
    """Set the learning rate of all later updates, and the momentum: beta 1 of an optimiser that has betas.

    None leaves the momentum as it is.
    """
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
        if momentum is None:
            continue
        if "betas" in group:
            group["betas"] = (momentum, *group["betas"][1:])
        else:
            group["momentum"] = momentum


class WeightAverage:
    """The moving average of the weights that `OptimizerSettings.ema_decay` describes."""

    def __init__(self, weights: torch.Tensor, decay: float) -> None:
        self.values = weights.detach().clone()
        self._decay = decay
        self._updates = 0

    def add(self, weights: torch.Tensor) -> None:
        """Move the average towards `weights`, which an update has just changed."""
        if self._updates == 0:
            self.values.copy_(weights)
        else:
            self.values.lerp_(weights, 1.0 - self._decay)
        self._updates += 1

    def arrays(self) -> dict[str, NDArray[Any]]:
        """`ema.weights` (size,), a view on the CPU, and `ema.updates` (1,), how many updates it has seen."""
        return {EMA_WEIGHTS: self.values.cpu().numpy(), EMA_UPDATES: np.array([self._updates], np.int64)}

    def set_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Restore arrays that `arrays` returned. Raises IntegrityError where they are missing."""
        if EMA_WEIGHTS not in arrays or EMA_UPDATES not in arrays:
            raise IntegrityError("a state with an average of the weights is needed; this one was kept without it.")
        self.values.copy_(torch.from_numpy(arrays[EMA_WEIGHTS].copy()))
        self._updates = int(arrays[EMA_UPDATES][0])
