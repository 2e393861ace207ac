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
    """The kind, as `runs.registry` has it."""

    name: Final = "cnn"
    spec_model: Final = CnnSpec
    sample_keys: Final = ("market", "data", "features", "labels", "split", *BATCH_KEYS)

    def needs(self) -> None:
        """torch, and scikit-learn for the logistic regression that the network has to beat."""
        super().needs()
        baselines.numerics_entries()

    def recipe(self) -> CnnRecipe:
        """See `training.CnnRecipe`."""
        from lockstep.kinds.cnn.training import CnnRecipe

        return CnnRecipe()


KIND: Final[Kind] = CnnKind()
