"""The three standard streams as a command needs them, whatever it was started with.

cron and daemons may close some of them: then the next file that is opened would get the number of standard output, and
what is printed would be written into it. Under `--json` standard output belongs to the result alone: what user code
prints there, in this process or in workers, goes to standard error.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from lockstep.core.files import open_null

_results: TextIO | None = None
_descriptor: int | None = None


def open_missing() -> None:
    """Open what the process was started without, on nothing; and let no character that a stream lacks end a command."""
    for number, name in ((0, "stdin"), (1, "stdout"), (2, "stderr")):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is taken, and those below are in use.
            os.set_inheritable(open_null(writing=number != 0), True)
        if getattr(sys, name) is None:
            mode = "r" if number == 0 else "w"
            # Open to the end of the process, as those that Python makes by itself are.
            stream = open(number, mode, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
    for shown in (sys.stdout, sys.stderr):
        if isinstance(shown, io.TextIOWrapper):
            shown.reconfigure(errors="backslashreplace")


def results() -> TextIO:
    """Where results go: standard output, also while `results_apart` keeps everything else from it."""
    return sys.stdout if _results is None else _results


@contextmanager
def results_apart() -> Iterator[None]:
    """Within the block, standard output is for `results` alone; whatever else is printed goes to standard error."""
    global _results, _descriptor
    shown, number = sys.stdout, _number_of(sys.stdout)
    _results = shown
    if number == 1 and _number_of(sys.stderr) == 2:
        shown.flush()
        _descriptor = os.dup(1)
        os.dup2(2, 1)
        _results = open(  # noqa: SIM115 - `restore` ends its use
            _descriptor, "w", encoding=shown.encoding, errors="backslashreplace", closefd=False
        )
    sys.stdout = sys.stderr
    try:
        yield
    finally:
        restore()
        sys.stdout = shown


def restore() -> None:
    """Give standard output back: at the end, and before this process is replaced by another."""
    global _results, _descriptor
    stream, _results = _results, None
    if stream is not None:
        with contextlib.suppress(BrokenPipeError, ValueError):
            stream.flush()
    if _descriptor is not None:
        number, _descriptor = _descriptor, None
        os.dup2(number, 1)
        os.close(number)


def _number_of(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (OSError, ValueError, AttributeError):
        return None
