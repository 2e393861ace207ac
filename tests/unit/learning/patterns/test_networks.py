"""The pattern network and the loss of its heads."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from lockstep.core.errors import DataError, InputError
from lockstep.learning.gradients.epochs import Epochs
from lockstep.learning.patterns.networks import Heads, HeadWeights, PatternCNN, PatternShape, pattern_loss
from lockstep.learning.patterns.task import PatternSamples, PatternTask
from lockstep.runs.seeds import SeedTree


def test_three_heads_for_each_window() -> None:
    heads = PatternCNN(PatternShape(channels=5, window=32, classes=4))(torch.zeros(7, 5, 32))
    assert [tuple(head.shape) for head in heads] == [(7, 4), (7,), (7,)]


def test_the_loss_is_the_weighted_sum_of_its_parts_by_hand() -> None:
    """Equal logits: CE = ln 3. Return off by .2: .5 x .2^2 = .02. Class 0 is right at logit 0: BCE = ln 2."""
    heads = Heads(torch.zeros(1, 3), torch.tensor([0.3]), torch.zeros(1))
    losses = pattern_loss(heads, torch.tensor([0]), torch.tensor([0.1]))
    assert losses.parts["classification"] == pytest.approx(math.log(3))
    assert losses.parts["regression"] == pytest.approx(0.02)
    assert losses.parts["confidence"] == pytest.approx(math.log(2))
    assert losses.total == pytest.approx(1.0 * math.log(3) + 0.5 * 0.02 + 0.3 * math.log(2))
    only = pattern_loss(heads, torch.tensor([0]), torch.tensor([0.1]), weights=HeadWeights(regression=0, confidence=0))
    assert only.total == pytest.approx(math.log(3))


def test_confidence_is_asked_whether_the_class_was_right_and_moves_no_direction() -> None:
    direction = torch.tensor([[2.0, 0.0], [2.0, 0.0]], requires_grad=True)
    confidence = torch.tensor([1.0, 1.0], requires_grad=True)
    losses = pattern_loss(Heads(direction, torch.zeros(2), confidence), torch.tensor([0, 1]), torch.zeros(2))
    losses.parts["confidence"].backward()
    # d BCE / d logit = (sigmoid(c) - right) / 2: right for the first sample only.
    sigmoid = 1 / (1 + math.exp(-1.0))
    assert confidence.grad.tolist() == pytest.approx([(sigmoid - 1) / 2, sigmoid / 2])
    assert direction.grad is None


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"window": 10}, "multiple of 4; found 10"),
        ({"classes": 1}, "at least two classes; found 1"),
        ({"dropout": 1.0}, "from 0 to below 1; found 1.0"),
    ],
)
def test_shapes_that_mean_nothing_are_refused(shape: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        PatternShape(**shape)  # type: ignore[arg-type]


def arrays(n: int = 4) -> dict[str, np.ndarray]:
    return {
        "windows": np.zeros((n, 2, 8), np.float32),
        "classes": np.zeros(n, np.int64),
        "returns": np.zeros(n, np.float32),
        "scores": np.zeros(n),
        "profitable": np.zeros(n, bool),
    }


def test_samples_are_checked_at_birth() -> None:
    PatternSamples(**arrays())
    with pytest.raises(DataError, match="one row a sample"):
        PatternSamples(**{**arrays(), "scores": np.zeros(3)})
    with pytest.raises(DataError, match="float32"):
        PatternSamples(**{**arrays(), "windows": np.zeros((4, 2, 8))})
    with pytest.raises(DataError, match="found NaN"):
        PatternSamples(**{**arrays(), "returns": np.full(4, np.nan, np.float32)})
    with pytest.raises(DataError, match="between 0 and 1"):
        PatternSamples(**{**arrays(), "scores": np.full(4, 1.5)})


def test_an_order_that_names_samples_that_are_not_there_is_refused() -> None:
    task = PatternTask(PatternSamples(**arrays(4)), Epochs(samples=9, batch_size=9, epochs=1, seeds=SeedTree(1)))
    with pytest.raises(DataError, match="samples 0 to 8; there are 4"):
        task.batch(0)


def test_every_sample_comes_once_an_epoch_in_an_order_of_its_own() -> None:
    order = Epochs(samples=10, batch_size=4, epochs=3, seeds=SeedTree(1))
    assert (order.steps, order.per_epoch) == (9, 3)
    epochs = [np.concatenate([order.ids(epoch * 3 + place) for place in range(3)]).tolist() for epoch in range(3)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert order.ids(4).tolist() == epochs[1][4:8], "asked out of turn, the same"
    assert [order.ends_epoch(step) for step in range(4)] == [False, False, True, False]
    assert Epochs(samples=10, batch_size=4, epochs=3, seeds=SeedTree(1), drop_last=True).steps == 6
    with pytest.raises(InputError, match="drop_last leaves no batch"):
        Epochs(samples=3, batch_size=4, epochs=1, seeds=SeedTree(1), drop_last=True)
