"""Files that a strategy writes while it decides: a way to keep something between calls.

Python tells an audit hook of every file that is opened. A hook cannot be taken away, so there is one for the process,
which does nothing outside of `TouchedFiles.watched`, and nothing in other threads.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from lockstep.core import files
from lockstep.core.errors import LockstepError
from lockstep.core.hashing import blake3_hex

_CODE: Final = (".py", ".pyc", ".nbi", ".nbc", ".so")
"""Files of Python and numba that come and go as code is loaded."""
_EVENTS: Final = frozenset({"open", "os.rename", "sqlite3.connect"})
_WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_SYSTEM: Final = tuple({sys.prefix, sys.base_prefix, "/usr/", "/etc/", "/lib"})
_watching: dict[int, TouchedFiles] = {}
_hooked = False


class TouchedFiles:
    """Files that were written while a question was answered, and what was in them before."""

    def __init__(self) -> None:
        self._before: dict[str, bytes | None] = {}
        self._read: set[str] = set()
        self._appended: set[str] = set()
        self._reading_alone = False

    @contextmanager
    def watched(self, *, reading: bool = False) -> Iterator[None]:
        """Note the files that this thread opens in the block; with `reading`, those alone that it reads."""
        _hook()
        thread = threading.get_ident()
        self._reading_alone = reading
        _watching[thread] = self
        try:
            yield
        finally:
            _watching.pop(thread, None)

    def read_data(self) -> list[str]:
        """Files that were read and not written, sorted; those of Python, of packages and of the system left out."""
        names = sorted(self._read - self._before.keys())
        return [name for name in names if not name.startswith(_SYSTEM) and "site-packages" not in Path(name).parts]

    def entries(self) -> Counter[tuple[str, str]]:
        """Place and digest of each file that was written and could be read again."""
        entries: Counter[tuple[str, str]] = Counter()
        for path in self._kept():
            content = _content(path)
            if content is not None:
                entries[f"the file {path}", blake3_hex(content)] += 1
        return entries

    def restore(self) -> None:
        """Put the files back as they were; those that were not there are removed."""
        for path in self._kept():
            before = self._before[path]
            with contextlib.suppress(LockstepError, OSError):
                if before is None:
                    files.remove(Path(path))
                elif _content(path) != before:
                    files.write_atomic(Path(path), before)

    def _kept(self) -> list[str]:
        # A log that is only appended to is no memory, and whoever writes it may still have it open.
        return sorted(self._before.keys() - (self._appended - self._read))

    def note(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Take one event of the audit hook. Reads a file before it is written for the first time."""
        if event == "os.rename":
            self._written(arguments[1])
        elif event == "sqlite3.connect":
            self._written(arguments[0])
            self._looked_at(arguments[0])
        else:
            path, mode, flags = arguments
            writes = any(letter in mode for letter in "wax+") if isinstance(mode, str) else bool(flags & _WRITING)
            if writes:
                self._written(path, appends="a" in str(mode))
            if not writes or "+" in str(mode):
                self._looked_at(path)

    def _written(self, path: Any, *, appends: bool = False) -> None:
        name = _name(path)
        if name is None or self._reading_alone:
            return
        if name not in self._before:
            self._before[name] = _content(name)
            self._appended |= {name} if appends else set()
        elif not appends:
            self._appended.discard(name)

    def _looked_at(self, path: Any) -> None:
        name = _name(path)
        # Only what was there to be read: a strategy that looks for its file first has not read it.
        if name is not None and Path(name).exists():
            self._read.add(name)


def _name(path: Any) -> str | None:
    if isinstance(path, int) or path is None:
        return None
    name = str(Path(os.fsdecode(path)).absolute())
    if name.startswith("/dev/shm/"):  # noqa: S108 - a folder in memory, where people put files
        return None if name.endswith(_CODE) else name
    return None if name.endswith(_CODE) or name.startswith(("/dev/", "/proc/", "/sys/")) else name


def _content(path: str) -> bytes | None:
    try:
        return Path(path).read_bytes()
    except OSError:
        return None


def _hook() -> None:
    global _hooked
    if not _hooked:
        _hooked = True
        sys.addaudithook(_take)


def _take(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watching or event not in _EVENTS:
        return
    thread = threading.get_ident()
    # Taken out while it works: reading a file is an event itself.
    touched = _watching.pop(thread, None)
    if touched is None:
        return
    try:
        # Raised here, an error would come out of the strategy's own call.
        with contextlib.suppress(Exception):
            touched.note(event, arguments)
    finally:
        _watching[thread] = touched
