"""The model of `kind = "cnn-episodes"`: the network that the run left, over windows of features."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
import torch

from lockstep.core.errors import DataError
from lockstep.kinds.shared.models import Prediction, SampleModel, stored
from lockstep.kinds.shared.network_model import TrainedNetwork
from lockstep.learning.gradients.training import EMA_FILE, WEIGHTS_FILE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.kinds.cnn_episodes.plan import EpisodesPlan
    from lockstep.runs.folder import RunFolder

_CLASSES: Final = {"action": ("sell", "hold", "buy"), "pivot": ("high", "neither", "low")}


class EpisodesModel(SampleModel):
    """Windows of features, scaled as the run scaled its own, through the network after the last update.

    The weights are the averaged ones where the spec says that they count. The run holds nothing out, so it has no
    predictions of its own to compare with.
    """

    kind: ClassVar[str] = "cnn-episodes"

    def __init__(self, plan: EpisodesPlan, folder: RunFolder) -> None:
        super().__init__(folder)
        self.classes = _CLASSES[plan.spec.episodes.target]
        self._plan = plan
        name = EMA_FILE if plan.spec.training.averaged else WEIGHTS_FILE
        self._network = TrainedNetwork(
            plan.make_network(), stored(folder, name), seeds=plan.seeds.child("prediction"), device=plan.spec.device
        )

    @property
    def windows(self) -> NDArray[np.float32]:
        """The windows that the run learned from, float32 (n, bars, features), not scaled, best score first."""
        windows: NDArray[np.float32] = self._plan.pinned.arrays["windows"]
        return windows

    def predict(self, samples: Any) -> Prediction:
        """Class, probabilities, expected return (a fraction) and confidence of windows (n, bars, features).

        They hold the features that packages have (`package.cnn_features`), oldest bar first, not scaled. Raises
        DataError for another shape, or numbers that are not finite.
        """
        windows, pinned = np.asarray(samples), self._plan.pinned
        shape = (pinned.window, pinned.features)
        if windows.ndim != 3 or windows.shape[1:] != shape or windows.dtype.kind not in "biuf" or not len(windows):
            raise DataError(f"windows are numbers (n, {shape[0]}, {shape[1]}); found {windows.dtype} {windows.shape}")
        if not np.isfinite(windows).all():
            raise DataError("windows are finite; found NaN or infinity. Leave such windows out.")
        scaled = torch.tensor(self._plan.scaled(windows.astype(np.float32)), device=self._plan.spec.device)
        output = self._network.predictions(
            lambda rows: scaled[rows],
            np.arange(len(windows), dtype=np.int64),
            class_weights=None,
            return_scale=1.0,
            padded=True,
        )
        return Prediction(
            classes=self.classes,
            decided=output.decided,
            probabilities=output.probabilities(),
            expected_return=output.returns,
            confidence=output.confidence,
        )
