"""The metrics of a backtest: name, unit, formula and reference of each.

Notation
    C       initial capital                         E_j     equity marked at the close of bar j; E_{-1} = C
    n       number of bars                          r_j     E_j / E_{j-1} - 1, the return of bar j (0 while flat)
    N       number of trades                        Y       bars per year (`annual_bars`)
    q_i     net_return of trade i: after costs, as a fraction of its size
    P_i     pnl of trade i = size · q_i             G_i     what trade i would have made without costs
    T_i     C + P_1 + … + P_i: equity stepped by trade; T_0 = C

Every metric is always present (R3.16). A ratio or a mean that is undefined is None; counts and sums are 0. A deviation,
a fall or a sum of rounding errors (`statistics.NOISE`) counts as 0, since a ratio to it says nothing; money beyond the
largest float is undefined. Nothing is rounded. `_pct` is percent, rates and shares are fractions.

`Metric` is worked out for every set of a sweep, `CurveMetric` for single backtests only: it needs the whole equity
curve, or a second look at all trades. `ALIASES` holds the names of earlier releases.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from lockstep.core.errors import UnknownNameError
from lockstep.core.near_names import nearest
from lockstep.core.units import YEAR_MS
from lockstep.engine.renamed import OTHER_NAMES


class Described(StrEnum):
    """A name as text, with its `unit`, its `formula`, and in `reference` where that comes from."""

    unit: str
    formula: str
    reference: str

    def __new__(cls, name: str, unit: str, formula: str, reference: str) -> Self:
        """One member: its name as text, and three facts about it."""
        member = str.__new__(cls, name)
        member._value_ = name
        member.unit = unit
        member.formula = formula
        member.reference = reference
        return member


class Metric(Described):
    """Every metric of a set, in the order of the columns of a sweep."""

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
    CAGR_PCT = (
        "cagr_pct",
        "% per year",
        "100 · ((E_{n-1} / C)^(Y / n) - 1); None when the account is ruined",
        "compound annual growth rate, over years of 365 days; docs/engine.md, rule 11",
    )
    VOLATILITY_PCT = (
        "volatility_pct",
        "% per √year",
        "100 · std(r, ddof=0) · √Y; None when the account is ruined",
        "docs/engine.md, rule 11",
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
        "per year",
        "cagr_pct / |max_drawdown_pct|; None without a drawdown or when the account is ruined",
        "Young (1991), Calmar Ratio: A Smoother Tool, Futures 20(1)",
    )
    CALMAR_RATIO_TRADES = (
        "calmar_ratio_trades",
        "ratio",
        "net_profit_pct / |max_drawdown_trades_pct|, not annualised; None without a drawdown",
        "docs/engine.md, rule 11",
    )
    MAX_DRAWDOWN_PCT = (
        "max_drawdown_pct",
        "% (≤ 0)",
        "100 · min_j (E_j / max_{k≤j} E_k - 1), k from -1: bar by bar, losses inside trades count",
        "docs/engine.md, rule 8",
    )
    MAX_DRAWDOWN_BAR_PCT = MAX_DRAWDOWN_PCT
    MAX_DRAWDOWN_TRADES_PCT = (
        "max_drawdown_trades_pct",
        "% (≤ 0)",
        "100 · min_i (T_i / max_{k≤i} T_k - 1): from trade to trade",
        "docs/engine.md, rule 11",
    )
    AVG_DRAWDOWN_PCT = (
        "avg_drawdown_pct",
        "% (≤ 0)",
        "100 · mean of T_i / max_{k≤i} T_k - 1 over the trades after which it is below 0; 0 when there are none",
        "docs/engine.md, rule 11",
    )
    TOTAL_TRADES = "total_trades", "count", "N", "docs/engine.md, rule 11"
    WINNING_TRADES = "winning_trades", "count", "#{P_i > 0}", "docs/engine.md, rule 11"
    LOSING_TRADES = "losing_trades", "count", "#{P_i < 0}; a trade of exactly 0 is neither", "docs/engine.md, rule 11"
    LONG_TRADES = "long_trades", "count", "#{long}", "own"
    SHORT_TRADES = "short_trades", "count", "#{short}", "own"
    WIN_RATE = "win_rate", "fraction", "winning_trades / N, after costs; None without trades", "docs/engine.md, rule 11"
    GROSS_WIN_RATE = WIN_RATE
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
    CVAR_95 = (
        "cvar_95",
        "fraction of size",
        "mean of the ⌈N / 20⌉ smallest q_i; None without trades",
        "Rockafellar and Uryasev (2000), Optimization of Conditional Value-at-Risk, J. Risk 2(3); whole trades",
    )
    CVAR_95_PCT = (
        "cvar_95_pct",
        "% of size",
        "100 · cvar_95: the same in percent",
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
    COST_SHARE = (
        "cost_share",
        "ratio",
        "total_costs / Σ G_i; None unless Σ G_i > 0 by more than rounding",
        "docs/engine.md, rule 7",
    )
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
    CAPPED_TRADES = (
        "capped_trades",
        "count",
        "#{trades for which risk_per_trade asked for more than the capital, which is what they got}",
        "rule 6",
    )
    OPEN_AT_END = "open_at_end", "0 or 1", "1 when the last trade ended only because the data do", "rule 4"
    RUINED = "ruined", "0 or 1", "1 when equity reached 0 or less; trading stopped there", "rule 6"

    @classmethod
    def _missing_(cls, value: object) -> Metric | None:
        return ALIASES.get(value) if isinstance(value, str) else None


class CurveMetric(Described):
    """Metrics of a single backtest, which a sweep does not have (`engine.curve`)."""

    SQN = (
        "sqn",
        "ratio",
        "√N · mean(P) / std(P, ddof=1); None below 2 trades or when std is 0",
        "Tharp (2008), Definitive Guide to Position Sizing: the system quality number, here of money",
    )
    LONGEST_DRAWDOWN_DAYS = (
        "longest_drawdown_days",
        "days",
        "longest time from a highest close of equity to the next close at or above it, or to the end",
        "docs/engine.md, rule 11",
    )
    BEST_MONTH_PCT = (
        "best_month_pct",
        "%",
        "100 · max over calendar months (UTC) of equity at their last close / at the last close before - 1",
        "docs/engine.md, rule 11",
    )
    WORST_MONTH_PCT = "worst_month_pct", "%", "the same, min", "docs/engine.md, rule 11"


#: Names of earlier releases: the same value under the name that people search for.
ALIASES: Final[dict[str, Metric]] = {}
ALIASES.update({name: Metric(today) for name, today in OTHER_NAMES.items()})  # type: ignore[call-arg]

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


class MetricValues(dict[str, "float | int | None"]):
    """Metrics by name, plain Python numbers, None where undefined. A name of an earlier release answers as well.

    Keys are `Metric`, which is text, or plain text (`by_name`).
    """

    def __missing__(self, name: object) -> float | int | None:
        return self[as_metric(str(name))]

    def by_name(self) -> MetricValues:
        """The same with names as plain text."""
        return MetricValues({str(name): value for name, value in self.items()})


def as_metric(name: str) -> Metric:
    """The metric called `name`, or that an earlier release called so. Raises UnknownNameError with a suggestion."""
    try:
        return Metric(name)  # type: ignore[call-arg]
    except ValueError:
        pass
    if name in tuple(CurveMetric):
        raise UnknownNameError(
            f"{name} is worked out for single backtests only, as by ls.backtest(...)[{name!r}]; a set of a sweep "
            f"and a trial of a search have {', '.join(Metric)}"
        )
    raise UnknownNameError(f"no metric is called {name!r}{_suggestion(name)}; there are {', '.join(Metric)}")


#: Words for which no metric has a similar name.
_SYNONYMS: Final[Mapping[str, Metric]] = {
    "return": Metric.NET_PROFIT_PCT,
    "mdd": Metric.MAX_DRAWDOWN_PCT,
    "drawdown": Metric.MAX_DRAWDOWN_PCT,
    "expected_shortfall": Metric.CVAR_95,
    "trades": Metric.TOTAL_TRADES,
    "fees": Metric.TOTAL_COSTS,
}


def _suggestion(name: str) -> str:
    plain = "_".join(name.lower().replace("-", " ").replace(".", " ").split())
    names = [str(metric) for metric in (*Metric, *CurveMetric)]
    # A name's beginning says more than letters in common: sharpe is sharpe_ratio.
    close = [full for full in names if plain and full.startswith(plain)][:1]
    close = close or [str(metric) for word, metric in _SYNONYMS.items() if word in plain][:1]
    likely = close[0] if close else nearest(plain, names)
    return f"; did you mean {likely!r}?" if likely else ""


def values_of(row: NDArray[np.float64]) -> MetricValues:
    """Metrics of one row of a sweep's float64 (metrics,) array, as plain Python numbers; NaN is None."""
    values = MetricValues()
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
