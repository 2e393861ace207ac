"""One writer at a time: the lock of a folder, which the operating system releases when its holder dies.

The folder may be a run's, a book's or a store's. The caller passes `Words`, so that a refusal names the thing that is
being written and what the user can do.

Several machines or containers may share a folder, and some file systems take a lock without honouring it (flock(2),
"NFS details"). So a holder writes its name into the file, changes the file's time every second, and empties the file
when it lets go. Who gets the lock, and finds the name of a holder there that another machine wrote or that the lock did
not keep out, watches the time before it writes.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lockstep.core import files
from lockstep.core.errors import RefusedError

LOCK_FILE: Final = "lock"
BEAT_S: Final = 1.0
"""Seconds between two signs of life of a holder."""
_WATCH_BEATS: Final = 3
_SETTLE_S: Final = 0.3
_PATIENCE_S: Final = 0.5
"""`is_locked` of another process holds the lock for an instant, so a first refusal may mean nothing."""
_POLL_S: Final = 0.02
_HOLDER_BYTES: Final = 1_000
_HOLDER: Final = re.compile(r"process [0-9]+ on .*\n")


@dataclass(frozen=True)
class Words:
    """How a refusal names what is locked: "one process at a time writes `thing`", and the cure."""

    thing: str
    cure: str


@contextmanager
def locked(folder: Path, words: Words, *, patience_s: float = _PATIENCE_S) -> Iterator[None]:
    """Hold `folder` against other writers for the length of a `with` block.

    patience_s   seconds to wait for another holder before giving up

    Raises RefusedError naming the holder, also where the file system does not honour locks and another process writes;
    DiskError when the folder cannot be written to.
    """
    path = folder / LOCK_FILE
    try:
        descriptor = files.fs.open_append(path)
    except OSError as error:
        raise files.disk_error("lock", path, error) from error
    beat = None
    try:
        _take(descriptor, path, words, patience_s)
        _require_there(descriptor, path)
        honoured = _is_honoured(path)
        _refuse_living_holder(path, words, honoured)
        try:
            files.fs.truncate(path, 0)
            files.fs.write(descriptor, f"{_name()}\n".encode())
        except OSError as error:
            raise files.disk_error("lock", path, error) from error
        beat = _Beat(descriptor)
        if not honoured:
            time.sleep(_SETTLE_S)  # two that came at once have both written by now, and read the same text
            if _holder(path) != _name():
                raise _refusal(path, words, _holder(path), honoured=False)
        yield
    finally:
        if beat is not None:
            beat.stop()
            # An empty file says that the holder let go. Its folder may have been removed meanwhile.
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, 0)
        with contextlib.suppress(OSError):
            files.fs.close(descriptor)


def is_locked(folder: Path) -> bool:
    """Whether a process holds the folder now. Raises DiskError."""
    path = folder / LOCK_FILE
    try:
        handle = path.open("rb")
    except FileNotFoundError:
        return False
    except OSError as error:
        raise files.disk_error("read", path, error) from error
    try:
        # Shared, so that two who only look do not refuse each other.
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        state = os.fstat(handle.fileno())
        if state.st_size == 0 or abs(time.time() - state.st_mtime) > _WATCH_BEATS * BEAT_S:
            return False
        # A holder gave a sign of life just now: it died since, or this file system let two through.
        holder = _holder(path)
        return bool(holder) and (not _is_of_this_machine(holder) or not _is_honoured(path))
    except BlockingIOError:
        return True
    except OSError as error:
        raise files.disk_error("read", path, error) from error
    finally:
        handle.close()


class _Beat:
    """Signs of life of a holder, from a thread of its own: a step of a training may take hours."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lockstep-lock", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        # Ctrl-C is for the main thread: delivered here, it would not wake what that waits for.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while not self._stopped.wait(BEAT_S):
            with contextlib.suppress(OSError):
                os.utime(self._descriptor)

    def stop(self) -> None:
        """End the thread; the descriptor may be closed afterwards."""
        self._stopped.set()
        self._thread.join()


def _name() -> str:
    host = socket.gethostname().encode("utf-8", errors="backslashreplace").decode()
    return f"process {os.getpid()} on {host}{_boot()}"


@functools.cache
def _boot() -> str:
    """Which start of which machine this is: many containers and servers bear one host name. Empty where Linux is not.

    Containers of one kernel share it, and the lock.
    """
    with contextlib.suppress(OSError):
        return f", started as {Path('/proc/sys/kernel/random/boot_id').read_text().strip()[:8]}"
    return ""


def _holder(path: Path) -> str:
    """What the lock file holds: the name of its holder, or nothing."""
    try:
        with path.open("rb") as handle:
            text = handle.read(_HOLDER_BYTES).decode(errors="replace")
    except OSError:
        return ""
    # A name that was written in half is nobody's: its writer failed, and went away.
    return text.strip() if _HOLDER.fullmatch(text) else ""


def _is_of_this_machine(holder: str) -> bool:
    return holder.endswith(_name().partition(" on ")[2])


def _take(descriptor: int, path: Path, words: Words, patience_s: float) -> None:
    deadline = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise _refusal(path, words, _holder(path), honoured=True) from None
            time.sleep(_POLL_S)
        except OSError as error:
            raise files.disk_error("lock", path, error) from error


def _require_there(descriptor: int, path: Path) -> None:
    """Raises DiskError when the folder was removed, or replaced by another, while this process waited for its lock."""
    try:
        there = os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        there = False
    except OSError as error:
        raise files.disk_error("lock", path, error) from error
    if not there:
        raise files.disk_error("lock", path, FileNotFoundError(errno.ENOENT, "it was removed meanwhile"))


def _is_honoured(path: Path) -> bool:
    """Whether this file system keeps a second holder out, while this process holds the lock, shared or alone."""
    try:
        with path.open("rb") as second:
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    return False


def _refuse_living_holder(path: Path, words: Words, honoured: bool) -> None:
    """Raises RefusedError when the holder whose name is in the file lives, although the lock let this process in."""
    holder = _holder(path)
    # On this machine an honoured lock is the truth: its holder died without emptying the file.
    if not holder or (honoured and _is_of_this_machine(holder)):
        return
    seen = path.stat().st_mtime_ns
    deadline = time.monotonic() + _WATCH_BEATS * BEAT_S
    while time.monotonic() < deadline:
        time.sleep(BEAT_S / 5)
        # Another name counts too: a third process may have come in between.
        if path.stat().st_mtime_ns != seen or _holder(path) != holder:
            raise _refusal(path, words, _holder(path) or holder, honoured=False)


def _refusal(path: Path, words: Words, holder: str, *, honoured: bool) -> RefusedError:
    unreliable = "" if honoured else " This file system does not honour locks between them, so be the only one."
    return RefusedError(
        f"one process at a time writes {words.thing}; {path.parent} is being written by "
        f"{holder.partition(', started as ')[0] or 'another process'}. "
        f"{words.cure}{unreliable}"
    )
