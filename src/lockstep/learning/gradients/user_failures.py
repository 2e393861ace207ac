"""What a user's network raises while it is trained or evaluated, as an error that says when and in which line."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lockstep.core.errors import LockstepError, NetworkError
from lockstep.runs.user_modules import USER_FAILURES, line_of, source_of_loaded

if TYPE_CHECKING:
    from torch import nn

_CURES: Final = {
    "backward through the graph a second time": (
        "The loss of a step depends on that step alone: of a tensor that the network keeps for later, keep .detach()"
    ),
    "more than 1 value per channel": (
        "A batch norm needs two samples: choose another training.batch_size, so that the last batch has more than one"
    ),
    "does not require grad": ("The loss depends on a trained parameter: look for detach() or no_grad() in the network"),
}
_KEPT: Final = "The steps before it are kept (`lockstep resume`); or correct the network and train again"


def cure_of(error: BaseException) -> str:
    """What helps against a common mistake, empty for any other error."""
    return next((cure for text, cure in _CURES.items() if text in str(error)), "")


@contextmanager
def failures_of(module: nn.Module, place: str) -> Iterator[None]:
    """Within the block, an error of a user's network becomes a NetworkError that names place and line.

    place   when it happens, such as "step 7"

    Errors of other networks, and a lack of memory, are passed on as they are.
    """
    try:
        yield
    except NetworkError as error:  # its text says what; it was raised where nobody knows when
        cause = error.__cause__ or error
        raise NetworkError(f"{place}{_line(module, cause)}: {error}. {cure_of(error) or _KEPT}") from cause
    except (LockstepError, MemoryError):
        raise
    except USER_FAILURES as error:
        if source_of_loaded(type(module)) is None:
            raise
        mode = "training" if module.training else "evaluation"
        raise NetworkError(
            f"{place}{_line(module, error)}: the network fails in {mode} mode: {type(error).__name__}: {error}. "
            f"{cure_of(error) or _KEPT}"
        ) from error


@contextmanager
def failures_of_agent(agent: object, place: str) -> Iterator[None]:
    """Within the block, an error of a user's agent becomes a NetworkError that names place, file and line.

    Errors of agents that come with Lockstep, and a lack of memory, are passed on as they are.
    """
    try:
        yield
    except (LockstepError, MemoryError):
        raise
    except USER_FAILURES as error:
        kind = type(agent)
        if kind.__module__.startswith("lockstep."):
            raise
        raise NetworkError(
            f"{place}{_line_of_agent(kind, error)}: the agent {kind.__name__} fails: {type(error).__name__}: {error}. "
            f"{cure_of(error) or 'Correct the agent and train again'}"
        ) from error


def _line_of_agent(kind: type, error: BaseException) -> str:
    try:
        file = inspect.getsourcefile(kind)
    except (OSError, TypeError):  # a class that was typed into an interactive Python has no file
        file = None
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f", {Path(file).name}, line {lines[-1]}" if file is not None and lines else ""


def _line(module: nn.Module, error: BaseException) -> str:
    source = source_of_loaded(type(module))
    line = "?" if source is None else line_of(source, error)
    return "" if source is None or line == "?" else f", {source.file_name}, line {line}"
