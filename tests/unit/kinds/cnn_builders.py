"""Small pattern trainings over seeded candles, for the tests of `kind = "cnn"`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lockstep.clusters.in_process import InProcessExecutor
from lockstep.kinds.cnn.kind import KIND
from lockstep.kinds.cnn.spec import CnnSpec
from lockstep.market.candles import Candles
from lockstep.runs.folder import RunFolder
from lockstep.runs.kind import PrepareContext, Prepared, RunContext
from lockstep.runs.loop import CompleteRun, execute
from lockstep.runs.spec import load_spec, resolve
from lockstep.runs.store import FolderRunStore
from lockstep.runs.training import Training
from lockstep.testing.contracts.training_kind import EVERY_STEP, fingerprint, new_folder

START = 1_600_000_000_000 - 1_600_000_000_000 % 3_600_000


def candles_of(n: int = 420, *, seed: int = 5, gaps: tuple[int, ...] = (), planted: float = 0.0) -> Candles:
    """An hourly random walk. `gaps`: rows before which ten bars are missing. `planted`: how far, in spreads
    of a bar's return, the next return is drawn up where the last two have one sign, and down where they differ: no
    straight line through a window tells them apart. 0 is pure noise."""
    rng = np.random.Generator(np.random.Philox(key=seed))
    noise = rng.normal(scale=0.004, size=n)
    returns = noise.copy()
    for t in range(2, n):
        returns[t] += planted * 0.004 * np.sign(returns[t - 1] * returns[t - 2])
    close = 100.0 * np.exp(np.cumsum(returns))
    open_ = np.concatenate(([100.0], close[:-1]))
    stretch = rng.uniform(0.0, 0.002, size=(2, n))
    step = np.full(n, 3_600_000, np.int64)
    step[list(gaps)] += 10 * 3_600_000
    return Candles.from_arrays(
        timestamp=START + np.cumsum(step),
        open=open_,
        high=np.maximum(open_, close) * (1.0 + stretch[0]),
        low=np.minimum(open_, close) * (1.0 - stretch[1]),
        close=close,
        volume=rng.uniform(1.0, 2.0, size=n),
        timeframe="1h",
        symbol="TEST/USD",
    )


def values(**tables: Any) -> dict[str, Any]:
    """Spec values of a training of a second; `tables` are put over its tables."""
    spec: dict[str, Any] = {
        "kind": "cnn",
        "data": {"source": "python"},
        "features": {"channels": ["return", "body", "rsi"], "window": 8},
        "labels": {"task": "direction", "horizon": 3, "volatility_bars": 10},
        "network": {"parameters": {"filters": [4, 4, 4], "hidden": 8, "dropout": 0.2, "batch_norm": True}},
        "training": {"epochs": 2, "batch_size": 64, "learning_rate": 0.003, "clip_norm": 1.0},
        "recording": {"snapshot_every": 3},
    }
    for name, table in tables.items():
        spec[name] = {**spec.get(name, {}), **table} if isinstance(table, Mapping) else table
    return spec


def spec_of(**tables: Any) -> CnnSpec:
    return resolve(CnnSpec, load_spec(values(**tables)))


def context_of(home: Path, candles: Candles | None = None, **objects: Any) -> PrepareContext:
    given = {"data.candles": candles_of() if candles is None else candles, **objects}
    return PrepareContext(blobs=FolderRunStore(home).blobs, base=home, python_objects=given)


def prepared_from(home: Path, candles: Candles | None = None, **tables: Any) -> Prepared:
    return KIND.prepare(spec_of(**tables), context_of(home, candles))


def training_of(prepared: Prepared, home: Path) -> Training:
    return KIND.training(prepared, RunContext(executor=InProcessExecutor(), blobs=FolderRunStore(home).blobs))


def run(tmp_path: Path, name: str, **tables: Any) -> tuple[RunFolder, CompleteRun, Training]:
    """A training with a checkpoint after every step, in `tmp_path`/name; its home is `tmp_path`/home."""
    prepared = prepared_from(tmp_path / "home", **tables)
    folder = new_folder(tmp_path / name, 1)
    training = training_of(prepared, tmp_path / "home")
    return folder, execute(training, folder, fingerprint=fingerprint(1), policy=EVERY_STEP), training
