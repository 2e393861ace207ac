"""The built-in agents by name, and `rebuild`, which turns a description into an agent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from lockstep.core.errors import UnknownNameError
from lockstep.learning.gradients.optim_state import OptimizerSettings
from lockstep.rl.actor_critic import ActorCritic, ActorCriticSettings
from lockstep.rl.double_dqn import DoubleDQN, DoubleDQNSettings
from lockstep.rl.networks import NetworkShape

if TYPE_CHECKING:
    from lockstep.rl.learning_agent import LearningAgent
    from lockstep.runs.seeds import SeedTree

AGENTS: Final[Mapping[str, tuple[Any, Any]]] = {
    DoubleDQN.name: (DoubleDQN, DoubleDQNSettings),
    ActorCritic.name: (ActorCritic, ActorCriticSettings),
}
"""Class of each built-in agent, and class of its settings."""


def rebuild(description: Mapping[str, Any], *, seeds: SeedTree, device: str = "cpu") -> LearningAgent:
    """Build the agent that `describe()` described, with first weights from `seeds`. Raises UnknownNameError."""
    name = description["algorithm"]
    if name not in AGENTS:
        raise UnknownNameError(
            f"the built-in agents are {', '.join(AGENTS)}; found {name!r}. An agent of your own is trained from "
            "Python: lockstep.faces.rl_trainer.RLTrainer(agent)."
        )
    agent_class, settings = AGENTS[name]
    shape = description["shape"]
    agent: LearningAgent = agent_class(
        NetworkShape(**{**shape, "hidden": tuple(shape["hidden"])}),
        settings.from_json(description["settings"]),
        OptimizerSettings.from_json(description["optimizer"]),
        seeds=seeds,
        device=device,
        importance_weights=description["importance_weights"],
    )
    return agent
