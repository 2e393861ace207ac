"""The spec of `kind = "cnn-episodes"`: a network with three heads, trained on profitable episodes (R9.18)."""

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
from lockstep.kinds.shared.retraining import SessionTable
from lockstep.runs.spec import NOT_IDENTITY, RunSpec, SpecModel


class BookTable(SpecModel):
    """`[data]`: where the episodes are. Not in the fingerprint, which has the digest of those that are used."""

    source: Literal["folder", "python"] = "folder"
    """"python": an `EpisodeBook` from Python."""
    path: str | None = None
    """Folder of a book, relative to the spec file; default: `episodes` of the home."""


class EpisodesTable(SpecModel):
    """`[episodes]`: which episodes are trained on."""

    symbol: str = Field(min_length=1)
    min_profitability: float = Field(default=0.7, ge=0.0, le=1.0)
    """Least profitability score of a validated outcome."""
    max_episodes: int = Field(default=500, ge=1)
    """Number of episodes, those with the highest scores."""
    target: Literal["action", "pivot"] = "action"
    """The class to learn: the optimal action, or the pivot at the decision bar (high, neither, low)."""
    window: int | None = Field(default=None, ge=4)
    """Bars of a window; default: as many as the longest of these packages has. Shorter packages are left out."""


class ScalingTable(SpecModel):
    """`[scaling]`: mean and deviation of each feature; default: those of the episodes that are trained on."""

    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(self.mean) != len(self.deviation):
            raise ValueError(
                f"mean and deviation have one number per feature; found {len(self.mean)} and {len(self.deviation)}"
            )
        if any(not value > 0.0 for value in self.deviation):
            raise ValueError(f"a deviation is above 0; found {list(self.deviation)}")
        return self


class EpisodesTrainingTable(NetworkTrainingTable):
    """`[training]`: how the network is trained."""

    epochs: int = Field(default=5, ge=1)
    """Times that every episode is trained on."""
    batch_size: int = Field(default=32, ge=1)
    weights: HeadWeightsTable = HeadWeightsTable()


class EpisodesSpec(RunSpec):
    """A network with three heads, trained on the profitable episodes of one symbol."""

    kind: Literal["cnn-episodes"] = "cnn-episodes"
    device: Device = "cpu"
    data: BookTable = Field(default=BookTable(), json_schema_extra=NOT_IDENTITY)
    episodes: EpisodesTable
    scaling: ScalingTable = ScalingTable()
    network: NetworkTable = NetworkTable()
    training: EpisodesTrainingTable = EpisodesTrainingTable()
    recording: RecordingTable = RecordingTable()
    session: SessionTable = SessionTable()
