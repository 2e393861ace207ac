"""Support and resistance: the levels that nearby swing extrema form (R2.1).

Notation: x_1 <= x_2 <= ... swing prices in ascending order, d the clustering distance (fraction).

    swing      a strict extremum against CONFIRM bars on each side, known CONFIRM bars later (market.indicators.swings)
    cluster    x_k joins the running cluster when x_k <= m (1 + d), m its mean so far, else it starts the next
    level      the mean of a cluster, with its number of touches

Clustering goes upwards for supports and for resistances alike, so a level does not depend on who asks.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

CONFIRM: Final = 2
"""Bars on either side that make an extremum a swing; it is known when the last of them has closed."""


def cluster_levels(prices: Iterable[float], min_distance: float) -> list[tuple[float, int]]:
    """(level, touches) of every cluster of swing prices, ascending."""
    levels: list[tuple[float, int]] = []
    total, count = 0.0, 0
    for price in sorted(prices):
        # x <= m (1 + d) with m = total / count, multiplied out: a division per swing would be the costliest step.
        if price * count <= total * (1.0 + min_distance):
            total, count = total + price, count + 1
            continue
        if count:
            levels.append((total / count, count))
        total, count = price, 1
    if count:
        levels.append((total / count, count))
    return levels
