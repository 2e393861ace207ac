"""Time a few steps of a training that is thrown away: seconds and bytes for an estimate, in no hash.

Processor time and time on the clock are measured apart: other programs lengthen only the second. Each step is hashed as
the loop hashes what it writes, once for writing and once for the check of the whole record at the end.

A network beyond `LARGE` is only counted when `Kind.estimate` is called with `time_large=False`.
"""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from lockstep.core.hashing import digest_columns
from lockstep.runs.journal import encode_line, step_content
from lockstep.runs.kind import Duration
from lockstep.runs.numerics import pinned_threads
from lockstep.runs.training import Step
from lockstep.storage.segment_format import checked_columns

LARGE: Final = 500_000_000
"""Bytes of state above which a network is large: an estimate need not make it."""
UNTIMED: Final = "the network is too large to be made for an estimate: how long it takes is not known"
_WARMING: Final = 2
"""Steps before the timing: they compile kernels and allocate memory that all later steps use."""
_LEAST: Final = 15
"""Steps that are timed, unless they are slow."""
_MOST: Final = 200
_ENOUGH_S: Final = 0.25
"""Seconds that are timed where steps are fast."""
_PATIENCE_S: Final = 1.0
"""Seconds after which slow steps are timed no longer."""
_HASHED: Final = 2
"""Times that the loop hashes a step: when it writes it, and when it seals the run."""
_NOTHING: Final = Duration()


@dataclass(frozen=True, kw_only=True)
class StepTiming:
    """Time and memory of a training, from a few of its steps.

    step          time of one step; None when no step was made
    held_bytes    of this process, without the state of the training
    start         time of what comes once, before the steps
    judging       time of all evaluations
    """

    step: Duration | None
    held_bytes: int
    start: Duration = _NOTHING
    judging: Duration = _NOTHING

    def training(self, steps: float) -> Duration | None:
        """Time of a training of `steps` steps, without judging; None when no step was made."""
        return None if self.step is None else self.step * steps + self.start


def time_steps(
    steps: Callable[[], Iterator[object]],
    *,
    state_bytes: int,
    period: int | None = None,
    evaluation: Duration = _NOTHING,
    judging: Duration = _NOTHING,
) -> StepTiming:
    """Make and time a few steps of a training that is thrown away.

    steps         begins the training
    state_bytes   bytes of its state, which the caller counts for the run
    period        steps from one evaluation to the next; None where steps do not evaluate
    evaluation    time of one, which is no part of a step
    judging       time of all evaluations, for the result
    """
    # The peak of a process never falls, so what it was before has to be kept.
    before = peak_bytes()
    step = step_duration(steps(), period=period, evaluation=evaluation)
    # The peak of this process has the state in it, which the caller adds to the estimate: it must not count twice.
    return StepTiming(step=step, held_bytes=max(before, peak_bytes() - state_bytes), judging=judging)


def untimed() -> StepTiming:
    """The timing of a network that is too large to make: memory of this process, no seconds."""
    return StepTiming(step=None, held_bytes=peak_bytes())


def timed(call: Callable[[], object], *, warm: bool = True) -> Duration:
    """Time of a call; `warm` calls it before, unless that already takes long."""
    once = _timed(call)
    return _timed(call) if warm and once.wall < _ENOUGH_S else once


def _timed(call: Callable[[], object]) -> Duration:
    cpu, wall = time.process_time(), time.perf_counter()
    call()
    return Duration(cpu=time.process_time() - cpu, wall=time.perf_counter() - wall)


def step_duration(
    steps: Iterator[object], *, period: int | None = None, evaluation: Duration = _NOTHING
) -> Duration | None:
    """Time of one of a few steps after the first ones; None for a training without steps."""
    durations: list[Duration] = []
    ended = False

    def make() -> None:
        nonlocal ended
        with pinned_threads():  # as the loop does for each step
            step = next(steps, None)
        ended = step is None
        if isinstance(step, Step):
            _record(step)

    while len(durations) < _WARMING + _MOST:
        duration = _timed(make)
        if ended:
            break
        durations.append(duration)
        # A user waits for this: slow steps need fewer of them to be timed well.
        spent = math.fsum(item.wall for item in durations[_WARMING:])
        if spent > _PATIENCE_S or (spent > _ENOUGH_S and len(durations) >= _WARMING + _LEAST):
            break
    if not durations:
        return None
    # A training of one or two steps has only warming ones; the last of them is the best guess.
    first = min(_WARMING, len(durations) - 1)
    counted = durations[first:]
    evaluations = 0 if period is None else sum((first + place + 1) % period == 0 for place in range(len(counted)))
    share = evaluations / len(counted)
    # On the clock the median: one step that the machine interrupts would shift a mean of fifteen.
    wall = median(item.wall for item in counted)
    if share >= 0.5:
        wall -= evaluation.wall
    cpu = math.fsum(item.cpu for item in counted) / len(counted) - share * evaluation.cpu
    return Duration(cpu=max(cpu, 0.0), wall=max(wall, 0.0))


def _record(step: Step) -> None:
    """What the loop computes of a step when it writes it and when it reads it back, without a file.

    A frame costs as much again whatever its bytes: to append it, and to take it apart. One row of it stands for that.
    """
    for _ in range(_HASHED):
        digests = {name: digest_columns(checked_columns(name, columns)) for name, columns in step.segments.items()}
        encode_line(step_content(step, digests), "0" * 64)
        for name, columns in step.segments.items():
            digest_columns(checked_columns(name, {key: column[:1] for key, column in columns.items()}))


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
