"""`kind = "cnn-episodes"`: a network with three heads trained on profitable episodes, as a run (R9.18).

`CNNTrainer` trains through this kind too: with the same episodes, network and settings, the same numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lockstep.kinds.cnn_episodes.spec import EpisodesSpec
from lockstep.kinds.shared.gradient_kind import GradientKind
from lockstep.kinds.shared.retraining import BATCH_KEYS
from lockstep.runs.kind import Kind

if TYPE_CHECKING:
    from lockstep.kinds.cnn_episodes.training import EpisodesRecipe


class EpisodesKind(GradientKind):
    """The kind that `runs.registry` loads."""

    name: Final = "cnn-episodes"
    spec_model: Final = EpisodesSpec
    sample_keys: Final = ("data", "episodes", "scaling", *BATCH_KEYS)

    def recipe(self) -> EpisodesRecipe:
        """The recipe; its module loads torch."""
        from lockstep.kinds.cnn_episodes.training import EpisodesRecipe

        return EpisodesRecipe()


KIND: Final[Kind] = EpisodesKind()
