"""Every metric from its formula, on a list of trades short enough to check with a pencil."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from tests.copies import PackageCopy
from tests.property.cases import MINUTE, candles_of

from lockstep.core.errors import UnknownNameError
from lockstep.engine import statistics, walk_state
from lockstep.engine.costs import Costs
from lockstep.engine.export import readable_trades_csv
from lockstep.engine.metrics import COLUMN, COUNTS, CurveMetric, Metric, annual_bars, as_metric, best_row
from lockstep.engine.settings import Execution
from lockstep.engine.signals import Signals
from lockstep.engine.simulate import Simulation, simulate
from lockstep.testing.costs import FREE

# Four trades of one bar each, all of size 10 000 at an entry of 100 (fill at the open, exit at the close):
# closes 110, 95, 104, 98 give +10 %, −5 %, +4 %, −2 %; between them flat bars at 100.
CLOSES = [100, 110, 100, 95, 100, 104, 100, 98, 100]
Q = [0.10, -0.05, 0.04, -0.02]
P = [1_000, -500, 400, -200]
CAPITAL = 10_000.0


def four_trades(costs: Costs = FREE) -> Simulation:
    opens = [100] * 9
    highs = [max(100, close) for close in CLOSES]
    lows = [min(100, close) for close in CLOSES]
    side = np.array([1, 0, 1, 0, 1, 0, 1, 0, 0], np.int8)
    candles = candles_of(opens, highs, lows, CLOSES)
    return simulate(candles, Signals(side=side, time_limit=1), costs, Execution(blocks=3))


# T_i: 10 000, 11 000, 10 500, 10 900, 10 700
DEPTHS = [10_500 / 11_000 - 1, 10_900 / 11_000 - 1, 10_700 / 11_000 - 1]
# Equity at the closes: 10 000, 11 000, 11 000, 10 500, 10 500, 10 900, 10 900, 10 700, 10 700
R = [0, 0.1, 0, 10_500 / 11_000 - 1, 0, 10_900 / 10_500 - 1, 0, 10_700 / 10_900 - 1, 0]
YEAR = 365 * 24 * 60  # one-minute bars that never stop

EXPECTED: dict[str, float | None] = {
    Metric.NET_PROFIT: 700,
    Metric.NET_PROFIT_PCT: 7,
    Metric.NET_PROFIT_WORST_PCT: 7,
    Metric.NET_PROFIT_BEST_PCT: 7,
    Metric.SHARPE_RATIO: np.mean(R) / np.std(R) * math.sqrt(YEAR),
    Metric.SHARPE_RATIO_PER_TRADE: np.mean(Q) / np.std(Q) * math.sqrt(252),
    Metric.SORTINO_RATIO: np.mean(R) / math.sqrt(np.mean(np.minimum(R, 0) ** 2)) * math.sqrt(YEAR),
    # std of −5 % and −2 % is 1.5 %
    Metric.SORTINO_RATIO_PER_TRADE: 0.0175 / 0.015 * math.sqrt(252),
    # 9 minutes of a year: 1.07 to the power of 525,600 / 9 is beyond the largest float
    Metric.CAGR_PCT: None,
    Metric.VOLATILITY_PCT: 100 * np.std(R) * math.sqrt(YEAR),
    Metric.CALMAR_RATIO: None,
    Metric.CALMAR_RATIO_TRADES: 7 / (100 * 500 / 11_000),
    Metric.MAX_DRAWDOWN_TRADES_PCT: 100 * min(DEPTHS),
    Metric.AVG_DRAWDOWN_PCT: 100 * np.mean(DEPTHS),
    Metric.MAX_DRAWDOWN_PCT: 100 * min(DEPTHS),
    Metric.TOTAL_TRADES: 4,
    Metric.WINNING_TRADES: 2,
    Metric.LOSING_TRADES: 2,
    Metric.LONG_TRADES: 4,
    Metric.SHORT_TRADES: 0,
    Metric.WIN_RATE: 0.5,
    Metric.PROFIT_FACTOR: 1_400 / 700,
    Metric.EXPECTANCY: 1.75,
    Metric.AVG_WIN_PCT: 7,
    Metric.AVG_LOSS_PCT: -3.5,
    Metric.LARGEST_WIN_PCT: 10,
    Metric.LARGEST_LOSS_PCT: -5,
    Metric.CVAR_95: -0.05,
    Metric.CVAR_95_PCT: -5,  # ⌈4 / 20⌉ = 1 worst trade
    Metric.AVG_HOLDING_PERIODS: 1,
    Metric.EXPOSURE: 4 / 9,
    Metric.TOTAL_COSTS: 0,
    Metric.COST_SHARE: 0,
    Metric.BREAK_EVEN_COST: 700 / 80_000,
    Metric.AMBIGUOUS_TRADES: 0,
    Metric.REFUSED_SIGNALS: 0,
    Metric.UNFILLED_SIGNALS: 0,
    Metric.GAP_TRADES: 0,
    # No stop: the size is capital · 0.02 / 0.02, the whole of it and no more
    Metric.CAPPED_TRADES: 0,
    Metric.OPEN_AT_END: 0,
    Metric.RUINED: 0,
    # Σ P = 700, mean 175, deviations 825, -675, 225, -375
    CurveMetric.SQN: 2 * 175 / math.sqrt((825**2 + 675**2 + 225**2 + 375**2) / 3),
    # From the close of bar 2, still at the peak of 11,000, to the end: 6 bars of a minute
    CurveMetric.LONGEST_DRAWDOWN_DAYS: 6 / (24 * 60),
    # One month
    CurveMetric.BEST_MONTH_PCT: 7,
    CurveMetric.WORST_MONTH_PCT: 7,
}


@pytest.mark.parametrize("metric", [*Metric, *CurveMetric])
def test_every_metric_equals_its_formula_on_four_trades(metric: Metric | CurveMetric) -> None:
    """R3.3, R3.4, R3.15"""
    expected = EXPECTED[metric]
    assert four_trades()[metric] == (None if expected is None else pytest.approx(expected, rel=1e-9, abs=1e-12))


def test_the_trades_and_block_sums_are_those_of_the_example() -> None:
    result = four_trades()
    assert result.trades.pnl.tolist() == pytest.approx(P)
    assert result.blocks.bars.tolist() == [3, 3, 3]
    assert result.blocks.r1.tolist() == pytest.approx([sum(R[0:3]), sum(R[3:6]), sum(R[6:9])])
    assert result.blocks.r4.tolist() == pytest.approx([sum(r**4 for r in R[k : k + 3]) for k in (0, 3, 6)])


def test_costs_are_what_the_same_trades_would_have_made_without_them() -> None:
    """Fee 0.1 % a side of 10 000, four trades: 80; gross 700, so costs took 80 / 700; 620 are left."""
    result = four_trades(Costs(fee_rate=0.001, slippage_rate=0))
    assert result[Metric.TOTAL_COSTS] == pytest.approx(80)
    assert result[Metric.COST_SHARE] == pytest.approx(80 / 700)
    assert result[Metric.NET_PROFIT] == pytest.approx(620)


def test_at_the_break_even_cost_nothing_is_left() -> None:
    """Break-even is 700 / (2 · 40 000) = 0.875 % per side; charging exactly that leaves 0."""
    cost = four_trades()[Metric.BREAK_EVEN_COST]
    assert cost is not None
    assert four_trades(Costs(fee_rate=cost, slippage_rate=0))[Metric.NET_PROFIT] == pytest.approx(0, abs=1e-9)


RATIOS = {
    Metric.SHARPE_RATIO, Metric.SHARPE_RATIO_PER_TRADE, Metric.SORTINO_RATIO, Metric.SORTINO_RATIO_PER_TRADE,
    Metric.CALMAR_RATIO, Metric.CALMAR_RATIO_TRADES, Metric.CVAR_95,
    Metric.WIN_RATE, Metric.PROFIT_FACTOR, Metric.EXPECTANCY, Metric.AVG_WIN_PCT,
    Metric.AVG_LOSS_PCT, Metric.LARGEST_WIN_PCT, Metric.LARGEST_LOSS_PCT, Metric.CVAR_95_PCT,
    Metric.AVG_HOLDING_PERIODS, Metric.COST_SHARE, Metric.BREAK_EVEN_COST,
}  # fmt: skip


def test_without_trades_ratios_are_none_and_counts_and_sums_are_zero() -> None:
    """R3.16"""
    candles = candles_of(*[[100] * 5] * 4)
    result = simulate(candles, Signals(side=np.zeros(5, np.int8)))
    assert set(result.metrics) == set(Metric)
    for metric, value in result.metrics.items():
        assert value is None if metric in RATIOS else value == 0, metric


def test_no_bars_at_all_is_an_empty_result() -> None:
    """R3.16"""
    result = simulate(candles_of([], [], [], []), Signals(side=np.zeros(0, np.int8)))
    assert len(result.trades) == 0
    assert result.equity.size == 0
    assert result[Metric.NET_PROFIT] == 0
    assert result[Metric.SHARPE_RATIO] is None


def test_equal_trades_have_no_deviation_and_so_no_ratio() -> None:
    """Three trades of exactly +10 % each: std is 0, not the rounding error of a sum."""
    opens, closes = [100] * 7, [100, 110, 100, 110, 100, 110, 100]
    candles = candles_of(opens, closes, opens, closes)
    side = np.array([1, 0, 1, 0, 1, 0, 0], np.int8)
    result = simulate(candles, Signals(side=side, time_limit=1), FREE)
    assert result[Metric.TOTAL_TRADES] == 3
    assert result[Metric.SHARPE_RATIO_PER_TRADE] is None


@pytest.mark.parametrize("trades", [1, 20, 21, 41, 700])
def test_cvar_takes_the_worst_twentieth_rounded_up(trades: int) -> None:
    """Losses of 1 … N hundredths of a percent, shuffled: the mean of the ⌈N / 20⌉ largest (41 trades: 3 of them)."""
    losses = np.random.default_rng(0).permutation(trades) + 1
    opens = np.full(2 * trades, 10_000.0)
    closes = opens.copy()
    closes[1::2] -= losses
    side = np.tile(np.array([1, 0], np.int8), trades)
    candles = candles_of(opens, opens, closes, closes)
    result = simulate(candles, Signals(side=side, time_limit=1), FREE, Execution(risk_per_trade=1e-6))
    worst = np.sort(losses)[-math.ceil(trades / 20) :]
    assert result[Metric.CVAR_95_PCT] == pytest.approx(-worst.mean() / 100)


def test_bars_per_year_count_the_bars_actually_there() -> None:
    """Never closing 5-minute bars: 105 120. A market open 5 of 7 days: 5 / 7 of it."""
    five = 5 * MINUTE
    assert annual_bars(np.arange(10_000, dtype=np.int64) * five, five) == pytest.approx(105_120)
    week = np.arange(7 * 288, dtype=np.int64) * five
    weeks = np.concatenate([week[: 5 * 288] + k * 7 * 86_400_000 for k in range(52)])
    # The last weekend is not in the span, hence a little more than 5 / 7.
    assert annual_bars(weeks, five) == pytest.approx(105_120 * 5 / 7, rel=0.01)


def test_a_metric_knows_its_unit_formula_and_reference() -> None:
    assert all(metric.unit and metric.formula and metric.reference for metric in Metric)
    assert as_metric("sharpe_ratio") is Metric.SHARPE_RATIO
    assert list(COLUMN.values()) == list(range(len(Metric)))
    with pytest.raises(
        UnknownNameError, match="no metric is called 'sharp'; did you mean 'sharpe_ratio'\\?; there are net_profit"
    ):
        as_metric("sharp")


def test_every_metric_has_a_formula_in_the_kernel() -> None:
    """Columns are allocated and not cleared, so a metric without a formula would be whatever lay in memory."""
    mark = -12345.678
    metrics = np.full((2, len(Metric)), mark)
    # Two sets over 4 bars: one trade of 1,000 that won 10, and none.
    when, money = np.zeros((walk_state.WHEN_ROWS, 1), np.int32), np.zeros((walk_state.MONEY_ROWS, 1))
    when[walk_state.SIDE], when[walk_state.EXIT_BAR] = 1, 2
    money[walk_state.SIZE], money[walk_state.NET_RETURN] = 1_000.0, 0.01
    money[[walk_state.PNL, walk_state.PNL_OTHER, walk_state.GROSS]] = 10.0
    money[walk_state.EQUITY_BEFORE] = CAPITAL
    for row, trades in enumerate((1, 0)):
        totals, blocks = np.zeros(walk_state.TOTALS), np.zeros((3, 2))
        statistics.summarise(
            when[:, :trades], money[:, :trades], totals, blocks, 4, 100.0, CAPITAL, False, metrics[row]
        )
    assert not (metrics == mark).any()
    assert metrics[:, COLUMN[Metric.NET_PROFIT]].tolist() == [10.0, 0.0]


def test_the_best_row_is_the_first_of_the_highest_and_never_undefined() -> None:
    assert best_row(np.array([np.nan, 1.0, 3.0, 3.0])) == 2
    assert best_row(np.array([np.nan, -2.0])) == 1
    assert best_row(np.array([np.nan, np.nan])) is None
    assert best_row(np.empty(0)) is None


ADDED = """
    PAYOFF = "payoff", "ratio", "avg_win_pct / |avg_loss_pct|; None without a loss", "own"
"""
OFTEN = """
import numpy as np
import lockstep as ls


class Often(ls.Strategy):
    parameters = {"every": [4, 5]}

    def signals(self, view, params):
        return ls.Signals(side=np.where(np.arange(len(view)) % params["every"] == 0, 1, 0), time_limit=2)
"""
TRAINED = """
import json, sys
from pathlib import Path
import lockstep as ls

home = Path(sys.argv[1])
done = ls.train(
    {
        "kind": "strategy",
        "data": {"source": "sample", "last": 100},
        "strategy": {"name": str(home / "often.py") + ":Often"},
        "costs": {"fee_rate": 0.0, "slippage_rate": 0.0},
        "search": {"optimizer": "grid", "min_trades": 1, "objective": "payoff"},
    },
    home=home,
)
print(json.dumps({"metrics": done.summary["best"]["metrics"], "columns": sorted(done.trials())}))
"""


def test_a_new_metric_is_a_member_and_a_formula(tmp_path: Path) -> None:
    """In a copy of the package: two files, and it is searched by, stored and told like every other."""
    copy = PackageCopy(tmp_path / "copy")
    copy.insert("engine/metrics.py", '    RUINED = "ruined"', ADDED.lstrip("\n"))
    copy.insert(
        "engine/statistics.py",
        "    row[M.LARGEST_WIN_PCT] =",
        "    row[M.PAYOFF] = _ratio(row[M.AVG_WIN_PCT], -row[M.AVG_LOSS_PCT])\n",
    )
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "often.py").write_text(OFTEN)
    result = copy.run(TRAINED, str(tmp_path / "home"))
    metrics = result["metrics"]
    assert metrics["payoff"] == metrics["avg_win_pct"] / -metrics["avg_loss_pct"]
    assert "metric.payoff" in result["columns"]
    assert copy.changed == {"engine/metrics.py", "engine/statistics.py"}


def test_a_result_is_plain_json_with_its_metrics_trades_and_curve() -> None:
    """R3.19"""
    result = four_trades()
    back = json.loads(result.to_json())
    assert back["metrics"]["total_trades"] == 4
    assert back["trades"][0]["exit_reason"] == "MAX_HOLD"
    assert back["trades"][0]["entry_time"] == MINUTE
    assert back["equity_curve"]["equity"][1] == pytest.approx(11_000)
    assert all(type(value) in (int, float, type(None)) for value in result.metrics.values())
    assert all(type(result.metrics[metric]) is int for metric in COUNTS)
    assert "equity_curve" not in result.to_dict(curve=False)


def test_two_runs_are_identical() -> None:
    """R3.1"""
    assert four_trades().to_json() == four_trades().to_json()


def test_the_printed_summary_rounds_and_names_the_doubts() -> None:
    text = str(four_trades())
    assert "net_profit_pct" in text
    assert "7.00 %" in text
    assert "ambiguous_trades" in text
    assert repr(four_trades()) == "Simulation(bars=9, trades=4, net_profit_pct=7.00)"


def test_trades_of_equal_loss_have_no_deviation_though_their_last_bits_differ() -> None:
    """R3.15: stops of exactly 1 % at many prices lose 1 % each, but for rounding; a ratio to that is no ratio."""
    closes = [100.0, 103.7, 100.0, 97.3, 100.0, 91.9, 100.0, 107.9, 100.0, 100.0]
    side = np.array([1, 1, 1, 1, 1, 1, 1, 1, 0, 0], np.int8)
    opens = closes[:1] + closes[:-1]
    candles = candles_of(
        opens, [max(pair) for pair in zip(opens, closes, strict=True)], [price * 0.9 for price in closes], closes
    )
    lost = simulate(candles, Signals(side=side, stop=candles.close * 0.99), FREE, Execution(fill="close"))
    pct = lost.trades.net_return
    assert len(lost.trades) > 3
    assert 0.0 < np.ptp(pct) < 1e-15, "the case must show rounding, else it tests nothing"
    assert lost[Metric.SHARPE_RATIO_PER_TRADE] is None
    assert lost[Metric.SORTINO_RATIO_PER_TRADE] is None


def test_an_exit_at_the_price_of_the_last_mark_is_no_losing_bar() -> None:
    """A long that rises and leaves where it was last marked: equity then differs by rounding only."""
    seen = 0
    for price in 100.0 + 0.1 * np.arange(1, 60):
        closes = [100.0, 100.0, price, price, price, price]
        opens = [100.0, 100.0, 100.0, price, price, price]
        candles = candles_of(opens, np.maximum(opens, closes), np.minimum(opens, closes), closes)
        side = np.array([1, 0, 0, 0, 0, 0], np.int8)
        won = simulate(candles, Signals(side=side, time_limit=3, stop=candles.close * 0.93), FREE)
        seen += int(won.returns.min() < 0.0)
        assert won[Metric.SORTINO_RATIO] is None, price
    assert seen > 0, "no case shows rounding"


def test_json_has_null_where_compounding_leaves_the_doubles() -> None:
    """Every second bar doubles: 1,100 such trades multiply the capital by 2 ** 1,100, beyond 1.8e308 = 2 ** 1,024."""
    opens = np.where(np.arange(2_200) % 2 == 0, 100.0, 200.0)
    closes = np.append(opens[1:], 100.0)
    candles = candles_of(opens, np.maximum(opens, closes), np.minimum(opens, closes), closes)
    side = np.zeros(2_200, np.int8)
    side[1::2] = 1
    with np.errstate(all="ignore"):
        result = simulate(
            candles, Signals(side=side, time_limit=1), FREE, Execution(compounding=True, risk_per_trade=1.0)
        )
    plain = json.loads(result.to_json())
    assert plain["metrics"]["net_profit_pct"] is None
    assert plain["equity_curve"]["equity"][0] == CAPITAL
    assert plain["equity_curve"]["equity"][-1] is None
    assert np.isnan(result.blocks.r1).all()


def test_without_a_win_there_is_no_largest_win_and_without_a_loss_no_largest_loss() -> None:
    opens, closes = [100.0, 99.0, 98.0, 97.0, 96.0], [99.0, 98.0, 97.0, 96.0, 95.0]
    candles = candles_of(opens, opens, closes, closes)
    for side, missing, there in (
        (1, Metric.LARGEST_WIN_PCT, Metric.LARGEST_LOSS_PCT),
        (-1, Metric.LARGEST_LOSS_PCT, Metric.LARGEST_WIN_PCT),
    ):
        done = simulate(candles, Signals(side=np.array([side, 0, side, 0, 0], np.int8), time_limit=1), FREE)
        assert (done[Metric.TOTAL_TRADES], done[missing]) == (2, None)
        assert done[there] is not None


def test_costs_move_a_price_by_their_rate_and_half_the_spread() -> None:
    costs = Costs(fee_rate=0.0, slippage_rate=0.01, spread=0.5)
    assert costs.buy_price(200.0) == 200.0 * 1.01 + 0.25
    assert costs.sell_price(200.0) == 200.0 * 0.99 - 0.25


def test_trades_as_a_table_name_the_symbol_and_quote_what_a_comma_would_cut() -> None:
    done = four_trades()
    plain, quoted = (readable_trades_csv(done, symbol=symbol).decode() for symbol in ("BTC/USDT", 'a "b", c'))
    (header, *rows), (_, *others) = plain.splitlines(), quoted.splitlines()
    assert header.startswith("symbol,entry_time,exit_time,")
    assert len(rows) == 4
    assert all(row.startswith("BTC/USDT,") for row in rows)
    assert all(row.startswith('"a ""b"", c",') for row in others)
    assert next(iter(csv.reader([others[0]])))[0] == 'a "b", c'
