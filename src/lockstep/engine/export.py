"""Trades and equity as CSV, in full precision."""

from __future__ import annotations

from typing import Any, Final

from lockstep.engine.simulate import Simulation
from lockstep.market.checks import format_time

EDITIONS: Final = {"pnl_pct": 2}
"""Columns that were redefined: pnl_pct was a fraction of size, which is now `net_return`, and is percent."""


def trades_csv(simulation: Simulation) -> bytes:
    """The trades as CSV: one header line, times in ms UTC, floats in their shortest exact form."""
    rows = simulation.trades.to_dicts(simulation.timestamp)
    names = list(rows[0]) if rows else [*simulation.trades.columns(), "exit_reason", "entry_time", "exit_time"]
    lines = [",".join(names), *(",".join(_text(row[name]) for name in names) for row in rows)]
    return ("\n".join(lines) + "\n").encode()


def readable_trades_csv(simulation: Simulation, *, symbol: str | None) -> bytes:
    """The trades as CSV for people: symbol and times (UTC) first, then the columns of `trades_csv`."""
    rows = simulation.trades.to_dicts(simulation.timestamp)
    times = ("entry_time", "exit_time")
    names = [name for name in [*simulation.trades.columns(), "exit_reason"] if name != "reason"]
    lines = [",".join(["symbol", *times, *names])]
    for row in rows:
        front = [_quoted(symbol or ""), *(format_time(row[name]) for name in times)]
        lines.append(",".join([*front, *(_text(row[name]) for name in names)]))
    return ("\n".join(lines) + "\n").encode()


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if set(text) & set(',"\n') else text


def equity_csv(simulation: Simulation) -> bytes:
    """Equity at the close of each bar as CSV: timestamp (ms UTC at bar open), equity (quote currency)."""
    pairs = zip(simulation.timestamp.tolist(), simulation.equity.tolist(), strict=True)
    return ("timestamp,equity\n" + "".join(f"{time},{value!r}\n" for time, value in pairs)).encode()


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    # `repr` is the shortest text that reads back to the same float.
    return repr(value) if isinstance(value, float) else str(value)
