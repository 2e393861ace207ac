"""A small training of each kind, in the process that calls: what it loads of Lockstep, and what its record counts.

Nothing of Lockstep is imported here before a training needs it: `main` runs in a fresh process, which starts below the
delivery, from the registry, and reports each module of Lockstep that is loaded when it is done.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lockstep.runs.executor import Executor
    from lockstep.runs.folder import RunFolder

SYMBOL = "BTC/USDT"
IN_PROCESS = "lockstep.clusters.in_process:InProcessExecutor"
SAMPLE = {"source": "sample", "last": 400}
NETWORK = {"parameters": {"filters": [4, 4, 4], "hidden": 6}}
SPECS: dict[str, dict[str, Any]] = {
    "strategy": {
        "data": {"source": "sample", "last": 1500},
        "strategy": {
            "name": "liquidity_sweep",
            "space": {
                "pierce_depth": {"low": 0.0001, "high": 0.001},
                "volume_spike_threshold": {"low": 1.0, "high": 2.0},
                "reversal_candles": [1, 2],
                "min_level_touches": [2, 3],
            },
        },
        "costs": {"fee_rate": 0.0, "slippage_rate": 0.00001, "spread_pips": 0.5},
        "search": {"n_iterations": 24, "batch_size": 8, "min_trades": 3},
    },
    "cnn": {
        "data": SAMPLE,
        "features": {"channels": ["return", "body", "rsi"], "window": 8},
        "labels": {"task": "direction", "horizon": 3, "volatility_bars": 10},
        "network": NETWORK,
        "training": {"epochs": 1, "batch_size": 64},
    },
    "cnn-episodes": {
        "episodes": {"symbol": SYMBOL},
        "network": NETWORK,
        "training": {"epochs": 1, "batch_size": 16},
    },
    "classifier": {"data": {"samples_per_class": 4}, "training": {"epochs": 2, "batch_size": 7}},
    "classifier-keras": {"data": {"samples_per_class": 4}, "training": {"epochs": 3, "batch_size": 7}},
    "replay-agent": {
        "data": SAMPLE,
        "environment": {"lookback": 4, "episode_bars": 20, "horizon_bars": 3},
        "agent": {"hidden": [8], "target_every": 3},
        "training": {"updates": 7, "batch_size": 8, "steps_per_update": 2, "learning_starts": 30},
        "validation": {"evaluate_every": 3},
    },
    "agent-session": {"training": {"updates": 6, "batch_size": 16}},
}
"""The spec of each kind but for its name: a second of training."""


def objects_of(kind: str) -> dict[str, Any]:
    """What the spec of a kind cannot name: for a session of an agent, the agent and its filled buffer."""
    if kind != "agent-session":
        return {}
    import numpy as np

    from lockstep.rl.actor_critic import ActorCritic
    from lockstep.rl.networks import NetworkShape
    from lockstep.rl.replay_buffer import ProfitWeightedExperienceBuffer
    from lockstep.runs.seeds import SeedTree

    random = np.random.Generator(np.random.Philox(key=1))
    profits = random.normal(0.0, 0.01, 60)
    buffer = ProfitWeightedExperienceBuffer(200, seed=1, state_shape=(3,))
    buffer.add_batch(
        states=random.normal(size=(60, 3)).astype(np.float32),
        next_states=random.normal(size=(60, 3)).astype(np.float32),
        actions=random.integers(0, 3, 60),
        rewards=profits,
        dones=random.random(60) < 0.1,
        actual_profits=profits,
        profitability_scores=np.clip(profits / 0.01, 0.0, 1.0),
        optimal_actions=random.integers(0, 3, 60),
        outcome_validated=np.ones(60, bool),
    )
    agent = ActorCritic(NetworkShape(inputs=3, hidden=(8,)), seeds=SeedTree(1))
    return {"session.agent": agent, "session.buffer": buffer}


class LoadedModules:
    """A task of an executor: the modules of Lockstep in the worker that does it."""

    key = "loaded"

    def __call__(self, item: int) -> list[str]:
        return sorted(loaded())


def loaded() -> set[str]:
    """The files of the modules of Lockstep that this process has loaded, by path within the package."""
    import lockstep

    root = Path(str(lockstep.__file__)).parent
    modules = [module for name, module in list(sys.modules.items()) if name.partition(".")[0] == "lockstep"]
    return {Path(str(module.__file__)).relative_to(root).as_posix() for module in modules}


def begin(name: str, home: Path, base: Path, tables: dict[str, Any], folder: Path) -> RunFolder:
    """The folder of a new run, written as `train` writes it."""
    from lockstep.runs import registry
    from lockstep.runs.folder import RunFolder
    from lockstep.runs.kind import PrepareContext
    from lockstep.runs.kind_code import whole_code
    from lockstep.runs.numerics import NumericsIdentity
    from lockstep.runs.spec import full_body, identity_body, load_spec, resolve
    from lockstep.storage.blobs import FolderBlobStore

    kind = registry.get(name)
    spec = resolve(kind.spec_model, load_spec({"kind": name, **SPECS[name], **tables}))
    prepared = kind.prepare(
        spec,
        PrepareContext(
            blobs=FolderBlobStore(home / "snapshots"), home=home, base=base, python_objects=objects_of(name)
        ),
    )
    code = whole_code(prepared.code, kind)
    return RunFolder.create(
        folder,
        spec=identity_body(prepared.spec),
        data=prepared.data,
        code=code.body(),
        numerics=NumericsIdentity.collect(prepared.numerics).body(),
        environment={"spec": full_body(prepared.spec)},
        sources=code.sources,
    )


def go_on(folder: RunFolder, home: Path, executor: Executor, *, steps: int | None) -> None:
    """Run a begun or stopped run, `steps` steps of it or to its end, as `resume` does."""
    from lockstep.core.errors import Interrupted
    from lockstep.runs.cancel import Cancel
    from lockstep.runs.kind import RunContext
    from lockstep.runs.loop import execute
    from lockstep.runs.observer import Observer
    from lockstep.runs.restored_run import require_same_code, restore_run
    from lockstep.storage.blobs import FolderBlobStore

    cancel = Cancel()

    class Stop(Observer):
        count = 0

        def step(self, step: object, journal_hash: str) -> None:
            self.count += 1
            if self.count == steps:
                cancel.request("the test")

    blobs = FolderBlobStore(home / "snapshots")
    restored = restore_run(folder, blobs)
    fingerprint = require_same_code(folder, restored)
    training = restored.kind.training(restored.prepared, RunContext(executor=executor, blobs=blobs))
    try:
        execute(training, folder, fingerprint=fingerprint, observers=[Stop()], cancel=cancel)
    except Interrupted:
        assert steps is not None
    else:
        assert steps is None


def verify_here(
    folder: RunFolder,
    home: Path,
    name: str,
    path: str,
    executor: str,
    arguments: Iterable[Any],
    *,
    across: bool = False,
) -> Any:
    """The report of the program that `verify` starts, run in this process."""
    from lockstep.storage.blobs import FolderBlobStore

    blobs = FolderBlobStore(home / "snapshots").address
    job = {
        "folder": str(folder.path),
        "blobs": blobs.path,
        "blobs_arguments": list(blobs.arguments),
        "kind": name,
        "kind_path": path,
        "executor": executor,
        "executor_arguments": list(arguments),
        "across": across,
        "sample": None,
        "sample_seed": None,
        "sys_path": [],
        "parent": os.getppid(),
        "scratch": str(home / "scratch"),
    }
    (home / "scratch").mkdir()
    question, answer = home / "job.json", home / "answer.jsonl"
    question.write_text(json.dumps(job))
    output = os.dup(1)
    os.dup2(os.open(answer, os.O_CREAT | os.O_WRONLY), 1)
    with question.open() as sys.stdin:
        try:
            runpy.run_module("lockstep.runs.verify_child", run_name="__main__")
        except SystemExit as end:
            assert end.code == 0
    os.dup2(output, 1)
    return json.loads(answer.read_text().splitlines()[-1])


def main(name: str, path: str, workers: str, executor_path: str, home_path: str, tables: str = "{}") -> None:
    """Begin, stop, resume and verify a run of one kind; write what was loaded to `HOME/loaded.json`."""
    from importlib import import_module

    from lockstep.runs import registry

    home = Path(home_path)
    registry.register(name, path)
    arguments = [int(workers)] if int(workers) > 1 else []
    module, _, attribute = executor_path.partition(":")
    in_workers: set[str] = set()
    folder = begin(name, home, home, json.loads(tables), home / "run")
    with getattr(import_module(module), attribute)(*arguments) as executor:
        go_on(folder, home, executor, steps=1)
        go_on(folder, home, executor, steps=None)
        if arguments:
            in_workers.update(*executor.map(LoadedModules(), range(8)))
    report = verify_here(folder, home, name, path, executor_path, arguments)
    result = {"here": sorted(loaded()), "workers": sorted(in_workers), "verified": report}
    (home / "loaded.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
