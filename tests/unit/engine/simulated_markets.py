"""Simulations of seeded markets as bytes, to be compared between processes."""

from __future__ import annotations

import numpy as np
from tests.property.cases import random_case

from lockstep.core.canonical import dumps
from lockstep.engine.simulate import simulate


def simulated_bytes() -> bytes:
    """Trades, metrics and blocks of empty, one-bar and random markets, as this process computes them."""
    rng, lines = np.random.default_rng(5), []
    for n in (0, 1, 2, *range(3, 63)):
        case = random_case(rng, n)
        with np.errstate(all="ignore"):
            result = simulate(case.candles, case.signals, case.costs, case.execution)
        blocks = {"r1": result.blocks.r1.tolist(), "r2": result.blocks.r2.tolist()}
        lines += [dumps(result.to_dict()), dumps(blocks)]
    return b"\n".join(lines)
