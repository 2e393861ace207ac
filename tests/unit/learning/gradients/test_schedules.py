"""Schedules, accumulation, averages and smoothing against torch's; the cosine against 60-digit arithmetic."""

from __future__ import annotations

from decimal import Decimal, localcontext

import pytest

pytest.importorskip("torch")

import torch
from tests.unit.learning.builders import NORMED, SMALL, samples
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from lockstep.learning.gradients import determinism
from lockstep.learning.gradients.learner import Learner, Losses, MicroBatch
from lockstep.learning.gradients.optim_state import OptimizerSettings
from lockstep.learning.gradients.schedules import OneCycle, cosine, cosine_of_half_turns
from lockstep.learning.patterns.networks import PatternCNN, PatternShape, pattern_loss
from lockstep.runs.seeds import SeedTree

SEEDS = SeedTree(5)
PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494")
MODEL = torch.nn.Linear(2, 1)


def exact_cosine(x: float) -> Decimal:
    """cos(pi x) by its series in 60 digits."""
    with localcontext() as context:
        context.prec = 60
        square, term, total = (PI * Decimal(x)) ** 2, Decimal(1), Decimal(1)
        for n in range(1, 40):
            term *= -square / ((2 * n - 1) * (2 * n))
            total += term
        return total


@pytest.mark.parametrize("x", [0.0, 1e-9, 0.1, 0.25, 0.2500001, 1 / 3, 0.5, 0.5000001, 0.75, 0.9, 1.0 - 1e-9, 1.0])
def test_the_cosine_is_within_two_units_of_the_last_place_of_one(x: float) -> None:
    assert abs(Decimal(cosine_of_half_turns(x)) - exact_cosine(x)) < Decimal("2.3e-16")


def test_the_cosine_has_its_values_where_they_are_known() -> None:
    assert (cosine_of_half_turns(0.0), cosine_of_half_turns(0.5), cosine_of_half_turns(1.0)) == (1.0, 0.0, -1.0)


@pytest.mark.parametrize("steps", [2, 3, 50])
def test_cosine_is_torchs_cosine_annealing(steps: int) -> None:
    """torch computes each rate from the one before, so its rounding adds up; the closed form does not: within 1e-13."""
    optimizer = torch.optim.Adam(MODEL.parameters(), lr=0.02)
    scheduler = CosineAnnealingLR(optimizer, T_max=steps - 1, eta_min=0.002)
    for step in range(steps):
        assert cosine(0.02, 0.002, step, steps) == pytest.approx(scheduler.get_last_lr()[0], rel=1e-13)
        optimizer.step()
        scheduler.step()
    assert cosine(0.02, 0.002, 0, steps) == pytest.approx(0.02, rel=1e-15)
    assert cosine(0.02, 0.002, steps - 1, steps) == 0.002


@pytest.mark.parametrize(("steps", "rise"), [(1, 0.3), (2, 0.3), (3, 0.3), (10, 0.25), (57, 0.3)])
def test_one_cycle_is_torchs_with_its_momentum(steps: int, rise: float) -> None:
    optimizer = torch.optim.Adam(MODEL.parameters(), lr=0.1)
    scheduler = OneCycleLR(optimizer, max_lr=0.02, total_steps=steps, pct_start=rise)
    cycle = OneCycle(peak=0.02, rise_share=rise)
    for step in range(steps):
        # abs: a rate near the end is a difference of numbers a million times as large.
        assert cycle.rate(step, steps) == pytest.approx(scheduler.get_last_lr()[0], rel=1e-12, abs=1e-17)
        assert cycle.momentum(step, steps) == pytest.approx(optimizer.param_groups[0]["betas"][0], rel=1e-14)
        optimizer.step()
        if step + 1 < steps:
            scheduler.step()


def test_a_cycle_whose_rise_is_one_step_begins_at_its_peak() -> None:
    """torch divides by zero there: its first phase ends at step 0."""
    cycle = OneCycle(peak=1.0, rise_share=0.1)
    assert (cycle.rate(0, 10), cycle.momentum(0, 10)) == (1.0, 0.85)
    assert cycle.rate(9, 10) == pytest.approx(1.0 / 25e4)


def network(shape: PatternShape) -> PatternCNN:
    with determinism.noise(SEEDS.child("init")):
        return PatternCNN(shape)


def loss_of(module: torch.nn.Module, rows: slice, smoothing: float = 0.0) -> Losses:
    data = samples(shape=SMALL)
    windows, classes, returns = (torch.tensor(x[rows]) for x in (data.windows, data.classes, data.returns))
    return pattern_loss(module(windows), classes, returns, smoothing=smoothing)


def test_accumulated_updates_are_those_of_a_plain_loop_to_the_last_bit() -> None:
    """Three micro-batches of 8, 8 and 4 samples, batch norm and dropout in each; torch adds into .grad."""
    learner = Learner(network(NORMED), OptimizerSettings(learning_rate=1e-2), seeds=SEEDS)
    plain = network(NORMED)
    optimizer = torch.optim.Adam(plain.parameters(), lr=1e-2)
    parts = [slice(0, 8), slice(8, 16), slice(16, 20)]
    for step in range(5):
        micro = [
            MicroBatch(rows.stop - rows.start, lambda model, rows=rows: loss_of(model, rows))  # type: ignore[misc]
            for rows in parts
        ]
        update = learner.update(step, micro)
        optimizer.zero_grad()
        mean = 0.0
        with determinism.noise(SEEDS.child("noise").child(step)):
            for rows in parts:
                loss = loss_of(plain.train(), rows).total * ((rows.stop - rows.start) / 20)
                loss.backward()
                mean += float(loss.detach())
        optimizer.step()
        assert update.losses["total"] == pytest.approx(mean, rel=1e-6)
    for (key, ours), theirs in zip(learner.module.state_dict().items(), plain.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs), key


def test_accumulated_batches_have_the_gradient_of_the_whole_where_nothing_depends_on_the_batch() -> None:
    """Without batch norm and dropout: mean of all 20 samples, to rounding."""
    shape = PatternShape(channels=2, window=8, filters=(4, 4, 4), hidden=8, dropout=0.0)
    one, two = (Learner(network(shape), OptimizerSettings(), seeds=SEEDS) for _ in range(2))
    one.update(0, lambda model: loss_of(model, slice(0, 20)))
    parts = (16, slice(0, 16)), (4, slice(16, 20))
    two.update(0, [MicroBatch(n, lambda model, rows=rows: loss_of(model, rows)) for n, rows in parts])  # type: ignore[misc]
    assert two.gradient() == pytest.approx(one.gradient(), rel=1e-4, abs=1e-6)


def test_a_parameter_that_one_micro_batch_does_not_reach_keeps_the_gradient_of_the_other() -> None:
    def direction_only(model: torch.nn.Module) -> Losses:
        return Losses(loss_of(model, slice(0, 8)).parts["classification"], {})

    def whole(model: torch.nn.Module) -> Losses:
        return Losses(loss_of(model, slice(8, 16)).total, {})

    learner = Learner(network(SMALL), OptimizerSettings(), seeds=SEEDS)
    for order in (0, 1):
        parts = [MicroBatch(8, direction_only), MicroBatch(8, whole)]
        learner.update(order, parts if order else parts[::-1])
        assert learner.flat.layout.named(learner.gradient())["confidence.weight"].any()


def test_the_average_of_the_weights_is_torchs_averaged_model_to_the_last_bit() -> None:
    learner = Learner(network(NORMED), OptimizerSettings(learning_rate=1e-2, ema_decay=0.9), seeds=SEEDS)
    averaged = AveragedModel(learner.module, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    for step in range(6):
        learner.update(step, lambda model: loss_of(model, slice(0, 16)))
        averaged.update_parameters(learner.module)
    trained = learner.flat.weights.detach().clone()
    with learner.averaged():
        for ours, theirs in zip(learner.module.parameters(), averaged.module.parameters(), strict=True):
            assert torch.equal(ours, theirs)
    assert torch.equal(learner.flat.weights.detach(), trained)
    other = Learner(PatternCNN(NORMED), learner.settings, seeds=SEEDS)
    other.set_state(learner.get_state())
    for item in (learner, other):
        item.update(6, lambda model: loss_of(model, slice(16, 32)))
    assert other.digest() == learner.digest()


def test_label_smoothing_is_torchs_and_no_smoothing_is_as_before() -> None:
    module = network(SMALL).eval()
    data = samples(shape=SMALL)
    logits, classes = module(torch.tensor(data.windows)).direction, torch.tensor(data.classes)
    every = slice(0, len(data))
    for smoothing in (0.0, 0.1):
        criterion = torch.nn.CrossEntropyLoss(label_smoothing=smoothing)
        assert torch.equal(loss_of(module, every, smoothing).parts["classification"], criterion(logits, classes))
