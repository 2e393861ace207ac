"""`kind = "replay-agent"`: an agent that trades one market, trained mainly on profitable experiences (R9.22)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from lockstep.kinds.replay_agent.spec import ALGORITHM_KEYS, ReplayAgentSpec
from lockstep.kinds.shared.gradient_kind import GradientKind
from lockstep.runs.kind import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lockstep.kinds.replay_agent.training import ReplayAgentRecipe
    from lockstep.learning.gradients.record import SessionRecord
    from lockstep.storage.blobs import BlobStore


class ReplayAgentKind(GradientKind):
    """The kind that `runs.registry` loads."""

    name: Final = "replay-agent"
    spec_model: Final = ReplayAgentSpec
    sample_keys: Final = (
        "market", "data", "costs", "environment", "buffer",
        "training.updates", "training.batch_size", "training.steps_per_update", "training.learning_starts",
        "validation.validation_share", "validation.test_share", "validation.purge_bars",
    )  # fmt: skip

    def recipe(self) -> ReplayAgentRecipe:
        """The recipe; its module loads torch."""
        from lockstep.kinds.replay_agent.training import ReplayAgentRecipe

        return ReplayAgentRecipe()

    def pin_samples(self, record: SessionRecord, steps: Sequence[int] | None, blobs: BlobStore) -> str:
        """Pin batches and experiences of `steps`, also of a retrained run; see `retraining.PinsSamples`."""
        return self.recipe().pin_samples(record, steps, blobs)

    def retrain_base(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> Mapping[str, Any]:
        """Another algorithm begins with its own defaults: it lacks keys of the old one."""
        if new["agent"]["algorithm"] == old["agent"]["algorithm"]:
            return old
        # Values that were defaults of the old algorithm stand in its resolved spec as if they had been chosen.
        agent = {name: value for name, value in old["agent"].items() if name not in ALGORITHM_KEYS}
        return {**old, "agent": agent}


KIND: Final[Kind] = ReplayAgentKind()
