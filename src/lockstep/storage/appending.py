"""Append one record to a file whole, or leave the file as it was, as far as a disk allows."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from lockstep.core import files


def append_whole(handle: files.AppendFile, pieces: Iterable[bytes | memoryview]) -> None:
    """Append the pieces of one record. Raises DiskError.

    After a failure, or Ctrl-C in the middle, the file is closed and cut back to where it was. A disk that refuses
    even that, and a process that dies, leave a torn tail, which the next resume cuts.
    """
    length = handle.length
    try:
        for piece in pieces:
            handle.append(piece)
    except BaseException:
        handle.close()
        with contextlib.suppress(OSError):  # the first error is the one to report
            files.fs.truncate(handle.path, length)
        raise
