"""Episodes by hand, for the tests of books, stores and trainers."""

from __future__ import annotations

from typing import Any

from tests.unit.episodes.package_cases import NOW, package

from lockstep.episodes.book import EpisodeBook
from lockstep.episodes.episode import TrainingEpisode
from lockstep.episodes.outcomes import Action, TrainingOutcome


def scored(score: float) -> TrainingOutcome:
    """A validated outcome of this score: .001 of costs are earned back first."""
    return TrainingOutcome(
        actual_profit=0.01 * score,
        profitability_score=score,
        optimal_action=int(Action.BUY),
        is_profitable=score > 0,
        outcome_validated=True,
    )


def episode(episode_id: str = "e", **changes: Any) -> TrainingEpisode:
    fields: dict[str, Any] = {"symbol": "BTC/USDT", "package": package(), "created_at": NOW, **changes}
    return TrainingEpisode(episode_id=episode_id, **fields)


def book() -> EpisodeBook:
    scores = {"low": 0.69, "edge": 0.7, "high": 0.9, "loss": 0.0}
    episodes = [episode(name, outcome=scored(score)) for name, score in scores.items()]
    episodes.append(episode("open", outcome=TrainingOutcome(profitability_score=1.0)))
    episodes.append(episode("other", symbol="ETH/USDT", package=package(symbol="ETH/USDT"), outcome=scored(1.0)))
    episodes.append(episode("trained", outcome=scored(0.9), training_count=3))
    return EpisodeBook(episodes)
