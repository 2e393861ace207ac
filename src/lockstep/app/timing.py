"""How long the steps of a run took: timing.json, from which a replay says how much faster it is.

`runs.times` says what is in the file. The rate of a run is that of the processes that were not killed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lockstep.core.clock import Clock
from lockstep.core.errors import LockstepError
from lockstep.runs.folder import RunFolder
from lockstep.runs.observer import Observer, RunInfo
from lockstep.runs.times import TIMING, Marks, spans_of
from lockstep.runs.training import Step


class Stopwatch(Observer):
    """Times the steps that one process makes."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began = self._ended = 0.0
        self._began_ms = 0
        self._marks = Marks()
        self._first = self._stop = 0

    def started(self, info: RunInfo) -> None:
        """Start the watch at the first step of this process."""
        self._began = self._ended = self._clock.monotonic()
        self._began_ms = self._clock.utc_ms()
        self._first = self._stop = info.first_step

    def step(self, step: Step, journal_hash: str) -> None:
        """Take the time after this step, as the last so far."""
        self._ended, self._stop = self._clock.monotonic(), step.index + 1
        self._marks.add(step.index, self._ended - self._began)

    def span(self) -> dict[str, Any]:
        """First step, the step after the last, the seconds between them, the begin, and times of steps."""
        return {
            "first": self._first,
            "stop": self._stop,
            "seconds": self._ended - self._began,
            "began_ms": self._began_ms,
            "marks": self._marks.to_json(),
        }


@contextmanager
def timed(folder: RunFolder, clock: Clock) -> Iterator[Stopwatch]:
    """An observer whose times are written when the training ends, whatever ends it."""
    watch = Stopwatch(clock)
    try:
        yield watch
    finally:
        span = watch.span()
        if span["stop"] > span["first"]:
            # The run's own error is what counts: a failure to store its times must not replace it.
            with contextlib.suppress(LockstepError):
                folder.write(TIMING, {"spans": [*spans_of(folder), span]})


def seconds_of_training(folder: RunFolder, steps: int) -> float | None:
    """Seconds that `steps` steps take at the rate of the run's training; None when no span is stored."""
    spans = spans_of(folder)
    steps_done = sum(span["stop"] - span["first"] for span in spans)
    return sum(span["seconds"] for span in spans) / steps_done * steps if steps_done > 0 else None
