"""The nine-parameter liquidity sweep, end to end, beside vectorbt simulating the very same signals.

Ours: from candles and random parameter sets (the family's space) to 35 metrics, bounds and block sums of every set; the
search for levels and signals is inside the time. vectorbt: from ready signal matrices, which it is given for nothing,
to trades, and to trades with six metrics. It checks no time limit here, which only makes it faster.
Rates are bars x sets per second; only ratios are worth quoting. Target: 20 times (issue 2, figure B).
"""

from __future__ import annotations

import importlib.util
import resource
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from bench.timing import in_turns
from lockstep.core.space import Columns
from lockstep.engine.metrics import Metric
from lockstep.market.candles import Candles
from lockstep.market.load import load_candles
from lockstep.market.sample import sample_candles
from lockstep.strategies.evaluate import Evaluator
from lockstep.strategies.liquidity_sweep import LiquiditySweep
from lockstep.strategies.shared_values import SHARED
from lockstep.strategies.view import MarketView

DATA = Path(__file__).parents[2] / "shared" / "data" / "binance" / "BTCUSDT-5m.parquet"
BARS = 105_120
SETS = 2_000
TARGET = 20.0


def candles() -> Candles:
    """A year of 5m bars, or the bundled sample where they are not beside the project."""
    if DATA.exists():
        return load_candles(DATA, timeframe="5m").head(BARS)
    print("no ../shared: measured on the bundled sample of EUR/USD hours, where levels are rare")
    return sample_candles()


def random_sets(count: int) -> Columns:
    """`count` sets drawn from the strategy's space."""
    strategy = LiquiditySweep()
    return strategy.columns(strategy.space.decode(np.random.default_rng(42).random((count, len(strategy.space)))))


def ours(market: Candles, sets: Columns) -> Any:
    """Everything, indicators included: nothing is kept from an earlier call."""
    SHARED.clear()
    return Evaluator(LiquiditySweep(), market).batch(sets)


def measure_ours(market: Candles) -> None:
    """Rate of a sweep, and where its time goes."""
    sets = random_sets(SETS)
    seconds = in_turns(lambda: ours(market, sets), runs=3)[0].median
    trades = ours(market, sets).result.column(Metric.TOTAL_TRADES).mean()
    rate = len(market) * SETS / seconds
    print(f"{SETS:,} sets x {len(market):,} bars: {rate:.2g} bars x sets/s, {trades:.0f} trades per set")

    strategy, view = LiquiditySweep(), MarketView(market)
    start = time.perf_counter()
    prepared = strategy.prepare(view, sets)
    ready = time.perf_counter()
    for lo in range(0, SETS, 100):
        strategy.entries(prepared, sets, lo, lo + 100)
    middle = time.perf_counter()
    print(
        f"  of it: indicators and candidates {ready - start:.3f} s, levels and signals {middle - ready:.3f} s, "
        f"the rest is the walk and the metrics; in all {seconds:.3f} s"
    )


def vectorbt_inputs(market: Candles, sets: Columns, count: int) -> dict[str, Any]:
    """(bars, sets) matrices of the same signals, shifted to the bar at whose open they fill."""
    strategy, view = LiquiditySweep(), MarketView(market)
    batch = strategy.entries(strategy.prepare(view, sets), sets, 0, count)
    shape = (len(market), count)
    longs, shorts = np.zeros(shape, bool), np.zeros(shape, bool)
    stop, target = np.full(shape, np.nan), np.full(shape, np.nan)
    for k in range(count):
        rows = slice(int(batch.offsets[k]), int(batch.offsets[k + 1]))
        bar, side = batch.bar[rows], batch.side[rows]
        fits = bar + 1 < len(market)
        at, bar, side = bar[fits] + 1, bar[fits], side[fits]
        longs[at, k], shorts[at, k] = side > 0, side < 0
        stop[at, k] = np.abs(market.close[bar] - batch.stop[rows][fits]) / market.close[bar]
        target[at, k] = np.abs(market.close[bar] - batch.target[rows][fits]) / market.close[bar]
    return {"entries": longs, "short_entries": shorts, "sl_stop": stop, "tp_stop": target}


def measure_vectorbt(market: Candles) -> None:
    """Ours over its rate without and with metrics, measured in turns."""
    import pandas as pd
    import vectorbt as vbt

    count = 50
    sets = random_sets(SETS)
    inputs = vectorbt_inputs(market, sets, count)
    index = pd.date_range("2022-08-01", periods=len(market), freq="5min")
    close = pd.DataFrame(np.broadcast_to(market.close[:, None], inputs["entries"].shape), index=index)
    prices = {name: getattr(market, name)[:, None] for name in ("open", "high", "low")}
    modes = ["numba"] + (["rust"] if importlib.util.find_spec("vectorbt_rust") is not None else [])

    def simulate(mode: str) -> Any:
        chosen = {"engine": "rust"} if mode == "rust" else {}
        return vbt.Portfolio.from_signals(
            close, **inputs, **prices, price=prices["open"], fees=0.001, slippage=0.0005, init_cash=1e9, freq="5min",
            **chosen,
        )  # fmt: skip

    def with_metrics(mode: str) -> None:
        done = simulate(mode)
        trades = done.trades
        for value in (done.total_return, done.max_drawdown, done.sharpe_ratio, trades.count, trades.win_rate):
            value()
        trades.profit_factor()

    for mode in modes:
        own, alone, metrics = in_turns(
            lambda: ours(market, sets), lambda mode=mode: simulate(mode), lambda mode=mode: with_metrics(mode), runs=5
        )
        for label, seconds in (("simulation alone", alone), ("with six metrics", metrics)):
            ratio = (SETS / own.median) / (count / seconds.median)
            verdict = "met" if ratio >= TARGET else "MISSED"
            rate = len(market) * count / seconds.median
            print(f"{ratio:6.1f} times vectorbt ({mode}, {label}, {rate:.2g}); target {TARGET:.0f}: {verdict}")


def measure_memory(market: Candles) -> None:
    """A grid of 201,600 sets on 5,000 bars: peak of this process, and what the sweep added."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sets = random_sets(201_600)
    start = time.perf_counter()
    ours(market.head(5_000), sets)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"201,600 sets x 5,000 bars: {seconds:.1f} s, peak {peak:.0f} MB ({before:.0f} MB before); target 1,000 MB")


def main() -> None:
    """All of it; says what is missing instead of measuring something else."""
    market = candles()
    measure_memory(market)
    measure_ours(market)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            measure_vectorbt(market)
    except ImportError as error:
        print(f"not installed, not compared: {error.name}")


if __name__ == "__main__":
    main()
