"""At which bars a strategy is asked: where it decides, where a gift of the future would pay most, and at random.

A peek shows at few bars: those where the rule would have decided otherwise. Bars with a decision are asked first. Then
those before which a leak would have done the most: entries before the best moves, and bars without an entry, among
others with one, before the worst. The last are what a veto leaves.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Final

import numpy as np

from lockstep.engine.signals import Signals
from lockstep.market.gaps import missing_before
from lockstep.validation.answers import decided
from lockstep.validation.other_future import Course

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lockstep.core.types import Float, Int
    from lockstep.strategies.view import MarketView

_HORIZONS: Final = (1, 5, 20)
"""Bars after a decision over which its gain is looked at."""
SCREEN_BARS: Final = 24
"""Bars that are replaced after each point of a screen."""
_MEMORY: Final = 30
"""Bars of its past that a rule is taken to look at, where its declared warm-up is shorter."""
_DECIDED: Final = 2 / 3
"""Of the points of a screen, those with a decision."""
_COURSES: Final = (Course.WALK, Course.FALL, Course.RISE, Course.SWING, Course.CALM)


@dataclass(frozen=True, kw_only=True)
class Depth:
    """How many bars of each sort a set is asked about. `both`: each bar in both ways, else in one of them.

    entries, exits, random   bars with a decision, with an exit, and any
    gaps      bars before a gap, about which only the cut is asked: a replaced future has the same times
    outcomes  bars chosen by what came after them, about which only the cut is asked
    screens   courses of futures that are put after many bars at once
    confirms  bars of each screen that are asked alone
    """

    entries: int
    exits: int
    random: int
    gaps: int
    outcomes: int
    screens: tuple[Course, ...]
    confirms: int
    both: bool

    @property
    def most_questions(self) -> int:
        """Questions about one set at most."""
        bars = (self.entries + self.exits + self.random) * (2 if self.both else 1)
        return bars + self.gaps + self.outcomes + len(self.screens) * (1 + self.confirms)


def with_courses(points: Iterable[int]) -> list[tuple[int, Course]]:
    """Each point with a course of its later bars, all courses in turn."""
    return [(point, _COURSES[number % len(_COURSES)]) for number, point in enumerate(points)]


def deciding_points(signals: Signals, depth: Depth, generator: np.random.Generator) -> list[int]:
    """Bars after which the future is changed: some deciding bars and the first of them, some with an exit, random ones.

    Exits have bars of their own, because one that knows the next bar shows at no other bar than its own. One in the
    middle comes first: its past and its future are long enough to tell what is kept of either.
    """
    n = len(signals)
    bars = decided(signals)
    # Longs and shorts in turn: a level that is too low, or too high, shows with one of them only.
    sides = [bars[2:][signals.side[bars[2:]] == side] for side in (1, -1, 0)]
    shares = [_some(some, depth.entries - 2, generator) for some in sides]
    drawn = [point for turn in zip_longest(*shares) for point in turn if point is not None][: depth.entries - 2]
    points = drawn[:1] + bars[:2].tolist() + drawn[1:]
    if signals.exit is not None:
        points += _some(np.flatnonzero(signals.exit), depth.exits, generator)
    if n > 1:
        points += sorted(generator.integers(0, n - 1, size=depth.random).tolist())
    # Nothing comes after the last bar, so nothing can be changed there.
    return [point for point in dict.fromkeys(points) if point < n - 1]


def points_before_gaps(view: MarketView, signals: Signals, count: int, generator: np.random.Generator) -> list[int]:
    """Bars that the next does not follow at once: a rule that avoids them by its time decides nothing there.

    Half of them bars that follow one with a decision, where such a rule shows.
    """
    gaps = np.flatnonzero(missing_before(view.timestamp, view.timeframe_ms)[1:] > 0)
    near = gaps[np.isin(gaps - 1, decided(signals)) & (signals.side[gaps] == 0)]
    return list(dict.fromkeys(_some(near, -(-count // 2), generator) + _some(gaps, count // 2, generator)))


def points_by_outcome(view: MarketView, signals: Signals, count: int) -> list[int]:
    """At most `count` bars at which a rule that knew the coming moves would most likely have used it."""
    ranked = [bars for horizon in _HORIZONS for bars in _by_outcome(view, signals, horizon)]
    in_turn = [int(point) for turn in zip_longest(*ranked) for point in turn if point is not None]
    return list(dict.fromkeys(in_turn))[:count]


def _by_outcome(view: MarketView, signals: Signals, horizon: int) -> list[list[int]]:
    """Rankings of bars by the move of the next `horizon` bars, the most telling first."""
    n = len(view)
    if n <= horizon + 1:
        return []
    side = signals.side[: n - horizon]
    move = view.close[horizon:] / view.close[:-horizon] - 1.0
    rankings = []
    has_levels = any(getattr(signals, name) is not None for name in ("stop", "target", "trail", "time_limit"))
    for sign in (1, -1):
        here = side == sign
        beside = np.zeros(here.size, dtype=np.bool_)
        beside[1:] |= here[:-1]
        beside[:-1] |= here[1:]
        rankings += [_top(here, sign * move), _top(beside & (side == 0), -sign * move)]
        if has_levels:
            rankings.append(_top(here, -sign * move))
    if signals.exit is not None:
        leaving = signals.exit[: n - horizon]
        rankings += [_top(leaving, -move), _top(leaving, move)]
    return rankings


def _top(chosen: np.ndarray[tuple[int], np.dtype[np.bool_]], value: Float) -> list[int]:
    bars = np.flatnonzero(chosen & np.isfinite(value))
    best: list[int] = bars[np.argsort(-value[bars], kind="stable")[:4]].tolist()
    return best


def points_of_screen(signals: Signals, warm: int, generator: np.random.Generator) -> list[int]:
    """Bars of all sorts, as many as stand apart far enough to be asked at once, ascending.

    Two of three have a decision. The others are bars with an exit, those soon after an entry, where a position is left,
    and any: what a leak adds, it adds there. Between the replaced bars after one point and the next point lie as many
    bars as the rule is taken to look back on.
    """
    n = len(signals)
    apart = SCREEN_BARS + max(warm, _MEMORY)
    sorts = [np.zeros(n, dtype=np.bool_) for _ in range(2)]
    entries = decided(signals)
    sorts[0][entries] = True
    if signals.exit is not None:
        after = entries + generator.integers(1, 6, size=entries.size)
        sorts[1][after[after < n]] = True
        sorts.append(signals.exit & ~sorts[0])
        # What an exit is added to has none, and no entry.
        sorts.append(~(signals.exit | sorts[0]))
    else:
        sorts[1][:] = True
    points: list[int] = []
    first = int(generator.integers(0, apart))
    while first < n - 1:
        last = min(first + apart, n - 1)
        wish = 0 if generator.random() < _DECIDED else int(generator.integers(1, len(sorts)))
        bars = next((bars for sort in (wish, 0) if (bars := np.flatnonzero(sorts[sort][first:last])).size), None)
        offset = generator.integers(0, last - first) if bars is None else generator.choice(bars)
        points.append(first + int(offset))
        first = points[-1] + apart
    return points


def _some(bars: Int, count: int, generator: np.random.Generator) -> list[int]:
    """At most `count` of the bars, drawn without repetition, ascending."""
    if bars.size == 0 or count <= 0:
        return []
    return sorted(generator.choice(bars, size=min(count, bars.size), replace=False).tolist())
