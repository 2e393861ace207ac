"""Small searches over the bundled sample, and what the tests of all kinds need, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lockstep.clusters.in_process import InProcessExecutor
from lockstep.kinds.shared import market_data
from lockstep.kinds.strategy import code as strategy_code
from lockstep.kinds.strategy.kind import KIND
from lockstep.kinds.strategy.plan import StrategyPlan, plan_of
from lockstep.kinds.strategy.spec import StrategySpec
from lockstep.kinds.strategy.training import StrategyTraining
from lockstep.runs.folder import RunFolder
from lockstep.runs.kind import Estimate, Kind, PrepareContext, Prepared
from lockstep.runs.spec import identity_body, load_spec, resolve
from lockstep.runs.store import FolderRunStore

SPACE: dict[str, Any] = {
    "pierce_depth": {"low": 0.0001, "high": 0.001},
    "volume_spike_threshold": {"low": 1.0, "high": 2.0},
    "reversal_candles": [1, 2],
    "min_level_touches": [2, 3],
}

"""Most sets of it trade on the sample."""
EVERY = '''
import numpy as np
import lockstep as ls


class Every(ls.Strategy):
    """Buys every n-th bar."""

    parameters = {"n": (20, 40), "stop": (0.001, 0.01), "mood": ["calm", "wild"]}

    def signals(self, view, params):
        side = np.zeros(len(view), np.int8)
        side[:: params["n"]] = 1
        far = 2.0 if params["mood"] == "wild" else 1.0
        stop = view.close * (1.0 - params["stop"] * far)
        return ls.Signals(side=side, stop=stop, target=2.0 * view.close - stop)
'''
"""A strategy of the user's: the text of a file."""


def values(**tables: Mapping[str, Any]) -> dict[str, Any]:
    """Spec values of a small, fast search in which most trials are valid; `tables` are put over its tables."""
    spec: dict[str, Any] = {
        "kind": "strategy",
        "data": {"source": "sample", "last": 1500},
        "strategy": {"name": "liquidity_sweep", "space": SPACE},
        "costs": {"fee_rate": 0.0, "slippage_rate": 0.00001, "spread_pips": 0.5},
        "search": {"n_iterations": 24, "batch_size": 8, "min_trades": 3},
    }
    for name, table in tables.items():
        spec[name] = {**spec.get(name, {}), **table} if isinstance(table, Mapping) else table
    return spec


def spec_of(**tables: Any) -> StrategySpec:
    return resolve(StrategySpec, load_spec(values(**tables)))


def plan_from(home: Path, context: PrepareContext | None = None, **tables: Any) -> StrategyPlan:
    """The plan of a search, without the look-ahead test and the estimate."""
    context = PrepareContext(blobs=FolderRunStore(home).blobs) if context is None else context
    spec = spec_of(**tables)
    code = strategy_code.from_user(spec, context)
    pinned = market_data.pin(spec, code.strategy.inputs, context)
    return plan_of(spec, pinned, strategy=code.strategy, judge=code.judge, blobs=context.blobs)


def training_from(home: Path, context: PrepareContext | None = None, **tables: Any) -> StrategyTraining:
    return StrategyTraining(plan_from(home, context, **tables), InProcessExecutor())


def finished(home: Path, context: PrepareContext | None = None, **tables: Any) -> dict[str, Any]:
    """The summary of a whole search."""
    training = training_from(home, context, **tables)
    for _ in training.steps():
        pass
    return dict(training.finish().summary)


def prepared_from(home: Path, context: PrepareContext | None = None, **tables: Any) -> Prepared:
    return KIND.prepare(
        spec_of(**tables), PrepareContext(blobs=FolderRunStore(home).blobs) if context is None else context
    )


def folder_of(prepared: Prepared, path: Path) -> RunFolder:
    """A run's folder as `train` makes it."""
    return RunFolder.create(
        path,
        spec=identity_body(prepared.spec),
        data=prepared.data,
        code=prepared.code.body(),
        numerics={},
        environment={},
        sources=prepared.code.sources,
    )


def estimate_of(kind: Kind, prepared: Prepared, home: Path, *, time_large: bool = True) -> Estimate:
    """What `train` says that a prepared run will take; without `time_large`, what `estimate` says."""
    return kind.estimate(prepared, PrepareContext(blobs=FolderRunStore(home).blobs), time_large=time_large)
