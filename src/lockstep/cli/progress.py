"""Progress for people: a live line on a terminal, an occasional plain line elsewhere. Always on stderr.

Only observers of the run: they read steps that are already in the journal and can change nothing.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TextIO

from lockstep.core.printable import printable
from lockstep.reports.words import count, counted, duration, number, size
from lockstep.runs.cancel import Cancel
from lockstep.runs.kind import Gauge
from lockstep.runs.observer import Observer, RunInfo

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live
    from rich.progress import Progress, TaskID

    from lockstep.runs.kind import Estimate, Prepared
    from lockstep.runs.training import Step

PLAIN_EVERY_S: Final = 5.0
LINE_EVERY_S: Final = 5.0
_RATE_WINDOW_S: Final = 20.0
PREPARING_AFTER_S: Final = 2.0
PREPARING: Final = (
    "preparing: reading data, checking what is to be trained. The first time after an installation "
    "this also compiles the engine, for up to a minute."
)
STOPPING: Final = "{reason}: stopping at the next step, with a checkpoint. Ctrl-C again stops at once."


class AnnouncedCancel(Cancel):
    """A cancel that answers Ctrl-C at once: the batch in progress may take a while to end.

    tell   called from a signal handler, so it may set a value or write to a file descriptor and nothing else
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__()
        self._tell = tell

    def request(self, reason: str = "a request") -> None:
        """Ask the loop to stop at the next step, and say so once."""
        first = not self.requested
        super().request(reason)
        if first:
            self._tell(STOPPING.format(reason=reason))


@dataclass(kw_only=True)
class Tally:
    """Progress of a run, counted from its steps: how far, how good, how fast.

    total_steps   steps of the whole run; None where the run cannot know
    gauge         how to read the steps' numbers

    Each form of a step's scalars adds words of its own: "total" and "valid" count trials, "best" holds the best value
    so far, "invalid" counts causes, "loss" is a number or holds a "total".
    """

    total_steps: int | None = None
    gauge: Gauge = field(default_factory=Gauge)
    steps: int = 0
    trials: int | None = None
    valid: int = 0
    best: float | None = None
    loss: float | None = None
    failures: dict[str, int] = field(default_factory=dict)
    _times: list[tuple[float, int, int]] = field(default_factory=list)

    def take(self, step: Step, now: float) -> None:
        """Count one step that ended at `now` (monotonic seconds)."""
        scalars: Mapping[str, Any] = step.scalars
        self.steps = step.index + 1
        if {"total", "valid"} <= scalars.keys():
            self.trials, self.valid = int(scalars["total"]), int(scalars["valid"])
        best = scalars.get("best")
        if isinstance(best, Mapping):
            self.best = float(best["objective"])
        failures = scalars.get("invalid")
        if isinstance(failures, Mapping):
            self.failures = {str(cause): int(trials) for cause, trials in failures.items() if trials}
        loss = scalars.get("loss")
        loss = loss.get("total") if isinstance(loss, Mapping) else loss
        if isinstance(loss, int | float):
            self.loss = float(loss)
        self._times.append((now, self.steps, self.trials or 0))
        # Only the recent past says how fast it goes now; the first step also compiled kernels.
        while len(self._times) > 2 and now - self._times[0][0] > _RATE_WINDOW_S:
            self._times.pop(0)

    def rates(self) -> tuple[float, float] | None:
        """(steps per second, trials per second) over the last 20 seconds; None before the second step."""
        if len(self._times) < 2:
            return None
        (then, steps, trials), (now, steps_now, trials_now) = self._times[0], self._times[-1]
        seconds = now - then
        return ((steps_now - steps) / seconds, (trials_now - trials) / seconds) if seconds > 0 else None

    def seconds_left(self) -> float | None:
        """Seconds to the end at the present rate; None without a rate or a number of steps."""
        rates = self.rates()
        if rates is None or self.total_steps is None or rates[0] <= 0:
            return None
        return (self.total_steps - self.steps) / rates[0]

    def text(self) -> str:
        """One line: how far, how good, what failed, how fast, time left."""
        parts = [counted(self.steps, "step") if self.trials is None else counted(self.trials, "trial")]
        if self.best is not None:
            parts.append(f"best {self.gauge.objective} {number(self.best)}")
        if self.loss is not None:
            parts.append(f"loss {number(self.loss)}")
        if self.trials is not None:
            parts.append(self._invalid(self.trials - self.valid))
        rates = self.rates()
        if rates is not None:
            parts.append(self._speed(*rates))
        left = self.seconds_left()
        if left is not None and left > 0:
            parts.append(f"{duration(left)} left")
        return "; ".join(parts)

    def _invalid(self, trials: int) -> str:
        names = [(cause.replace("_", " "), failures) for cause, failures in self.failures.items()]
        causes = (
            names[0][0] if len(names) == 1 else ", ".join(f"{count(failures)} {cause}" for cause, failures in names)
        )
        return f"{count(trials)} invalid" + (f" ({causes})" if causes else "")

    def _speed(self, steps: float, trials: float) -> str:
        """Steps or trials per second, and the work in them."""
        if self.trials is None:
            return f"{number(steps)} steps/s"
        work = [f"{number(trials * amount)} {unit}/s" for unit, amount in self.gauge.work.items()]
        return ", ".join([f"{number(trials)} trials/s", *work])


class Watcher(Observer):
    """What the two forms of progress have in common: the tally, the announcement and the run's name."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self.run_id: str | None = None
        self.tally = Tally()
        self._stream, self._clock = stream, clock
        self._gauge = Gauge()
        self._preparing: threading.Timer | None = None
        # What is over within seconds needs no line.
        self._last_line = clock()

    def preparing(self, after_s: float = PREPARING_AFTER_S) -> None:
        """Explain the wait before the announcement, once it has taken `after_s` seconds."""
        self._preparing = threading.Timer(after_s, self.say, [PREPARING])
        self._preparing.daemon = True
        self._preparing.start()

    def prepared(self) -> None:
        """Cancel the explanation of the wait: the announcement has come."""
        if self._preparing is not None:
            self._preparing.cancel()

    def stopping(self, text: str) -> None:
        """Confirm that the run will stop. Runs in a signal handler: stderr may be in the middle of a write."""
        os.write(2, f"\n{text}\n".encode())

    def announce(self, prepared: Prepared) -> None:
        """Write what is about to be trained, and what it will roughly cost."""
        self.prepared()
        self._gauge = prepared.gauge
        for line in prepared.notes:
            self.say(line)
        text = estimate_text(prepared.estimate)
        if text:
            self.say(f"estimate: {text}")

    def started(self, info: RunInfo) -> None:
        """Write which run this is, and start a new tally for it."""
        self.run_id = info.folder.name
        self.tally = Tally(total_steps=info.total_steps, gauge=self._gauge)
        after = f", resuming after {counted(info.first_step, 'step')}" if info.first_step else ""
        self.say(f"run {self.run_id}{after}, fingerprint {info.fingerprint[:16]}")

    def tell(self, line: str) -> None:
        """Write a line about work outside of the steps, when the last one is older than `LINE_EVERY_S` seconds."""
        now = self._clock()
        if now - self._last_line >= LINE_EVERY_S:
            self._last_line = now
            self.say(line)

    def note(self, message: str) -> None:
        """Write a remark of the loop, marked as one."""
        self.say(f"note: {message}")

    def say(self, text: str) -> None:
        """Write one line and flush it, so that a file shows progress as it happens."""
        self._stream.write(printable(text) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Stop all that writes by itself; the stream is free for the report."""
        self.prepared()


class PlainProgress(Watcher):
    """An occasional line: the first step, then one every few seconds, then the last."""

    def __init__(
        self, stream: TextIO, *, every_s: float = PLAIN_EVERY_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(stream, clock)
        self._every_s = every_s
        self._last = float("-inf")

    def step(self, step: Step, journal_hash: str) -> None:
        """Write a line when the last one is older than `every_s`, and at the last step."""
        now = self._clock()
        self.tally.take(step, now)
        if now - self._last >= self._every_s or self.tally.steps == self.tally.total_steps:
            self._last = now
            total = f" of {count(self.tally.total_steps)}" if self.tally.total_steps is not None else ""
            self.say(f"step {count(self.tally.steps)}{total}: {self.tally.text()}")


class LiveProgress(Watcher):
    """A bar with time left, and below it best so far, failures by cause and speed; redrawn in place."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(stream, clock)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._live: Live | None = None
        self._stopping: str | None = None

    def started(self, info: RunInfo) -> None:
        """Write which run this is, and open the bar."""
        from rich.console import Console
        from rich.live import Live
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TimeElapsedColumn

        super().started(info)
        console = Console(file=self._stream, highlight=False, markup=False)
        columns = (BarColumn(bar_width=30), TaskProgressColumn(), TimeElapsedColumn())
        self._bar = Progress(*columns, console=console)
        self._task = self._bar.add_task("", total=info.total_steps, completed=info.first_step)
        self._live = Live(get_renderable=self._picture, console=console, refresh_per_second=5, transient=True)
        self._live.start()

    def _picture(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        parts: list[RenderableType] = [self._bar or "", Text(self.tally.text() if self.tally.steps else "starting")]
        if self._stopping is not None:
            parts.append(Text(self._stopping))
        return Group(*parts)

    def stopping(self, text: str) -> None:
        """Below the bar: what is written past it would be drawn over at once."""
        if self._live is None:
            super().stopping(text)
        self._stopping = text

    def step(self, step: Step, journal_hash: str) -> None:
        """Move the bar to the steps that are done."""
        self.tally.take(step, self._clock())
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self.tally.steps)

    def finished(self, result: Mapping[str, Any], journal_hash: str) -> None:
        """Close the bar; the report follows on stdout."""
        self.close()

    def stopped(self, reason: str) -> None:
        """Close the bar where it stands; resuming opens a new one."""
        self.close()

    def say(self, text: str) -> None:
        """Write one line, above the bar where there is one."""
        if self._live is not None:
            self._live.console.print(printable(text))
        else:
            super().say(text)

    def close(self) -> None:
        """Remove the bar and leave the last line of the tally."""
        super().close()
        if self._live is not None:
            live, self._live = self._live, None
            live.stop()
            if self.tally.steps:
                self.say(self.tally.text())


def estimate_text(estimate: Estimate | None) -> str:
    """An estimate in words; empty where the kind cannot give one."""
    if estimate is None:
        return ""
    parts = []
    if estimate.seconds is not None:
        judged = estimate.judging
        share = "" if judged is None or judged.wall < 0.05 else f", {duration(judged.wall)} of it judging"
        parts.append(f"about {duration(estimate.seconds)} on one core{share}")
    if estimate.memory_bytes is not None:
        parts.append(f"{size(estimate.memory_bytes)} of memory")
    if estimate.disk_bytes is not None:
        parts.append(f"{size(estimate.disk_bytes)} on disk")
    if estimate.steps is not None:
        parts.append(counted(estimate.steps, "step"))
    return ", ".join(parts)


@contextmanager
def watch(*, every_step: bool = False) -> Iterator[tuple[Watcher, Cancel]]:
    """A watcher for this terminal, and a cancel that hears Ctrl-C and SIGTERM while the block runs.

    every_step   a plain line for each step, on a terminal too
    """
    watcher: Watcher
    if every_step:
        watcher = PlainProgress(sys.stderr, every_s=0.0)
    else:
        watcher = LiveProgress(sys.stderr) if sys.stderr.isatty() else PlainProgress(sys.stderr)
    cancel = AnnouncedCancel(watcher.stopping)
    watcher.preparing()
    try:
        with cancel.on_signals():
            yield watcher, cancel
    finally:
        watcher.close()


@contextmanager
def patience() -> Iterator[Callable[[str], None]]:
    """Explain a long wait on stderr, for work that has no steps to count; yields what takes lines about it."""
    watcher = PlainProgress(sys.stderr)
    watcher.preparing()
    try:
        yield watcher.tell
    finally:
        watcher.close()


@contextmanager
def verify_progress(doing: str = "computing again") -> Iterator[Callable[[int, int], None]]:
    """A function of (steps done, steps in all) that shows them: a bar on a terminal, an occasional line elsewhere."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn(doing), BarColumn(bar_width=24), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(file=sys.stderr), transient=True) as bar:
            task = bar.add_task("", total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)
        return
    last = float("-inf")

    def tell(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= PLAIN_EVERY_S:
            last = now
            sys.stderr.write(f"{doing}: step {count(done)} of {count(total)}\n")
            sys.stderr.flush()

    yield tell
