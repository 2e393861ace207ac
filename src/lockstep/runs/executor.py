"""Executor: does independent work, here or in worker processes, with the same results in both.

The contract, checked by `lockstep.testing.contracts.executor` on every adapter (`lockstep.clusters`):

- Results come in item order, whatever finished first; a task's exception is raised with its own type and message,
  and of several the one of the first item in order.
- A lost worker (killed, crashed, out of memory) costs time, never a result: its items are computed again. An item
  that loses its worker `RETRIES` + 1 times ends the call with WorkerLostError, which names it.
- Workers compute with the parent's numerics (NotComparableError otherwise), on one native thread, ignore Ctrl-C
  (the parent decides), and die with the parent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol, Self, TypeVar, runtime_checkable

ItemT_contra = TypeVar("ItemT_contra", contravariant=True)
ResultT_co = TypeVar("ResultT_co", covariant=True)
ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

RETRIES: Final = 3


@runtime_checkable
class Task(Protocol[ItemT_contra, ResultT_co]):
    """Work to do on one item.

    A task is pickled for each item, so it holds references (a snapshot's path, parameters), not arrays. A worker keeps
    the first instance per `key` and calls that one. Costly set-up (mapping candles, compiling) therefore belongs in the
    first call, and is stored on the instance under a name that `__getstate__` leaves out. Two tasks with one key must
    be interchangeable.
    """

    @property
    def key(self) -> str:
        """A name for everything that the result depends on, except the item."""
        ...

    def __call__(self, item: ItemT_contra, /) -> ResultT_co:
        """Do the work. The result is picklable and depends on this task and `item` only."""
        ...


class Executor(Protocol):
    """Maps tasks over items. Use it as a context manager, or `close` it."""

    @property
    def workers(self) -> int:
        """How many items are worked on at once."""
        ...

    def map(self, task: Task[ItemT, ResultT], items: Sequence[ItemT]) -> list[ResultT]:
        """`[task(item) for item in items]`. Raises what the task raises, WorkerLostError, NotComparableError."""
        ...

    def close(self) -> None:
        """End the workers. Closing twice does nothing."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...
