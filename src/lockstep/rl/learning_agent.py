"""`LearningAgent`, the base of the built-in agents: a module in a `Learner`, batches as tensors, greedy actions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import torch
from torch import nn

from lockstep.core.errors import InputError
from lockstep.learning.gradients import determinism
from lockstep.learning.gradients.learner import Learner, Losses
from lockstep.rl.agent import AgentUpdate
from lockstep.rl.networks import DTYPES, NetworkShape
from lockstep.rl.observations import require_single

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.learning.gradients.optim_state import OptimizerSettings
    from lockstep.rl.experience import ExperienceBatch
    from lockstep.runs.seeds import SeedTree


@dataclass(frozen=True, kw_only=True)
class AgentSettings:
    """Settings that both built-in agents have.

    gamma         discount of a reward one step later, 0 .. 1; use 1 only where every episode ends
    reward_scale  factor of rewards in the loss, > 0; take it from training rows only
    tau           share of the distance that target networks move, in (0, 1]
    target_every  updates between two moves of the target networks
    clip_norm     the gradient is scaled down to this norm; None never clips
    """

    gamma: float = 0.99
    reward_scale: float = 1.0
    tau: float = 1.0
    target_every: int = 1
    clip_norm: float | None = 10.0

    def __post_init__(self) -> None:
        """Raises InputError for a number outside its range."""
        if not 0.0 <= self.gamma <= 1.0:
            raise InputError(f"agent: gamma lies in 0 .. 1; found {self.gamma!r}")
        if not (self.reward_scale > 0.0 and math.isfinite(self.reward_scale)):
            raise InputError(f"agent: reward_scale is a finite number above 0; found {self.reward_scale!r}")

    def to_json(self) -> dict[str, Any]:
        """The fields by name, as JSON values for the record."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Rebuild settings from what `to_json` returned."""
        return cls(**value)


class Tensors(NamedTuple):
    """A batch on the device.

    states, next_states  (n, inputs)
    actions              int64 (n,)
    rewards              (n,), scaled
    going                (n,), 1 where the episode goes on, 0 where it ended
    weights              (n,), factor of each sample's loss
    """

    states: torch.Tensor
    actions: torch.Tensor
    rewards: torch.Tensor
    next_states: torch.Tensor
    going: torch.Tensor
    weights: torch.Tensor


class LearningAgent:
    """Base of the built-in agents; a subclass builds the module, implements `loss`, `values`, `explore`, `follow`."""

    name: str

    def __init__(
        self,
        module: nn.Module,
        shape: NetworkShape,
        settings: AgentSettings,
        optimizer: OptimizerSettings,
        *,
        seeds: SeedTree,
        device: str,
        importance_weights: bool,
    ) -> None:
        self.shape, self.settings, self.optimizer = shape, settings, optimizer
        self.importance_weights = importance_weights
        self._learner = Learner(module, optimizer, seeds=seeds, clip_norm=settings.clip_norm, device=device)
        self._dtype = DTYPES[shape.dtype]

    @property
    def learner(self) -> Learner:
        """Networks and optimiser, everything that updates change."""
        return self._learner

    def loss(self, batch: Tensors) -> tuple[Losses, torch.Tensor]:
        """Loss of a batch, and its td errors (n,) in units of scaled reward."""
        raise NotImplementedError

    def values(self, states: torch.Tensor) -> torch.Tensor:
        """Scores (n, actions); the best action is their argmax."""
        raise NotImplementedError

    def explore(self, state: NDArray[np.float32], step: int, rng: np.random.Generator) -> int:
        """An action in one state, see `Agent.explore`."""
        raise NotImplementedError

    def follow(self, step: int) -> None:
        """Move the target networks after update `step`."""
        raise NotImplementedError

    def update(self, step: int, batch: ExperienceBatch, learning_rate: float | None = None) -> AgentUpdate:
        """Update once, see `Agent.update`. Raises InputError for an empty batch or states of another size."""
        tensors = self.tensors(batch)
        errors: list[torch.Tensor] = []

        def compute(_: nn.Module) -> Losses:
            losses, td_errors = self.loss(tensors)
            errors.append(td_errors)
            return losses

        update = self._learner.update(step, compute, learning_rate)
        self.follow(step)
        return AgentUpdate(update=update, td_errors=errors[0].detach().cpu().numpy().astype(np.float64))

    def act(self, states: NDArray[np.float32]) -> NDArray[np.int64]:
        """The best actions (n,), see `Agent.act`; of equal values the lowest action."""
        return self.action_values(states).argmax(axis=1).astype(np.int64)

    def action_values(self, states: NDArray[np.float32]) -> NDArray[np.float64]:
        """Scores that `act` maximises, float64 (n, actions)."""
        determinism.settle()
        with torch.no_grad():
            values = self.values(self._features(states))
        return values.cpu().numpy().astype(np.float64)

    def tensors(self, batch: ExperienceBatch) -> Tensors:
        """Convert a batch to tensors on the device. Raises InputError for an empty one."""
        if not len(batch):
            raise InputError("agent: an update learns from at least one experience; found an empty batch")

        def number(array: NDArray[Any]) -> torch.Tensor:
            return torch.from_numpy(array).to(self._learner.device, self._dtype)

        # The weights of a profit-weighted draw say how likely it was drawn, not how much it should count.
        if self.importance_weights:
            weights = number(batch.weights)
        else:
            weights = torch.ones(len(batch), device=self._learner.device, dtype=self._dtype)
        return Tensors(
            states=self._features(batch.states),
            actions=torch.from_numpy(batch.actions).to(self._learner.device),
            rewards=number(batch.rewards * self.settings.reward_scale),
            next_states=self._features(batch.next_states),
            going=number(1.0 - batch.dones),
            weights=weights,
        )

    def _features(self, states: NDArray[np.float32]) -> torch.Tensor:
        rows = states.reshape(len(states), -1)
        if rows.shape[1] != self.shape.inputs:
            raise InputError(f"agent: a state has {self.shape.inputs} numbers here; found shape {states.shape[1:]}")
        if rows.dtype != np.float32 and self._dtype == torch.float32:
            require_single("agent: a state", rows)
        return torch.from_numpy(rows).to(self._learner.device, self._dtype)

    def describe(self) -> dict[str, Any]:
        """Name and settings as JSON values; `agents.rebuild` needs no more."""
        return {
            "algorithm": self.name,
            "shape": {**asdict(self.shape), "hidden": list(self.shape.hidden)},
            "settings": self.settings.to_json(),
            "optimizer": self.optimizer.to_json(),
            "importance_weights": self.importance_weights,
        }

    def get_state(self) -> dict[str, Any]:
        """The learner's state; the agent has no other."""
        return self._learner.get_state()

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore a state that `get_state` returned. Raises IntegrityError when it is another agent's."""
        self._learner.set_state(state)
