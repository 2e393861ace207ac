"""`kind = "agent-session"`: updates of an agent from a buffer that was filled elsewhere, as a run.

`faces.rl_trainer.RLTrainer.train_profit_weighted` starts such a run. The state of the agent and the whole buffer are
pinned by digest before the first update, so the run resumes, verifies and replays from its folder. An agent of the
user's trains and replays from its gradients too; it cannot be computed again, for the run does not have its code.

A retrained agent begins with the state that the old run began with when that fits it, else with weights of the seed.
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
    """The kind that `runs.registry` loads."""

    name: Final = "agent-session"
    spec_model: Final = AgentSessionSpec
    sample_keys: Final = ("symbol", "buffer", "training")

    def recipe(self) -> AgentSessionRecipe:
        """The recipe; its module loads torch."""
        from lockstep.kinds.agent_session.training import AgentSessionRecipe

        return AgentSessionRecipe()

    def pin_samples(self, record: SessionRecord, steps: Sequence[int] | None, blobs: BlobStore) -> str:
        """Pin batches and experiences of `steps`; see `retraining.PinsSamples`."""
        return self.recipe().pin_samples(record, steps, blobs)

    def retrain_base(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> Mapping[str, Any]:
        """Another algorithm has its own defaults, except for the settings that all algorithms share."""
        if new["agent"].get("algorithm") == old["agent"].get("algorithm"):
            return old
        settings = {name: old["agent"]["settings"][name] for name in ("gamma", "reward_scale", "clip_norm")}
        return {**old, "agent": {**old["agent"], "settings": settings}}


KIND: Final[Kind] = AgentSessionKind()
