"""A market with the same past and another future: what becomes known after a bar is replaced, or a part of it.

A future drawn like the past is seldom one that a veto waits for ("no entry before a fall of 3 %"). So there are futures
of other courses: they fall, rise, swing or stand still far beyond what any market of this volatility does, with the
volumes to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from lockstep.core.types import Float
from lockstep.market.candles import Candles
from lockstep.strategies.inputs import Events, Series, known_from
from lockstep.strategies.view import AlignedEvents, MarketView

PRICES: Final = "open, high, low, close"
VOLUME: Final = "volume"


_FAR_MOVES: Final = 30.0
_LEAST_FAR: Final = 0.1
_MOST_FAR: Final = 0.5
"""How far a course goes at once: so many usual moves, within these shares of the price."""
_STILL: Final = 1e-3
"""What is left of a usual move, and of a volume, where a future stands still."""


class Course(StrEnum):
    """What a replaced future does."""

    WALK = "walk"  # a random walk of at least twice the volatility, any volumes
    FALL = "fall"  # far down at once, then further; volumes beyond any before
    RISE = "rise"  # far up at once, then further; hardly any volume
    SWING = "swing"  # each bar far up or down; each volume great or small
    CALM = "calm"  # no move worth the name, hardly any volume


@dataclass(frozen=True, kw_only=True)
class Part:
    """What is replaced: bars up to `stop` (None: all later ones); of the columns and series, one (None: all).

    column   PRICES, VOLUME, or the name of an extra column
    series   a further series, by its identity in the view
    scale    times the usual moves of a walk; a large one also makes volumes small
    course   what it does
    """

    stop: int | None = None
    column: str | None = None
    series: int | None = None
    scale: float = 1.0
    course: Course = Course.WALK

    def has(self, column: str) -> bool:
        """Whether a column of the base candles is replaced."""
        return self.series is None and self.column in (None, column)


EVERYTHING: Final = Part()


def perturb_future(view: MarketView, point: int, generator: np.random.Generator, part: Part = EVERYTHING) -> MarketView:
    """`view` with what becomes known after the close of bar `point`, or a part, replaced by a seeded other path."""
    moment = int(view.candles.decision_time[point])
    stop = len(view) if part.stop is None else min(part.stop, len(view))
    candles = _other_future(view.candles, [(point + 1, stop)], generator, part)
    if part.series is None and (part.column is not None or part.stop is not None):
        return view.replaced(candles, lambda series: series)
    return view.replaced(
        candles,
        lambda series: (
            series if part.series not in (None, id(series)) else _other_series(series, moment, generator, part)
        ),
    )


def perturb_after(
    view: MarketView, points: Sequence[int], bars: int, generator: np.random.Generator, course: Course
) -> MarketView:
    """`view` with the `bars` bars after each of `points`, ascending and further apart than that, replaced."""
    spans = [(point + 1, min(point + 1 + bars, len(view))) for point in points]
    return view.replaced(_other_future(view.candles, spans, generator, Part(course=course)), lambda series: series)


def other_market(view: MarketView, generator: np.random.Generator) -> MarketView:
    """Bars of the same times as `view` has, of which no other value is the same, further series included."""
    candles = _other_future(view.candles, [(0, len(view))], generator, EVERYTHING)
    return view.replaced(candles, lambda series: _other_series(series, -1, generator, EVERYTHING))


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


def _other_series(series: Series, moment: int, generator: np.random.Generator, part: Part) -> Series:
    first = int(np.searchsorted(known_from(series), moment, side="right"))
    if isinstance(series, Candles):
        return _other_future(series, [(first, len(series))], generator, Part(course=part.course))
    columns = {name: np.array(values, dtype=np.float64) for name, values in series.columns.items()}
    for name, values in series.columns.items():
        columns[name][first:] = _other_values(values, len(series) - first, generator, part.course)
    return Events(timestamp=series.timestamp, columns=columns)


def _other_future(
    candles: Candles, spans: Sequence[tuple[int, int]], generator: np.random.Generator, part: Part
) -> Candles:
    """`candles` with the rows first .. stop - 1 of each span replaced, of the columns that the part has."""
    if part.series is not None or all(first >= stop for first, stop in spans):
        return candles
    n = len(candles)
    moves = np.diff(candles.close) / candles.close[:-1] if n > 1 else np.zeros(1)
    usual = max(2.0 * float(np.sqrt(np.mean(moves * moves))), 1e-3)
    most_volume = float(candles.volume.max()) or 1.0
    columns = {name: np.array(values) for name, values in candles.columns().items() if name != "timestamp"}
    for first, stop in spans:
        later = stop - first
        if part.has(PRICES):
            anchor = float(candles.close[first - 1]) if first else float(candles.open[0])
            prices = _path(anchor, usual, later, generator, part)
            for name, values in zip(("open", "high", "low", "close"), prices, strict=True):
                columns[name][first:stop] = values
        if part.has(VOLUME):
            columns["volume"][first:stop] = most_volume * _volumes(later, generator, part)
        for name, values in candles.extra.items():
            if part.has(name):
                columns[name][first:stop] = _other_values(values, later, generator, part.course)
    # Of the same times, so that every bar closes when it did.
    return candles.with_values(columns)


def _path(
    anchor: float, usual: float, bars: int, generator: np.random.Generator, part: Part
) -> tuple[Float, Float, Float, Float]:
    """Open, high, low and close of a future that starts at the price `anchor`, float64 (bars,) each."""
    scale = part.scale * usual
    far = min(max(_FAR_MOVES * usual, _LEAST_FAR), _MOST_FAR)
    number = np.arange(bars)
    if part.course is Course.WALK:
        steps = np.clip(scale * generator.standard_normal(bars), -0.5, 0.5)
        # Kept within a factor of the last known price, so that long futures neither vanish nor overflow.
        drift = np.clip(np.cumsum(steps), -4.0, 4.0)
        path = anchor * np.where(drift >= 0.0, 1.0 + drift, 1.0 / (1.0 + np.abs(drift)))
        opens = np.concatenate(([anchor], path[:-1])) * (
            1.0 + 0.5 * scale * generator.standard_normal(bars).clip(-1, 1)
        )
    elif part.course in (Course.FALL, Course.RISE):
        onwards = np.minimum(usual * (number + generator.random(bars)), 1.0)
        path = anchor * ((1.0 - far) / (1.0 + onwards) if part.course is Course.FALL else (1.0 + far) * (1.0 + onwards))
        # Opens far away too: a veto may look at the next open alone.
        opens = np.concatenate((path[:1], path[:-1]))
    elif part.course is Course.SWING:
        path = anchor * (1.0 + far * generator.choice((-1.0, 1.0), bars) * generator.uniform(0.5, 1.0, bars))
        opens = np.concatenate(([anchor], path[:-1]))
    else:
        scale = _STILL * usual
        path = anchor * (1.0 + scale * generator.uniform(-1.0, 1.0, bars))
        opens = np.concatenate(([anchor], path[:-1]))
    wick = scale * generator.random((2, bars))
    high, low = np.maximum(opens, path) * (1.0 + wick[0]), np.minimum(opens, path) * (1.0 - np.minimum(wick[1], 0.5))
    return opens, high, low, path


def _volumes(bars: int, generator: np.random.Generator, part: Part) -> Float:
    """Volumes of a future as shares of the greatest volume before, float64 (bars,)."""
    drawn = generator.random(bars)
    if part.course is Course.WALK:
        shares = drawn ** (2.0 * part.scale)
    elif part.course is Course.FALL:
        shares = 1.0 + drawn
    elif part.course is Course.SWING:
        shares = np.where(generator.random(bars) < 0.5, 1.0 + drawn, _STILL * drawn)
    else:
        shares = _STILL * drawn
    return shares


def _other_values(values: Float, bars: int, generator: np.random.Generator, course: Course) -> Float:
    """Other values of a column that may be anything, float64 (bars,)."""
    finite = values[np.isfinite(values)]
    # The standard deviation of equal values is rounding noise (0.01 two hundred times: 1.7e-18), which changes nothing.
    moving = finite.size > 0 and bool(finite.min() < finite.max())
    spread = float(finite.std()) if moving else 1.0
    middle = float(finite.mean()) if finite.size else 0.0
    far = {Course.FALL: -10.0, Course.RISE: 10.0}.get(course, 0.0)
    return middle + spread * (far + 2.0 * generator.standard_normal(bars))
