"""The built-in network with three heads, and the trial of any such network before its run starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lockstep.core.errors import NetworkError
from lockstep.learning.gradients.determinism import noise
from lockstep.learning.patterns.networks import check_heads

if TYPE_CHECKING:
    import torch
    from torch import nn

    from lockstep.kinds.shared.network_code import NetworkCode
    from lockstep.runs.seeds import SeedTree

NETWORKS: Final = {"pattern-cnn": "lockstep.learning.patterns.networks:PatternCNN"}


def try_heads(
    code: NetworkCode, module: nn.Module, windows: torch.Tensor, *, classes: int, last: int, seeds: SeedTree
) -> None:
    """Put through a network every form of batch that its training will; the caller throws `module` away.

    windows   float32 (batch, channels, window)
    last      samples in the last batch of an epoch
    seeds     stream that dropout draws from

    Raises NetworkError.
    """
    # One window alone: a squeeze() that loses the batch, or a norm over one row, shows only there.
    for rows in (len(windows), 1):
        check_heads(code.call(module, windows[:rows]), batch=rows, classes=classes)
    # In training mode too: batch normalisation refuses one row only there.
    for rows in (len(windows), last):
        with noise(seeds):
            try:
                output = code.call(module, windows[:rows], train=True)
            except NetworkError as error:
                if rows == len(windows):
                    raise
                raise NetworkError(
                    f"{error} (the last batch of an epoch has {rows} of the training samples: choose another "
                    "training.batch_size)"
                ) from error
        heads = check_heads(output, batch=rows, classes=classes)
        if not any(head.requires_grad for head in heads):
            raise NetworkError(
                f"{code.name}: a head depends on a trained parameter; none does. Look for detach(), no_grad() or "
                "requires_grad_(False) in the network"
            )
