"""How long a run's steps took: timing.json, beside the record and in no hash, so that a replay can say how much faster.

It holds one span per process that worked on the run. A process that was killed leaves none; the rate is that of the
spans that are there. An exported run leaves it behind: another machine has other times.
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
    """Times the steps of one process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began = self._ended = 0.0
        self._first = self._stop = 0

    def started(self, info: RunInfo) -> None:
        """Remember when, and at which step."""
        self._began = self._ended = self._clock.monotonic()
        self._first = self._stop = info.first_step

    def step(self, step: Step, journal_hash: str) -> None:
        """Remember the last step."""
        self._ended, self._stop = self._clock.monotonic(), step.index + 1

    def span(self) -> dict[str, Any]:
        """What was timed."""
        return {"first": self._first, "stop": self._stop, "seconds": self._ended - self._began}


@contextmanager
def timed(folder: RunFolder, clock: Clock) -> Iterator[Stopwatch]:
    """An observer whose times are written down afterwards, however the training ended."""
    watch = Stopwatch(clock)
    try:
        yield watch
    finally:
        span = watch.span()
        if span["stop"] > span["first"]:
            # A time that cannot be kept must not hide how the run ended.
            with contextlib.suppress(LockstepError):
                folder.write(TIMING, {"spans": [*_spans(folder), span]})


def seconds_of_training(folder: RunFolder, steps: int) -> float | None:
    """How long training takes for `steps` steps of a run, at the rate it was trained; None where nobody knows."""
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
    except (LockstepError, KeyError, TypeError, ValueError):
        return []
