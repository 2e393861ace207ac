"""The recipe of `kind = "classifier"`, over `learning.supervised.torch_task`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch import nn

from lockstep.core.errors import NetworkError
from lockstep.kinds.classifier import data as classifier_data
from lockstep.kinds.classifier.plan import ClassifierPlan, parts_of_spec
from lockstep.kinds.classifier.spec import ClassifierSpec
from lockstep.kinds.shared import network_code, step_timing
from lockstep.kinds.shared.gradient_kind import NetworkRecipe, TrainingCosts
from lockstep.kinds.shared.rehearsal import Rehearsal, rehearse
from lockstep.kinds.shared.retraining import recorded_order
from lockstep.kinds.shared.step_timing import StepTiming
from lockstep.learning.gradients.estimate import estimate_of
from lockstep.learning.gradients.learner import full_precision
from lockstep.learning.supervised.torch_task import make_classifier, probabilities
from lockstep.runs.kind import Estimate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lockstep.kinds.classifier.data import PinnedSamples
    from lockstep.kinds.shared.network_code import NetworkCode
    from lockstep.learning.gradients.training import GradientTraining
    from lockstep.runs.folder import RunFolder
    from lockstep.runs.kind import PrepareContext, RunContext

NETWORKS: Final = {"pattern-net": "lockstep.learning.supervised.torch_net:PatternNet"}
_ROWS: Final = 64
"""Samples that are predicted for a trial."""
_MODELS: Final = 3
"""Files of weights that a run leaves: the weights of a gradient training, the last and the best model."""


class ClassifierRecipe(NetworkRecipe[ClassifierSpec, ClassifierPlan]):
    """PyTorch networks over labelled samples."""

    def pin(self, spec: ClassifierSpec, context: PrepareContext) -> ClassifierPlan:
        """Pin network and samples. `context.python_objects` may hold samples ("data.samples") and a network
        ("network.name"). Raises the InputError tree, DiskError."""
        network = network_code.from_user(spec.network, context, NETWORKS)
        return _plan(spec, classifier_data.pin(spec.data, context, form="windows", seed=spec.seed), network)

    def restore(self, spec: ClassifierSpec, folder: RunFolder, context: PrepareContext) -> ClassifierPlan:
        """The same plan from a run's folder and the snapshots of its home. Raises IntegrityError, DataError."""
        network = network_code.from_run(spec.network, folder, context, NETWORKS)
        return _plan(spec, classifier_data.restore(folder.read("data"), context.blobs), network)

    def notes(self, plan: ClassifierPlan) -> tuple[str, ...]:
        """Lines on the sizes of the parts."""
        return plan.notes()

    def numerics(self, plan: ClassifierPlan) -> Mapping[str, str]:
        """Versions of torch, and of the codec when gradients are packed."""
        return {**super().numerics(plan), **plan.spec.recording.settings().numerics()}

    def try_network(self, plan: ClassifierPlan) -> None:
        """Rehearse the network with two batches of training samples.

        Raises NetworkError for a network that is not repeatable, or that returns no finite score for each class.
        """
        code, train = plan.network, plan.parts.train
        size = min(plan.settings.batch_size, len(train))
        numbers = np.arange(size), np.arange(len(train) - (len(train) % size or size), len(train))
        labels = [torch.tensor(train.labels[rows]) for rows in numbers]
        first, last = ([torch.tensor(array[rows]) for array in train.inputs.values()] for rows in numbers)

        def check(scores: Any, rows: int) -> None:
            _check_scores(scores, (rows, len(train.classes)), code.name)

        def loss(scores: Any, number: int) -> torch.Tensor:
            return nn.functional.cross_entropy(full_precision(scores), labels[number])

        code.check_repeatable(plan.sizes, plan.seeds.child("network"))
        rehearse(
            code,
            plan.make_network,
            Rehearsal(batches=(first, last), check=check, tensors=lambda scores: (scores,), loss=loss),
            plan.seeds.child("trial"),
        )

    def costs(self, plan: ClassifierPlan, context: PrepareContext) -> TrainingCosts:
        """Disk and memory by calculation, on the meta device when the network can be made there."""
        train, recorded = plan.parts.train, recorded_order(plan.spec.session, context.blobs)
        size = estimate_of(
            plan.network.for_estimate(plan.sizes, plan.seeds.child("network")),
            plan.spec.training.settings(),
            plan.spec.recording.settings(),
            # A retrained run may have fewer steps than epochs and samples would give.
            steps=plan.steps if recorded is None else recorded.steps,
            batch=min(plan.settings.update_size, len(train)),
            losses=1,
        )

        def estimate(timing: StepTiming) -> Estimate:
            return size.as_run_estimate(
                training=timing.training(size.last_step),
                judging=timing.judging,
                held_bytes=timing.held_bytes,
                kept_bytes=size.weight_bytes,  # checkpoints hold the best weights beside the state
                models=_MODELS + (plan.spec.training.ema_decay is not None),
            )

        return TrainingCosts(state_bytes=size.state_bytes, lines=tuple(size.lines()), estimate=estimate)

    def time_steps(self, plan: ClassifierPlan, costs: TrainingCosts, context: PrepareContext) -> StepTiming:
        """Time steps, and predictions of as many samples as an evaluation takes at once."""
        training = self.training(plan, context)
        parts, module = plan.parts, training.learner.module
        rows = {name: array[:_ROWS] for name, array in parts.train.inputs.items()}
        some = replace(parts.train, inputs=rows, labels=parts.train.labels[:_ROWS])
        row = step_timing.timed(lambda: probabilities(module, some, plan.spec.device)) * (1.0 / len(some))
        evaluation = row * (0 if parts.validation is None else len(parts.validation))
        last = row * (0 if parts.test is None else len(parts.test))
        return step_timing.time_steps(
            training.steps,
            state_bytes=costs.state_bytes,
            period=plan.settings.batches(len(parts.train)),
            evaluation=evaluation,
            judging=evaluation * plan.settings.epochs + last,
        )

    def training(self, plan: ClassifierPlan, context: PrepareContext | RunContext) -> GradientTraining:
        """The training before its first step."""
        spec, table = plan.spec, plan.spec.training
        return make_classifier(
            plan.parts,
            plan.settings,
            seeds=plan.seeds,
            model=plan.make_network(),
            device=spec.device,
            optimizer=table.settings(),
            clip_norm=table.clip_norm,
            rate=table.rate,
            momentum=table.momentum_of,
            smoothing=table.label_smoothing,
            averaged=table.averaged,
            order=recorded_order(spec.session, context.blobs),
            keep_best=True,
            recording=spec.recording.settings(),
            session={"model": spec.network.name, "model_kind": "classifier", **spec.session.metadata()},
        ).training


def _check_scores(scores: Any, shape: tuple[int, int], name: str) -> None:
    is_tensor = isinstance(scores, torch.Tensor)
    if not is_tensor or tuple(scores.shape) != shape or not scores.is_floating_point():
        output = f"{scores.dtype} {tuple(scores.shape)}" if is_tensor else type(scores).__name__
        raise NetworkError(
            f"{name}: a classifier returns one score for each sample and class, {shape} for {shape[0]} samples; "
            f"found {output}. Return logits from forward()."
        )
    if not bool(torch.isfinite(scores).all()):
        raise NetworkError(
            f"{name}: a score is finite for a finite input; found NaN or infinity. Look at what the network divides by "
            "and takes logarithms of, in evaluation mode too"
        )


def _plan(spec: ClassifierSpec, pinned: PinnedSamples, network: NetworkCode) -> ClassifierPlan:
    # The run stores the name without folders, which is true on every machine.
    resolved = spec.model_copy(update={"network": network.resolved(spec.network)})
    return ClassifierPlan(spec=resolved, pinned=pinned, parts=parts_of_spec(pinned.samples, spec), network=network)
