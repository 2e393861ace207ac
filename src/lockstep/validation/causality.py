"""The look-ahead test: does a decision at bar t change when only bars after t change?

A strategy is a function f from bars to decisions. It is causal when, for every series x and every bar t,

    f(x)[s] = f(x[: t + 1])[s]   and   f(x)[s] = f(x[: t + 1] ++ other future)[s]      for all s <= t

The first catches rules that count on later bars being there, the second those that read them. Both are asked at a
fixed number of seeded bars: at bars that carry a decision, since a peek shows there first, and at random ones.

    quick_look_ahead_check        before a search: the sets given, the defaults, and every branch of the space
    exhaustive_look_ahead_check   one set that is going to be used: a winner, the set of a backtest, a consensus

f has to be a function: each question is put to a strategy in its birth state (`validation.birth`), some also to one
that has been asked before, and what it holds before and after is compared (`validation.held_state`).

A rule that passes is not proven causal; one that fails is proven not to be. Because the equation holds for any series,
most questions are put to windows of the data, and their number has a bound, so that the test takes a bounded time
however long the data are. It cannot accuse a causal strategy: it compares f with f on inputs whose first t + 1 bars are
the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lockstep.core.errors import StrategyError
from lockstep.core.space import Space
from lockstep.strategies.base import Params, Strategy
from lockstep.strategies.view import MarketView
from lockstep.validation.birth import Unanswered
from lockstep.validation.branches import Branches, admits, base_set
from lockstep.validation.inquiry import TABLE_POINTS, Answer, Inquiry
from lockstep.validation.other_future import Course
from lockstep.validation.points import (
    Depth,
    deciding_points,
    points_before_gaps,
    points_by_outcome,
    points_of_screen,
    with_courses,
)
from lockstep.validation.silences import Silences

if TYPE_CHECKING:
    from lockstep.runs.seeds import SeedTree

WINDOW: Final = 4_000
"""Bars of the window that a set is asked about, at a seeded place (more where the warm-up is longer)."""
REGION: Final = 20_000
"""Bars, the most recent ones, in which a decision is looked for when the window has none."""
WHOLE_POINTS: Final = 3
"""Bars about which a set is asked over all of the data, for rules that look far ahead."""

Tell = Callable[[str], None]
"""Takes a line about what is being asked, for a person who waits."""


_BRANCH: Final = Depth(
    entries=3,
    exits=1,
    random=1,
    gaps=1,
    outcomes=3,
    both=False,
    confirms=1,
    screens=(Course.FALL, Course.RISE, Course.SWING, Course.CALM),
)
_GIVEN: Final = Depth(
    entries=5,
    exits=2,
    random=1,
    gaps=2,
    outcomes=6,
    both=True,
    confirms=2,
    screens=(Course.FALL, Course.RISE, Course.SWING, Course.CALM, Course.FALL, Course.RISE),
)
_EXHAUSTIVE: Final = Depth(
    entries=7,
    exits=3,
    random=3,
    gaps=3,
    outcomes=12,
    both=True,
    confirms=3,
    screens=(Course.FALL, Course.RISE, Course.SWING, Course.CALM, Course.FALL, Course.RISE, Course.FALL),
)
EXHAUSTIVE_CALLS: Final = _EXHAUSTIVE.most_questions + 2 * WHOLE_POINTS + 2 * TABLE_POINTS + 11
"""Calls of a strategy that the exhaustive test makes at most, where it finds nothing."""


@dataclass(frozen=True, kw_only=True)
class CausalityReport:
    """The result of a test that no bar failed: what was compared, and warnings.

    parameter_sets  sets that were asked, those that failed among them
    calls           calls of the strategy
    comparisons     answers that were compared
    decisions       entries and exits seen in the compared windows; 0 means that there was little to compare
    failures        sets of which the strategy raised an exception
    """

    parameter_sets: int
    calls: int
    comparisons: int
    decisions: int
    failures: int
    warnings: tuple[str, ...]


def quick_look_ahead_check(
    strategy: Strategy,
    view: MarketView,
    parameter_sets: Sequence[Params] = (),
    *,
    seeds: SeedTree,
    space: Space | None = None,
    fixed: Params | None = None,
    tell: Tell | None = None,
) -> CausalityReport:
    """Ask whether `strategy` reads the future of `view`, or keeps state between calls; the report when it does not.

    parameter_sets  sets to ask in any case; the defaults and every branch of the space are added
    space           parameters that vary; default: the strategy's own space
    fixed           values of the others, where they are not the defaults
    tell            called with a line before each question
    Raises LookAheadError naming the parameters, the array and the first bar that peeked, both values, what it read and
    the earliest of its bars; or what is kept between calls. StrategyError when the strategy gives two answers to one
    question, or fails for every set.
    """
    generator = seeds.child("causality").generator()
    with Inquiry(strategy, generator, tell).opened() as questions:
        test = _Test(strategy, view, questions, generator)
        base = base_set(strategy, fixed or {})
        branches = Branches(strategy, strategy.space if space is None else space, base, generator)
        sets = [strategy.resolve(params) for params in (*parameter_sets, *([] if base is None else [base]))]
        for params in {repr(params): params for params in sets}.values():
            if admits(strategy, params):
                branches.answered(params, test.ask(params, _GIVEN, whole=test.sets == 0))
        while (chosen := branches.next()) is not None:
            branches.answered(chosen, test.ask(chosen, _BRANCH, whole=test.sets == 0))
        return test.report(branches.unasked)


def exhaustive_look_ahead_check(
    strategy: Strategy, view: MarketView, params: Params, *, seeds: SeedTree, tell: Tell | None = None
) -> CausalityReport:
    """Ask about one set that is going to be used: more bars than `quick_look_ahead_check` asks of a branch.

    The strategy itself, whatever it was asked before, has to answer about all bars as one does at its birth. Raises as
    `quick_look_ahead_check`.
    """
    generator = seeds.child("causality", "exhaustive").generator()
    with Inquiry(strategy, generator, tell).opened() as questions:
        test = _Test(strategy, view, questions, generator)
        test.ask(strategy.resolve(params), _EXHAUSTIVE, whole=True, used=True)
        return test.report([])


class _Test:
    """The sets asked so far, and what they came to."""

    def __init__(
        self,
        strategy: Strategy,
        view: MarketView,
        questions: Inquiry,
        generator: np.random.Generator,
    ) -> None:
        self.sets = 0
        self._strategy = strategy
        self._view = view
        self._questions = questions
        self._generator = generator
        self._decisions = 0
        self._failures: list[StrategyError] = []
        self._warnings: list[str] = []

    def ask(self, params: Params, depth: Depth, *, whole: bool, used: bool = False) -> int:
        """Ask about one complete set; returns the decisions that were compared, 0 where the strategy failed."""
        self.sets += 1
        self._questions.subject = f"parameter set {self.sets}"
        try:
            return self._asked(params, depth, whole=whole, used=used)
        except Unanswered as failure:
            self._failures.append(failure.error)
            return 0

    def _asked(self, params: Params, depth: Depth, *, whole: bool, used: bool) -> int:
        n = len(self._view)
        size = max(WINDOW, 4 * self._strategy.warm_bars(params))
        start = int(self._generator.integers(0, n - size + 1)) if n > size else 0
        answer = self._questions.answer(self._view.window(start, min(start + size, n)), params)
        if answer.decisions == 0 and size < n:
            answer = self._questions.answer(self._view.window(max(0, n - REGION), n), params)
        self._decisions += answer.decisions
        if whole:
            self._note(self._questions.ask_tables(answer))
            self._warnings += self._questions.brought_along(answer)
        self._put(answer, depth)
        if whole:
            if len(answer.view) < n:
                far = self._questions.answer(self._view, params)
                points = deciding_points(far.signals, _EXHAUSTIVE, self._generator)[:WHOLE_POINTS]
                silences = Silences()
                self._questions.ask(far, silences, cut=points, replaced=with_courses(points))
                self._note(silences.note(self._strategy.name))
            else:
                far = answer
            if used:
                self._questions.compare_used(far)
            if far.decisions:
                self._note(self._questions.start_dependence(self._view, params))
        return answer.decisions

    def _put(self, answer: Answer, depth: Depth) -> None:
        points = deciding_points(answer.signals, depth, self._generator)
        cut, replaced = (points, points) if depth.both else (points[0::2], points[1::2])
        gaps = points_before_gaps(answer.view, answer.signals, depth.gaps, self._generator)
        outcomes = points_by_outcome(answer.view, answer.signals, depth.outcomes)
        cut = list(dict.fromkeys([*cut, *gaps, *outcomes]))
        silences = Silences()
        self._questions.ask(answer, silences, cut=cut, replaced=with_courses(replaced))
        for course in depth.screens:
            warm = self._strategy.warm_bars(answer.params)
            screened = points_of_screen(answer.signals, warm, self._generator)
            self._questions.screen(answer, silences, screened, course, depth.confirms)
        self._note(silences.note(self._strategy.name))

    def _note(self, warning: str | None) -> None:
        if warning is not None:
            self._warnings.append(warning)

    def report(self, unasked: Sequence[tuple[str, Any]]) -> CausalityReport:
        """The report. Raises StrategyError when there was no set to ask, or none could be."""
        name = self._strategy.name
        if self.sets == 0:
            raise StrategyError(f"{name}: no parameter set to test; give defaults that keep the constraints")
        if len(self._failures) == self.sets:
            raise self._failures[0]
        if self._failures:
            self._note(
                f"{name} failed for {len(self._failures)} of the {self.sets} parameter sets that the look-ahead test "
                f"asked; a search counts such sets and goes on. The first: {self._failures[0]}"
            )
        if self._decisions == 0:
            self._note(
                f"{name} decided nothing in the last {min(len(self._view), REGION)} bars with {self.sets} parameter "
                "sets: the look-ahead test had little to compare"
            )
        elif unasked:
            values = ", ".join(f"{parameter} = {value!r}" for parameter, value in unasked[:5])
            self._note(
                f"the look-ahead test saw no decision of {name} with {values}"
                f"{f' and {len(unasked) - 5} more' if len(unasked) > 5 else ''}, so it says little about these"
            )
        return CausalityReport(
            parameter_sets=self.sets,
            calls=self._questions.calls,
            comparisons=self._questions.comparisons,
            decisions=self._decisions,
            failures=len(self._failures),
            warnings=tuple(dict.fromkeys(self._warnings)),
        )


def full_calls(bars: int) -> float:
    """What the exhaustive test costs at most, as calls of the strategy about all of `bars` bars."""
    in_windows = EXHAUSTIVE_CALLS - 2 * WHOLE_POINTS - 2
    return in_windows * min(1.0, WINDOW / bars) + (2 * WHOLE_POINTS + 2 if bars > WINDOW else 2)
