"""The executor without other processes: items one after the other, here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from lockstep.runs.executor import ItemT, ResultT, Task
from lockstep.runs.numerics import pinned_threads


class InProcessExecutor:
    """Does each item in the calling process, on one native thread."""

    @property
    def workers(self) -> int:
        """Always 1: items are never worked on at once."""
        return 1

    def map(self, task: Task[ItemT, ResultT], items: Sequence[ItemT]) -> list[ResultT]:
        """`[task(item) for item in items]`; see `runs.executor.Executor`."""
        with pinned_threads():
            return [task(item) for item in items]

    def close(self) -> None:
        """Do nothing: there is no process to end."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
