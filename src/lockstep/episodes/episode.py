"""Episodes: a package, its prediction and outcome, and the order in which episodes teach (R9.9, R9.10).

    priority = .5 score + .2 rapid + .15 completeness + .15 / (1 + training_count)

in [0, 1]: profitable, rapid, complete and little used examples come first (R9.10). Ranking is by priority, falling,
then newer first, then by id, so that equal episodes have one order. `book` keeps very many of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lockstep.core.errors import DataError
from lockstep.episodes.outcomes import TrainingOutcome
from lockstep.episodes.packages.package import ModelInputPackage

SCORE_WEIGHT: Final = 0.5
RAPID_WEIGHT: Final = 0.2
COMPLETENESS_WEIGHT: Final = 0.15
FRESHNESS_WEIGHT: Final = 0.15

Number = TypeVar("Number", float, NDArray[np.float64])


def episode_priority(score: Number, rapid: Number, completeness: Number, training_count: Number) -> Number:
    """Priority in [0, 1] of one episode or of columns of them, the same bits either way.

    score           profitability in [0, 1]; 0 unless the outcome is validated
    rapid           1 for a premium example, else 0
    completeness    of the package, in [0, 1]
    training_count  how often it was trained on, >= 0
    """
    return (
        SCORE_WEIGHT * score
        + RAPID_WEIGHT * rapid
        + COMPLETENESS_WEIGHT * completeness
        + FRESHNESS_WEIGHT / (1.0 + training_count)
    )


def ranking(priority: ArrayLike, created_at: ArrayLike, ids: Sequence[str] | None = None) -> NDArray[np.int64]:
    """Row numbers in the order of teaching, highest priority first: int64 (n,).

    priority    float64 (n,)
    created_at  int64 (n,), milliseconds UTC
    ids         decide between episodes of one priority and time; row numbers do where they are not given
    """
    level, time = np.asarray(priority, np.float64), np.asarray(created_at, np.int64)
    if np.isnan(level).any():
        raise DataError(f"a priority is a number; row {int(np.argmax(np.isnan(level)))} has none. Leave the row out.")
    last = np.arange(level.shape[0])
    if ids is not None:
        # Ranks of the ids instead of the ids: lexsort takes no text of different lengths.
        last = np.argsort(np.argsort(np.array(ids, dtype=object), kind="stable"), kind="stable")
    return np.lexsort((last, -time, -level)).astype(np.int64)


@dataclass(frozen=True, kw_only=True)
class TrainingEpisode:
    """One example; read-only: `with_outcome` and `trained` return a changed copy.

    episode_id       unique in a book
    symbol           name of the market; that of the package
    package          what was known, or None where only a store holds it; `completeness` is then required
    predictions      predictions of models by name: numbers and text
    outcome          the outcome of the prediction, pending by default
    is_rapid_change  whether it is a premium example (R9.13); by default as the package says
    training_count   how often it was trained on, >= 0
    created_at       milliseconds UTC of the decision
    completeness     share of the package's ten fields, in [0, 1]
    market_return    return of the market over the horizon, exit / entry - 1; None where unknown
    pivot_class      0 where the decision bar became a swing high, 2 a swing low, 1 neither; None where unknown
    priority         see `episode_priority`

    Raises DataError when symbols differ, or a number is outside of its range.
    """

    episode_id: str
    symbol: str
    package: ModelInputPackage | None
    predictions: Mapping[str, Any] = field(default_factory=dict)
    outcome: TrainingOutcome = field(default_factory=TrainingOutcome)
    is_rapid_change: bool | None = None
    training_count: int = 0
    created_at: int
    completeness: float | None = None
    market_return: float | None = None
    pivot_class: int | None = None
    priority: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        if self.package is not None and self.package.symbol != self.symbol:
            raise DataError(
                f"episode {self.episode_id!r}: its symbol is that of its package, {self.package.symbol!r}; "
                f"found {self.symbol!r}."
            )
        if self.training_count < 0:
            raise DataError(
                f"episode {self.episode_id!r}: training_count is not negative; found {self.training_count}."
            )
        completeness = self.completeness
        if completeness is None:
            if self.package is None:
                raise DataError(f"episode {self.episode_id!r}: without its package it needs a completeness. Give it.")
            completeness = self.package.completeness_score
        if not 0.0 <= completeness <= 1.0:
            raise DataError(f"episode {self.episode_id!r}: completeness is in [0, 1]; found {completeness!r}.")
        if self.pivot_class not in (None, 0, 1, 2):
            raise DataError(f"episode {self.episode_id!r}: pivot_class is 0, 1 or 2; found {self.pivot_class!r}.")
        rapid = self.is_rapid_change
        if rapid is None:
            rapid = self.package is not None and self.package.is_rapid_change
        object.__setattr__(self, "completeness", completeness)
        object.__setattr__(self, "is_rapid_change", rapid)
        object.__setattr__(self, "predictions", MappingProxyType(dict(self.predictions)))
        priority = episode_priority(self.score, float(rapid), completeness, float(self.training_count))
        object.__setattr__(self, "priority", priority)

    @property
    def score(self) -> float:
        """profitability_score of a validated outcome; 0 before that."""
        return self.outcome.profitability_score if self.outcome.outcome_validated else 0.0

    def with_outcome(self, outcome: TrainingOutcome, market_return: float | None = None) -> TrainingEpisode:
        """This episode with an outcome and the priority that follows. Raises RefusedError where it had another."""
        move = self.market_return if market_return is None else market_return
        return replace(self, outcome=self.outcome.replaced_by(outcome), market_return=move)

    def trained(self, times: int = 1) -> TrainingEpisode:
        """This episode after `times` more uses in training, each of which lowers its priority."""
        return replace(self, training_count=self.training_count + times)
