"""Small trainings of agents over seeded candles, for the tests of `kind = "replay-agent"`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lockstep.clusters.in_process import InProcessExecutor
from lockstep.kinds.replay_agent.kind import KIND
from lockstep.kinds.replay_agent.plan import ReplayAgentPlan
from lockstep.kinds.replay_agent.spec import ReplayAgentSpec
from lockstep.market.candles import Candles
from lockstep.runs.folder import RunFolder
from lockstep.runs.kind import PrepareContext, Prepared, RunContext
from lockstep.runs.loop import execute
from lockstep.runs.spec import load_spec, resolve
from lockstep.runs.store import FolderRunStore
from lockstep.runs.training import Step, Training
from lockstep.testing.contracts.training_kind import fingerprint, new_folder

HOUR = 3_600_000
SMALL: dict[str, Any] = {
    "environment": {"lookback": 4, "episode_bars": 20, "horizon_bars": 3},
    "agent": {"hidden": [8], "target_every": 3},
    "training": {"updates": 7, "batch_size": 8, "steps_per_update": 2, "learning_starts": 30},
    "validation": {"evaluate_every": 3},
    "recording": {"snapshot_every": 4},
}


def market(bars: int = 200, *, seed: int = 1, trend: float = 0.0, keep: float = 0.95) -> Candles:
    """A random walk; with `trend`, bars drift by that fraction in a direction that lasts 1 / (1 - keep) bars."""
    rng = np.random.Generator(np.random.Philox(key=seed))
    flips = np.where(rng.random(bars) < keep, 1, -1).cumprod()
    close = 100.0 * np.exp(np.cumsum(trend * flips + rng.normal(0.0, 0.002, bars)))
    opened = np.concatenate(([100.0], close[:-1]))
    return Candles.from_arrays(
        timestamp=np.arange(bars) * HOUR,
        open=opened,
        high=np.maximum(opened, close) * 1.0005,
        low=np.minimum(opened, close) * 0.9995,
        close=close,
        volume=rng.uniform(1.0, 2.0, bars),
        timeframe="1h",
        symbol="TEST/USD",
    )


def spec_of(**tables: Any) -> ReplayAgentSpec:
    merged = {**SMALL}
    for name, table in tables.items():
        merged[name] = {**merged.get(name, {}), **table} if isinstance(table, Mapping) else table
    return resolve(ReplayAgentSpec, load_spec({"kind": "replay-agent", **merged}))


def plan_of(candles: Candles, home: Path, **tables: Any) -> ReplayAgentPlan:
    prepared = prepared_of(candles, home, **tables)
    return prepared.payload


def prepared_of(candles: Candles, home: Path, **tables: Any) -> Prepared:
    context = PrepareContext(blobs=FolderRunStore(home).blobs, python_objects={"data.candles": candles})
    return KIND.prepare(spec_of(**tables), context)


def training_of(prepared: Prepared, home: Path) -> Training:
    return KIND.training(prepared, RunContext(executor=InProcessExecutor(), blobs=FolderRunStore(home).blobs))


def run_of(candles: Candles, home: Path, path: Path, **tables: Any) -> RunFolder:
    folder = new_folder(path, 1)
    execute(training_of(prepared_of(candles, home, **tables), home), folder, fingerprint=fingerprint(1))
    return folder


def steps_of(candles: Candles, home: Path, **tables: Any) -> list[Step]:
    return list(training_of(prepared_of(candles, home, **tables), home).steps())
