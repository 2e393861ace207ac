"""Everything that a training of `kind = "cnn"` needs, resolved: the same from a spec and from a run's folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lockstep.kinds.shared import market_data, network_code
from lockstep.kinds.shared.pattern_networks import NETWORKS
from lockstep.learning.gradients.epochs import Epochs
from lockstep.learning.patterns.data_module import PARTS, DataModule, class_weights, data_module, mapping_of
from lockstep.runs.seeds import SeedTree

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from lockstep.kinds.cnn.spec import CnnSpec
    from lockstep.kinds.shared.market_data import Pinned
    from lockstep.kinds.shared.network_code import NetworkCode
    from lockstep.runs.folder import RunFolder
    from lockstep.runs.kind import PrepareContext


@dataclass(frozen=True, kw_only=True)
class CnnPlan:
    """The payload of a prepared run: candles, the samples cut from them, and the network."""

    spec: CnnSpec
    pinned: Pinned
    module: DataModule
    network: NetworkCode

    @property
    def seeds(self) -> SeedTree:
        """The root of the run's random streams."""
        return SeedTree(self.spec.seed)

    @property
    def sizes(self) -> dict[str, int]:
        """Sizes that the data decide, by the name of an argument of the network's constructor."""
        windows = self.module.windows
        return {
            "channels": len(windows.channels),
            # Names as networks usually have them: a constructor gets those it has arguments for.
            "window": windows.window,
            "classes": len(self.module.label_settings.classes),
        }

    def make_network(self) -> nn.Module:
        """The network before the first step."""
        return self.network.make(self.sizes, self.seeds.child("init"))

    def epochs(self) -> Epochs:
        """The order of training rows that the seed draws."""
        table = self.spec.training
        return Epochs(
            samples=len(self.module.parts.train),
            batch_size=table.update_size,
            epochs=table.epochs,
            seeds=self.seeds.child("order"),
        )

    def class_weights(self) -> NDArray[np.float32] | None:
        """Weights of the classes in the loss, float32 (classes,), from counts of training rows; None when all are 1."""
        labels = self.module.labels.classes[self.module.parts.train]
        # From training rows alone: frequencies of later parts are not known yet when a network learns.
        return class_weights(labels, self.module.label_settings.classes, self.spec.training.class_weights)

    def notes(self) -> tuple[str, ...]:
        """Lines on the samples and classes of each part."""
        counts = self.module.counts()
        lines = [f"{part}: {len(self.module.bars(part)):,} samples ({mapping_of(counts[part])})" for part in PARTS]
        return (*self.pinned.notes, *lines, f"{self.module.parts.purged:,} samples between the parts purged")


def pin(spec: CnnSpec, context: PrepareContext) -> CnnPlan:
    """Pin network and candles. `context.python_objects` may hold candles ("data.candles") and a network's class or
    instance ("network.name"). Raises the InputError tree, DiskError."""
    # The network first: an error in its source shows at once, while candles may take minutes to load.
    network = network_code.from_user(spec.network, context, NETWORKS)
    return _plan(spec, market_data.pin(spec, {}, context), network)


def restore(spec: CnnSpec, folder: RunFolder, context: PrepareContext) -> CnnPlan:
    """The same plan from a run's folder and the snapshots of its home. Raises IntegrityError, DataError."""
    network = network_code.from_run(spec.network, folder, context, NETWORKS)
    return _plan(spec, market_data.restore(folder.read("data"), context.blobs), network)


def _plan(spec: CnnSpec, pinned: Pinned, network: NetworkCode) -> CnnPlan:
    module = data_module(
        pinned.candles,
        spec.features.settings(),
        spec.labels.settings(),
        spec.split.settings(),
        clip=spec.features.clip,
    )
    resolved = spec.model_copy(update={"network": network.resolved(spec.network)})
    plan = CnnPlan(spec=resolved, pinned=pinned, module=module, network=network)
    plan.class_weights()  # raises for a class without training rows, before the run is created
    return plan
