"""`Agent`: what trains from a replay buffer. Two are built in; any object that conforms can be trained as well.

    agent.explore(state, step, rng)     an action while gathering experience
    agent.act(states)                   the best actions it knows, for judging and for use
    agent.update(step, batch)           one optimiser update from a batch: losses, temporal-difference errors

Whatever an update changes lies in `agent.learner` (`learning.learner.Learner`): parameters, optimiser, and as buffers
of the module everything else, target networks above all. So the state digest of every step covers it, gradients are
recorded and applied again without the agent's code, and a checkpoint is the learner's state. An agent that remembers
more puts it into `get_state`. `lockstep.testing.contracts.agent.AgentContract` checks all of it.
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
"""Name of the loss part of action values."""
POLICY_LOSS: Final = "policy"
"""Name of the loss part of a policy; an agent without one has no such part."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AgentUpdate:
    """One update. `update` is the learner's; `td_errors` float64 (n,) are those of the batch before the update."""

    update: Update
    td_errors: NDArray[np.float64]

    @property
    def q_loss(self) -> float:
        """Loss of the action values."""
        return self.update.losses[Q_LOSS]

    @property
    def policy_loss(self) -> float | None:
        """Loss of the policy; None for an agent that has none (it acts by its action values)."""
        return self.update.losses.get(POLICY_LOSS)


@runtime_checkable
class Agent(Protocol):
    """See the module's docstring. Steps are counted from 0; actions are numbered from 0."""

    @property
    def learner(self) -> Learner:
        """Networks and optimiser."""
        ...

    def explore(self, state: NDArray[np.float32], step: int, rng: np.random.Generator) -> int:
        """An action in one state, before update `step`. All chance comes from `rng`; nothing is remembered."""
        ...

    def act(self, states: NDArray[np.float32]) -> NDArray[np.int64]:
        """The best actions (n,) in states (n, *shape). No chance, nothing changes."""
        ...

    def update(self, step: int, batch: ExperienceBatch, learning_rate: float | None = None) -> AgentUpdate:
        """Update number `step` from a batch, target networks included; the losses hold a part `Q_LOSS`.

        `learning_rate` is that of this update, None for the optimiser's own.

        Raises RefusedError when the gradient is not finite.
        """
        ...

    def describe(self) -> Mapping[str, Any]:
        """Name and settings as canonical JSON, for the record."""
        ...

    def get_state(self) -> dict[str, Any]:
        """Everything that later actions and updates depend on."""
        ...

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go to a state of `get_state`."""
        ...
