"""`PatternNet`, the default PyTorch classifier: one branch per input, joined by a dense head.

    (C, L)     series     conv 32 - pool - dropout .3 - conv 64 - pool to about 4 places
    (C, H, W)  maps       the same in two dimensions
    (F,)       figures    dense 32 - dense 16
    all        joined     dense 128 - dropout .3 - one score per class

Only layers whose backward pass is deterministic on a GPU too: fixed pooling windows, no adaptive ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor, nn

from lockstep.core.errors import InputError

_DROPOUT: Final = 0.3
_PLACES: Final = 4


class PatternNet(nn.Module):
    """Scores (batch, classes) from named inputs.

    shapes   shape of one sample, by input
    classes  how many classes there are

    Raises InputError for a shape that no branch takes.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], classes: int) -> None:
        super().__init__()
        self.names = tuple(shapes)
        self.branches = nn.ModuleList([_branch(name, shape) for name, shape in shapes.items()])
        with torch.no_grad():
            width = sum(
                branch(torch.zeros(1, *shape)).shape[1]
                for branch, shape in zip(self.branches, shapes.values(), strict=True)
            )
        self.head = nn.Sequential(nn.Linear(width, 128), nn.ReLU(), nn.Dropout(_DROPOUT), nn.Linear(128, classes))

    def forward(self, *inputs: Tensor) -> Tensor:
        """Scores from one tensor per input, (batch, ...) each, in the order of `names`."""
        parts = [branch(x) for branch, x in zip(self.branches, inputs, strict=True)]
        scores: Tensor = self.head(torch.cat(parts, dim=1))
        return scores


def _branch(name: str, shape: tuple[int, ...]) -> nn.Module:
    if len(shape) == 1:
        return nn.Sequential(nn.Linear(shape[0], 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU())
    if len(shape) == 2:
        halved = shape[1] // 2
        _check_size(name, shape, halved)
        return nn.Sequential(
            nn.Conv1d(shape[0], 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool1d(2),
            nn.Dropout(_DROPOUT),
            nn.Conv1d(32, 64, 3, padding=1),
            nn.ReLU(),
            nn.AvgPool1d(_window(halved)),
            nn.Flatten(),
        )
    if len(shape) == 3:
        height, width = shape[1] // 2, shape[2] // 2
        _check_size(name, shape, min(height, width))
        return nn.Sequential(
            nn.Conv2d(shape[0], 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Dropout(_DROPOUT),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.ReLU(),
            nn.AvgPool2d((_window(height), _window(width))),
            nn.Flatten(),
        )
    raise InputError(
        f"input {name!r} has samples of shape {shape}; the default network takes figures (F,), series (C, L) and maps "
        "(C, H, W)"
    )


def _check_size(name: str, shape: tuple[int, ...], halved: int) -> None:
    if halved < 1:
        raise InputError(f"input {name!r} has samples of shape {shape}: series and maps need at least 2 places a side")


def _window(length: int) -> int:
    """Pooling window that leaves about _PLACES places."""
    return max(1, length // _PLACES)
