"""What a step takes, from a few of them made for nothing: time and memory for an estimate. Never hashed.

A network beyond `LARGE` is only counted where no more than an estimate is wanted (`PrepareContext.estimate_only`).
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

LARGE: Final = 500_000_000
"""Bytes of state beyond which an estimate makes no network to time it."""
UNTIMED: Final = "the network is too large to be made for an estimate: how long it takes is not known"
EVALUATED: Final = 1 / 3
"""Share of a step's time that a batch takes without gradients: the forward pass, where backward is two of them."""
_WARMING: Final = 2
"""Steps that compile, load and allocate what all others use."""
_TIMED: Final = 15
_ENOUGH_S: Final = 1.0


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """What was found. Seconds and bytes.

    step_seconds   of one step, None where it was not tried
    held_bytes     of this process, beside the state of the training
    """

    step_seconds: float | None
    held_bytes: int


def rehearse(steps: Callable[[], Iterator[object]], *, state_bytes: int) -> Rehearsal:
    """Make a few steps of a training that is thrown away.

    state_bytes   what its state takes; the peak of this process holds that afterwards
    """
    before = peak_bytes()
    seconds = seconds_per_step(steps())
    return Rehearsal(step_seconds=seconds, held_bytes=max(before, peak_bytes() - state_bytes))


def counted_only() -> Rehearsal:
    """What can be said without making a step."""
    return Rehearsal(step_seconds=None, held_bytes=peak_bytes())


def seconds_per_step(steps: Iterator[object]) -> float | None:
    """The median of a few steps after the first ones; None where there is no step at all."""
    taken: list[float] = []
    for _ in range(_WARMING + _TIMED):
        began = time.perf_counter()
        if next(steps, None) is None:
            break
        taken.append(time.perf_counter() - began)
        if sum(taken[_WARMING:]) > _ENOUGH_S:
            break
    return median(taken[_WARMING:] or taken[-1:]) if taken else None


def peak_bytes() -> int:
    """The most that this process has held so far."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass  # no Linux
    # Counts in what the process had that started this one, until then; on Linux in KiB.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
