"""The order of samples: which of them each step of a training learns from. No torch.

Epochs           drawn from the seed, epoch by epoch
RecordedOrder    read from the record of a run, to retrain its batches
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lockstep.core.errors import DataError, InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.runs.seeds import SeedTree


class Epochs:
    """The order of samples: each epoch a permutation of its own, cut into batches.

    The permutation of epoch e is the stream ("epoch", e) of the seed tree, so a step's number alone decides its batch.
    The last batch of an epoch is shorter, or left out with `drop_last`. Raises InputError for sizes below 1, or where
    no batch is left.
    """

    def __init__(self, *, samples: int, batch_size: int, epochs: int, seeds: SeedTree, drop_last: bool = False) -> None:
        if samples < 1 or batch_size < 1 or epochs < 0:
            raise InputError(
                f"an epoch has at least one sample and a batch at least one; found {samples} samples, batches of "
                f"{batch_size}, {epochs} epochs."
            )
        self._samples = samples
        self._size = batch_size
        self._seeds = seeds
        self.per_epoch = samples // batch_size if drop_last else -(-samples // batch_size)
        if self.per_epoch == 0:
            raise InputError(
                f"drop_last leaves no batch: {samples} samples, batches of {batch_size}. Use smaller ones."
            )
        self.steps = self.per_epoch * epochs
        self._order: tuple[int, NDArray[np.int64]] = (-1, np.empty(0, np.int64))

    def epoch(self, step: int) -> int:
        """Number of the epoch that a step belongs to, from 0."""
        return step // self.per_epoch

    def ends_epoch(self, step: int) -> bool:
        """Whether a step is the last of its epoch."""
        return (step + 1) % self.per_epoch == 0

    def ids(self, step: int) -> NDArray[np.int64]:
        """The samples of a step, int64 (at most batch_size,)."""
        epoch, place = divmod(step, self.per_epoch)
        if self._order[0] != epoch:
            order = self._seeds.child("epoch", epoch).generator().permutation(self._samples)
            self._order = (epoch, order)
        return self._order[1][place * self._size : (place + 1) * self._size]


def check_samples(step: int, ids: NDArray[np.int64], samples: int) -> None:
    """Raise DataError where the batch of `step` names a sample outside 0 .. samples - 1, as a recorded order may."""
    if len(ids) and (ids.min() < 0 or ids.max() >= samples):
        raise DataError(
            f"step {step} learns from samples {ids.min()} to {ids.max()}; there are {samples}. Retraining needs the "
            "samples of the recorded run."
        )


@dataclass(frozen=True, kw_only=True)
class RecordedOrder:
    """The samples of each step of a recorded run; stands in for `Epochs`.

    numbers   int64 (samples of all steps,), step after step
    stops     int64 (steps,): where each step's samples end in `numbers`
    """

    numbers: NDArray[np.int64]
    stops: NDArray[np.int64]

    @classmethod
    def of(cls, batches: Iterable[NDArray[np.int64]]) -> RecordedOrder:
        """Build the order from the samples of each step, int64 (samples,) each."""
        parts = [np.asarray(batch, np.int64) for batch in batches]
        stops = np.cumsum([len(part) for part in parts], dtype=np.int64)
        return cls(numbers=np.concatenate(parts) if parts else np.empty(0, np.int64), stops=stops)

    @property
    def steps(self) -> int:
        """How many steps the recorded run has."""
        return len(self.stops)

    def ids(self, step: int) -> NDArray[np.int64]:
        """The samples of a step, int64 (samples,): a copy, which `torch.from_numpy` may share."""
        start = 0 if step == 0 else self.stops[step - 1]
        return self.numbers[start : self.stops[step]].copy()
