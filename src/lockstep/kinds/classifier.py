"""`kind = "classifier"` and `kind = "classifier-keras"`: supervised training as runs (SPEC 11).

The same `Fit` as `train_pytorch_model` and Keras' `train`: with the same settings and samples, the same numbers. The
libraries are loaded when a run is prepared, not when the kind is looked up.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from lockstep.kinds import classifier_data
from lockstep.kinds.classifier_spec import ClassifierSpec, KerasClassifierSpec
from lockstep.kinds.classifier_training import ClassifierTraining, judged, lowest_of, parts_of
from lockstep.learning.supervised.data import Samples, three_parts
from lockstep.learning.supervised.fit import Fit, FitSettings
from lockstep.learning.supervised.history import HISTORY_FILE, history_bytes
from lockstep.learning.supervised.libraries import require
from lockstep.runs.identity import CodeIdentity
from lockstep.runs.kind import Estimate, Kind, PrepareContext, Prepared, RunContext
from lockstep.runs.seeds import SeedTree
from lockstep.runs.training import Result, Training

if TYPE_CHECKING:
    from lockstep.kinds.classifier_data import PinnedSamples
    from lockstep.learning.supervised.keras_learner import KerasLearner
    from lockstep.learning.supervised.torch_learner import TorchLearner
    from lockstep.runs.folder import RunFolder
    from lockstep.runs.spec import RunSpec

_TIMED_UPDATES: Final = 3
_ADAM_STATES: Final = 2


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """What a prepared run learns from, looks at meanwhile, and is judged on."""

    train: Samples
    validation: Samples | None
    test: Samples | None

    @classmethod
    def of(cls, samples: Samples, spec: ClassifierSpec | KerasClassifierSpec) -> _Parts:
        table = spec.training
        train, validation, test = three_parts(
            samples, test_size=table.test_size, val_size=table.validation_split, seed=spec.seed
        )
        return cls(train=train, validation=validation, test=test)


class ClassifierKind:
    """The PyTorch kind, as `runs.registry` knows it."""

    name: Final = "classifier"
    spec_model: Final = ClassifierSpec

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
        parts = _Parts.of(pinned.samples, wanted)
        return _prepared(wanted, pinned, parts, _torch_numerics(wanted), estimate=_estimate(wanted, parts, _torch_fit))

    def restore(self, spec: RunSpec, folder: RunFolder, context: PrepareContext) -> Prepared:
        """The same from a run's folder and the snapshots of its home."""
        _require_torch()
        wanted = cast("ClassifierSpec", spec)
        pinned = classifier_data.restore(folder.read("data"), context.snapshots)
        return _prepared(wanted, pinned, _Parts.of(pinned.samples, wanted), _torch_numerics(wanted))

    def training(self, prepared: Prepared, context: RunContext) -> Training:
        """The training, at its start."""
        spec, parts = cast("ClassifierSpec", prepared.spec), cast("_Parts", prepared.payload)
        return ClassifierTraining(_torch_fit(spec, parts), lambda fit: _torch_result(fit, spec, parts))


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
        parts = _Parts.of(pinned.samples, wanted)
        return _prepared(wanted, pinned, parts, numerics, estimate=_estimate(wanted, parts, _keras_fit))

    def restore(self, spec: RunSpec, folder: RunFolder, context: PrepareContext) -> Prepared:
        """The same from a run's folder and the snapshots of its home."""
        from lockstep.learning.supervised.keras_learner import numerics_entries

        wanted = cast("KerasClassifierSpec", spec)
        pinned = classifier_data.restore(folder.read("data"), context.snapshots)
        return _prepared(wanted, pinned, _Parts.of(pinned.samples, wanted), numerics_entries())

    def training(self, prepared: Prepared, context: RunContext) -> Training:
        """The training, at its start."""
        spec, parts = cast("KerasClassifierSpec", prepared.spec), cast("_Parts", prepared.payload)
        return ClassifierTraining(_keras_fit(spec, parts), lambda fit: _keras_result(fit, spec, parts))


KIND: Final[Kind] = ClassifierKind()
KERAS_KIND: Final[Kind] = KerasClassifierKind()


def _prepared(
    spec: RunSpec,
    pinned: PinnedSamples,
    parts: _Parts,
    numerics: Mapping[str, str],
    estimate: Estimate | None = None,
) -> Prepared:
    held_out = sum(len(part) for part in (parts.validation, parts.test) if part is not None)
    notes = (
        f"{len(pinned.samples):,} samples of {len(pinned.samples.classes)} classes: {len(parts.train):,} to train on, "
        f"{held_out:,} held out",
    )
    return Prepared(
        spec=spec,
        data=pinned.body(),
        code=CodeIdentity.of(),
        payload=parts,
        origin=pinned.origin,
        numerics=numerics,
        notes=notes,
        estimate=estimate,
    )


def _settings(spec: ClassifierSpec | KerasClassifierSpec) -> FitSettings:
    table = spec.training
    return FitSettings(epochs=table.epochs, batch_size=table.batch_size, learning_rate=table.learning_rate)


def _estimate(spec: Any, parts: _Parts, make: Callable[[Any, _Parts], Fit]) -> Estimate:
    """From a few updates of a network that is thrown away. For a person: nothing of it is ever hashed."""
    fit = make(spec, parts)
    updates = fit.steps()
    began = [(next(updates, None), time.perf_counter())[1] for _ in range(_TIMED_UPDATES)]
    weights = sum(array.nbytes for array in fit.learner.weights().values())
    samples = sum(array.nbytes for array in parts.train.inputs.values())
    return Estimate(
        # The first update prepares what all others use.
        seconds=(began[-1] - began[0]) / (_TIMED_UPDATES - 1) * fit.total_steps,
        disk_bytes=(1 + _ADAM_STATES + 1) * weights * 4 + 600 * fit.total_steps,
        # What this process holds already (on Linux ru_maxrss counts KiB), and what the training adds.
        memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 + 2 * samples + 6 * weights,
        steps=fit.total_steps,
    )


def _require_torch() -> None:
    require("torch", extra="ml", purpose='kind = "classifier"')


def _torch_numerics(spec: ClassifierSpec) -> dict[str, str]:
    from lockstep.learning.determinism import numerics_entries

    return numerics_entries(spec.device)


def _torch_fit(spec: ClassifierSpec, parts: _Parts) -> Fit:
    from lockstep.learning.supervised.torch_learner import TorchLearner

    seeds = SeedTree(spec.seed)
    learner = TorchLearner(
        parts.train,
        learning_rate=spec.training.learning_rate,
        seeds=seeds,
        device=spec.device,
        held_out=parts.validation,
    )
    return Fit(learner, _settings(spec), seeds, keep_best=True)


def _keras_fit(spec: KerasClassifierSpec, parts: _Parts) -> Fit:
    from lockstep.learning.supervised.keras_learner import KerasLearner

    seeds = SeedTree(spec.seed)
    learner = KerasLearner(
        parts.train, learning_rate=spec.training.learning_rate, seeds=seeds, held_out=parts.validation
    )
    return Fit(learner, _settings(spec), seeds)


def _torch_result(fit: Fit, spec: ClassifierSpec, parts: _Parts) -> Result:
    """best_model.pt, last_model.pt and the history; the network of the lowest loss is judged."""
    from lockstep.learning.supervised import torch_learner
    from lockstep.learning.supervised.pytorch_trainer import torch_history
    from lockstep.learning.supervised.torch_net import PatternNet

    learner = cast("TorchLearner", fit.learner)
    if fit.best_weights is None:
        raise RuntimeError("a fit that has ended has best weights")
    best = PatternNet(parts.train.shapes, len(parts.train.classes))
    torch_learner.load_arrays(best, fit.best_weights)
    best.to(spec.device)
    chances = None if parts.test is None else torch_learner.probabilities(best, parts.test, spec.device)
    history = torch_history(fit, parts.train, seed=spec.seed, device=spec.device, measured=True)
    last = fit.epochs[-1]
    return Result(
        summary={
            "network": {"library": "torch", "weights": sum(array.size for array in learner.weights().values())},
            "samples": parts_of(parts.train, parts.validation, parts.test),
            "training": lowest_of(fit),
            "test": judged(chances, parts.test, parts.train),
        },
        artifacts={
            "best_model.pt": torch_learner.checkpoint_bytes(
                best.state_dict(), epoch=fit.best.number, loss=fit.best.loss
            ),
            "last_model.pt": torch_learner.checkpoint_bytes(
                learner.model.state_dict(), epoch=last.number, loss=last.loss
            ),
            HISTORY_FILE: history_bytes(history),
        },
    )


def _keras_result(fit: Fit, spec: KerasClassifierSpec, parts: _Parts) -> Result:
    """radar_model.h5 and the history; the network as training left it is judged."""
    from lockstep.learning.supervised.keras_learner import h5_bytes, probabilities
    from lockstep.learning.supervised.keras_trainer import MODEL_FILE, keras_history

    learner = cast("KerasLearner", fit.learner)
    chances = None if parts.test is None else probabilities(learner.model, next(iter(parts.test.inputs.values())))
    table = spec.training
    history = keras_history(fit, test_size=table.test_size, validation_split=table.validation_split, seed=spec.seed)
    return Result(
        summary={
            "network": {"library": "keras", "weights": sum(array.size for array in learner.weights().values())},
            "samples": parts_of(parts.train, parts.validation, parts.test),
            "training": lowest_of(fit),
            "test": judged(chances, parts.test, parts.train),
        },
        artifacts={MODEL_FILE: h5_bytes(learner.model), HISTORY_FILE: history_bytes(history)},
    )
