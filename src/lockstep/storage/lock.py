"""One writer at a time: the lock of a folder, which the operating system releases when its holder dies.

The folder may be a run's, a book's or a store's. The caller passes `Words`, so that a refusal names the thing that is
being written and what the user can do.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lockstep.core import files
from lockstep.core.errors import RefusedError

LOCK_FILE: Final = "lock"
_PATIENCE_S: Final = 0.5
"""`is_locked` of another process holds the lock for an instant, so a first refusal may mean nothing."""
_POLL_S: Final = 0.02


@dataclass(frozen=True)
class Words:
    """How a refusal names what is locked: "one process at a time writes `thing`", and the cure."""

    thing: str
    cure: str


@contextmanager
def locked(folder: Path, words: Words, *, patience_s: float = _PATIENCE_S) -> Iterator[None]:
    """Hold `folder` against other writers for the length of a `with` block.

    patience_s   seconds to wait for another holder before giving up

    Raises RefusedError naming the holder, DiskError when the folder cannot be written to.
    """
    path = folder / LOCK_FILE
    try:
        descriptor = files.fs.open_append(path)
    except OSError as error:
        raise files.disk_error("lock", path, error) from error
    try:
        _take(descriptor, path, words, patience_s)
        try:
            # Only for the message of a refusal: the lock is the kernel's, and what the file holds decides nothing.
            files.fs.truncate(path, 0)
            files.fs.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        except OSError as error:
            raise files.disk_error("lock", path, error) from error
        yield
    finally:
        with contextlib.suppress(OSError):
            files.fs.close(descriptor)


def is_locked(folder: Path) -> bool:
    """Whether a process holds the folder now. Raises DiskError."""
    path = folder / LOCK_FILE
    try:
        # Shared, so that two who only look do not refuse each other.
        with path.open("rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    except OSError as error:
        raise files.disk_error("read", path, error) from error
    return False


def _take(descriptor: int, path: Path, words: Words, patience_s: float) -> None:
    deadline = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                holder = path.read_text(errors="replace").strip() or "another process"
                raise RefusedError(
                    f"one process at a time writes {words.thing}; {path.parent} is being written by {holder}. "
                    f"{words.cure}"
                ) from None
            time.sleep(_POLL_S)
        except OSError as error:
            raise files.disk_error("lock", path, error) from error
