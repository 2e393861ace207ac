"""What several reports are put together from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.table import Table

from lockstep.cli.words import METRICS, count, metric


def facts(rows: Iterable[tuple[str, str]]) -> Table:
    """Label and value per line."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for label, value in rows:
        table.add_row(f"  {label}", value)
    return table


def metrics_table(heading: str, metrics: Mapping[str, Any], baselines: Mapping[str, Mapping[str, Any]]) -> Table:
    """Metrics in plain words, one column per thing compared with. Where room is short, words wrap and numbers stay."""
    table = Table(box=None, padding=(0, 2), show_edge=False)
    table.add_column("  result")
    table.add_column(heading, justify="right", no_wrap=True)
    for name in baselines:
        table.add_column(name, justify="right", no_wrap=True)
    for name, (label, _) in METRICS.items():
        if name in metrics:
            others = [metric(name, values[name]) if name in values else "" for values in baselines.values()]
            table.add_row(f"  {label}", metric(name, metrics[name]), *others)
    return table


def luck(baselines: Mapping[str, Any]) -> list[str]:
    """Where the result stands among the same trades made at random times."""
    luck = baselines.get("random_entries")
    if not luck:
        return []
    told = []
    for name, label in (("net_profit_pct", "net profit"), ("sharpe_ratio", "Sharpe ratio")):
        found = luck[name]
        if found["percentile"] is not None:
            span = f"{metric(name, found['p05'])} to {metric(name, found['p95'])}"
            told.append(f"    {label} is above {found['percentile']:.1f} % of them (nine in ten: {span})")
    return (
        [f"  random entries ({count(luck['draws'])} draws of the same trades at other times):", *told] if told else []
    )
