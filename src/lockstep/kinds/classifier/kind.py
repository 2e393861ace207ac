"""`kind = "classifier"`: supervised training with PyTorch, as a run.

It computes what `train_pytorch_model` computes: the same settings and samples give the same numbers. `[recording]` says
what is recorded. The kind that trains through Keras is `classifier.keras`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lockstep.kinds.classifier.spec import ClassifierSpec
from lockstep.kinds.shared.gradient_kind import GradientKind
from lockstep.kinds.shared.retraining import BATCH_KEYS
from lockstep.runs.kind import Kind

if TYPE_CHECKING:
    from lockstep.kinds.classifier.training import ClassifierRecipe


class ClassifierKind(GradientKind):
    """The PyTorch kind that `runs.registry` loads."""

    name: Final = "classifier"
    spec_model: Final = ClassifierSpec
    sample_keys: Final = (
        "seed",  # draws the parts and makes the generated samples
        "data",
        "training.test_size",
        "training.validation_split",
        "training.split",
        "training.purge",
        *BATCH_KEYS,
    )

    def recipe(self) -> ClassifierRecipe:
        """The recipe; its module loads torch."""
        from lockstep.kinds.classifier.training import ClassifierRecipe

        return ClassifierRecipe()


KIND: Final[Kind] = ClassifierKind()
