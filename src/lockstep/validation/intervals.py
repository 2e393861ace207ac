"""The interval of a mean advantage measured sample by sample, in order of time, where neighbours are not independent.

Sources: Kuensch, Annals of Statistics 17 (1989), and Politis, Romano (1992), circular block bootstrap. Why blocks are
so long, and why Student's t: docs/decisions/0042.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.runs.seeds import SeedTree

    Float = NDArray[np.float64]

DRAWS: Final = 2_000
LEAST_BLOCKS: Final = 8
"""With fewer independent blocks of samples an interval would say too little to claim anything by."""
_SPANS: Final = 3


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Mean advantage over a baseline per sample, positive where better, with a block-bootstrap interval of 95 %.

    low, high, standard_error are None where there are fewer than `LEAST_BLOCKS` blocks.
    """

    mean: float
    standard_error: float | None
    low: float | None
    high: float | None
    block: int

    @property
    def beats(self) -> bool:
        """Whether the whole interval is above 0; the only ground on which anything is claimed."""
        return self.low is not None and self.low > 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain values for result.json, `beats` among them."""
        return {
            "mean": self.mean,
            "standard_error": self.standard_error,
            "low": self.low,
            "high": self.high,
            "block": self.block,
            "beats": self.beats,
        }


def difference(advantage: Float, *, span: int, seeds: SeedTree, draws: int = DRAWS) -> Difference:
    """The mean of per-sample advantages float64 (n,), in order of time, and its interval of 95 %.

    Labels of neighbours share bars, so whole blocks are drawn from a circle, max(3 span, n^(1/3)) samples long. Overlap
    of `span` samples takes span / (3 block) off the variance that blocks show: a third where a block is one span long,
    a ninth here. n / block blocks estimate a variance as so many samples would, hence Student's t with one less.

    span   samples whose labels share a bar: the label's horizon + 1
    """
    from scipy.special import stdtrit

    n = len(advantage)
    block = max(_SPANS * span, math.ceil(round(n ** (1 / 3), 9)), 1)
    # Exact whatever the order, so that two machines agree on whether an advantage is above 0.
    centre = math.fsum(advantage) / n
    if n < LEAST_BLOCKS * block:
        return Difference(mean=centre, standard_error=None, low=None, high=None, block=block)
    pieces = -(-n // block)
    # Sums of all circular blocks by one running sum; the last block of a draw is cut to make n samples in all.
    running = np.concatenate(([0.0], np.cumsum(np.concatenate((advantage, advantage[: block - 1])))))
    starts = seeds.generator().integers(0, n, size=(draws, pieces))
    rest = n - block * (pieces - 1)
    totals = (running[starts[:, :-1] + block] - running[starts[:, :-1]]).sum(axis=1)
    totals += running[starts[:, -1] + rest] - running[starts[:, -1]]
    error = float((totals / n).std(ddof=1))
    reach = float(stdtrit(n / block - 1.0, 0.975)) * error
    return Difference(mean=centre, standard_error=error, low=centre - reach, high=centre + reach, block=block)
