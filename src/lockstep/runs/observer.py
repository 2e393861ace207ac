"""Observers watch a run: progress bars, logs, later databases and web pages. None may change a result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lockstep.runs.training import Step


@dataclass(frozen=True, kw_only=True)
class RunInfo:
    """Facts of a run as its loop starts: `first_step` is 0 for a new run, the step resumed at otherwise."""

    folder: Path
    fingerprint: str
    first_step: int
    total_steps: int | None


class Observer:
    """Base of all observers; each method does nothing until overridden.

    Calls come from the thread of the loop, in order, each after its fact was recorded. They should return quickly. An
    observer that raises is dropped, and the others get one `note` of it.
    """

    def started(self, info: RunInfo) -> None:
        """The run's folder is locked and its first step is about to be computed."""

    def step(self, step: Step, journal_hash: str) -> None:
        """`step` is in the journal, whose hash is now `journal_hash`."""

    def checkpoint(self, steps: int) -> None:
        """The state after `steps` steps is on disk."""

    def finished(self, result: Mapping[str, Any], journal_hash: str) -> None:
        """The run is complete and sealed; `result` is its summary."""

    def stopped(self, reason: str) -> None:
        """The run ended before its last step, on request or by an error."""

    def note(self, message: str) -> None:
        """A message for a person: a damaged checkpoint skipped, an observer dropped."""

    def tell(self, line: str) -> None:
        """How far work outside of the steps is, such as the questions of the look-ahead test, before `started` too.

        Called often: for each question. Whoever writes it down leaves out what follows too soon.
        """


class Observers:
    """Hands each event to every observer and drops those that raise."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = list(observers)
        self.notes: list[str] = []

    def started(self, info: RunInfo) -> None:
        """Pass `Observer.started` on to every observer."""
        self._tell(lambda observer: observer.started(info))

    def step(self, step: Step, journal_hash: str) -> None:
        """Pass `Observer.step` on to every observer."""
        if self._observers:
            self._tell(lambda observer: observer.step(step, journal_hash))

    def checkpoint(self, steps: int) -> None:
        """Pass `Observer.checkpoint` on to every observer."""
        self._tell(lambda observer: observer.checkpoint(steps))

    def finished(self, result: Mapping[str, Any], journal_hash: str) -> None:
        """Pass `Observer.finished` on to every observer."""
        self._tell(lambda observer: observer.finished(result, journal_hash))

    def stopped(self, reason: str) -> None:
        """Pass `Observer.stopped` on to every observer."""
        self._tell(lambda observer: observer.stopped(reason))

    def note(self, message: str) -> None:
        """Keep a note for the outcome and pass it on to every observer."""
        self.notes.append(message)
        self._tell(lambda observer: observer.note(message))

    def tell(self, line: str) -> None:
        """Pass `Observer.tell` on to every observer."""
        if self._observers:
            self._tell(lambda observer: observer.tell(line))

    def _tell(self, call: Callable[[Observer], None]) -> None:
        for observer in list(self._observers):
            try:
                call(observer)
            except Exception as error:  # noqa: BLE001 - whatever an observer raises, the run goes on
                self._observers.remove(observer)
                # Recursion ends: each round has one observer less.
                self.note(
                    f"the observer {type(observer).__name__} raised {type(error).__name__}: {error}; "
                    "it hears nothing more of this run, which goes on"
                )
