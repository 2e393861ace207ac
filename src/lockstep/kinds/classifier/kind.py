"""`kind = "classifier"` and `kind = "classifier-keras"`: supervised training as runs.

The same training as `train_pytorch_model` and Keras' `train`: with the same settings and samples, the same numbers.
With PyTorch it is a gradient training, recorded as `[recording]` says. Of a Keras training no gradients are kept: its
journal has the digests of rows and weights at every step, and a step comes back by recomputation. The libraries are
loaded when a run is prepared, not when the kind is looked up.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, cast

from lockstep.core.errors import NetworkError
from lockstep.core.libraries import require
from lockstep.kinds.classifier import data as classifier_data
from lockstep.kinds.classifier.plan import Plan, fit_settings, parts_of_spec, prepared_of, seconds_of_training
from lockstep.kinds.classifier.spec import ClassifierSpec
from lockstep.kinds.shared import network_code, rehearsal
from lockstep.kinds.shared.retraining import BATCH_KEYS, recorded_order
from lockstep.learning.supervised.data import Parts, Samples
from lockstep.runs.kind import Kind, PrepareContext, Prepared, RunContext
from lockstep.runs.seeds import SeedTree
from lockstep.runs.training import Training

if TYPE_CHECKING:
    from lockstep.kinds.classifier.data import PinnedSamples
    from lockstep.kinds.shared.network_code import NetworkCode
    from lockstep.learning.gradients.estimate import SessionEstimate
    from lockstep.learning.gradients.training import GradientTraining
    from lockstep.runs.folder import RunFolder
    from lockstep.runs.spec import RunSpec

NETWORKS: Final = {"pattern-net": "lockstep.learning.supervised.torch_net:PatternNet"}
_TRIED: Final = 2
"""Samples that a network is tried with before a run starts."""


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
    """A session is gone through again on the samples that these decide (`kinds.shared.retraining`)."""

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
        payload = cast("Plan", prepared.payload)
        told = _told(wanted, payload)
        notes = (*prepared.notes, *told.lines())
        if context.estimate_only and told.state_bytes > rehearsal.LARGE:
            found, notes = rehearsal.counted_only(), (*notes, rehearsal.UNTIMED)
        else:
            _try_network(wanted, code, payload.parts)
            found = rehearsal.rehearse(_torch_training(wanted, payload).steps, state_bytes=told.state_bytes)
        # Checkpoints keep the best weights beside the state; the best and the last model lie beside the weights.
        estimate = told.as_run_estimate(
            seconds=seconds_of_training(found, wanted, payload.parts, told.last_step),
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
        payload = Plan(parts=parts_of_spec(pinned.samples, spec), network=code, order=order)
        body = code.pinned(pinned.body())
        if spec.session.batches is not None:
            body = {**body, "snapshots": sorted({*body["snapshots"], spec.session.batches})}
        return replace(prepared_of(spec, pinned, payload, numerics), data=body, code=code.identity())

    def try_network(self, prepared: Prepared) -> None:
        """One batch through the network (`session_replay.ReplaysSessions`). Raises NetworkError."""
        payload = cast("Plan", prepared.payload)
        if payload.network is not None:
            _try_network(cast("ClassifierSpec", prepared.spec), payload.network, payload.parts)

    def training(self, prepared: Prepared, context: RunContext) -> Training:
        """The training, at its start."""
        return _torch_training(cast("ClassifierSpec", prepared.spec), cast("Plan", prepared.payload))


KIND: Final[Kind] = ClassifierKind()


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


def _code(payload: Plan) -> NetworkCode:
    if payload.network is None:
        raise RuntimeError("a PyTorch training has a network")
    return payload.network


def _torch_training(spec: ClassifierSpec, payload: Plan) -> GradientTraining:
    from lockstep.learning.supervised.torch_task import make_classifier

    table, seeds = spec.training, SeedTree(spec.seed)
    return make_classifier(
        payload.parts,
        fit_settings(spec),
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


def _told(spec: ClassifierSpec, payload: Plan) -> SessionEstimate:
    """Sizes by calculation: nothing is allocated."""
    from lockstep.learning.gradients.estimate import estimate_of

    settings, train = fit_settings(spec), payload.parts.train
    steps = settings.batches(len(train)) * settings.epochs if payload.order is None else payload.order.steps
    return estimate_of(
        _code(payload).for_estimate(_sizes(train), SeedTree(spec.seed).child("network")),
        spec.training.settings(),
        spec.recording.settings(),
        steps=steps,
        batch=min(settings.batch_size, len(train)),
        losses=1,
    )
