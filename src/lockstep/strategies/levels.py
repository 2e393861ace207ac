"""Support and resistance: the levels that nearby swing extrema form (SPEC 2.2).

Notation: x_1 <= x_2 <= ... swing prices in ascending order, d the clustering distance (fraction).

    swing      a strict extremum against CONFIRM bars on each side, known CONFIRM bars later (market.indicators.swings)
    cluster    x_k joins the running cluster with mean m when x_k - m <= d * m, else it starts the next
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
    total, count, mean = 0.0, 0, 0.0
    for price in sorted(prices):
        if count and price - mean <= min_distance * mean:
            total, count = total + price, count + 1
            mean = total / count
            continue
        if count:
            levels.append((mean, count))
        total, count, mean = price, 1, price
    if count:
        levels.append((mean, count))
    return levels
