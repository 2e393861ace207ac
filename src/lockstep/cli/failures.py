"""An error becomes one message and one exit code; a traceback is shown on request, and for defects of our own.

0    done, or equal
1    not equal, or refused
2    the input cannot be used
3    not comparable: other code or numerics
4    the machine: disk, memory, processes
70   a defect in Lockstep itself (EX_SOFTWARE), so that no script mistakes it for "not equal"
130  interrupted
"""

from __future__ import annotations

import errno
import sys
import traceback
from dataclasses import dataclass
from typing import Final

import typer

from lockstep.cli.output import json_line
from lockstep.cli.streams import results
from lockstep.core.errors import Interrupted, LockstepError, MachineError
from lockstep.core.printable import printable

DEFECT: Final = 70
INTERRUPTED: Final = Interrupted.exit_code
# Typer has carried its own copy of click since 0.21; a public name leads to the base class of "wrong usage".
UsageError: Final[type[Exception]] = typer.BadParameter.__mro__[1]
_FULL_DISK: Final = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
_MACHINE: Final = {
    errno.EACCES,
    errno.EPERM,
    errno.EIO,
    errno.ESTALE,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.ETIMEDOUT,
    errno.ENODEV,
    errno.ENXIO,
}
"""What a file system answers for reasons of its own: a bad sector, a share that went away, permissions."""
_HELP: Final = "Usage: "
REPORT_AT: Final = "https://github.com/lockstep-trading/lockstep/issues"


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What a user sees of an error: its type's name, the message, the exit code of the process."""

    type: str
    message: str
    exit_code: int


def describe(error: BaseException) -> Failure:
    """Turn an exception into message and exit code; what we did not raise on purpose is a defect of ours."""
    kind = type(error).__name__
    if isinstance(error, LockstepError):
        return Failure(type=kind, message=str(error), exit_code=error.exit_code)
    if isinstance(error, UsageError):
        return Failure(type="UsageError", message=_usage(error), exit_code=2)
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return Failure(type="Interrupted", message="interrupted", exit_code=INTERRUPTED)
    if isinstance(error, MemoryError):
        message = (
            "out of memory. Use fewer workers (--workers), fewer bars ([data] last), or a machine with more memory."
        )
        return Failure(type="MemoryError", message=message, exit_code=MachineError.exit_code)
    if isinstance(error, OSError) and error.errno in _FULL_DISK:
        # It may be any disk: that of the home, of temporary files, or of the compiled kernels.
        message = (
            f"{error.filename or 'a file'}: {error.strerror}. Free some space there; or put runs (--home), temporary "
            "files (TMPDIR) or compiled kernels (NUMBA_CACHE_DIR) elsewhere, whichever it is."
        )
        return Failure(type="DiskError", message=message, exit_code=MachineError.exit_code)
    if isinstance(error, OSError) and error.errno in _MACHINE:
        message = (
            f"{error.filename or 'a file'}: {error.strerror}. Check permissions and the disk's health, then try again."
        )
        return Failure(type="DiskError", message=message, exit_code=MachineError.exit_code)
    message = (
        f"a defect in Lockstep, not in your input: {kind}: {error}\n"
        f"Please report it, with the command, what is above and the output of `lockstep version`: {REPORT_AT}"
    )
    return Failure(type=kind, message=message, exit_code=DEFECT)


def _usage(error: Exception) -> str:
    format_message = getattr(error, "format_message", None)
    text = str(format_message() if callable(format_message) else error)
    context = getattr(error, "ctx", None)
    if context is None or text.startswith(_HELP):  # a group without a command shows its help
        return text
    if not text.endswith((".", "!", "?")):
        text += "."
    return f"{text} See `{context.command_path} --help`."


def tell(error: BaseException, *, json: bool, verbose: bool) -> int:
    """Report `error`: JSON on stdout under --json, words on stderr otherwise. Returns the exit code."""
    failure = describe(error)
    if verbose or failure.exit_code == DEFECT:
        traceback.print_exception(error, file=sys.stderr)
    if json:
        body = {"type": failure.type, "message": failure.message, "exit_code": failure.exit_code}
        stream = results()
        stream.write(json_line({"error": body}) + "\n")
        stream.flush()
    else:
        prefix = "" if failure.message.startswith(_HELP) else "lockstep: "
        sys.stderr.write(printable(f"{prefix}{failure.message}") + "\n")
    sys.stderr.flush()
    return failure.exit_code
