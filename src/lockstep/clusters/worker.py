"""The worker process: its start, and one item at a time."""

from __future__ import annotations

import signal
import traceback
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from lockstep.core.errors import LockstepError, NotComparableError
from lockstep.runs.executor import Task
from lockstep.runs.numerics import NumericsIdentity, entry_differences
from lockstep.runs.processes import die_with

KEPT_TASKS: Final = 4
"""Tasks a worker keeps set up; the least recently used goes first, so that memory stays bounded."""

_tasks: OrderedDict[str, Task[Any, Any]] = OrderedDict()
_refusal: str | None = None


@dataclass(frozen=True)
class TaskFailure:
    """A task's exception on its way to the parent. `error` is None when it cannot be rebuilt there."""

    error: BaseException | None
    text: str
    trace: str


def start(parent: int, numerics: Mapping[str, str]) -> None:
    """Prepare a new worker: it dies with `parent`, ignores Ctrl-C, and compares its numerics with the parent's."""
    global _refusal
    die_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    differences = entry_differences(numerics, NumericsIdentity.collect().body())
    if differences:
        _refusal = (
            f"a worker computes with other numerics than its parent: {'; '.join(differences)} "
            "(then: the parent, now: the worker). Give both the same machine, libraries and environment."
        )


def run(task: Task[Any, Any], item: Any) -> Any:
    """The result of one item, or a `TaskFailure`."""
    if _refusal is not None:
        return TaskFailure(NotComparableError(_refusal), _refusal, "")
    # The task of this call is a fresh copy; the one kept has its set-up done.
    ready = _tasks.setdefault(task.key, task)
    _tasks.move_to_end(task.key)
    while len(_tasks) > KEPT_TASKS:
        _tasks.popitem(last=False)
    try:
        return ready(item)
    except Exception as error:  # noqa: BLE001 - whatever a task raises is told to the parent
        return _failure(error)


def _failure(error: Exception) -> TaskFailure:
    text = f"{type(error).__name__}: {error}"
    trace = "".join(traceback.format_exception(error))
    # An exception whose constructor wants other things than its arguments, or that holds what cannot be pickled, would
    # break on the other side and look like a lost worker. So only type and plain arguments travel.
    if not all(arg is None or isinstance(arg, str | int | float) for arg in error.args):
        return TaskFailure(None, text, trace)
    try:
        again = type(error)(*error.args)
    except Exception:  # noqa: BLE001 - whatever a constructor raises, the text travels instead
        return TaskFailure(None, text, trace)
    return TaskFailure(again if str(again) == str(error) else None, text, trace)


def raise_failure(failure: TaskFailure, item: int) -> None:
    """Raise what a task raised in a worker, with the worker's traceback as a note."""
    error = failure.error
    if error is None:
        error = LockstepError(f"item {item}: the task raised {failure.text}")
    if failure.trace:
        error.add_note(f"In a worker process, for item {item}:\n{failure.trace}")
    raise error
