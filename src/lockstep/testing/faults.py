"""A file system that fails at the n-th call: the way to try every crash and every full disk there can be.

for n in itertools.count(1):
    with faults(FailAt(n, ENOSPC)) as disk:
        ...                                     # must end in DiskError, with nothing torn
    if not disk.struck:
        break                                   # the work made fewer than n calls: all were tried
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
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

    def mkdir_new(self, path: Path) -> None:
        """See `FileSystem`."""
        self.before("mkdir")
        super().mkdir_new(path)

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


class PowerCutAt(CrashAt):
    """The power fails at the n-th call: what was not forced to the device is gone (worst case of fsync(2)).

    Appended bytes survive up to the last fsync of their file; creations, renames and removals up to the last fsync of
    their folder. `survives` names files whose unforced bytes reached the device all the same: the kernel may write
    back any file at any time. Call `cut` when the process is dead.
    """

    def __init__(self, n: int, survives: Callable[[Path], bool] = lambda path: False) -> None:
        super().__init__(n)
        self._survives = survives
        self._paths: dict[int, Path] = {}
        self._forced: dict[Path, bytes] = {}
        """What is on the device of files that have unforced changes."""
        self._entries: dict[Path, bytes | None] = {}
        """What is on the device under names whose folder was not forced; None: nothing."""

    def open_new(self, path: Path) -> int:
        """See `FileSystem`."""
        descriptor = super().open_new(path)
        self._paths[descriptor] = path
        self._entries.setdefault(path, None)
        self._forced[path] = b""
        return descriptor

    def open_append(self, path: Path) -> int:
        """See `FileSystem`."""
        there = path.exists()
        descriptor = super().open_append(path)
        self._paths[descriptor] = path
        if not there:
            self._entries.setdefault(path, None)
            self._forced[path] = b""
        return descriptor

    def write(self, descriptor: int, data: bytes | bytearray | memoryview) -> int:
        """See `FileSystem`."""
        self._changing(self._paths[descriptor])
        return super().write(descriptor, data)

    def truncate(self, path: Path, length: int) -> None:
        """See `FileSystem`."""
        self._changing(path)
        super().truncate(path, length)

    def fsync(self, descriptor: int) -> None:
        """See `FileSystem`."""
        super().fsync(descriptor)
        self._forced.pop(self._paths[descriptor], None)

    def rename(self, source: Path, target: Path) -> None:
        """See `FileSystem`."""
        before = target.read_bytes() if target.exists() else None
        super().rename(source, target)
        self._entries.setdefault(target, before)
        self._entries.pop(source, None)
        if source in self._forced:
            self._forced[target] = self._forced.pop(source)

    def unlink(self, path: Path) -> None:
        """See `FileSystem`."""
        before = path.read_bytes() if path.exists() else None
        super().unlink(path)
        self._entries.setdefault(path, before)
        self._forced.pop(path, None)

    def fsync_folder(self, folder: Path) -> None:
        """See `FileSystem`."""
        super().fsync_folder(folder)
        self._entries = {path: before for path, before in self._entries.items() if path.parent != folder}

    def cut(self) -> None:
        """Leave on the disk what the device held."""
        for path, content in self._forced.items():
            if path.exists() and not self._survives(path):
                path.write_bytes(content)
        for path, before in self._entries.items():
            if before is not None:
                path.write_bytes(before)
            elif path.exists():
                path.unlink()

    def _changing(self, path: Path) -> None:
        if path not in self._forced and path.exists():
            self._forced[path] = path.read_bytes()


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
