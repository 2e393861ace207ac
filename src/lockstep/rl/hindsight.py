"""`Hindsight`: the outcome of every action at every bar, from prices strictly after the bar.

`episodes.outcomes` computes it: the trade enters at the first price after the decision and leaves at the first price at
or after the horizon. From the training part of a market it uses no price behind that part, so outcomes near its end
stay unknown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lockstep.core.errors import InputError
from lockstep.engine.costs import Costs
from lockstep.episodes.outcomes import Action, OutcomeRules, Prices, Status, settle_outcomes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.market.candles import Candles


def outcome_rules(candles: Candles, costs: Costs, *, horizon_bars: int, target_profit: float) -> OutcomeRules:
    """The rules of R9.8 in bars.

    horizon_bars   bars from decision to exit, >= 1
    target_profit  profit that scores 1, a fraction

    A spread in price units becomes a fraction of the mean close of `candles`. An exit may come one bar late; a longer
    gap leaves the outcome unknown. Raises InputError for a horizon below 1.
    """
    if horizon_bars < 1:
        raise InputError(f"outcomes: a horizon is at least 1 bar; found {horizon_bars!r}.")
    spread = costs.spread / float(candles.close.mean()) if costs.spread else 0.0
    seconds = candles.timeframe_ms / 1_000.0
    return OutcomeRules(
        horizon_s=horizon_bars * seconds,
        round_trip_cost=2.0 * (costs.fee_rate + costs.slippage_rate) + spread,
        target_profit=target_profit,
        max_delay_s=seconds,
    )


class Hindsight:
    """Outcomes as tables (actions, bars).

    validated  bool, whether there is an outcome: its horizon ends inside the candles, without a gap
    profit     float64, fractions; NaN where unknown
    score      float64, 0 .. 1; 0 where unknown
    optimal    int64 (bars,), the best action; -1 where unknown
    """

    def __init__(self, candles: Candles, rules: OutcomeRules) -> None:
        prices, times = Prices.of_candles(candles), candles.close_time
        settled = [settle_outcomes(times, np.full(len(candles), action), prices, rules) for action in Action]
        self.validated = np.stack([item.status == Status.VALIDATED for item in settled])
        self.profit = np.where(self.validated, np.stack([item.actual_profit for item in settled]), np.nan)
        self.score = np.where(self.validated, np.stack([item.profitability_score for item in settled]), 0.0)
        # The best action does not depend on the action taken: one row serves all.
        self.optimal = np.where(self.validated[0], settled[0].optimal_action, -1).astype(np.int64)

    def columns(self, bars: NDArray[np.int64], actions: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """Outcomes of `actions` (n,) at `bars` (n,), as columns (n,) for `add_batch`."""
        validated = self.validated[actions, bars]
        return {
            "actual_profits": self.profit[actions, bars],
            "profitability_scores": self.score[actions, bars],
            "optimal_actions": np.where(validated, self.optimal[bars], -1),
            "outcome_validated": validated,
        }
