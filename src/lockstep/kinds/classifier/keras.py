"""`kind = "classifier-keras"`: supervised training through Keras 3, on torch or TensorFlow.

It computes what `keras_trainer` computes: the same settings and samples give the same numbers. Keras does not hand out
its gradients, so the journal has digests of rows and weights, a replay recomputes the steps, and a run cannot be
retrained.
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
    """The Keras kind that `runs.registry` loads."""

    name: Final = "classifier-keras"
    spec_model: Final = KerasClassifierSpec

    def needs(self) -> None:
        """Raises MissingLibraryError without Keras and a backend, which need not be torch."""
        # Not torch, as the base class asks: Keras may compute with TensorFlow alone.
        require_keras()

    def recipe(self) -> KerasRecipe:
        """The recipe; its module loads Keras and its backend."""
        from lockstep.kinds.classifier.keras_training import KerasRecipe

        return KerasRecipe()


KERAS_KIND: Final[Kind] = KerasClassifierKind()
