"""Gradient training as a `Training`: the contract, at every level and for every optimiser."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from tests.unit.learning.builders import Small

from lockstep.learning.gradients.optim_state import OptimizerSettings
from lockstep.learning.gradients.recorder import Recording
from lockstep.runs.training import Training
from lockstep.testing.contracts.training_kind import TrainingContract


class TestFull(TrainingContract):
    """R9.51: everything recorded."""

    def make(self, seed: int) -> Training:
        return Small(seed=seed).make()


class TestNorms(TrainingContract):
    """R9.51: norms only."""

    def make(self, seed: int) -> Training:
        return Small(seed=seed, recording=Recording(level="norms")).make()


class TestNone(TrainingContract):
    """R9.51: nothing but losses, and a digest of the state every third step."""

    def make(self, seed: int) -> Training:
        return Small(seed=seed, recording=Recording(level="none", digest_every=3)).make()


class TestFalling(TrainingContract):
    """The byte limit is met in the middle, and the session goes on at level norms."""

    def make(self, seed: int) -> Training:
        return Small(seed=seed, recording=Recording(max_bytes=20_000, at_limit="norms", snapshot_every=4)).make()


class TestEnding(TrainingContract):
    """The byte limit is met in the middle and ends the session."""

    def make(self, seed: int) -> Training:
        return Small(seed=seed, recording=Recording(max_bytes=20_000, snapshot_every=4)).make()


class TestMomentum(TrainingContract):
    """SGD with momentum, selected gradients of every other step."""

    def make(self, seed: int) -> Training:
        return Small(
            seed=seed,
            optimizer=OptimizerSettings(name="sgd", momentum=0.9, learning_rate=1e-2, form="foreach"),
            recording=Recording(select=("direction.*", "trunk.0.*"), every=2, snapshot_every=3),
        ).make()
