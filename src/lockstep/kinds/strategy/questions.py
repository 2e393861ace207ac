"""The questions of a strategy search about look-ahead: about every branch before it, about the winner after it.

A built-in strategy is not asked: its code is hashed with the run, and the tests of this release ask it. A user's is,
twice: before the search, since a search of a rule that reads the future is a waste, and its winner once more, since a
leak may stand behind values that no earlier question named. The second is a part of the run: its outcome stands in the
result, and a winner that reads the future has none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lockstep.runs.seeds import SeedTree
from lockstep.strategies.registry import is_built_in
from lockstep.validation.causality import (
    EXHAUSTIVE_CALLS,
    exhaustive_look_ahead_check,
    full_calls,
    quick_look_ahead_check,
)

if TYPE_CHECKING:
    from lockstep.kinds.strategy.plan import StrategyPlan
    from lockstep.strategies.base import Params
    from lockstep.strategies.view import MarketView


def ask_before(plan: StrategyPlan, tell: Callable[[str], None]) -> tuple[str, ...]:
    """Ask about every branch of the search; lines for a person. Raises LookAheadError, StrategyError."""
    if is_built_in(plan.strategy):
        return ()
    report = quick_look_ahead_check(
        plan.strategy,
        plan.evaluator().view,
        seeds=SeedTree(plan.spec.seed),
        space=plan.space,
        fixed=plan.fixed,
        tell=tell,
    )
    asked = (
        f"look-ahead test: {report.calls} questions about {report.parameter_sets} parameter sets, no decision read the "
        f"future; at most {EXHAUSTIVE_CALLS} more follow about the winner"
    )
    return (asked, *report.warnings)


def ask_about_winner(
    plan: StrategyPlan, view: MarketView, params: Params, tell: Callable[[str], None]
) -> dict[str, Any]:
    """Ask about the set that won; the entry `look_ahead` of the result. Raises LookAheadError, StrategyError."""
    if is_built_in(plan.strategy):
        return {"passed": True, "by": "tests of this release", "questions": 0, "comparisons": 0, "warnings": []}
    report = exhaustive_look_ahead_check(plan.strategy, view, params, seeds=SeedTree(plan.spec.seed), tell=tell)
    return {
        "passed": True,
        "by": "questions about the winner",
        "questions": report.calls,
        "comparisons": report.comparisons,
        "warnings": list(report.warnings),
    }


def sets_of_winner(plan: StrategyPlan) -> float:
    """Evaluations of a set over all bars that the questions about the winner cost at most."""
    return 0.0 if is_built_in(plan.strategy) else full_calls(plan.search_bars)
