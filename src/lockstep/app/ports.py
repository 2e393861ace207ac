"""What a use case needs from the outside world. `bootstrap` fills it in; tests fill it in otherwise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lockstep.core.clock import Clock, SystemClock
from lockstep.runs.cancel import Cancel
from lockstep.runs.kind import Prepared, RunContext

if TYPE_CHECKING:
    from pathlib import Path

    from lockstep.runs.executor import Executor
    from lockstep.runs.observer import Observer
    from lockstep.runs.store import RunStore
    from lockstep.storage.blobs import BlobStore


def unannounced(prepared: Prepared) -> None:
    """The announcement of a training that nobody watches: silence."""


@dataclass(frozen=True, kw_only=True)
class Ports:
    """None of these may change a result.

    store       keeps runs, and the data that they share
    executor    does the work of a step, here or in worker processes
    observers   watch a run
    cancel      hears the wish to stop
    clock       tells the time, which enters no hashed content
    announce    is told what is about to be trained, with the estimate, before the first step
    """

    store: RunStore
    executor: Executor
    observers: Sequence[Observer] = ()
    cancel: Cancel = field(default_factory=Cancel)
    clock: Clock = field(default_factory=SystemClock)
    announce: Callable[[Prepared], None] = unannounced

    @property
    def home(self) -> Path:
        """Folder of this installation's runs and of its book of episodes."""
        return self.store.home

    @property
    def blobs(self) -> BlobStore:
        """The data that runs share."""
        return self.store.blobs

    @property
    def context(self) -> RunContext:
        """What a training may use."""
        return RunContext(executor=self.executor, blobs=self.blobs)
