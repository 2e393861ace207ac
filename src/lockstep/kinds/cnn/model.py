"""The model of `kind = "cnn"`: the network that the run judged, over any candles of the same bar length."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from lockstep.core.errors import DataError, InputError
from lockstep.kinds.shared.models import CandleModel, Prediction, entries, side_of, stored
from lockstep.kinds.shared.network_model import TrainedNetwork
from lockstep.learning.patterns.task import bar_reader
from lockstep.learning.patterns.training import BEST_FILE
from lockstep.learning.patterns.windows import channel_series, require_finite, unbroken

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from lockstep.engine.signals import Signals
    from lockstep.kinds.cnn.plan import CnnPlan
    from lockstep.market.candles import Candles
    from lockstep.runs.folder import RunFolder


class CnnModel(CandleModel):
    """Windows that end at the decision bar, normalised as the run's training rows, through the judged network.

    classes   names of the classes: down, flat, up, or low, none, high
    horizon   bars from entry at the next open to the close at which the return that it learned ends
    """

    kind: ClassVar[str] = "cnn"

    def __init__(self, plan: CnnPlan, folder: RunFolder) -> None:
        super().__init__(folder)
        self.candles = plan.pinned.candles
        self.classes = plan.module.label_settings.classes
        self.horizon = plan.module.label_settings.horizon
        self._module, self._weights = plan.module, plan.class_weights()
        self._device = plan.spec.device
        # Up to the test part: what labels of the validation part read lies before it.
        first = int(self._module.bars("train")[0]) - self._module.windows.reach
        last = int(self._module.bars("test")[0]) - self._module.windows.reach - 1
        times = self.candles.timestamp
        self.learned = int(times[first]), int(times[last])
        self._network = TrainedNetwork(
            plan.make_network(), stored(folder, BEST_FILE), seeds=plan.seeds.child("prediction"), device=self._device
        )

    def bars(self, part: str) -> NDArray[np.int64]:
        """Decision bars of a part of the run's own candles: "train", "validation" or "test"."""
        if part not in ("train", "validation", "test"):
            raise InputError(f'a part is "train", "validation" or "test"; found {part!r}')
        return self._module.bars(part)

    def predict(self, candles: Candles, *, bars: NDArray[np.int64] | None = None) -> Prediction:
        """Class, probabilities, expected return and confidence at the close of each decision bar.

        bars   int64 (k,), the bars to predict at, as rows of the candles, rising; None: each that has a whole window

        `predict(model.candles, bars=model.bars("test"))` has the bytes of the run's own predictions.safetensors, on
        the numerics of the run. With None no number depends on a later bar, not by its last bit.

        Raises DataError for candles of another bar length, without a whole window, or with values that are no number;
        InputError for a bar that has no whole window.
        """
        self.require_own_bars(candles)
        windows = self._module.windows
        usable = np.flatnonzero(unbroken(candles, back=windows.reach, ahead=0, max_gap=windows.max_gap))
        rows = usable if bars is None else np.asarray(bars)
        if rows.ndim != 1 or rows.dtype != np.int64 or not np.isin(rows, usable).all():
            raise InputError(
                f"bars are int64 rows of the candles at which a window of {windows.reach + 1} bars is whole; found "
                f"{rows.dtype} {rows.shape}, of which {int(np.isin(rows, usable).sum())} have one."
            )
        if not len(rows):
            raise DataError(
                f"a prediction reads {windows.reach + 1} bars without a gap of more than {windows.max_gap} bars; none "
                f"of {len(candles):,} bars has them before it. Give more candles."
            )
        series = channel_series(candles, windows.channels)
        require_finite(series, rows, windows)
        output = self._network.predictions(
            bar_reader(self._module.statistics.normalised(series), windows.window, self._device),
            rows,
            class_weights=self._weights,
            return_scale=self._module.statistics.return_scale,
            padded=bars is None,
        )
        return Prediction(
            classes=self.classes,
            decided=output.decided,
            probabilities=output.probabilities(),
            expected_return=output.returns,
            confidence=output.confidence,
            bars=rows,
            timestamp=candles.timestamp[rows],
        )

    def signals(
        self, candles: Candles, *, sides: Mapping[str, int] | None = None, min_probability: float = 0.0
    ) -> Signals:
        """A signal where the named class is a side: up and a swing low are bought, down and a swing high sold.

        sides            class name -> 1 long, -1 short, 0 nothing, where another reading is wanted
        min_probability  least probability of the named class; below it there is no signal

        The time limit is the horizon, so a position ends where the return that was learned ends.
        """
        output = self.predict(candles)
        chance = output.probabilities[np.arange(len(output)), output.decided]
        held = np.where(chance >= min_probability, side_of(self.classes, sides)[output.decided], 0)
        bars = output.bars if output.bars is not None else np.empty(0, np.int64)
        return entries(held, bars, len(candles), self.horizon)
