"""Numbers and metrics in plain words. The only place where anything is rounded, and only for display."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

NOTHING: Final = "-"


def count(value: int) -> str:
    """12345 as 12,345."""
    return f"{value:,}"


def counted(value: int, noun: str) -> str:
    """1 gap, 12,345 gaps."""
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
    """Seconds as a person says them: 0.4 s, 12 s, 3 min 20 s, 2 h 5 min."""
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


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"


def _fine_share(value: float) -> str:
    return f"{100 * value:.4f} %"


def _plain(value: float) -> str:
    return count(value) if isinstance(value, int) else number(value)


# What a person asks of a backtest, in the order they ask it. The other metrics are in `--json` and in the trials.
METRICS: Final[Mapping[str, tuple[str, Callable[[Any], str]]]] = {
    "net_profit_pct": ("net profit, on the starting capital", _percent),
    "sharpe_ratio": ("Sharpe ratio, bar by bar, per year", number),
    "sortino_ratio": ("Sortino ratio, bar by bar, per year", number),
    "max_drawdown_bar_pct": ("deepest fall from a peak, inside trades too", _percent),
    # Over the fall of equity from trade to trade, as is usual: not over the deeper one in the line above.
    "calmar_ratio": ("net profit per fall between trades (Calmar)", number),
    "total_trades": ("trades", _plain),
    "gross_win_rate": ("winning trades", _share),
    "profit_factor": ("won per unit lost (profit factor)", number),
    "expectancy": ("mean result of a trade, on its size", _percent),
    "cvar_95_pct": ("mean of the worst twentieth of trades", _percent),
    "avg_holding_periods": ("bars in a trade, mean", number),
    "exposure": ("time in the market", _share),
    "cost_share": ("costs, as share of the profit before costs", _share),
    "break_even_cost": ("cost per side at which profit is zero", _fine_share),
}


def metric(name: str, value: Any) -> str:
    """A metric's value for display; an undefined one is "-"."""
    if value is None:
        return NOTHING
    _, render = METRICS.get(name, (name, _plain))
    return render(value)


def parameter(value: Any) -> str:
    """A parameter's value for display."""
    return number(value) if isinstance(value, float) else str(value)
