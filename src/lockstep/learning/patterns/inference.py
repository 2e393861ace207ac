"""The three heads of a trained network for windows by number, in evaluation mode: for a run's own judgement and after.

Rows go through the network `ROWS` at a time. How many go together may decide the last bit of a matrix product. So the
judgement of a run takes its rows from the first on, as does whoever wants its very numbers; `padded` fills the last
piece up, so that no number depends on how many rows follow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from lockstep.core.errors import NetworkError
from lockstep.learning.gradients.user_failures import failures_of
from lockstep.learning.patterns.networks import Heads, heads_of
from lockstep.learning.patterns.scores import Predictions

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from lockstep.learning.patterns.task import Reader

ROWS: Final = 1_024
"""Windows per forward pass of an evaluation: bounds its memory."""


def evaluated_heads(
    model: nn.Module, read: Reader, rows: NDArray[np.int64], place: str, *, device: str = "cpu", padded: bool = False
) -> Heads:
    """The heads of `model`, which is in evaluation mode, for rows int64 (n,); an error names `place`.

    Raises NetworkError when one is not finite: no comparison with NaN is true, so no class could be named.
    """
    pieces = []
    with torch.no_grad(), failures_of(model, place):
        for start in range(0, len(rows), ROWS):
            piece = rows[start : start + ROWS]
            count = len(piece)
            if padded and count < ROWS:
                piece = np.concatenate([piece, np.full(ROWS - count, piece[-1])])
            heads = heads_of(model, read(torch.from_numpy(piece).to(device)))
            pieces.append(Heads(*(head[:count] for head in heads)))
    heads = Heads(*(torch.cat(head) for head in zip(*pieces, strict=True)))
    for name, head in zip(Heads._fields, heads, strict=True):
        if not bool((finite := torch.isfinite(head)).all()):
            row = int(finite.reshape(len(rows), -1).all(dim=1).int().argmin())
            raise NetworkError(
                f"{place}: the head {name} is finite; for bar {rows[row]:,} it is NaN or infinite. Lower the "
                "learning rate, set clip_norm, or look at what your network divides by in evaluation mode."
            )
    return heads


def predictions_of(heads: Heads, *, class_weights: NDArray[np.float32] | None, return_scale: float) -> Predictions:
    """Heads as predictions: returns as fractions, probabilities without the class weights of the training."""
    logits, returns, confidence = (head.detach().cpu().numpy().astype(np.float64) for head in heads)
    return Predictions(
        logits=logits,
        decided=logits.argmax(axis=1),
        weights=class_weights,
        returns=returns * return_scale,
        confidence=confidence,
    )
