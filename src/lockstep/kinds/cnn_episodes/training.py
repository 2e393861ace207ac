"""The training of an episode session: the task of networks with three heads, over pinned windows. Needs torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from lockstep.kinds.cnn_episodes.data import CLASSES, PinnedEpisodes
from lockstep.kinds.cnn_episodes.spec import ScalingTable
from lockstep.kinds.shared import rehearsal
from lockstep.kinds.shared.retraining import recorded_order
from lockstep.kinds.shared.three_heads import try_network
from lockstep.learning.gradients.epochs import Epochs
from lockstep.learning.gradients.estimate import estimate_of
from lockstep.learning.gradients.learner import Learner
from lockstep.learning.gradients.recorder import Recorder
from lockstep.learning.gradients.training import GradientTraining
from lockstep.learning.patterns.networks import HeadWeights
from lockstep.learning.patterns.task import Order, PatternSamples, PatternTask
from lockstep.runs.kind import Estimate
from lockstep.runs.seeds import SeedTree

if TYPE_CHECKING:
    from lockstep.kinds.cnn_episodes.spec import EpisodesSpec, EpisodesTrainingTable
    from lockstep.kinds.shared.network_code import NetworkCode
    from lockstep.runs.kind import PrepareContext
    from lockstep.storage.blobs import BlobStore


class EpisodeTask(PatternTask):
    """`PatternTask` under the learning rates of a spec; its result says how many episodes there were."""

    def __init__(
        self, samples: PatternSamples, order: Order, table: EpisodesTrainingTable, device: str, said: Mapping[str, Any]
    ) -> None:
        weights = HeadWeights(**table.weights.model_dump())
        super().__init__(samples, order, weights=weights, device=device)
        self._table, self._said = table, dict(said)

    def learning_rate(self, step: int) -> float:
        """The schedule's."""
        return self._table.rate(step, self.planned_steps)

    def result(self, learner: Learner) -> Mapping[str, Any]:
        """Counts of episodes."""
        return self._said


def sizes_of(pinned: PinnedEpisodes) -> dict[str, int]:
    """What the data decide of a network."""
    return {"channels": pinned.features, "window": pinned.window, "classes": CLASSES}


def scaling_of(pinned: PinnedEpisodes) -> ScalingTable:
    """Mean and deviation of each feature over these windows, all of which are trained on.

    Summed exactly (`math.fsum`), so that every machine finds the same. A feature that never changes is left as it is:
    its deviation counts as 1.
    """
    rows = pinned.arrays["windows"].reshape(-1, pinned.features).astype(np.float64)
    mean = [math.fsum(column.tolist()) / len(rows) for column in rows.T]
    spread = [math.fsum(((column - middle) ** 2).tolist()) for column, middle in zip(rows.T, mean, strict=True)]
    deviation = [math.sqrt(total / len(rows)) or 1.0 for total in spread]
    return ScalingTable(mean=tuple(mean), deviation=tuple(deviation))


def check_network(code: NetworkCode, pinned: PinnedEpisodes, spec: EpisodesSpec) -> None:
    """Make the network and try it on batches of zeros. Raises NetworkError."""
    import torch

    sizes = sizes_of(pinned)
    module = code.check_repeatable(sizes, SeedTree(spec.seed).child("init"))
    size = min(spec.training.batch_size, len(pinned))
    seeds = SeedTree(spec.seed)
    try_network(
        code,
        module,
        torch.zeros(size, pinned.features, pinned.window),
        classes=CLASSES,
        last=len(pinned) % size or size,
        seeds=seeds.child("trial"),
    )


def told(
    code: NetworkCode, pinned: PinnedEpisodes, spec: EpisodesSpec, context: PrepareContext
) -> tuple[Estimate, tuple[str, ...]]:
    """Steps, time, disk and memory, and that in words; the network is tried, unless it is large and only an estimate
    is wanted. Raises NetworkError."""
    table, recorded = spec.training, recorded_order(spec.session, context.blobs)
    size = estimate_of(
        code.for_estimate(sizes_of(pinned), SeedTree(spec.seed).child("init")),
        table.settings(),
        spec.recording.settings(),
        steps=table.epochs * -(-len(pinned) // table.batch_size) if recorded is None else recorded.steps,
        batch=min(table.batch_size, len(pinned)),
    )
    notes = tuple(size.lines())
    if context.estimate_only and size.state_bytes > rehearsal.LARGE:
        found, notes = rehearsal.counted_only(), (*notes, rehearsal.UNTIMED)
    else:
        check_network(code, pinned, spec)
        training = training_of(spec, pinned, code, context.blobs)
        found = rehearsal.rehearse(training.steps, state_bytes=size.state_bytes)
    seconds = None if found.step_seconds is None else found.step_seconds * size.last_step
    return size.as_run_estimate(seconds=seconds, held_bytes=found.held_bytes), notes


def training_of(spec: EpisodesSpec, pinned: PinnedEpisodes, code: NetworkCode, blobs: BlobStore) -> GradientTraining:
    """The training at its start. Weights, order and noise come from streams of their own."""
    seeds, table, arrays = SeedTree(spec.seed), spec.training, pinned.arrays
    mean, deviation = np.array(spec.scaling.mean), np.array(spec.scaling.deviation)
    scaled = (arrays["windows"].astype(np.float64) - mean) / deviation
    samples = PatternSamples(
        windows=np.ascontiguousarray(scaled.transpose(0, 2, 1), np.float32),
        classes=arrays["classes"],
        returns=arrays["returns"],
        scores=arrays["scores"],
        profitable=arrays["profitable"],
    )
    order: Order | None = recorded_order(spec.session, blobs)
    if order is None:
        order = Epochs(
            samples=len(samples), batch_size=table.batch_size, epochs=table.epochs, seeds=seeds.child("order")
        )
    learner = Learner(
        code.make(sizes_of(pinned), seeds.child("init")),
        table.settings(),
        seeds=seeds,
        clip_norm=table.clip_norm,
        device=spec.device,
    )
    said = {"episodes": {"available": pinned.available, "used": len(pinned), "symbol": spec.episodes.symbol}}
    session = {
        "model": code.name,
        "model_kind": "pattern",
        "symbol": spec.episodes.symbol,
        **spec.session.metadata(),
    }
    task = EpisodeTask(samples, order, table, spec.device, said)
    return GradientTraining(task, learner, Recorder(spec.recording.settings(), learner), session)
