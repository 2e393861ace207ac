"""An agent as a user might write one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lockstep.learning.gradients.learner import Learner, Losses
from lockstep.learning.gradients.optim_state import OptimizerSettings
from lockstep.rl.agent import AgentUpdate
from lockstep.rl.experience import ExperienceBatch
from lockstep.runs.seeds import SeedTree
from lockstep.testing.contracts.agent import ACTIONS, INPUTS


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
        errors: list[Any] = []

        def compute(module: Any) -> Losses:
            values = module(torch.from_numpy(batch.states)).gather(1, torch.from_numpy(batch.actions)[:, None])[:, 0]
            errors.append(torch.from_numpy(batch.rewards).float() - values)
            loss = errors[0].square().mean()
            return Losses(total=loss, parts={"q": loss})

        update = self.learner.update(step, compute, learning_rate)
        return AgentUpdate(update=update, td_errors=errors[0].detach().numpy().astype(np.float64))

    def describe(self) -> Mapping[str, Any]:
        return {"algorithm": "linear"}

    def get_state(self) -> dict[str, Any]:
        return self.learner.get_state()

    def set_state(self, state: Mapping[str, Any]) -> None:
        self.learner.set_state(state)
