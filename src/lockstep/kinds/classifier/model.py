"""The model of `kind = "classifier"`: the network that the run tested, over any samples of the same form."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from lockstep.core.errors import DataError, InputError, IntegrityError
from lockstep.kinds.shared.models import Prediction, SampleModel, stored
from lockstep.kinds.shared.network_model import TrainedNetwork
from lockstep.learning.supervised.data import Samples, samples_of
from lockstep.learning.supervised.torch_task import probabilities
from lockstep.runs.sealed import listed_files

if TYPE_CHECKING:
    from lockstep.kinds.classifier.plan import ClassifierPlan, SamplesPlan
    from lockstep.runs.folder import RunFolder

_BEST, _LAST = "best_model.pt", "last_model.pt"


class LabelModel(SampleModel):
    """What the models of PyTorch and Keras share: samples in the form of those that the run learned from."""

    def __init__(self, plan: SamplesPlan[Any], folder: RunFolder) -> None:
        super().__init__(folder)
        self.classes = tuple(map(str, plan.parts.train.classes))
        self._parts = plan.parts

    def samples(self, part: str) -> Samples:
        """The run's own samples of a part, "train", "validation" or "test", with their labels.

        Raises InputError for a part that the run has not.
        """
        samples = getattr(self._parts, part, None) if part in ("train", "validation", "test") else None
        if samples is None:
            there = [name for name in ("train", "validation", "test") if getattr(self._parts, name) is not None]
            raise InputError(f"the parts of this run are {', '.join(there)}; found {part!r}")
        result: Samples = samples
        return result

    def converted(self, samples: Any) -> Samples:
        """Samples without labels in the form of the run's. Raises DataError for others."""
        if isinstance(samples, Samples):
            found = samples
        else:
            own = list(self._parts.train.inputs)
            inputs = dict(samples) if isinstance(samples, Mapping) else {own[0]: samples}
            rows = {name: len(array) if hasattr(array, "__len__") else 0 for name, array in inputs.items()}
            if inputs.keys() != set(own) or min(rows.values()) == 0:
                raise DataError(
                    f"samples are an array with a row per sample for each of the inputs {', '.join(own)}, as {{name: "
                    f"array}} where there are several; found {rows}"
                )
            labels = np.zeros(next(iter(rows.values())), np.int64)
            found = samples_of(({name: inputs[name] for name in own}, labels), classes=self.classes)
        if list(found.shapes.items()) != list(self._parts.train.shapes.items()):
            raise DataError(f"samples have the shapes {self._parts.train.shapes}; found {found.shapes}")
        return found


class ClassifierModel(LabelModel):
    """Scores of the tested network as probabilities."""

    kind: ClassVar[str] = "classifier"

    def __init__(self, plan: ClassifierPlan, folder: RunFolder) -> None:
        super().__init__(plan, folder)
        module, self._device = plan.make_network(), plan.spec.device
        # Without a whole epoch there is no best network: the last one was tested.
        name = _BEST if f"artifacts/{_BEST}" in listed_files(folder) else _LAST
        try:
            kept = torch.load(io.BytesIO(stored(folder, name)), weights_only=True, map_location="cpu")
            module.load_state_dict(kept["model_state_dict"])
        except (RuntimeError, KeyError, TypeError, ValueError, EOFError) as error:
            raise IntegrityError(f"{folder.artifacts / name}: no weights of this network ({error}).") from error
        # The stream of the run's own test.
        self._network = TrainedNetwork(module, None, seeds=plan.seeds.child("test"), device=self._device)

    def predict(self, samples: Any) -> Prediction:
        """Class and probabilities of samples: an array (n, ...), or arrays by name of the input.

        `predict(model.samples("test"))` has the probabilities by which the run was tested, to the last bit on its
        numerics. Raises DataError for samples of another form.
        """
        converted = self.converted(samples)
        with self._network.evaluating() as model:
            chances = probabilities(model, converted, self._device)
        return Prediction(classes=self.classes, decided=chances.argmax(axis=1), probabilities=chances)
