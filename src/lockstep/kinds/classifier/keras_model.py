"""The model of `kind = "classifier-keras"`: the network that the run tested, built anew with its stored weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from lockstep.kinds.classifier.model import LabelModel
from lockstep.kinds.shared.models import Prediction, stored
from lockstep.learning.supervised.keras_learner import load_weights, probabilities
from lockstep.learning.supervised.keras_trainer import MODEL_FILE
from lockstep.runs.numerics import pinned_threads

if TYPE_CHECKING:
    from lockstep.kinds.classifier.plan import SamplesPlan
    from lockstep.kinds.classifier.spec import KerasClassifierSpec
    from lockstep.runs.folder import RunFolder


class KerasModel(LabelModel):
    """Probabilities of the network after the last update."""

    kind: ClassVar[str] = "classifier-keras"

    def __init__(self, plan: SamplesPlan[KerasClassifierSpec], folder: RunFolder) -> None:
        super().__init__(plan, folder)
        stored(folder, MODEL_FILE)  # its bytes are those of the manifest; the library reads the file itself
        (shape,) = plan.parts.train.shapes.values()
        self._model = load_weights(folder.artifacts / MODEL_FILE, shape, len(self.classes))

    def predict(self, samples: Any) -> Prediction:
        """Class and probabilities of images (n, height, width, channels). Raises DataError for another form.

        `predict(model.samples("test"))` has the probabilities by which the run was tested, to the last bit on its
        numerics.
        """
        (images,) = self.converted(samples).inputs.values()
        with pinned_threads():
            chances = probabilities(self._model, images)
        return Prediction(classes=self.classes, decided=chances.argmax(axis=1), probabilities=chances)
