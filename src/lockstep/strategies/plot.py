"""A figure of one backtest: equity, drawdown, trades. matplotlib is imported when a figure is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lockstep.core import libraries

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lockstep.engine.simulate import Simulation


def backtest_figure(title: str, simulation: Simulation) -> Figure:
    """Equity at each close, how far it is below its peak, and the result of each trade at its exit.

    Raises MissingLibraryError without matplotlib.
    """
    figures = libraries.require("matplotlib.figure", extra="plots", purpose="plot()")
    # A figure of its own, not one of pyplot's: a server without a display draws it, and nobody has to close it.
    figure: Figure = figures.Figure(figsize=(10, 7), layout="constrained")
    equity, drawdown, results = figure.subplots(3, 1, sharex=True, height_ratios=(3, 1, 1))
    times = simulation.timestamp.astype("datetime64[ms]")
    start = simulation.execution.initial_capital
    peak = np.maximum.accumulate(np.concatenate(([start], simulation.equity)))[1:]
    equity.plot(times, simulation.equity, label="equity")
    equity.plot(times, peak, linewidth=0.8, linestyle=":", label="highest so far")
    equity.legend(loc="upper left")
    equity.set_ylabel("equity, quote currency")
    equity.set_title(title)
    drawdown.fill_between(times, 100.0 * (simulation.equity / peak - 1.0), 0.0, alpha=0.5)
    drawdown.set_ylabel("drawdown, %")
    trades = simulation.trades
    colours = np.where(trades.pnl > 0.0, "tab:green", "tab:red")
    results.scatter(times[trades.exit_bar], trades.pnl_pct, c=colours, s=8)
    results.axhline(0.0, linewidth=0.8)
    results.set_ylabel("trade, % of size")
    results.set_xlabel("time (UTC)")
    return figure
