"""Agents against their contract: both built-in ones, and one that a user might write."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from tests.contract.linear_sarsa import LinearSarsa

from lockstep.rl.actor_critic import ActorCritic, ActorCriticSettings
from lockstep.rl.agent import Agent
from lockstep.rl.double_dqn import DoubleDQN, DoubleDQNSettings
from lockstep.rl.networks import NetworkShape
from lockstep.runs.seeds import SeedTree
from lockstep.testing.contracts.agent import ACTIONS, INPUTS, AgentContract

SHAPE = NetworkShape(inputs=INPUTS, actions=ACTIONS, hidden=(8,))


class TestDoubleDQN(AgentContract):
    """The target network is moved at every third update."""

    def make(self, seed: int) -> Agent:
        return DoubleDQN(SHAPE, DoubleDQNSettings(target_every=3), seeds=SeedTree(seed))


class TestActorCritic(AgentContract):
    def make(self, seed: int) -> Agent:
        return ActorCritic(SHAPE, seeds=SeedTree(seed))


class TestActorCriticOfFixedTemperature(AgentContract):
    def make(self, seed: int) -> Agent:
        settings = ActorCriticSettings(target_entropy=None, temperature=0.5, clip_norm=None)
        return ActorCritic(SHAPE, settings, seeds=SeedTree(seed))


class TestAnAgentOfSomebodyElse(AgentContract):
    """R9.41: an agent needs no base class of ours."""

    def make(self, seed: int) -> Agent:
        return LinearSarsa(seed)
