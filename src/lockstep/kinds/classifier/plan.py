"""What both classifier kinds, PyTorch and Keras, decide before a training: samples, their parts, the settings.

Needs neither torch nor Keras; the network of the PyTorch kind is a `NetworkCode` that `training` adds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from lockstep.kinds.classifier.data import PinnedSamples
from lockstep.kinds.classifier.spec import ClassifierSpec, KerasClassifierSpec
from lockstep.learning.supervised.data import Parts, Samples, check_training, parts_in_order, seen_before, three_parts
from lockstep.learning.supervised.fit import FitSettings
from lockstep.runs.seeds import SeedTree

if TYPE_CHECKING:
    from torch import nn

    from lockstep.kinds.shared.network_code import NetworkCode

SpecT = TypeVar("SpecT", bound=ClassifierSpec | KerasClassifierSpec)


@dataclass(frozen=True, kw_only=True, eq=False)
class SamplesPlan(Generic[SpecT]):
    """The payload of a prepared run: pinned samples, cut into training, validation and test part."""

    spec: SpecT
    pinned: PinnedSamples
    parts: Parts

    @property
    def seeds(self) -> SeedTree:
        """The root of the run's random streams."""
        return SeedTree(self.spec.seed)

    @property
    def settings(self) -> FitSettings:
        """Epochs, batch size and learning rate of the spec."""
        table = self.spec.training
        return FitSettings(
            epochs=table.epochs,
            batch_size=table.batch_size,
            learning_rate=table.learning_rate,
            accumulate=getattr(table, "accumulate", 1),  # Keras updates once a batch
        )

    @property
    def steps(self) -> int:
        """Number of updates, unless the run is retrained on recorded batches."""
        return self.settings.batches(len(self.parts.train)) * self.settings.epochs

    def notes(self) -> tuple[str, ...]:
        """Lines on the sizes of the parts, and a warning when they overlap."""
        samples, parts = self.pinned.samples, self.parts
        held_out = sum(len(part) for part in (parts.validation, parts.test) if part is not None)
        lines = [
            f"{len(samples):,} samples of {len(samples.classes)} classes: {len(parts.train):,} to train on, "
            f"{held_out:,} held out"
        ]
        # Repeated samples in random parts are the most common reason for an accuracy that is too good.
        if count := seen_before(parts):
            lines.append(
                f"{count:,} of the samples held out are also trained on, equal bit by bit: accuracy on them tests "
                'nothing. Remove them, or split samples in time with split = "in_order" and a purge.'
            )
        return tuple(lines)


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassifierPlan(SamplesPlan[ClassifierSpec]):
    """The plan of the PyTorch kind, whose network may be the user's."""

    network: NetworkCode

    @property
    def sizes(self) -> dict[str, Any]:
        """What a network's constructor may ask for: `shapes` of a sample by input, the number of `classes`, and where
        there is one input, its sizes: `features`; `channels`, `window`; or `channels`, `height`, `width`."""
        train = self.parts.train
        sizes: dict[str, Any] = {"shapes": train.shapes, "classes": len(train.classes)}
        if len(train.shapes) == 1:
            (shape,) = train.shapes.values()
            # Several inputs have no sizes of their own names: which of them would "features" be?
            names = {1: ("features",), 2: ("channels", "window"), 3: ("channels", "height", "width")}
            sizes |= zip(names.get(len(shape), ()), shape, strict=False)
        return sizes

    def make_network(self) -> nn.Module:
        """The network before the first step."""
        return self.network.make(self.sizes, self.seeds.child("network"))


def parts_of_spec(samples: Samples, spec: ClassifierSpec | KerasClassifierSpec) -> Parts:
    """Cut samples into training, validation and test part by the spec. Raises DataError for unusable samples."""
    table = spec.training
    # In order no seed takes part: two runs of different seeds are tested on the same samples.
    if table.split == "in_order":
        parts = parts_in_order(samples, test_size=table.test_size, val_size=table.validation_split, purge=table.purge)
    else:
        train, validation, test = three_parts(
            samples, test_size=table.test_size, val_size=table.validation_split, seed=spec.seed
        )
        parts = Parts(train=train, validation=validation, test=test)
    # After the cut, so that a share which leaves nothing is named before a class that is missing.
    check_training(samples)
    return parts
