"""Values derived from files, kept so that a list of thousands need not read them all again.

A value counts as long as the files that it was derived from are those that they were: name, length, inode and the times
of change, which every write moves (stat(2), st_ctime). The file of values is a document that checks itself; one that is
missing, damaged or of another version is made anew. Nothing that decides (a check, an alarm, a report) reads from here.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from lockstep.core import files
from lockstep.core.errors import DiskError, IntegrityError
from lockstep.storage.documents import document_bytes, parse_document

_DOCUMENT: Final = "derived"
Stamp = list[list[Any]]


class DerivedValues:
    """Values by key, with the stamps of the files behind them. `version` names the form of the values."""

    def __init__(self, path: Path, version: str) -> None:
        self._path = path
        self._version = version
        self._old: Mapping[str, Any] = self._read()
        self._new: dict[str, Any] = {}

    def get(self, key: str, stamp: Stamp, derive: Callable[[], Any]) -> Any:
        """The value of `key` for files of this stamp, derived now where it is not there. JSON values only."""
        entry = self._old.get(key)
        if not (isinstance(entry, list) and len(entry) == 2 and entry[0] == stamp):
            entry = [stamp, derive()]
        self._new[key] = entry
        return entry[1]

    def save(self) -> None:
        """Keep the values that were asked for, where they are others than before. A home may be read-only."""
        if self._new != self._old:
            with contextlib.suppress(DiskError, TypeError):
                files.make_folder(self._path.parent)
                files.write_atomic(
                    self._path, document_bytes(_DOCUMENT, {"version": self._version, "values": self._new})
                )

    def _read(self) -> Mapping[str, Any]:
        try:
            body = parse_document(self._path.read_bytes(), _DOCUMENT, self._path)
        except (OSError, IntegrityError):
            return {}
        if not isinstance(body, dict) or body.get("version") != self._version:
            return {}
        values = body.get("values")
        return values if isinstance(values, dict) else {}


def stamp_of(folder: Path, names: frozenset[str]) -> Stamp:
    """The stamps of those of the named files that are directly in `folder`, sorted by name. Raises OSError."""
    with os.scandir(folder) as entries:
        states = [(entry.name, entry.stat(follow_symlinks=False)) for entry in entries if entry.name in names]
    return [[name, state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino] for name, state in sorted(states)]
