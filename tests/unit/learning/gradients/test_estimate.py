"""Sizes told before the start are those that come out, and nothing is allocated for them."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch
from tests.unit.learning.builders import NORMED, Small

from lockstep.learning.gradients.estimate import estimate
from lockstep.learning.gradients.optim_state import OptimizerSettings
from lockstep.learning.gradients.recorder import Recording
from lockstep.learning.patterns.networks import PatternCNN, PatternShape


@pytest.mark.parametrize("level", ["full", "norms", "none"])
def test_the_estimate_is_within_two_percent_of_what_is_written(tmp_path: Path, level: str) -> None:
    recording = Recording(level=level, snapshot_every=5)  # type: ignore[arg-type]
    told = estimate(lambda: PatternCNN(NORMED), OptimizerSettings(), recording, steps=60, batch=13)
    folder = Small(epochs=20, recording=recording).run(tmp_path / "run")  # 40 samples by 16: 13.3 a step
    written = folder.result()["segment_bytes"]
    assert folder.result()["steps"] == 60
    assert told.segment_bytes == pytest.approx(written, rel=0.02)
    assert told.journal_bytes == pytest.approx(folder.journal.stat().st_size, rel=0.2)


def test_the_step_that_meets_the_limit_is_told(tmp_path: Path) -> None:
    recording = Recording(max_bytes=150_000, snapshot_every=5)
    told = estimate(lambda: PatternCNN(NORMED), OptimizerSettings(), recording, steps=60, batch=13)
    folder = Small(epochs=20, recording=recording).run(tmp_path / "run")
    assert folder.result()["ended"] == "max_bytes"
    assert told.limit_step == pytest.approx(folder.result()["steps"], abs=2)
    assert "max_bytes is reached before step" in told.lines()[1]


def test_a_billion_parameters_are_estimated_without_allocating_them() -> None:
    """16,384 x 61,036 weights and 61,036 biases. Weights, gradient, two moments, two copies for norms: 6 x 4 bytes."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wide, high = 16_384, 61_036
    parameters = wide * high + high

    def build() -> torch.nn.Module:
        return torch.nn.Linear(wide, high)

    full = estimate(build, OptimizerSettings(), Recording(), steps=1_000, batch=8)
    norms = estimate(build, OptimizerSettings(), Recording(level="norms"), steps=1_000, batch=8)
    biases = estimate(build, OptimizerSettings(), Recording(select=("bias",), every=10), steps=10, batch=8)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert full.parameters == parameters > 1e9
    assert full.state_bytes == pytest.approx(6 * 4 * parameters, rel=1e-3)
    assert full.checkpoint_bytes == pytest.approx(3 * 4 * parameters, rel=1e-3)
    assert full.step_bytes > 4 * parameters
    assert full.limit_step == 1, "the start takes 12 GB of the 20, a gradient 4 GB"
    assert norms.limit_step is None
    assert norms.segment_bytes < 1e6
    assert biases.step_bytes < full.step_bytes / 10
    assert grown < 200_000, "KiB; a billion float32 would be 4 million"


def test_the_default_network_has_about_a_hundred_thousand_parameters() -> None:
    told = estimate(PatternCNN, OptimizerSettings(), Recording(), steps=1, batch=64)
    assert told.parameters == 98_133
    assert estimate(lambda: PatternCNN(PatternShape()), OptimizerSettings(), Recording(), steps=1, batch=64) == told
