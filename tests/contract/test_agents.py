"""Agents against their contract: both built-in ones, and one that a user might write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from numpy.typing import NDArray

from lockstep.learning.gradients.learner import Learner, Losses
from lockstep.learning.gradients.optim_state import OptimizerSettings
from lockstep.rl.actor_critic import ActorCritic, ActorCriticSettings
from lockstep.rl.agent import Agent, AgentUpdate
from lockstep.rl.double_dqn import DoubleDQN, DoubleDQNSettings
from lockstep.rl.experience import ExperienceBatch
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


class LinearSarsa:
    """An agent of somebody else's: linear action values, no target network, a policy that remembers nothing."""

    def __init__(self, seed: int) -> None:
        module = torch.nn.Linear(INPUTS, ACTIONS)
        rng = np.random.Generator(np.random.Philox(key=seed))
        with torch.no_grad():
            module.weight.copy_(torch.from_numpy(rng.normal(size=(ACTIONS, INPUTS)).astype(np.float32)))
            module.bias.zero_()
        self.learner = Learner(module, OptimizerSettings(name="sgd", learning_rate=0.01), seeds=SeedTree(seed))

    def explore(self, state: NDArray[np.float32], step: int, rng: np.random.Generator) -> int:
        return int(rng.integers(0, ACTIONS))

    def act(self, states: NDArray[np.float32]) -> NDArray[np.int64]:
        with torch.no_grad():
            return self.learner.module(torch.from_numpy(states)).argmax(dim=1).numpy()

    def update(self, step: int, batch: ExperienceBatch, learning_rate: float | None = None) -> AgentUpdate:
        found: list[Any] = []

        def compute(module: Any) -> Losses:
            told = module(torch.from_numpy(batch.states)).gather(1, torch.from_numpy(batch.actions)[:, None])[:, 0]
            found.append(torch.from_numpy(batch.rewards).float() - told)
            loss = found[0].square().mean()
            return Losses(total=loss, parts={"q": loss})

        update = self.learner.update(step, compute, learning_rate)
        return AgentUpdate(update=update, td_errors=found[0].detach().numpy().astype(np.float64))

    def describe(self) -> Mapping[str, Any]:
        return {"algorithm": "linear"}

    def get_state(self) -> dict[str, Any]:
        return self.learner.get_state()

    def set_state(self, state: Mapping[str, Any]) -> None:
        self.learner.set_state(state)


class TestAnAgentOfSomebodyElse(AgentContract):
    """R9.41: an agent needs no base class of ours."""

    def make(self, seed: int) -> Agent:
        return LinearSarsa(seed)
