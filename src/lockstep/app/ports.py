"""What a use case needs from the outside world. `bootstrap` fills it in; tests fill it in otherwise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lockstep.core.clock import Clock, SystemClock
from lockstep.runs.cancel import Cancel
from lockstep.runs.kind import Prepared, RunContext

if TYPE_CHECKING:
    from lockstep.runs.executor import Executor
    from lockstep.runs.observer import Observer
    from lockstep.runs.store import RunStore


def unannounced(prepared: Prepared) -> None:
    """The announcement of a training that nobody watches: silence."""


@dataclass(frozen=True, kw_only=True)
class Ports:
    """None of these may change a result.

    store       keeps runs
    executor    does the work of a step, here or in worker processes
    home        folder of this installation's runs and snapshots
    observers   watch a run
    cancel      hears the wish to stop
    clock       tells the time, which enters no hashed content
    announce    is told what is about to be trained, with the estimate, before the first step
    """

    store: RunStore
    executor: Executor
    home: Path
    observers: Sequence[Observer] = ()
    cancel: Cancel = field(default_factory=Cancel)
    clock: Clock = field(default_factory=SystemClock)
    announce: Callable[[Prepared], None] = unannounced

    @property
    def context(self) -> RunContext:
        """What a training may use."""
        return RunContext(executor=self.executor, home=self.home)
