"""A market with the same past and another future: what becomes known after a bar is replaced, or a part of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from lockstep.market.candles import Candles
from lockstep.strategies.inputs import Events, Series, known_from
from lockstep.strategies.view import AlignedEvents, MarketView

if TYPE_CHECKING:
    from numpy.typing import NDArray

PRICES: Final = "open, high, low, close"
VOLUME: Final = "volume"


@dataclass(frozen=True, kw_only=True)
class Part:
    """What is replaced: bars up to `stop` (None: all later ones); of the columns and series, one (None: all).

    column   PRICES, VOLUME, or the name of an extra column
    series   a further series, by its identity in the view
    scale    times the usual moves; a large one also makes volumes small
    """

    stop: int | None = None
    column: str | None = None
    series: int | None = None
    scale: float = 1.0

    def has(self, column: str) -> bool:
        """Whether a column of the base candles is replaced."""
        return self.series is None and self.column in (None, column)


EVERYTHING: Final = Part()


def perturb_future(view: MarketView, point: int, generator: np.random.Generator, part: Part = EVERYTHING) -> MarketView:
    """`view` with what becomes known after the close of bar `point`, or a part, replaced by a seeded other path."""
    moment = int(view.candles.decision_time[point])
    stop = len(view) if part.stop is None else min(part.stop, len(view))
    candles = _other_future(view.candles, point + 1, stop, generator, part)
    if part.series is None and (part.column is not None or part.stop is not None):
        return view.replaced(candles, lambda series: series)
    return view.replaced(
        candles,
        lambda series: series if part.series not in (None, id(series)) else _other_series(series, moment, generator),
    )


def parts_of(view: MarketView, inputs: Iterable[str]) -> dict[str, Part]:
    """The parts of a market by name in words: prices, volume, extra columns, series that the caller supplied.

    inputs   names of the series that the strategy declares
    """
    parts = {name: Part(column=name) for name in (PRICES, VOLUME, *view.extra)}
    supplied: list[int] = []

    def noted(series: Series) -> Series:
        supplied.append(id(series))
        return series

    view.replaced(view.candles, noted)
    for name in inputs:
        aligned = view[name]
        series = aligned.events if isinstance(aligned, AlignedEvents) else aligned.bars
        # Bars of a longer timeframe that the base candles make are no part of their own.
        if id(series) in supplied:
            parts[f"series {name}"] = Part(series=id(series))
    return parts


def _other_series(series: Series, moment: int, generator: np.random.Generator) -> Series:
    first = int(np.searchsorted(known_from(series), moment, side="right"))
    if isinstance(series, Candles):
        return _other_future(series, first, len(series), generator, EVERYTHING)
    columns = {name: _other_values(values, first, len(series), generator) for name, values in series.columns.items()}
    return Events(timestamp=series.timestamp, columns=columns)


def _other_future(candles: Candles, first: int, stop: int, generator: np.random.Generator, part: Part) -> Candles:
    """`candles` with rows first .. stop - 1 replaced: a random walk of at least twice the volatility, other volumes."""
    n = len(candles)
    later = stop - first
    if later <= 0 or part.series is not None:
        return candles
    close = candles.close
    moves = np.diff(close) / close[:-1] if n > 1 else np.zeros(1)
    scale = part.scale * max(2.0 * float(np.sqrt(np.mean(moves * moves))), 1e-3)
    steps = np.clip(scale * generator.standard_normal(later), -0.5, 0.5)
    anchor = float(close[first - 1]) if first else float(candles.open[0])
    # Kept within a factor of the last known price, so that long futures neither vanish nor overflow.
    drift = np.clip(np.cumsum(steps), -4.0, 4.0)
    path = anchor * np.where(drift >= 0.0, 1.0 + drift, 1.0 / (1.0 + np.abs(drift)))
    opens = np.concatenate(([anchor], path[:-1])) * (1.0 + 0.5 * scale * generator.standard_normal(later).clip(-1, 1))
    wick = scale * generator.random((2, later))
    columns = {name: np.array(values) for name, values in candles.columns().items() if name != "timestamp"}
    if part.has(PRICES):
        columns["open"][first:stop] = opens
        columns["high"][first:stop] = np.maximum(opens, path) * (1.0 + wick[0])
        columns["low"][first:stop] = np.minimum(opens, path) * (1.0 - np.minimum(wick[1], 0.5))
        columns["close"][first:stop] = path
    if part.has(VOLUME):
        columns["volume"][first:stop] = (float(candles.volume.max()) or 1.0) * generator.random(later) ** (
            2.0 * part.scale
        )
    extra = {
        name: _other_values(values, first, stop, generator) if part.has(name) else values
        for name, values in candles.extra.items()
    }
    # Of the same times, so that every bar closes when it did.
    return candles.with_values({**columns, **extra})


def _other_values(
    values: NDArray[np.float64], first: int, stop: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    finite = values[np.isfinite(values)]
    # The standard deviation of equal values is rounding noise (0.01 two hundred times: 1.7e-18), which changes nothing.
    moving = finite.size > 0 and bool(finite.min() < finite.max())
    spread = float(finite.std()) if moving else 1.0
    middle = float(finite.mean()) if finite.size else 0.0
    changed = np.array(values, dtype=np.float64)
    changed[first:stop] = middle + 2.0 * spread * generator.standard_normal(stop - first)
    return changed
