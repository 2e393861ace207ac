"""How long the steps of a run took: timing.json, from which a replay says how much faster it is.

The file is in no hash. It holds one span for each process that worked on the run; a process that was killed leaves
none, and the rate is that of the others. An export leaves the file out: another machine has other times.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from lockstep.core.clock import Clock
from lockstep.core.errors import LockstepError
from lockstep.runs.folder import RunFolder
from lockstep.runs.observer import Observer, RunInfo
from lockstep.runs.training import Step

TIMING: Final = "timing"


class Stopwatch(Observer):
    """Times the steps that one process makes."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began = self._ended = 0.0
        self._first = self._stop = 0

    def started(self, info: RunInfo) -> None:
        """Start the watch at the first step of this process."""
        self._began = self._ended = self._clock.monotonic()
        self._first = self._stop = info.first_step

    def step(self, step: Step, journal_hash: str) -> None:
        """Take the time after this step, as the last so far."""
        self._ended, self._stop = self._clock.monotonic(), step.index + 1

    def span(self) -> dict[str, Any]:
        """First step, the step after the last, and the seconds between them."""
        return {"first": self._first, "stop": self._stop, "seconds": self._ended - self._began}


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
                folder.write(TIMING, {"spans": [*_spans(folder), span]})


def seconds_of_training(folder: RunFolder, steps: int) -> float | None:
    """Seconds that `steps` steps take at the rate of the run's training; None when no span is stored."""
    spans = _spans(folder)
    steps_done = sum(span["stop"] - span["first"] for span in spans)
    return sum(span["seconds"] for span in spans) / steps_done * steps if steps_done > 0 else None


def _spans(folder: RunFolder) -> list[dict[str, Any]]:
    if not folder.has(TIMING):
        return []
    try:
        spans = folder.read(TIMING)["spans"]
        return [
            {"first": int(span["first"]), "stop": int(span["stop"]), "seconds": float(span["seconds"])}
            for span in spans
        ]
    # A damaged file costs a replay its comparison with training, and must not cost it the replay.
    except (LockstepError, KeyError, TypeError, ValueError):
        return []
