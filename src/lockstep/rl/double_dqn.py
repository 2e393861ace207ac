"""Double deep Q-learning: van Hasselt, Guez, Silver, "Deep reinforcement learning with double Q-learning", AAAI 2016.

Notation
    Q, Q-    the network that learns, and its target network        w    weight of a sample in the loss (1 unless
    s a r s' d   an experience; d is 1 where the episode ended            the buffer is a prioritised one)
    c        reward scale                                           step number of updates before

    y     = c r + gamma (1 - d) Q-(s', argmax_a Q(s', a))           the network chooses, the target values         (1)
    delta = y - Q(s, a)                                                                                            (2)
    L     = mean of w h(delta),  h(x) = x^2 / 2 for |x| <= 1, else |x| - 1/2                                       (3)
    epsilon(step) = from max(start + (end - start) step / decay, end)                                              (4)

The only loss part is `q` = L: a DQN has no policy, it acts by its values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from lockstep.core.errors import InputError
from lockstep.learning.gradients import determinism
from lockstep.learning.gradients.learner import Losses
from lockstep.learning.gradients.optim_state import OptimizerSettings
from lockstep.rl.agent import Q_LOSS
from lockstep.rl.learning_agent import AgentSettings, LearningAgent, Tensors
from lockstep.rl.networks import Follower, NetworkShape, perceptron, target_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.runs.seeds import SeedTree


@dataclass(frozen=True, kw_only=True)
class DoubleDQNSettings(AgentSettings):
    """Settings of a double DQN; `epsilon_start`, `epsilon_end` and `epsilon_updates` are start, end, decay of (4)."""

    target_every: int = 500
    epsilon_start: float = 1.0
    epsilon_end: float = 0.05
    epsilon_updates: int = 5_000

    def __post_init__(self) -> None:
        """Raises InputError for a number outside its range."""
        super().__post_init__()
        if not 0.0 <= self.epsilon_end <= self.epsilon_start <= 1.0 or self.epsilon_updates < 1:
            raise InputError(
                "agent: epsilon falls from a start to an end within 0 .. 1, over at least 1 update; found "
                f"{self.epsilon_start!r}, {self.epsilon_end!r}, {self.epsilon_updates!r}"
            )

    def epsilon(self, step: int) -> float:
        """Share of random actions before update `step`, equation (4)."""
        fall = (self.epsilon_end - self.epsilon_start) * step / self.epsilon_updates
        return max(self.epsilon_start + fall, self.epsilon_end)


class DoubleDQNModule(nn.Module):
    """`online` learns and `target` follows it; the parameters of `target` are buffers (`networks`)."""

    def __init__(self, shape: NetworkShape) -> None:
        super().__init__()
        self.online = perceptron(shape)
        self.target = target_of(self.online)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Action values (n, actions) of the network that learns."""
        values: torch.Tensor = self.online(states)
        return values


class DoubleDQN(LearningAgent):
    """The agent of equations (1) to (4).

    optimizer           default Adam with a learning rate of 1e-4
    seeds               node of the seed tree: first weights, and the noise of updates
    importance_weights  whether a batch's weights are w in (3)
    """

    name: Final = "double_dqn"
    settings: DoubleDQNSettings

    def __init__(
        self,
        shape: NetworkShape,
        settings: DoubleDQNSettings | None = None,
        optimizer: OptimizerSettings | None = None,
        *,
        seeds: SeedTree,
        device: str = "cpu",
        importance_weights: bool = False,
    ) -> None:
        settings = settings if settings is not None else DoubleDQNSettings()
        with determinism.noise(seeds.child("init")):
            module = self.build(shape)
        super().__init__(
            module,
            shape,
            settings,
            optimizer if optimizer is not None else OptimizerSettings(learning_rate=1e-4),
            seeds=seeds,
            device=device,
            importance_weights=importance_weights,
        )
        self._module = module
        self._follower = Follower([(module.online, module.target)], tau=settings.tau, every=settings.target_every)

    @staticmethod
    def build(shape: NetworkShape) -> DoubleDQNModule:
        """The module with unseeded weights: estimates build it on the meta device, where it has none."""
        return DoubleDQNModule(shape)

    def loss(self, batch: Tensors) -> tuple[Losses, torch.Tensor]:
        """Equations (1) to (3): the loss, and the td errors (n,)."""
        module = self._module
        with torch.no_grad():
            best = module.online(batch.next_states).argmax(dim=1, keepdim=True)
            future = module.target(batch.next_states).gather(1, best).squeeze(1)
            target = batch.rewards + self.settings.gamma * batch.going * future
        value = module.online(batch.states).gather(1, batch.actions.unsqueeze(1)).squeeze(1)
        q = (batch.weights * functional.smooth_l1_loss(value, target, reduction="none")).mean()
        return Losses(total=q, parts={Q_LOSS: q}), target - value

    def values(self, states: torch.Tensor) -> torch.Tensor:
        """Q(s, .), (n, actions), of the network that learns."""
        return self._module(states)

    def explore(self, state: NDArray[np.float32], step: int, rng: np.random.Generator) -> int:
        """Epsilon-greedy by (4). It always draws two numbers, so later draws do not depend on which action it took."""
        chance, draw = rng.random(2).tolist()
        if chance < self.settings.epsilon(step):
            return min(int(draw * self.shape.actions), self.shape.actions - 1)
        return int(self.act(state[np.newaxis])[0])

    def follow(self, step: int) -> None:
        """Move the target network, where an update of its interval is due."""
        self._follower.after(step)
