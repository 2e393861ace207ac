"""The metrics of a backtest: name, unit, formula and reference of each.

Notation
    C       initial capital                         E_j     equity marked at the close of bar j; E_{-1} = C
    n       number of bars                          r_j     E_j / E_{j-1} - 1, the return of bar j (0 while flat)
    N       number of trades                        Y       bars per year (`annual_bars`)
    q_i     pnl_pct of trade i, after costs, as a fraction of its size
    P_i     pnl of trade i = size · q_i             G_i     what trade i would have made without costs
    T_i     C + P_1 + … + P_i: equity stepped by trade; T_0 = C

Every metric is always present (R3.16). A ratio or a mean that is undefined is None; counts and sums are 0. A deviation
of rounding errors (`statistics.NOISE`) counts as 0, since a ratio to it says nothing.
Nothing is rounded. `_pct` is percent, rates and shares are fractions.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lockstep.core.errors import UnknownNameError
from lockstep.core.units import YEAR_MS


class Metric(StrEnum):
    """Every metric, in the order of the columns of a sweep. `unit`, `formula` and `reference` say what it is."""

    unit: str
    formula: str
    reference: str

    def __new__(cls, name: str, unit: str, formula: str, reference: str) -> Metric:
        """One member: its name as text, and three facts about it."""
        member = str.__new__(cls, name)
        member._value_ = name
        member.unit = unit
        member.formula = formula
        member.reference = reference
        return member

    NET_PROFIT = "net_profit", "quote currency", "Σ P_i = E_{n-1} - C", "docs/engine.md, rule 8"
    NET_PROFIT_PCT = "net_profit_pct", "%", "100 · Σ P_i / C", "docs/engine.md, rule 11"
    NET_PROFIT_WORST_PCT = (
        "net_profit_worst_pct",
        "%",
        "net_profit_pct when every ambiguous trade took the worse of stop and target",
        "docs/engine.md, rule 9",
    )
    NET_PROFIT_BEST_PCT = (
        "net_profit_best_pct",
        "%",
        "net_profit_pct when every ambiguous trade took the better of stop and target",
        "docs/engine.md, rule 9",
    )
    SHARPE_RATIO = (
        "sharpe_ratio",
        "per √year",
        "mean(r) / std(r, ddof=0) · √Y; None when std is 0 or the account is ruined",
        "Sharpe (1994), The Sharpe Ratio, J. Portfolio Management 21(1); docs/engine.md, rule 8",
    )
    SHARPE_RATIO_PER_TRADE = (
        "sharpe_ratio_per_trade",
        "per √252 trades",
        "mean(q) / std(q, ddof=0) · √252; None below 2 trades or when std is 0",
        "docs/engine.md, rule 11",
    )
    SORTINO_RATIO = (
        "sortino_ratio",
        "per √year",
        "mean(r) / √(Σ min(r_j, 0)² / n) · √Y; None when no bar loses or the account is ruined",
        "Sortino and Price (1994), Performance Measurement in a Downside Risk Framework, J. Investing 3(3)",
    )
    SORTINO_RATIO_PER_TRADE = (
        "sortino_ratio_per_trade",
        "per √252 trades",
        "mean(q) / std(q_i < 0, ddof=0) · √252; None when that std is undefined or 0",
        "docs/engine.md, rule 11",
    )
    CALMAR_RATIO = (
        "calmar_ratio",
        "ratio",
        "net_profit_pct / |max_drawdown_pct|; None without a drawdown",
        "Young (1991), Calmar Ratio: A Smoother Tool, Futures 20(1), there annualised",
    )
    MAX_DRAWDOWN_PCT = "max_drawdown_pct", "% (≤ 0)", "100 · min_i (T_i / max_{k≤i} T_k - 1)", "docs/engine.md, rule 11"
    AVG_DRAWDOWN_PCT = (
        "avg_drawdown_pct",
        "% (≤ 0)",
        "100 · mean of T_i / max_{k≤i} T_k - 1 over the trades after which it is below 0; 0 when there are none",
        "docs/engine.md, rule 11",
    )
    MAX_DRAWDOWN_BAR_PCT = (
        "max_drawdown_bar_pct",
        "% (≤ 0)",
        "100 · min_j (E_j / max_{k≤j} E_k - 1), k from -1: losses inside trades count",
        "docs/engine.md, rule 8",
    )
    TOTAL_TRADES = "total_trades", "count", "N", "docs/engine.md, rule 11"
    WINNING_TRADES = "winning_trades", "count", "#{P_i > 0}", "docs/engine.md, rule 11"
    LOSING_TRADES = "losing_trades", "count", "#{P_i < 0}; a trade of exactly 0 is neither", "docs/engine.md, rule 11"
    LONG_TRADES = "long_trades", "count", "#{long}", "own"
    SHORT_TRADES = "short_trades", "count", "#{short}", "own"
    GROSS_WIN_RATE = "gross_win_rate", "fraction", "winning_trades / N; None without trades", "docs/engine.md, rule 11"
    PROFIT_FACTOR = (
        "profit_factor",
        "ratio",
        "Σ_{P_i>0} P_i / |Σ_{P_i<0} P_i|; None without a loss",
        "docs/engine.md, rule 11",
    )
    EXPECTANCY = "expectancy", "% of size", "100 · mean(q); None without trades", "docs/engine.md, rule 11"
    AVG_WIN_PCT = (
        "avg_win_pct",
        "% of size",
        "100 · mean(q_i of winners); None without winners",
        "docs/engine.md, rule 11",
    )
    AVG_LOSS_PCT = (
        "avg_loss_pct",
        "% of size",
        "100 · mean(q_i of losers); None without losers",
        "docs/engine.md, rule 11",
    )
    LARGEST_WIN_PCT = (
        "largest_win_pct",
        "% of size",
        "100 · max(q_i of winners); None without winners",
        "docs/engine.md, rule 11",
    )
    LARGEST_LOSS_PCT = (
        "largest_loss_pct",
        "% of size",
        "100 · min(q_i of losers); None without losers",
        "docs/engine.md, rule 11",
    )
    CVAR_95_PCT = (
        "cvar_95_pct",
        "% of size",
        "100 · mean of the ⌈N / 20⌉ smallest q_i; None without trades",
        "Rockafellar and Uryasev (2000), Optimization of Conditional Value-at-Risk, J. Risk 2(3); whole trades",
    )
    AVG_HOLDING_PERIODS = (
        "avg_holding_periods",
        "bars",
        "mean(exit_bar - signal_bar); None without trades",
        "docs/engine.md, rule 11",
    )
    EXPOSURE = "exposure", "fraction", "bars lived through in a position / n", "own"
    TOTAL_COSTS = "total_costs", "quote currency", "Σ (G_i - P_i)", "docs/engine.md, rule 7"
    COST_SHARE = "cost_share", "ratio", "total_costs / Σ G_i; None unless Σ G_i > 0", "docs/engine.md, rule 7"
    BREAK_EVEN_COST = (
        "break_even_cost",
        "fraction per side",
        "Σ G_i / (2 · Σ size_i): the all-in cost per side at which net profit is 0; None without trades",
        "docs/engine.md, rule 7",
    )
    AMBIGUOUS_TRADES = "ambiguous_trades", "count", "#{stop and target in one bar, order unknown}", "rule 9"
    REFUSED_SIGNALS = "refused_signals", "count", "#{signals whose stop or target was already passed}", "rule 3"
    UNFILLED_SIGNALS = "unfilled_signals", "count", "#{signals of the last bar}", "rule 1"
    GAP_TRADES = "gap_trades", "count", "#{trades with missing bars between decision and exit}", "rule 10"
    RUINED = "ruined", "0 or 1", "1 when equity reached 0 or less; trading stopped there", "rule 6"


#: Column of each metric in the arrays of a sweep.
COLUMN: Final[Mapping[Metric, int]] = {metric: index for index, metric in enumerate(Metric)}

#: Metrics that count something: whole numbers wherever a person or a file sees them.
COUNTS: Final = frozenset(metric for metric in Metric if metric.unit in ("count", "0 or 1"))


def annual_bars(timestamp: NDArray[np.int64], timeframe_ms: int) -> float:
    """Y: bars per year of 365 days, counted over the bars actually there.

    timestamp int64 (n,), ms UTC at bar open; timeframe_ms the bar length. Y = n · year / (last - first + timeframe):
    a market that never closes gives year / timeframe, hourly EUR/USD about 6,200, daily stocks about 252. The time
    in which a market is shut counts as time and holds no bars, so one year's mean and variance are those of the
    bars of one year (docs/decisions/0012).
    """
    # A ratio of no bars is undefined anyway; this only keeps the division possible.
    if timestamp.size == 0:
        return YEAR_MS / timeframe_ms
    span = int(timestamp[-1]) - int(timestamp[0]) + timeframe_ms
    return timestamp.size * (YEAR_MS / span)


def as_metric(name: str) -> Metric:
    """The metric called `name`. Raises UnknownNameError listing all names."""
    for metric in Metric:
        if metric == name:
            return metric
    raise UnknownNameError(f"no metric is called {name!r}; there are {', '.join(Metric)}")


def values_of(row: NDArray[np.float64]) -> dict[Metric, float | int | None]:
    """Metrics of one row of a sweep's float64 (metrics,) array, as plain Python numbers; NaN is None."""
    values: dict[Metric, float | int | None] = {}
    for metric, number in zip(Metric, row.tolist(), strict=True):
        # Only NaN differs from itself.
        if number != number:
            values[metric] = None
        else:
            values[metric] = int(number) if metric in COUNTS else number
    return values


def best_row(score: NDArray[np.float64]) -> int | None:
    """Row of the highest score (n,), the first of equals, NaN never; None when there is none.

    The one rule of who wins among those that may, for sweeps and searches alike: no schedule of workers decides a tie.
    """
    if not np.any(np.isfinite(score)):
        return None
    return int(np.nanargmax(score))
