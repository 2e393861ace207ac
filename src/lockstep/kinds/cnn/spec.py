"""The spec of `kind = "cnn"`: a network that predicts pivots or directions from windows. Every key and its rule."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from lockstep.kinds.shared.gradient_spec import Device, HeadWeightsTable, NetworkTable, OptimizerTable, RecordingTable
from lockstep.kinds.shared.market_spec import DataTable, MarketTable
from lockstep.kinds.shared.retraining import SessionTable
from lockstep.learning.patterns.data_module import SplitSettings
from lockstep.learning.patterns.labels import LabelSettings
from lockstep.learning.patterns.windows import DEFAULT_CHANNELS, WindowSettings
from lockstep.runs.spec import NOT_IDENTITY, RunSpec, SpecModel

_FRACTION: dict[str, Any] = {"unit": "fraction"}


class FeaturesTable(SpecModel):
    """`[features]`: what the network sees at a bar (`learning.patterns.windows`)."""

    channels: tuple[str, ...] = DEFAULT_CHANNELS
    window: int = Field(default=64, ge=2)
    """Bars, the decision bar last."""
    max_gap: int = Field(default=0, ge=0)
    """Bars that may be missing between two neighbours of a window or of a label's horizon."""
    clip: float = Field(default=8.0, gt=0.0)
    """Normalised values stay within this many standard deviations."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        self.settings()
        return self

    def settings(self) -> WindowSettings:
        """As the data module takes them."""
        return WindowSettings(channels=self.channels, window=self.window, max_gap=self.max_gap)


class LabelsTable(SpecModel):
    """`[labels]`: what is predicted (`learning.patterns.labels`)."""

    task: Literal["pivot", "direction"] = "pivot"
    horizon: int = Field(default=12, ge=1)
    """Bars from entry at the next open to the close that a return is measured at."""
    pivot_bars: int = Field(default=3, ge=1)
    """Bars on each side that a swing high or low stands out from."""
    threshold: float = Field(default=0.5, ge=0.0)
    """Of a direction, in standard deviations of the return over the horizon."""
    volatility_bars: int = Field(default=50, ge=2)
    """Bars that the standard deviation is of."""
    cost: float = Field(default=0.001, ge=0.0, lt=1.0, json_schema_extra=_FRACTION)
    """Round trip, fraction: a sample was profitable where the return, either way, is more."""
    target_profit: float = Field(default=0.01, gt=0.0, json_schema_extra=_FRACTION)
    """Net return that scores 1 (R9.9)."""

    def settings(self) -> LabelSettings:
        """As the data module takes them."""
        return LabelSettings(
            task=self.task,
            horizon=self.horizon,
            pivot_bars=self.pivot_bars,
            threshold=self.threshold,
            volatility_bars=self.volatility_bars,
        )


class SplitTable(SpecModel):
    """`[split]`: what is held out, at the end of the data (`learning.patterns.data_module`)."""

    validation: float = Field(default=0.15, gt=0.0, lt=1.0)
    """Share of the samples: chooses the epoch, the temperature, the logistic regression's strength."""
    test: float = Field(default=0.15, gt=0.0, lt=1.0)
    """Share of the samples: looked at once, by the network that was chosen."""
    embargo: int = Field(default=0, ge=0)
    """Bars between the parts beyond what purging asks for."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        self.settings()
        return self

    def settings(self) -> SplitSettings:
        """As the data module takes them."""
        return SplitSettings(validation=self.validation, test=self.test, embargo=self.embargo)


class CnnTrainingTable(OptimizerTable):
    """`[training]`: how the network is trained."""

    epochs: int = Field(default=10, ge=1)
    batch_size: int = Field(default=64, ge=1)
    patience: int | None = Field(default=None, ge=1)
    """Epochs without a lower validation loss after which the training ends; left out, it never ends early."""
    class_weights: Literal["balanced", "none"] | tuple[float, ...] = "none"
    """Of the classes in the classification loss; "balanced" makes every class of training rows count the same."""
    loss_weights: HeadWeightsTable = HeadWeightsTable()


class CnnSpec(RunSpec):
    """A network with three heads over one market's candles."""

    kind: Literal["cnn"] = "cnn"
    device: Device = "cpu"
    market: MarketTable = MarketTable()
    data: DataTable = Field(default=DataTable(), json_schema_extra=NOT_IDENTITY)
    features: FeaturesTable = FeaturesTable()
    labels: LabelsTable = LabelsTable()
    split: SplitTable = SplitTable()
    network: NetworkTable = NetworkTable()
    training: CnnTrainingTable = CnnTrainingTable()
    recording: RecordingTable = RecordingTable()
    session: SessionTable = SessionTable()
