"""Small networks for the tests of CNNTrainer, ours and a user's."""

from __future__ import annotations

from typing import Any

import torch
from tests.unit.episodes.episode_markets import WINDOW
from tests.unit.three_heads import ThreeHeads

from lockstep.learning.patterns.networks import PatternCNN, PatternShape


def small(seed: int = 0) -> PatternCNN:
    torch.manual_seed(seed)
    return PatternCNN(PatternShape(window=WINDOW, filters=(4, 4, 4), hidden=6, batch_norm=True))


def mine(seed: int = 0, **parameters: Any) -> ThreeHeads:
    torch.manual_seed(seed)
    return ThreeHeads(8, WINDOW, 3, **parameters)


def state(module: torch.nn.Module) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in module.state_dict().items()}
