"""The recipe of `kind = "cnn-episodes"`: the task of networks with three heads, over pinned windows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lockstep.kinds.cnn_episodes import plan as plans
from lockstep.kinds.cnn_episodes.plan import EpisodesPlan
from lockstep.kinds.cnn_episodes.spec import EpisodesSpec
from lockstep.kinds.shared.gradient_kind import NetworkRecipe, TrainingCosts
from lockstep.kinds.shared.pattern_networks import PatternBatch, rehearse_heads
from lockstep.kinds.shared.retraining import recorded_order
from lockstep.kinds.shared.step_timing import StepTiming
from lockstep.learning.gradients.estimate import estimate_of
from lockstep.learning.gradients.learner import Learner
from lockstep.learning.gradients.recorder import Recorder
from lockstep.learning.gradients.training import GradientTraining
from lockstep.learning.patterns.task import Order, PatternTask
from lockstep.runs.kind import Estimate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lockstep.runs.folder import RunFolder
    from lockstep.runs.kind import PrepareContext, RunContext


class EpisodeTask(PatternTask):
    """`PatternTask` with the learning rates of a spec, and counts of episodes in its result."""

    def __init__(self, plan: EpisodesPlan, order: Order) -> None:
        table = plan.spec.training
        super().__init__(
            plan.samples(),
            order,
            weights=table.weights.settings(),
            smoothing=table.label_smoothing,
            micro_batch=table.batch_size,
            device=plan.spec.device,
        )
        self._table = table
        pinned = plan.pinned
        # Both numbers, since "100 used" reads differently beside 100 and beside 10,000.
        self._counts = {"available": pinned.available, "used": len(pinned), "symbol": plan.spec.episodes.symbol}

    def learning_rate(self, step: int) -> float:
        """Learning rate of `step`, by the schedule in `[training]`."""
        return self._table.rate(step, self.planned_steps)

    def result(self, learner: Learner) -> Mapping[str, Any]:
        """Counts of episodes for the summary, under the key `episodes`, and which of two sets of weights counts."""
        if not learner.averages:
            return {"episodes": self._counts}
        return {"episodes": self._counts, "model": {"weights": "ema" if self._table.averaged else "trained"}}


class EpisodesRecipe(NetworkRecipe[EpisodesSpec, EpisodesPlan]):
    """Pattern networks over the episodes of a book."""

    def pin(self, spec: EpisodesSpec, context: PrepareContext) -> EpisodesPlan:
        """Pin episodes and network; raises the InputError tree, DiskError."""
        return plans.pin(spec, context)

    def restore(self, spec: EpisodesSpec, folder: RunFolder, context: PrepareContext) -> EpisodesPlan:
        """The same plan from a run's folder; raises IntegrityError, DataError."""
        return plans.restore(spec, folder, context)

    def notes(self, plan: EpisodesPlan) -> tuple[str, ...]:
        """A line on the episodes that are trained on."""
        return plan.notes()

    def try_network(self, plan: EpisodesPlan) -> None:
        """Rehearse the network with two batches of episodes. Raises NetworkError."""
        count, arrays = len(plan.pinned), plan.pinned.arrays
        size = min(plan.spec.training.batch_size, count)

        def batch(rows: slice) -> PatternBatch:
            return PatternBatch(
                windows=plan.windows(rows), classes=arrays["classes"][rows], returns=arrays["returns"][rows]
            )

        plan.network.check_repeatable(plan.sizes, plan.seeds.child("init"))
        rehearse_heads(
            plan.network,
            plan.make_network,
            (batch(slice(0, size)), batch(slice(count - (count % size or size), count))),
            classes=plan.sizes["classes"],
            seeds=plan.seeds.child("trial"),
            weights=plan.spec.training.weights.settings(),
        )

    def costs(self, plan: EpisodesPlan, context: PrepareContext) -> TrainingCosts:
        """Disk and memory by calculation, on the meta device when the network can be made there."""
        table, recorded = plan.spec.training, recorded_order(plan.spec.session, context.blobs)
        size = estimate_of(
            plan.network.for_estimate(plan.sizes, plan.seeds.child("init")),
            table.settings(),
            plan.spec.recording.settings(),
            steps=(plan.epochs() if recorded is None else recorded).steps,
            batch=min(table.update_size, len(plan.pinned)),
        )

        def estimate(timing: StepTiming) -> Estimate:
            return size.as_run_estimate(
                training=timing.training(size.last_step),
                held_bytes=timing.held_bytes,
                models=1 if table.ema_decay is None else 2,
            )

        return TrainingCosts(state_bytes=size.state_bytes, lines=tuple(size.lines()), estimate=estimate)

    def training(self, plan: EpisodesPlan, context: PrepareContext | RunContext) -> GradientTraining:
        """The training before its first step.

        Weights, order and noise have streams of their own, so that none shifts the draws of another.
        """
        spec, seeds = plan.spec, plan.seeds
        recorded = recorded_order(spec.session, context.blobs)
        task = EpisodeTask(plan, plan.epochs() if recorded is None else recorded)
        learner = Learner(
            plan.make_network(),
            spec.training.settings(),
            seeds=seeds,
            clip_norm=spec.training.clip_norm,
            device=spec.device,
        )
        learner.momentum = spec.training.momentum_of(task.planned_steps)
        session = {
            "model": plan.network.name,
            "model_kind": "pattern",
            "symbol": spec.episodes.symbol,
            **spec.session.metadata(),
        }
        return GradientTraining(task, learner, Recorder(spec.recording.settings(), learner), session)
