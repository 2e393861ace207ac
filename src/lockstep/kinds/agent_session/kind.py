"""`kind = "agent-session"`: updates of an agent from a buffer that was filled elsewhere, as a run.

What `faces.rl_trainer.RLTrainer.train_profit_weighted` starts. The agent's state and the whole buffer are pinned by
digest before the first update, so the session resumes, verifies and replays from its folder alone. An agent that is
none of the built-in ones trains and replays from its gradients all the same; only computing it again needs its code,
which a run's folder does not have.

Retrained, an agent begins where the old run began if that state is one of its own, else with weights of the seed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from lockstep.kinds.agent_session.spec import AgentSessionSpec
from lockstep.kinds.shared.gradient_kind import GradientKind
from lockstep.runs.kind import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lockstep.kinds.agent_session.training import AgentSessionRecipe
    from lockstep.learning.gradients.record import SessionRecord
    from lockstep.storage.blobs import BlobStore


class AgentSessionKind(GradientKind):
    """The kind, as `runs.registry` has it."""

    name: Final = "agent-session"
    spec_model: Final = AgentSessionSpec
    sample_keys: Final = ("symbol", "buffer", "training")

    def recipe(self) -> AgentSessionRecipe:
        """See `training.AgentSessionRecipe`."""
        from lockstep.kinds.agent_session.training import AgentSessionRecipe

        return AgentSessionRecipe()

    def pin_samples(self, record: SessionRecord, steps: Sequence[int] | None, blobs: BlobStore) -> str:
        """See `retraining.PinsSamples`."""
        return self.recipe().pin_samples(record, steps, blobs)

    def retrain_base(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> Mapping[str, Any]:
        """Another algorithm begins with its own defaults, but for what all of them have."""
        if new["agent"].get("algorithm") == old["agent"].get("algorithm"):
            return old
        settings = {name: old["agent"]["settings"][name] for name in ("gamma", "reward_scale", "clip_norm")}
        return {**old, "agent": {**old["agent"], "settings": settings}}


KIND: Final[Kind] = AgentSessionKind()
