"""`PatternCNN`: a network that reads windows of market features, and the loss of its three heads.

Notation
    x       features of a window, float32 (batch, channels, window), oldest bar first, normalised
    z       direction or pivot class, logits (batch, classes)
    r       expected return over the horizon, a fraction (batch,)
    c       confidence that the class is right, logit (batch,)

Loss (R9.15)      L = w_1 CE(z, class) + w_2 smooth-L1(r, return) + w_3 BCE(c, [argmax z = class]),  w = 1, .5, .3  (1)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional

from lockstep.core.errors import InputError, LockstepError, NetworkError
from lockstep.learning.gradients.learner import Losses, full_precision
from lockstep.runs.user_modules import USER_FAILURES


class Heads(NamedTuple):
    """Output of a pattern network; any module that returns these three can be trained as one."""

    direction: torch.Tensor
    """Logits (batch, classes)."""
    expected_return: torch.Tensor
    """Fraction (batch,)."""
    confidence: torch.Tensor
    """Logit (batch,)."""


def as_heads(output: Any) -> Heads:
    """Convert the output of a user's network: `Heads`, a tuple or list of three, or a mapping with their names.

    Raises NetworkError for anything else.
    """
    if isinstance(output, Heads):
        return output
    if isinstance(output, Mapping):
        if missing := [name for name in Heads._fields if name not in output]:
            raise NetworkError(
                f"a network that returns a mapping returns {', '.join(Heads._fields)}; {missing[0]} is missing, found "
                f"{', '.join(map(str, output)) or 'nothing'}"
            )
        return Heads(*(output[name] for name in Heads._fields))
    if isinstance(output, tuple | list) and len(output) == len(Heads._fields):
        return Heads(*output)
    form = f"{len(output)} values" if isinstance(output, tuple | list) else type(output).__name__
    raise NetworkError(
        "a network returns three heads: direction logits (batch, classes), expected return (batch,) and the logit of "
        f"confidence (batch,), as a tuple or a mapping of those names; found {form}"
    )


def check_heads(output: Any, *, batch: int, classes: int) -> Heads:
    """`as_heads`, then check shapes, dtypes and finite values. Raises NetworkError with the head and the rule."""
    heads = as_heads(output)
    for name, value, shape in zip(heads._fields, heads, ((batch, classes), (batch,), (batch,)), strict=True):
        if not isinstance(value, torch.Tensor):
            raise NetworkError(f"the head {name} is a tensor; found {type(value).__name__}")
        _check_shape(name, value, shape)
        if not value.is_floating_point():
            raise NetworkError(f"the head {name} holds floating-point numbers; found {value.dtype}")
        if not bool(torch.isfinite(value).all()):
            raise NetworkError(f"the head {name} is finite for a finite input; found NaN or infinity")
    return heads


def _check_shape(name: str, value: torch.Tensor, shape: tuple[int, ...]) -> None:
    actual = tuple(value.shape)
    if actual != shape:
        # squeeze() without a dimension removes the batch as well where it holds one window.
        cure = " Use .squeeze(1)." if actual == (*shape, 1) or (shape[0] == 1 and actual == shape[1:]) else ""
        raise NetworkError(f"for {shape[0]} windows the head {name} has shape {shape}; found {actual}.{cure}")


def heads_of(model: nn.Module, windows: torch.Tensor) -> Heads:
    """The heads of `model` for windows (batch, channels, window).

    Shapes are checked at every step, because broadcasting would turn heads of another shape into a wrong loss.
    Raises NetworkError, also in the place of any error that a user's network raises.
    """
    try:
        heads = as_heads(model(windows))
        batch = len(windows)
        if not (heads[0].shape[:-1] == heads[1].shape == heads[2].shape == (batch,)):
            classes = heads[0].shape[-1] if heads[0].ndim else 1
            for name, value, shape in zip(heads._fields, heads, ((batch, classes), (batch,), (batch,)), strict=True):
                _check_shape(name, value, shape)
        heads = Heads(*(full_precision(head) for head in heads))
    except LockstepError:
        raise
    except USER_FAILURES as error:
        mode = "training" if model.training else "evaluation"
        raise NetworkError(
            f"the network cannot read an input of shape {tuple(windows.shape)} in {mode} mode: "
            f"{type(error).__name__}: {error}"
        ) from error
    return heads


@dataclass(frozen=True, kw_only=True)
class PatternShape:
    """Sizes of a `PatternCNN`; the defaults give 98,133 parameters."""

    channels: int = 8
    window: int = 64
    classes: int = 3
    filters: tuple[int, int, int] = (32, 64, 64)
    hidden: int = 72
    dropout: float = 0.1
    batch_norm: bool = False

    def __post_init__(self) -> None:
        if self.window < 4 or self.window % 4:
            raise InputError(f"two poolings halve the window, so it is a multiple of 4; found {self.window}")
        if self.classes < 2:
            raise InputError(f"a direction has at least two classes; found {self.classes}")
        if not 0.0 <= self.dropout < 1.0:
            raise InputError(f"dropout is a share of the hidden units, from 0 to below 1; found {self.dropout!r}")


class PatternCNN(nn.Module):
    """Three convolutions over time, one hidden layer, three heads; takes a `PatternShape`, or its fields."""

    def __init__(self, shape: PatternShape | None = None, **fields: Any) -> None:
        super().__init__()
        self.shape = shape = shape if shape is not None else PatternShape(**fields)
        one, two, three = shape.filters
        self.trunk = nn.Sequential(
            *self._block(shape.channels, one, 5),
            *self._block(one, two, 5),
            nn.MaxPool1d(2),
            *self._block(two, three, 3),
            nn.MaxPool1d(2),
            nn.Flatten(),
            nn.Linear(three * (shape.window // 4), shape.hidden),
            nn.ReLU(),
        )
        self.dropout = nn.Dropout(shape.dropout)
        self.direction = nn.Linear(shape.hidden, shape.classes)
        self.expected_return = nn.Linear(shape.hidden, 1)
        self.confidence = nn.Linear(shape.hidden, 1)

    def _block(self, before: int, after: int, width: int) -> list[nn.Module]:
        convolution = nn.Conv1d(before, after, width, padding=width // 2)
        norm = [nn.BatchNorm1d(after)] if self.shape.batch_norm else []
        return [convolution, *norm, nn.ReLU()]

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """The hidden layer (batch, hidden), before dropout."""
        hidden: torch.Tensor = self.trunk(x)
        return hidden

    def forward(self, x: torch.Tensor) -> Heads:
        """The three heads for windows (batch, channels, window)."""
        hidden = self.dropout(self.features(x))
        return Heads(
            self.direction(hidden), self.expected_return(hidden).squeeze(1), self.confidence(hidden).squeeze(1)
        )


@dataclass(frozen=True, kw_only=True)
class HeadWeights:
    """Weights w_1, w_2, w_3 of eq. (1)."""

    classification: float = 1.0
    regression: float = 0.5
    confidence: float = 0.3


def pattern_loss(
    heads: Heads,
    classes: torch.Tensor,
    returns: torch.Tensor,
    *,
    weights: HeadWeights | None = None,
    class_weights: torch.Tensor | None = None,
    smoothing: float = 0.0,
) -> Losses:
    """Eq. (1) for targets classes int64 (batch,) and returns float32 (batch,); `class_weights` float32 (classes,).

    `smoothing` is the share of each target that CE spreads over all classes (Szegedy et al., arXiv:1512.00567).
    """
    w = weights if weights is not None else HeadWeights()
    classification = functional.cross_entropy(heads.direction, classes, weight=class_weights, label_smoothing=smoothing)
    regression = functional.smooth_l1_loss(heads.expected_return, returns)
    # Detached: the confidence head learns to judge the direction, it does not pull the direction towards itself.
    right = (heads.direction.detach().argmax(dim=1) == classes).to(heads.confidence.dtype)
    confidence = functional.binary_cross_entropy_with_logits(heads.confidence, right)
    total = w.classification * classification + w.regression * regression + w.confidence * confidence
    return Losses(total, {"classification": classification, "regression": regression, "confidence": confidence})
