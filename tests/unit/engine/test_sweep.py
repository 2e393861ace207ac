"""Sweeps and single backtests are one code path: the same bits, however the sets are batched."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.property.cases import Case, candles_of, random_candles, random_case
from tests.unit.engine.simulated_markets import simulated_bytes

from lockstep.engine import sets
from lockstep.engine import sweep as sweep_module
from lockstep.engine.costs import Costs
from lockstep.engine.entries import EntryBatch, compact
from lockstep.engine.metrics import COUNTS, Metric
from lockstep.engine.preparation import market_arrays
from lockstep.engine.settings import Execution
from lockstep.engine.signals import Signals
from lockstep.engine.simulate import simulate
from lockstep.engine.sweep import SweepResult, sweep_entries
from lockstep.runs.identity import HERE

BARS = 120


def cases_on_one_market(seed: int, count: int) -> list[Case]:
    """Cases that share candles, costs and execution, as the sets of a sweep do."""
    rng = np.random.default_rng(seed)
    first = random_case(rng, BARS)
    cases = []
    while len(cases) < count:
        other = random_case(rng, BARS)
        cases.append(Case(candles=first.candles, signals=other.signals, costs=first.costs, execution=first.execution))
    return cases


def join(batches: list[EntryBatch]) -> EntryBatch:
    """Sets of one entry each made into one batch, exits and trails included."""
    trail = [np.full(b.bar.size, np.nan) if b.trail is None else b.trail for b in batches]
    exits = [np.empty(0, np.int32) if b.exit_bar is None else b.exit_bar for b in batches]

    def offsets(columns: list[Any]) -> Any:
        return np.concatenate(([0], np.cumsum([column.size for column in columns]))).astype(np.int64)

    return EntryBatch(
        offsets=offsets([b.bar for b in batches]),
        bar=np.concatenate([b.bar for b in batches]),
        side=np.concatenate([b.side for b in batches]),
        stop=np.concatenate([b.stop for b in batches]),
        target=np.concatenate([b.target for b in batches]),
        time_limit=np.concatenate([b.time_limit for b in batches]),
        trail=np.concatenate(trail),
        exit_offsets=offsets(exits),
        exit_bar=np.concatenate(exits),
    )


def swept(cases: list[Case]) -> SweepResult:
    first = cases[0]
    entries = [compact(case.signals, max_holding=first.execution.max_holding) for case in cases]
    return sweep_entries(
        market_arrays(first.candles),
        lambda lo, hi: join(entries[lo:hi]),
        len(cases),
        costs=first.costs,
        execution=first.execution,
    )


@pytest.mark.parametrize("seed", range(8))
def test_every_set_of_a_sweep_run_alone_gives_the_same_bits(seed: int) -> None:
    """8 × 300 random sets: all metrics and block sums of `simulate` equal those of the sweep to the last bit."""
    cases = cases_on_one_market(seed, 300)
    result = swept(cases)
    assert result.column(Metric.TOTAL_TRADES).sum() > 300
    for index, case in enumerate(cases):
        alone = simulate(case.candles, case.signals, case.costs, case.execution)
        assert alone.metrics == result.values(index)
        np.testing.assert_array_equal(result.blocks[index, :, 0], alone.blocks.r1)
        np.testing.assert_array_equal(result.blocks[index, :, 1], alone.blocks.r2)


def test_the_size_of_a_batch_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    cases = cases_on_one_market(11, 60)
    whole = swept(cases)
    monkeypatch.setattr(sweep_module, "BATCH_BYTES", 1)
    monkeypatch.setattr(sweep_module, "_FIRST_BATCH", 1)
    single = swept(cases)
    np.testing.assert_array_equal(whole.metrics, single.metrics)
    np.testing.assert_array_equal(whole.blocks, single.blocks)


def test_a_sweep_gives_columns_and_reports_progress() -> None:
    cases = cases_on_one_market(12, 20)
    entries = [compact(case.signals) for case in cases]
    done: list[int] = []
    result = sweep_entries(
        market_arrays(cases[0].candles), lambda lo, hi: join(entries[lo:hi]), 20, progress=done.append
    )
    columns = result.columns()
    assert list(columns) == [str(metric) for metric in Metric]
    assert all(columns[metric].dtype == (np.int64 if metric in COUNTS else np.float64) for metric in Metric)
    assert len(result) == 20
    assert result.block_bars.sum() == BARS
    assert done == sorted(done)
    assert done[-1] == 20


def test_a_source_that_gives_other_sets_than_asked_for_is_a_programming_error() -> None:
    case = cases_on_one_market(13, 1)[0]
    with pytest.raises(ValueError, match="the sets asked for: 2 of them; found 1"):
        sweep_entries(market_arrays(case.candles), lambda lo, hi: compact(case.signals), 2)


def test_no_sets_and_no_entries_are_empty_results() -> None:
    market = market_arrays(random_candles(np.random.default_rng(0), 10))
    assert len(sweep_entries(market, lambda lo, hi: compact(random_case(np.random.default_rng(0), 10).signals), 0)) == 0


TWIN = """
import sys
from tests.unit.engine.simulated_markets import simulated_bytes
sys.stdout.buffer.write(simulated_bytes())
"""


def in_a_fresh_process(**environment: str) -> bytes:
    root = Path(__file__).parents[3]
    path = os.pathsep.join([str(HERE.parent), str(root)])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", TWIN],
        capture_output=True,
        cwd=root,
        env={**os.environ, "PYTHONPATH": path, **environment},
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return done.stdout


def test_the_kernels_as_plain_python_give_the_same_bytes() -> None:
    """The Python twin: the same source without the compiler, over empty, one-bar and random markets."""
    compiled = simulated_bytes()
    assert compiled.count(b"exit_reason") > 60
    assert in_a_fresh_process(NUMBA_DISABLE_JIT="1") == compiled


@pytest.mark.long
def test_no_kernel_reads_outside_its_arrays(tmp_path: Path) -> None:
    """Compiled again with bounds checks on; the cache is elsewhere because numba does not key it by that switch."""
    checked = in_a_fresh_process(NUMBA_BOUNDSCHECK="1", NUMBA_CACHE_DIR=str(tmp_path))
    assert checked == simulated_bytes()


def test_costs_and_execution_default_to_those_of_a_backtest() -> None:
    case = cases_on_one_market(14, 1)[0]
    result = sweep_entries(market_arrays(case.candles), lambda lo, hi: compact(case.signals), 1)
    assert result.values(0) == simulate(case.candles, case.signals, Costs(), Execution()).metrics


def test_one_compiled_form_serves_every_kind_of_input() -> None:
    """Compiling takes seconds, so trails, exits, detail and their absence share one; the cache holds it for the next
    process."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        case = random_case(rng, 40)
        simulate(case.candles, case.signals, case.costs, case.execution)
        entries = compact(case.signals)
        sweep_entries(market_arrays(case.candles), lambda lo, hi, entries=entries: join([entries]), 1)
    coarse = random_candles(rng, 10).slice(0, 10)
    detail = candles_of([100] * 20, [100] * 20, [100] * 20, [100] * 20, step=30_000)
    simulate(coarse, Signals(side=np.zeros(10, np.int8)), detail=detail)
    assert len(sets.run_sets.signatures) == 1
