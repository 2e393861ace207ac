"""`Agent`: the interface of an agent that trains from a replay buffer. Two agents are built in.

    agent.explore(state, step, rng)     an action while gathering experience
    agent.act(states)                   the best actions it knows, for evaluation and for use
    agent.update(step, batch)           one optimiser update from a batch: losses, temporal-difference errors

Everything that an update changes lies in `agent.learner` (`gradients.learner.Learner`): parameters, optimiser, and as
buffers of the module the rest, such as target networks. So the digest of every step covers it, gradients can be
recorded and applied again without the agent's code, and a checkpoint is the learner's state. An agent that remembers
more adds it to `get_state`. `lockstep.testing.contracts.agent.AgentContract` checks all of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lockstep.learning.gradients.learner import Learner, Update
    from lockstep.rl.experience import ExperienceBatch

Q_LOSS: Final = "q"
"""Name of the part of the loss that is of action values."""
POLICY_LOSS: Final = "policy"
"""Name of the part of the loss that is of a policy; an agent without a policy has no such part."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AgentUpdate:
    """Report of one update.

    update     the learner's report
    td_errors  float64 (n,), of the batch's experiences before the update
    """

    update: Update
    td_errors: NDArray[np.float64]

    @property
    def q_loss(self) -> float:
        """Loss of the action values."""
        return self.update.losses[Q_LOSS]

    @property
    def policy_loss(self) -> float | None:
        """Loss of the policy; None for an agent without one, which acts by its action values."""
        return self.update.losses.get(POLICY_LOSS)


@runtime_checkable
class Agent(Protocol):
    """Interface of an agent. Steps and actions are numbered from 0."""

    @property
    def learner(self) -> Learner:
        """Networks and optimiser, everything that updates change."""
        ...

    def explore(self, state: NDArray[np.float32], step: int, rng: np.random.Generator) -> int:
        """An action in one state, before update `step`. All random numbers come from `rng`; no state changes."""
        ...

    def act(self, states: NDArray[np.float32]) -> NDArray[np.int64]:
        """The best actions (n,) in states (n, *shape). It draws nothing and changes nothing."""
        ...

    def update(self, step: int, batch: ExperienceBatch, learning_rate: float | None = None) -> AgentUpdate:
        """Update once from a batch, target networks included; the losses have a part `Q_LOSS`.

        step           number of the update, from 0
        learning_rate  rate of this update; None for the optimiser's own

        Raises RefusedError when the gradient is not finite.
        """
        ...

    def describe(self) -> Mapping[str, Any]:
        """Name and settings as JSON values, for the record."""
        ...

    def get_state(self) -> dict[str, Any]:
        """Everything that later actions and updates depend on."""
        ...

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore a state that `get_state` returned."""
        ...
