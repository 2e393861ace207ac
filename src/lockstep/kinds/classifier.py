"""`kind = "classifier"` and `kind = "classifier-keras"`: supervised training as runs (SPEC 11).

The same training as `train_pytorch_model` and Keras' `train`: with the same settings and samples, the same numbers.
With PyTorch it is a gradient training, recorded as `[recording]` says. Of a Keras training no gradients are kept: its
journal has the digests of rows and weights at every step, and a step comes back by recomputation. The libraries are
loaded when a run is prepared, not when the kind is looked up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, cast

from lockstep.core.errors import NetworkError
from lockstep.kinds import classifier_data, network_code, rehearsal
from lockstep.kinds.classifier_spec import ClassifierSpec, KerasClassifierSpec
from lockstep.kinds.classifier_training import FitTraining
from lockstep.kinds.session_replay import BATCH_KEYS, RecordedOrder, recorded_order
from lockstep.learning.supervised.data import Parts, Samples, check_training, parts_in_order, seen_before, three_parts
from lockstep.learning.supervised.fit import Fit, FitSettings
from lockstep.learning.supervised.history import HISTORY_FILE, history_bytes
from lockstep.learning.supervised.libraries import require
from lockstep.learning.supervised.results import judged, parts_of
from lockstep.runs.checkpoint import CheckpointPolicy
from lockstep.runs.identity import CodeIdentity
from lockstep.runs.kind import Estimate, Kind, PrepareContext, Prepared, RunContext
from lockstep.runs.seeds import SeedTree
from lockstep.runs.training import Result, Training

if TYPE_CHECKING:
    from lockstep.kinds.classifier_data import PinnedSamples
    from lockstep.kinds.network_code import NetworkCode
    from lockstep.learning.gradients.estimate import SessionEstimate
    from lockstep.learning.gradients.training import GradientTraining
    from lockstep.learning.supervised.keras_learner import KerasLearner
    from lockstep.runs.folder import RunFolder
    from lockstep.runs.spec import RunSpec

NETWORKS: Final = {"pattern-net": "lockstep.learning.supervised.torch_net:PatternNet"}
_TRIED: Final = 2
"""Samples that a network is tried with before a run starts."""
_ADAM_STATES: Final = 2
_LINE_BYTES: Final = 560
"""A line of the Keras kind's journal."""
_CHECKPOINT_COPIES: Final = 3
"""A checkpoint being written, at most: the state copied, as bytes array by array, and in one piece."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Payload:
    """What a prepared run learns from, and in which order where it goes through a session again."""

    parts: Parts
    network: NetworkCode | None = None
    """PyTorch's; that of Keras is built in."""
    order: RecordedOrder | None = None


class ClassifierKind:
    """The PyTorch kind, as `runs.registry` knows it."""

    name: Final = "classifier"
    spec_model: Final = ClassifierSpec
    sample_keys: Final = (
        "seed",
        "data",
        "training.test_size",
        "training.validation_split",
        "training.split",
        "training.purge",
        *BATCH_KEYS,
    )
    """A session is gone through again on the samples that these decide (`kinds.session_replay`)."""

    def prepare(self, spec: RunSpec, context: PrepareContext) -> Prepared:
        """Pin the samples and the network, decide the device, time a few updates.

        `context.python_objects` may hold samples ("data.samples") and a network ("network.name"). Raises the
        InputError tree, MissingLibraryError without torch, MachineError for a card that is not there.
        """
        _require_torch()
        from lockstep.learning.gradients.determinism import resolve_device

        wanted = cast("ClassifierSpec", spec)
        code = network_code.from_user(wanted.network, context, NETWORKS)
        network = wanted.network.model_copy(update={"name": code.name})
        wanted = wanted.model_copy(update={"device": resolve_device(wanted.device), "network": network})
        pinned = classifier_data.pin(wanted.data, context, form="windows", seed=wanted.seed)
        prepared = self._prepared(wanted, pinned, code, context)
        payload = cast("_Payload", prepared.payload)
        told = _told(wanted, payload)
        notes = (*prepared.notes, *told.lines())
        if context.estimate_only and told.state_bytes > rehearsal.LARGE:
            found, notes = rehearsal.counted_only(), (*notes, rehearsal.UNTIMED)
        else:
            _try_network(wanted, code, payload.parts)
            found = rehearsal.rehearse(_torch_training(wanted, payload).steps, state_bytes=told.state_bytes)
        # Checkpoints keep the best weights beside the state; the best and the last model lie beside the weights.
        estimate = told.as_run_estimate(
            seconds=_seconds(found, wanted, payload.parts, told.last_step),
            held_bytes=found.held_bytes,
            kept_bytes=told.weight_bytes,
            models=3,
        )
        return replace(prepared, notes=notes, estimate=estimate)

    def restore(self, spec: RunSpec, folder: RunFolder, context: PrepareContext) -> Prepared:
        """The same from a run's folder and the snapshots of its home."""
        _require_torch()
        wanted = cast("ClassifierSpec", spec)
        code = network_code.from_run(wanted.network, folder, context, NETWORKS)
        wanted = wanted.model_copy(update={"network": wanted.network.model_copy(update={"name": code.name})})
        return self._prepared(wanted, classifier_data.restore(folder.read("data"), context.snapshots), code, context)

    def _prepared(
        self, spec: ClassifierSpec, pinned: PinnedSamples, code: NetworkCode, context: PrepareContext
    ) -> Prepared:
        from lockstep.learning.gradients.determinism import numerics_entries

        numerics = {**numerics_entries(spec.device), **spec.recording.settings().numerics()}
        order = recorded_order(spec.session, context.home)
        payload = _Payload(parts=_parts_of(pinned.samples, spec), network=code, order=order)
        body = code.pinned(pinned.body())
        if spec.session.batches is not None:
            body = {**body, "snapshots": sorted({*body["snapshots"], spec.session.batches})}
        return replace(_prepared(spec, pinned, payload, numerics), data=body, code=code.identity())

    def try_network(self, prepared: Prepared) -> None:
        """One batch through the network (`session_replay.ReplaysSessions`). Raises NetworkError."""
        payload = cast("_Payload", prepared.payload)
        if payload.network is not None:
            _try_network(cast("ClassifierSpec", prepared.spec), payload.network, payload.parts)

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
        prepared = _prepared(wanted, pinned, payload, numerics)
        estimate, notes = _keras_estimate(wanted, payload.parts, context)
        return replace(prepared, notes=(*prepared.notes, *notes), estimate=estimate)

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
    if table.split == "in_order":
        return parts_in_order(samples, test_size=table.test_size, val_size=table.validation_split, purge=table.purge)
    train, validation, test = three_parts(
        samples, test_size=table.test_size, val_size=table.validation_split, seed=spec.seed
    )
    return Parts(train=train, validation=validation, test=test)


def _prepared(spec: RunSpec, pinned: PinnedSamples, payload: _Payload, numerics: Mapping[str, str]) -> Prepared:
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


def _settings(spec: ClassifierSpec | KerasClassifierSpec) -> FitSettings:
    table = spec.training
    return FitSettings(epochs=table.epochs, batch_size=table.batch_size, learning_rate=table.learning_rate)


def _seconds(
    found: rehearsal.Rehearsal, spec: ClassifierSpec | KerasClassifierSpec, parts: Parts, steps: int
) -> float | None:
    """Of a whole training: its updates, and the samples looked at after each epoch."""
    if found.step_seconds is None:
        return None
    held_out = 0 if parts.validation is None else len(parts.validation)
    evaluated = spec.training.epochs * held_out / spec.training.batch_size
    return found.step_seconds * (steps + evaluated * rehearsal.EVALUATED)


def _require_torch() -> None:
    require("torch", extra="ml", purpose='kind = "classifier"')


def _sizes(samples: Samples) -> dict[str, Any]:
    """What a network's constructor may ask for: `shapes` of a sample by input, the number of `classes`, and where
    there is one input, its sizes: `features`; `channels`, `window`; or `channels`, `height`, `width`."""
    sizes: dict[str, Any] = {"shapes": samples.shapes, "classes": len(samples.classes)}
    if len(samples.shapes) == 1:
        (shape,) = samples.shapes.values()
        names = {1: ("features",), 2: ("channels", "window"), 3: ("channels", "height", "width")}
        sizes |= zip(names.get(len(shape), ()), shape, strict=False)
    return sizes


def _try_network(spec: ClassifierSpec, code: NetworkCode, parts: Parts) -> None:
    """Raises NetworkError for a network that is not repeatable, or does not give a score for each class."""
    import torch

    model = code.check_repeatable(_sizes(parts.train), SeedTree(spec.seed).child("network"))
    rows = min(_TRIED, len(parts.train))
    inputs = [torch.from_numpy(array[:rows].copy()) for array in parts.train.inputs.values()]
    scores, wanted = code.call(model, *inputs), (rows, len(parts.train.classes))
    if not isinstance(scores, torch.Tensor) or tuple(scores.shape) != wanted or not scores.is_floating_point():
        found = f"{scores.dtype} {tuple(scores.shape)}" if isinstance(scores, torch.Tensor) else type(scores).__name__
        raise NetworkError(
            f"{code.name}: a classifier returns one score for each sample and class, {wanted} for {rows} samples; "
            f"found {found}. Return logits from forward()."
        )


def _code(payload: _Payload) -> NetworkCode:
    if payload.network is None:
        raise RuntimeError("a PyTorch training has a network")
    return payload.network


def _torch_training(spec: ClassifierSpec, payload: _Payload) -> GradientTraining:
    from lockstep.learning.supervised.torch_task import make_classifier

    table, seeds = spec.training, SeedTree(spec.seed)
    return make_classifier(
        payload.parts,
        _settings(spec),
        seeds=seeds,
        model=_code(payload).make(_sizes(payload.parts.train), seeds.child("network")),
        device=spec.device,
        optimizer=table.settings(),
        clip_norm=table.clip_norm,
        rate=table.rate,
        order=payload.order,
        keep_best=True,
        recording=spec.recording.settings(),
        session={"model": spec.network.name, "model_kind": "classifier", **spec.session.metadata()},
    ).training


def _told(spec: ClassifierSpec, payload: _Payload) -> SessionEstimate:
    """Sizes by calculation: nothing is allocated."""
    from lockstep.learning.gradients.estimate import estimate_of

    settings, train = _settings(spec), payload.parts.train
    steps = settings.batches(len(train)) * settings.epochs if payload.order is None else payload.order.steps
    return estimate_of(
        _code(payload).for_estimate(_sizes(train), SeedTree(spec.seed).child("network")),
        spec.training.settings(),
        spec.recording.settings(),
        steps=steps,
        batch=min(settings.batch_size, len(train)),
        losses=1,
    )


def _keras_fit(spec: KerasClassifierSpec, parts: Parts) -> Fit:
    from lockstep.learning.supervised.keras_learner import KerasLearner

    seeds = SeedTree(spec.seed)
    learner = KerasLearner(
        parts.train, learning_rate=spec.training.learning_rate, seeds=seeds, held_out=parts.validation
    )
    return Fit(learner, _settings(spec), seeds)


def _keras_estimate(
    spec: KerasClassifierSpec, parts: Parts, context: PrepareContext
) -> tuple[Estimate, tuple[str, ...]]:
    """From a few updates of a network that is thrown away; a large one is only counted. Never hashed."""
    from lockstep.learning.supervised.keras_learner import weight_count

    settings, train = _settings(spec), parts.train
    (shape,) = train.shapes.values()
    parameters = weight_count(shape, len(train.classes))
    weights, steps = 4 * parameters, settings.batches(len(train)) * settings.epochs
    state, checkpoint = weights * (2 + _ADAM_STATES), weights * (1 + _ADAM_STATES)
    notes: tuple[str, ...] = (f"{parameters:,} trained parameters",)
    if context.estimate_only and state > rehearsal.LARGE:
        found, notes = rehearsal.counted_only(), (*notes, rehearsal.UNTIMED)
    else:
        found = rehearsal.rehearse(_keras_fit(spec, parts).steps, state_bytes=state)
    seconds = _seconds(found, spec, parts, steps)
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
