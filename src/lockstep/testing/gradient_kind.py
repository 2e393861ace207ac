"""A whole kind that learns by gradients, small and without a market, for tests of replay, retraining and reports.

Its samples are windows whose class is the sign of their drift, drawn from `data.seed`. The environment variable
LOCKSTEP_TOY_DRIFT = "weight:<step>" flips a bit of one weight before that step, as a faulty machine would.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final, Literal, cast

import numpy as np
from pydantic import Field

from lockstep.core.hashing import digest_columns
from lockstep.kinds.shared.retraining import SessionTable, recorded_order, with_batches
from lockstep.learning.gradients import determinism
from lockstep.learning.gradients.epochs import Epochs
from lockstep.learning.gradients.learner import Learner
from lockstep.learning.gradients.optim_state import OptimizerSettings
from lockstep.learning.gradients.recorder import Recorder, Recording
from lockstep.learning.gradients.training import Batch, GradientTraining
from lockstep.learning.patterns.networks import PatternCNN, PatternShape
from lockstep.learning.patterns.task import Order, PatternSamples, PatternTask
from lockstep.runs.folder import RunFolder
from lockstep.runs.identity import CodeIdentity
from lockstep.runs.kind import Estimate, PrepareContext, Prepared, RunContext
from lockstep.runs.seeds import SeedTree
from lockstep.runs.spec import RunSpec, SpecModel
from lockstep.runs.training import Training

DRIFT: Final = "LOCKSTEP_TOY_DRIFT"


class ToyDataTable(SpecModel):
    """How many samples to draw, and from which seed."""

    samples: int = Field(default=40, ge=1)
    seed: int = 3


class ToyNetworkTable(SpecModel):
    """Size of the network: neurons of its hidden layer, and whether it normalises batches."""

    hidden: int = Field(default=8, ge=1)
    batch_norm: bool = True


class ToyRecordingTable(SpecModel):
    """What the run records; fields as in `learning.gradients.recorder.Recording`."""

    level: Literal["full", "norms", "none"] = "full"
    every: int = 1
    snapshot_every: int = 4
    digest_every: int = 1
    max_bytes: int = 20_000_000_000
    at_limit: Literal["end", "norms"] = "end"


class ToyGradientSpec(RunSpec):
    """The spec of this kind: epochs, samples per batch, optimiser, and its tables."""

    epochs: int = Field(default=2, ge=0)
    batch: int = Field(default=16, ge=1)
    learning_rate: float = 3e-3
    clip_norm: float | None = 1.0
    data: ToyDataTable = ToyDataTable()
    network: ToyNetworkTable = ToyNetworkTable()
    recording: ToyRecordingTable = ToyRecordingTable()
    session: SessionTable = SessionTable()


class DriftingTask(PatternTask):
    """A task on a machine that flips a bit."""

    def __init__(self, samples: PatternSamples, order: Order, learner: Learner) -> None:
        super().__init__(samples, order)
        self._learner = learner
        what, _, step = os.environ.get(DRIFT, ":-1").partition(":")
        self._step = int(step) if what == "weight" else -1

    def batch(self, step: int) -> Batch | None:
        """The batch of a step. At the step of the drift, one bit of one weight flips first."""
        if step == self._step:
            self._learner.flat.weights.detach().numpy().view(np.uint32)[0] ^= 1 << 12
        return super().batch(step)


def made_samples(table: ToyDataTable, shape: PatternShape) -> PatternSamples:
    """Windows (n, channels, window) of noise around a drift each; class 0, 1, 2: drift below, about or above zero."""
    rng = np.random.Generator(np.random.Philox(key=table.seed))
    drift = rng.normal(size=table.samples)
    windows = rng.normal(size=(table.samples, shape.channels, shape.window)) + drift[:, None, None]
    return PatternSamples(
        windows=windows.astype(np.float32),
        classes=np.digitize(drift, (-0.4, 0.4)).astype(np.int64),
        returns=(0.01 * drift).astype(np.float32),
        scores=np.clip(drift, 0.0, 1.0),
        profitable=drift > 0.0,
    )


class ToyGradientKind:
    """A kind whose samples come from a seed, so that a run needs no data; see the module."""

    name = "toy-gradients"
    spec_model: type[RunSpec] = ToyGradientSpec
    sample_keys: Final = ("data",)

    def prepare(self, spec: RunSpec, context: PrepareContext) -> Prepared:
        """Draw the samples. A seed gives them again, so only their digest is pinned."""
        return self._prepared(cast("ToyGradientSpec", spec), context)

    def restore(self, spec: RunSpec, folder: RunFolder, context: PrepareContext) -> Prepared:
        """As `prepare`; a retrained run reads its recorded batches from the blobs. Raises DataError without them."""
        prepared = self._prepared(cast("ToyGradientSpec", spec), context)
        recorded_order(cast("ToyGradientSpec", spec).session, context.blobs)
        return prepared

    def _prepared(self, spec: ToyGradientSpec, context: PrepareContext) -> Prepared:
        samples = made_samples(spec.data, _shape(spec))
        data: Mapping[str, Any] = {"digest": digest_columns({"windows": samples.windows}), "snapshots": []}
        data = with_batches(data, spec.session)
        return Prepared(
            spec=spec, data=data, code=CodeIdentity.of(), payload=samples, numerics=determinism.numerics_entries()
        )

    def estimate(self, prepared: Prepared, context: PrepareContext, *, time_large: bool = True) -> Estimate:
        """Number of steps, counted and not timed."""
        spec = cast("ToyGradientSpec", prepared.spec)
        order = recorded_order(spec.session, context.blobs)
        steps = spec.epochs * -(-spec.data.samples // spec.batch)
        return Estimate(steps=steps if order is None else order.steps)

    def try_network(self, prepared: Prepared) -> None:
        """Do nothing: one network fits every size of batch."""

    def training(self, prepared: Prepared, context: RunContext) -> Training:
        """The training at its start; on recorded batches where the spec's table `session` names some."""
        spec = cast("ToyGradientSpec", prepared.spec)
        seeds = SeedTree(spec.seed)
        with determinism.noise(seeds.child("init")):
            module = PatternCNN(_shape(spec))
        optimizer = OptimizerSettings(learning_rate=spec.learning_rate)
        learner = Learner(module, optimizer, seeds=seeds, clip_norm=spec.clip_norm)
        order: Order | None = recorded_order(spec.session, context.blobs)
        if order is None:
            order = Epochs(
                samples=spec.data.samples, batch_size=spec.batch, epochs=spec.epochs, seeds=seeds.child("order")
            )
        session = {"model": "small", "model_kind": "pattern", **spec.session.metadata()}
        recording = Recording(**spec.recording.model_dump())
        return GradientTraining(
            DriftingTask(prepared.payload, order, learner), learner, Recorder(recording, learner), session
        )


def _shape(spec: ToyGradientSpec) -> PatternShape:
    return PatternShape(
        channels=2,
        window=8,
        filters=(4, 4, 4),
        hidden=spec.network.hidden,
        dropout=0.2,
        batch_norm=spec.network.batch_norm,
    )


KIND = ToyGradientKind()
PATH = "lockstep.testing.gradient_kind:KIND"
