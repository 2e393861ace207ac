"""What both classifier kinds, PyTorch and Keras, decide before a training: samples, their parts, the settings.

Needs neither torch nor Keras; the network of the PyTorch kind is a `NetworkCode` that `training` adds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from lockstep.kinds.classifier.data import PinnedSamples
from lockstep.kinds.classifier.spec import ClassifierSpec, KerasClassifierSpec
from lockstep.kinds.shared import rehearsal
from lockstep.learning.supervised.data import Parts, Samples, check_training, parts_in_order, seen_before, three_parts
from lockstep.learning.supervised.fit import FitSettings
from lockstep.runs.seeds import SeedTree

if TYPE_CHECKING:
    from lockstep.kinds.shared.network_code import NetworkCode

SpecT = TypeVar("SpecT", bound=ClassifierSpec | KerasClassifierSpec)


@dataclass(frozen=True, kw_only=True, eq=False)
class SamplesPlan(Generic[SpecT]):
    """The pinned samples, cut into training, validation and test part."""

    spec: SpecT
    pinned: PinnedSamples
    parts: Parts

    @property
    def seeds(self) -> SeedTree:
        """The root of the run's streams."""
        return SeedTree(self.spec.seed)

    @property
    def settings(self) -> FitSettings:
        """Epochs, batch size and learning rate of the spec."""
        table = self.spec.training
        return FitSettings(epochs=table.epochs, batch_size=table.batch_size, learning_rate=table.learning_rate)

    @property
    def steps(self) -> int:
        """Updates of a training that draws its own batches."""
        return self.settings.batches(len(self.parts.train)) * self.settings.epochs

    @property
    def evaluated(self) -> float:
        """What looking at the validation part after each epoch takes, in steps."""
        held_out = 0 if self.parts.validation is None else len(self.parts.validation)
        return self.spec.training.epochs * held_out / self.spec.training.batch_size * rehearsal.EVALUATED

    def notes(self) -> tuple[str, ...]:
        """Sizes of the parts, and a warning where they overlap, for a person."""
        samples, parts = self.pinned.samples, self.parts
        held_out = sum(len(part) for part in (parts.validation, parts.test) if part is not None)
        lines = [
            f"{len(samples):,} samples of {len(samples.classes)} classes: {len(parts.train):,} to train on, "
            f"{held_out:,} held out"
        ]
        # Random parts of samples that repeat: the commonest way to an accuracy that is too good.
        if count := seen_before(parts):
            lines.append(
                f"{count:,} of the samples held out are also trained on, equal bit by bit: accuracy on them tests "
                'nothing. Remove them, or split samples in time with split = "in_order" and a purge.'
            )
        return tuple(lines)


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassifierPlan(SamplesPlan[ClassifierSpec]):
    """With the network of the PyTorch kind; that of Keras is built in."""

    network: NetworkCode


def parts_of_spec(samples: Samples, spec: ClassifierSpec | KerasClassifierSpec) -> Parts:
    """Samples cut into training, validation and test part as the spec says. Raises DataError for unusable samples."""
    table = spec.training
    if table.split == "in_order":
        parts = parts_in_order(samples, test_size=table.test_size, val_size=table.validation_split, purge=table.purge)
    else:
        train, validation, test = three_parts(
            samples, test_size=table.test_size, val_size=table.validation_split, seed=spec.seed
        )
        parts = Parts(train=train, validation=validation, test=test)
    check_training(samples)
    return parts
