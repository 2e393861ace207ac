"""`kind = "cnn"`: a network with three heads that predicts pivots or directions of one market."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lockstep.kinds.cnn.spec import CnnSpec
from lockstep.kinds.shared.gradient_kind import GradientKind
from lockstep.kinds.shared.retraining import BATCH_KEYS
from lockstep.learning.patterns import baselines
from lockstep.runs.kind import Kind

if TYPE_CHECKING:
    from lockstep.kinds.cnn.training import CnnRecipe


class CnnKind(GradientKind):
    """The kind that `runs.registry` loads."""

    name: Final = "cnn"
    spec_model: Final = CnnSpec
    sample_keys: Final = ("market", "data", "features", "labels", "split", *BATCH_KEYS)

    def needs(self) -> None:
        """Raises MissingLibraryError without torch or scikit-learn, whose logistic regression is a baseline."""
        super().needs()
        # Asked before the training: after an hour of it a missing baseline would leave no result.
        baselines.numerics_entries()

    def recipe(self) -> CnnRecipe:
        """The recipe; its module loads torch."""
        from lockstep.kinds.cnn.training import CnnRecipe

        return CnnRecipe()


KIND: Final[Kind] = CnnKind()
