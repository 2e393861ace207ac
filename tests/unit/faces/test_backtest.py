"""Names that users know: frames in, frames out."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

import lockstep as ls
from lockstep.core.errors import SpaceError, StrategyError
from lockstep.faces.backtest import BacktestEngine, LiquiditySweepStrategy
from lockstep.market.sample import sample_candles

LOOSE = {"pierce_depth": 0.0003, "volume_spike_threshold": 1.2, "reversal_candles": 1, "min_level_touches": 2}


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    frame = sample_candles().to_frame()
    return frame.assign(atr=ls.strategies.MarketView(sample_candles()).rolling_atr(14))


def test_signals_are_a_frame_of_four_columns_aligned_to_the_data(frame: pd.DataFrame) -> None:
    """R2.7, R2.8."""
    signals = LiquiditySweepStrategy(LOOSE).generate_signals(frame)
    assert list(signals.columns) == ["timestamp", "signal", "stop_loss", "take_profit"]
    assert signals["timestamp"].tolist() == frame["timestamp"].tolist()
    assert set(signals["signal"]) == {"BUY", "SELL", "HOLD"}
    hold, buy, sell = (signals["signal"] == word for word in ("HOLD", "BUY", "SELL"))
    assert signals.loc[hold, ["stop_loss", "take_profit"]].isna().all(axis=None)
    close = frame["close"]
    assert ((signals["stop_loss"] < close) & (close < signals["take_profit"]))[buy].all()
    assert ((signals["stop_loss"] > close) & (close > signals["take_profit"]))[sell].all()


def test_progress_is_told_at_most_a_hundred_times_and_ends_at_the_total(frame: pd.DataFrame) -> None:
    """R2.17."""
    calls: list[tuple[int, int, str]] = []
    LiquiditySweepStrategy().generate_signals(frame, lambda *call: calls.append(call))
    assert 1 <= len(calls) <= 100
    assert calls[-1] == (len(frame), len(frame), "signal_generation")


def test_defaults_and_space_are_those_of_the_specification() -> None:
    """R2.2, R2.16."""
    assert len(LiquiditySweepStrategy.get_parameter_space()) == 9
    assert LiquiditySweepStrategy.default_parameters()["key_level_lookback"] == 100
    assert LiquiditySweepStrategy({"pierce_depth": 0.001}).params["pierce_depth"] == 0.001
    with pytest.raises(SpaceError, match="Did you mean 'pierce_depth'"):
        LiquiditySweepStrategy({"pierce_dept": 0.001})


def test_the_frame_engine_is_the_engine(frame: pd.DataFrame) -> None:
    """R3.1, R3.2, R3.3, R3.19, R3.20: same numbers as `ls.backtest`, ready for JSON."""
    result = BacktestEngine(fee_rate=0.0, slippage_rate=0.00005).run_backtest(frame, LiquiditySweepStrategy(LOOSE))
    same = ls.backtest(sample_candles(), "liquidity_sweep", LOOSE, costs=ls.Costs(fee_rate=0.0, slippage_rate=0.00005))
    assert result.metrics == {str(metric): value for metric, value in same.metrics.items()}
    assert result.parameters == same.parameters
    assert result.equity_curve["equity"].iloc[0] == 10_000.0
    gained = result.equity_curve["equity"].iloc[-1] - 10_000.0
    assert sum(trade["pnl"] for trade in result.trades) == pytest.approx(gained, abs=1e-6)
    assert {
        "entry_time",
        "entry_price",
        "exit_time",
        "exit_price",
        "side",
        "size",
        "pnl",
        "pnl_pct",
        "exit_reason",
    } <= set(result.trades[0])
    assert json.loads(json.dumps(result.to_dict(), allow_nan=False))["metrics"] == result.metrics


@pytest.mark.parametrize("missing", ["timestamp", "open", "high", "low", "close", "volume"])
def test_a_missing_column_is_named(frame: pd.DataFrame, missing: str) -> None:
    """R3.5."""
    with pytest.raises(ValueError, match=f"the frame lacks the column {missing}; needed are timestamp"):
        BacktestEngine().run_backtest(frame.drop(columns=[missing]), LiquiditySweepStrategy())


def test_a_frame_of_candles_is_enough(frame: pd.DataFrame) -> None:
    """And a class that reads an average true range has that of DataCollector."""
    strategy = LiquiditySweepStrategy({"pierce_depth": 0.0001})
    plain = frame.drop(columns=["atr"])
    assert (
        BacktestEngine().run_backtest(plain, strategy).trades == BacktestEngine().run_backtest(frame, strategy).trades
    )
    seen: list[pd.DataFrame] = []

    class Reads:
        def generate_signals(self, data: pd.DataFrame) -> pd.DataFrame:
            seen.append(data)
            nothing = pd.Series(np.nan, index=data.index)
            return pd.DataFrame({"signal": "HOLD", "stop_loss": nothing, "take_profit": nothing})

    result = BacktestEngine().run_backtest(plain, Reads())
    assert "atr" not in plain.columns
    pd.testing.assert_series_equal(seen[0]["atr"], frame["atr"])
    assert result.metrics["gross_win_rate"] is None


class EveryTenth:
    """A strategy as the older sources write it, without the progress argument."""

    params = {"max_holding_periods": 4}

    def __init__(self, word: Any = "BUY", rows: int | None = None) -> None:
        self.word, self.rows = word, rows

    def generate_signals(self, data: pd.DataFrame) -> pd.DataFrame:
        signal = np.where(np.arange(len(data)) % 10 == 9, self.word, "HOLD")
        table = pd.DataFrame(
            {"signal": signal, "stop_loss": data["close"] * 0.9, "take_profit": data["close"] * 1.1}, index=data.index
        )
        return table[: self.rows]


def test_a_foreign_strategy_trades_with_its_own_time_limit(frame: pd.DataFrame) -> None:
    """R3.11: a strategy without the progress argument is no error."""
    result = BacktestEngine().run_backtest(frame.head(200), EveryTenth())
    # Decisions at bars 9, 19 ... 199; that of the last bar finds no next open.
    assert len(result.trades) == 19
    assert {trade["holding_periods"] for trade in result.trades} == {4}
    assert result.parameters == {"max_holding_periods": 4}


def test_a_foreign_strategy_that_knows_progress_is_told(frame: pd.DataFrame) -> None:
    class Tells(EveryTenth):
        def generate_signals(self, data: pd.DataFrame, progress_callback: Any = None) -> pd.DataFrame:  # type: ignore[override]
            progress_callback(1, 1, "signal_generation")
            return super().generate_signals(data)

    calls: list[tuple[int, int, str]] = []
    BacktestEngine().run_backtest(frame.head(50), Tells(), progress_callback=lambda *call: calls.append(call))
    assert calls == [(0, 50, "backtest"), (1, 1, "signal_generation"), (50, 50, "backtest")]


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        (EveryTenth("LONG"), "a signal is BUY, SELL or HOLD; found 'LONG'"),
        (EveryTenth(rows=7), "with one row per bar; found 7 rows for 50 bars"),
        (object(), r"object is no strategy: it has no generate_signals\(data\)"),
    ],
)
def test_a_foreign_strategy_that_breaks_the_contract_is_told_how(
    frame: pd.DataFrame, strategy: Any, message: str
) -> None:
    with pytest.raises(StrategyError, match=message):
        BacktestEngine().run_backtest(frame.head(50), strategy)


def test_a_type_error_inside_a_foreign_strategy_is_not_swallowed(frame: pd.DataFrame) -> None:
    """R3.18."""

    class Fails(EveryTenth):
        def generate_signals(self, data: pd.DataFrame) -> pd.DataFrame:
            raise TypeError("my own mistake")

    with pytest.raises(StrategyError, match=r"Fails.generate_signals failed: TypeError: my own mistake"):
        BacktestEngine().run_backtest(frame.head(50), Fails())


def test_a_lockstep_strategy_runs_in_the_frame_engine_with_its_defaults(frame: pd.DataFrame) -> None:
    from lockstep.strategies.liquidity_sweep import LiquiditySweep

    result = BacktestEngine().run_backtest(frame, LiquiditySweep())
    assert result.parameters == LiquiditySweep().resolve({})
