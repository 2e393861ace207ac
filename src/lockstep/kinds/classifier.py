"""`kind = "classifier"` and `kind = "classifier-keras"`: supervised training as runs (SPEC 11).

The same training as `train_pytorch_model` and Keras' `train`: with the same settings and samples, the same numbers.
With PyTorch it is a gradient training, recorded as `[recording]` says. Of a Keras training no gradients are kept: its
journal has the digests of rows and weights at every step, and a step comes back by recomputation. The libraries are
loaded when a run is prepared, not when the kind is looked up.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, cast

from lockstep.kinds import classifier_data
from lockstep.kinds.classifier_spec import ClassifierSpec, KerasClassifierSpec
from lockstep.kinds.classifier_training import FitTraining
from lockstep.kinds.session_replay import RecordedOrder, recorded_order
from lockstep.learning.supervised.data import Parts, Samples, three_parts
from lockstep.learning.supervised.fit import Fit, FitSettings
from lockstep.learning.supervised.history import HISTORY_FILE, history_bytes
from lockstep.learning.supervised.libraries import require
from lockstep.learning.supervised.results import judged, parts_of
from lockstep.runs.identity import CodeIdentity
from lockstep.runs.kind import Estimate, Kind, PrepareContext, Prepared, RunContext
from lockstep.runs.seeds import SeedTree
from lockstep.runs.training import Result, Training

if TYPE_CHECKING:
    from lockstep.kinds.classifier_data import PinnedSamples
    from lockstep.learning.supervised.keras_learner import KerasLearner
    from lockstep.learning.training import GradientTraining
    from lockstep.runs.folder import RunFolder
    from lockstep.runs.spec import RunSpec

_TIMED_UPDATES: Final = 3
_ADAM_STATES: Final = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class _Payload:
    """What a prepared run learns from, and in which order where it goes through a session again."""

    parts: Parts
    order: RecordedOrder | None = None


class ClassifierKind:
    """The PyTorch kind, as `runs.registry` knows it."""

    name: Final = "classifier"
    spec_model: Final = ClassifierSpec
    sample_keys: Final = ("seed", "data", "training.test_size", "training.validation_split")
    """A session is gone through again on the samples that these decide (`kinds.session_replay`)."""

    def prepare(self, spec: RunSpec, context: PrepareContext) -> Prepared:
        """Pin the samples, decide the device, time a few updates.

        `context.python_objects` may hold samples ("data.samples"). Raises the InputError tree, MissingLibraryError
        without torch, MachineError for a card that is not there.
        """
        _require_torch()
        from lockstep.learning.determinism import resolve_device

        wanted = cast("ClassifierSpec", spec)
        wanted = wanted.model_copy(update={"device": resolve_device(wanted.device)})
        pinned = classifier_data.pin(wanted.data, context, form="windows", seed=wanted.seed)
        prepared = self._prepared(wanted, pinned, context)
        return replace(prepared, estimate=_torch_estimate(wanted, cast("_Payload", prepared.payload)))

    def restore(self, spec: RunSpec, folder: RunFolder, context: PrepareContext) -> Prepared:
        """The same from a run's folder and the snapshots of its home."""
        _require_torch()
        pinned = classifier_data.restore(folder.read("data"), context.snapshots)
        return self._prepared(cast("ClassifierSpec", spec), pinned, context)

    def _prepared(self, spec: ClassifierSpec, pinned: PinnedSamples, context: PrepareContext) -> Prepared:
        from lockstep.learning.determinism import numerics_entries

        numerics = {**numerics_entries(spec.device), **spec.recording.settings().numerics()}
        payload = _Payload(parts=_parts_of(pinned.samples, spec), order=recorded_order(spec.session, context.home))
        batches = () if spec.session.batches is None else (spec.session.batches,)
        return _prepared(spec, pinned, payload, numerics, batches)

    def training(self, prepared: Prepared, context: RunContext) -> Training:
        """The training, at its start."""
        return _torch_training(cast("ClassifierSpec", prepared.spec), cast("_Payload", prepared.payload))


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
        payload = _Payload(parts=_parts_of(pinned.samples, wanted))
        return replace(_prepared(wanted, pinned, payload, numerics), estimate=_keras_estimate(wanted, payload.parts))

    def restore(self, spec: RunSpec, folder: RunFolder, context: PrepareContext) -> Prepared:
        """The same from a run's folder and the snapshots of its home."""
        from lockstep.learning.supervised.keras_learner import numerics_entries

        wanted = cast("KerasClassifierSpec", spec)
        pinned = classifier_data.restore(folder.read("data"), context.snapshots)
        return _prepared(wanted, pinned, _Payload(parts=_parts_of(pinned.samples, wanted)), numerics_entries())

    def training(self, prepared: Prepared, context: RunContext) -> Training:
        """The training, at its start."""
        spec, parts = cast("KerasClassifierSpec", prepared.spec), cast("_Payload", prepared.payload).parts
        return FitTraining(_keras_fit(spec, parts), lambda fit: _keras_result(fit, spec, parts))


KIND: Final[Kind] = ClassifierKind()
KERAS_KIND: Final[Kind] = KerasClassifierKind()


def _parts_of(samples: Samples, spec: ClassifierSpec | KerasClassifierSpec) -> Parts:
    table = spec.training
    train, validation, test = three_parts(
        samples, test_size=table.test_size, val_size=table.validation_split, seed=spec.seed
    )
    return Parts(train=train, validation=validation, test=test)


def _prepared(
    spec: RunSpec, pinned: PinnedSamples, payload: _Payload, numerics: Mapping[str, str], beside: tuple[str, ...] = ()
) -> Prepared:
    """`beside` are digests of snapshots that the run needs beside its samples."""
    parts, body = payload.parts, pinned.body()
    held_out = sum(len(part) for part in (parts.validation, parts.test) if part is not None)
    notes = (
        f"{len(pinned.samples):,} samples of {len(pinned.samples.classes)} classes: {len(parts.train):,} to train on, "
        f"{held_out:,} held out",
    )
    return Prepared(
        spec=spec,
        data={**body, "snapshots": [*body["snapshots"], *beside]},
        code=CodeIdentity.of(),
        payload=payload,
        origin=pinned.origin,
        numerics=numerics,
        notes=notes,
    )


def _settings(spec: ClassifierSpec | KerasClassifierSpec) -> FitSettings:
    table = spec.training
    return FitSettings(epochs=table.epochs, batch_size=table.batch_size, learning_rate=table.learning_rate)


def _seconds(steps: Iterator[object], total: int) -> float:
    """Of a whole training, from its first updates. The first prepares what all others use."""
    began = [(next(steps, None), time.perf_counter())[1] for _ in range(_TIMED_UPDATES)]
    return (began[-1] - began[0]) / (_TIMED_UPDATES - 1) * total


def _held_bytes(parts: Parts) -> int:
    """What this process holds already (on Linux ru_maxrss counts KiB), and the samples once more."""
    samples = sum(array.nbytes for array in parts.train.inputs.values())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 + samples


def _require_torch() -> None:
    require("torch", extra="ml", purpose='kind = "classifier"')


def _torch_training(spec: ClassifierSpec, payload: _Payload) -> GradientTraining:
    from lockstep.learning.supervised.torch_task import make_classifier

    table = spec.training
    return make_classifier(
        payload.parts,
        _settings(spec),
        seeds=SeedTree(spec.seed),
        device=spec.device,
        optimizer=table.settings(),
        clip_norm=table.clip_norm,
        rate=table.rate,
        order=payload.order,
        keep_best=True,
        recording=spec.recording.settings(),
        session={"model": spec.network.name, "model_kind": "classifier", **spec.session.metadata()},
    ).training


def _torch_estimate(spec: ClassifierSpec, payload: _Payload) -> Estimate:
    """Sizes by calculation, seconds from a few updates of a network that is thrown away. Never hashed."""
    from lockstep.learning.estimate import estimate_of

    training = _torch_training(spec, payload)
    steps = training.task.total_steps or 0
    told = estimate_of(
        training.learner.module,
        spec.training.settings(),
        spec.recording.settings(),
        steps=steps,
        batch=spec.training.batch_size,
        losses=1,
    )
    seconds = _seconds(training.steps(), told.last_step)
    return told.as_run_estimate(seconds=seconds, held_bytes=_held_bytes(payload.parts))


def _keras_fit(spec: KerasClassifierSpec, parts: Parts) -> Fit:
    from lockstep.learning.supervised.keras_learner import KerasLearner

    seeds = SeedTree(spec.seed)
    learner = KerasLearner(
        parts.train, learning_rate=spec.training.learning_rate, seeds=seeds, held_out=parts.validation
    )
    return Fit(learner, _settings(spec), seeds)


def _keras_estimate(spec: KerasClassifierSpec, parts: Parts) -> Estimate:
    """From a few updates of a network that is thrown away. Never hashed."""
    fit = _keras_fit(spec, parts)
    seconds = _seconds(fit.steps(), fit.total_steps)
    weights = sum(array.nbytes for array in fit.learner.weights().values())
    return Estimate(
        seconds=seconds,
        # Checkpoints hold weights and both moments of Adam.
        disk_bytes=(1 + _ADAM_STATES + 1) * weights * 4 + 600 * fit.total_steps,
        memory_bytes=_held_bytes(parts) + 6 * weights,
        steps=fit.total_steps,
    )


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
