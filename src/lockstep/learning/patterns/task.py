"""`PatternTask`: learning patterns from windows, with `PatternCNN` or any module with the same three heads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from lockstep.core.errors import DataError
from lockstep.core.means import mean_in_order
from lockstep.learning.gradients.epochs import check_samples
from lockstep.learning.gradients.learner import Losses
from lockstep.learning.gradients.training import Batch, Task, micro_batches
from lockstep.learning.patterns.networks import HeadWeights, heads_of, pattern_loss

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from lockstep.learning.gradients.learner import Compute

Reader = Callable[[torch.Tensor], torch.Tensor]
"""Sample numbers int64 (batch,) to windows float32 (batch, channels, window)."""


class SampleSet(Protocol):
    """Samples by number, 0 to n - 1."""

    def __len__(self) -> int:
        """How many samples there are, n."""
        ...

    @property
    def classes(self) -> NDArray[np.int64]:
        """Class of each sample, int64 (n,)."""
        ...

    @property
    def returns(self) -> NDArray[np.float32]:
        """Return of each sample, float32 (n,), in the unit that the head learns."""
        ...

    @property
    def scores(self) -> NDArray[np.float64]:
        """Profitability, float64 (n,) in [0, 1]."""
        ...

    @property
    def profitable(self) -> NDArray[np.bool_]:
        """Whether each sample made a profit, bool (n,)."""
        ...

    def reader(self, device: str) -> Reader:
        """A function from sample numbers to windows, on `device`."""
        ...


def _check(samples: SampleSet, rows: int) -> None:
    names = ("classes", "returns", "scores", "profitable")
    lengths = {name: len(getattr(samples, name)) for name in names} | {"windows": rows}
    if len(set(lengths.values())) != 1:
        raise DataError(f"every array of samples has one row a sample; found {lengths}")
    if not np.isfinite(samples.returns).all():
        raise DataError("windows and returns are finite; found NaN or infinity. Skip warm-up rows, mend gaps.")
    if len(samples) and (samples.scores.min() < 0.0 or samples.scores.max() > 1.0):
        raise DataError("profitability scores lie between 0 and 1; found one outside")


@dataclass(frozen=True, kw_only=True)
class PatternSamples:
    """Samples with a window each, which is normalised already.

    windows     float32 (n, channels, window)
    classes     int64 (n,)
    returns     float32 (n,), fractions
    scores      float64 (n,), profitability in [0, 1]
    profitable  bool (n,)

    Raises DataError for another shape or dtype, or numbers that are not finite.
    """

    windows: NDArray[np.float32]
    classes: NDArray[np.int64]
    returns: NDArray[np.float32]
    scores: NDArray[np.float64]
    profitable: NDArray[np.bool_]

    def __post_init__(self) -> None:
        if self.windows.ndim != 3 or self.windows.dtype != np.float32:
            raise DataError(
                f"windows are float32 (samples, channels, window); found {self.windows.dtype} {self.windows.shape}"
            )
        if not np.isfinite(self.windows).all():
            raise DataError("windows and returns are finite; found NaN or infinity. Skip warm-up rows, mend gaps.")
        _check(self, len(self.windows))

    def __len__(self) -> int:
        return len(self.windows)

    def reader(self, device: str) -> Reader:
        """A function from sample numbers to their windows, on `device`."""
        windows = torch.tensor(self.windows, device=device)
        return lambda rows: windows[rows]


@dataclass(frozen=True, kw_only=True)
class BarSamples:
    """Samples by the number of their decision bar; windows are cut out of one series at each step.

    series  float32 (channels, n), normalised
    window  bars of a window; no order may name a bar whose window would begin before the first bar

    The rest as in `PatternSamples`, (n,) each.
    """

    series: NDArray[np.float32]
    window: int
    classes: NDArray[np.int64]
    returns: NDArray[np.float32]
    scores: NDArray[np.float64]
    profitable: NDArray[np.bool_]

    def __post_init__(self) -> None:
        if self.series.ndim != 2 or self.series.dtype != np.float32:
            raise DataError(f"a series is float32 (channels, bars); found {self.series.dtype} {self.series.shape}")
        if not np.isfinite(self.series).all():
            raise DataError("a series is finite; found NaN or infinity. Normalise it first.")
        _check(self, self.series.shape[1])

    def __len__(self) -> int:
        return len(self.classes)

    def reader(self, device: str) -> Reader:
        """A function from bars to the windows that end there. It holds the series once, not `window` times."""
        return bar_reader(self.series, self.window, device)


def bar_reader(series: NDArray[np.float32], window: int, device: str) -> Reader:
    """A function from bars to the windows that end there, cut out of float32 (channels, n)."""
    bars = torch.tensor(np.ascontiguousarray(series.T), device=device)
    offsets = torch.arange(1 - window, 1, device=device)
    return lambda rows: bars[rows[:, None] + offsets].transpose(1, 2).contiguous()


class Order(Protocol):
    """Which samples each step learns from: `Epochs`, or `RecordedOrder` to retrain."""

    @property
    def steps(self) -> int:
        """How many steps the order has."""
        ...

    def ids(self, step: int) -> NDArray[np.int64]:
        """The samples of a step, int64 (samples,)."""
        ...


@dataclass(frozen=True)
class Among:
    """An order over some of the samples: place i of `order` stands for sample `numbers[i]`."""

    order: Order
    numbers: NDArray[np.int64]

    @property
    def steps(self) -> int:
        """How many steps the inner order has."""
        return self.order.steps

    def ids(self, step: int) -> NDArray[np.int64]:
        """The samples of a step, int64 (samples,)."""
        return self.numbers[self.order.ids(step)]


class PatternTask(Task):
    """Eq. (1) of `networks` over samples in an order.

    smoothing     share of each class target that is spread over all classes
    micro_batch   most samples of a forward pass; None takes those of a step at once
    """

    def __init__(
        self,
        samples: SampleSet,
        order: Order,
        *,
        weights: HeadWeights | None = None,
        class_weights: NDArray[np.float32] | None = None,
        smoothing: float = 0.0,
        micro_batch: int | None = None,
        device: str = "cpu",
    ) -> None:
        self._samples = samples
        self._order = order
        self._weights = weights
        self._smoothing = smoothing
        self._micro_batch = micro_batch
        self._read = samples.reader(device)
        self._classes = torch.tensor(samples.classes, device=device)
        self._returns = torch.tensor(samples.returns, device=device)
        self._class_weights = None if class_weights is None else torch.tensor(class_weights, device=device)
        self._device = device

    @property
    def planned_steps(self) -> int:
        """How many steps the order has; learning-rate schedules depend on it."""
        return self._order.steps

    @property
    def total_steps(self) -> int | None:
        """`planned_steps`; a subclass that may end earlier returns None."""
        return self.planned_steps

    def batch(self, step: int) -> Batch | None:
        """The samples that the order names; None after the last step. Raises DataError for a number beyond n - 1."""
        if step >= self._order.steps:
            return None
        ids = self._order.ids(step)
        check_samples(step, ids, len(self._samples))
        return Batch(
            ids=ids,
            compute=micro_batches(ids, self._micro_batch, self._loss_of),
            profitability=mean_in_order(self._samples.scores[ids]),
            profitable=mean_in_order(self._samples.profitable[ids]),
        )

    def _loss_of(self, ids: NDArray[np.int64]) -> Compute:
        rows = torch.from_numpy(ids).to(self._device)

        def compute(model: nn.Module) -> Losses:
            return pattern_loss(
                heads_of(model, self._read(rows)),
                self._classes[rows],
                self._returns[rows],
                weights=self._weights,
                class_weights=self._class_weights,
                smoothing=self._smoothing,
            )

        return compute
