"""Tables that the specs of gradient trainings share: `[network]`, `[recording]`, the optimiser's keys, `device`.

Loads no torch, so that a machine without it can check specs; `settings` methods make the classes of the trainers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from lockstep.runs.spec import SpecModel

if TYPE_CHECKING:
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


class OptimizerTable(SpecModel):
    """The optimiser and its learning rate; the base of a kind's `[training]` table.

    Learning rate of a step: warm-up takes it from learning_rate / warmup_steps to learning_rate in equal steps; then
    it is constant, or falls in equal steps to learning_rate x final_share at the last step.
    """

    optimizer: Literal["adam", "adamw", "sgd", "rmsprop"] = "adam"
    learning_rate: float = Field(default=0.001, gt=0.0)
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay of the two moments; Adam and AdamW."""
    eps: float = Field(default=1e-8, gt=0.0)
    weight_decay: float = Field(default=0.0, ge=0.0)
    momentum: float = Field(default=0.0, ge=0.0)
    """Momentum of SGD and RMSprop, a fraction."""
    nesterov: bool = False
    form: Literal["single", "foreach", "fused"] = "single"
    """Which of torch's implementations computes the update; they may round differently."""
    clip_norm: float | None = Field(default=None, gt=0.0)
    """L2 norm of the whole gradient above which it is scaled down; default: never."""
    schedule: Literal["constant", "linear"] = "constant"
    warmup_steps: int = Field(default=0, ge=0)
    final_share: float = Field(default=0.0, ge=0.0, le=1.0)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.form == "fused" and self.optimizer == "rmsprop":
            raise ValueError('torch has no fused RMSprop: use form = "single" or "foreach"')
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
        )

    def rate(self, step: int, steps: int) -> float:
        """Learning rate of `step`, 0 to `steps` - 1. Basic arithmetic only, so that every machine has the same bits."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        if self.schedule == "constant":
            return self.learning_rate
        # `done` ends at `span`, so the last step has the final share exactly; max(..., 1) guards a single step.
        span = max(steps - 1 - self.warmup_steps, 1)
        done = min(step - self.warmup_steps, span)
        return self.learning_rate * (1.0 - (1.0 - self.final_share) * done / span)


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
