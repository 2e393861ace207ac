"""Folders for work that is under way: each is held by the lock in it, so that nobody clears it while its maker lives.

A process id says nothing about a process of another machine, or of another container, that shares the folder.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from lockstep.core import files
from lockstep.core.errors import DiskError, RefusedError
from lockstep.storage.lock import LOCK_FILE, Words, locked

_WORDS: Final = Words("a folder for work under way", "Try again.")
_ATTEMPTS: Final = 5


@contextmanager
def claimed(parent: Path, prefix: str) -> Iterator[Path]:
    """A new folder in `parent` whose name begins with `prefix`, held by its lock and removed at the end of the block.

    It holds a file `lock` and nothing else. Raises DiskError.
    """
    for attempt in range(_ATTEMPTS):
        try:
            folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        except OSError as error:
            raise files.disk_error("create a folder in", parent, error) from error
        try:
            claim = locked(folder, _WORDS)
            claim.__enter__()
        except (RefusedError, DiskError):
            # Somebody who clears up may have come between folder and lock: then there is no folder any more.
            gone = not folder.exists()
            shutil.rmtree(folder, ignore_errors=True)
            if gone and attempt < _ATTEMPTS - 1:
                continue
            raise
        break
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        claim.__exit__(None, None, None)


def clear_abandoned(parent: Path, *prefixes: str) -> None:
    """Remove the folders in `parent` with these prefixes that no process holds. Removes nothing that it cannot lock."""
    for folder in sorted(path for prefix in prefixes for path in parent.glob(f"{prefix}*")):
        if not folder.is_dir() or folder.is_symlink():
            continue
        try:
            if not (folder / LOCK_FILE).exists():
                if is_old(folder):
                    shutil.rmtree(folder, ignore_errors=True)
                continue
            with locked(folder, _WORDS, patience_s=0.0):
                shutil.rmtree(folder, ignore_errors=True)
        except (RefusedError, DiskError):
            continue  # it is in use, or another process clears it


def is_old(path: Path) -> bool:
    """Whether nothing was changed directly in `path` for a day: earlier versions left folders without a lock."""
    try:
        return time.time() - path.stat().st_mtime > files.ABANDONED_S
    except OSError:
        return False
