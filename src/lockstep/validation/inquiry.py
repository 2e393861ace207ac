"""Questions to one strategy in its birth state: the future cut off, the future replaced, the same once more.

Every refusal is made here, in words: what was read from the future, or what was kept between calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, NoReturn

import numpy as np

from lockstep.core.errors import LookAheadError, StrategyError
from lockstep.engine.signals import Signals
from lockstep.strategies.base import Params, Strategy
from lockstep.strategies.evaluate import decide
from lockstep.strategies.view import MarketView
from lockstep.validation.answers import Difference, decided, difference_at, differs_at, first_difference, from_bar
from lockstep.validation.birth import Birth, Unanswered, births_of
from lockstep.validation.held_state import HeldState
from lockstep.validation.held_tables import changed, held_tables, matched
from lockstep.validation.other_future import Course, Part, other_market, parts_of, perturb_after, perturb_future
from lockstep.validation.points import SCREEN_BARS
from lockstep.validation.silences import Silences

START_BARS: Final = 3_000
START_TOLERANCE: Final = 1e-6
TABLE_POINTS: Final = 3
"""Bars about which a strategy is asked that holds prices of the market."""
_LEAST_DECISIONS: Final = 10
"""Decisions, at least, of which it is said that no price changes them: fewer may be the same by chance."""
_SINGLE_BARS: Final = 5
"""Bars after a decision that are changed one by one, to find the first that it reads."""
_CHANGES: Final = tuple(
    Part(scale=scale, course=course)
    for scale, course in (
        (1.0, Course.WALK),
        (1.0, Course.FALL),
        (1.0, Course.RISE),
        (25.0, Course.WALK),
        (1.0, Course.SWING),
        (1.0, Course.CALM),
        (25.0, Course.WALK),
        (25.0, Course.WALK),
    )
)
"""How bars are changed to see what a decision reads: a small move, or one upward, may leave it as it is."""
CUT: Final = "once the bars after it are taken away"
REPLACED: Final = "once the bars after it are replaced by others"
CURE: Final = (
    "A decision at a bar may use that bar and earlier ones only: look for shift(-1), centred windows, back-filled "
    "values, statistics of the whole series, or higher-timeframe bars used before they close"
)
KEEP_NOTHING: Final = (
    "Work it out anew in each call from the view and the parameters; a cache is allowed whose key is the bytes that "
    "it was computed from (or use view.once)"
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    """What a strategy decided about all bars of `view` in its birth state, and what it held afterwards."""

    view: MarketView
    params: Params
    signals: Signals
    state: HeldState

    @property
    def decisions(self) -> int:
        """Bars with a decision."""
        return int(decided(self.signals).size)


class Inquiry:
    """A strategy that is being questioned, from its two births.

    comparisons   answers that were compared
    calls         times that the strategy was called
    subject       what is being asked about, for a person who waits
    """

    _first: Birth
    _second: Birth

    def __init__(self, strategy: Strategy, generator: np.random.Generator, tell: Callable[[str], None] | None) -> None:
        self.comparisons = 0
        self.calls = 0
        self.subject = ""
        self._strategy = strategy
        self._generator = generator
        self._tell = tell
        self._repeated = False

    @contextmanager
    def opened(self) -> Iterator[Inquiry]:
        """Ask in the block; the strategy is left as it was. Raises StrategyError when it cannot be made again."""
        with births_of(self._strategy, self._count) as (self._first, self._second):
            yield self

    def _count(self) -> None:
        if self._tell is not None:
            self._tell(f"look-ahead test: question {self.calls + 1}, about {self.subject}")
        self.calls += 1

    def answer(self, view: MarketView, params: Params) -> Answer:
        """The decisions in the state of birth. Raises Unanswered."""
        # A view of its own, so that nothing a view keeps can answer the next question.
        signals = self._second.answer(view.window(0, len(view)), params)
        return Answer(view=view, params=params, signals=signals, state=self._second.state)

    def ask(
        self, answer: Answer, silences: Silences, *, cut: Sequence[int], replaced: Sequence[tuple[int, Course]]
    ) -> None:
        """Ask about bars of a view: those whose later bars are taken away, and those whose later bars are replaced.

        silences   gets what the strategy raised at some of them
        replaced   bars, each with the course of the future that is put after it

        Raises LookAheadError; StrategyError when it answered none of the questions, or none whose later bars are
        others, or gives two answers to one.
        """
        failures: list[Unanswered] = []
        others: list[Unanswered] = []
        remembers = True
        for point in cut:
            try:
                other = self._first.answer(answer.view.window(0, point + 1), answer.params)
                if remembers:
                    self._ask_for_memory(answer)
                    remembers = False
            except Unanswered as error:
                failures.append(error)
                silences.count(None, error)
                continue
            silences.count(None)
            self._compare(answer, point, other, CUT)
        for point, course in replaced:
            try:
                view = perturb_future(answer.view, point, self._generator, Part(course=course))
                other = self._second.answer(view, answer.params)
            except Unanswered as error:
                others.append(error)
                silences.count(course, error)
                continue
            silences.count(course)
            self._compare(answer, point, other, REPLACED)
        failures += others
        if failures and len(failures) == len(cut) + len(replaced):
            raise StrategyError(
                f"{self._strategy.name} answers about {len(answer.view)} bars and fails as soon as the last of them "
                f"are missing or others, so that it cannot be asked for look-ahead. {failures[0]}"
            ) from failures[0]
        # A check of the data may refuse a market that falls by half at once, but none that wanders as this one does.
        if others and len(others) == len(replaced) and Course.WALK in {course for _, course in replaced}:
            raise StrategyError(
                f"{self._strategy.name} answers about the bars as they are and fails wherever later ones are others, "
                f"so that it cannot be asked for look-ahead: an exception that follows later bars reads them. "
                f"{others[0]}"
            ) from others[0]

    def screen(self, answer: Answer, silences: Silences, points: Sequence[int], course: Course, most: int) -> None:
        """Put a future of one course after many bars at once, and ask about `most` of those that answer otherwise.

        points   bars, ascending, more than `SCREEN_BARS` apart
        The first of them has its own past, and is compared. The others have a past with other bars in it: a difference
        there accuses nobody. So it is asked about alone, with no other bar changed. Raises LookAheadError; what the
        strategy raised goes to `silences`.
        """
        if len(points) < 2:  # `ask` asks about single ones
            return
        try:
            view = perturb_after(answer.view, points, SCREEN_BARS, self._generator, course)
            other = self._second.answer(view, answer.params)
            self._compare(answer, points[0], other, REPLACED)
            for point in _suspects(answer.signals, other, points[1:], most, self._generator):
                alone = _with_rows_of(answer.view, view, point + 1, point + 1 + SCREEN_BARS)
                self._compare(answer, point, self._second.answer(alone, answer.params), REPLACED)
        except Unanswered as error:
            silences.count(course, error)
        else:
            silences.count(course)

    def ask_tables(self, answer: Answer) -> str | None:
        """Ask whether decisions follow later prices that the strategy itself holds. Raises LookAheadError.

        Returns a note when it holds such prices and was not seen to use them.
        """
        candles = answer.view.candles
        tables = [
            (table, matches) for table in held_tables(self._second.strategy) if (matches := matched(table, candles))
        ]
        last = max((int(m.entries[-1]) + m.offset for _, matches in tables for m in matches), default=-1)
        bars = decided(answer.signals)
        bars = bars[bars < last]
        if not tables or bars.size == 0:
            return None
        named = " and ".join(f"{table.place} ({matches[0].market})" for table, matches in tables[:3])
        for point in dict.fromkeys(int(bars[bars.size * k // TABLE_POINTS]) for k in range(TABLE_POINTS)):
            for course in (Course.FALL, Course.RISE):
                other = perturb_future(answer.view, point, self._generator, Part(course=course)).candles
                view = answer.view.window(0, len(answer.view))
                self.comparisons += 1
                try:
                    signals = self._second.answer_with(view, answer.params, changed(tables, other, point))
                except Unanswered:
                    continue
                difference = first_difference(answer.signals, signals, point + 1)
                if difference is not None:
                    raise LookAheadError(
                        f"{self._strategy.name} reads the future from prices that it brings along: {named} holds this "
                        f"market's own, and {difference.field} at bar {moment(answer.view, difference.bar)} is "
                        f"{difference.value!r}, but {difference.other!r} once its entries of bars after "
                        f"{moment(answer.view, point)} are others; parameters {dict(answer.params)}. Read prices from "
                        "the view, which ends at the decision bar; further series belong in `inputs`"
                    )
        return (
            f"{self._strategy.name} holds prices of this market in {named}, later bars among them; no decision that "
            "was asked about followed those"
        )

    def brought_along(self, answer: Answer) -> list[str]:
        """Notes on what decisions may follow that no question can take away: times, files, tables of decisions."""
        notes = []
        if files := self._second.files_read:
            more = f" and {len(files) - 3} more" if len(files) > 3 else ""
            notes.append(
                f"{self._strategy.name} reads {', '.join(files[:3])}{more}: what stands there of later bars, no "
                "question can take away"
            )
        if answer.decisions >= _LEAST_DECISIONS:
            try:
                other = self._second.answer(other_market(answer.view, self._generator), answer.params)
            except Unanswered:
                return notes
            if _same_decisions(answer.signals, other):
                notes.append(
                    f"{self._strategy.name} decides the same whatever the prices are: by times alone, or by data that "
                    "it brings along, which the look-ahead test cannot see"
                )
        return notes

    def compare_used(self, answer: Answer) -> None:
        """Ask the strategy that is in use, and compare with its answer at birth. Raises LookAheadError."""
        self._count()
        used = decide(self._strategy, answer.view.window(0, len(answer.view)), answer.params)
        difference = first_difference(answer.signals, used, len(answer.view))
        if difference is not None:
            self._refuse_two_answers(answer, difference, [])

    def start_dependence(self, view: MarketView, params: Params) -> str | None:
        """A warning when decisions after the declared warm-up depend on where the data start. Never an error.

        Indicators with infinite memory (EMA) always depend on it a little; START_TOLERANCE lets that pass.
        """
        warm = self._strategy.warm_bars(params)
        stop = min(len(view), max(START_BARS, 4 * warm))
        # Not a third: rules that count in small cycles would come round again.
        shift = 1 + 2 * stop // 5
        if stop - shift <= warm:
            return None
        try:
            answer = self._second.answer(view.window(0, stop), params)
            later = self._second.answer(view.window(shift, stop), params)
        except Unanswered:
            return None
        trimmed, shifted = from_bar(answer, shift + warm), from_bar(later, warm)
        difference = first_difference(trimmed, shifted, len(shifted), START_TOLERANCE)
        if difference is None:
            return None
        return (
            f"{self._strategy.name}: decisions depend on where the data start: {difference.field} at bar "
            f"{moment(view, shift + warm + difference.bar)} is {difference.value!r} or {difference.other!r}, "
            f"although the declared warm-up of {warm} bars had passed. Declare a longer warmup(params); parameters "
            f"{dict(params)}"
        )

    def _ask_for_memory(self, answer: Answer) -> None:
        """Ask about all bars the strategy that has just been asked about some of them."""
        after_cut = self._first.state
        again = self._again(answer)
        after_both = self._first.state
        changes = sorted({*after_cut.changes(self._first.born), *after_both.changes(self._first.born)})
        difference = first_difference(answer.signals, again, len(answer.view))
        if difference is not None:
            self._refuse_two_answers(answer, difference, changes or after_both.suspects(self._first.born))
        missing = after_both.lacking(answer.state, after_cut)
        if missing:
            self._refuse_memory(answer.params, missing, "what is there depends on what was asked before")
        # Where nothing is held, one repetition in all is enough.
        if changes or not self._repeated:
            self._repeated = True
            difference = first_difference(answer.signals, self._again(answer), len(answer.view))
            if difference is not None:
                self._refuse_two_answers(answer, difference, changes)
            changes = self._first.state.changes(after_both)
            if changes:
                self._refuse_memory(answer.params, changes, "it changes when the same is asked again")

    def _again(self, answer: Answer) -> Signals:
        self.comparisons += 1
        return self._first.answer_next(answer.view.window(0, len(answer.view)), answer.params)

    def _compare(self, answer: Answer, point: int, other: Signals, how: str) -> None:
        self.comparisons += 1
        difference = first_difference(answer.signals, other, point + 1)
        if difference is None:
            return
        # A strategy that answers the very same question otherwise was not seen to read the future.
        same = self.answer(answer.view, answer.params)
        twice = first_difference(answer.signals, same.signals, len(answer.view))
        if twice is not None:
            self._refuse_two_answers(answer, twice, [])
        bar = difference.bar
        raise LookAheadError(
            f"{self._strategy.name} reads the future: {difference.field} at bar {moment(answer.view, bar)} is "
            f"{difference.value!r}, but {difference.other!r} {how} (bars after {moment(answer.view, point)}); "
            f"parameters {dict(answer.params)}. {self._what_it_reads(answer, bar)}{CURE}"
        )

    def _what_it_reads(self, answer: Answer, bar: int) -> str:
        """Which values, and the earliest of their bars, in words; nothing where that cannot be seen."""
        parts = parts_of(answer.view, self._strategy.inputs)
        columns = [name for name, part in parts.items() if self._reads(answer, bar, bar, part)]
        what = f"It reads {' and '.join(columns)} of later bars" if columns else "It depends on later bars"
        earliest = self._earliest(answer, bar, by_value=bool(columns))
        if earliest is None:
            return f"{what}. "
        later = earliest - bar
        return f"{what}, the earliest of them {moment(answer.view, earliest)}, {later} bar{'s' * (later > 1)} ahead. "

    def _earliest(self, answer: Answer, bar: int, *, by_value: bool) -> int | None:
        """The first bar after `bar` that its decision depends on, as far as changing or cutting bars shows it.

        by_value   other values change the decision; else only missing bars do
        """
        view, n = answer.view, len(answer.view)
        for single in range(bar + 1, min(bar + 1 + _SINGLE_BARS, n) if by_value else 0):
            if self._reads(answer, bar, single - 1, Part(stop=single + 1)):
                return single

        def reads_before(stop: int) -> bool:
            return self._reads(answer, bar, bar, Part(stop=stop))

        def waits_for(stop: int) -> bool:
            return not self._depends(answer, bar, view.window(0, stop))

        for holds in (reads_before, waits_for) if by_value else (waits_for,):
            if holds(n):
                low, high = bar + 1, n  # holds at `high`, not at `low`
                while high - low > 1:
                    middle = (low + high) // 2
                    low, high = (low, middle) if holds(middle) else (middle, high)
                if high - 1 > bar:
                    return high - 1
        return None

    def _reads(self, answer: Answer, bar: int, point: int, part: Part) -> bool:
        """Whether the decision at `bar` is another one after some change of a part of the bars after `point`."""
        parts = (replace(part, scale=change.scale, course=change.course) for change in _CHANGES)
        return any(self._depends(answer, bar, perturb_future(answer.view, point, self._generator, p)) for p in parts)

    def _depends(self, answer: Answer, bar: int, view: MarketView) -> bool:
        """Whether the decision at `bar` is another one in `view`."""
        try:
            return differs_at(answer.signals, self._second.answer(view, answer.params), bar)
        except Unanswered:
            return False

    def _refuse_two_answers(self, answer: Answer, difference: Difference, changes: list[str]) -> NoReturn:
        params = answer.params
        both = f"{difference.value!r}, then {difference.other!r}"
        where = f"{difference.field} at bar {moment(answer.view, difference.bar)} was {both}"
        if changes:
            self._refuse_memory(params, changes, f"{where}, from the same candles and parameters")
        born = self._second.answer(answer.view.window(0, len(answer.view)), params)
        if first_difference(answer.signals, born, len(answer.view)) is None:
            raise LookAheadError(
                f"{self._strategy.name} has state kept between calls: {where}, from the same candles and parameters "
                f"{dict(params)}: as at its birth, then after another question. {KEEP_NOTHING}"
            )
        raise StrategyError(
            f"{self._strategy.name} gave two answers to one question: {where}, from the same candles and parameters "
            f"{dict(params)}. Signals may depend on nothing else: no clock, no unseeded random numbers, nothing kept "
            "between calls"
        )

    def _refuse_memory(self, params: Params, places: list[str], why: str) -> NoReturn:
        places = list(dict.fromkeys(place.replace("[]", "") for place in places))
        more = f" and {len(places) - 3} more" if len(places) > 3 else ""
        raise LookAheadError(
            f"{self._strategy.name} has state kept between calls: {', '.join(places[:3])}{more}; {why}. A decision "
            f"would depend on bars that earlier calls saw, later ones among them; parameters {dict(params)}. "
            f"{KEEP_NOTHING}"
        )


def _same_decisions(answer: Signals, other: Signals) -> bool:
    mine, others = (np.zeros(len(one), np.bool_) if one.exit is None else one.exit for one in (answer, other))
    return np.array_equal(answer.side, other.side) and np.array_equal(mine, others)


def _suspects(
    answer: Signals, other: Signals, points: Sequence[int], most: int, generator: np.random.Generator
) -> list[int]:
    """At most `most` of the points at which two answers differ: those of another side or exit first, drawn."""
    differences = {point: difference_at(answer, other, point) for point in points}
    differing = [point for point, difference in differences.items() if difference is not None]
    drawn = [differing[place] for place in generator.permutation(len(differing)).tolist()]

    def rank(point: int) -> tuple[bool, float]:
        difference = differences[point]
        # Levels differ at all bars where an average forgets slowly; a decision that flips says more, then a far level.
        if difference is None or difference.field in ("side", "exit"):
            return False, 0.0
        return True, -abs(float(difference.value) - float(difference.other))

    return sorted(drawn, key=rank)[:most]


def _with_rows_of(view: MarketView, other: MarketView, start: int, stop: int) -> MarketView:
    """`view` with the values of bars `start` .. `stop` - 1 of another view of the same times."""
    columns = {name: np.array(values) for name, values in view.candles.columns().items() if name != "timestamp"}
    for name, values in columns.items():
        values[start:stop] = other.candles.columns()[name][start:stop]
    return view.replaced(view.candles.with_values(columns), lambda series: series)


def moment(view: MarketView, bar: int) -> str:
    """The opening time of a bar, for a message."""
    return datetime.fromtimestamp(int(view.timestamp[bar]) / 1000.0, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
