"""A PyTorch classifier as a `fit.Learner`: the common `learning.learner` with cross-entropy and Adam."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from lockstep.learning import determinism
from lockstep.learning.learner import Learner
from lockstep.learning.networks import Losses
from lockstep.learning.optim_state import OptimizerSettings
from lockstep.learning.supervised.fit import Measured
from lockstep.learning.supervised.torch_net import PatternNet

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.learning.supervised.data import Samples
    from lockstep.runs.seeds import SeedTree

_CHUNK: Final = 512
"""Samples per forward pass without gradients. Part of the result: a matrix product may depend on its height."""


class TorchLearner:
    """See the module's docstring.

    seeds       decides the first weights and every update's dropout
    held_out    samples for `validate`, of the same inputs and classes
    """

    def __init__(
        self,
        samples: Samples,
        *,
        learning_rate: float,
        seeds: SeedTree,
        device: str = "cpu",
        held_out: Samples | None = None,
    ) -> None:
        determinism.settle()
        self._inputs, self._labels = _tensors(samples, device)
        self._held_out = None if held_out is None else _tensors(held_out, device)
        # Made on the CPU, so that a network begins alike on every device.
        with determinism.noise(seeds.child("network")):
            model = PatternNet(samples.shapes, len(samples.classes))
        settings = OptimizerSettings(name="adam", learning_rate=float(learning_rate))
        self._learner = Learner(model, settings, seeds=seeds, device=device)

    @property
    def model(self) -> nn.Module:
        """The network under training."""
        return self._learner.module

    @property
    def samples(self) -> int:
        """How many it trains on."""
        return len(self._labels)

    def update(self, index: int, rows: NDArray[np.int64]) -> Measured:
        """Forward, cross-entropy, backward, Adam."""
        at = torch.from_numpy(rows).to(self._labels.device)
        labels, inputs = self._labels[at], [x[at] for x in self._inputs]
        correct = 0

        def compute(model: nn.Module) -> Losses:
            nonlocal correct
            scores = model(*inputs)
            correct = _correct(scores.detach(), labels)
            return Losses(nn.functional.cross_entropy(scores, labels), {})

        losses = self._learner.update(index, compute).losses
        return Measured(loss_sum=losses["total"] * len(rows), correct=correct, count=len(rows))

    def validate(self) -> Measured | None:
        """The samples held out, in evaluation mode."""
        if self._held_out is None:
            return None
        inputs, labels = self._held_out
        total = Measured(loss_sum=0.0, correct=0, count=0)
        with self._learner.evaluating() as model:
            for start in range(0, len(labels), _CHUNK):
                part = slice(start, start + _CHUNK)
                scores = model(*[x[part] for x in inputs])
                loss_sum = float(nn.functional.cross_entropy(scores, labels[part], reduction="sum"))
                count = len(labels[part])
                total = total + Measured(loss_sum=loss_sum, correct=_correct(scores, labels[part]), count=count)
        return total

    def weights(self) -> dict[str, NDArray[Any]]:
        """A copy of the state dict as arrays, in its order."""
        return {name: np.array(tensor.detach().cpu().numpy()) for name, tensor in self.model.state_dict().items()}

    def get_state(self) -> dict[str, Any]:
        """Weights, Adam's moments and buffers."""
        return self._learner.get_state()

    def set_state(self, state: Mapping[str, Any]) -> None:
        """The inverse of `get_state`. Raises IntegrityError for the state of another network."""
        self._learner.set_state(state)

    def finished_model(self) -> nn.Module:
        """The network, its parameters in memory of their own again; the learner is not used afterwards."""
        for parameter in self.model.parameters():
            parameter.data = parameter.data.clone()
        return self.model


def load_arrays(model: nn.Module, weights: Mapping[str, NDArray[Any]]) -> None:
    """Put arrays of `TorchLearner.weights` into a model of the same form."""
    model.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in weights.items()})


def probabilities(model: nn.Module, samples: Samples, device: str = "cpu") -> NDArray[np.float64]:
    """Class probabilities (n, classes) of a trained model, in evaluation mode."""
    determinism.settle()
    inputs, labels = _tensors(samples, device)
    with _evaluating(model):
        parts = [
            torch.softmax(model(*[x[start : start + _CHUNK] for x in inputs]).double(), dim=1).cpu().numpy()
            for start in range(0, len(labels), _CHUNK)
        ]
    return np.concatenate(parts)


def checkpoint_bytes(weights: Mapping[str, Tensor], *, epoch: int, loss: float) -> bytes:
    """A .pt file: epoch, model_state_dict, loss. Equal contents give equal bytes; loads with `weights_only=True`."""
    # Copies: a parameter may be a view into all of them, and torch.save would write the whole for each.
    state = {name: tensor.detach().cpu().clone() for name, tensor in weights.items()}
    buffer = io.BytesIO()
    torch.save({"epoch": epoch, "model_state_dict": state, "loss": loss}, buffer)
    return buffer.getvalue()


@contextlib.contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)


def _tensors(samples: Samples, device: str) -> tuple[list[Tensor], Tensor]:
    inputs = [torch.from_numpy(np.array(array)).to(device) for array in samples.inputs.values()]
    return inputs, torch.from_numpy(np.array(samples.labels)).to(device)


def _correct(scores: Tensor, labels: Tensor) -> int:
    return int((scores.argmax(dim=1) == labels).sum())
