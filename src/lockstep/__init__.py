"""Lockstep trains trading strategies so that every result can be repeated bit for bit, and says how far to trust it.

    import lockstep as ls

    candles = ls.sample_candles()
    result = ls.train({"kind": "strategy", "data": {"source": "sample"}, ...})
    ls.verify(result.run_id)

Every public name is loaded at its first use (PEP 562), so that `import lockstep` and `lockstep --help` cost nothing.
`docs/api.md` describes each name; a test compares it with `__all__`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from lockstep.core.errors import LockstepError
    from lockstep.core.space import Space
    from lockstep.engine.costs import Costs
    from lockstep.engine.metrics import Metric
    from lockstep.engine.settings import Execution
    from lockstep.engine.signals import Signals
    from lockstep.engine.simulate import simulate
    from lockstep.episodes.collect import collect_episodes
    from lockstep.faces.backtest import BacktestEngine, LiquiditySweepStrategy
    from lockstep.faces.cnn_trainer import CNNTrainer
    from lockstep.faces.optimizers import GridSearchOptimizer, ParameterOptimizer, RandomSearchOptimizer
    from lockstep.faces.rl_trainer import RLTrainer
    from lockstep.market.candles import Candles
    from lockstep.market.cleaning import DataCleaner
    from lockstep.market.collector import DataCollector
    from lockstep.market.load import load_candles
    from lockstep.market.sample import sample_candles
    from lockstep.public import (
        diff,
        estimate,
        list_runs,
        load_model,
        replay,
        report,
        resume,
        retrain,
        sessions,
        step,
        sweep,
        train,
        verify,
    )
    from lockstep.runs.results import TrainResult
    from lockstep.strategies.base import Strategy
    from lockstep.strategies.evaluate import backtest
    from lockstep.strategies.parameter_sets import columns

# Name -> the module it lives in. The block above says the same to mypy and to editors; a test compares the two.
_HOMES: Final = {
    "BacktestEngine": "lockstep.faces.backtest",
    "CNNTrainer": "lockstep.faces.cnn_trainer",
    "Candles": "lockstep.market.candles",
    "Costs": "lockstep.engine.costs",
    "DataCleaner": "lockstep.market.cleaning",
    "DataCollector": "lockstep.market.collector",
    "Execution": "lockstep.engine.settings",
    "GridSearchOptimizer": "lockstep.faces.optimizers",
    "LiquiditySweepStrategy": "lockstep.faces.backtest",
    "LockstepError": "lockstep.core.errors",
    "Metric": "lockstep.engine.metrics",
    "ParameterOptimizer": "lockstep.faces.optimizers",
    "RLTrainer": "lockstep.faces.rl_trainer",
    "RandomSearchOptimizer": "lockstep.faces.optimizers",
    "Signals": "lockstep.engine.signals",
    "Space": "lockstep.core.space",
    "Strategy": "lockstep.strategies.base",
    "TrainResult": "lockstep.runs.results",
    "backtest": "lockstep.strategies.evaluate",
    "collect_episodes": "lockstep.episodes.collect",
    "columns": "lockstep.strategies.parameter_sets",
    "diff": "lockstep.public",
    "estimate": "lockstep.public",
    "list_runs": "lockstep.public",
    "load_candles": "lockstep.market.load",
    "load_model": "lockstep.public",
    "replay": "lockstep.public",
    "report": "lockstep.public",
    "resume": "lockstep.public",
    "retrain": "lockstep.public",
    "sample_candles": "lockstep.market.sample",
    "sessions": "lockstep.public",
    "simulate": "lockstep.engine.simulate",
    "step": "lockstep.public",
    "sweep": "lockstep.public",
    "train": "lockstep.public",
    "verify": "lockstep.public",
}

__all__ = [
    "BacktestEngine",
    "CNNTrainer",
    "Candles",
    "Costs",
    "DataCleaner",
    "DataCollector",
    "Execution",
    "GridSearchOptimizer",
    "LiquiditySweepStrategy",
    "LockstepError",
    "Metric",
    "ParameterOptimizer",
    "RLTrainer",
    "RandomSearchOptimizer",
    "Signals",
    "Space",
    "Strategy",
    "TrainResult",
    "__version__",
    "backtest",
    "collect_episodes",
    "columns",
    "diff",
    "estimate",
    "list_runs",
    "load_candles",
    "load_model",
    "replay",
    "report",
    "resume",
    "retrain",
    "sample_candles",
    "sessions",
    "simulate",
    "step",
    "sweep",
    "train",
    "verify",
]


# Looked up like the names above, so that no run counts this table as its code.
_SOURCE_NAMES = "lockstep.faces.source_names"


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("lockstep-trading")
    elif name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
    else:
        cure = import_module(_SOURCE_NAMES).hint(name) or f"it has {', '.join(__all__)}"
        raise AttributeError(f"module 'lockstep' has no attribute {name!r}; {cure}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
