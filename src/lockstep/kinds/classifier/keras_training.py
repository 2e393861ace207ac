"""The training of `kind = "classifier-keras"`: one step is one optimiser update.

The line of a step holds epoch, batch, loss and hits, and the digests of its rows and of the weights after it; the last
step of an epoch also has the figures of the epoch. The state is that of `Fit`: weights, optimiser, cursor, best
weights. A run that was stopped inside an epoch goes on with its next batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import numpy as np

from lockstep.core.errors import NetworkError
from lockstep.core.hashing import digest_array, digest_columns
from lockstep.kinds.classifier import data as classifier_data
from lockstep.kinds.classifier.plan import SamplesPlan, parts_of_spec
from lockstep.kinds.classifier.spec import KerasClassifierSpec
from lockstep.kinds.shared import step_timing
from lockstep.kinds.shared.gradient_kind import Recipe, TrainingCosts
from lockstep.kinds.shared.passes import Judge, Pass, others_noise
from lockstep.kinds.shared.step_timing import StepTiming
from lockstep.learning.supervised.fit import Fit
from lockstep.learning.supervised.history import HISTORY_FILE, history_bytes
from lockstep.learning.supervised.keras_learner import (
    KerasLearner,
    h5_bytes,
    numerics_entries,
    probabilities,
    weight_count,
)
from lockstep.learning.supervised.keras_trainer import MODEL_FILE, keras_history
from lockstep.learning.supervised.results import judged, parts_of
from lockstep.runs.checkpoint import CheckpointPolicy
from lockstep.runs.kind import Estimate
from lockstep.runs.training import Result, Step

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.learning.supervised.fit import FitUpdate
    from lockstep.runs.folder import RunFolder
    from lockstep.runs.kind import PrepareContext, RunContext

KerasPlan: TypeAlias = SamplesPlan[KerasClassifierSpec]

_ADAM_STATES: Final = 2
_ROWS: Final = 64
"""Images that are predicted for a trial."""
_LINE_BYTES: Final = 560
"""Bytes of a line of the journal."""
_CHECKPOINT_COPIES: Final = 3
"""Copies of the state in memory while a checkpoint is written: arrays, their bytes, and the whole file."""


class KerasRecipe(Recipe[KerasClassifierSpec, KerasPlan]):
    """The built-in Keras network over labelled images."""

    def pin(self, spec: KerasClassifierSpec, context: PrepareContext) -> KerasPlan:
        """Pin the samples. `context.python_objects` may hold them ("data.samples"). Raises DataError, DiskError."""
        return _plan(spec, classifier_data.pin(spec.data, context, form="images", seed=spec.seed))

    def restore(self, spec: KerasClassifierSpec, folder: RunFolder, context: PrepareContext) -> KerasPlan:
        """The same plan from a run's folder and the snapshots of its home. Raises IntegrityError, DataError."""
        return _plan(spec, classifier_data.restore(folder.read("data"), context.blobs))

    def notes(self, plan: KerasPlan) -> tuple[str, ...]:
        """Lines on the sizes of the parts."""
        return plan.notes()

    def numerics(self, plan: KerasPlan) -> Mapping[str, str]:
        """Versions of Keras and of its backend."""
        return numerics_entries()

    def try_network(self, plan: KerasPlan) -> None:
        """Rehearse the network: updates from the first and the last batch of an epoch, and a validation.

        It is built in, so what can fail here is a shape, a number of the samples, or a library on this machine. Raises
        NetworkError.
        """
        count, size = len(plan.parts.train), min(plan.settings.batch_size, len(plan.parts.train))
        first, last = np.arange(size), np.arange(count - (count % size or size), count)
        learner = _learner(plan)
        start = learner.get_state()
        judge = Judge(
            name="the Keras network",
            method="an update",
            state="no weight and no variable of the optimiser",
            list_it="Report it with the versions of Keras and its backend",
            noise="no weight",
            draw="An update draws nothing",
            settle=dict,
            switches=dict,
        )

        def updated(rows: NDArray[np.int64]) -> Pass:
            learner.set_state(start)
            with judge.watching():
                measured = learner.update(0, rows)
                held_out = learner.validate()
            for part in (measured, held_out):
                if part is not None and not math.isfinite(part.loss_sum):
                    raise NetworkError(
                        f"the Keras network: a loss is finite; with {part.count} samples it is {part.loss_sum}. Scale "
                        "the images, to 0 .. 1 for example"
                    )
            return Pass(results={"weights": digest_columns(learner.weights())})

        with others_noise():
            one = updated(first)
            judge.require_equal(one, updated(first), "twice")
            updated(last)
            judge.require_equal(one, updated(first), "before and after another batch")

    def costs(self, plan: KerasPlan, context: PrepareContext) -> TrainingCosts:
        """Disk and memory by calculation: float32 weights, gradient, and the two moments of Adam."""
        train = plan.parts.train
        (shape,) = train.shapes.values()
        parameters = weight_count(shape, len(train.classes))
        weights = 4 * parameters
        # A checkpoint has no gradient: the next batch makes a new one.
        state, checkpoint = weights * (2 + _ADAM_STATES), weights * (1 + _ADAM_STATES)

        def estimate(timing: StepTiming) -> Estimate:
            training = timing.training(plan.steps)
            seconds = None if training is None else training.wall + timing.judging.wall
            checkpoints = CheckpointPolicy().disk_bytes(checkpoint, seconds)
            return Estimate(
                seconds=seconds,
                training=training,
                judging=None if training is None else timing.judging,
                disk_bytes=checkpoints + weights + _LINE_BYTES * plan.steps,
                memory_bytes=timing.held_bytes + state + _CHECKPOINT_COPIES * checkpoint,
                steps=plan.steps,
            )

        return TrainingCosts(state_bytes=state, lines=(f"{parameters:,} trained parameters",), estimate=estimate)

    def time_steps(self, plan: KerasPlan, costs: TrainingCosts, context: PrepareContext) -> StepTiming:
        """Time steps, and predictions of as many images as an evaluation takes at once."""
        training, parts = self.training(plan, context), plan.parts
        images = next(iter(parts.train.inputs.values()))[:_ROWS]
        row = step_timing.timed(lambda: probabilities(training.model, images)) * (1.0 / len(images))
        evaluation = row * (0 if parts.validation is None else len(parts.validation))
        last = row * (0 if parts.test is None else len(parts.test))
        return step_timing.time_steps(
            training.steps,
            state_bytes=costs.state_bytes,
            period=plan.settings.batches(len(parts.train)),
            evaluation=evaluation,
            judging=evaluation * plan.settings.epochs + last,
        )

    def training(self, plan: KerasPlan, context: PrepareContext | RunContext) -> FitTraining:
        """The training before its first step."""
        return FitTraining(plan)


class FitTraining:
    """Keras' training as steps of a run: one step for each update."""

    def __init__(self, plan: KerasPlan) -> None:
        self._plan = plan
        self._fit = Fit(_learner(plan), plan.settings, plan.seeds)

    @property
    def model(self) -> Any:
        """The Keras model, with its present weights."""
        return cast("KerasLearner", self._fit.learner).model

    @property
    def total_steps(self) -> int | None:
        """Batches of an epoch, times epochs."""
        return self._fit.total_steps

    def steps(self) -> Iterator[Step]:
        """One step per update, from the present state on."""
        for update in self._fit.steps():
            yield Step(
                index=update.index,
                scalars=_scalars(update),
                # Keras hands out no gradients, so these two digests are all by which a step can be compared.
                digests={"rows": digest_array(update.rows), "weights": self._fit.digest()},
            )

    def get_state(self) -> Mapping[str, Any]:
        """Weights, optimiser, cursor and best weights (`Fit.get_state`)."""
        return self._fit.get_state()

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue after the update that `state` was taken at."""
        self._fit.set_state(state)

    def finish(self) -> Result:
        """Summary, radar_model.h5 and the history. The test is made with the last weights, not the best ones."""
        spec, parts = self._plan.spec, self._plan.parts
        learner = cast("KerasLearner", self._fit.learner)
        # Once, and only here: test samples that are looked at more often choose the model.
        chances = None if parts.test is None else probabilities(learner.model, next(iter(parts.test.inputs.values())))
        table = spec.training
        history = keras_history(
            self._fit.progress, test_size=table.test_size, validation_split=table.validation_split, seed=spec.seed
        )
        return Result(
            summary={
                "network": {"library": "keras", "weights": sum(array.size for array in learner.weights().values())},
                "samples": parts_of(parts.train, parts.validation, parts.test),
                "training": self._fit.progress.summary(),
                "test": judged(chances, parts.test, parts.train),
            },
            artifacts={MODEL_FILE: h5_bytes(learner.model), HISTORY_FILE: history_bytes(history)},
        )


def _learner(plan: KerasPlan) -> KerasLearner:
    """The network, its optimiser and the samples, before the first update."""
    parts = plan.parts
    return KerasLearner(
        parts.train, learning_rate=plan.spec.training.learning_rate, seeds=plan.seeds, held_out=parts.validation
    )


def _plan(spec: KerasClassifierSpec, pinned: classifier_data.PinnedSamples) -> KerasPlan:
    return SamplesPlan(spec=spec, pinned=pinned, parts=parts_of_spec(pinned.samples, spec))


def _scalars(update: FitUpdate) -> dict[str, Any]:
    measured = update.measured
    scalars: dict[str, Any] = {
        "epoch": update.epoch,
        "batch": update.batch,
        "loss": measured.loss,
        "correct": measured.correct,
        "samples": measured.count,
    }
    # Figures of an epoch stand in its last line, since a run may be stopped before the next one.
    return scalars if update.ended is None else scalars | update.ended.scalars()
