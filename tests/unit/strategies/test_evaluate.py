"""One path for backtests and sweeps, plain and compiled strategies, this process and others."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest

from lockstep.core.errors import NoValidTrialError, SpaceError, StrategyError, UnknownNameError
from lockstep.engine.costs import Costs
from lockstep.engine.metrics import Metric
from lockstep.engine.settings import Execution
from lockstep.engine.signals import Signals
from lockstep.engine.simulate import simulate
from lockstep.market.candles import Candles
from lockstep.market.sample import sample_candles
from lockstep.storage.blobs import FolderBlobStore
from lockstep.strategies import evaluate
from lockstep.strategies.base import Strategy
from lockstep.strategies.batches import concatenate, empty_batch, limited, signals_of
from lockstep.strategies.evaluate import Evaluator, backtest, decide
from lockstep.strategies.inputs import Events, EventSeries, HigherTimeframe, OwnCandles
from lockstep.strategies.liquidity_sweep import LiquiditySweep
from lockstep.strategies.parameter_sets import columns
from lockstep.strategies.registry import read_source
from lockstep.strategies.sweeps import sweep
from lockstep.strategies.task import sweep_task
from lockstep.strategies.view import MarketView

CANDLES = sample_candles()
COSTS = Costs(fee_rate=0.0, slippage_rate=0.0, spread=0.0001)
"""One pip, as the sample's market charges."""
LOOSE = {"pierce_depth": 0.0003, "volume_spike_threshold": 1.2, "reversal_candles": 1, "min_level_touches": 2}


class Crossing(Strategy):
    """Plain: every field of Signals is used."""

    parameters = {"fast": (3, 20), "slow": (21, 80), "trail": [0.0, 2.0]}
    defaults = {"fast": 8, "slow": 30, "trail": 0.0}
    constraints = {"fast < slow": lambda p: p["fast"] < p["slow"]}

    def warmup(self, params: Any) -> int:
        return params["slow"]

    def signals(self, view: MarketView, params: Any) -> Signals:
        fast, slow = view.sma(params["fast"]), view.sma(params["slow"])
        above = fast > slow
        crossed = np.append(False, above[1:] != above[:-1])
        crossed[: self.warmup(params)] = False
        direction = np.where(above, 1, -1)
        atr = np.nan_to_num(view.rolling_atr(14), nan=1e-3)
        return Signals(
            side=(crossed * direction).astype(np.int8),
            stop=view.close - 2.0 * direction * atr,
            target=view.close + 3.0 * direction * atr,
            exit=(np.arange(len(view)) % 400 == 399),
            trail=params["trail"] * atr + 1e-3 if params["trail"] else None,
        )


def sampled(strategy: Strategy, count: int, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return strategy.columns(strategy.space.decode(rng.random((count, len(strategy.space)))))


def test_the_winner_of_a_compiled_sweep_repeats_to_the_last_bit() -> None:
    """Two thousand sets, and each twentieth of them again, alone."""
    strategy = LiquiditySweep()
    sets = sampled(strategy, 2_000)
    sets["pierce_depth"] /= 8.0
    sets["volume_spike_threshold"] /= 2.0
    table = sweep(CANDLES, strategy, sets, costs=COSTS)
    best = table.best("net_profit_pct", min_trades=10)
    for index in (best.index, *range(0, 2_000, 20)):
        again = backtest(CANDLES, strategy, table.parameters_of(index), costs=COSTS)
        assert repr(again.metrics) == repr(table.metrics_of(index))
        assert again.simulation.blocks.r1.tolist() == table.result.blocks[index, :, 0].tolist()
        assert again.simulation.blocks.r2.tolist() == table.result.blocks[index, :, 1].tolist()
    assert best.metrics == table.metrics_of(best.index)
    assert table.result.column(Metric.TOTAL_TRADES).sum() > 20_000


def test_the_winner_of_a_plain_sweep_repeats_to_the_last_bit() -> None:
    candles = CANDLES.head(1_500)
    table = sweep(candles, Crossing(), sampled(Crossing(), 1_000), costs=COSTS)
    for index in range(0, 1_000, 10):
        again = backtest(candles, Crossing, table.parameters_of(index), costs=COSTS)
        assert repr(again.metrics) == repr(table.metrics_of(index))


def test_the_compiled_path_and_the_plain_rule_make_the_same_trades() -> None:
    strategy = LiquiditySweep()
    params = strategy.resolve(LOOSE)
    compiled = backtest(CANDLES, strategy, params, costs=COSTS)
    plain = simulate(CANDLES, strategy.checked_signals(MarketView(CANDLES), params), COSTS)
    assert compiled.metrics == plain.metrics
    assert compiled.trades.columns()["pnl"].tolist() == plain.trades.columns()["pnl"].tolist()
    assert len(compiled.trades) > 50


def test_a_plain_strategy_trades_as_its_signals_do_with_every_field() -> None:
    params = Crossing().resolve({"trail": 2.0})
    signals = Crossing().checked_signals(MarketView(CANDLES), params)
    execution = Execution(max_holding=60)
    one = backtest(CANDLES, Crossing, params, costs=COSTS, execution=execution)
    assert one.metrics == simulate(CANDLES, signals, COSTS, execution).metrics
    reasons = {str(reason) for reason in one.trades.exit_reasons()}
    assert {"TRAIL", "EXIT", "MAX_HOLD"} <= reasons


def test_decisions_survive_the_way_through_entries() -> None:
    params = Crossing().resolve({"trail": 2.0})
    view = MarketView(CANDLES)
    signals = Crossing().checked_signals(view, params)
    decided = decide(Crossing(), view, params)
    at = np.flatnonzero(signals.side)
    assert np.array_equal(decided.side, signals.side)
    assert np.array_equal(decided.exit, signals.exit)
    for name in ("stop", "target", "trail"):
        assert np.array_equal(getattr(decided, name)[at], getattr(signals, name)[at])
    assert decided.time_limit is None


def test_max_holding_limits_entries_that_carry_no_limit_and_no_others() -> None:
    params = LiquiditySweep().resolve({**LOOSE, "max_holding_periods": 30})
    long, short = (
        backtest(CANDLES, "liquidity_sweep", params, execution=Execution(max_holding=bars)) for bars in (None, 3)
    )
    assert long.metrics == short.metrics
    free, held = (backtest(CANDLES, Crossing, execution=Execution(max_holding=bars)) for bars in (None, 3))
    assert int(held.trades.holding_periods.max()) == 3
    assert int(free.trades.holding_periods.max()) > 3


def test_max_holding_limits_the_trades_of_a_sweep_as_those_of_a_backtest() -> None:
    candles = CANDLES.head(1_500)
    sets = sampled(Crossing(), 20)
    free, held = (sweep(candles, Crossing(), sets, execution=Execution(max_holding=bars)) for bars in (None, 3))
    for index in range(20):
        again = backtest(candles, Crossing, held.parameters_of(index), execution=Execution(max_holding=3))
        assert repr(again.metrics) == repr(held.metrics_of(index))
    assert free.result.metrics.tobytes() != held.result.metrics.tobytes()


def test_neither_chunks_nor_neighbours_change_a_row() -> None:
    strategy = LiquiditySweep()
    sets = sampled(strategy, 300)
    sets["pierce_depth"] /= 8.0
    evaluator = Evaluator(strategy, CANDLES, costs=COSTS)
    whole = evaluator.batch(sets)
    parts = [
        evaluator.batch({name: column[lo:hi] for name, column in sets.items()})
        for lo, hi in ((0, 1), (1, 130), (130, 300))
    ]
    joined = evaluate.join(parts)
    assert np.array_equal(whole.result.metrics, joined.result.metrics, equal_nan=True)
    assert np.array_equal(whole.result.blocks, joined.result.blocks, equal_nan=True)


def test_sets_that_break_a_constraint_are_left_out_and_marked() -> None:
    table = sweep(CANDLES.head(500), Crossing, columns(fast=[5, 50, 8], slow=[30, 30, 30]))
    assert table.not_evaluated.tolist() == [False, True, False]
    assert np.isnan(table.result.metrics[1]).all()
    assert np.isnan(table.result.blocks[1]).all()
    alone = backtest(CANDLES.head(500), Crossing, {"fast": 8, "slow": 30})
    assert table.metrics_of(2) == alone.metrics
    with pytest.raises(StrategyError, match="break the constraint 'fast < slow'"):
        backtest(CANDLES, Crossing, {"fast": 50, "slow": 30})


class FailsAbove10(Crossing):
    def signals(self, view: MarketView, params: Any) -> Signals:
        if params["fast"] > 10:
            raise ValueError(f"too fast: {params['fast']}")
        return super().signals(view, params)


def test_a_failing_set_stops_the_sweep_or_is_recorded_with_its_message() -> None:
    """R3.18: reported with their message, never swallowed."""
    sets = {"fast": [9, 11, 10, 12]}
    with pytest.raises(StrategyError, match="FailsAbove10 failed in signals: ValueError: too fast: 11"):
        sweep(CANDLES.head(300), FailsAbove10, sets)
    table = sweep(CANDLES.head(300), FailsAbove10, sets, on_error="record")
    assert list(table.errors) == [1, 3]
    assert "ValueError: too fast: 12" in table.errors[3]
    assert np.isnan(table.result.metrics[[1, 3]]).all()
    assert not np.isnan(table.result.column(Metric.TOTAL_TRADES)[[0, 2]]).any()


class FailingKernel(LiquiditySweep):
    def entries(self, prepared: Any, sets: Any, lo: int, hi: int) -> Any:
        if (sets["reversal_candles"][lo:hi] == 3).any():
            raise RuntimeError("no threes")
        return super().entries(prepared, sets, lo, hi)


class FailingPrepare(LiquiditySweep):
    def prepare(self, view: Any, sets: Any) -> Any:
        raise RuntimeError("not today")


def test_a_failing_kernel_fails_for_its_own_sets_only() -> None:
    sets = columns({"reversal_candles": [1, 3, 2, 3], "pierce_depth": [0.0003] * 4})
    with pytest.raises(StrategyError, match="failed in entries: RuntimeError: no threes"):
        sweep(CANDLES.head(600), FailingKernel, sets)
    table = sweep(CANDLES.head(600), FailingKernel, sets, on_error="record")
    assert list(table.errors) == [1, 3]
    good = sweep(CANDLES.head(600), LiquiditySweep, sets)
    assert table.metrics_of(2) == good.metrics_of(2)
    everything = sweep(CANDLES.head(600), FailingPrepare, sets, on_error="record")
    assert list(everything.errors) == [0, 1, 2, 3]
    with pytest.raises(StrategyError, match="failed in prepare: RuntimeError: not today"):
        sweep(CANDLES.head(600), FailingPrepare, sets)


def test_the_best_set_needs_enough_trades_and_the_first_of_equals_wins() -> None:
    table = sweep(CANDLES, Crossing, columns(fast=[8, 8, 5], slow=[30, 30, 79]), costs=COSTS)
    first = table.best("total_trades", min_trades=1)
    assert first.index == 0
    assert table.metrics_of(0) == table.metrics_of(1)
    assert first.parameters == {"fast": 8, "slow": 30, "trail": 0.0}
    with pytest.raises(
        NoValidTrialError,
        match=r"of 3, 0 failed, 0 break a constraint, 3 have fewer than 100000 .* In 3 there were trades, but too few",
    ):
        table.best(min_trades=100_000)
    with pytest.raises(UnknownNameError, match="sharp"):
        table.best("sharp")


def test_no_winner_tells_the_first_error() -> None:
    table = sweep(CANDLES.head(300), FailsAbove10, {"fast": [12, 11]}, on_error="record")
    with pytest.raises(NoValidTrialError, match=r"of 2, 2 failed, .*the first error: FailsAbove10 .*too fast: 12"):
        table.best()


def test_a_sweep_is_a_table_of_parameters_and_metrics() -> None:
    table = sweep(CANDLES.head(800), Crossing, [{"fast": 5}, {"fast": 6, "slow": 40}])
    frame = table.to_frame()
    assert list(frame.columns) == ["fast", "slow", "trail", *map(str, Metric)]
    assert frame["slow"].tolist() == [30, 40]
    assert frame["total_trades"].tolist() == [table.metrics_of(0)["total_trades"], table.metrics_of(1)["total_trades"]]  # type: ignore[index]


def test_a_sweep_shows_itself_in_one_line() -> None:
    """A notebook prints what a cell returns; thousands of numbers would hide the page."""
    table = sweep(CANDLES.head(800), Crossing, [{"fast": 5}, {"fast": 6, "slow": 40}])
    assert repr(table) == (
        "Sweep(strategy='Crossing', sets=2, parameters=['fast', 'slow', 'trail'], failed=0, not_evaluated=0)"
    )
    assert repr(table.result) == f"SweepResult(sets=2, blocks={Execution().blocks})"


def test_no_sets_make_an_empty_table_and_no_parameters_no_sweep() -> None:
    assert len(sweep(CANDLES.head(300), Crossing, [])) == 0
    assert len(sweep(CANDLES.head(300), "liquidity_sweep", {"pierce_depth": []})) == 0

    class Bare(Strategy):
        def signals(self, view: MarketView, params: Any) -> Signals:
            return Signals(side=np.zeros(len(view), np.int8))

    with pytest.raises(SpaceError, match="Bare has no parameters, so there is nothing to sweep"):
        sweep(CANDLES.head(300), Bare, [{}])


def test_a_parameter_called_like_a_metric_keeps_its_column() -> None:
    class Exposed(Crossing):
        parameters = {"exposure": [1, 2]}
        defaults = {"fast": 8, "slow": 30, "trail": 0.0}

    table = sweep(CANDLES.head(500), Exposed, [{"exposure": 2}, {"exposure": 1}])
    columns = table.columns()
    assert columns["exposure"].tolist() == [2, 1]
    assert columns["metric_exposure"].tolist() == table.result.column(Metric.EXPOSURE).tolist()


def test_compiled_entries_in_the_warm_up_are_refused() -> None:
    class Early(LiquiditySweep):
        def warmup(self, params: Any) -> int:
            return 10**6

    with pytest.raises(StrategyError, match="no decision may stand in the declared warm-up"):
        backtest(CANDLES, Early, LOOSE)


def test_compiled_entries_that_break_the_engines_rules_are_refused() -> None:
    class Backwards(LiquiditySweep):
        def entries(self, prepared: Any, sets: Any, lo: int, hi: int) -> Any:
            batch = super().entries(prepared, sets, lo, hi)
            batch.bar[:] = batch.bar[::-1].copy()
            return batch

    with pytest.raises(StrategyError, match="unusable batch: bars of set 0 do not ascend strictly"):
        backtest(CANDLES, Backwards, LOOSE)


class Elsewhere:
    """An executor of two workers that pickles as theirs does, and does the work here."""

    workers = 2

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def map(self, task: Any, items: Any) -> list[Any]:
        self.sizes = [len(cloudpickle.dumps(task))]
        sent = cloudpickle.loads(cloudpickle.dumps(task))
        return [cloudpickle.loads(cloudpickle.dumps(sent(item))) for item in items]


class ManySeries(Crossing):
    inputs = {"day": HigherTimeframe("1d"), "other": OwnCandles(), "news": EventSeries("surprise")}

    def signals(self, view: MarketView, params: Any) -> Signals:
        signals = super().signals(view, params)
        keep = (view.close > view["day"].close) & (view["other"].close > 0.0) & (view["news"]["surprise"] > 0.0)
        return Signals(side=np.where(keep, signals.side, 0).astype(np.int8), stop=signals.stop, target=signals.target)


def test_a_worker_gets_references_and_gives_the_same_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "CHUNK", 7)
    rng = np.random.default_rng(2)
    news = Events(
        timestamp=CANDLES.timestamp[::50], columns={"surprise": rng.standard_normal(CANDLES.timestamp[::50].size)}
    )
    options: dict[str, Any] = {"costs": COSTS, "inputs": {"other": CANDLES.head(5_000), "news": news}}
    sets = sampled(ManySeries(), 20)
    executor = Elsewhere()
    here, there = (sweep(CANDLES, ManySeries, sets, executor=e, **options) for e in (None, executor))  # type: ignore[arg-type]
    assert np.array_equal(here.result.metrics, there.result.metrics, equal_nan=True)
    assert np.array_equal(here.result.blocks, there.result.blocks, equal_nan=True)
    assert here.result.column(Metric.TOTAL_TRADES).sum() > 100
    # The candles alone are 6,225 bars x 6 columns x 8 bytes, 300 kB.
    assert executor.sizes[0] < 10_000


def test_no_sets_are_sent_to_no_worker() -> None:
    executor = Elsewhere()
    table = sweep(CANDLES, "liquidity_sweep", [], executor=executor)  # type: ignore[arg-type]
    assert len(table) == 0
    assert executor.sizes == []


def test_worker_processes_give_the_same_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two real workers, four chunks."""
    from lockstep.clusters.loky import LokyExecutor

    monkeypatch.setattr(evaluate, "CHUNK", 10)
    sets = sampled(LiquiditySweep(), 40)
    sets["pierce_depth"] /= 8.0
    with LokyExecutor(2) as executor:
        there = sweep(CANDLES, "liquidity_sweep", sets, costs=COSTS, executor=executor)
    here = sweep(CANDLES, "liquidity_sweep", sets, costs=COSTS)
    assert np.array_equal(here.result.metrics, there.result.metrics, equal_nan=True)
    assert here.best("net_profit", 1) == there.best("net_profit", 1)


def test_a_strategy_from_a_file_travels_as_its_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example = Path(__file__).parents[3] / "examples" / "my_strategy.py"
    source = read_source(f"{example}:TrendBreakout")
    task = sweep_task(f"{example}:TrendBreakout", CANDLES, blobs=FolderBlobStore(tmp_path), costs=COSTS)
    sent = cloudpickle.dumps(task)
    # A worker has never seen the module.
    monkeypatch.delitem(sys.modules, f"lockstep_user_{source.digest[:24]}")
    arrived = cloudpickle.loads(sent)
    assert arrived.key == task.key
    columns = task._evaluator().strategy.columns([{"channel": 30}])
    assert np.array_equal(arrived(columns).result.metrics, task(columns).result.metrics, equal_nan=True)


def test_the_key_of_a_task_names_all_that_its_results_depend_on(tmp_path: Path) -> None:
    keys = {
        sweep_task(strategy, candles, blobs=FolderBlobStore(tmp_path), costs=costs, execution=execution).key
        for strategy, candles, costs, execution in (
            ("liquidity_sweep", CANDLES, None, None),
            (Crossing, CANDLES, None, None),
            ("liquidity_sweep", CANDLES.head(300), None, None),
            ("liquidity_sweep", CANDLES, COSTS, None),
            ("liquidity_sweep", CANDLES, None, Execution(blocks=4)),
        )
    }
    assert len(keys) == 5


def test_two_strategies_never_share_a_key(tmp_path: Path) -> None:
    """A worker keeps one task per key: two classes of one file, or one name defined twice, must not meet."""

    def defined(size: int) -> type[Strategy]:
        class Same(Crossing):
            step = size

        return Same

    file = tmp_path / "two.py"
    rule = "    parameters = {'x': (1, 3)}\n    def signals(self, view, params):\n        return None\n"
    file.write_text(f"import lockstep as ls\nclass A(ls.Strategy):\n{rule}class B(ls.Strategy):\n{rule}")
    references = [f"{file}:A", f"{file}:B", defined(1), defined(2), Crossing()]
    keys = [sweep_task(reference, CANDLES, blobs=FolderBlobStore(tmp_path)).key for reference in references]
    assert len(set(keys)) == 5
    assert sweep_task(references[-1], CANDLES, blobs=FolderBlobStore(tmp_path)).key == keys[-1]
    assert sweep_task(references[0], CANDLES, blobs=FolderBlobStore(tmp_path)).key == keys[0]


def test_batches_join_and_keep_what_only_some_of_them_have() -> None:
    params = Crossing().resolve({"trail": 2.0})
    view = MarketView(CANDLES.head(900))
    full = evaluate.entries_of(Crossing(), view, params)
    bare = evaluate.entries_of(LiquiditySweep(), view, LiquiditySweep().resolve(LOOSE))
    joined = concatenate([full, empty_batch(1), bare])
    assert joined.check_valid(900) is None
    assert joined.sets == 3
    assert np.diff(joined.offsets).tolist() == [full.bar.size, 0, bare.bar.size]
    assert joined.trail is not None
    assert np.isnan(joined.trail[full.bar.size :]).all()
    assert joined.exit_offsets is not None
    assert np.diff(joined.exit_offsets).tolist() == [2, 0, 0]  # bars 399 and 799 of 900
    assert limited(bare, 3) is bare
    assert signals_of(empty_batch(1), 5).side.tolist() == [0] * 5
    assert concatenate([]).sets == 0


def test_a_backtest_tells_its_strategy_parameters_and_numbers() -> None:
    one = backtest(CANDLES.head(1_000), "liquidity_sweep", LOOSE, costs=COSTS)
    plain = one.to_dict(curve=False)
    assert plain["strategy"] == "LIQUIDITY_SWEEP"
    assert plain["parameters"]["pierce_depth"] == 0.0003
    assert plain["metrics"]["total_trades"] == one["total_trades"] == len(one.trades)
    assert one.equity.shape == (1_000,)
    assert str(one).startswith("LIQUIDITY_SWEEP(pierce_depth=0.0003, ")


class BothLevels(Strategy):
    """A stop and a target a whole unit away, every few bars."""

    parameters = {"every": (5, 6)}
    defaults = {"every": 5}

    def signals(self, view: MarketView, params: Any) -> Signals:
        side = (np.arange(len(view)) % params["every"] == 0).astype(np.int8)
        return Signals(side=side, stop=view.close - 1.0, target=view.close + 1.0, time_limit=3)


def test_finer_candles_decide_in_a_sweep_as_in_a_backtest() -> None:
    """Each hour touches stop and target; its first half hour only one of them."""
    n = 60
    level = np.full(n, 100.0)
    hours = Candles.from_arrays(
        timestamp=np.arange(n) * 3_600_000, open=level, high=level + 2, low=level - 2, close=level,
        volume=level, timeframe="1h",
    )  # fmt: skip
    first = np.arange(2 * n) % 2 == 0
    halves = np.full(2 * n, 100.0)
    detail = Candles.from_arrays(
        timestamp=np.arange(2 * n) * 1_800_000, open=halves, high=halves + np.where(first, 2, 0),
        low=halves - np.where(first, 0, 2), close=halves, volume=halves, timeframe="30m",
    )  # fmt: skip

    assert backtest(hours, BothLevels(), detail=detail, costs=COSTS)["win_rate"] == 1.0
    assert backtest(hours, BothLevels(), costs=COSTS)["win_rate"] == 0.0
    for executor in (None, Elsewhere()):
        table = sweep(hours, BothLevels, {"every": [5, 6]}, detail=detail, costs=COSTS, executor=executor)  # type: ignore[arg-type]
        assert table.to_frame()["win_rate"].tolist() == [1.0, 1.0]


def test_metrics_of_evaluated_sets_are_those_of_their_result() -> None:
    done = Evaluator(Crossing(), CANDLES.head(2_000), costs=COSTS).batch(
        Crossing().columns([Crossing().resolve({"fast": 5})])
    )
    assert done.metrics is done.result.metrics
