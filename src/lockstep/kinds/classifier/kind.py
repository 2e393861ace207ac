"""`kind = "classifier"`: supervised training with PyTorch, as a run.

The same training as `train_pytorch_model`: with the same settings and samples, the same numbers. It is a gradient
training, recorded as `[recording]` says. The kind that trains through Keras is `classifier.keras`.
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
    """The PyTorch kind, as `runs.registry` has it."""

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
        """See `training.ClassifierRecipe`."""
        from lockstep.kinds.classifier.training import ClassifierRecipe

        return ClassifierRecipe()


KIND: Final[Kind] = ClassifierKind()
