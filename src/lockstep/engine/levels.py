"""Whether stops and targets are prices: a distance given for a price is the commonest mistake of a new strategy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from lockstep.core.errors import StrategyError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.engine.entries import EntryBatch
    from lockstep.engine.settings import Execution

LEAST_SHARE: Final = 0.05
"""A stop or target below this share of the close is taken for a distance."""


def check_levels(batch: EntryBatch, close: NDArray[np.float64], execution: Execution) -> None:
    """Raises StrategyError for a stop or target under 5 % of its bar's close, unless `allow_far_stops`.

    close   float64 (n,), of the market that the entries belong to
    """
    if execution.allow_far_stops:
        return
    for name, levels in (("stop", batch.stop), ("target", batch.target)):
        # NaN, no level at all, compares false.
        far = np.flatnonzero(levels < LEAST_SHARE * close[batch.bar])
        if far.size:
            bar, level = int(batch.bar[far[0]]), float(levels[far[0]])
            price = float(close[bar])
            side = -1 if (name == "stop") == (batch.side[far[0]] > 0) else 1
            raise StrategyError(
                f"signals: a {name} is a price; found {level!r} at bar {bar}, whose close is {price!r} "
                f"({far.size:,} in all). If {level:g} is a distance as a share of the price, give "
                f"{name}=view.close * {1 + side * 0.02:g} for 2 %; if it is meant as it stands, set "
                "[execution] allow_far_stops = true, in Python ls.Execution(allow_far_stops=True)"
            )
