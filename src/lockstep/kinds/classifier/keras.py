"""`kind = "classifier-keras"`: supervised training through Keras 3, on torch or TensorFlow.

The same training as Keras' `train`: with the same settings and samples, the same numbers. Keras keeps its gradients to
itself: the journal has the digests of rows and weights at every step, and a step comes back by recomputation. So this
kind cannot be retrained on recorded batches either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lockstep.kinds.classifier.spec import KerasClassifierSpec
from lockstep.kinds.shared.gradient_kind import GradientKind
from lockstep.learning.supervised.keras_library import require_keras
from lockstep.runs.kind import Kind

if TYPE_CHECKING:
    from lockstep.kinds.classifier.keras_training import KerasRecipe


class KerasClassifierKind(GradientKind):
    """The Keras kind, as `runs.registry` has it."""

    name: Final = "classifier-keras"
    spec_model: Final = KerasClassifierSpec

    def needs(self) -> None:
        """Keras and a backend, which need not be torch."""
        require_keras()

    def recipe(self) -> KerasRecipe:
        """See `keras_training.KerasRecipe`."""
        from lockstep.kinds.classifier.keras_training import KerasRecipe

        return KerasRecipe()


KERAS_KIND: Final[Kind] = KerasClassifierKind()
