"""Everything that a training of `kind = "cnn-episodes"` needs, resolved: the same from a spec and a run's folder."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lockstep.core.errors import InputError
from lockstep.kinds.cnn_episodes import data as episodes_data
from lockstep.kinds.cnn_episodes.data import CLASSES, PinnedEpisodes, few_episodes
from lockstep.kinds.cnn_episodes.spec import EpisodesSpec, ScalingTable
from lockstep.kinds.shared import network_code
from lockstep.kinds.shared.network_code import NetworkCode
from lockstep.kinds.shared.pattern_networks import NETWORKS
from lockstep.learning.gradients.epochs import Epochs
from lockstep.learning.patterns.task import PatternSamples
from lockstep.runs.seeds import SeedTree

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from lockstep.runs.folder import RunFolder
    from lockstep.runs.kind import PrepareContext


@dataclass(frozen=True, kw_only=True)
class EpisodesPlan:
    """The payload of a prepared run: the pinned episodes and the network."""

    spec: EpisodesSpec
    pinned: PinnedEpisodes
    network: NetworkCode

    @property
    def seeds(self) -> SeedTree:
        """The root of the run's random streams."""
        return SeedTree(self.spec.seed)

    @property
    def sizes(self) -> dict[str, int]:
        """Sizes that the data decide, by the name of an argument of the network's constructor."""
        return {"channels": self.pinned.features, "window": self.pinned.window, "classes": CLASSES}

    def make_network(self) -> nn.Module:
        """The network before the first step."""
        return self.network.make(self.sizes, self.seeds.child("init"))

    def epochs(self) -> Epochs:
        """The order of episodes that the seed draws."""
        table = self.spec.training
        return Epochs(
            samples=len(self.pinned),
            batch_size=table.update_size,
            epochs=table.epochs,
            seeds=self.seeds.child("order"),
        )

    def samples(self) -> PatternSamples:
        """The samples of the task; windows are scaled, float32 (n, features, window)."""
        arrays = self.pinned.arrays
        return PatternSamples(
            windows=self.windows(slice(None)),
            classes=arrays["classes"],
            returns=arrays["returns"],
            scores=arrays["scores"],
            profitable=arrays["profitable"],
        )

    def windows(self, rows: slice) -> NDArray[np.float32]:
        """The scaled windows of some episodes, float32 (n, features, window)."""
        return self.scaled(self.pinned.arrays["windows"][rows])

    def scaled(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Windows (n, window, features) by the run's mean and deviation, float32 (n, features, window)."""
        scaling = self.spec.scaling
        scaled = (windows.astype(np.float64) - np.array(scaling.mean)) / np.array(scaling.deviation)
        return np.ascontiguousarray(scaled.transpose(0, 2, 1), np.float32)

    def notes(self) -> tuple[str, ...]:
        """A line on the episodes that are trained on."""
        table = self.spec.episodes
        line = (
            f"{len(self.pinned):,} of {self.pinned.available:,} episodes of {table.symbol} with a score of at least "
            f"{table.min_profitability:g}, windows of {self.pinned.window} bars"
        )
        return tuple(text for text in (line, few_episodes(len(self.pinned))) if text)


def pin(spec: EpisodesSpec, context: PrepareContext) -> EpisodesPlan:
    """Choose and pin the episodes, and pin the network. `context.python_objects` may hold a book
    ("data.episodes") and a network ("network.name"). Raises the InputError tree, DiskError."""
    book, origin = episodes_data.book_of(spec.data, context)
    pinned = episodes_data.pin(spec.episodes, book, context.blobs, origin)
    # Checked here and not in the spec: only the book knows how many features there are.
    if spec.scaling.mean and len(spec.scaling.mean) != pinned.features:
        raise InputError(
            f"scaling.mean has one number for each of {pinned.features} features; found {len(spec.scaling.mean)}."
        )
    network = network_code.from_user(spec.network, context, NETWORKS)
    # The run stores what the book decided: a later book would decide otherwise.
    decided = {
        "episodes": spec.episodes.model_copy(update={"window": pinned.window}),
        "scaling": spec.scaling if spec.scaling.mean else scaling_of(pinned),
    }
    return _plan(spec.model_copy(update=decided), pinned, network)


def restore(spec: EpisodesSpec, folder: RunFolder, context: PrepareContext) -> EpisodesPlan:
    """The same plan from a run's folder and the snapshots of its home. Raises IntegrityError, DataError."""
    pinned = episodes_data.restore(folder.read("data"), context.blobs)
    return _plan(spec, pinned, network_code.from_run(spec.network, folder, context, NETWORKS))


def _plan(spec: EpisodesSpec, pinned: PinnedEpisodes, network: NetworkCode) -> EpisodesPlan:
    resolved = spec.model_copy(update={"network": network.resolved(spec.network)})
    return EpisodesPlan(spec=resolved, pinned=pinned, network=network)


def scaling_of(pinned: PinnedEpisodes) -> ScalingTable:
    """Mean and standard deviation of each feature over the windows, all of which are trained on.

    Sums are exact (`math.fsum`), so that every machine has the same. A constant feature has deviation 1, so that it is
    not divided by 0.
    """
    rows = pinned.arrays["windows"].reshape(-1, pinned.features).astype(np.float64)
    mean = [math.fsum(column.tolist()) / len(rows) for column in rows.T]
    spread = [math.fsum(((column - middle) ** 2).tolist()) for column, middle in zip(rows.T, mean, strict=True)]
    deviation = [math.sqrt(total / len(rows)) or 1.0 for total in spread]
    return ScalingTable(mean=tuple(mean), deviation=tuple(deviation))
