"""Tables that the specs of gradient trainings share: `[network]`, `[recording]`, the optimiser's keys, `device`.

Loads no torch, so that a machine without it can check specs; `settings` methods make the classes of the trainers.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from lockstep.learning.gradients.schedules import OneCycle, cosine
from lockstep.runs.spec import ADDED_LATER, SpecModel

if TYPE_CHECKING:
    from collections.abc import Callable

    from lockstep.learning.gradients.optim_state import OptimizerSettings
    from lockstep.learning.gradients.recorder import Recording
    from lockstep.learning.patterns.networks import HeadWeights

Device: TypeAlias = Literal["cpu", "cuda", "auto"]
"""Where to compute; "auto" is decided before the run, and the run stores the decision."""
Scalar: TypeAlias = bool | int | float | str | None
Parameter: TypeAlias = Scalar | list[Scalar]


class NetworkTable(SpecModel):
    """`[network]`: which network is trained, and its parameters."""

    name: str = Field(default="pattern-cnn", min_length=1)
    """A built-in network, or "file.py:Class", relative to the spec file."""
    parameters: dict[str, Parameter] = Field(default_factory=dict)
    """Keyword arguments of its constructor, without the sizes that the data decide."""


class RecordingTable(SpecModel):
    """`[recording]`: what is stored of each step (`learning.gradients.recorder.Recording`)."""

    level: Literal["full", "norms", "none"] = "full"
    """"full": every gradient; "norms": three norms for each parameter; "none": losses only. Weights never differ."""
    select: tuple[str, ...] = Field(default=("*",), min_length=1)
    """Patterns of the names of parameters whose gradients are stored."""
    every: int = Field(default=1, ge=1)
    """Steps between two stored gradients."""
    codec: Literal["raw", "blosc2"] = "raw"
    """"blosc2" packs gradients without loss: a tenth to a third smaller, a little slower; needs the extra `codecs`."""
    snapshot_every: int = Field(default=100, ge=1)
    """Steps between two stored states."""
    digest_every: int = Field(default=1, ge=1)
    """Steps between two digests of the whole state."""
    max_bytes: int = Field(default=20_000_000_000, ge=1)
    """Limit of the record, bytes."""
    at_limit: Literal["end", "norms"] = "end"
    """At that limit the run ends, or goes on at level "norms"."""

    def settings(self) -> Recording:
        """The recorder's settings. Imports torch."""
        from lockstep.learning.gradients.recorder import Recording

        return Recording(
            level=self.level,
            select=self.select,
            every=self.every,
            codec=self.codec,
            snapshot_every=self.snapshot_every,
            digest_every=self.digest_every,
            max_bytes=self.max_bytes,
            at_limit=self.at_limit,
        )


_UNFUSED: Final = {"nadam": "NAdam", "radam": "RAdam", "rmsprop": "RMSprop"}
_ONE_CYCLE: Final = ("rise_share", "div_factor", "final_div_factor", "cycle_momentum", "base_momentum", "max_momentum")
"""Keys that only `schedule = "one_cycle"` reads."""


class OptimizerTable(SpecModel):
    """The optimiser and its learning rate; the base of a kind's `[training]` table.

    Learning rate of a step: warm-up takes it from learning_rate / warmup_steps to learning_rate in equal steps; then
    it is constant, or falls to learning_rate x final_share at the last step, in equal steps or along half a cosine.
    One cycle needs no warm-up: it rises from learning_rate / div_factor to learning_rate and falls to
    learning_rate / (div_factor x final_div_factor), while the momentum moves against it (`gradients.schedules`).
    """

    optimizer: Literal["adam", "adamw", "nadam", "radam", "sgd", "rmsprop"] = "adam"
    learning_rate: float = Field(default=0.001, gt=0.0)
    """The highest rate of the run."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay of the two moments; Adam, AdamW, NAdam and RAdam."""
    amsgrad: bool = Field(default=False, json_schema_extra=ADDED_LATER)
    """Divide by the largest second moment so far; Adam and AdamW."""
    momentum_decay: float = Field(default=0.004, gt=0.0, json_schema_extra=ADDED_LATER)
    """How fast NAdam's momentum reaches beta 1."""
    eps: float = Field(default=1e-8, gt=0.0)
    weight_decay: float = Field(default=0.0, ge=0.0)
    momentum: float = Field(default=0.0, ge=0.0)
    """Momentum of SGD and RMSprop, a fraction."""
    nesterov: bool = False
    form: Literal["single", "foreach", "fused"] = "single"
    """Which of torch's implementations computes the update; they may round differently."""
    clip_norm: float | None = Field(default=None, gt=0.0)
    """L2 norm of the whole gradient above which it is scaled down; default: never."""
    schedule: Literal["constant", "linear", "cosine", "one_cycle"] = "constant"
    warmup_steps: int = Field(default=0, ge=0)
    final_share: float = Field(default=0.0, ge=0.0, le=1.0)
    rise_share: float = Field(default=0.3, gt=0.0, lt=1.0, json_schema_extra=ADDED_LATER)
    """Share of the steps in which one cycle rises."""
    div_factor: float = Field(default=25.0, ge=1.0, json_schema_extra=ADDED_LATER)
    """learning_rate / the first rate of one cycle."""
    final_div_factor: float = Field(default=1e4, ge=1.0, json_schema_extra=ADDED_LATER)
    """The first rate of one cycle / its last."""
    cycle_momentum: bool = Field(default=True, json_schema_extra=ADDED_LATER)
    """Whether one cycle moves the momentum too: beta 1, or the momentum of SGD and RMSprop where it is above 0."""
    base_momentum: float = Field(default=0.85, ge=0.0, lt=1.0, json_schema_extra=ADDED_LATER)
    """Momentum at the highest rate of one cycle."""
    max_momentum: float = Field(default=0.95, ge=0.0, lt=1.0, json_schema_extra=ADDED_LATER)
    """Momentum at both ends of one cycle."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.form == "fused" and self.optimizer in _UNFUSED:
            raise ValueError(f'torch has no fused {_UNFUSED[self.optimizer]}: use form = "single" or "foreach"')
        if self.amsgrad and self.optimizer not in ("adam", "adamw"):
            raise ValueError(f'amsgrad belongs to optimizer = "adam" or "adamw"; found "{self.optimizer}"')
        if self.optimizer != "nadam" and self._is_set("momentum_decay"):
            raise ValueError(f'momentum_decay belongs to optimizer = "nadam"; found "{self.optimizer}"')
        if self.schedule == "one_cycle" and (self.warmup_steps or self.final_share):
            raise ValueError(
                "one_cycle rises and falls by itself: leave out warmup_steps and final_share, and use rise_share, "
                "div_factor and final_div_factor"
            )
        if self.schedule != "one_cycle" and (foreign := [name for name in _ONE_CYCLE if self._is_set(name)]):
            raise ValueError(f'{foreign[0]} belongs to schedule = "one_cycle"; found schedule = "{self.schedule}"')
        if self.base_momentum > self.max_momentum:
            raise ValueError(
                f"base_momentum is at most max_momentum; found {self.base_momentum} and {self.max_momentum}"
            )
        # Other optimisers would ignore the key; without momentum torch refuses it in words of its own.
        if self.nesterov and not (self.optimizer == "sgd" and self.momentum > 0.0):
            raise ValueError('nesterov belongs to optimizer = "sgd" with a momentum above 0')
        # At 1 a moment never forgets, and torch divides by 1 - beta.
        if not all(0.0 <= beta < 1.0 for beta in self.betas):
            raise ValueError(f"betas lie from 0 to below 1; found {list(self.betas)}")
        return self

    def settings(self) -> OptimizerSettings:
        """The learner's settings. Imports torch."""
        from lockstep.learning.gradients.optim_state import OptimizerSettings

        return OptimizerSettings(
            name=self.optimizer,
            learning_rate=self.learning_rate,
            betas=self.betas,
            eps=self.eps,
            weight_decay=self.weight_decay,
            momentum=self.momentum,
            nesterov=self.nesterov,
            form=self.form,
            amsgrad=self.amsgrad,
            momentum_decay=self.momentum_decay,
        )

    def _is_set(self, name: str) -> bool:
        return bool(getattr(self, name) != type(self).model_fields[name].default)

    def rate(self, step: int, steps: int) -> float:
        """Learning rate of `step`, 0 to `steps` - 1. Basic arithmetic only, so that every machine has the same bits."""
        if self.schedule == "one_cycle":
            return self._cycle().rate(step, steps)
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        if self.schedule == "constant":
            return self.learning_rate
        if self.schedule == "cosine":
            last = self.learning_rate * self.final_share
            return cosine(self.learning_rate, last, step - self.warmup_steps, steps - self.warmup_steps)
        # `done` ends at `span`, so the last step has the final share exactly; max(..., 1) guards a single step.
        span = max(steps - 1 - self.warmup_steps, 1)
        done = min(step - self.warmup_steps, span)
        return self.learning_rate * (1.0 - (1.0 - self.final_share) * done / span)

    def momentum_of(self, steps: int) -> Callable[[int], float] | None:
        """The momentum of each step of a run of `steps`, for `Learner.momentum`; None where no schedule moves it."""
        moves = self.schedule == "one_cycle" and self.cycle_momentum
        if not moves or (self.optimizer in ("sgd", "rmsprop") and not self.momentum):
            return None
        cycle = self._cycle()
        return lambda step: cycle.momentum(step, steps)

    def _cycle(self) -> OneCycle:
        return OneCycle(
            peak=self.learning_rate,
            rise_share=self.rise_share,
            div_factor=self.div_factor,
            final_factor=self.final_div_factor,
            momenta=(self.base_momentum, self.max_momentum),
        )


class NetworkTrainingTable(OptimizerTable):
    """`[training]` of the kinds that learn from samples in batches."""

    batch_size: int = Field(default=64, ge=1)
    """Samples of a forward pass."""
    accumulate: int = Field(default=1, ge=1, json_schema_extra=ADDED_LATER)
    """Batches whose gradients make one update: their mean, weighted by samples. An epoch's last update may have fewer.

    Each has its own batch statistics; dropout goes on from one to the next in the noise of the step.
    """
    label_smoothing: float = Field(default=0.0, ge=0.0, lt=1.0, json_schema_extra=ADDED_LATER)
    """Share of a sample's weight that the loss of the classes spreads over all of them. Training loss only."""
    ema_decay: float | None = Field(default=None, gt=0.0, lt=1.0, json_schema_extra=ADDED_LATER)
    """Decay of a moving average of the weights, kept beside them; default: none is kept."""
    ema_evaluated: bool = Field(default=True, json_schema_extra=ADDED_LATER)
    """Whether that average is what is validated, judged and predicted with; else the trained weights are."""

    @model_validator(mode="after")
    def _averages(self) -> Self:
        if self.ema_decay is None and not self.ema_evaluated:
            raise ValueError("ema_evaluated chooses between two sets of weights: set ema_decay, or leave it out")
        return self

    @property
    def update_size(self) -> int:
        """How many samples an update learns from, those of all its batches."""
        return self.batch_size * self.accumulate

    @property
    def averaged(self) -> bool:
        """Whether the averaged weights are those that count."""
        return self.ema_decay is not None and self.ema_evaluated

    def settings(self) -> OptimizerSettings:
        """The learner's settings. Imports torch."""
        return replace(super().settings(), ema_decay=self.ema_decay)


class HeadWeightsTable(SpecModel):
    """Weights of the three parts of a pattern network's loss (R9.15; `learning.patterns.networks`, eq. (1))."""

    classification: float = Field(default=1.0, ge=0.0)
    regression: float = Field(default=0.5, ge=0.0)
    confidence: float = Field(default=0.3, ge=0.0)

    def settings(self) -> HeadWeights:
        """The weights as the task's class. Imports torch."""
        from lockstep.learning.patterns.networks import HeadWeights

        return HeadWeights(classification=self.classification, regression=self.regression, confidence=self.confidence)


def json_parameters(parameters: dict[str, Parameter]) -> dict[str, Any]:
    """Keyword arguments with lists as tuples: JSON has no tuples, and torch's layers expect them."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in parameters.items()}
