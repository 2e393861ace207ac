"""Experiences, replay buffers and environments of agents; README.md is the guide. Importing it loads no torch."""

from lockstep.episodes.outcomes import Action
from lockstep.rl.buffer_statistics import AccountStatistics, BufferStatistics
from lockstep.rl.environment import SingleAssetEnvironment, StepResult
from lockstep.rl.experience import ExperienceBatch, Outcome, RLExperience
from lockstep.rl.prioritized import PrioritizedExperienceBuffer
from lockstep.rl.replay_buffer import ProfitWeightedExperienceBuffer, ReplayRules

__all__ = [
    "AccountStatistics",
    "Action",
    "BufferStatistics",
    "ExperienceBatch",
    "Outcome",
    "PrioritizedExperienceBuffer",
    "ProfitWeightedExperienceBuffer",
    "RLExperience",
    "ReplayRules",
    "SingleAssetEnvironment",
    "StepResult",
]
