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
    """The process died here. Not an Exception, so that no handler mistakes it for an error of the program."""


class CountingFileSystem(files.FileSystem):
    """The real file system, counting calls and bytes written. Each call reports to `before` under its name."""

    def __init__(self) -> None:
        self.calls = 0
        self.written = 0

    def before(self, call: str) -> None:
        """Count one call that changes the disk. Reopening for appending counts: it can create a file."""
        self.calls += 1

    def open_new(self, path: Path) -> int:
        """Counted as "open_new"; then as in `FileSystem`."""
        self.before("open_new")
        return super().open_new(path)

    def open_append(self, path: Path) -> int:
        """Counted as "open_append"; then as in `FileSystem`."""
        self.before("open_append")
        return super().open_append(path)

    def write(self, descriptor: int, data: bytes | bytearray | memoryview) -> int:
        """Counted as "write", its bytes too; then as in `FileSystem`."""
        self.before("write")
        taken = super().write(descriptor, data)
        self.written += taken
        return taken

    def fsync(self, descriptor: int) -> None:
        """Counted as "fsync"; then as in `FileSystem`."""
        self.before("fsync")
        super().fsync(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        """Counted as "rename"; then as in `FileSystem`."""
        self.before("rename")
        super().rename(source, target)

    def truncate(self, path: Path, length: int) -> None:
        """Counted as "truncate"; then as in `FileSystem`."""
        self.before("truncate")
        super().truncate(path, length)

    def unlink(self, path: Path) -> None:
        """Counted as "unlink"; then as in `FileSystem`."""
        self.before("unlink")
        super().unlink(path)

    def mkdir(self, path: Path) -> None:
        """Counted as "mkdir"; then as in `FileSystem`."""
        self.before("mkdir")
        super().mkdir(path)

    def mkdir_new(self, path: Path) -> None:
        """Counted as "mkdir" like the call for parents; then as in `FileSystem`."""
        self.before("mkdir")
        super().mkdir_new(path)

    def fsync_folder(self, folder: Path) -> None:
        """Counted as "fsync_folder"; then as in `FileSystem`."""
        self.before("fsync_folder")
        super().fsync_folder(folder)


class FailAt(CountingFileSystem):
    """Fails at the n-th call with an errno, once or (`lasting`) from then on. A failing write writes half before.

    On a full disk removing and cutting files still work, so lasting failures spare the calls that free space.
    """

    def __init__(self, n: int, number: int, *, lasting: bool = False) -> None:
        super().__init__()
        self._n = n
        self._number = number
        self._lasting = lasting
        self.struck = False

    def before(self, call: str) -> None:
        """Raise the OSError when this call is due to fail."""
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
    """The process dies at the n-th call: nothing later reaches the disk. A write that dies writes half before."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self._n = n
        self.struck = False

    def before(self, call: str) -> None:
        """Raise Crash from the n-th call on. Closing still works: the kernel closes the files of a dead process."""
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
    """The power fails at the n-th call: what was not forced to the device is lost (worst case of fsync(2)).

    survives   says of a file whether its unforced bytes reached the device all the same: the kernel may write back any
               file at any time

    Appended bytes survive up to the last fsync of their file; creations, renames and removals up to the last fsync of
    their folder. Call `cut` when the process is dead.
    """

    def __init__(self, n: int, survives: Callable[[Path], bool] = lambda path: False) -> None:
        super().__init__(n)
        self._survives = survives
        self._paths: dict[int, Path] = {}
        self._forced: dict[Path, bytes] = {}
        """Bytes on the device, of each file with unforced changes."""
        self._entries: dict[Path, bytes | None] = {}
        """Bytes on the device, under each name whose folder was not forced; None where it has no such name."""

    def open_new(self, path: Path) -> int:
        """Neither the new name nor its bytes are on the device."""
        descriptor = super().open_new(path)
        self._paths[descriptor] = path
        self._entries.setdefault(path, None)
        self._forced[path] = b""
        return descriptor

    def open_append(self, path: Path) -> int:
        """A file created by this call is not on the device; of an existing one nothing changes yet."""
        there = path.exists()
        descriptor = super().open_append(path)
        self._paths[descriptor] = path
        if not there:
            self._entries.setdefault(path, None)
            self._forced[path] = b""
        return descriptor

    def write(self, descriptor: int, data: bytes | bytearray | memoryview) -> int:
        """Remember the bytes on the device before the first unforced write."""
        self._changing(self._paths[descriptor])
        return super().write(descriptor, data)

    def truncate(self, path: Path, length: int) -> None:
        """Remember the bytes on the device before the cut."""
        self._changing(path)
        super().truncate(path, length)

    def fsync(self, descriptor: int) -> None:
        """The file's bytes are on the device now."""
        super().fsync(descriptor)
        self._forced.pop(self._paths[descriptor], None)

    def rename(self, source: Path, target: Path) -> None:
        """The target's name still means the old file on the device; unforced bytes move along."""
        before = target.read_bytes() if target.exists() else None
        super().rename(source, target)
        self._entries.setdefault(target, before)
        self._entries.pop(source, None)
        if source in self._forced:
            self._forced[target] = self._forced.pop(source)

    def unlink(self, path: Path) -> None:
        """The name is still on the device, with its bytes."""
        before = path.read_bytes() if path.exists() else None
        super().unlink(path)
        self._entries.setdefault(path, before)
        self._forced.pop(path, None)

    def fsync_folder(self, folder: Path) -> None:
        """All names of the folder are on the device now."""
        super().fsync_folder(folder)
        self._entries = {path: before for path, before in self._entries.items() if path.parent != folder}

    def cut(self) -> None:
        """Make the disk hold what the device held when the power failed."""
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
