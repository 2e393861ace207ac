"""The task of `kind = "cnn"`: a pattern network over a market's bars, validated after each epoch, the best epoch kept.

The weights of the epoch with the lowest validation loss are part of the state, so a run that was interrupted keeps the
same one. They are judged once, when the session ends (`judgement`); the weights that training left are kept as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from safetensors.numpy import save as save_arrays

from lockstep.core import canonical
from lockstep.core.errors import RefusedError
from lockstep.learning.gradients.learner import BUFFER, WEIGHTS
from lockstep.learning.gradients.training import model_arrays
from lockstep.learning.patterns.judgement import HELD_OUT, judge
from lockstep.learning.patterns.networks import Heads, HeadWeights, heads_of, pattern_loss
from lockstep.learning.patterns.scores import Predictions
from lockstep.learning.patterns.task import Among, BarSamples, Order, PatternTask

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from lockstep.learning.gradients.learner import Arrays, Learner
    from lockstep.learning.gradients.training import Batch
    from lockstep.learning.patterns.data_module import DataModule
    from lockstep.runs.seeds import SeedTree

BEST_FILE: Final = "best_weights.safetensors"
PREDICTIONS_FILE: Final = "predictions.safetensors"
NORMALISATION_FILE: Final = "normalisation.json"
_ROWS: Final = 1_024
"""Windows that are evaluated at a time."""


@dataclass(frozen=True, kw_only=True)
class PatternPlan:
    """What a training of a pattern network is, beside its data and its order.

    rate       learning rate of a step of so many
    per_epoch  steps after which the network is validated
    patience   epochs without a lower validation loss after which the session ends, or None
    cost, target_profit   of a sample's profitability, fractions (R9.9)
    """

    rate: Callable[[int, int], float]
    per_epoch: int
    patience: int | None = None
    loss_weights: HeadWeights | None = None
    class_weights: NDArray[np.float32] | None = None
    cost: float = 0.001
    target_profit: float = 0.01


def bar_samples(module: DataModule, *, cost: float, target_profit: float) -> BarSamples:
    """The samples of a module by bar. Returns in units of their training rows' standard deviation; profitability is
    what the better of long and short would have made, net of `cost`, as a share of `target_profit`."""
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
    """See the module's docstring. `order` gives places among training rows, or bars themselves (`recorded`)."""

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
        """As many as the order has, unless patience may end them before."""
        return None if self._plan.patience is not None else self.planned_steps

    def batch(self, step: int) -> Batch | None:
        """The samples that the order names; None after the last one, or when patience has run out."""
        return None if self._impatient() else super().batch(step)

    def learning_rate(self, step: int) -> float | None:
        """By the plan's schedule."""
        return self._plan.rate(step, self.planned_steps)

    def after(self, step: int, learner: Learner) -> Mapping[str, Any]:
        """At the end of an epoch, and of the session: the loss on validation rows, and whether it is the lowest yet."""
        if (step + 1) % self._plan.per_epoch and step + 1 != self.planned_steps:
            return {}
        losses, accuracy = self._validate(learner)
        epoch = len(self._history)
        best = self._best_epoch is None or losses["total"] < self._history[self._best_epoch]["loss"]["total"]
        entry = {"epoch": epoch, "step": step, "loss": losses, "accuracy": accuracy}
        self._history.append(entry)
        if best:
            self._best_epoch = epoch
            state = learner.get_state()
            self._best = {name: state[name] for name in state if name == WEIGHTS or name.startswith(BUFFER)}
        return {"epoch": epoch, "validation": {"loss": losses, "accuracy": accuracy}, "best": best}

    def result(self, learner: Learner) -> Mapping[str, Any]:
        """The best epoch's network on validation and test rows, beside its baselines."""
        module = self._module
        network = self._predictions(learner)
        return {
            "model": {
                "classes": list(module.label_settings.classes),
                "parameters": learner.flat.layout.parameters,
                "best_epoch": self._best_epoch,
                "epochs": len(self._history),
            },
            "samples": {"purged": module.parts.purged, **module.counts()},
            "history": self._history,
            **judge(module, network, weights=self._plan.class_weights, seeds=self._seeds.child("bootstrap")),
        }

    def artifacts(self, learner: Learner) -> Mapping[str, bytes]:
        """The best epoch's weights, what it predicts of held-out rows, and what normalises new ones."""
        with self._as_best(learner):
            best = save_arrays(model_arrays(learner))
        predictions = self._predictions(learner)
        columns: dict[str, NDArray[Any]] = {}
        for part in HELD_OUT:
            found, bars = predictions[part], self._module.bars(part)
            columns |= {f"{part}.bar": bars, f"{part}.probabilities": found.probabilities()}
            columns |= {f"{part}.label": self._module.labels.classes[bars], f"{part}.class": found.decided}
            if found.returns is not None and found.confidence is not None:
                columns |= {f"{part}.return": found.returns, f"{part}.confidence": found.confidence}
        normalisation = self._module.statistics.to_json(self._module.windows.channels)
        return {
            BEST_FILE: best,
            PREDICTIONS_FILE: save_arrays({name: np.ascontiguousarray(array) for name, array in columns.items()}),
            NORMALISATION_FILE: canonical.dumps(normalisation),
        }

    def get_state(self) -> dict[str, Any]:
        """Losses of the epochs so far, and the weights of the best."""
        return {"history": list(self._history), "best_epoch": self._best_epoch, "best": dict(self._best)}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """The inverse of `get_state`."""
        self._history = list(state["history"])
        self._best_epoch = state["best_epoch"]
        self._best = dict(state["best"])
        self._judged = None

    def _impatient(self) -> bool:
        patience, best = self._plan.patience, self._best_epoch
        return patience is not None and best is not None and len(self._history) - 1 - best >= patience

    def _validate(self, learner: Learner) -> tuple[dict[str, float], float]:
        bars = self._module.parts.validation
        heads = self._heads(learner, bars)
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

    def _heads(self, learner: Learner, bars: NDArray[np.int64]) -> Heads:
        """The three heads for bars, in evaluation mode. Raises RefusedError when one is not finite: NaN is neither
        better nor worse than any other loss, so no epoch could be chosen by it."""
        with learner.evaluating() as model:
            pieces = [
                heads_of(model, self._read(torch.from_numpy(bars[i : i + _ROWS]).to(self._device)))
                for i in range(0, len(bars), _ROWS)
            ]
        heads = Heads(*(torch.cat(head) for head in zip(*pieces, strict=True)))
        for name, head in zip(Heads._fields, heads, strict=True):
            if not bool((finite := torch.isfinite(head)).all()):
                place = int(finite.reshape(len(bars), -1).all(dim=1).int().argmin())
                raise RefusedError(
                    f"evaluated, the head {name} is finite; for bar {bars[place]:,} it is NaN or infinite. Lower the "
                    "learning rate, set clip_norm, or look at what your network divides by in evaluation mode."
                )
        return heads

    def _predictions(self, learner: Learner) -> dict[str, Predictions]:
        """Of the best epoch's network, by part. Made once for a state: the test rows are looked at once."""
        if self._judged is None:
            with self._as_best(learner):
                self._judged = {part: self._predict(learner, self._module.bars(part)) for part in HELD_OUT}
        return self._judged

    def _predict(self, learner: Learner, bars: NDArray[np.int64]) -> Predictions:
        logits, returns, confidence = (
            head.detach().cpu().numpy().astype(np.float64) for head in self._heads(learner, bars)
        )
        return Predictions(
            logits=logits,
            decided=logits.argmax(axis=1),
            weights=self._plan.class_weights,
            returns=returns * self._module.statistics.return_scale,
            confidence=confidence,
        )

    @contextmanager
    def _as_best(self, learner: Learner) -> Iterator[None]:
        """Within the block the learner has the weights of the best epoch; where there is none yet, those it has."""
        if not self._best:
            yield
            return
        now = learner.get_state()
        learner.set_weights(self._best)
        try:
            yield
        finally:
            learner.set_weights(now)
