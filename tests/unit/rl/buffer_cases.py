"""Filled buffers, an outcome and a test of draws, for the tests of buffers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from scipy.stats import chi2

from lockstep.episodes.outcomes import TrainingOutcome
from lockstep.rl import ProfitWeightedExperienceBuffer, ReplayRules
from lockstep.rl.experience import RLExperience
from lockstep.testing.contracts.replay_buffer import experience

Buffer = ProfitWeightedExperienceBuffer


@dataclass(frozen=True)
class Known:
    actual_profit: float = 0.004
    profitability_score: float = 0.4
    optimal_action: int = 2
    is_profitable: bool = True
    outcome_validated: bool = True


def statistic(counts: Counter[Any], probabilities: dict[Any, float]) -> tuple[float, float]:
    """Pearson's statistic, and its 99.99 % quantile. Cells expected less than 5 times are joined."""
    total = sum(counts.values())
    assert abs(sum(probabilities.values()) - 1.0) < 1e-12
    assert set(counts) <= set(probabilities)
    cells, rest = [], [0.0, 0.0]
    for cell, probability in probabilities.items():
        pair = [float(counts[cell]), probability * total]
        if pair[1] < 5.0:
            rest = [rest[0] + pair[0], rest[1] + pair[1]]
        else:
            cells.append(pair)
    if rest[1] >= 5.0:
        cells.append(rest)
    value = sum((seen - wanted) ** 2 / wanted for seen, wanted in cells)
    return value, float(chi2.ppf(0.9999, len(cells) - 1))


def filled(profits: list[float | None], *, capacity: int = 64, seed: int = 42, **rules: float) -> Buffer:
    """One experience per profit; a profit of .01 scores 1, losses and None score 0."""
    buffer = Buffer(capacity, seed=seed, rules=ReplayRules(**rules))
    for number, profit in enumerate(profits):
        buffer.add(experience(number, profit=profit))
    return buffer


def lost(number: int) -> RLExperience:
    """One that earned nothing and was no mistake."""
    plain = replace(experience(number), action=1)
    return plain.with_outcome(TrainingOutcome(actual_profit=0.0, optimal_action=1))


def ids(buffer: Buffer) -> list[int]:
    """Ids of the content, in order of slots."""
    return [int(id) for id in buffer._store.ids[: len(buffer)]]


def slots(buffer: Buffer, batch_size: int, prioritize: bool = True) -> tuple[int, ...]:
    return tuple(int(id) % buffer.capacity for id in buffer.sample_batch(batch_size, prioritize).ids)
