"""What a search costs beside the kernel: 10,000 random trials, and the memory of a grid of 201,600 sets.

The kernel's own time is one `Evaluator.batch` over the very same 10,000 sets (candidates, walk, statistics; nothing is
proposed, judged, hashed or written). The run is the whole of `execute`: proposals, batches, judging, segments, journal,
checkpoints, the winner again, baselines, artifacts, manifest.
"""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

BTC = Path(__file__).resolve().parents[1] / "../shared/data/binance/BTCUSDT-5m.parquet"
TRIALS = 10_000
BARS = 105_120
GRID = {
    # 201,600 combinations, as many as the grid of the engine's figures: 10 x 7 x 5 x 6 x 8 x 4 x 3.
    "pierce_depth": {"low": 0.0005, "high": 0.005, "step": 0.0005},
    "volume_spike_threshold": {"low": 1.5, "high": 4.5, "step": 0.5},
    "reversal_candles": [1, 2, 3, 4, 5],
    "min_distance_from_level": {"low": 0.0005, "high": 0.003, "step": 0.0005},
    "risk_reward_ratio": {"low": 1.5, "high": 5.0, "step": 0.5},
    "key_level_lookback": [50, 100, 150, 200],
    "atr_multiplier_sl": [1.0, 2.0, 3.0],
}


def spec_values(data: dict[str, Any], bars: int, **tables: Any) -> dict[str, Any]:
    return {
        "kind": "strategy",
        "strategy": {"name": "liquidity_sweep"},
        "data": {**data, "last": bars},
        "search": {"n_iterations": TRIALS, "min_trades": 0, "objective": "net_profit_pct"},
        **tables,
    }


def run(values: dict[str, Any], home: Path) -> tuple[Any, float, float]:
    """The plan of a search, seconds of its preparation, seconds of its whole execution."""
    from lockstep.clusters.in_process import InProcessExecutor
    from lockstep.kinds.strategy.kind import KIND
    from lockstep.runs.folder import RunFolder
    from lockstep.runs.identity import fingerprint
    from lockstep.runs.kind import PrepareContext, RunContext
    from lockstep.runs.loop import execute
    from lockstep.runs.spec import identity_body, load_spec, resolve
    from lockstep.runs.store import FolderRunStore

    blobs = FolderRunStore(home).blobs
    began = time.perf_counter()
    prepared = KIND.prepare(resolve(KIND.spec_model, load_spec(values)), PrepareContext(blobs=blobs))
    preparing = time.perf_counter() - began
    folder = RunFolder.create(
        home / "run",
        spec=identity_body(prepared.spec),
        data=prepared.data,
        code=prepared.code.body(),
        numerics={},
        environment={},
        sources=prepared.code.sources,
    )
    began = time.perf_counter()
    with InProcessExecutor() as executor:
        training = KIND.training(prepared, RunContext(executor=executor, blobs=blobs))
        execute(training, folder, fingerprint=fingerprint(folder.identity_hashes()))
    return prepared.payload, preparing, time.perf_counter() - began


def data_table() -> tuple[dict[str, Any], int, str]:
    if BTC.exists():
        return {"source": "file", "path": str(BTC.resolve())}, BARS, "BTC/USDT 5m"
    return {"source": "sample"}, 6_225, "the bundled sample (../shared is absent)"


def overhead(home: Path) -> None:
    data, bars, what = data_table()
    plan, preparing, whole = run(spec_values(data, bars), home)
    evaluator = plan.evaluator()
    columns = plan.complete(plan.proposer().ask(TRIALS).columns)
    proposing = min(timed(lambda: plan.proposer().ask(TRIALS)) for _ in range(3))
    first = {name: column[:256] for name, column in columns.items()}
    evaluator.batch(first)
    kernel = min(timed(lambda: evaluator.batch(columns)) for _ in range(3))
    around = whole - kernel
    print(f"{TRIALS:,} random trials on {bars:,} bars of {what}, one core")
    print(f"  preparing (load, pin, look-ahead test, estimate) {preparing:8.2f} s")
    print(f"  kernel alone, one call                           {kernel:8.2f} s")
    print(f"  the run                                          {whole:8.2f} s   {whole / kernel:.2f} x the kernel")
    print(f"  everything around the kernel                     {around:8.2f} s   limit {kernel + 2.0:.2f} s")
    print(f"  proposing all trials from the seed (R4.18)       {proposing:8.3f} s   {proposing / whole:.2%}, limit 1 %")
    trials = sum(path.stat().st_size for path in (home / "run" / "segments").iterdir())
    everything = sum(path.stat().st_size for path in (home / "run").rglob("*") if path.is_file())
    print(
        f"  written {everything / 1e6:.1f} MB, of which trials {trials / 1e6:.1f} MB   "
        f"{everything / trials:.2f} x, limit 2 x"
    )


def timed(call: Any) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def grid(home: Path) -> None:
    """Run in a process of its own, so that the peak is this search's."""
    search = {"optimizer": "grid", "min_trades": 0, "objective": "net_profit_pct", "batch_size": 4096}
    data, _, what = data_table()
    strategy = {"name": "liquidity_sweep", "space": GRID}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    _, _, whole = run(spec_values(data, 5_000, search=search, strategy=strategy), home)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"grid of 201,600 sets on 5,000 bars of {what}: {whole:.1f} s, 201,600 trials recorded")
    written = sum(path.stat().st_size for path in (home / "run").rglob("*") if path.is_file())
    trials = sum(path.stat().st_size for path in (home / "run" / "segments").iterdir())
    print(f"  written {written / 1e6:.0f} MB, {written / trials:.2f} x the trials, limit 2 x")
    print(f"  peak memory {peak / 1024:.0f} MB (imports alone {before / 1024:.0f} MB)   limit 1024 MB")


def main() -> None:
    for part in ("overhead", "grid"):
        subprocess.run([sys.executable, "-m", "bench.search", part], check=True)


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        folder = Path(tempfile.mkdtemp(prefix="lockstep-bench-"))
        try:
            {"overhead": overhead, "grid": grid}[sys.argv[1]](folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
