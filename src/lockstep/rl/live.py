"""Training an agent in memory, update by update: experiences come in, outcomes follow, updates draw from both.

What is recorded, resumed and replayed is a run (`faces.rl_trainer.RLTrainer.train_profit_weighted`); this is the
part that needs no folder.
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
    """One update made in memory, under the names of a recorded one, `gradients.record.RLTrainingStep` (R9.26). It
    belongs to no run.

    step_id            "live:17"
    session_id         None
    losses             the total and its parts by name
    gradients          by parameter, as applied (after clipping); copies
    model_state        weights by parameter and buffers by name after the update; copies
    samples            int64 (n,), ids of the experiences
    td_errors          float64 (n,), before the update
    value              training value (`gradients.values`, eq. 1)
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
        """Its number among the updates made in memory."""
        return f"live:{self.index}"


class LiveTrainer:
    """An agent and its buffer.

    agent    anything that conforms to `rl.agent.Agent` (R9.41)
    buffer   left out, a `ProfitWeightedExperienceBuffer` of the default capacity with `seed`
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
        """Give an experience its outcome, which changes its priority (R9.27). Returns whether it was still here."""
        return self.buffer.update_outcome(id, outcome)

    def train_step(self, batch_size: int = 64, *, prioritize_profitable: bool = True) -> LiveStep:
        """One update from a batch; training counts rise, priorities follow the td errors.

        Raises RefusedError when the buffer is empty, or the gradient is not finite.
        """
        batch = self.buffer.sample_batch(batch_size, prioritize_profitable)
        if not len(batch):
            raise RefusedError("train_step learns from experiences; the buffer holds none. Add some first.")
        made = self.agent.update(self._updates, batch)
        self.buffer.update_priorities(batch.ids, made.td_errors)
        facts = BatchFacts.of(batch)
        learner = self.agent.learner
        layout, arrays = learner.flat.layout, learner.get_state()
        buffers = {name[len(BUFFER) :]: array for name, array in arrays.items() if name.startswith(BUFFER)}
        step = LiveStep(
            index=self._updates,
            losses=made.update.losses,
            learning_rate=made.update.learning_rate,
            gradient_norm=made.update.gradient_norm,
            gradients=layout.named(learner.gradient().copy()),
            model_state=layout.named(arrays[WEIGHTS]) | buffers,
            samples=batch.ids,
            td_errors=made.td_errors,
            value=self._values.add(
                loss=made.update.losses["total"],
                gradient_norm=made.update.gradient_norm,
                profitability=facts.mean_score,
            ),
            mean_score=facts.mean_score,
            profitable_share=facts.profitable_share,
            mean_reward=facts.mean_reward,
        )
        self._updates += 1
        return step


_MEMBERS = ("act", "describe", "explore", "get_state", "learner", "set_state", "update")
