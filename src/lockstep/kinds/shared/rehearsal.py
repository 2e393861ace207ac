"""What a step takes, from a few steps of a training that is thrown away: time and memory for an estimate.

Nothing here is ever hashed. A network beyond `LARGE` is only counted where `Kind.estimate` is asked not to time it.
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
    """Seconds and bytes of a training, as a few of its steps suggest them.

    step_seconds    of one step, None where no step was tried
    held_bytes      of this process, beside the state of the training
    other_seconds   of the whole training, beside its steps
    """

    step_seconds: float | None
    held_bytes: int
    other_seconds: float = 0.0

    def seconds(self, steps: float) -> float | None:
        """Of a training of so many steps; None where no step was tried."""
        return None if self.step_seconds is None else self.step_seconds * steps + self.other_seconds


def rehearse(steps: Callable[[], Iterator[object]], *, state_bytes: int) -> Rehearsal:
    """Make a few steps of a training that is thrown away.

    state_bytes   what its state takes
    """
    before = peak_bytes()
    seconds = seconds_per_step(steps())
    # The state counts as the run's own and is added by whoever counts it; the peak of this process holds it as well.
    return Rehearsal(step_seconds=seconds, held_bytes=max(before, peak_bytes() - state_bytes))


def counted_only() -> Rehearsal:
    """The rehearsal of a network that is too large to be made for it: memory of this process, and no time."""
    return Rehearsal(step_seconds=None, held_bytes=peak_bytes())


def seconds_per_step(steps: Iterator[object]) -> float | None:
    """The median of a few steps after the first ones; None where there is no step at all."""
    durations: list[float] = []
    for _ in range(_WARMING + _TIMED):
        began = time.perf_counter()
        if next(steps, None) is None:
            break
        durations.append(time.perf_counter() - began)
        if sum(durations[_WARMING:]) > _ENOUGH_S:
            break
    # The median, for one step that the machine interrupts would carry a mean of fifteen away. A training of one or two
    # steps has only warming ones: the last of them is the best guess there is.
    return median(durations[_WARMING:] or durations[-1:]) if durations else None


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
