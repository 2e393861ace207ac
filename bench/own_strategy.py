"""A user's own rule beside RaptorBT (Rust) on the same signals: one backtest, and a sweep of 184 parameter sets.

The rule is plain NumPy, two moving averages that cross, with no kernel of its own. Ours goes from candles and parameter
sets to every metric, bounds and block sums; averages are the view's, computed anew in every run. RaptorBT gets arrays;
its averages are its own, its crossings those of the rule, both inside its time. Seconds of processor time, in turns;
only ratios are worth quoting.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

import lockstep as ls
from bench.timing import Seconds, in_turns, processor
from lockstep.market.candles import Candles
from lockstep.market.load import load_candles
from lockstep.market.sample import sample_candles
from lockstep.strategies.shared_values import SHARED
from lockstep.strategies.view import MarketView

DATA: Final = Path(__file__).parents[2] / "shared" / "data" / "binance" / "BTCUSDT-5m.parquet"
PAIRS: Final = [(fast, slow) for fast in range(5, 50, 4) for slow in range(60, 220, 10)][:184]
TARGET: Final = 8.0
COSTS: Final = ls.Costs(fee_rate=0.001, slippage_rate=0.0005)
EXECUTION: Final = ls.Execution(compounding=True, risk_per_trade=1.0)

Flags = NDArray[np.bool_]


def crossings(fast: NDArray[np.float64], slow: NDArray[np.float64]) -> tuple[Flags, Flags]:
    """Where `fast` crosses `slow` upwards, and downwards."""
    up, down = np.zeros(fast.size, np.bool_), np.zeros(fast.size, np.bool_)
    up[1:] = (fast[1:] > slow[1:]) & (fast[:-1] <= slow[:-1])
    down[1:] = (fast[1:] < slow[1:]) & (fast[:-1] >= slow[:-1])
    return up, down


class Crossing(ls.Strategy):
    """Long from the bar where the fast average crosses the slow one upwards, until it crosses back."""

    parameters: ClassVar = {"fast": (2, 60), "slow": (50, 300)}

    def warmup(self, params: Mapping[str, Any]) -> int:
        return int(params["slow"])

    def signals(self, view: MarketView, params: Mapping[str, Any]) -> ls.Signals:
        up, down = crossings(view.sma(params["fast"]), view.sma(params["slow"]))
        return ls.Signals(side=up.astype(np.int8), exit=down)


def candles() -> Candles:
    """All 5m bars, or the bundled sample where they are not beside the project."""
    if DATA.exists():
        return load_candles(DATA, timeframe="5m")
    print("no ../shared: measured on the bundled sample of EUR/USD hours")
    return sample_candles()


def peer() -> ModuleType:
    """RaptorBT, which asks the package index for a newer version unless it is told not to. Raises ImportError."""
    os.environ["RAPTORBT_NO_VERSION_CHECK"] = "1"
    import raptorbt

    return raptorbt


def report(label: str, ours: Seconds, theirs: Seconds, target: float | None = TARGET) -> None:
    """One line: how many times faster, by the medians and by the minima."""
    ratio, least = theirs.median / ours.median, theirs.least / ours.least
    verdict = "" if target is None else f"; target {target:.0f}: {'met' if min(ratio, least) >= target else 'MISSED'}"
    print(
        f"{label}: {ratio:.1f} times RaptorBT (of minima {least:.1f}); ours {ours.median * 1e3:.2f} ms, RaptorBT "
        f"{theirs.median * 1e3:.2f} ms{verdict}"
    )


def compare(market: Candles, raptorbt: ModuleType) -> None:
    """One backtest, with and without its curve, and the sweep."""
    columns = [np.ascontiguousarray(getattr(market, name)) for name in ("open", "high", "low", "close", "volume")]
    times, close = market.timestamp * 1_000_000, columns[3]
    config = raptorbt.BacktestConfig(initial_capital=10_000.0, fees=0.001, slippage=0.0005)
    view = MarketView(market)
    up, down = crossings(view.sma(20), view.sma(100))
    signals = ls.Signals(side=up.astype(np.int8), exit=down)

    def single() -> Any:
        return ls.simulate(market, signals, COSTS, EXECUTION)

    def whole() -> None:
        done = single()
        _ = done.metrics, done.equity, done.blocks

    def peer_single() -> Any:
        return raptorbt.run_single_backtest(times, *columns, up, down, 1, 1.0, "BTC", config)

    ours, complete, theirs = in_turns(single, whole, peer_single, runs=15)
    bars = f"{len(market):,} bars"
    report(f"simulate, {bars}", ours, theirs)
    report(f"simulate, {bars}, and all of its result read", complete, theirs, target=None)

    sets = [{"fast": fast, "slow": slow} for fast, slow in PAIRS]

    def sweep() -> Any:
        SHARED.clear()  # nothing is kept from an earlier run
        return ls.sweep(market, Crossing, sets, costs=COSTS, execution=EXECUTION)

    def peer_batch() -> Any:
        items = []
        for number, (fast, slow) in enumerate(PAIRS):
            crossed = crossings(np.asarray(raptorbt.sma(close, fast)), np.asarray(raptorbt.sma(close, slow)))
            items.append(raptorbt.BatchSingleItem(str(number), *crossed, 1, 1.0, "BTC", config))
        return raptorbt.batch_single_backtest(times, *columns, items)

    ours, theirs = in_turns(sweep, peer_batch, runs=3)
    report(f"own NumPy rule, {len(PAIRS)} sets x {bars}", ours, theirs)


def main() -> None:
    """All of it, or a line that says what is missing."""
    print(f"on {processor()}")
    try:
        raptorbt = peer()
    except ImportError as error:
        print(f"not installed, not compared: {error.name} (pip install '.[peers]')")
        return
    compare(candles(), raptorbt)


if __name__ == "__main__":
    main()
