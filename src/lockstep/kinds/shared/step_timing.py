"""Time a few steps of a training that is thrown away: seconds and bytes for an estimate, in no hash.

A network beyond `LARGE` is only counted when `Kind.estimate` is called with `time_large=False`.
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
"""Bytes of state above which a network is large: an estimate need not make it."""
UNTIMED: Final = "the network is too large to be made for an estimate: how long it takes is not known"
EVALUATED: Final = 1 / 3
"""Time of a batch without gradients, as a share of a step: a backward pass takes about two forward passes."""
_WARMING: Final = 2
"""Steps before the timing: they compile kernels and allocate memory that all later steps use."""
_TIMED: Final = 15
_ENOUGH_S: Final = 1.0


@dataclass(frozen=True, kw_only=True)
class StepTiming:
    """Seconds and bytes of a training, from a few of its steps.

    step_seconds    of one step; None when no step was made
    held_bytes      of this process, without the state of the training
    other_seconds   of the whole training, outside of its steps
    """

    step_seconds: float | None
    held_bytes: int
    other_seconds: float = 0.0

    def seconds(self, steps: float) -> float | None:
        """Seconds of a training of `steps` steps; None when no step was made."""
        return None if self.step_seconds is None else self.step_seconds * steps + self.other_seconds


def time_steps(steps: Callable[[], Iterator[object]], *, state_bytes: int) -> StepTiming:
    """Make and time a few steps of a training that is thrown away.

    steps         begins the training
    state_bytes   bytes of its state, which the caller counts for the run
    """
    # The peak of a process never falls, so what it was before has to be kept.
    before = peak_bytes()
    seconds = seconds_per_step(steps())
    # The peak of this process has the state in it, which the caller adds to the estimate: it must not count twice.
    return StepTiming(step_seconds=seconds, held_bytes=max(before, peak_bytes() - state_bytes))


def untimed() -> StepTiming:
    """The timing of a network that is too large to make: memory of this process, no seconds."""
    return StepTiming(step_seconds=None, held_bytes=peak_bytes())


def seconds_per_step(steps: Iterator[object]) -> float | None:
    """Median of a few steps after the first ones; None for a training without steps."""
    durations: list[float] = []
    for _ in range(_WARMING + _TIMED):
        began = time.perf_counter()
        if next(steps, None) is None:
            break
        durations.append(time.perf_counter() - began)
        # A user waits for this: slow steps need fewer of them to be timed well.
        if sum(durations[_WARMING:]) > _ENOUGH_S:
            break
    # The median: one step that the machine interrupts would shift a mean of fifteen. A training of one or two steps has
    # only warming ones; the last of them is the best guess.
    return median(durations[_WARMING:] or durations[-1:]) if durations else None


def peak_bytes() -> int:
    """Highest memory of this process so far, bytes."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass  # not Linux
    # Linux counts in KiB, and includes the memory of the parent process before exec: hence only the second choice.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
