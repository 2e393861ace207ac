"""Progress for people: a live line on a terminal, an occasional plain line elsewhere. Always on stderr.

Only observers of the run: they read steps that are already in the journal and can change nothing.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

from lockstep.cli.words import count, duration, number
from lockstep.runs.cancel import Cancel
from lockstep.runs.observer import Observer, RunInfo

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from lockstep.cli.output import Output
    from lockstep.runs.training import Step

PLAIN_EVERY_S: Final = 5.0
_RATE_WINDOW_S: Final = 20.0


class AnnouncedCancel(Cancel):
    """A cancel that tells on stderr that it was heard: a batch may take a while to end."""

    def request(self, reason: str = "a request") -> None:
        """Ask the loop to stop at the next step, and say so once."""
        first = not self.requested
        super().request(reason)
        if first:
            # Called from a signal handler: os.write, because sys.stderr may be in the middle of a write.
            text = f"\n{reason}: stopping at the next step, with a checkpoint. Ctrl-C again stops at once.\n"
            os.write(2, text.encode())


@dataclass(kw_only=True)
class Tally:
    """What is known of a run in progress, gathered from its steps."""

    total_steps: int | None = None
    first_step: int = 0
    steps: int = 0
    trials: int = 0
    valid: int = 0
    new_trials: int = 0
    bars: int = 0
    objective: str = ""
    best: float | None = None
    failures: dict[str, int] = field(default_factory=dict)
    _times: list[tuple[float, int, int]] = field(default_factory=list)

    def take(self, step: Step, now: float) -> None:
        """Count one step that ended at `now` (monotonic seconds)."""
        scalars: Mapping[str, Any] = step.scalars
        self.steps = step.index + 1
        self.trials = int(scalars.get("trials", self.trials))
        self.valid = int(scalars.get("valid", self.valid))
        self.bars = int(scalars.get("bars", self.bars))
        best = scalars.get("best_score")
        self.best = float(best) if best is not None else self.best
        failures = scalars.get("invalid")
        if isinstance(failures, Mapping):
            self.failures = {str(cause): int(found) for cause, found in failures.items() if found}
        self._times.append((now, self.steps, self.trials))
        # Only the recent past says how fast it goes now; the first step also compiled kernels.
        while len(self._times) > 2 and now - self._times[0][0] > _RATE_WINDOW_S:
            self._times.pop(0)

    def rates(self) -> tuple[float, float] | None:
        """(steps per second, trials per second) over the recent past; None while nobody can say."""
        if len(self._times) < 2:
            return None
        (then, steps, trials), (now, steps_now, trials_now) = self._times[0], self._times[-1]
        seconds = now - then
        return ((steps_now - steps) / seconds, (trials_now - trials) / seconds) if seconds > 0 else None

    def seconds_left(self) -> float | None:
        """Seconds to the end at the present rate; None while nobody can say."""
        rates = self.rates()
        if rates is None or self.total_steps is None or rates[0] <= 0:
            return None
        return (self.total_steps - self.steps) / rates[0]

    def text(self) -> str:
        """One line: trials, best so far, failures by cause, speed, time left."""
        parts = [f"{count(self.trials)} trials"] if self.trials else [f"{count(self.steps)} steps"]
        if self.best is not None:
            parts.append(f"best {self.objective or 'score'} {number(self.best)}")
        if self.trials:
            causes = ", ".join(f"{cause} {count(found)}" for cause, found in sorted(self.failures.items()))
            parts.append(f"{count(self.trials - self.valid)} invalid" + (f" ({causes})" if causes else ""))
        rates = self.rates()
        if rates is not None and self.trials:
            speed = f"{number(rates[1])} trials/s"
            if self.bars:
                speed += f", {number(rates[1] * self.bars)} bars x sets/s"
            parts.append(speed)
        left = self.seconds_left()
        if left is not None:
            parts.append(f"{duration(left)} left")
        return "; ".join(parts)


class PlainProgress(Observer):
    """An occasional line: the first step, then one every few seconds, then the last."""

    def __init__(self, stream: TextIO, *, every_s: float = PLAIN_EVERY_S, clock: Any = time.monotonic) -> None:
        self._stream, self._every_s, self._clock = stream, every_s, clock
        self._tally = Tally()
        self._last = float("-inf")

    def started(self, info: RunInfo) -> None:
        """Say which run this is."""
        self._tally = Tally(total_steps=info.total_steps, first_step=info.first_step)
        verb = f"resuming after {count(info.first_step)} steps" if info.first_step else "started"
        self._say(f"run {info.folder.name} {verb}, fingerprint {info.fingerprint[:16]}")

    def step(self, step: Step, journal_hash: str) -> None:  # noqa: ARG002 - the observer's signature
        """Say how far it is, when the last word was long enough ago."""
        now = self._clock()
        self._tally.take(step, now)
        if now - self._last >= self._every_s or self._tally.steps == self._tally.total_steps:
            self._last = now
            total = f" of {count(self._tally.total_steps)}" if self._tally.total_steps is not None else ""
            self._say(f"step {count(self._tally.steps)}{total}: {self._tally.text()}")

    def note(self, message: str) -> None:
        """Something a person should know."""
        self._say(f"note: {message}")

    def _say(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()


class LiveProgress(Observer):
    """A bar with time left, best so far, failures by cause and speed, redrawn in place."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._tally = Tally()
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def started(self, info: RunInfo) -> None:
        """Open the bar."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

        self._tally = Tally(total_steps=info.total_steps, first_step=info.first_step)
        console = Console(file=self._stream, highlight=False, markup=False)
        verb = f", resuming after {count(info.first_step)} steps" if info.first_step else ""
        console.print(f"run {info.folder.name}{verb}, fingerprint {info.fingerprint[:16]}")
        self._bar = Progress(
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[text]}", markup=False),
            console=console,
            refresh_per_second=5,
        )
        self._task = self._bar.add_task("", total=info.total_steps, completed=info.first_step, text="compiling ...")
        self._bar.start()

    def step(self, step: Step, journal_hash: str) -> None:  # noqa: ARG002 - the observer's signature
        """Move the bar."""
        self._tally.take(step, time.monotonic())
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self._tally.steps, text=self._tally.text())

    def finished(self, result: Mapping[str, Any], journal_hash: str) -> None:  # noqa: ARG002
        """Close the bar."""
        self.close()

    def stopped(self, reason: str) -> None:  # noqa: ARG002
        """Close the bar where it stands."""
        self.close()

    def note(self, message: str) -> None:
        """Something a person should know, above the bar."""
        if self._bar is not None:
            self._bar.console.print(f"note: {message}")
        else:
            self._stream.write(f"note: {message}\n")

    def close(self) -> None:
        """Give the terminal back."""
        if self._bar is not None:
            bar, self._bar = self._bar, None
            bar.stop()


@contextmanager
def watch(out: Output, *, home: Path | None) -> Iterator[tuple[list[Observer], Cancel]]:
    """Observers for this terminal, and a cancel that hears Ctrl-C and SIGTERM while the block runs."""
    live = LiveProgress(sys.stderr) if sys.stderr.isatty() else None
    observer: Observer = live if live is not None else PlainProgress(sys.stderr)
    cancel = AnnouncedCancel()
    try:
        with cancel.on_signals():
            yield [observer], cancel
    finally:
        if live is not None:
            live.close()
