"""The training of `kind = "cnn"`: `GradientTraining` over `MarketPatternTask`, tried and counted beforehand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch

from lockstep.kinds.cnn import plan as plans
from lockstep.kinds.cnn.plan import CnnPlan
from lockstep.kinds.cnn.spec import CnnSpec
from lockstep.kinds.shared import rehearsal
from lockstep.kinds.shared.gradient_kind import Costs, NetworkRecipe
from lockstep.kinds.shared.pattern_networks import try_heads
from lockstep.kinds.shared.rehearsal import Rehearsal
from lockstep.kinds.shared.retraining import recorded_order
from lockstep.learning.gradients.estimate import estimate_of
from lockstep.learning.gradients.learner import Learner
from lockstep.learning.gradients.recorder import Recorder
from lockstep.learning.gradients.training import GradientTraining
from lockstep.learning.patterns import baselines
from lockstep.learning.patterns.training import MarketPatternTask, PatternPlan
from lockstep.runs.kind import Estimate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lockstep.runs.folder import RunFolder
    from lockstep.runs.kind import PrepareContext, RunContext

_MODELS: Final = 2
"""Files of weights that a run leaves: the last and the best."""


class CnnRecipe(NetworkRecipe[CnnSpec, CnnPlan]):
    """Pattern networks over one market's bars."""

    def pin(self, spec: CnnSpec, context: PrepareContext) -> CnnPlan:
        """See `plan.pin`."""
        return plans.pin(spec, context)

    def restore(self, spec: CnnSpec, folder: RunFolder, context: PrepareContext) -> CnnPlan:
        """See `plan.restore`."""
        return plans.restore(spec, folder, context)

    def notes(self, plan: CnnPlan) -> tuple[str, ...]:
        """See `CnnPlan.notes`."""
        return plan.notes()

    def numerics(self, plan: CnnPlan) -> Mapping[str, str]:
        """With scikit-learn's, whose logistic regression stands beside the network in the result."""
        return {**super().numerics(plan), **baselines.numerics_entries()}

    def try_network(self, plan: CnnPlan) -> None:
        """The first batch of training rows, as a training hands it over. Raises NetworkError."""
        module = plan.network.check_repeatable(plan.sizes, plan.seeds.child("init"))
        train, size = plan.module.parts.train, plan.spec.training.batch_size
        try_heads(
            plan.network,
            module,
            torch.from_numpy(plan.module.inputs(train[:size])),
            classes=plan.sizes["classes"],
            last=len(train) % size or size,
            seeds=plan.seeds.child("trial"),
        )

    def costs(self, plan: CnnPlan, context: PrepareContext) -> Costs:
        """Disk and memory by calculation, on the meta device where the network can be made there."""
        table, recorded = plan.spec.training, recorded_order(plan.spec.session, context.blobs)
        size = estimate_of(
            plan.network.for_estimate(plan.sizes, plan.seeds.child("init")),
            table.settings(),
            plan.spec.recording.settings(),
            steps=(plan.epochs() if recorded is None else recorded).steps,
            batch=table.batch_size,
        )
        # After each epoch the validation rows are looked at, without gradients.
        evaluated = table.epochs * len(plan.module.parts.validation) / table.batch_size * rehearsal.EVALUATED

        def estimate(timing: Rehearsal) -> Estimate:
            return size.as_run_estimate(
                seconds=timing.seconds(size.last_step + evaluated),
                held_bytes=timing.held_bytes,
                kept_bytes=size.weight_bytes,  # checkpoints keep the best weights beside the state
                models=_MODELS,
            )

        return Costs(state_bytes=size.state_bytes, lines=tuple(size.lines()), estimate=estimate)

    def training(self, plan: CnnPlan, context: PrepareContext | RunContext) -> GradientTraining:
        """At its start. Weights, order and noise come from streams of their own, so none shifts another's draws."""
        spec, seeds = plan.spec, plan.seeds
        table = spec.training
        epochs, recorded = plan.epochs(), recorded_order(spec.session, context.blobs)
        task = MarketPatternTask(
            plan.module,
            epochs if recorded is None else recorded,
            PatternPlan(
                rate=table.rate,
                # A retrained run is validated as often as the run whose batches it takes.
                per_epoch=epochs.per_epoch,
                patience=table.patience,
                loss_weights=table.loss_weights.settings(),
                class_weights=plan.class_weights(),
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
        session = {
            "model": plan.network.name,
            "model_kind": "pattern",
            "task": spec.labels.task,
            "symbol": plan.pinned.candles.symbol,
            **spec.session.metadata(),
        }
        return GradientTraining(task, learner, Recorder(spec.recording.settings(), learner), session)
