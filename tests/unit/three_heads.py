"""A network that is not Lockstep's, with three heads as a mapping. Its source travels, so it imports torch alone."""

from __future__ import annotations

import torch
from torch import nn


class ThreeHeads(nn.Module):
    """One hidden layer with batch norm, which has buffers, and dropout, which draws noise."""

    def __init__(self, channels: int, window: int, classes: int, *, hidden: int = 6) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(channels * window, hidden), nn.BatchNorm1d(hidden), nn.Tanh())
        self.drop = nn.Dropout(0.2)
        self.heads = nn.Linear(hidden, classes + 2)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        out = self.heads(self.drop(self.body(x)))
        return {"direction": out[:, :-2], "expected_return": out[:, -2], "confidence": out[:, -1]}
