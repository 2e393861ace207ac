"""Small gradient trainings, without a market: windows whose class is the sign of their drift."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from torch import nn

from lockstep.learning.gradients import determinism
from lockstep.learning.gradients.epochs import Epochs
from lockstep.learning.gradients.learner import Learner
from lockstep.learning.gradients.optim_state import OptimizerSettings
from lockstep.learning.gradients.record import SessionRecord
from lockstep.learning.gradients.recorder import Recorder, Recording
from lockstep.learning.gradients.training import GradientTraining
from lockstep.learning.patterns.networks import PatternCNN, PatternShape
from lockstep.learning.patterns.task import Order, PatternSamples, PatternTask
from lockstep.runs.checkpoint import CheckpointPolicy
from lockstep.runs.folder import RunFolder
from lockstep.runs.loop import execute
from lockstep.runs.seeds import SeedTree
from lockstep.testing.contracts.training_kind import EVERY_STEP, fingerprint, new_folder

SMALL = PatternShape(channels=2, window=8, filters=(4, 4, 4), hidden=8, dropout=0.2)
NORMED = PatternShape(channels=2, window=8, filters=(4, 4, 4), hidden=8, dropout=0.2, batch_norm=True)


def samples(n: int = 40, shape: PatternShape = SMALL, seed: int = 3) -> PatternSamples:
    rng = np.random.Generator(np.random.Philox(key=seed))
    drift = rng.normal(size=n)
    windows = rng.normal(size=(n, shape.channels, shape.window)) + drift[:, None, None]
    return PatternSamples(
        windows=windows.astype(np.float32),
        classes=np.digitize(drift, (-0.4, 0.4)).astype(np.int64),
        returns=(0.01 * drift).astype(np.float32),
        scores=np.clip(drift, 0.0, 1.0),
        profitable=drift > 0.0,
    )


@dataclass(frozen=True, kw_only=True)
class Small:
    """A training by its settings; `make` builds a fresh one."""

    seed: int = 1
    shape: PatternShape = NORMED
    epochs: int = 2
    batch: int = 16
    optimizer: OptimizerSettings = field(default_factory=lambda: OptimizerSettings(learning_rate=3e-3))
    clip_norm: float | None = 1.0
    recording: Recording = field(default_factory=lambda: Recording(snapshot_every=4))
    order: Order | None = None
    build: Callable[[], nn.Module] | None = None
    session: dict[str, str] = field(default_factory=lambda: {"model": "small", "model_kind": "pattern"})

    def make(self) -> GradientTraining:
        seeds = SeedTree(self.seed)
        with determinism.noise(seeds.child("init")):
            module = self.build() if self.build is not None else PatternCNN(self.shape)
        learner = Learner(module, self.optimizer, seeds=seeds, clip_norm=self.clip_norm)
        data = samples(shape=self.shape)
        order = self.order
        if order is None:
            order = Epochs(samples=len(data), batch_size=self.batch, epochs=self.epochs, seeds=seeds.child("order"))
        return GradientTraining(PatternTask(data, order), learner, Recorder(self.recording, learner), self.session)

    def run(self, path: Path, policy: CheckpointPolicy = EVERY_STEP) -> RunFolder:
        folder = new_folder(path, self.seed)
        execute(self.make(), folder, fingerprint=fingerprint(self.seed), policy=policy)
        return folder

    def record(self, path: Path) -> SessionRecord:
        return SessionRecord(self.run(path))
