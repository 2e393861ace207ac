"""The update itself: against plain PyTorch, against finite differences, and its state."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from typing import Any

import torch
from tests.unit.learning.builders import NORMED, SMALL, samples

from lockstep.core.errors import InputError, IntegrityError, RefusedError
from lockstep.learning.gradients import determinism
from lockstep.learning.gradients.flat import FlatModel, Layout
from lockstep.learning.gradients.learner import Learner, Losses
from lockstep.learning.gradients.module_state import StateOutside
from lockstep.learning.gradients.optim_state import OptimizerSettings
from lockstep.learning.patterns.networks import PatternCNN, PatternShape, pattern_loss
from lockstep.runs.seeds import SeedTree

SEEDS = SeedTree(5)


def network(shape: PatternShape = SMALL) -> PatternCNN:
    with determinism.noise(SEEDS.child("init")):
        return PatternCNN(shape)


def loss_of(module: torch.nn.Module, rows: slice, dtype: torch.dtype = torch.float32) -> Losses:
    data = samples(shape=SMALL)
    return pattern_loss(
        module(torch.tensor(data.windows[rows], dtype=dtype)),
        torch.tensor(data.classes[rows]),
        torch.tensor(data.returns[rows], dtype=dtype),
    )


def test_the_gradient_agrees_with_central_differences_in_float64() -> None:
    """(L(w + h) - L(w - h)) / 2h for 12 weights of each parameter; error O(h^2) + O(eps / h), h = 1e-6."""
    shape = PatternShape(channels=2, window=8, filters=(4, 4, 4), hidden=8, dropout=0.2, batch_norm=True)
    module = network(shape).double()
    learner = Learner(module, OptimizerSettings(name="sgd", learning_rate=1e-300), seeds=SEEDS)
    rows = slice(0, 12)

    def total() -> float:
        with determinism.noise(SEEDS.child("noise").child(0)), torch.no_grad():
            return float(loss_of(module.train(), rows, torch.float64).total)

    learner.update(0, lambda model: loss_of(model, rows, torch.float64))
    gradient = learner.gradient().copy()
    weights = learner.flat.weights.detach().numpy()
    rng = np.random.Generator(np.random.Philox(key=1))
    h = 1e-6
    for slot in learner.flat.layout.slots:
        for place in rng.integers(slot.start, slot.stop, size=12):
            at = weights[place]
            weights[place] = at + h
            above = total()
            weights[place] = at - h
            below = total()
            weights[place] = at
            assert gradient[place] == pytest.approx((above - below) / (2 * h), rel=1e-5, abs=2e-8), slot.name


@pytest.mark.parametrize("name", ["adam", "adamw", "amsgrad", "nadam", "radam", "sgd", "rmsprop"])
@pytest.mark.parametrize("form", ["single", "foreach"])
def test_updates_over_the_flat_array_are_those_of_plain_pytorch_to_the_last_bit(name: str, form: str) -> None:
    """Tensor by tensor with torch's own optimiser, torch's own backward: the same weights after 20 steps."""
    settings = OptimizerSettings(
        name="adam" if name == "amsgrad" else name,  # type: ignore[arg-type]
        form=form,  # type: ignore[arg-type]
        learning_rate=1e-2,
        momentum=0.9 if name == "sgd" else 0.0,
        amsgrad=name == "amsgrad",
        momentum_decay=0.02 if name == "nadam" else 0.004,
    )
    learner = Learner(network(NORMED), settings, seeds=SEEDS)
    plain = network(NORMED)
    options = {"lr": 1e-2, "foreach": form == "foreach"}
    makers = {
        "adam": torch.optim.Adam,
        "adamw": lambda values, **kwargs: torch.optim.AdamW(values, weight_decay=0.0, **kwargs),
        "amsgrad": lambda values, **kwargs: torch.optim.Adam(values, amsgrad=True, **kwargs),
        "nadam": lambda values, **kwargs: torch.optim.NAdam(values, momentum_decay=0.02, **kwargs),
        "radam": torch.optim.RAdam,
        "sgd": lambda values, **kwargs: torch.optim.SGD(values, momentum=0.9, **kwargs),
        "rmsprop": torch.optim.RMSprop,
    }
    optimizer = makers[name](plain.parameters(), **options)
    for step in range(20):
        rows = slice(step % 3 * 8, step % 3 * 8 + 8)
        learner.update(step, lambda model, rows=rows: loss_of(model, rows))
        optimizer.zero_grad()
        with determinism.noise(SEEDS.child("noise").child(step)):
            loss_of(plain.train(), rows).total.backward()
        optimizer.step()
    for (key, ours), theirs in zip(learner.module.state_dict().items(), plain.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs), key


def test_the_gradient_is_clipped_to_its_norm_and_reported_as_it_was() -> None:
    learner = Learner(network(), OptimizerSettings(), seeds=SEEDS, clip_norm=0.25)
    update = learner.update(0, lambda model: loss_of(model, slice(0, 8)))
    assert update.gradient_norm > 0.25
    assert update.clip == pytest.approx(0.25 / update.gradient_norm, rel=1e-4)
    assert np.linalg.norm(learner.gradient()) == pytest.approx(0.25, rel=1e-4)


def test_a_parameter_that_the_loss_does_not_reach_has_gradient_zero_in_that_step() -> None:
    learner = Learner(network(), OptimizerSettings(), seeds=SEEDS)
    learner.update(0, lambda model: loss_of(model, slice(0, 8)))

    def direction_only(model: torch.nn.Module) -> Losses:
        full = loss_of(model, slice(0, 8))
        return Losses(full.parts["classification"], {})

    learner.update(1, direction_only)
    gradients = learner.flat.layout.named(learner.gradient())
    assert not gradients["confidence.weight"].any()
    assert gradients["direction.weight"].any()


def test_the_state_goes_through_get_and_set_and_the_next_step_is_the_same() -> None:
    one = Learner(network(NORMED), OptimizerSettings(), seeds=SEEDS)
    for step in range(3):
        one.update(step, lambda model: loss_of(model, slice(0, 8)))
    other = Learner(PatternCNN(NORMED), OptimizerSettings(), seeds=SEEDS)
    other.set_state(one.get_state())
    assert other.digest() == one.digest()
    for learner in (one, other):
        learner.update(3, lambda model: loss_of(model, slice(8, 16)))
    assert other.digest() == one.digest()


def test_a_state_of_another_model_is_refused() -> None:
    one = Learner(network(NORMED), OptimizerSettings(), seeds=SEEDS)
    other = Learner(network(SMALL), OptimizerSettings(), seeds=SEEDS)
    with pytest.raises(IntegrityError, match="belongs to the model it was taken from"):
        other.set_state(one.get_state())


def test_a_gradient_that_is_not_finite_stops_the_training_before_it_moves_a_weight() -> None:
    learner = Learner(network(), OptimizerSettings(), seeds=SEEDS)
    before = learner.digest()
    with pytest.raises(RefusedError, match=r"step 7: a gradient has to be finite; its norm is nan .* Lower"):
        learner.update(7, lambda model: Losses(loss_of(model, slice(0, 8)).total * float("nan"), {}))
    assert learner.digest() == before


def test_moving_the_model_away_is_noticed_at_the_next_checkpoint() -> None:
    learner = Learner(network(), OptimizerSettings(), seeds=SEEDS)
    learner.module.direction.weight.data = learner.module.direction.weight.data.clone()
    with pytest.raises(InputError, match="stay where they are"):
        learner.get_state()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "lion"}, "an optimiser is one of adam, adamw, nadam, radam, sgd, rmsprop; found 'lion'"),
        ({"form": "compiled"}, "form of an optimiser is one of"),
        ({"name": "rmsprop", "form": "fused"}, "no fused RMSprop"),
        ({"learning_rate": 0.0}, "learning rate is more than 0; found 0.0"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        OptimizerSettings(**settings)  # type: ignore[arg-type]


def test_parameters_begin_at_multiples_of_64_bytes_and_the_gaps_stay_zero() -> None:
    learner = Learner(network(), OptimizerSettings(name="adamw", weight_decay=0.1), seeds=SEEDS)
    for step in range(5):
        learner.update(step, lambda model: loss_of(model, slice(0, 8)))
    layout = learner.flat.layout
    inside = np.zeros(layout.size, bool)
    for slot in layout.slots:
        assert slot.start * layout.itemsize % 64 == 0
        inside[slot.start : slot.stop] = True
    assert layout.parameters == inside.sum() == sum(value.numel() for value in network().parameters())
    assert not learner.flat.weights.detach().numpy()[~inside].any()
    assert Layout.from_json(layout.to_json()) == layout


def test_a_tied_parameter_is_one_parameter() -> None:
    class Tied(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = torch.nn.Linear(4, 4)
            self.two = torch.nn.Linear(4, 4)
            self.two.weight = self.one.weight

    flat = FlatModel(Tied())
    assert [slot.name for slot in flat.layout.slots] == ["one.weight", "one.bias", "two.bias"]
    assert flat.module.two.weight.data_ptr() == flat.module.one.weight.data_ptr()


def test_mixed_dtypes_and_models_without_parameters_are_refused() -> None:
    mixed = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2).double())
    with pytest.raises(InputError, match=r"share one dtype.*torch.float32, torch.float64"):
        FlatModel(mixed)
    with pytest.raises(InputError, match="found none that does"):
        FlatModel(torch.nn.ReLU())


def test_the_state_outside_the_weights_follows_every_change_of_the_module() -> None:
    """What `named_buffers` gives, though the walk through the module is remembered."""

    class Inner(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mean", torch.zeros(2))

    module = torch.nn.Sequential(torch.nn.Linear(2, 2), Inner())
    outside = StateOutside(module)

    def same() -> None:
        for _ in range(2):
            there = {name: value.detach().numpy() for name, value in module.named_buffers()}
            arrays = outside.arrays()
            assert list(arrays) == list(there)
            assert all(arrays[name].tobytes() == there[name].tobytes() for name in there)

    inner: Any = module[1]
    same()
    inner.mean += 1.0
    same()
    inner.mean = torch.full((2,), 5.0)
    same()
    inner.mean.data = torch.full((3,), 7.0)
    same()
    inner.register_buffer("count", torch.zeros((), dtype=torch.int64))
    same()
    inner.other = inner.mean
    module.add_module("last", Inner())
    same()
    module[1] = Inner()
    same()
    del module[1].mean
    same()
