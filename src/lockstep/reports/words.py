"""Numbers and metrics in words for display. Nothing is rounded anywhere else."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

NOTHING: Final = "-"
TRAINED: Final = "network"
"""Key of the trained network in the scores of a summary; the other keys are baselines."""


def count(value: int) -> str:
    """A whole number with thousands separated: 12,345."""
    return f"{value:,}"


def counted(value: int, noun: str) -> str:
    """A number and its noun in the right form: 1 gap, 12,345 gaps."""
    return f"{count(value)} {noun if value == 1 else f'{noun}s'}"


def number(value: float) -> str:
    """Four significant digits, thousands separated, a power of ten only where it helps: 0.001234, 12.3, 4.1e+08."""
    if not math.isfinite(value):
        return str(value)
    size = abs(value)
    if size == 0:
        return "0"
    if size >= 1e7 or size < 1e-4:
        return f"{value:.2g}"
    if size >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def duration(seconds: float) -> str:
    """Seconds in the units of everyday: 0.4 s, 12 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def size(byte_count: int) -> str:
    """Bytes as kB, MB or GB."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if byte_count >= scale:
            return f"{byte_count / scale:.1f} {unit}"
    return f"{byte_count} bytes"


def instant(utc_ms: int) -> str:
    """Milliseconds since 1970 as 2024-05-01 13:00 UTC."""
    return f"{datetime.fromtimestamp(utc_ms / 1000, tz=UTC):%Y-%m-%d %H:%M} UTC"


def _percent(value: float) -> str:
    return f"{value:+,.2f} %"


def share(value: float | None) -> str:
    """A share of one as 87.5 %."""
    return NOTHING if value is None else f"{100 * value:.1f} %"


def four_places(value: float | None) -> str:
    """A score as 0.4880: in a column of scores the digits stand below each other."""
    return NOTHING if value is None else f"{value:.4f}"


def signed(value: float | None) -> str:
    """A difference of scores as +0.0199."""
    return NOTHING if value is None else f"{value:+.4f}"


def _fine_share(value: float) -> str:
    return f"{100 * value:.4f} %"


def _percent_of(value: float) -> str:
    return f"{value:,.2f} %"


def _multiple(value: float) -> str:
    """A share of one; from the whole on as a multiple, since 847.5 % of a profit is hard to picture."""
    return share(value) if value < 1.0 else f"{value:,.1f} x"


def _plain(value: float) -> str:
    return count(value) if isinstance(value, int) else number(value)


# The metrics that decide whether a backtest is worth a closer look. The others are in `--json` and in the trials;
# `engine.metrics.Metric` has the formula of each.
METRICS: Final[Mapping[str, tuple[str, Callable[[Any], str]]]] = {
    "net_profit_pct": ("net profit on capital", _percent),
    "cagr_pct": ("CAGR", _percent),
    "volatility_pct": ("volatility, yearly", _percent_of),
    "sharpe_ratio": ("Sharpe ratio, yearly", number),
    "sortino_ratio": ("Sortino ratio, yearly", number),
    # Of equity at each bar: losses inside trades count.
    "max_drawdown_pct": ("max drawdown (bar by bar)", _percent),
    "longest_drawdown_days": ("longest drawdown, days", number),
    "calmar_ratio": ("Calmar ratio, yearly", number),
    "best_month_pct": ("best month", _percent),
    "worst_month_pct": ("worst month", _percent),
    "total_trades": ("trades", _plain),
    "win_rate": ("win rate, after costs", share),
    "profit_factor": ("profit factor", number),
    "expectancy": ("expectancy of a trade", _percent),
    "cvar_95_pct": ("CVaR 95 % per trade", _percent),
    "sqn": ("SQN", number),
    "avg_holding_periods": ("mean holding, bars", number),
    "exposure": ("time in the market", share),
    "cost_share": ("costs of gross profit", _multiple),
    "break_even_cost": ("break-even cost/side", _fine_share),
}


def metric(name: str, value: Any) -> str:
    """A metric's value for display; an undefined one is "-"."""
    if value is None:
        return NOTHING
    _, render = METRICS.get(name, (name, _plain))
    return render(value)


def plain_name(name: str) -> str:
    """A key in words: first_loss as first loss."""
    return name.replace("_", " ")


def capital(text: str) -> str:
    """`text` with a capital first letter."""
    return text[:1].upper() + text[1:]


def value_in_words(value: Any) -> str | None:
    """A value of a summary for display; None for a table or a long list."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return count(value)
    if isinstance(value, float):
        return number(value)
    if isinstance(value, str):
        return value
    if isinstance(value, list) and len(value) <= 12 and all(isinstance(item, str | int | float) for item in value):
        return ", ".join(value_in_words(item) or "" for item in value) or "none"
    return None


def parameter(value: Any) -> str:
    """A parameter's value for display."""
    return number(value) if isinstance(value, float) else str(value)
