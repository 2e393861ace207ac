"""Names that users know, over the same code: frames in, frames out. pandas is imported when used.

    strategy = LiquiditySweepStrategy({"pierce_depth": 0.001})
    frame = strategy.generate_signals(df)                        # timestamp, signal, stop_loss, take_profit
    result = BacktestEngine(fee_rate=0.0005).run_backtest(df, strategy)

`ls.backtest` and `ls.sweep` are the same engine without frames.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from lockstep.core.errors import DataError, StrategyError
from lockstep.core.space import Space
from lockstep.engine.costs import Costs
from lockstep.engine.settings import Execution
from lockstep.engine.signals import Signals
from lockstep.engine.simulate import simulate
from lockstep.market.candles import Candles
from lockstep.market.indicators import rolling_atr
from lockstep.market.load import load_candles
from lockstep.runs.user_modules import USER_FAILURES
from lockstep.strategies.base import Strategy
from lockstep.strategies.evaluate import Evaluator, decide
from lockstep.strategies.registry import lookup
from lockstep.strategies.view import MarketView

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

Progress = Callable[[int, int, str], None]

SIGNAL_COLUMNS: Final = ("timestamp", "open", "high", "low", "close", "volume")
DEFAULT_HOLDING: Final = 50
"""Bars after which `BacktestEngine` closes a trade of a strategy that names no max_holding_periods."""
_SIDE_OF: Final = {"BUY": 1, "SELL": -1, "HOLD": 0}


class StrategyFace:
    """A built-in strategy with its parameters bound (R2.7). Subclasses name the strategy."""

    strategy_name: ClassVar[str] = ""

    def __init__(self, params: Mapping[str, Any] | None = None) -> None:
        """`params` override the defaults; raises SpaceError naming an unknown or unusable one."""
        self.strategy: Strategy = lookup(self.strategy_name)
        self.params = self.strategy.resolve(params or {})

    @classmethod
    def get_parameter_space(cls) -> Space:
        """The searched parameters and their ranges (R2.16)."""
        return lookup(cls.strategy_name).space

    @classmethod
    def default_parameters(cls) -> dict[str, Any]:
        """The value of every parameter that is not given (R2.16)."""
        return lookup(cls.strategy_name).resolve({})

    def generate_signals(self, data: pd.DataFrame, progress_callback: Progress | None = None) -> pd.DataFrame:
        """Signals aligned to `data`: timestamp (as given), signal BUY/SELL/HOLD, stop_loss, take_profit (NaN on HOLD).

        progress_callback  called with (current, total, "signal_generation"), last with current = total (R2.17)
        Raises DataError (a ValueError) naming missing columns.
        """
        import pandas as pd

        candles = _candles(data, SIGNAL_COLUMNS)
        if progress_callback is not None:
            progress_callback(0, len(candles), "signal_generation")
        signals = decide(self.strategy, MarketView(candles), self.params)
        frame = pd.DataFrame(
            {
                "timestamp": data["timestamp"].to_numpy(),
                "signal": np.array(["SELL", "HOLD", "BUY"], dtype=object)[signals.side + 1],
                "stop_loss": _levels(signals.stop, signals.side),
                "take_profit": _levels(signals.target, signals.side),
            },
            index=data.index,
        )
        if progress_callback is not None:
            progress_callback(len(candles), len(candles), "signal_generation")
        return frame


class LiquiditySweepStrategy(StrategyFace):
    """The liquidity sweep (R2.1); see `liquidity_sweep` for the rule."""

    strategy_name = "LIQUIDITY_SWEEP"


@dataclass(frozen=True, kw_only=True, eq=False)
class BacktestResult:
    """What `BacktestEngine.run_backtest` returns.

    trades        one dict per trade: entry_time, entry_price, exit_time, exit_price, side, size, pnl, exit_reason, ...
    metrics       name -> number, None where undefined; names are those of `ls.Metric`, and those of earlier releases
                  answer as well
    equity_curve  frame: timestamp (ms UTC), equity at that bar's close
    parameters    the strategy's parameters
    """

    trades: list[dict[str, Any]]
    metrics: Mapping[str, float | int | None]
    equity_curve: pd.DataFrame
    parameters: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON (R3.19)."""
        curve = {name: self.equity_curve[name].tolist() for name in ("timestamp", "equity")}
        return {
            "trades": self.trades,
            "metrics": dict(self.metrics),
            "equity_curve": curve,
            "parameters": self.parameters,
        }


@dataclass(frozen=True)
class BacktestEngine:
    """The engine under names that users know. Fills at the next open; `fill="close"` for comparison (decision D4)."""

    initial_capital: float = 10_000.0
    fee_rate: float = 0.001
    slippage_rate: float = 0.0005
    risk_per_trade: float = 0.02
    fill: str = "next_open"

    def run_backtest(
        self,
        data: pd.DataFrame,
        strategy_instance: Any,
        position_size_pct: float = 1.0,
        progress_callback: Progress | None = None,
    ) -> BacktestResult:
        """Trade one strategy over `data` (columns SIGNAL_COLUMNS; others may be there).

        strategy_instance  a StrategyFace, an ls.Strategy (with its defaults), or any object with
                           `generate_signals(data)` or `generate_signals(data, progress_callback)`
        Raises DataError (a ValueError) naming missing columns, StrategyError for what the strategy does wrong.
        """
        import pandas as pd

        candles = _candles(data, SIGNAL_COLUMNS)
        costs = Costs(fee_rate=self.fee_rate, slippage_rate=self.slippage_rate)
        execution = Execution(
            fill=self.fill,
            initial_capital=self.initial_capital,
            risk_per_trade=self.risk_per_trade,
            position_size_pct=position_size_pct,
        )
        if progress_callback is not None:
            progress_callback(0, len(candles), "backtest")
        if isinstance(strategy_instance, StrategyFace | Strategy):
            strategy, params = _bound(strategy_instance)
            done = Evaluator(strategy, candles, costs=costs, execution=execution).one(params)
            simulation, parameters = done.simulation, done.parameters
        else:
            parameters = dict(getattr(strategy_instance, "params", None) or {})
            if "atr" not in data.columns:
                # Strategies written for frames of DataCollector read it.
                data = data.assign(atr=rolling_atr(candles.high, candles.low, candles.close))
            signals = _foreign_signals(strategy_instance, data, len(candles), parameters, progress_callback)
            simulation = simulate(candles, signals, costs, execution)
        if progress_callback is not None:
            progress_callback(len(candles), len(candles), "backtest")
        return BacktestResult(
            trades=simulation.trades.to_dicts(simulation.timestamp),
            metrics=simulation.metrics.by_name(),
            equity_curve=pd.DataFrame({"timestamp": simulation.timestamp, "equity": simulation.equity}),
            parameters=parameters,
        )


def _bound(strategy: StrategyFace | Strategy) -> tuple[Strategy, dict[str, Any]]:
    if isinstance(strategy, StrategyFace):
        return strategy.strategy, strategy.params
    return strategy, {}


def _candles(data: pd.DataFrame, columns: tuple[str, ...]) -> Candles:
    missing = [name for name in columns if name not in data.columns]
    if missing:
        raise DataError(
            f"the frame lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}; needed are "
            f"{', '.join(columns)}. DataCollector.fetch_ohlcv makes such frames."
        )
    return load_candles(data[list(SIGNAL_COLUMNS)])


def _levels(values: NDArray[np.float64] | None, side: NDArray[np.int8]) -> NDArray[np.float64]:
    if values is None:
        return np.full(side.size, np.nan)
    return np.where(side != 0, values, np.nan)


def _foreign_signals(
    strategy: Any, data: pd.DataFrame, bars: int, parameters: Mapping[str, Any], progress: Progress | None
) -> Signals:
    """Signals of an object that only knows `generate_signals`."""
    name = type(strategy).__name__
    generate = getattr(strategy, "generate_signals", None)
    if generate is None:
        raise StrategyError(f"{name} is no strategy: it has no generate_signals(data)")
    # Asked before the call: catching a TypeError would also swallow one from inside the strategy (R3.18).
    takes_progress = "progress_callback" in inspect.signature(generate).parameters
    try:
        frame = generate(data, progress_callback=progress) if takes_progress else generate(data)
    except USER_FAILURES as error:
        raise StrategyError(f"{name}.generate_signals failed: {type(error).__name__}: {error}") from error
    missing = [column for column in ("signal", "stop_loss", "take_profit") if column not in frame.columns]
    if missing or len(frame) != bars:
        raise StrategyError(
            f"{name}.generate_signals returns the columns signal, stop_loss, take_profit with one row per bar; found "
            f"{len(frame)} rows for {bars} bars, columns {', '.join(map(str, frame.columns))}"
        )
    words = frame["signal"].tolist()
    unknown = sorted({str(word) for word in words if word not in _SIDE_OF})
    if unknown:
        raise StrategyError(f"{name}: a signal is BUY, SELL or HOLD; found {unknown[0]!r}")
    return Signals(
        side=np.array([_SIDE_OF[word] for word in words], dtype=np.int8),
        stop=frame["stop_loss"].to_numpy(dtype=np.float64),
        target=frame["take_profit"].to_numpy(dtype=np.float64),
        time_limit=int(parameters.get("max_holding_periods", DEFAULT_HOLDING)),
    )
