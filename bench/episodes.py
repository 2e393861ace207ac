"""A book of episodes: what a million take in memory, on disk and in time; a collection beside its hashes.

    python -m bench.episodes [--episodes 1000000] [--bars 20000]

One thread. Ratios within this run: columns against the same episodes as Python objects, the whole collection against
the bare hashing of its packages. Seconds are for this machine and whatever else it does.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench.packages import market
from lockstep.episodes.book import EpisodeBook
from lockstep.episodes.collect import collect_episodes
from lockstep.episodes.columns import DTYPES
from lockstep.episodes.episode import TrainingEpisode
from lockstep.episodes.packages.build import PackagePlan, build_packages

SYMBOL = "BTC/USDT"
_PIECE = 10_000
_OBJECTS = 20_000


def filled(n: int) -> EpisodeBook:
    """n settled episodes without packages."""
    book, rng = EpisodeBook(), np.random.Generator(np.random.Philox(7))
    book.symbol_code(SYMBOL)
    for start in range(0, n, _PIECE):
        count = min(_PIECE, n - start)
        profit = rng.normal(0.0, 0.01, count)
        columns: dict[str, Any] = {name: np.zeros(count, dtype) for name, dtype in DTYPES.items()}
        columns |= {
            "package": np.full(count, -1),
            "created_at": 1_577_836_800_000 + 60_000 * np.arange(start, start + count),
            "completeness": np.full(count, 0.8),
            "is_rapid_change": rng.random(count) < 0.05,
            "actual_profit": profit,
            "profitability_score": np.clip(profit / 0.01, 0.0, 1.0),
            "optimal_action": np.where(profit > 0.0, 2, 0),
            "is_profitable": profit > 0.0,
            "outcome_validated": np.ones(count, np.bool_),
            "market_return": profit + 0.001,
        }
        ids = [f"{SYMBOL}@{moment}" for moment in columns["created_at"].tolist()]
        book.add_columns(ids, columns, [{"action": 2}] * count)
    return book


def timed(call: Callable[[], Any]) -> tuple[float, float, Any]:
    """Seconds, MB that were allocated at most meanwhile, and what the call returned. Tracing makes Python slower."""
    began = time.perf_counter()
    call()
    seconds = time.perf_counter() - began
    tracemalloc.start()
    result = call()
    peak = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    return seconds, peak, result


def columns(n: int) -> None:
    """Seconds and MB of filling, saving, opening and ranking a book of `n` episodes."""
    with tempfile.TemporaryDirectory() as folder:
        seconds, peak, book = timed(lambda: filled(n))
        print(f"fill     {n:,} episodes: {seconds:.1f} s, {book.nbytes / 1e6:.0f} MB of columns, {peak:.0f} MB at most")
        seconds, peak, _ = timed(lambda: book.save(folder))
        disk = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()) / 1e6
        print(f"save     {seconds:.1f} s, {disk:.0f} MB on disk, {peak:.0f} MB on top")
        seconds, peak, again = timed(lambda: EpisodeBook.open(folder))
        print(f"open     {seconds:.1f} s, every byte checked, {peak:.0f} MB in all")
        seconds, peak, best = timed(lambda: again.profitable(SYMBOL))
        print(f"choose   the best {len(best)}: {seconds:.2f} s, {peak:.0f} MB on top")
    objects = min(n, _OBJECTS)
    tracemalloc.start()
    episodes = list(_first(book, objects))
    held = tracemalloc.get_traced_memory()[0] / len(episodes)
    tracemalloc.stop()
    print(f"objects  {held:,.0f} bytes an episode, {held / (book.nbytes / n):.1f} times its columns")


def _first(book: EpisodeBook, n: int) -> list[TrainingEpisode]:
    return book.episodes(np.arange(n))


def collection(bars: int) -> None:
    """The whole way, on disk, against the hashes of the packages alone."""
    plan = PackagePlan(symbol=SYMBOL, timeframes=("1m", "15m"))
    candles = market(bars)
    collect_episodes({name: item.take(slice(0, 500)) for name, item in candles.items()}, plan=plan)
    packages = list(build_packages(plan, candles))
    began = time.process_time()
    for batch in packages:
        batch.hashes()
    hashing = time.process_time() - began
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        book = collect_episodes(candles, plan=plan, folder=folder)
        whole = time.process_time() - began
        disk = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()) / len(book)
    print(
        f"collect  {bars:,} bars to {len(book):,} episodes: {whole / hashing:.1f} times the bare hashes, "
        f"{bars / whole:,.0f} a second of processor time, {disk:,.0f} bytes each on disk, packages included"
    )


def main(arguments: list[str] | None = None) -> int:
    """Print seconds, MB and ratios of both benchmarks; returns the exit code 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=1_000_000)
    parser.add_argument("--bars", type=int, default=20_000)
    options = parser.parse_args(arguments)
    columns(options.episodes)
    collection(options.bars)
    return 0


if __name__ == "__main__":
    sys.exit(main())
