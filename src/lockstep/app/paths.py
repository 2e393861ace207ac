"""Check paths of the command line before any work is done for them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from lockstep.core.errors import InputError

_SNAPSHOT: Final = re.compile(r"[0-9a-f]{64}\..+")


def require_file(path: Path, what: str) -> None:
    """Raises InputError unless `path` is an existing file; `what` is its role in words."""
    if not path.exists():
        raise InputError(f"{path}: there is no such file. Check the path")
    if not path.is_file():
        raise InputError(f"{path}: {what} is one file; found a folder. Name the file")


def require_writable_name(path: Path, what: str) -> None:
    """Raises InputError unless `path` names a file, old or new, in an existing folder; `what` is its role in words."""
    require_outside_runs(path)
    if path.is_dir():
        raise InputError(f"{path}: {what} names a file; found a folder. Name a file in it")
    if not path.parent.is_dir():
        raise InputError(f"{path}: {what} names a file in a folder that is there; there is no {path.parent}. Create it")


def require_outside_runs(path: Path) -> None:
    """Raises InputError for a place in a run's folder, or that of a snapshot: both are sealed.

    `runs check` reports every file that the run did not write, and one that replaces a run's file destroys its record.
    """
    for place in {path.expanduser().absolute(), path.expanduser().resolve()}:
        for folder in (place, *place.parents):
            if (folder / "spec.json").exists() and (folder / "inputs.json").exists():
                raise InputError(f"{path}: lies in the folder of a run, {folder}, which is sealed. Name another place.")
        if _SNAPSHOT.fullmatch(place.name) and place.parent.name == "snapshots":
            raise InputError(f"{path}: the place of a snapshot, which runs rely on. Name another place.")
