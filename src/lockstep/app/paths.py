"""Check paths of the command line before any work is done for them."""

from __future__ import annotations

from pathlib import Path

from lockstep.core.errors import InputError


def require_file(path: Path, what: str) -> None:
    """Raises InputError unless `path` is an existing file; `what` is its role in words."""
    if not path.exists():
        raise InputError(f"{path}: there is no such file. Check the path")
    if not path.is_file():
        raise InputError(f"{path}: {what} is one file; found a folder. Name the file")


def require_writable_name(path: Path, what: str) -> None:
    """Raises InputError unless `path` names a file, old or new, in an existing folder; `what` is its role in words."""
    if path.is_dir():
        raise InputError(f"{path}: {what} names a file; found a folder. Name a file in it")
    if not path.parent.is_dir():
        raise InputError(f"{path}: {what} names a file in a folder that is there; there is no {path.parent}. Create it")
