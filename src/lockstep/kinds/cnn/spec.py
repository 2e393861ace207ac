"""The spec of `kind = "cnn"`: a network that predicts pivots or directions from windows. Every key and its rule."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from lockstep.kinds.shared.gradient_spec import (
    Device,
    HeadWeightsTable,
    NetworkTable,
    NetworkTrainingTable,
    RecordingTable,
)
from lockstep.kinds.shared.market_spec import FRACTION, DataTable, MarketTable
from lockstep.kinds.shared.retraining import SessionTable
from lockstep.learning.patterns.data_module import SplitSettings
from lockstep.learning.patterns.labels import LabelSettings
from lockstep.learning.patterns.windows import DEFAULT_CHANNELS, WindowSettings
from lockstep.runs.spec import NOT_IDENTITY, RunSpec, SpecModel


class FeaturesTable(SpecModel):
    """`[features]`: what the network sees at a bar (`learning.patterns.windows`)."""

    channels: tuple[str, ...] = DEFAULT_CHANNELS
    window: int = Field(default=64, ge=2)
    """Number of bars in a sample; the last is the decision bar."""
    max_gap: int = Field(default=0, ge=0)
    """Missing bars that are allowed between two neighbours of a window or of a label's horizon."""
    clip: float = Field(default=8.0, gt=0.0)
    """Limit of normalised values, standard deviations."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        self.settings()
        return self

    def settings(self) -> WindowSettings:
        """The window settings of the data module. Raises InputError for an unknown channel."""
        # The rules stand in that class, once, for Python and for specs.
        return WindowSettings(channels=self.channels, window=self.window, max_gap=self.max_gap)


class LabelsTable(SpecModel):
    """`[labels]`: what is predicted (`learning.patterns.labels`)."""

    task: Literal["pivot", "direction"] = "pivot"
    horizon: int = Field(default=12, ge=1)
    """Bars from entry at the next open to the close at which the return is measured."""
    pivot_bars: int = Field(default=3, ge=1)
    """Bars on each side that a swing high is above, or a swing low below."""
    threshold: float = Field(default=0.5, ge=0.0)
    """Least return of a direction, standard deviations of the return over the horizon."""
    volatility_bars: int = Field(default=50, ge=2)
    """Bars from which that standard deviation is estimated."""
    cost: float = Field(default=0.001, ge=0.0, lt=1.0, json_schema_extra=FRACTION)
    """Cost of a round trip, fraction: a sample is profitable when its return, long or short, is higher."""
    target_profit: float = Field(default=0.01, gt=0.0, json_schema_extra=FRACTION)
    """Net return that scores 1 (R9.9)."""

    def settings(self) -> LabelSettings:
        """The label settings of the data module."""
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
    """Share of the samples that choose epoch, temperature and the strength of the logistic regression."""
    test: float = Field(default=0.15, gt=0.0, lt=1.0)
    """Share of the samples that the chosen network predicts once, at the end."""
    embargo: int = Field(default=0, ge=0)
    """Bars between the parts, beyond those that are purged."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        # Makes the settings to have their rules checked now, with all other breaches of the spec.
        self.settings()
        return self

    def settings(self) -> SplitSettings:
        """The split settings of the data module. Raises InputError when no training part is left."""
        return SplitSettings(validation=self.validation, test=self.test, embargo=self.embargo)


class CnnTrainingTable(NetworkTrainingTable):
    """`[training]`: how the network is trained."""

    epochs: int = Field(default=10, ge=1)
    patience: int | None = Field(default=None, ge=1)
    """Epochs without a lower validation loss after which the training ends; default: it never ends early."""
    class_weights: Literal["balanced", "none"] | tuple[float, ...] = "none"
    """Weights of the classes in the classification loss; "balanced" gives every class the same total weight."""
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
