"""A network with three heads tried before its run starts, in every form of batch that the run will hand it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lockstep.core.errors import NetworkError

if TYPE_CHECKING:
    import torch
    from torch import nn

    from lockstep.kinds.shared.network_code import NetworkCode
    from lockstep.runs.seeds import SeedTree


def try_network(
    code: NetworkCode, module: nn.Module, windows: torch.Tensor, *, classes: int, last: int, seeds: SeedTree
) -> None:
    """Evaluated on `windows` (batch, channels, window) and on one of them; trained on them and on `last` of them, which
    is what an epoch's last batch has. `module` is thrown away afterwards. Raises NetworkError.
    """
    from lockstep.learning.gradients.determinism import noise
    from lockstep.learning.patterns.networks import check_heads

    for rows in (len(windows), 1):
        check_heads(code.call(module, windows[:rows]), batch=rows, classes=classes)
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
