"""Both buffers keep the contract of replay buffers."""

from __future__ import annotations

from lockstep.rl import PrioritizedExperienceBuffer, ProfitWeightedExperienceBuffer
from lockstep.testing.contracts.replay_buffer import ReplayBufferContract


class TestProfitWeighted(ReplayBufferContract):
    def make(self, seed: int, capacity: int) -> ProfitWeightedExperienceBuffer:
        return ProfitWeightedExperienceBuffer(capacity, seed=seed)


class TestPrioritized(ReplayBufferContract):
    def make(self, seed: int, capacity: int) -> PrioritizedExperienceBuffer:
        return PrioritizedExperienceBuffer(capacity, seed=seed)
