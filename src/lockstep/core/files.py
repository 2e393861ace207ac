"""Every write of Lockstep, in one place, so that durability is one decision and faults can be injected in one place.

`fs` is the file system in use. Tests put a failing one there; nothing else in the package opens a file for
writing. Reading needs no such care: what is read is checked against a digest.

Rules (docs of fsync(2), rename(2); Pillai et al., OSDI 2014; Rebello et al., ATC 2020):

- A new file is written under a temporary name, fsynced, renamed, and then its folder is fsynced: after a power
  cut the old or the new file is there, whole.
- After a failed fsync nothing is retried on the same file: the kernel may have marked the pages clean. The
  temporary file is removed and the error is reported.
- Appends may leave a torn tail after a crash; whoever appends must be able to recognise and cut it.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from lockstep.core.errors import DiskError

TEMPORARY_SUFFIX: Final = ".lockstep-tmp"
ABANDONED_S: Final = 24 * 3600.0
"""Seconds after which a file that nobody holds, and nobody has written to, belongs to nobody."""
_CURES: Final = {
    errno.ENOSPC: "The disk is full: free some space, then resume.",
    errno.EDQUOT: "The disk quota is used up: free some space, then resume.",
    errno.EROFS: "The file system is read-only: choose another folder (LOCKSTEP_HOME) or remount it.",
    errno.EACCES: "Permission is denied: choose a folder you may write to (LOCKSTEP_HOME) or change its permissions.",
    errno.EPERM: "Permission is denied: choose a folder you may write to (LOCKSTEP_HOME) or change its permissions.",
    errno.EIO: "The device reported an error: check its health, then resume on a sound one.",
    errno.ENOENT: "The path does not exist: check its spelling.",
    errno.ENOTDIR: "A part of the path is a file, not a folder: choose another folder.",
    errno.EEXIST: "Something is already there: choose another name.",
    errno.EMFILE: "Too many files are open: raise the limit (ulimit -n).",
}


_READ_CURES: Final = {
    errno.EACCES: "Permission is denied: change its permissions, or read it as a user who may.",
    errno.EPERM: "Permission is denied: change its permissions, or read it as a user who may.",
    errno.EIO: "The device reported an error: check its health, and restore the file from a copy.",
}
_ABSENT: Final = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP}


def disk_error(action: str, path: Path, error: OSError) -> DiskError:
    """A DiskError saying what could not be done where, why, and what cures it."""
    cures = {**_CURES, **_READ_CURES} if action == "read" else _CURES
    cure = cures.get(error.errno or 0, "Check the path and the disk, then try again.")
    return DiskError(f"cannot {action} {path}: {error.strerror or error}. {cure}")


def is_unreadable(error: BaseException) -> bool:
    """Whether an error says that a file is there and could not be read: nobody knows then what it holds."""
    cause = error.__cause__
    return isinstance(error, DiskError) and isinstance(cause, OSError) and cause.errno not in _ABSENT


class FileSystem:
    """The operating system's calls that change something on disk, one method each."""

    def open_new(self, path: Path) -> int:
        """Create `path`, which must not exist, for writing."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)

    def open_append(self, path: Path) -> int:
        """Open `path` for appending, creating it where it is missing."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def write(self, descriptor: int, data: bytes | bytearray | memoryview) -> int:
        """Write some of `data`; returns how many bytes were taken."""
        return os.write(descriptor, data)

    def fsync(self, descriptor: int) -> None:
        """Force what was written to the device."""
        os.fsync(descriptor)

    def close(self, descriptor: int) -> None:
        """Close a descriptor without forcing its data to the device."""
        os.close(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        """Put `source` in the place of `target`, atomically."""
        source.replace(target)

    def truncate(self, path: Path, length: int) -> None:
        """Cut `path` to `length` bytes."""
        os.truncate(path, length)

    def unlink(self, path: Path) -> None:
        """Remove a file. Raises FileNotFoundError where there is none."""
        path.unlink()

    def mkdir(self, path: Path) -> None:
        """Create a folder and its parents, unless they are there."""
        path.mkdir(parents=True, exist_ok=True)

    def mkdir_new(self, path: Path) -> None:
        """Create a folder, which must not exist."""
        path.mkdir()

    def fsync_folder(self, folder: Path) -> None:
        """Force a folder's entries (creations, renames, removals) to the device."""
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


fs: FileSystem = FileSystem()


def _write_all(descriptor: int, data: bytes | bytearray | memoryview) -> None:
    # write(2) may take less than it is given: on a nearly full disk, after a signal, above 2 GiB.
    rest = memoryview(data).cast("B")
    while rest:
        rest = rest[fs.write(descriptor, rest) :]


def open_null(*, writing: bool) -> int:
    """A descriptor of the lowest free number that gives nothing, or takes everything."""
    return os.open(os.devnull, os.O_WRONLY if writing else os.O_RDONLY)


def make_folder(path: Path) -> None:
    """Create a folder and its parents durably. Raises DiskError."""
    if path.is_dir():
        return
    try:
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        fs.mkdir(path)
        # A folder is on the device when its entry in the folder above is, and that one's, and so on.
        for folder in reversed(missing):
            fs.fsync_folder(folder.parent)
    except OSError as error:
        raise disk_error("create the folder", path, error) from error


def make_new_folder(path: Path) -> Path:
    """Create a folder of our own, durably: `path`, or `path` with _2, _3 ... where that name is taken; returns it.

    Raises DiskError.
    """
    make_folder(path.parent)
    for number in itertools.count(1):
        candidate = path if number == 1 else path.with_name(f"{path.name}_{number}")
        try:
            fs.mkdir_new(candidate)
            fs.fsync_folder(candidate.parent)
        except FileExistsError:
            continue
        except OSError as error:
            raise disk_error("create the folder", candidate, error) from error
        break
    return candidate


def temporary_path(path: Path) -> Path:
    """The file where this process and thread write the next `path`: no two writers share one, the last rename wins."""
    return path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}{TEMPORARY_SUFFIX}")


def write_atomic(path: Path, data: bytes | bytearray | memoryview) -> None:
    """Replace `path` by `data`, durably: afterwards it is whole, and before that the old file is whole.

    Raises DiskError, leaving the old file and no temporary one behind.
    """
    temporary = temporary_path(path)
    try:
        # A process that died may have had this very id and left its temporary file.
        with contextlib.suppress(FileNotFoundError):
            fs.unlink(temporary)
        descriptor = fs.open_new(temporary)
        try:
            _write_all(descriptor, data)
            fs.fsync(descriptor)
        finally:
            fs.close(descriptor)
        fs.rename(temporary, path)
        fs.fsync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            fs.unlink(temporary)
        raise disk_error("write", path, error) from error
    # Ctrl-C too: otherwise a temporary file would stay for each interruption of a long write.
    except BaseException:
        with contextlib.suppress(OSError):
            fs.unlink(temporary)
        raise


class AppendFile:
    """An append-only file. A crash may leave a torn tail; the owner of the format cuts it.

    After a failed write or fsync the handle refuses further use, because what reached the disk is unknown.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None
        created = not path.exists()
        try:
            self._descriptor = fs.open_append(path)
            self.length = path.stat().st_size
            if created:
                fs.fsync_folder(path.parent)
        except OSError as error:
            self.close()
            raise disk_error("open", path, error) from error

    def append(self, data: bytes | bytearray | memoryview) -> None:
        """Append `data` and hand it to the operating system: it survives the process, not yet a power cut."""
        descriptor = self._usable()
        try:
            _write_all(descriptor, data)
        except OSError as error:
            self.close()
            raise disk_error("append to", self.path, error) from error
        self.length += memoryview(data).nbytes

    def sync(self) -> None:
        """Force everything appended so far to the device."""
        descriptor = self._usable()
        try:
            fs.fsync(descriptor)
        except OSError as error:
            self.close()
            raise disk_error("force to disk", self.path, error) from error

    def close(self) -> None:
        """Close the file. Closing twice does nothing."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            with contextlib.suppress(OSError):
                fs.close(descriptor)

    def _usable(self) -> int:
        if self._descriptor is None:
            raise DiskError(f"{self.path} was closed, perhaps after a failed write; open it anew and cut its torn tail")
        return self._descriptor

    def __enter__(self) -> AppendFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def truncate(path: Path, length: int) -> None:
    """Cut `path` to `length` bytes, durably. Raises DiskError."""
    try:
        fs.truncate(path, length)
        # Truncation alone does not reach the device: a power cut could bring the old tail back.
        descriptor = fs.open_append(path)
        try:
            fs.fsync(descriptor)
        finally:
            fs.close(descriptor)
    except OSError as error:
        raise disk_error("cut", path, error) from error


def remove(path: Path) -> None:
    """Remove a file, durably; a missing one is fine. Raises DiskError."""
    try:
        with contextlib.suppress(FileNotFoundError):
            fs.unlink(path)
            fs.fsync_folder(path.parent)
    except OSError as error:
        raise disk_error("remove", path, error) from error


def temporary_files(folder: Path) -> Iterator[Path]:
    """Temporary files that a crash left anywhere below `folder`."""
    return (path for path in folder.rglob("*") if is_temporary(path.name) and path.is_file())


def is_temporary(name: str) -> bool:
    """Whether a file of this name is an unfinished one of `write_atomic`."""
    return name.startswith(".") and name.endswith(TEMPORARY_SUFFIX)


def remove_temporary(folder: Path) -> None:
    """Remove what a crash left half-written below `folder`. The caller holds the folder's lock."""
    for path in list(temporary_files(folder)):
        remove(path)


def remove_abandoned(folder: Path) -> None:
    """Remove temporary files directly in `folder` that nobody has written to for a day.

    Their writers may live on another machine or in another container, where a process id of this one says nothing.
    """
    for path in list(folder.glob(f".*{TEMPORARY_SUFFIX}")):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > ABANDONED_S:
                remove(path)


def require_readable(paths: Iterable[Path]) -> None:
    """Raises DiskError for the first file that cannot be opened."""
    for path in paths:
        try:
            path.open("rb").close()
        except OSError as error:
            raise disk_error("read", path, error) from error


def read_bytes(path: Path) -> bytes:
    """The bytes of a file. Raises DiskError when it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise disk_error("read", path, error) from error
