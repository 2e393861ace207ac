"""What a simulation keeps, and what it works out when it is read."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
from tests.property.cases import candles_of, random_case

from lockstep.engine.entries import compact
from lockstep.engine.metrics import Metric
from lockstep.engine.preparation import market_arrays
from lockstep.engine.settings import Execution
from lockstep.engine.signals import Signals
from lockstep.engine.simulate import Simulation, simulate
from lockstep.engine.sweep import sweep_entries
from lockstep.strategies.batches import concatenate

DERIVED = ("metrics", "equity", "blocks")


def result(seed: int = 4) -> Simulation:
    case = random_case(np.random.default_rng(seed), 80)
    return simulate(case.candles, case.signals, case.costs, case.execution)


def test_nothing_is_worked_out_before_it_is_read() -> None:
    done = result()
    assert len(done.trades) > 0
    assert not set(DERIVED) & set(vars(done))
    first = [getattr(done, name) for name in DERIVED]
    assert all(getattr(done, name) is value for name, value in zip(DERIVED, first, strict=True))


def test_the_order_of_reading_changes_nothing() -> None:
    forwards, backwards = result(), result()
    for name in DERIVED:
        getattr(forwards, name)
    for name in reversed(DERIVED):
        getattr(backwards, name)
    assert forwards.metrics == backwards.metrics
    assert forwards.equity.tobytes() == backwards.equity.tobytes()
    assert forwards.blocks.r4.tobytes() == backwards.blocks.r4.tobytes()
    assert forwards.to_json() == deepcopy(result()).to_json()


def test_a_result_outlives_its_candles_and_signals() -> None:
    """The walk reads arrays of the caller; what is read later comes from the result alone, or from frozen candles."""
    side = np.array([1, 0, 0, 0, -1, 0, 0, 0], np.int8)
    candles = candles_of([100] * 8, [101] * 8, [99] * 8, [100, 101, 99, 100, 100, 101, 99, 100])
    expected = simulate(candles, Signals(side=side.copy())).to_json()
    done = simulate(candles, Signals(side=side))
    side[:] = 0
    del candles
    assert done.to_json() == expected


def test_block_sums_are_those_of_the_returns_of_their_bars() -> None:
    done = result()
    start = 0
    for k, bars in enumerate(done.blocks.bars.tolist()):
        r = done.returns[start : start + bars]
        np.testing.assert_allclose(done.blocks.r1[k], r.sum(), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(done.blocks.r3[k], (r**3).sum(), rtol=1e-9, atol=1e-15)
        start += bars
    assert start == len(done.equity)


def test_returns_after_ruin_are_undefined() -> None:
    """Equity 10,000, 5,000, 0, 0: the returns are -1/2, -1, and nothing that a division by 0 would mean."""
    done = result()
    object.__setattr__(done, "equity", np.array([10_000.0, 5_000.0, 0.0, 0.0]))
    np.testing.assert_array_equal(done.returns, [10_000.0 / done.execution.initial_capital - 1.0, -0.5, -1.0, np.nan])


def test_a_set_without_trades_shows_nothing_of_the_set_before() -> None:
    """All sets of a batch write over the same trades, so what one left must not count for the next."""
    case = random_case(np.random.default_rng(4), 80)
    silent = compact(Signals(side=np.zeros(80, np.int8)))
    batches = [compact(case.signals), silent]
    market = market_arrays(case.candles)
    alone = sweep_entries(market, lambda lo, hi: batches[1], 1).values(0)
    both = sweep_entries(market, lambda lo, hi: concatenate([*batches, *batches]), 4, execution=Execution())
    assert both.values(0)[Metric.TOTAL_TRADES] != 0
    assert both.values(1) == both.values(3) == alone
    assert both.values(0) == both.values(2)
