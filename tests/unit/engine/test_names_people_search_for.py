"""Metrics under the names that quants search for, each against a computation that shares no code with the engine."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from tests.property.cases import candles_of

from lockstep.core.errors import InputError, StrategyError, UnknownNameError
from lockstep.engine.costs import Costs
from lockstep.engine.metrics import ALIASES, Metric, as_metric
from lockstep.engine.renamed import under_present_names
from lockstep.engine.settings import Execution
from lockstep.engine.signals import Signals
from lockstep.engine.simulate import Simulation, simulate
from lockstep.market.candles import Candles
from lockstep.market.sample import sample_candles
from lockstep.testing.costs import FREE

YEAR_DAYS = 365.0


def every_30_bars(candles: Candles, costs: Costs = FREE) -> Simulation:
    """Long and short in turn, each position for 20 bars."""
    side = np.zeros(len(candles), np.int8)
    side[10::60], side[40::60] = 1, -1
    return simulate(candles, Signals(side=side, time_limit=20, stop=candles.close * (1 - 0.5 * side)), costs)


@pytest.fixture(scope="module")
def done() -> Simulation:
    return every_30_bars(sample_candles())


@pytest.fixture(scope="module")
def equity(done: Simulation) -> pd.Series:
    """Equity at the closes, by the moment of the bar's open; from the trades alone it would be another oracle."""
    return pd.Series(done.equity, index=pd.to_datetime(done.timestamp, unit="ms", utc=True))


def test_growth_volatility_and_calmar_are_those_of_the_equity_curve(done: Simulation, equity: pd.Series) -> None:
    """quantstats: cagr = (1 + total return)^(1 / years) - 1; calmar = cagr / |max drawdown|, both of all bars."""
    curve = pd.concat([pd.Series([10_000.0]), equity])
    years = (equity.index[-1] - equity.index[0] + pd.Timedelta("1h")) / pd.Timedelta(days=YEAR_DAYS)
    returns = curve.pct_change().dropna()
    growth = 100 * ((curve.iloc[-1] / 10_000.0) ** (1 / years) - 1)
    fall = 100 * (curve / curve.cummax() - 1).min()
    assert done["cagr_pct"] == pytest.approx(growth, rel=1e-9)
    assert done["volatility_pct"] == pytest.approx(100 * returns.std(ddof=0) * math.sqrt(len(equity) / years), rel=1e-9)
    assert done["max_drawdown_pct"] == pytest.approx(fall, rel=1e-9)
    assert done["calmar_ratio"] == pytest.approx(growth / -fall, rel=1e-9)


def test_months_and_the_longest_drawdown_are_those_of_the_equity_curve(done: Simulation, equity: pd.Series) -> None:
    closes = equity.groupby([equity.index.year, equity.index.month]).last()
    months = 100 * (closes / closes.shift(fill_value=10_000.0) - 1)
    assert len(months) > 5
    assert done["best_month_pct"] == pytest.approx(months.max(), rel=1e-9)
    assert done["worst_month_pct"] == pytest.approx(months.min(), rel=1e-9)
    hour = pd.Timedelta("1h")
    longest, peak, last_high, previous_low = pd.Timedelta(0), 10_000.0, equity.index[0], False
    for opened, value in equity.items():
        high = value >= peak * (1 - 1e-14)
        if not high or previous_low:
            longest = max(longest, opened + hour - last_high)
        previous_low = not high
        if high:
            peak, last_high = max(peak, value), opened + hour
    assert done["longest_drawdown_days"] == pytest.approx(longest / pd.Timedelta(days=1))


def test_a_drawdown_lasts_from_the_peak_to_the_close_that_reaches_it_again() -> None:
    """One long from bar 1 on, never left. Closes 100, 100, 110, 105, 100, 110, 108 in days: the peak of bar 2 is
    reached again at bar 5, three days later; bar 6 is one day below it."""
    closes = [100.0, 100.0, 110.0, 105.0, 100.0, 110.0, 108.0]
    opens = [100.0, *closes[:-1]]
    candles = Candles(
        timestamp=1_704_067_200_000 + np.arange(7) * 86_400_000,
        open=np.array(opens),
        high=np.maximum(opens, closes),
        low=np.minimum(opens, closes),
        close=np.array(closes),
        volume=np.ones(7),
        timeframe_ms=86_400_000,
    )
    held = simulate(candles, Signals(side=np.array([1, 0, 0, 0, 0, 0, 0], np.int8)), FREE)
    assert held["longest_drawdown_days"] == 3.0
    assert held["open_at_end"] == 1


def test_system_quality_is_that_of_the_money_of_the_trades(done: Simulation) -> None:
    pnl = pd.Series(done.trades.pnl)
    assert done["sqn"] == pytest.approx(math.sqrt(len(pnl)) * pnl.mean() / pnl.std(), rel=1e-9)


def test_win_rate_counts_winners_after_costs_and_cvar_is_a_fraction(done: Simulation) -> None:
    trades = done.trades.to_frame()
    assert done["win_rate"] == (trades["pnl"] > 0).mean()
    worst = trades["net_return"].nsmallest(math.ceil(len(trades) / 20)).mean()
    assert done["cvar_95"] == pytest.approx(worst)
    assert done["cvar_95_pct"] == pytest.approx(100 * worst)
    assert trades["pnl_pct"].tolist() == pytest.approx((100 * trades["pnl"] / trades["size"]).tolist())


def test_names_of_earlier_releases_answer_and_say_what_they_are_called_now(done: Simulation) -> None:
    assert done["gross_win_rate"] == done.metrics["win_rate"]
    assert done.metrics["max_drawdown_bar_pct"] == done["max_drawdown_pct"]
    assert Metric.GROSS_WIN_RATE is Metric.WIN_RATE
    assert done.to_dict(curve=False)["aliases"] == {name: str(metric) for name, metric in ALIASES.items()}
    assert "gross_win_rate" not in [str(metric) for metric in Metric]


def test_metrics_of_release_0_1_are_read_under_the_names_that_mean_the_same_today() -> None:
    then = {"max_drawdown_pct": -3.0, "max_drawdown_bar_pct": -5.0, "calmar_ratio": 2.0, "gross_win_rate": 0.5}
    assert under_present_names(then) == {
        "max_drawdown_trades_pct": -3.0,
        "max_drawdown_pct": -5.0,
        "calmar_ratio_trades": 2.0,
        "win_rate": 0.5,
    }
    assert under_present_names({"max_drawdown_pct": -5.0}) == {"max_drawdown_pct": -5.0}


@pytest.mark.parametrize(
    ("name", "suggested"),
    [("sharpe", "sharpe_ratio"), ("Calmar", "calmar_ratio"), ("max drawdown", "max_drawdown_pct"),
     ("winrate", "win_rate"), ("total_return", "net_profit_pct"), ("cagr", "cagr_pct"), ("MDD", "max_drawdown_pct")],
)  # fmt: skip
def test_an_unknown_metric_is_answered_with_the_one_that_was_meant(done: Simulation, name: str, suggested: str) -> None:
    with pytest.raises(UnknownNameError, match=f"no metric is called '{name}'; did you mean '{suggested}'"):
        done[name]


def test_a_metric_of_the_whole_curve_is_no_metric_of_a_search() -> None:
    with pytest.raises(UnknownNameError, match="best_month_pct is worked out for single backtests only"):
        as_metric("best_month_pct")


def test_frames_have_times(done: Simulation) -> None:
    trades, curve = done.trades.to_frame(), done.equity_frame()
    assert str(trades["entry_time"].dt.tz) == str(curve.index.tz) == "UTC"
    first = done.trades.entry_bar[0]
    assert trades["entry_time"][0] == curve.index[first] == pd.Timestamp(done.timestamp[first], unit="ms", tz="UTC")
    assert curve["equity"].tolist() == done.equity.tolist()
    assert curve["drawdown_pct"].min() == pytest.approx(done["max_drawdown_pct"])


def test_a_risk_that_the_capital_caps_says_in_how_many_trades() -> None:
    """Stops 0.5 % away: a risk of 0.5 % takes the whole capital, 1 % asks for two of it. The last is 4 % away."""
    opens = [100.0] * 8
    candles = candles_of(opens, [101.0] * 8, [99.9] * 8, opens)
    side = np.array([1, 0, 1, 0, 1, 0, 0, 0], np.int8)
    stop = np.array([99.5, 0, 99.5, 0, 96.0, 0, 0, 0])

    def at_risk(share: float) -> Simulation:
        return simulate(candles, Signals(side=side, stop=stop, time_limit=1), FREE, Execution(risk_per_trade=share))

    assert at_risk(0.005)["capped_trades"] == 0
    assert at_risk(0.005).notes == ()
    assert at_risk(0.01)["capped_trades"] == 2
    words = "risk_per_trade = 0.01 is capped by the capital in 2 of 3 trades (there is no leverage)"
    assert words in at_risk(0.01).notes[0]
    assert words in str(at_risk(0.01))
    assert words in at_risk(0.01).to_dict()["notes"][0]


@pytest.mark.parametrize(
    ("side", "column", "cure"),
    [(1, {"stop": 0.02}, "stop=view.close * 0.98"), (-1, {"stop": 0.02}, "stop=view.close * 1.02"),
     (1, {"target": 0.04}, "target=view.close * 1.02"), (-1, {"target": 4.9}, "target=view.close * 0.98")],
)  # fmt: skip
def test_a_distance_given_for_a_price_is_refused_and_the_switch_lifts_it(
    side: int, column: dict[str, float], cure: str
) -> None:
    candles = candles_of([100.0] * 4, [101.0] * 4, [99.0] * 4, [100.0] * 4)
    levels = {name: np.full(4, value) for name, value in column.items()}
    signals = Signals(side=np.array([0, side, 0, 0], np.int8), **levels)
    with pytest.raises(
        StrategyError, match=r"is a price; found .* at bar 1, whose close is 100.0 \(1 in all\)"
    ) as error:
        simulate(candles, signals, FREE)
    assert cure in str(error.value)
    assert "allow_far_stops = true" in str(error.value)
    simulate(candles, signals, FREE, Execution(allow_far_stops=True))


def test_a_fee_given_in_percent_is_refused_and_the_switch_lifts_it() -> None:
    with pytest.raises(InputError, match=r"fee_rate = 0.1 is 10 % of the money .* 0.1 % is 0.001"):
        Costs(fee_rate=0.1)
    with pytest.raises(InputError, match=r"maker_fee_rate = -0.05"):
        Costs(maker_fee_rate=-0.05)
    assert Costs(fee_rate=0.1, allow_high_fees=True).fee_rate == 0.1
    assert Costs(fee_rate=0.02).fee_rate == 0.02


def test_slippage_given_in_percent_is_refused_by_the_same_rule() -> None:
    with pytest.raises(InputError, match=r"slippage_rate = 0.05 is 5 % of the price, .* 0.05 % is 0.0005"):
        Costs(slippage_rate=0.05)
    assert Costs(slippage_rate=0.05, allow_high_fees=True).slippage_rate == 0.05
    assert Costs(slippage_rate=0.02).slippage_rate == 0.02


def test_costs_have_no_share_of_profits_that_cancel() -> None:
    """+10 % and -10 % of 10,000: gross 0 but for rounding, since 7 · 1.1 is not exact."""
    price = 7.0
    closes = [price, price * 1.1, price, price * 0.9, price]
    candles = candles_of([price] * 5, np.maximum(price, closes), np.minimum(price, closes), closes)
    done = simulate(candles, Signals(side=np.array([1, 0, 1, 0, 0], np.int8), time_limit=1))
    assert 0.0 < abs(done.trades.gross_pnl.sum()) < 1e-9, "the case must show rounding, else it tests nothing"
    assert done["cost_share"] is None
    assert done["total_costs"] > 0


def test_money_beyond_the_largest_float_is_undefined_and_json_says_null() -> None:
    """Doubled 1,100 times: 10,000 · 2^1100 is no float."""
    n = 2_300
    opens = np.where(np.arange(n) % 2 == 0, 100.0, 200.0)
    closes = np.r_[opens[1:], 100.0]
    candles = candles_of(opens, np.maximum(opens, closes), np.minimum(opens, closes), closes)
    side = np.zeros(n, np.int8)
    side[1::2] = 1
    rules = Execution(compounding=True, risk_per_trade=1.0)
    done = simulate(candles, Signals(side=side, time_limit=1), FREE, rules)
    assert done["net_profit_pct"] is None
    assert done["sharpe_ratio"] is None
    assert done["total_trades"] > 1_000
    assert all(value is None or math.isfinite(value) for value in done.metrics.values())
    assert '"net_profit": null' in done.to_json()
    assert "net_profit_pct=undefined" in repr(done)
    assert "net_profit_pct" in str(done)


def test_a_time_limit_names_the_bound_that_is_broken() -> None:
    side = np.array([1, 0], np.int8)
    with pytest.raises(StrategyError, match="time_limit is at most 2147483647 bars; found 1099511627776"):
        Signals(side=side, time_limit=2**40)
    with pytest.raises(StrategyError, match="time_limit is at most 2147483647 bars; found 1099511627776 at bar 0"):
        Signals(side=side, time_limit=np.array([2**40, 1]))
    with pytest.raises(StrategyError, match="time_limit is at least 1 bar; found 0"):
        Signals(side=side, time_limit=0)


def test_the_longest_drawdown_counts_months_as_long_as_they_are() -> None:
    # Bars of a month; the highest close is that of February, 1 March, and is passed with that of April, 1 May.
    closes = np.array([100.0, 110.0, 105.0, 112.0, 113.0])
    opens = np.append(100.0, closes[:-1])
    months = np.arange("2023-01", "2023-06", dtype="datetime64[M]").astype("datetime64[ms]").astype(np.int64)
    candles = Candles.from_arrays(
        timestamp=months, open=opens, high=np.maximum(opens, closes), low=np.minimum(opens, closes), close=closes,
        volume=np.ones(5),
    )  # fmt: skip
    held = simulate(candles, Signals(side=np.array([1, 0, 0, 0, 0], np.int8)), FREE)
    assert held["longest_drawdown_days"] == 61.0
