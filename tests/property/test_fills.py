"""Fills, exits and money: the engine against a second simulator written from docs/engine.md, and against identities."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.property.cases import Case, random_candles, random_case

from lockstep.engine.metrics import Metric
from lockstep.engine.settings import Execution
from lockstep.engine.signals import Signals
from lockstep.engine.simulate import Simulation, simulate

EXACT = ("signal_bar", "entry_bar", "exit_bar", "side", "entry_level", "exit_level", "ambiguous")
CLOSE = ("entry_price", "exit_price", "size", "net_return", "pnl", "gross_pnl", "equity_before")


def run(case: Case) -> Simulation:
    return simulate(case.candles, case.signals, case.costs, case.execution)


def assert_same_as_oracle(case: Case) -> int:
    """Trade by trade and bar by bar. Returns the number of trades."""
    ours, theirs = run(case), case.by_oracle()
    assert [str(reason) for reason in ours.trades.exit_reasons()] == [trade["reason"] for trade in theirs.trades]
    for name in EXACT:
        assert getattr(ours.trades, name).tolist() == [trade[name] for trade in theirs.trades], name
    for name in CLOSE:
        expected = np.array([trade[name] for trade in theirs.trades], np.float64)
        np.testing.assert_allclose(getattr(ours.trades, name), expected, rtol=1e-11, atol=1e-9, err_msg=name)
    assert ours[Metric.REFUSED_SIGNALS] == theirs.refused
    assert ours[Metric.UNFILLED_SIGNALS] == theirs.unfilled
    assert ours.ruined == theirs.ruined
    np.testing.assert_allclose(ours.equity, np.array(theirs.equity), rtol=1e-10, atol=1e-7)
    assert ours[Metric.EXPOSURE] == pytest.approx(theirs.lived / len(case.candles) if len(case.candles) else 0.0)
    return len(theirs.trades)


@pytest.mark.parametrize("seed", range(6))
def test_the_engine_and_the_second_simulator_make_the_same_trades(seed: int) -> None:
    """R3.1, R3.9 to R3.14, R3.17: 6 × 400 random cases of everything that can be switched."""
    rng = np.random.default_rng(seed)
    trades = sum(assert_same_as_oracle(random_case(rng, int(rng.integers(0, 60)))) for _ in range(400))
    assert trades > 400, "the random cases must trade, else they test nothing"


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(0, 25))
def test_small_markets_agree_down_to_one_bar_and_none(seed: int, n: int) -> None:
    """R3.1: sizes 0 and 1 included; hypothesis looks for the smallest market that disagrees."""
    assert_same_as_oracle(random_case(np.random.default_rng(seed), n))


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 80))
def test_money_is_neither_made_nor_lost_by_bookkeeping(seed: int, n: int) -> None:
    """R3.20: the last equity is capital plus the sum of pnl; R3.14: trades never overlap."""
    case = random_case(np.random.default_rng(seed), n)
    result = run(case)
    capital = case.execution.initial_capital
    assert result.equity[-1] == pytest.approx(capital + result.trades.pnl.sum(), rel=1e-12, abs=1e-8)
    assert result[Metric.NET_PROFIT] == pytest.approx(result.equity[-1] - capital, abs=1e-8)
    trades = result.trades
    assert np.all(trades.entry_bar[1:] >= trades.exit_bar[:-1])
    np.testing.assert_allclose(trades.pnl, trades.size * trades.net_return, rtol=1e-12)
    assert np.all(trades.size <= trades.equity_before if case.execution.compounding else trades.size <= capital)


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 80))
def test_block_sums_are_the_sums_of_the_curve(seed: int, n: int) -> None:
    """Rule 8: count, Σr, Σr² of every block, from the walk, equal those of the equity curve; so do total ratios."""
    case = random_case(np.random.default_rng(seed), n)
    result = run(case)
    blocks, returns = result.blocks, result.returns
    assert blocks.bars.sum() == n
    if result.ruined:
        assert np.isnan(blocks.r1).all()
        assert result[Metric.SHARPE_RATIO] is None
        return
    bounds = [k * n // case.execution.blocks for k in range(case.execution.blocks + 1)]
    for k, (lo, hi) in enumerate(itertools.pairwise(bounds)):
        piece = returns[lo:hi]
        assert blocks.bars[k] == piece.size
        for power, got in enumerate((blocks.r1, blocks.r2, blocks.r3, blocks.r4), start=1):
            assert got[k] == pytest.approx((piece**power).sum(), rel=1e-9, abs=1e-13)
    peak = np.maximum.accumulate(np.concatenate(([case.execution.initial_capital], result.equity)))[1:]
    assert result[Metric.MAX_DRAWDOWN_PCT] == pytest.approx(100 * (result.equity / peak - 1).min(), abs=1e-9)
    sharpe = result[Metric.SHARPE_RATIO]
    if sharpe is not None:
        span = case.candles.timestamp[-1] - case.candles.timestamp[0] + case.candles.timeframe_ms
        annual = n * 365 * 86_400_000 / span
        assert sharpe == pytest.approx(returns.mean() / returns.std() * np.sqrt(annual), rel=1e-6)


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(2, 60))
def test_trading_never_changes_when_the_future_does(seed: int, n: int) -> None:
    """What happened up to a bar is the same whatever bars follow it, but for the position open at the cut."""
    rng = np.random.default_rng(seed)
    case = random_case(rng, n)
    cut = int(rng.integers(1, n))
    whole = run(case)
    s = case.signals
    limit = s.time_limit[:cut] if isinstance(s.time_limit, np.ndarray) else s.time_limit
    head = simulate(
        case.candles.head(cut),
        Signals(
            side=s.side[:cut],
            stop=None if s.stop is None else s.stop[:cut],
            target=None if s.target is None else s.target[:cut],
            exit=None if s.exit is None else s.exit[:cut],
            trail=None if s.trail is None else s.trail[:cut],
            time_limit=limit,
        ),
        case.costs,
        case.execution,
    )
    settled = int(np.count_nonzero(whole.trades.exit_bar < cut - 1))
    for name, column in head.trades.columns().items():
        assert column[:settled].tolist() == whole.trades.columns()[name][:settled].tolist(), name


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(2, 60))
def test_a_mirrored_market_mirrors_the_trades(seed: int, n: int) -> None:
    """R3.10: shorts are longs in a market turned upside down (no costs, so that the mirror is exact in prices)."""
    rng = np.random.default_rng(seed)
    candles = random_candles(rng, n)
    side = np.where(rng.random(n) < 0.4, 1, 0).astype(np.int8)
    stop, target = candles.close - rng.integers(1, 6, n), candles.close + rng.integers(1, 6, n)
    axis = 2 * float(candles.high.max())
    from tests.property.cases import candles_of

    mirrored = candles_of(
        axis - candles.open, axis - candles.low, axis - candles.high, axis - candles.close, timestamp=candles.timestamp
    )
    longs = simulate(candles, Signals(side=side, stop=stop, target=target))
    shorts = simulate(mirrored, Signals(side=-side, stop=axis - stop, target=axis - target))
    assert longs.trades.exit_bar.tolist() == shorts.trades.exit_bar.tolist()
    assert longs.trades.reason.tolist() == shorts.trades.reason.tolist()
    assert longs.trades.exit_level.tolist() == (axis - shorts.trades.exit_level).tolist()


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_ambiguity_bounds_hold_the_result_of_every_order(seed: int) -> None:
    """Rule 9: worst ≤ result ≤ best, and all are equal where nothing was ambiguous."""
    rng = np.random.default_rng(seed)
    result = run(random_case(rng, 60))
    net, worst, best = (
        result[metric] for metric in (Metric.NET_PROFIT_PCT, Metric.NET_PROFIT_WORST_PCT, Metric.NET_PROFIT_BEST_PCT)
    )
    assert worst is not None
    assert net is not None
    assert best is not None
    assert worst <= net + 1e-9
    assert best >= net - 1e-9
    if result[Metric.AMBIGUOUS_TRADES] == 0:
        assert worst == net == best
    assert result[Metric.AMBIGUOUS_TRADES] == int(result.trades.ambiguous.sum())


def test_an_unlimited_position_without_any_level_ends_with_the_data() -> None:
    candles = random_candles(np.random.default_rng(1), 30)
    side = np.zeros(30, np.int8)
    side[3] = 1
    result = simulate(candles, Signals(side=side), execution=Execution(fill="close"))
    assert [str(reason) for reason in result.trades.exit_reasons()] == ["END_OF_DATA"]
    assert result.trades.exit_bar.tolist() == [29]


def test_the_random_cases_reach_every_rule() -> None:
    """A property over cases that never happen proves nothing: every reason, count and flag occurs."""
    rng = np.random.default_rng(0)
    reasons: set[str] = set()
    seen: dict[str, int] = dict.fromkeys(("ambiguous", "gap", "refused", "unfilled", "ruined", "same_bar"), 0)
    for _ in range(400):
        result = run(random_case(rng, int(rng.integers(0, 60))))
        trades = result.trades
        reasons.update(str(reason) for reason in trades.exit_reasons())
        seen["ambiguous"] += int(trades.ambiguous.sum())
        seen["gap"] += int(trades.spans_gap.sum())
        seen["same_bar"] += int((trades.entry_bar[1:] == trades.exit_bar[:-1]).sum())
        seen["refused"] += int(result[Metric.REFUSED_SIGNALS] or 0)
        seen["unfilled"] += int(result[Metric.UNFILLED_SIGNALS] or 0)
        seen["ruined"] += int(result.ruined)
    assert reasons == {"TP", "SL", "MAX_HOLD", "SIGNAL", "END_OF_DATA", "EXIT", "TRAIL"}
    assert min(seen.values()) >= 3, seen
