"""What models of networks share: a network with stored weights, in evaluation mode, under the rules of a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from lockstep.learning.gradients import determinism
from lockstep.learning.gradients.flat import FlatModel
from lockstep.learning.gradients.training import load_model_arrays
from lockstep.learning.patterns.inference import evaluated_heads, predictions_of
from lockstep.runs.numerics import pinned_threads

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from lockstep.learning.patterns.scores import Predictions
    from lockstep.learning.patterns.task import Reader
    from lockstep.runs.seeds import SeedTree


class TrainedNetwork:
    """A network for use.

    module   takes the weights of `weights`, the bytes of a safetensors file; None where it has them already
    seeds    node of the seed tree for a network that draws while it is evaluated

    Raises IntegrityError when the weights are another network's.
    """

    def __init__(self, module: nn.Module, weights: bytes | None, *, seeds: SeedTree, device: str = "cpu") -> None:
        if weights is not None:
            load_model_arrays(module, weights)
        # Laid out as it was while it was judged: matrix kernels choose their path by alignment.
        self._flat = FlatModel(module, device)
        self._seeds, self._device = seeds, device

    @contextmanager
    def evaluating(self) -> Iterator[nn.Module]:
        """The module in evaluation mode under the rules of a run; torch's settings are as before afterwards."""
        with determinism.settled(), pinned_threads(), torch.no_grad():
            self._flat.module.eval()
            with determinism.noise(self._seeds, self._device):
                yield self._flat.module

    def predictions(
        self,
        read: Reader,
        rows: NDArray[np.int64],
        *,
        class_weights: NDArray[np.float32] | None,
        return_scale: float,
        padded: bool,
    ) -> Predictions:
        """Predictions of a network with three heads for rows int64 (n,); see `patterns.inference`."""
        with self.evaluating() as model:
            heads = evaluated_heads(model, read, rows, "prediction", device=self._device, padded=padded)
        return predictions_of(heads, class_weights=class_weights, return_scale=return_scale)
