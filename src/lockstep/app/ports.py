"""What a use case needs from outside: `bootstrap` chooses the adapters, tests choose their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lockstep.core.clock import Clock, SystemClock
from lockstep.runs.cancel import Cancel
from lockstep.runs.kind import Prepared, RunContext, silent

if TYPE_CHECKING:
    from pathlib import Path

    from lockstep.runs.executor import Executor
    from lockstep.runs.observer import Observer
    from lockstep.runs.store import RunStore
    from lockstep.storage.blobs import BlobStore


def unannounced(prepared: Prepared) -> None:
    """Announce nothing: the default, for a training that nobody watches."""


@dataclass(frozen=True, kw_only=True)
class Ports:
    """The adapters of a use case. None of them may change a result.

    store       keeps runs, and the data that they share
    executor    does the work of a step, here or in worker processes
    observers   watch a run
    cancel      says whether the run is to stop
    clock       gives the time, which enters no hash
    announce    is called with the prepared training and its estimate before the first step
    tell        is called with lines about work that lasts, outside of the steps
    """

    store: RunStore
    executor: Executor
    observers: Sequence[Observer] = ()
    cancel: Cancel = field(default_factory=Cancel)
    clock: Clock = field(default_factory=SystemClock)
    announce: Callable[[Prepared], None] = unannounced
    tell: Callable[[str], None] = silent

    @property
    def home(self) -> Path:
        """The folder that holds runs, the store and the book of episodes."""
        return self.store.home

    @property
    def blobs(self) -> BlobStore:
        """The store of data that runs share, by digest."""
        return self.store.blobs

    @property
    def context(self) -> RunContext:
        """Executor and blobs: all that a training may use."""
        return RunContext(executor=self.executor, blobs=self.blobs, tell=self.tell)
