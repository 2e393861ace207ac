"""The task of `kind = "cnn"`: a pattern network over a market's bars, validated after each epoch.

The weights of the epoch with the lowest validation loss are part of the state, so a run that was interrupted ends with
the same ones. They are judged once, when the run ends (`judgement`); the last weights are an artifact as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from safetensors.numpy import save as save_arrays

from lockstep.core import canonical
from lockstep.learning.gradients.learner import BUFFER, WEIGHTS
from lockstep.learning.gradients.training import model_arrays
from lockstep.learning.patterns.inference import evaluated_heads, predictions_of
from lockstep.learning.patterns.judgement import HELD_OUT, judge
from lockstep.learning.patterns.networks import HeadWeights, pattern_loss
from lockstep.learning.patterns.task import Among, BarSamples, Order, PatternTask

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from lockstep.learning.gradients.learner import Arrays, Learner
    from lockstep.learning.gradients.training import Batch
    from lockstep.learning.patterns.data_module import DataModule
    from lockstep.learning.patterns.networks import Heads
    from lockstep.learning.patterns.scores import Predictions
    from lockstep.runs.seeds import SeedTree

BEST_FILE: Final = "best_weights.safetensors"
PREDICTIONS_FILE: Final = "predictions.safetensors"
NORMALISATION_FILE: Final = "normalisation.json"


@dataclass(frozen=True, kw_only=True)
class PatternPlan:
    """Settings of a training of a pattern network, beside its data and its order.

    rate           learning rate, from a step and the number of steps
    per_epoch      steps between two validations
    patience       the run ends after so many epochs without a lower validation loss; None never ends it early
    loss_weights   weights of the three heads; None for the defaults
    class_weights  float32 (classes,); None where all are 1
    smoothing      share of each class target that the training loss spreads over all classes
    micro_batch    most samples of a forward pass of an update; None takes them at once
    averaged       whether the average of the weights is validated and judged, in the place of the trained ones
    cost           cost of a sample's trade, a fraction (R9.9)
    target_profit  profit that scores 1, a fraction (R9.9)
    """

    rate: Callable[[int, int], float]
    per_epoch: int
    patience: int | None = None
    loss_weights: HeadWeights | None = None
    class_weights: NDArray[np.float32] | None = None
    smoothing: float = 0.0
    micro_batch: int | None = None
    averaged: bool = False
    cost: float = 0.001
    target_profit: float = 0.01


def bar_samples(module: DataModule, *, cost: float, target_profit: float) -> BarSamples:
    """The samples of a module by bar.

    Returns are in units of the standard deviation of training rows. Profitability is the profit of the better of long
    and short, net of `cost`, as a share of `target_profit`.
    """
    labels, scale = module.labels, module.statistics.return_scale
    returns = np.where(np.isfinite(labels.returns), labels.returns, 0.0)
    net = np.abs(returns) - cost
    return BarSamples(
        series=module.series,
        window=module.windows.window,
        classes=np.maximum(labels.classes, 0),
        returns=(returns / scale).astype(np.float32),
        scores=np.clip(net / target_profit, 0.0, 1.0),
        profitable=net > 0.0,
    )


class MarketPatternTask(PatternTask):
    """Validates, keeps the best epoch, and judges it.

    order     gives indices into training rows, or with `recorded` the bars themselves
    recorded  whether the order comes from the record of a run
    """

    def __init__(
        self,
        module: DataModule,
        order: Order,
        plan: PatternPlan,
        *,
        seeds: SeedTree,
        device: str = "cpu",
        recorded: bool = False,
    ) -> None:
        samples = bar_samples(module, cost=plan.cost, target_profit=plan.target_profit)
        super().__init__(
            samples,
            order if recorded else Among(order, module.parts.train),
            weights=plan.loss_weights,
            class_weights=plan.class_weights,
            smoothing=plan.smoothing,
            micro_batch=plan.micro_batch,
            device=device,
        )
        self._module = module
        self._plan = plan
        self._seeds = seeds
        self._history: list[dict[str, Any]] = []
        self._best: Arrays = {}
        self._best_epoch: int | None = None
        self._judged: dict[str, Predictions] | None = None

    @property
    def total_steps(self) -> int | None:
        """How many steps the order has; None where patience may end the run before."""
        return None if self._plan.patience is not None else self.planned_steps

    def batch(self, step: int) -> Batch | None:
        """The samples that the order names; None after the last step, or when patience has run out."""
        return None if self._impatient() else super().batch(step)

    def learning_rate(self, step: int) -> float | None:
        """Learning rate of `step` by the plan's schedule."""
        return self._plan.rate(step, self.planned_steps)

    def after(self, step: int, learner: Learner) -> Mapping[str, Any]:
        """At the end of an epoch or of the run: loss and accuracy on validation rows, and whether the loss is the
        lowest so far."""
        if (step + 1) % self._plan.per_epoch and step + 1 != self.planned_steps:
            return {}
        with self._judged_weights(learner):
            losses, accuracy = self._validate(learner)
        epoch = len(self._history)
        best = self._best_epoch is None or losses["total"] < self._history[self._best_epoch]["loss"]["total"]
        entry = {"epoch": epoch, "step": step, "loss": losses, "accuracy": accuracy}
        self._history.append(entry)
        if best:
            self._best_epoch = epoch
            with self._judged_weights(learner):
                state = learner.get_state()
            # Without the optimiser's moments: this epoch is evaluated, never continued.
            self._best = {name: state[name] for name in state if name == WEIGHTS or name.startswith(BUFFER)}
        return {"epoch": epoch, "validation": {"loss": losses, "accuracy": accuracy}, "best": best}

    def result(self, learner: Learner) -> Mapping[str, Any]:
        """Scores of the best epoch's network and of its baselines on validation and test rows, and the verdict."""
        module = self._module
        network = self._predictions(learner)
        return {
            "model": {
                "classes": list(module.label_settings.classes),
                "parameters": learner.flat.layout.parameters,
                "best_epoch": self._best_epoch,
                "epochs": len(self._history),
                **({"weights": "ema" if self._plan.averaged else "trained"} if learner.averages else {}),
            },
            "samples": {"purged": module.parts.purged, **module.counts()},
            "history": self._history,
            **judge(module, network, weights=self._plan.class_weights, seeds=self._seeds.child("bootstrap")),
        }

    def artifacts(self, learner: Learner) -> Mapping[str, bytes]:
        """Files of the best epoch: its weights, its predictions for held-out rows, the numbers that normalise new
        bars."""
        with self._as_best(learner):
            best = save_arrays(model_arrays(learner))
        predictions = self._predictions(learner)
        columns: dict[str, NDArray[Any]] = {}
        for part in HELD_OUT:
            rows, bars = predictions[part], self._module.bars(part)
            columns |= {f"{part}.bar": bars, f"{part}.probabilities": rows.probabilities()}
            columns |= {f"{part}.label": self._module.labels.classes[bars], f"{part}.class": rows.decided}
            if rows.returns is not None and rows.confidence is not None:
                columns |= {f"{part}.return": rows.returns, f"{part}.confidence": rows.confidence}
        normalisation = self._module.statistics.to_json(self._module.windows.channels)
        return {
            BEST_FILE: best,
            PREDICTIONS_FILE: save_arrays({name: np.ascontiguousarray(array) for name, array in columns.items()}),
            NORMALISATION_FILE: canonical.dumps(normalisation),
        }

    def get_state(self) -> dict[str, Any]:
        """Losses of the epochs so far, and the best epoch with its weights."""
        return {"history": list(self._history), "best_epoch": self._best_epoch, "best": dict(self._best)}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore a state that `get_state` returned."""
        self._history = list(state["history"])
        self._best_epoch = state["best_epoch"]
        self._best = dict(state["best"])
        self._judged = None

    def _impatient(self) -> bool:
        patience, best = self._plan.patience, self._best_epoch
        return patience is not None and best is not None and len(self._history) - 1 - best >= patience

    def _validate(self, learner: Learner) -> tuple[dict[str, float], float]:
        bars = self._module.parts.validation
        heads = self.heads_of_rows(learner, bars, f"validation after epoch {len(self._history) + 1}")
        rows = torch.from_numpy(bars).to(self._device)
        losses = pattern_loss(
            heads,
            self._classes[rows],
            self._returns[rows],
            weights=self._plan.loss_weights,
            class_weights=self._class_weights,
        )
        named = {"total": losses.total, **losses.parts}
        right = (heads.direction.argmax(dim=1) == self._classes[rows]).sum()
        return {name: float(value) for name, value in named.items()}, int(right) / len(bars)

    def heads_of_rows(self, learner: Learner, bars: NDArray[np.int64], place: str) -> Heads:
        """The three heads for bars, in evaluation mode; an error names `place`. Raises NetworkError."""
        with learner.evaluating() as model:
            return evaluated_heads(model, self._read, bars, place, device=self._device)

    def _predictions(self, learner: Learner) -> dict[str, Predictions]:
        """Predictions of the best epoch's network, by part; computed once per state, so test rows are used once."""
        if self._judged is None:
            with self._as_best(learner):
                self._judged = {part: self._predict(learner, self._module.bars(part)) for part in HELD_OUT}
        return self._judged

    def _predict(self, learner: Learner, bars: NDArray[np.int64]) -> Predictions:
        return predictions_of(
            self.heads_of_rows(learner, bars, "evaluation"),
            class_weights=self._plan.class_weights,
            return_scale=self._module.statistics.return_scale,
        )

    def _judged_weights(self, learner: Learner) -> AbstractContextManager[None]:
        """The weights that are validated, within the block: the averaged or the trained ones."""
        return learner.averaged() if self._plan.averaged else nullcontext()

    @contextmanager
    def _as_best(self, learner: Learner) -> Iterator[None]:
        """Give the learner the weights of the best epoch within the block; before the first, those that are judged."""
        if not self._best:
            with self._judged_weights(learner):
                yield
            return
        now = learner.get_state()
        learner.set_weights(self._best)
        try:
            yield
        finally:
            learner.set_weights(now)
