"""The table [buffer], which every kind with a replay buffer has."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lockstep.runs.spec import SpecModel


class BufferTable(SpecModel):
    """`[buffer]`: how many experiences are held, and how batches are drawn (`rl.replay_buffer`, `rl.prioritized`)."""

    capacity: int = Field(default=100_000, ge=1)
    mode: Literal["profit", "prioritized", "uniform"] = "profit"
    """"profit": by the profit of an experience (R9.22); "prioritized": by its td error; "uniform": all alike."""
    profitable_share: float = Field(default=0.7, ge=0.0, le=1.0)
    """Share of a batch that is drawn from profitable experiences; mode "profit"."""
    floor: float = Field(default=0.05, gt=0.0)
    """Added to the score, so that every experience may be drawn; mode "profit"."""
    exponent: float = Field(default=0.6, ge=0.0, le=10.0)
    """Exponent of the score; mode "profit"."""
    count_penalty: float = Field(default=0.1, ge=0.0)
    """Weight of the number of earlier draws, which lower the chance; mode "profit"."""
    alpha: float = Field(default=0.6, ge=0.0, le=1.0)
    """Exponent of the td error: 0 draws all alike; mode "prioritized"."""
    beta: float = Field(default=0.4, ge=0.0, le=1.0)
    """Exponent of the importance weights at the beginning; it rises to 1; mode "prioritized"."""
