"""Evaluation for the optimizer classes: engine, data and strategy in any accepted form become rows of metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lockstep.core.errors import InputError, LockstepError, SpaceError
from lockstep.core.space import Columns, Space, row
from lockstep.engine.costs import Costs
from lockstep.engine.metrics import Metric
from lockstep.engine.settings import Execution
from lockstep.faces.backtest import StrategyFace
from lockstep.market.candles import Candles
from lockstep.market.indicators import rolling_atr
from lockstep.runs.user_modules import USER_FAILURES
from lockstep.search.objective import Reach
from lockstep.storage.blobs import FolderBlobStore
from lockstep.strategies.base import Strategy
from lockstep.strategies.evaluate import Evaluated, Evaluator, join
from lockstep.strategies.registry import lookup
from lockstep.strategies.task import sweep_task

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.runs.executor import Executor
    from lockstep.search.loop import Evaluation

CHUNK: Final = 256


@dataclass(frozen=True, kw_only=True, eq=False)
class _Rows:
    """The evaluation (`search.loop.Evaluation`) of classes that have no constraints of their own: metrics (n, M)."""

    metrics: NDArray[np.float64]
    errors: Mapping[int, str]
    not_evaluated: None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Setting:
    """What an optimizer searches; `strategy` is None for a class that only has `generate_signals`."""

    engine: Any
    data: Any
    strategy_class: Any
    strategy: Strategy | None
    space: Space

    @classmethod
    def of(cls, engine: Any, data: Any, strategy_class: Any, space: Space | Mapping[str, Any] | None) -> Setting:
        """Check that the parts fit. Raises SpaceError, StrategyError, UnknownNameError."""
        strategy = _house_strategy(strategy_class)
        needed = ("initial_capital", "fee_rate", "slippage_rate", "risk_per_trade") if strategy else ("run_backtest",)
        lacking = [name for name in needed if not hasattr(engine, name)]
        if lacking:
            raise InputError(f"backtest_engine is a BacktestEngine; found {engine!r}, which has no {lacking[0]}")
        if space is None:
            space_of = getattr(strategy_class, "get_parameter_space", None)
            space = strategy.space if strategy is not None else space_of() if space_of is not None else None
            if space is None:
                raise SpaceError(f"{strategy_class!r} has no get_parameter_space(): give parameter_space")
        parsed = space if isinstance(space, Space) else Space.parse(space)
        return cls(engine=engine, data=data, strategy_class=strategy_class, strategy=strategy, space=parsed)

    @property
    def candles(self) -> Candles:
        """The data as candles, n bars; a frame is checked and converted."""
        return self.data if isinstance(self.data, Candles) else Candles.from_frame(self.data)

    @property
    def frame(self) -> Any:
        """The data as a frame, the only form that a foreign class reads; candles get a column "atr"."""
        if not isinstance(self.data, Candles):
            return self.data
        frame = self.data.to_frame()
        if "atr" not in frame.columns:
            frame["atr"] = rolling_atr(self.data.high, self.data.low, self.data.close)
        return frame

    @property
    def costs(self) -> Costs:
        """Fee and slippage of the engine, fractions per side."""
        return Costs(fee_rate=self.engine.fee_rate, slippage_rate=self.engine.slippage_rate)

    @property
    def execution(self) -> Execution:
        """Fill rule, capital and risk of the engine."""
        return Execution(
            fill=getattr(self.engine, "fill", "next_open"),
            initial_capital=self.engine.initial_capital,
            risk_per_trade=self.engine.risk_per_trade,
        )

    def reach(self) -> Reach | None:
        """Bars and warm-up of the search, for the message of one without a winner; None for a foreign class."""
        if self.strategy is None:
            return None
        lows, highs = (
            self.strategy.columns(self.space.decode(np.full((1, len(self.space)), u))) for u in (0.0, 1.0 - 2.0**-53)
        )
        bars = [self.strategy.warm_bars(row(columns, 0)) for columns in (lows, highs)]
        return Reach(bars=len(self.data), shortest=min(bars), longest=max(bars))


def _house_strategy(strategy_class: Any) -> Strategy | None:
    if isinstance(strategy_class, type) and issubclass(strategy_class, StrategyFace):
        return lookup(strategy_class.strategy_name)
    if isinstance(strategy_class, str | Strategy) or (
        isinstance(strategy_class, type) and issubclass(strategy_class, Strategy)
    ):
        return lookup(strategy_class)
    if not callable(strategy_class) or not hasattr(strategy_class, "generate_signals"):
        raise InputError(
            "strategy_class is a strategy's name, an ls.Strategy or a class with generate_signals; "
            f"found {strategy_class!r}"
        )
    return None


@contextmanager
def evaluation(setting: Setting, executor: Executor | None) -> Iterator[Callable[[Columns], Evaluation]]:
    """A function from parameter columns (n,) to rows of metrics, here or on the workers of `executor`."""
    strategy = setting.strategy
    if strategy is None:
        yield lambda columns: _foreign(setting, columns)
        return
    options: dict[str, Any] = {"costs": setting.costs, "execution": setting.execution}
    if executor is None:
        evaluator = Evaluator(strategy, setting.candles, **options)
        yield lambda columns: evaluator.batch(strategy.columns(columns), on_error="record")
        return
    with TemporaryDirectory(prefix="lockstep-search-") as folder:
        task = sweep_task(strategy, setting.candles, blobs=FolderBlobStore(Path(folder)), **options)

        def on_workers(columns: Columns) -> Evaluated:
            whole = strategy.columns(columns)
            count = len(next(iter(whole.values())))
            chunks = [{name: c[lo : lo + CHUNK] for name, c in whole.items()} for lo in range(0, count, CHUNK)]
            return join(executor.map(task, chunks))

        yield on_workers


def _foreign(setting: Setting, columns: Columns) -> _Rows:
    """One set after the other through `run_backtest`, for classes that only know `generate_signals`."""
    count = len(next(iter(columns.values())))
    metrics = np.full((count, len(Metric)), np.nan)
    errors: dict[int, str] = {}
    data = setting.frame
    for i in range(count):
        try:
            result = setting.engine.run_backtest(data, setting.strategy_class(row(columns, i)))
        except LockstepError as error:
            errors[i] = str(error)
        except USER_FAILURES as error:
            errors[i] = f"{getattr(setting.strategy_class, '__name__', 'strategy')}: {type(error).__name__}: {error}"
        else:
            values = [result.metrics.get(str(metric)) for metric in Metric]
            metrics[i] = [np.nan if value is None else float(value) for value in values]
    return _Rows(metrics=metrics, errors=errors)
