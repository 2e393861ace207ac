"""`kind = "classifier-keras"`: the same training through Keras 3, on torch or TensorFlow; it keeps no gradients."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, cast

from lockstep.kinds.classifier import data as classifier_data
from lockstep.kinds.classifier.keras_training import FitTraining
from lockstep.kinds.classifier.plan import Plan, fit_settings, parts_of_spec, prepared_of, seconds_of_training
from lockstep.kinds.classifier.spec import KerasClassifierSpec
from lockstep.kinds.shared import rehearsal
from lockstep.learning.supervised.data import Parts
from lockstep.learning.supervised.fit import Fit
from lockstep.learning.supervised.history import HISTORY_FILE, history_bytes
from lockstep.learning.supervised.results import judged, parts_of
from lockstep.runs.checkpoint import CheckpointPolicy
from lockstep.runs.kind import Estimate, Kind, PrepareContext, Prepared, RunContext
from lockstep.runs.seeds import SeedTree
from lockstep.runs.training import Result, Training

if TYPE_CHECKING:
    from lockstep.learning.supervised.keras_learner import KerasLearner
    from lockstep.runs.folder import RunFolder
    from lockstep.runs.spec import RunSpec


_ADAM_STATES: Final = 2


_LINE_BYTES: Final = 560
"""A line of the Keras kind's journal."""


_CHECKPOINT_COPIES: Final = 3
"""A checkpoint being written, at most: the state copied, as bytes array by array, and in one piece."""


class KerasClassifierKind:
    """The Keras kind, as `runs.registry` knows it."""

    name: Final = "classifier-keras"
    spec_model: Final = KerasClassifierSpec

    def prepare(self, spec: RunSpec, context: PrepareContext) -> Prepared:
        """Pin the samples, time a few updates. Raises as `ClassifierKind.prepare` does."""
        from lockstep.learning.supervised.keras_learner import numerics_entries

        wanted = cast("KerasClassifierSpec", spec)
        numerics = numerics_entries()
        pinned = classifier_data.pin(wanted.data, context, form="images", seed=wanted.seed)
        payload = Plan(parts=parts_of_spec(pinned.samples, wanted))
        prepared = prepared_of(wanted, pinned, payload, numerics)
        estimate, notes = _keras_estimate(wanted, payload.parts, context)
        return replace(prepared, notes=(*prepared.notes, *notes), estimate=estimate)

    def restore(self, spec: RunSpec, folder: RunFolder, context: PrepareContext) -> Prepared:
        """The same from a run's folder and the snapshots of its home."""
        from lockstep.learning.supervised.keras_learner import numerics_entries

        wanted = cast("KerasClassifierSpec", spec)
        pinned = classifier_data.restore(folder.read("data"), context.blobs)
        return prepared_of(wanted, pinned, Plan(parts=parts_of_spec(pinned.samples, wanted)), numerics_entries())

    def training(self, prepared: Prepared, context: RunContext) -> Training:
        """The training, at its start."""
        spec, parts = cast("KerasClassifierSpec", prepared.spec), cast("Plan", prepared.payload).parts
        return FitTraining(_keras_fit(spec, parts), lambda fit: _keras_result(fit, spec, parts))


KERAS_KIND: Final[Kind] = KerasClassifierKind()


def _keras_fit(spec: KerasClassifierSpec, parts: Parts) -> Fit:
    from lockstep.learning.supervised.keras_learner import KerasLearner

    seeds = SeedTree(spec.seed)
    learner = KerasLearner(
        parts.train, learning_rate=spec.training.learning_rate, seeds=seeds, held_out=parts.validation
    )
    return Fit(learner, fit_settings(spec), seeds)


def _keras_estimate(
    spec: KerasClassifierSpec, parts: Parts, context: PrepareContext
) -> tuple[Estimate, tuple[str, ...]]:
    """From a few updates of a network that is thrown away; a large one is only counted. Never hashed."""
    from lockstep.learning.supervised.keras_learner import weight_count

    settings, train = fit_settings(spec), parts.train
    (shape,) = train.shapes.values()
    parameters = weight_count(shape, len(train.classes))
    weights, steps = 4 * parameters, settings.batches(len(train)) * settings.epochs
    state, checkpoint = weights * (2 + _ADAM_STATES), weights * (1 + _ADAM_STATES)
    notes: tuple[str, ...] = (f"{parameters:,} trained parameters",)
    if context.estimate_only and state > rehearsal.LARGE:
        found, notes = rehearsal.counted_only(), (*notes, rehearsal.UNTIMED)
    else:
        found = rehearsal.rehearse(_keras_fit(spec, parts).steps, state_bytes=state)
    seconds = seconds_of_training(found, spec, parts, steps)
    estimate = Estimate(
        seconds=seconds,
        disk_bytes=CheckpointPolicy().bytes_kept(checkpoint, seconds) + weights + _LINE_BYTES * steps,
        memory_bytes=found.held_bytes + state + _CHECKPOINT_COPIES * checkpoint,
        steps=steps,
    )
    return estimate, notes


def _keras_result(fit: Fit, spec: KerasClassifierSpec, parts: Parts) -> Result:
    """radar_model.h5 and the history; the network as training left it is judged."""
    from lockstep.learning.supervised.keras_learner import h5_bytes, probabilities
    from lockstep.learning.supervised.keras_trainer import MODEL_FILE, keras_history

    learner = cast("KerasLearner", fit.learner)
    chances = None if parts.test is None else probabilities(learner.model, next(iter(parts.test.inputs.values())))
    table = spec.training
    history = keras_history(
        fit.progress, test_size=table.test_size, validation_split=table.validation_split, seed=spec.seed
    )
    return Result(
        summary={
            "network": {"library": "keras", "weights": sum(array.size for array in learner.weights().values())},
            "samples": parts_of(parts.train, parts.validation, parts.test),
            "training": fit.progress.summary(),
            "test": judged(chances, parts.test, parts.train),
        },
        artifacts={MODEL_FILE: h5_bytes(learner.model), HISTORY_FILE: history_bytes(history)},
    )
