"""The recipe of `kind = "cnn"`: `GradientTraining` over `MarketPatternTask`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from lockstep.kinds.cnn import judging
from lockstep.kinds.cnn import plan as plans
from lockstep.kinds.cnn.plan import CnnPlan
from lockstep.kinds.cnn.spec import CnnSpec
from lockstep.kinds.shared import step_timing
from lockstep.kinds.shared.gradient_kind import NetworkRecipe, TrainingCosts
from lockstep.kinds.shared.pattern_networks import PatternBatch, rehearse_heads
from lockstep.kinds.shared.retraining import recorded_order
from lockstep.kinds.shared.step_timing import StepTiming
from lockstep.learning.gradients.estimate import estimate_of
from lockstep.learning.gradients.learner import Learner
from lockstep.learning.gradients.recorder import Recorder
from lockstep.learning.gradients.training import GradientTraining
from lockstep.learning.patterns import baselines
from lockstep.learning.patterns.training import MarketPatternTask, PatternPlan
from lockstep.runs.kind import Estimate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from lockstep.runs.folder import RunFolder
    from lockstep.runs.kind import PrepareContext, RunContext

_MODELS: Final = 2
"""Files of weights that a run leaves: the last and the best."""


class CnnRecipe(NetworkRecipe[CnnSpec, CnnPlan]):
    """Pattern networks over one market's bars."""

    def pin(self, spec: CnnSpec, context: PrepareContext) -> CnnPlan:
        """Pin network and candles; raises the InputError tree, DiskError."""
        return plans.pin(spec, context)

    def restore(self, spec: CnnSpec, folder: RunFolder, context: PrepareContext) -> CnnPlan:
        """The same plan from a run's folder; raises IntegrityError, DataError."""
        return plans.restore(spec, folder, context)

    def notes(self, plan: CnnPlan) -> tuple[str, ...]:
        """Lines on the samples and classes of each part."""
        return plan.notes()

    def numerics(self, plan: CnnPlan) -> Mapping[str, str]:
        """Versions of torch and of scikit-learn, whose logistic regression is a baseline in the result."""
        return {**super().numerics(plan), **baselines.numerics_entries()}

    def try_network(self, plan: CnnPlan) -> None:
        """Rehearse the network with two batches of training rows. Raises NetworkError."""
        train, size = plan.module.parts.train, plan.spec.training.batch_size
        labels, scale = plan.module.labels, plan.module.statistics.return_scale

        def batch(rows: NDArray[np.int64]) -> PatternBatch:
            returns = (np.nan_to_num(labels.returns[rows]) / scale).astype(np.float32)
            return PatternBatch(
                windows=plan.module.inputs(rows), classes=np.maximum(labels.classes[rows], 0), returns=returns
            )

        plan.network.check_repeatable(plan.sizes, plan.seeds.child("init"))
        rehearse_heads(
            plan.network,
            plan.make_network,
            (batch(train[:size]), batch(train[-(len(train) % size or size) :])),
            classes=plan.sizes["classes"],
            seeds=plan.seeds.child("trial"),
            weights=plan.spec.training.loss_weights.settings(),
            class_weights=plan.class_weights(),
        )

    def costs(self, plan: CnnPlan, context: PrepareContext) -> TrainingCosts:
        """Disk and memory by calculation, on the meta device when the network can be made there."""
        table, recorded = plan.spec.training, recorded_order(plan.spec.session, context.blobs)
        size = estimate_of(
            plan.network.for_estimate(plan.sizes, plan.seeds.child("init")),
            table.settings(),
            plan.spec.recording.settings(),
            steps=(plan.epochs() if recorded is None else recorded).steps,
            batch=table.update_size,
        )

        def estimate(timing: StepTiming) -> Estimate:
            return size.as_run_estimate(
                training=timing.training(size.last_step),
                judging=timing.judging,
                held_bytes=timing.held_bytes,
                kept_bytes=size.weight_bytes,  # checkpoints hold the best weights beside the state
                judged_bytes=baselines.memory_bytes(plan.module),
                models=_MODELS + (table.ema_decay is not None),
            )

        return TrainingCosts(state_bytes=size.state_bytes, lines=tuple(size.lines()), estimate=estimate)

    def time_steps(self, plan: CnnPlan, costs: TrainingCosts, context: PrepareContext) -> StepTiming:
        """Time steps, an evaluation of some rows, and what the baselines take."""
        training = self.training(plan, context)
        per_epoch, epochs = plan.epochs().per_epoch, plan.spec.training.epochs
        parts = plan.module.parts
        steps = training.steps()
        # Of a training that has begun: the first forward pass of a network costs more than all others.
        if next(steps, None) is None:
            return step_timing.time_steps(lambda: iter(()), state_bytes=costs.state_bytes)
        row = judging.of_row(training, parts.validation)
        evaluation = row * len(parts.validation)
        last = row * (len(parts.validation) + len(parts.test)) + judging.of_scores(plan)
        return step_timing.time_steps(
            lambda: steps,
            state_bytes=costs.state_bytes,
            period=per_epoch,
            evaluation=evaluation,
            judging=evaluation * epochs + last,
        )

    def training(self, plan: CnnPlan, context: PrepareContext | RunContext) -> GradientTraining:
        """The training before its first step.

        Weights, order and noise have streams of their own, so that none shifts the draws of another.
        """
        spec, seeds = plan.spec, plan.seeds
        table = spec.training
        epochs, recorded = plan.epochs(), recorded_order(spec.session, context.blobs)
        task = MarketPatternTask(
            plan.module,
            epochs if recorded is None else recorded,
            PatternPlan(
                rate=table.rate,
                # From the spec, not from the recorded batches: a retrained run is validated as often as the old one.
                per_epoch=epochs.per_epoch,
                patience=table.patience,
                loss_weights=table.loss_weights.settings(),
                class_weights=plan.class_weights(),
                smoothing=table.label_smoothing,
                micro_batch=table.batch_size,
                averaged=table.averaged,
                cost=spec.labels.cost,
                target_profit=spec.labels.target_profit,
            ),
            seeds=seeds,
            device=spec.device,
            recorded=recorded is not None,
        )
        learner = Learner(
            plan.make_network(), table.settings(), seeds=seeds, clip_norm=table.clip_norm, device=spec.device
        )
        learner.momentum = table.momentum_of(task.planned_steps)
        session = {
            "model": plan.network.name,
            "model_kind": "pattern",
            "task": spec.labels.task,
            "symbol": plan.pinned.candles.symbol,
            **spec.session.metadata(),
        }
        return GradientTraining(task, learner, Recorder(spec.recording.settings(), learner), session)
