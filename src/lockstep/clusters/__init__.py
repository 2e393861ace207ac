"""Executors: adapters that do a task's items here or in worker processes. See README.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lockstep.runs.executor import Executor

OPEN_EXECUTOR = "lockstep.clusters:open_executor"
"""Where `open_executor` is found by another process."""


def open_executor(workers: int = 1) -> Executor:
    """This process for one worker, worker processes for more. Raises InputError for fewer than one."""
    if workers == 1:
        from lockstep.clusters.in_process import InProcessExecutor

        return InProcessExecutor()
    from lockstep.clusters.loky import LokyExecutor

    return LokyExecutor(workers)
