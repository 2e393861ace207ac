"""How long the judgement of a search's winner takes, from that of another set, which is thrown away."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from lockstep.core.errors import LockstepError
from lockstep.engine.baselines import buy_and_hold
from lockstep.engine.export import equity_csv, trades_csv
from lockstep.kinds.shared.step_timing import timed
from lockstep.kinds.strategy.result import baselines_of, facts_of
from lockstep.runs.kind import Duration

if TYPE_CHECKING:
    from lockstep.kinds.strategy.plan import StrategyPlan
    from lockstep.strategies.base import Params
    from lockstep.strategies.evaluate import Evaluator


def trial_of_judging(plan: StrategyPlan, evaluator: Evaluator, parameters: Params) -> Duration:
    """Time of a backtest, its baselines and tables; nothing where the strategy refuses the set."""

    def judge() -> None:
        # How the strategy fails with this set is for the search to say.
        with contextlib.suppress(LockstepError):
            done = evaluator.one(parameters)
            hold = buy_and_hold(evaluator.candles, evaluator.market, plan.costs, plan.execution)
            baselines_of(plan, evaluator, done, hold)
            facts_of(plan)
            trades_csv(done.simulation)
            equity_csv(done.simulation)

    return timed(judge)
