"""What both classifier kinds, PyTorch and Keras, decide before a training: the parts, the order, the notes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lockstep.kinds.classifier.spec import ClassifierSpec, KerasClassifierSpec
from lockstep.kinds.shared import rehearsal
from lockstep.kinds.shared.retraining import RecordedOrder
from lockstep.learning.supervised.data import Parts, Samples, check_training, parts_in_order, seen_before, three_parts
from lockstep.learning.supervised.fit import FitSettings
from lockstep.runs.identity import CodeIdentity
from lockstep.runs.kind import Prepared

if TYPE_CHECKING:
    from lockstep.kinds.classifier.data import PinnedSamples
    from lockstep.kinds.shared.network_code import NetworkCode
    from lockstep.runs.spec import RunSpec


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """What a prepared run learns from, and in which order where it goes through a session again."""

    parts: Parts
    network: NetworkCode | None = None
    """PyTorch's; that of Keras is built in."""
    order: RecordedOrder | None = None


def parts_of_spec(samples: Samples, spec: ClassifierSpec | KerasClassifierSpec) -> Parts:
    """Samples cut into training, validation and test part as the spec says. Raises DataError."""
    table = spec.training
    if table.split == "in_order":
        return parts_in_order(samples, test_size=table.test_size, val_size=table.validation_split, purge=table.purge)
    train, validation, test = three_parts(
        samples, test_size=table.test_size, val_size=table.validation_split, seed=spec.seed
    )
    return Parts(train=train, validation=validation, test=test)


def prepared_of(spec: RunSpec, pinned: PinnedSamples, payload: Plan, numerics: Mapping[str, str]) -> Prepared:
    """The prepared run of a plan, with notes on the size of its parts. Raises DataError for unusable samples."""
    parts = payload.parts
    held_out = sum(len(part) for part in (parts.validation, parts.test) if part is not None)
    samples = pinned.samples
    check_training(samples)
    notes = [
        f"{len(samples):,} samples of {len(samples.classes)} classes: {len(parts.train):,} to train on, "
        f"{held_out:,} held out"
    ]
    if known := seen_before(parts):
        notes.append(
            f"{known:,} of the samples held out are also trained on, equal bit by bit: accuracy on them tests nothing. "
            'Remove them, or split samples in time with split = "in_order" and a purge.'
        )
    return Prepared(
        spec=spec,
        data=pinned.body(),
        code=CodeIdentity.of(),
        payload=payload,
        origin=pinned.origin,
        numerics=numerics,
        notes=tuple(notes),
    )


def fit_settings(spec: ClassifierSpec | KerasClassifierSpec) -> FitSettings:
    """Epochs, batch size and learning rate of the spec."""
    table = spec.training
    return FitSettings(epochs=table.epochs, batch_size=table.batch_size, learning_rate=table.learning_rate)


def seconds_of_training(
    found: rehearsal.Rehearsal, spec: ClassifierSpec | KerasClassifierSpec, parts: Parts, steps: int
) -> float | None:
    """Of a whole training: its updates, and the samples looked at after each epoch."""
    if found.step_seconds is None:
        return None
    held_out = 0 if parts.validation is None else len(parts.validation)
    evaluated = spec.training.epochs * held_out / spec.training.batch_size
    return found.step_seconds * (steps + evaluated * rehearsal.EVALUATED)
