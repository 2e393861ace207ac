"""Learning patterns from arrays of windows: the task of `PatternCNN`, and of any module with the three heads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from lockstep.core.errors import DataError
from lockstep.learning.networks import HeadWeights, Losses, as_heads, pattern_loss
from lockstep.learning.training import Batch, Task

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class PatternSamples:
    """Samples by number, 0 to n - 1, normalised already; checked at birth.

    windows float32 (n, channels, window); classes int64 (n,); returns float32 (n,), fractions; scores float64 (n,),
    profitability in [0, 1]; profitable bool (n,).
    """

    windows: NDArray[np.float32]
    classes: NDArray[np.int64]
    returns: NDArray[np.float32]
    scores: NDArray[np.float64]
    profitable: NDArray[np.bool_]

    def __post_init__(self) -> None:
        lengths = {name: len(getattr(self, name)) for name in self.__dataclass_fields__}
        if len(set(lengths.values())) != 1:
            raise DataError(f"every array of samples has one row a sample; found {lengths}")
        if self.windows.ndim != 3 or self.windows.dtype != np.float32:
            raise DataError(
                f"windows are float32 (samples, channels, window); found {self.windows.dtype} {self.windows.shape}"
            )
        if not (np.isfinite(self.windows).all() and np.isfinite(self.returns).all()):
            raise DataError("windows and returns are finite; found NaN or infinity. Skip warm-up rows, mend gaps.")
        if len(self) and (self.scores.min() < 0.0 or self.scores.max() > 1.0):
            raise DataError("profitability scores lie between 0 and 1 (SPEC 9.2); found one outside")

    def __len__(self) -> int:
        return len(self.windows)


class Order(Protocol):
    """Which samples each step learns from: `Epochs`, or `sessions.RecordedBatches` for a replay."""

    @property
    def steps(self) -> int:
        """How many steps there are."""
        ...

    def ids(self, step: int) -> NDArray[np.int64]:
        """The samples of a step, int64 (samples,)."""
        ...


class PatternTask(Task):
    """Eq. (1) of `networks` over samples in an order."""

    def __init__(
        self,
        samples: PatternSamples,
        order: Order,
        *,
        weights: HeadWeights | None = None,
        class_weights: NDArray[np.float32] | None = None,
        device: str = "cpu",
    ) -> None:
        self._samples = samples
        self._order = order
        self._weights = weights
        self._windows = torch.tensor(samples.windows, device=device)
        self._classes = torch.tensor(samples.classes, device=device)
        self._returns = torch.tensor(samples.returns, device=device)
        self._class_weights = None if class_weights is None else torch.tensor(class_weights, device=device)
        self._device = device

    @property
    def total_steps(self) -> int:
        """As many as the order has."""
        return self._order.steps

    def batch(self, step: int) -> Batch | None:
        """The samples that the order names. Raises DataError for a sample that is not there."""
        if step >= self._order.steps:
            return None
        ids = self._order.ids(step)
        if len(ids) and (ids.min() < 0 or ids.max() >= len(self._samples)):
            raise DataError(
                f"step {step} learns from samples {ids.min()} to {ids.max()}; there are {len(self._samples)}. "
                "A replay needs the samples of the session it replays."
            )
        rows = torch.from_numpy(ids).to(self._device)

        def compute(model: nn.Module) -> Losses:
            heads = as_heads(model(self._windows[rows]))
            return pattern_loss(
                heads,
                self._classes[rows],
                self._returns[rows],
                weights=self._weights,
                class_weights=self._class_weights,
            )

        return Batch(
            ids=ids,
            compute=compute,
            profitability=_mean(self._samples.scores[ids]),
            profitable=_mean(self._samples.profitable[ids]),
        )


def _mean(values: NDArray[np.generic]) -> float:
    """In order: NumPy's pairwise sums depend on the CPU's vector width."""
    return float(sum(values.tolist())) / len(values) if len(values) else 0.0
