"""Train an agent in memory, update by update: add experiences, add their outcomes later, draw batches from both.

Nothing is recorded. A run (`faces.rl_trainer.RLTrainer.train_profit_weighted`) is recorded, resumed and replayed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lockstep.core.errors import InputError, RefusedError
from lockstep.learning.gradients.learner import BUFFER, WEIGHTS
from lockstep.learning.gradients.record import AgentLosses
from lockstep.learning.gradients.training_value import StepValues
from lockstep.rl.replay_buffer import ProfitWeightedExperienceBuffer
from lockstep.rl.training import BatchFacts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lockstep.rl.agent import Agent
    from lockstep.rl.experience import Outcome, RLExperience


@dataclass(frozen=True, kw_only=True, eq=False)
class LiveStep(AgentLosses):
    """One update in memory, with the attributes of a recorded one, `gradients.record.RLTrainingStep` (R9.26).

    step_id            "live:17"
    session_id         None
    losses             the total and its parts by name
    gradients          by parameter, as applied (after clipping); copies
    model_state        weights by parameter and buffers by name after the update; copies
    samples            int64 (n,), ids of the experiences
    td_errors          float64 (n,), before the update
    value              training value (`gradients.training_value`, eq. 1)
    """

    index: int
    losses: Mapping[str, float]
    learning_rate: float
    gradient_norm: float
    gradients: Mapping[str, NDArray[Any]]
    model_state: Mapping[str, NDArray[Any]]
    samples: NDArray[np.int64]
    td_errors: NDArray[np.float64]
    value: float
    mean_score: float
    profitable_share: float
    mean_reward: float
    session_id: None = None

    @property
    def step_id(self) -> str:
        """The text live:N, where N is the number of the update."""
        return f"live:{self.index}"


class LiveTrainer:
    """Updates an agent from a buffer, in memory.

    agent    any object that conforms to `rl.agent.Agent` (R9.41)
    buffer   default a `ProfitWeightedExperienceBuffer` of the default capacity with `seed`

    Raises InputError for an agent that lacks a method, or another buffer.
    """

    def __init__(self, agent: Agent, buffer: ProfitWeightedExperienceBuffer | None = None, *, seed: int = 42) -> None:
        lacking = [name for name in _MEMBERS if not hasattr(agent, name)]
        if lacking:
            raise InputError(
                f"a trainer takes an agent with {', '.join(_MEMBERS)} (lockstep.rl.agent.Agent); found "
                f"{type(agent).__name__}, which lacks {', '.join(lacking)}."
            )
        if buffer is not None and not isinstance(buffer, ProfitWeightedExperienceBuffer):
            raise InputError(
                f"a trainer's buffer is a ProfitWeightedExperienceBuffer; found {type(buffer).__name__}. Training from "
                'others is for a spec: kind = "replay-agent", [buffer] mode = "prioritized" or "uniform".'
            )
        self.agent = agent
        self.buffer = buffer if buffer is not None else ProfitWeightedExperienceBuffer(seed=seed)
        self._values = StepValues()
        self._updates = 0

    def add_experience(self, experience: RLExperience) -> int:
        """Store an experience; its outcome may follow. Returns its id."""
        return self.buffer.add(experience)

    def update_outcome(self, id: int, outcome: Outcome) -> bool:
        """Set the outcome of an experience, which changes its weight (R9.27). Returns whether it was still stored."""
        return self.buffer.update_outcome(id, outcome)

    def train_step(self, batch_size: int = 64, *, prioritize_profitable: bool = True) -> LiveStep:
        """Update once from a batch; its training counts rise and its td errors are stored.

        Raises RefusedError when the buffer is empty, or the gradient is not finite.
        """
        batch = self.buffer.sample_batch(batch_size, prioritize_profitable)
        if not len(batch):
            raise RefusedError("train_step learns from experiences; the buffer holds none. Add some first.")
        result = self.agent.update(self._updates, batch)
        update = result.update
        self.buffer.update_priorities(batch.ids, result.td_errors)
        facts = BatchFacts.of(batch)
        learner = self.agent.learner
        layout, arrays = learner.flat.layout, learner.get_state()
        buffers = {name[len(BUFFER) :]: array for name, array in arrays.items() if name.startswith(BUFFER)}
        step = LiveStep(
            index=self._updates,
            losses=update.losses,
            learning_rate=update.learning_rate,
            gradient_norm=update.gradient_norm,
            gradients=layout.named(learner.gradient().copy()),
            model_state=layout.named(arrays[WEIGHTS]) | buffers,
            samples=batch.ids,
            td_errors=result.td_errors,
            value=self._values.add(
                loss=update.losses["total"], gradient_norm=update.gradient_norm, profitability=facts.mean_score
            ),
            mean_score=facts.mean_score,
            profitable_share=facts.profitable_share,
            mean_reward=facts.mean_reward,
        )
        self._updates += 1
        return step


_MEMBERS = ("act", "describe", "explore", "get_state", "learner", "set_state", "update")
