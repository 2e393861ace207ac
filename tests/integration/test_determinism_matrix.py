"""One spec, one journal: whatever the number of workers, the process, the hash seed, and however often it was killed.

Every run here is its own process. What is compared is bytes: journal, segments, artifacts, result.
"""

from __future__ import annotations

import json
import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.user import User
from tests.fork_server import Process

from lockstep.runs.check import check
from lockstep.runs.folder import RunFolder
from lockstep.testing.contracts.training_kind import hashed_files

# Prepares a run when its folder is not there yet, else goes on with it; `pause` seconds per step leave time to kill it.
CHILD = """
import json, sys, time
from pathlib import Path
from lockstep.bootstrap import executor_of
from lockstep.kinds.strategy.kind import KIND
from lockstep.runs.checkpoint import CheckpointPolicy
from lockstep.runs.folder import RunFolder
from lockstep.runs.identity import fingerprint
from lockstep.runs.kind import PrepareContext, RunContext
from lockstep.runs.loop import execute
from lockstep.runs.observer import Observer
from lockstep.runs.spec import identity_body, load_spec, resolve
from lockstep.runs.store import FolderRunStore

class Slow(Observer):
    def step(self, step, journal_hash):
        time.sleep(pause)

values, home, workers, pause, interval = json.loads(sys.argv[1]), Path(sys.argv[2]), *map(float, sys.argv[3:])
context, path = PrepareContext(blobs=FolderRunStore(home).blobs), home / "run"
if path.exists():
    folder = RunFolder(path)
    prepared = KIND.restore(resolve(KIND.spec_model, folder.read("spec")), folder, context)
else:
    prepared = KIND.prepare(resolve(KIND.spec_model, load_spec(values)), context)
    folder = RunFolder.create(path, spec=identity_body(prepared.spec), data=prepared.data, code=prepared.code.body(),
                              numerics={}, environment={}, sources=prepared.code.sources)
with executor_of(int(workers)) as executor:
    training = KIND.training(prepared, RunContext(executor=executor, blobs=FolderRunStore(home).blobs))
    policy = CheckpointPolicy(interval_s=interval, max_share=1e9)
    print("started", flush=True)
    execute(training, folder, fingerprint=fingerprint(folder.identity_hashes()), policy=policy, observers=[Slow()])
"""

SPACE = {
    "pierce_depth": {"low": 0.0001, "high": 0.001},
    "volume_spike_threshold": {"low": 1.0, "high": 2.0, "log": True},
    "reversal_candles": [1, 2],
    "min_level_touches": [2, 3],
}


@dataclass(frozen=True, kw_only=True)
class Search:
    """A search over the last bars of the bundled sample."""

    seed: int = 42
    trials: int = 60
    batch: int = 5
    bars: int = 1200
    optimizer: str = "random"

    @property
    def spec(self) -> dict[str, Any]:
        return {
            "kind": "strategy",
            "seed": self.seed,
            "data": {"last": self.bars},
            "strategy": {"name": "liquidity_sweep", "space": SPACE},
            "costs": {"fee_rate": 0.0, "slippage_rate": 0.00001, "spread_pips": 0.5},
            "search": {
                "optimizer": self.optimizer,
                "n_iterations": self.trials,
                "batch_size": self.batch,
                "min_trades": 3,
                "objective": "net_profit_pct",
            },
            "validation": {"holdout_bars": 200},
        }

    def start(
        self, home: Path, *, workers: int = 1, hash_seed: str | None = None, pause: float = 0.0, interval: float = 1e9
    ) -> Process:
        """With a hash seed it is a new interpreter, else a fork."""
        home.mkdir(parents=True, exist_ok=True)
        words = ("-c", CHILD, json.dumps(self.spec), str(home), str(workers), str(pause), str(interval))
        return User(home).python(*words, env={} if hash_seed is None else {"PYTHONHASHSEED": hash_seed})

    def run(self, home: Path, **options: Any) -> dict[str, bytes]:
        """A whole run, or the rest of one; everything about it that has to be equal."""
        child = self.start(home, **options)
        _, err = child.communicate()
        assert child.returncode == 0, err
        folder = RunFolder(home / "run")
        assert check(folder.path).ok
        return hashed_files(folder)

    def kill_and_resume(
        self, home: Path, rng: random.Random, *, kills: int, workers: list[int], seconds: float
    ) -> dict[str, bytes]:
        """Kill -9 at `kills` random moments within `seconds` of the start, each time going on with other workers."""
        for number in range(kills):
            child = self.start(home, workers=workers[number % len(workers)], pause=0.03, interval=0.05)
            assert child.stdout is not None
            child.stdout.readline()
            time.sleep(rng.uniform(0.0, seconds))
            child.send_signal(signal.SIGKILL)
            child.communicate()
        return self.run(home, workers=workers[kills % len(workers)])


SMALL = Search()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """An uninterrupted run with one worker."""
    return SMALL.run(tmp_path_factory.mktemp("whole"), hash_seed="0")


@pytest.mark.parametrize(("workers", "hash_seed"), [(1, "1"), (2, "2"), (4, "random")])
def test_workers_processes_and_hash_seeds_give_equal_bytes(
    tmp_path: Path, whole: dict[str, bytes], workers: int, hash_seed: str
) -> None:
    """R4.13, R4.14, R4.30."""
    assert SMALL.run(tmp_path, workers=workers, hash_seed=hash_seed) == whole


def test_killed_at_random_moments_and_resumed_with_other_workers_gives_equal_bytes(
    tmp_path: Path, whole: dict[str, bytes]
) -> None:
    # 12 steps with a pause of 0.03 s each last at least 0.36 s, so a kill lands anywhere from before the first step on.
    found = SMALL.kill_and_resume(tmp_path, random.Random(5), kills=3, workers=[1, 2], seconds=0.4)
    assert found == whole


def test_seeds_42_99_and_0_give_different_journals(tmp_path: Path, whole: dict[str, bytes]) -> None:
    """R4.15, R4.28: 0 is a seed of its own."""
    journals = {seed: Search(seed=seed).run(tmp_path / str(seed))["journal.jsonl"] for seed in (99, 0)}
    assert len({whole["journal.jsonl"], *journals.values()}) == 3


@pytest.mark.long
@pytest.mark.parametrize("optimizer", ["random", "sobol"])
@pytest.mark.parametrize("chance", range(4))
def test_larger_searches_killed_often_give_equal_bytes(tmp_path: Path, optimizer: str, chance: int) -> None:
    search = Search(seed=chance, trials=2000, batch=20, bars=6000, optimizer=optimizer)
    expected = search.run(tmp_path / "whole")
    rng = random.Random(f"{optimizer} {chance}")
    found = search.kill_and_resume(tmp_path / "killed", rng, kills=12, workers=[1, 4, 2], seconds=4.0)
    assert found == expected
