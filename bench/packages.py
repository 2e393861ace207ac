"""Packages: how many a second are hashed, validated, built, stored and loaded, and in how much memory.

One thread. Rates are in seconds of processor time, so that other work on the machine counts less, and beside them by
the clock, which is what a user waits for; on an idle machine they are the same. Packages of 64 bars of two timeframes,
features and indicators: about 9 kB each in their canonical form. The limits measured in the same run: MD5
and BLAKE3 over the same forms, which any implementation has to do. The rate to reach is that of batch hashing with
validation, 20,000 a second. `--million` stores and loads a million packages.
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from blake3 import blake3

from lockstep.episodes.packages.batch import PackageBatch
from lockstep.episodes.packages.build import PackagePlan, build_packages
from lockstep.episodes.packages.package import PackageRules
from lockstep.episodes.packages.quarantine import admitted
from lockstep.episodes.packages.store import PackageStore, PackageWriter
from lockstep.market.candles import Candles
from lockstep.market.resampling import resample

FLOOR = 20_000
PLAN = PackagePlan(symbol="BTC/USDT", timeframes=("1m", "15m"))
RULES = PackageRules(cnn_shape=(64, 8), rl_shape=(8,))


def market(n: int) -> dict[str, Candles]:
    """A seeded walk of n minutes."""
    rng = np.random.Generator(np.random.Philox(42))
    close = 100.0 + np.cumsum(rng.normal(0.0, 0.01, n))
    close = np.abs(close) + 1.0
    first = np.concatenate((close[:1], close[:-1]))
    reach = rng.random((2, n)) * 0.01
    bars = Candles(
        timestamp=1_577_836_800_000 + 60_000 * np.arange(n, dtype=np.int64),
        open=first,
        high=np.maximum(first, close) + reach[0],
        low=np.minimum(first, close) - reach[1],
        close=close,
        volume=rng.random(n),
        timeframe_ms=60_000,
    )
    return {"1m": bars, "15m": resample(bars, "15m")}


def rate(n: int, call: Callable[[], Any], runs: int = 5) -> tuple[float, float]:
    """Packages a second of processor time and of the clock, medians of some runs after one warm-up."""
    call()
    taken = []
    for _ in range(runs):
        start = time.process_time(), time.perf_counter()
        call()
        taken.append((time.process_time() - start[0], time.perf_counter() - start[1]))
    processor, clock = zip(*taken, strict=True)
    return n / statistics.median(processor), n / statistics.median(clock)


def judged(batch: PackageBatch) -> Any:
    """What storing does with a batch: both hashes, completeness, six flags, admission."""
    own = batch.hashed()
    return admitted(batch.completeness(), batch.flags(RULES, now_ms=None, hashed=own), RULES)


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


def rates() -> None:
    candles = market(12_288)
    batches = list(build_packages(PLAN, candles))
    batch = batches[1]
    n = len(batch)
    forms = list(batch._forms())
    print(f"{n:,} packages of {sum(map(len, forms)) / n:,.0f} bytes in canonical form")

    def limit() -> None:
        for form in forms:
            hashlib.md5(form, usedforsecurity=False).digest()
            blake3(form).digest()

    bound = rate(n, limit)
    ours = rate(n, lambda: judged(batch))
    few = batch.take(slice(0, 256))
    lines = {
        "limit: MD5 and BLAKE3 of ready forms": bound,
        "hash and validate, batch": ours,
        "hash alone, batch": rate(n, batch.hashes),
        "hash and validate, one object each": rate(256, lambda: list(few.packages())),
        "build from candles, not hashed": rate(12_288, lambda: list(build_packages(PLAN, candles)), runs=3),
    }
    for name, (processor, clock) in lines.items():
        ratio = f"{processor / bound[0]:6.2f} x limit"
        print(f"  {name:<40}{processor:12,.0f} /s   {ratio}   {clock:12,.0f} /s by the clock")
    verdict = "reached" if ours[0] >= FLOOR else "MISSED"
    print(
        f"  batch hashing with validation: {ours[0]:,.0f} /s, {ours[1]:,.0f} /s by the clock, asked for {FLOOR:,}: "
        f"{verdict}"
    )


def storage(n: int) -> None:
    """Build, store and load n packages; memory beyond what the candles take."""
    candles = market(n)
    before = peak_mib()
    with tempfile.TemporaryDirectory() as folder:
        start, clock = time.process_time(), time.perf_counter()
        with PackageWriter(Path(folder), PLAN.layout(), rules=RULES) as writer:
            for batch in build_packages(PLAN, candles):
                writer.add_batch(batch)
        built = time.process_time() - start
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
        start = time.process_time()
        store = PackageStore(Path(folder))
        loaded = sum(len(batch) for batch in store.batches())
        read, clock = time.process_time() - start, time.perf_counter() - clock
    print(
        f"{n:,} packages: built and stored {n / built:,.0f} /s, loaded and verified {loaded / read:,.0f} /s, "
        f"{clock:,.0f} s by the clock for both, {size / loaded:,.0f} bytes each on disk, {loaded:,} stored, "
        f"{writer.quarantine.total:,} in quarantine, {len(store.problems)} problems; "
        f"peak memory {peak_mib():,.0f} MiB, of which {peak_mib() - before:,.0f} MiB "
        "came with building, storing and loading"
    )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--million", action="store_true", help="store and load a million packages (minutes)")
    options = parser.parse_args(arguments or [])
    rates()
    storage(1_000_000 if options.million else 50_000)


if __name__ == "__main__":
    main(sys.argv[1:])
