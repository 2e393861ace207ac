"""Episodes: what was seen, what was predicted, what became of it, and in which order they teach (SPEC 9.4).

    priority = .5 score + .2 rapid + .15 completeness + .15 / (1 + training_count)

in [0, 1]: profitable, rapid, complete and little used examples come first (R9.10). Ranking is by priority, falling,
then newer first, then by id, so that equal episodes have one order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lockstep.core.errors import DataError, InputError, UnknownNameError
from lockstep.learning.outcomes import TrainingOutcome
from lockstep.market.packages import ModelInputPackage

SCORE_WEIGHT: Final = 0.5
RAPID_WEIGHT: Final = 0.2
COMPLETENESS_WEIGHT: Final = 0.15
FRESHNESS_WEIGHT: Final = 0.15

Number = TypeVar("Number", float, NDArray[np.float64])


def episode_priority(score: Number, rapid: Number, completeness: Number, training_count: Number) -> Number:
    """Priority in [0, 1] of one episode or of columns of them, the same bits either way.

    Args:
        score: Profitability in [0, 1]; 0 while the outcome is not validated.
        rapid: 1 for a premium example, else 0.
        completeness: Of the package, in [0, 1].
        training_count: How often it was trained on, >= 0.
    """
    return (
        SCORE_WEIGHT * score
        + RAPID_WEIGHT * rapid
        + COMPLETENESS_WEIGHT * completeness
        + FRESHNESS_WEIGHT / (1.0 + training_count)
    )


def ranking(priority: ArrayLike, created_at: ArrayLike, ids: Sequence[str] | None = None) -> NDArray[np.int64]:
    """Row numbers from the first to teach to the last, int64 (n,).

    Args:
        priority: float64 (n,).
        created_at: int64 (n,), milliseconds UTC.
        ids: Decide between episodes of one priority and time; row numbers do where they are not given.
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
    """One example; read-only, changed by `with_outcome` and `trained`, which give a new one.

    Attributes:
        episode_id: Unique.
        symbol: Of the market; that of the package.
        package: What was known, or None where it is kept in a store only; then `completeness` has to be given.
        predictions: What models said, by name: numbers and text.
        outcome: What became of it.
        is_rapid_change: A premium example (R9.13); of the package where it is not given.
        training_count: How often it was trained on.
        created_at: Milliseconds UTC.
        completeness: Of the package.
        priority: See `episode_priority`.

    Raises:
        DataError: Symbols differ, or a number is outside of its range.
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

    def with_outcome(self, outcome: TrainingOutcome) -> TrainingEpisode:
        """With what became of it, and the priority that follows. Raises RefusedError where that is settled already."""
        return replace(self, outcome=self.outcome.replaced_by(outcome))

    def trained(self, times: int = 1) -> TrainingEpisode:
        """After being trained on, which lowers its priority."""
        return replace(self, training_count=self.training_count + times)


class EpisodeBook:
    """Episodes by id, in the order in which they were added. For columns of very many use `ranking` itself."""

    def __init__(self, episodes: Iterable[TrainingEpisode] = ()) -> None:
        self._rows: dict[str, int] = {}
        self._episodes: list[TrainingEpisode] = []
        for episode in episodes:
            self.add(episode)

    def __len__(self) -> int:
        return len(self._episodes)

    def __iter__(self) -> Iterator[TrainingEpisode]:
        return iter(self._episodes)

    def __getitem__(self, episode_id: str) -> TrainingEpisode:
        return self._episodes[self._row(episode_id)]

    def add(self, episode: TrainingEpisode) -> None:
        """Take in a new episode. Raises DataError when its id is taken."""
        if episode.episode_id in self._rows:
            raise DataError(f"an episode's id is unique; {episode.episode_id!r} is taken. Choose another.")
        self._rows[episode.episode_id] = len(self._episodes)
        self._episodes.append(episode)

    def settle(self, episode_id: str, outcome: TrainingOutcome) -> TrainingEpisode:
        """Enter what became of an episode. Raises UnknownNameError, and RefusedError where it is settled already."""
        return self._put(self[episode_id].with_outcome(outcome))

    def count_training(self, episode_ids: Iterable[str]) -> None:
        """Note that these were trained on, once for each time that they are named."""
        for episode_id in episode_ids:
            self._put(self[episode_id].trained())

    def ranked(self, symbol: str | None = None, *, limit: int | None = None) -> list[TrainingEpisode]:
        """Episodes (of one symbol), the first to teach first (R9.9, R9.10)."""
        return self._ordered([one for one in self._episodes if symbol in (None, one.symbol)])[: _limit(limit)]

    def profitable(
        self, symbol: str, *, min_profitability: float = 0.7, max_episodes: int | None = 500
    ) -> list[TrainingEpisode]:
        """Validated episodes of one symbol with at least this score, best score first, then as in `ranked` (R9.19)."""
        if not 0.0 <= min_profitability <= 1.0:
            raise InputError(f"min_profitability is a score in [0, 1]; found {min_profitability!r}.")
        chosen = [
            one
            for one in self._episodes
            if one.symbol == symbol and one.outcome.outcome_validated and one.score >= min_profitability
        ]
        # The sort is stable: equal scores stay as they are ranked.
        return sorted(self._ordered(chosen), key=lambda one: -one.score)[: _limit(max_episodes)]

    def check_valid(self) -> None:
        """Raises DataError when ids and rows do not fit each other."""
        if len(self._rows) != len(self._episodes):
            raise DataError(f"the book has {len(self._rows)} ids for {len(self._episodes)} episodes.")
        for episode_id, row in self._rows.items():
            if self._episodes[row].episode_id != episode_id:
                raise DataError(f"the book's row {row} is not that of {episode_id!r}.")

    def _row(self, episode_id: str) -> int:
        if episode_id not in self._rows:
            raise UnknownNameError(f"no episode has the id {episode_id!r}; the book has {len(self)} episodes.")
        return self._rows[episode_id]

    def _put(self, episode: TrainingEpisode) -> TrainingEpisode:
        self._episodes[self._row(episode.episode_id)] = episode
        return episode

    @staticmethod
    def _ordered(episodes: list[TrainingEpisode]) -> list[TrainingEpisode]:
        order = ranking(
            [one.priority for one in episodes],
            [one.created_at for one in episodes],
            [one.episode_id for one in episodes],
        )
        return [episodes[row] for row in order.tolist()]


def _limit(limit: int | None) -> int | None:
    if limit is not None and limit < 0:
        raise InputError(f"a number of episodes is not negative; found {limit}.")
    return limit
