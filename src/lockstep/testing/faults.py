"""A file system that fails at the n-th call: the way to try every crash and every full disk there can be.

for n in itertools.count(1):
    with faults(FailAt(n, ENOSPC)) as disk:
        ...                                     # must end in DiskError, with nothing torn
    if not disk.struck:
        break                                   # the work made fewer than n calls: all were tried
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from lockstep.core import files


class Crash(BaseException):
    """The process died here. Not an Exception, so that no handler takes it for an error of the program."""


class CountingFileSystem(files.FileSystem):
    """The real file system, counting calls and bytes written."""

    def __init__(self) -> None:
        self.calls = 0
        self.written = 0

    def before(self, call: str) -> None:
        """Called before each call that changes the disk. Reopening for appending counts: it can create a file."""
        self.calls += 1

    def open_new(self, path: Path) -> int:
        """See `FileSystem`."""
        self.before("open_new")
        return super().open_new(path)

    def open_append(self, path: Path) -> int:
        """See `FileSystem`."""
        self.before("open_append")
        return super().open_append(path)

    def write(self, descriptor: int, data: bytes | bytearray | memoryview) -> int:
        """See `FileSystem`."""
        self.before("write")
        taken = super().write(descriptor, data)
        self.written += taken
        return taken

    def fsync(self, descriptor: int) -> None:
        """See `FileSystem`."""
        self.before("fsync")
        super().fsync(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        """See `FileSystem`."""
        self.before("rename")
        super().rename(source, target)

    def truncate(self, path: Path, length: int) -> None:
        """See `FileSystem`."""
        self.before("truncate")
        super().truncate(path, length)

    def unlink(self, path: Path) -> None:
        """See `FileSystem`."""
        self.before("unlink")
        super().unlink(path)

    def mkdir(self, path: Path) -> None:
        """See `FileSystem`."""
        self.before("mkdir")
        super().mkdir(path)

    def fsync_folder(self, folder: Path) -> None:
        """See `FileSystem`."""
        self.before("fsync_folder")
        super().fsync_folder(folder)


class FailAt(CountingFileSystem):
    """Fails at the n-th call with an errno, once or (`lasting`) from then on. A failing write writes half before.

    Lasting failures leave what frees space alone: removing and cutting files work on a full disk.
    """

    def __init__(self, n: int, number: int, *, lasting: bool = False) -> None:
        super().__init__()
        self._n = n
        self._number = number
        self._lasting = lasting
        self.struck = False

    def before(self, call: str) -> None:
        """Fail when it is time."""
        super().before(call)
        frees = call in ("unlink", "truncate", "fsync_folder")
        if self.calls == self._n or (self._lasting and self.calls > self._n and not frees):
            self.struck = True
            raise OSError(self._number, os.strerror(self._number))

    def write(self, descriptor: int, data: bytes | bytearray | memoryview) -> int:
        """Half of the data reaches the disk before the failure."""
        if self.calls + 1 == self._n:
            os.write(descriptor, memoryview(data)[: len(data) // 2])
        return super().write(descriptor, data)


class CrashAt(CountingFileSystem):
    """The process dies at the n-th call: nothing after it reaches the disk. A write that dies writes half before."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self._n = n
        self.struck = False

    def before(self, call: str) -> None:
        """Die when it is time, and stay dead. Closing still works: the kernel closes what a dead process had open."""
        super().before(call)
        if self.calls >= self._n:
            self.struck = True
            raise Crash

    def write(self, descriptor: int, data: bytes | bytearray | memoryview) -> int:
        """Half of the data reaches the disk before the death."""
        if self.calls + 1 == self._n:
            os.write(descriptor, memoryview(data)[: len(data) // 2])
        return super().write(descriptor, data)


Disk = TypeVar("Disk", bound=files.FileSystem)


@contextmanager
def faults(disk: Disk) -> Iterator[Disk]:
    """Put `disk` in the place of the file system for the block."""
    before = files.fs
    files.fs = disk
    try:
        yield disk
    finally:
        files.fs = before
