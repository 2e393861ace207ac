"""The table [buffer] of every kind whose agent learns from a replay buffer."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lockstep.runs.spec import SpecModel


class BufferTable(SpecModel):
    """`[buffer]`: what is remembered, and how it is drawn (`rl.replay_buffer`, `rl.prioritized`)."""

    capacity: int = Field(default=100_000, ge=1)
    mode: Literal["profit", "prioritized", "uniform"] = "profit"
    """"profit": by what it turned out to earn (R9.22); "prioritized": by td error alone; "uniform": all alike."""
    profitable_share: float = Field(default=0.7, ge=0.0, le=1.0)
    """Share of a batch drawn from what turned out profitable; profit."""
    floor: float = Field(default=0.05, gt=0.0)
    """Added to the score; profit."""
    exponent: float = Field(default=0.6, ge=0.0, le=10.0)
    """How strongly the score counts; profit."""
    count_penalty: float = Field(default=0.1, ge=0.0)
    """How strongly earlier draws count against an experience; profit."""
    alpha: float = Field(default=0.6, ge=0.0, le=1.0)
    """How strongly the td error counts; prioritized."""
    beta: float = Field(default=0.4, ge=0.0, le=1.0)
    """How far the loss is corrected for it at the beginning; rises to 1; prioritized."""
