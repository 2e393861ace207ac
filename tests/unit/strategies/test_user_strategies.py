"""What users write: the 30-line example, and a compiled strategy of six parameters that is not ours."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench import workload

import lockstep as ls
from lockstep.core.errors import StrategyError
from lockstep.engine.signals import Signals
from lockstep.market import indicators
from lockstep.runs.seeds import SeedTree
from lockstep.strategies import CompiledStrategy, MarketView, lookup
from lockstep.strategies.contract import check_twins
from lockstep.validation import quick_look_ahead_check

EXAMPLE = Path(__file__).parents[3] / "examples" / "my_strategy.py"
COSTS = ls.Costs(fee_rate=0.0, slippage_rate=0.0, spread=0.0001)


def test_the_example_is_thirty_lines_of_code() -> None:
    _, _, code = EXAMPLE.read_text().partition('"""\n\n')
    assert len([line for line in code.splitlines() if line.strip()]) <= 30


def test_the_example_trades_sweeps_and_looks_at_no_future() -> None:
    strategy = lookup(f"{EXAMPLE}:TrendBreakout")
    candles = ls.sample_candles()
    result = ls.backtest(candles, strategy, {"channel": 30}, costs=COSTS)
    assert len(result.trades) > 10
    table = ls.sweep(candles, strategy, {"channel": [20, 40, 60], "reward": [1.5, 3.0]}, costs=COSTS)
    best = table.best("net_profit_pct", min_trades=5)
    assert ls.backtest(candles, strategy, best.parameters, costs=COSTS).metrics == best.metrics
    view = MarketView(candles, strategy.inputs)
    report = quick_look_ahead_check(strategy, view, seeds=SeedTree(42))
    assert report.decisions > 100
    assert report.warnings == ()


class Workload(CompiledStrategy):
    """The benchmark's workload as a user would bring it: own features, own kernels."""

    parameters = {
        "pierce": (0.0, 0.003),
        "lookback": [20, 50, 100],
        "k": (0.0, 2.0),
        "m": (0.5, 3.0),
        "rr": (1.5, 4.0),
        "H": [5, 25, 50],
    }
    defaults = {"pierce": 0.0005, "lookback": 50, "k": 1.0, "m": 1.0, "rr": 2.0, "H": 50}

    def warmup(self, params: Any) -> int:
        return max(params["lookback"], 20, 14)

    def level(self, view: MarketView, lookback: int) -> Any:
        return view.once(("level", lookback), lambda: indicators.previous_min(view.low, lookback))

    def signals(self, view: MarketView, params: Any) -> Signals:
        level = self.level(view, params["lookback"])
        enter = (view.low < level * (1.0 - params["pierce"])) & (view.close > level)
        enter &= (view.volume > params["k"] * view.mean_volume(20)) & np.isfinite(view.atr(14))
        distance = params["m"] * view.atr(14)
        return Signals(
            side=enter.astype(np.int8),
            stop=view.close - distance,
            target=view.close + params["rr"] * distance,
            time_limit=params["H"],
        )

    def prepare(self, view: MarketView, sets: Any) -> Any:
        lookbacks = tuple(np.unique(sets["lookback"]).tolist())
        market = {name: getattr(view, name) for name in ("low", "close", "volume")}
        market |= {"atr": view.atr(14), "vsma": view.mean_volume(20)}
        market["levels"] = np.stack([self.level(view, lookback) for lookback in lookbacks])
        return workload.prepare(market, sets, lookbacks)

    def entries(self, prepared: Any, sets: Any, lo: int, hi: int) -> Any:
        return workload.entries(prepared, lo, hi)


def test_a_users_compiled_strategy_passes_the_contract_and_repeats_its_winner() -> None:
    edges = [{"pierce": 0.0, "k": 0.0, "lookback": lookback} for lookback in (20, 100)]
    assert check_twins(Workload(), candles=[ls.sample_candles()], parameter_sets=edges, sets=8, bars=400) > 500
    strategy = Workload()
    sets = strategy.columns(strategy.space.decode(np.random.default_rng(1).random((500, 6))))
    table = ls.sweep(ls.sample_candles(), strategy, sets, costs=COSTS)
    best = table.best("sharpe_ratio", min_trades=10)
    assert ls.backtest(ls.sample_candles(), strategy, best.parameters, costs=COSTS).metrics == best.metrics


class FarStops(Workload):
    """A distance in place of a price."""

    def entries(self, prepared: Any, sets: Any, lo: int, hi: int) -> Any:
        batch = super().entries(prepared, sets, lo, hi)
        return replace(batch, stop=np.full_like(batch.stop, 1e-4))


def test_far_stops_of_a_users_compiled_strategy_are_refused_in_a_sweep_too() -> None:
    sets = {"lookback": [20, 50]}
    with pytest.raises(StrategyError, match="allow_far_stops"):
        ls.sweep(ls.sample_candles(), FarStops(), sets, costs=COSTS)
    table = ls.sweep(ls.sample_candles(), FarStops(), sets, costs=COSTS, execution=ls.Execution(allow_far_stops=True))
    assert len(table) == 2
