"""The built-in network with three heads, and the rehearsal of any such network before its run starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch

from lockstep.kinds.shared.rehearsal import Rehearsal, rehearse
from lockstep.learning.gradients.learner import full_precision
from lockstep.learning.patterns.networks import Heads, HeadWeights, as_heads, check_heads, pattern_loss

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from lockstep.kinds.shared.network_code import NetworkCode
    from lockstep.runs.seeds import SeedTree

NETWORKS: Final = {"pattern-cnn": "lockstep.learning.patterns.networks:PatternCNN"}


@dataclass(frozen=True, kw_only=True)
class PatternBatch:
    """Samples of a batch: windows float32 (batch, channels, window), classes int64 and returns float32 (batch,)."""

    windows: NDArray[np.float32]
    classes: NDArray[np.int64]
    returns: NDArray[np.float32]


def rehearse_heads(
    code: NetworkCode,
    make: Callable[[], nn.Module],
    batches: tuple[PatternBatch, PatternBatch],
    *,
    classes: int,
    seeds: SeedTree,
    weights: HeadWeights | None = None,
    class_weights: NDArray[np.float32] | None = None,
) -> None:
    """Rehearse a network with three heads.

    make      makes the network as its training begins with it
    batches   the first of an epoch, and its last
    seeds     stream that dropout draws from

    Raises NetworkError, InputError.
    """
    targets = [(torch.tensor(batch.classes), torch.tensor(batch.returns)) for batch in batches]
    scale = None if class_weights is None else torch.tensor(class_weights)

    def check(output: object, rows: int) -> None:
        check_heads(output, batch=rows, classes=classes)

    def loss(output: object, number: int) -> torch.Tensor:
        heads = Heads(*(full_precision(head) for head in as_heads(output)))
        return pattern_loss(heads, *targets[number], weights=weights, class_weights=scale).total

    first, last = ((torch.tensor(batch.windows),) for batch in batches)
    rehearse(code, make, Rehearsal(batches=(first, last), check=check, tensors=as_heads, loss=loss), seeds)
