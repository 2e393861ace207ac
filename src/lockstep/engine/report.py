"""A simulation in words: the text that `print(simulation)` shows. Rounding happens here and nowhere else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from lockstep.engine.metrics import COUNTS, CurveMetric, Metric
from lockstep.engine.settings import Execution
from lockstep.engine.trades import Trades

_GROUPS: Final[tuple[tuple[str, tuple[Metric | CurveMetric, ...]], ...]] = (
    (
        "Result",
        (
            Metric.NET_PROFIT_PCT,
            Metric.SHARPE_RATIO,
            Metric.SORTINO_RATIO,
            Metric.CAGR_PCT,
            Metric.VOLATILITY_PCT,
            Metric.CALMAR_RATIO,
            Metric.MAX_DRAWDOWN_PCT,
            CurveMetric.LONGEST_DRAWDOWN_DAYS,
            CurveMetric.BEST_MONTH_PCT,
            CurveMetric.WORST_MONTH_PCT,
            Metric.PROFIT_FACTOR,
        ),
    ),
    (
        "Trades",
        (
            Metric.TOTAL_TRADES,
            Metric.WIN_RATE,
            Metric.EXPECTANCY,
            Metric.AVG_WIN_PCT,
            Metric.AVG_LOSS_PCT,
            Metric.CVAR_95_PCT,
            CurveMetric.SQN,
            Metric.AVG_HOLDING_PERIODS,
            Metric.EXPOSURE,
        ),
    ),
    ("Costs", (Metric.TOTAL_COSTS, Metric.COST_SHARE, Metric.BREAK_EVEN_COST)),
    (
        "Doubts",
        (
            Metric.AMBIGUOUS_TRADES,
            Metric.NET_PROFIT_WORST_PCT,
            Metric.NET_PROFIT_BEST_PCT,
            Metric.GAP_TRADES,
            Metric.REFUSED_SIGNALS,
            Metric.UNFILLED_SIGNALS,
        ),
    ),
)


def format_metric(metric: Metric | CurveMetric, value: float | int | None) -> str:
    """A value as people read it: counts whole, four significant digits otherwise, "-" where undefined."""
    if value is None:
        return "-"
    if metric in COUNTS:
        return f"{int(value):,}"
    digits = f"{value:,.2f}" if abs(value) >= 1 else f"{value:.4g}"
    return f"{digits} %" if metric.unit.startswith("%") else digits


def capped(metrics: Mapping[str, float | int | None], execution: Execution) -> str | None:
    """In how many trades the capital capped the size, in words; None where it did in none."""
    return capped_in_words(
        metrics.get(Metric.CAPPED_TRADES), metrics.get(Metric.TOTAL_TRADES), execution.risk_per_trade
    )


def capped_in_words(trades: float | int | None, total: float | int | None, risk_per_trade: float) -> str | None:
    """As `capped`, from plain numbers: a record's."""
    if not trades or not total:
        return None
    return (
        f"risk_per_trade = {risk_per_trade:g} is capped by the capital in {trades:,} of {total:,} trades (there is no "
        "leverage): their stops lose less than that share of it"
    )


def summary(metrics: Mapping[str, float | int | None], trades: Trades, *, bars: int, execution: Execution) -> str:
    """Several lines: result, trades, costs, doubts and how the trades ended; `bars` is the length of the market."""
    lines = [f"{bars:,} bars, fill at {str(execution.fill).replace('_', ' ')}"]
    if (note := capped(metrics, execution)) is not None:
        lines.append(note)
    if metrics[Metric.RUINED] == 1:
        lines.append("RUINED: equity reached 0; trading stopped there")
    for title, names in _GROUPS:
        lines.append(title)
        lines += [f"  {metric:<24}{format_metric(metric, metrics[metric]):>14}" for metric in names]
    reasons = Counter(str(reason) for reason in trades.exit_reasons())
    if reasons:
        lines.append("Exits")
        lines += [f"  {reason:<24}{count:>14,}" for reason, count in reasons.most_common()]
    return "\n".join(lines)
