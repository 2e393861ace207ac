"""The engine beside a limit prototype, vectorbt and backtesting.py, on one workload and in one run.

The workload (six parameters, 105,120 real five-minute bars), the prototype and the peers' scripts are those of
../shared/bench/backtest. Ours goes the way every strategy goes: candidate kernel, EntryBatch, walk, all metrics, bounds
and block sums. Sizes compound from all-in, as the prototype's do, so that no account is ruined and stops early.
Rates are bars x sets per second of processor time; only ratios are worth quoting, beside the processor's name.
"""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from bench import workload
from bench.timing import in_turns, processor
from lockstep.engine.metrics import Metric
from lockstep.engine.preparation import MarketArrays, market_arrays
from lockstep.engine.settings import Execution
from lockstep.engine.signals import Signals
from lockstep.engine.simulate import simulate
from lockstep.engine.sweep import SweepResult, sweep_entries
from lockstep.market.candles import Candles

SCRIPTS = Path(__file__).parents[2] / "shared" / "bench" / "backtest"
EXECUTION = Execution(compounding=True, risk_per_trade=1.0)


def shared(name: str) -> ModuleType:
    """One of the shared benchmark's modules."""
    if str(SCRIPTS) not in sys.path:
        sys.path.insert(0, str(SCRIPTS))
    # The prototype's folder may not be writable, so its kernels are compiled anew.
    os.environ.setdefault("LIMIT_CACHE", "0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(name)


class Market:
    """The workload's bars as the prototype and as the engine read them."""

    def __init__(self, bars: int | None = None) -> None:
        common, limit = shared("common"), shared("limit")
        self.raw: dict[str, Any] = common.load(common.MAIN, bars)
        self.indicators = common.indicators(self.raw)
        self.prototype = limit.prep(self.raw, self.indicators)
        self.bars = int(self.raw["close"].size)
        self.candles = Candles.from_arrays(
            timestamp=np.arange(self.bars, dtype=np.int64) * 300_000, timeframe="5m", **self.raw
        )
        self.arrays: MarketArrays = market_arrays(self.candles)

    def sweep(self, sets: dict[str, Any]) -> SweepResult:
        """Everything a sweep does, preparation of the candidates included."""
        prepared = workload.prepare(self.prototype, sets, shared("common").LOOKBACKS)
        count = int(sets["k"].size)
        return sweep_entries(self.arrays, lambda lo, hi: workload.entries(prepared, lo, hi), count, execution=EXECUTION)


def compare_with_limit(market: Market) -> dict[str, float]:
    """Sweeps of 1,000 and 10,000 sets, sparse and dense. Returns our rate of the larger ones."""
    common, limit = shared("common"), shared("limit")
    rates = {}
    for grid in ("brief", "dense"):
        for count in (1_000, 10_000):
            sets = common.param_sets(count, g=common.GRIDS[grid])
            theirs = limit.run_cand(market.prototype, sets)
            trades = market.sweep(sets).column(Metric.TOTAL_TRADES).mean()
            runs = 9 if count == 1_000 else 5
            ours, prototype = in_turns(
                lambda sets=sets: market.sweep(sets),
                lambda sets=sets: limit.run_cand(market.prototype, sets),
                runs=runs,
            )
            rates[grid] = market.bars * count / ours.median
            label = "sparse" if grid == "brief" else grid
            print(
                f"{label:>7} {count:>7,} sets x {market.bars:,} bars: {prototype.median / ours.median:5.2f} of "
                f"the limit prototype (of minima {prototype.least / ours.least:.2f}; {rates[grid]:.2g} bars x sets/s; "
                f"trades per set {trades:.0f}, prototype {theirs[:, 0].mean():.0f})"
            )
    return rates


def measure_grid() -> None:
    """201,600 combinations on 5,000 bars, against the prototype without and with its exit tables."""
    common, limit = shared("common"), shared("limit")
    market = Market(5_000)
    for name in ("brief_big", "dense_big"):
        sets = common.full_grid(common.GRIDS[name])
        ours, prototype, table = in_turns(
            lambda sets=sets: market.sweep(sets),
            lambda sets=sets: limit.run_cand(market.prototype, sets),
            lambda name=name: limit.run_grid(market.prototype, common.GRIDS[name]),
            runs=3,
        )
        print(
            f"grid {name}: {sets['k'].size:,} sets x 5,000 bars in {ours.median:.2f} s (target 2 s); "
            f"{prototype.median / ours.median:.2f} of the prototype, {table.median / ours.median:.3f} of the one with "
            "exit tables"
        )


def compare_with_backtestingpy(market: Market) -> None:
    """One `simulate`, signals to trades, metrics and curve, against `Backtest.run` on the same signals."""
    common, peer = shared("common"), shared("peer_backtestingpy")
    for label, parameters in (
        ("sparse", common.DEFAULT),
        ("dense", {"pierce": 0.0, "lookback": 50, "k": 0.6, "m": 2.0, "rr": 2.0, "H": 50}),
    ):
        side = common.signals(market.raw, market.indicators, parameters).astype(np.int8)
        distance = parameters["m"] * market.indicators["atr"]
        close = market.raw["close"]
        signals = Signals(
            side=side,
            stop=close - distance,
            target=close + parameters["rr"] * distance,
            time_limit=int(parameters["H"]),
        )
        test = peer.make(market.raw, market.indicators)
        ours, theirs = in_turns(
            lambda signals=signals: simulate(market.candles, signals, execution=EXECUTION),
            lambda test=test, parameters=parameters: test.run(**parameters),
            runs=3,
        )
        print(
            f"simulate, {label}: {theirs.median / ours.median:6.0f} times faster than backtesting.py's run "
            f"({ours.median * 1e3:.1f} ms)"
        )


def compare_with_vectorbt(market: Market, rates: dict[str, float]) -> None:
    """Rates of vectorbt's modes with six metrics: 105,120 bars sparse, 5,000 bars dense, as measured for it before."""
    common, peer = shared("common"), shared("peer_vectorbt")
    modes = ["signals"]
    if importlib.util.find_spec("vectorbt_rust") is not None:
        modes.append("rust")
    small = Market(5_000)
    for label, grid, place, count, chunk in (
        ("sparse", "brief", market, 100, 50),
        ("dense", "dense", small, 400, 200),
    ):
        sets = common.param_sets(count, g=common.GRIDS[grid])
        best, best_mode = 0.0, ""
        for mode in modes:
            index = peer.index(place.bars)
            (taken,) = in_turns(
                lambda mode=mode, place=place, sets=sets, index=index, chunk=chunk: peer.sweep_all(
                    mode, place.raw, place.indicators, sets, index, chunk, True
                ),
                runs=2,
            )
            if place.bars * count / taken.median > best:
                best, best_mode = place.bars * count / taken.median, mode
        print(f"{label:>7}: {rates[grid] / best:6.0f} times vectorbt's fastest mode here ({best_mode}, {best:.2g})")


def main() -> None:
    """All of it; says what is missing instead of measuring something else."""
    if not SCRIPTS.exists():
        print("the workload, the prototype and the peers' scripts are not beside the project (../shared): skipped")
        return
    print(f"on {processor()}")
    market = Market()
    rates = compare_with_limit(market)
    measure_grid()
    for compare in (compare_with_backtestingpy, lambda m: compare_with_vectorbt(m, rates)):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                compare(market)
        except ImportError as error:
            print(f"not installed, not compared: {error.name}")


if __name__ == "__main__":
    main()
