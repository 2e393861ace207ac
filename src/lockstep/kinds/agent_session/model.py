"""The model of `kind = "agent-session"`: a built-in agent after its last update, acting in states of the user's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from lockstep.core.errors import DataError
from lockstep.episodes.outcomes import Action
from lockstep.kinds.shared.models import AgentDecisions, SampleModel, stored
from lockstep.learning.gradients import determinism
from lockstep.learning.gradients.training import WEIGHTS_FILE, load_model_arrays
from lockstep.rl.observations import observations
from lockstep.runs.numerics import pinned_threads

if TYPE_CHECKING:
    from lockstep.kinds.agent_session.plan import SessionPlan
    from lockstep.runs.folder import RunFolder


class SessionModel(SampleModel):
    """The best action that the agent knows in each state. The run evaluates nothing, so there is nothing to compare."""

    kind: ClassVar[str] = "agent-session"

    def __init__(self, plan: SessionPlan, folder: RunFolder) -> None:
        super().__init__(folder)
        self.classes = tuple(action.name.lower() for action in Action)
        self._agent = plan.agent
        self._shape = tuple(plan.pinned.state["buffer"]["store"]["state_shape"])
        load_model_arrays(self._agent.learner.module, stored(folder, WEIGHTS_FILE))

    def predict(self, samples: Any) -> AgentDecisions:
        """Actions (n,) in states (n, ...) of the form that the buffer has. Raises DataError, InputError for others."""
        states = observations(samples, "agent: states")
        if states.shape[1:] != self._shape or not len(states):
            raise DataError(f"states have the shape (n, {', '.join(map(str, self._shape))}); found {states.shape}")
        with determinism.settled(), pinned_threads():
            actions = self._agent.act(states)
        return AgentDecisions(actions=actions)
