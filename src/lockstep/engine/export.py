"""Trades and equity as CSV, in full precision."""

from __future__ import annotations

from typing import Any

from lockstep.engine.simulate import Simulation


def trades_csv(simulation: Simulation) -> bytes:
    """The trades as CSV: one header line, times in ms UTC, floats in their shortest exact form."""
    rows = simulation.trades.to_dicts(simulation.timestamp)
    names = list(rows[0]) if rows else [*simulation.trades.columns(), "exit_reason", "entry_time", "exit_time"]
    lines = [",".join(names), *(",".join(_text(row[name]) for name in names) for row in rows)]
    return ("\n".join(lines) + "\n").encode()


def equity_csv(simulation: Simulation) -> bytes:
    """Equity at the close of each bar as CSV: timestamp (ms UTC at bar open), equity (quote currency)."""
    pairs = zip(simulation.timestamp.tolist(), simulation.equity.tolist(), strict=True)
    return ("timestamp,equity\n" + "".join(f"{time},{value!r}\n" for time, value in pairs)).encode()


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    # `repr` is the shortest text that reads back to the same float.
    return repr(value) if isinstance(value, float) else str(value)
