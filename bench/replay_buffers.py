"""Replay buffers: 256 of 1,000,000 experiences and their priorities, beside cpprb and a limit prototype.

All are full, hold states of 64 float32 (and as many of the next state), and run a cycle after the other in turns, so
that a slow moment of the machine hits all alike. A cycle is a batch with everything in it and an update of priorities:

    cpprb       PrioritizedReplayBuffer.sample + update_priorities
    prototype   ../shared/bench/learning/sumtree.py: a 16-ary tree, stratified, with replacement, NumPy indexing
    prioritised PrioritizedExperienceBuffer: the same semantics as the two above, ids instead of slots
    full        ProfitWeightedExperienceBuffer: two accounts, without replacement, training counts; the update is that
                of the td errors, which moves the values that decide about eviction
    outcomes    the same, and each of the 256 gets a new outcome as well, which moves weights and accounts

Only ratios are worth quoting.
"""

from __future__ import annotations

import importlib
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from bench.paired import ratio
from bench.timing import processor
from lockstep.rl import PrioritizedExperienceBuffer, ProfitWeightedExperienceBuffer

SCRIPTS = Path(__file__).parents[2] / "shared" / "bench" / "learning"
CAPACITY, BATCH, FEATURES = 1_000_000, 256, 64
CHUNK = 10_000


def shared(name: str) -> ModuleType:
    """One of the shared benchmark's modules."""
    if str(SCRIPTS) not in sys.path:
        sys.path.insert(0, str(SCRIPTS))
    return importlib.import_module(name)


def chunks(rng: np.random.Generator) -> list[dict[str, Any]]:
    """Ten chunks of experiences, of which half were profitable, as `add_batch` takes them."""
    parts = []
    for _ in range(10):
        profit = rng.normal(0.0, 0.01, CHUNK)
        parts.append(
            {
                "states": rng.random((CHUNK, FEATURES), np.float32),
                "next_states": rng.random((CHUNK, FEATURES), np.float32),
                "actions": rng.integers(0, 3, CHUNK),
                "rewards": profit,
                "dones": np.zeros(CHUNK, bool),
                "actual_profits": profit,
                "profitability_scores": np.clip(profit / 0.01, 0.0, 1.0),
                "optimal_actions": rng.integers(0, 3, CHUNK),
                "td_errors": rng.normal(0.0, 1.0, CHUNK),
            }
        )
    return parts


def cpprb_cycle(data: list[dict[str, Any]], errors: Any) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """A cycle and an add of 8 of cpprb. Raises ImportError."""
    from cpprb import PrioritizedReplayBuffer

    fields = {"obs": {"shape": FEATURES}, "next": {"shape": FEATURES}, "act": {}, "rew": {}, "done": {}}
    buffer = PrioritizedReplayBuffer(CAPACITY, fields, alpha=1.0, eps=0.0)

    def add(chunk: dict[str, Any], n: int) -> None:
        names = {"obs": "states", "next": "next_states", "act": "actions", "rew": "rewards", "done": "dones"}
        buffer.add(
            **{name: chunk[ours][:n] for name, ours in names.items()}, priorities=np.abs(chunk["td_errors"][:n]) + 1e-6
        )

    for k in range(CAPACITY // CHUNK):
        add(data[k % 10], CHUNK)

    def cycle() -> None:
        batch = buffer.sample(BATCH, beta=0.4)
        buffer.update_priorities(batch["indexes"], next(errors))

    return cycle, lambda: add(data[0], 8)


def prototype_cycle(data: list[dict[str, Any]], errors: Any) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """A cycle and an add of 8 of the limit prototype."""
    tree = shared("sumtree").NumbaTree16(CAPACITY)
    names = ("states", "next_states", "actions", "rewards", "dones")
    fields = {name: np.concatenate([chunk[name].astype(np.float32) for chunk in data] * 10) for name in names}
    tree.set(np.arange(CAPACITY), np.concatenate([np.abs(chunk["td_errors"]) + 1e-6 for chunk in data] * 10))
    rng = np.random.Generator(np.random.Philox(0))
    eight = {name: values[:8].copy() for name, values in fields.items()}

    def cycle() -> Any:
        slots, total = tree.sample(rng, BATCH)
        weights = (CAPACITY * tree.t[slots + tree.off[-1]] / total) ** -0.4
        batch = {name: values[slots] for name, values in fields.items()}
        tree.set(slots, next(errors))
        return batch, (weights / weights.max()).astype(np.float32)

    def add() -> None:
        slots = np.arange(8)
        for name, values in eight.items():
            fields[name][slots] = values
        tree.set(slots, np.ones(8))

    return cycle, add


def filled(buffer: Any, data: list[dict[str, Any]]) -> Any:
    """`buffer` with a million experiences."""
    for k in range(CAPACITY // CHUNK):
        buffer.add_batch(**data[k % 10])
    return buffer


def endless(rows: list[Any]) -> Any:
    """Rows in turn, for ever."""
    while True:
        yield from rows


def in_turn(calls: dict[str, Callable[[], Any]], *, runs: int, times: int) -> dict[str, list[float]]:
    """CPU seconds of each call, one number a run: `times` calls at a stretch, in turns."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(runs):
        for name, call in calls.items():
            start = time.process_time()
            for _ in range(times):
                call()
            seconds[name].append((time.process_time() - start) / times)
    return seconds


def main() -> None:
    """All of it; says what is missing instead of measuring something else."""
    rng = np.random.Generator(np.random.Philox(1))
    data = chunks(rng)
    priorities = [np.abs(rng.normal(0.0, 1.0, BATCH)) + 1e-6 for _ in range(16)]
    profits = [rng.normal(0.0, 0.01, BATCH) for _ in range(16)]
    outcomes = endless(
        [(p, np.clip(p / 0.01, 0.0, 1.0), rng.integers(0, 3, BATCH), np.zeros(BATCH, bool)) for p in profits]
    )
    errors = endless(priorities)
    full = filled(ProfitWeightedExperienceBuffer(CAPACITY, state_shape=(FEATURES,)), data)
    plain = filled(PrioritizedExperienceBuffer(CAPACITY, state_shape=(FEATURES,), alpha=1.0), data)

    def full_cycle() -> None:
        full.update_priorities(full.sample_batch(BATCH).ids, next(errors))

    def outcome_cycle() -> None:
        batch = full.sample_batch(BATCH)
        full.update_priorities(batch.ids, next(errors))
        full.update_outcomes(batch.ids, *next(outcomes))

    def plain_cycle() -> None:
        plain.update_priorities(plain.sample_batch(BATCH).ids, next(errors))

    eight = {name: values[:8] for name, values in data[0].items()}
    cycles: dict[str, Callable[[], Any]] = {"full": full_cycle, "outcomes": outcome_cycle, "prioritised": plain_cycle}
    adds: dict[str, Callable[[], Any]] = {
        "full": lambda: full.add_batch(**eight),
        "prioritised": lambda: plain.add_batch(**eight),
    }
    for name, make in (("cpprb", cpprb_cycle), ("prototype", prototype_cycle)):
        try:
            cycles[name], adds[name] = make(data, errors)
        except ImportError as error:
            print(f"{name} is not there, not compared: {error}")
    cycles_s = in_turn(cycles, runs=40, times=50)
    uniform_s = in_turn({"uniform": lambda: full.sample_batch(BATCH, False)}, runs=10, times=100)["uniform"]
    adds_s = in_turn(adds, runs=5, times=100)
    print(f"{CAPACITY:,} experiences, batches of {BATCH}; CPU time, 40 runs in turns; {processor()}")
    for name, seconds in cycles_s.items():
        print(f"  {name:>11}: {1e-3 / statistics.median(seconds):6.2f} k cycles/s")
    for name in ("full", "outcomes", "prioritised"):
        for peer in ("cpprb", "prototype"):
            if peer in cycles_s:
                limit = "at least 1.4" if (name, peer) == ("outcomes", "cpprb") else ""
                print(ratio(cycles_s[peer], cycles_s[name]).line(f"{peer} / {name}", limit))
    print(f"      uniform: {1e-3 / statistics.median(uniform_s):6.2f} k batches/s (full, prioritize_profitable=False)")
    for name, seconds in adds_s.items():
        print(f"  {name:>11}: {8e-3 / statistics.median(seconds):6.0f} k adds/s by 8")


if __name__ == "__main__":
    main()
