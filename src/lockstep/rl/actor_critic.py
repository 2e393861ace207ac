"""Soft actor-critic for discrete actions: Christodoulou, "Soft actor-critic for discrete action settings",
arXiv:1910.07207 (2019), after Haarnoja et al., "Soft actor-critic algorithms and applications", arXiv:1812.05905.

Off-policy: experiences of any policy will do, so it learns from a replay buffer.

Notation
    pi       policy, softmax over the actions           Q_1, Q_2, Q_1-, Q_2-    two critics and their target networks
    alpha    temperature: what entropy is worth         H    target entropy, a share of log(number of actions)
    s a r s' d, c, w    as in `double_dqn`

    V(s') = sum_a pi(a|s') (min_k Q_k-(s', a) - alpha log pi(a|s'))                                                (1)
    y     = c r + gamma (1 - d) V(s'),   delta_k = y - Q_k(s, a)                                                   (2)
    L_Q   = mean of w (delta_1^2 + delta_2^2) / 2                                                                  (3)
    L_pi  = mean over s of sum_a pi(a|s) (alpha log pi(a|s) - min_k Q_k(s, a))          Q held fixed               (4)
    L_alpha = log alpha . mean over s of (entropy of pi(.|s) - H)                       pi held fixed              (5)

Loss parts: `q` = L_Q, `policy` = L_pi, `temperature` = L_alpha where alpha is learned. Their sum is descended in one
update: no part depends on another's parameters, and the optimisers offered treat every number by itself, so this is
three optimisers of one rate, with two differences: the policy sees the critics before their step, not after, and
clipping uses the norm of the whole gradient. (5) has log alpha in the place of alpha, as implementations do. The td
error of an experience is the mean of delta_1 and delta_2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch import nn

from lockstep.core.errors import InputError
from lockstep.learning.gradients import determinism
from lockstep.learning.gradients.learner import Losses
from lockstep.learning.gradients.optim_state import OptimizerSettings
from lockstep.rl.agent import POLICY_LOSS, Q_LOSS
from lockstep.rl.learning_agent import AgentSettings, LearningAgent, Tensors
from lockstep.rl.networks import DTYPES, Follower, NetworkShape, perceptron, target_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.runs.seeds import SeedTree

TEMPERATURE_LOSS: Final = "temperature"


@dataclass(frozen=True, kw_only=True)
class ActorCriticSettings(AgentSettings):
    """Settings of the actor-critic.

    temperature     alpha at the start, > 0
    target_entropy  H as a share of log(actions), in (0, 1); None keeps alpha constant
    """

    tau: float = 0.005
    temperature: float = 1.0
    target_entropy: float | None = 0.89

    def __post_init__(self) -> None:
        """Raises InputError for a number outside its range."""
        super().__post_init__()
        if not (self.temperature > 0.0 and math.isfinite(self.temperature)):
            raise InputError(f"agent: temperature is a finite number above 0; found {self.temperature!r}")
        if self.target_entropy is not None and not 0.0 < self.target_entropy < 1.0:
            raise InputError(
                f"agent: target_entropy is a share in (0, 1), or absent for a fixed one; found {self.target_entropy!r}"
            )


class ActorCriticModule(nn.Module):
    """`policy`, `critics`, and the `targets` of the critics.

    `log_temperature` (1,) is a parameter where alpha is learned, else a buffer.
    """

    log_temperature: torch.Tensor

    def __init__(self, shape: NetworkShape, *, temperature: float = 1.0, learned: bool = True) -> None:
        super().__init__()
        self.policy = perceptron(shape)
        self.critics = nn.ModuleList([perceptron(shape), perceptron(shape)])
        self.targets = nn.ModuleList([target_of(critic) for critic in self.critics])
        start = torch.full((1,), math.log(temperature), dtype=DTYPES[shape.dtype])
        if learned:
            self.log_temperature = nn.Parameter(start)
        else:
            self.register_buffer("log_temperature", start)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Logits of the policy (n, actions)."""
        logits: torch.Tensor = self.policy(states)
        return logits


class ActorCritic(LearningAgent):
    """The agent of equations (1) to (5).

    optimizer           default Adam with a learning rate of 3e-4
    seeds               node of the seed tree: first weights, and the noise of updates
    importance_weights  whether a batch's weights are w in (3)
    """

    name: Final = "actor_critic"
    settings: ActorCriticSettings

    def __init__(
        self,
        shape: NetworkShape,
        settings: ActorCriticSettings | None = None,
        optimizer: OptimizerSettings | None = None,
        *,
        seeds: SeedTree,
        device: str = "cpu",
        importance_weights: bool = False,
    ) -> None:
        settings = settings if settings is not None else ActorCriticSettings()
        with determinism.noise(seeds.child("init")):
            module = self.build(shape, settings)
        super().__init__(
            module,
            shape,
            settings,
            optimizer if optimizer is not None else OptimizerSettings(learning_rate=3e-4),
            seeds=seeds,
            device=device,
            importance_weights=importance_weights,
        )
        self._module = module
        pairs = list(zip(module.critics, module.targets, strict=True))
        self._follower = Follower(pairs, tau=settings.tau, every=settings.target_every)
        self._entropy = None if settings.target_entropy is None else settings.target_entropy * math.log(shape.actions)

    @staticmethod
    def build(shape: NetworkShape, settings: ActorCriticSettings) -> ActorCriticModule:
        """The module with unseeded weights: estimates build it on the meta device, where it has none."""
        return ActorCriticModule(shape, temperature=settings.temperature, learned=settings.target_entropy is not None)

    @property
    def temperature(self) -> float:
        """alpha, the worth of entropy in units of scaled reward."""
        return math.exp(float(self._module.log_temperature.detach()))

    def loss(self, batch: Tensors) -> tuple[Losses, torch.Tensor]:
        """Equations (1) to (5): the losses, and the mean td errors (n,)."""
        module = self._module
        first, second = module.critics
        alpha = module.log_temperature.detach().exp()
        with torch.no_grad():
            log_next = torch.log_softmax(module.policy(batch.next_states), dim=1)
            held = torch.minimum(*(target(batch.next_states) for target in module.targets))
            future = (log_next.exp() * (held - alpha * log_next)).sum(dim=1)
            bellman_target = batch.rewards + self.settings.gamma * batch.going * future
        values = first(batch.states), second(batch.states)
        taken = batch.actions.unsqueeze(1)
        errors = [bellman_target - value.gather(1, taken).squeeze(1) for value in values]
        q = (batch.weights * 0.5 * (errors[0].square() + errors[1].square())).mean()
        log_now = torch.log_softmax(module.policy(batch.states), dim=1)
        chances = log_now.exp()
        # Detached: (4) moves the policy towards actions that the critics value, never the critics.
        lower = torch.minimum(*values).detach()
        policy = (chances * (alpha * log_now - lower)).sum(dim=1).mean()
        parts = {Q_LOSS: q, POLICY_LOSS: policy}
        total = q + policy
        if self._entropy is not None:
            entropy = -(chances.detach() * log_now.detach()).sum(dim=1).mean()
            parts[TEMPERATURE_LOSS] = (module.log_temperature * (entropy - self._entropy)).sum()
            total = total + parts[TEMPERATURE_LOSS]
        return Losses(total=total, parts=parts), 0.5 * (errors[0] + errors[1])

    def values(self, states: torch.Tensor) -> torch.Tensor:
        """log pi(. | s), (n, actions): the most likely action is the best one."""
        return torch.log_softmax(self._module(states), dim=1)

    def explore(self, state: NDArray[np.float32], step: int, rng: np.random.Generator) -> int:
        """Draw an action from the policy, with one number of `rng`."""
        determinism.settle()
        with torch.no_grad():
            chances = torch.softmax(self._module(self._features(state[np.newaxis])), dim=1)[0].tolist()
        reached = 0.0
        draw = rng.random()
        for action, chance in enumerate(chances):
            reached += chance
            if draw < reached:
                return action
        return self.shape.actions - 1

    def follow(self, step: int) -> None:
        """Move the two target networks towards the critics."""
        self._follower.after(step)
