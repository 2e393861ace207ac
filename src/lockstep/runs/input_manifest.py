"""inputs.json: length and digest of a run's files before its first step, so that a change of them is noticed."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from lockstep.core.errors import DiskError
from lockstep.core.files import is_unreadable
from lockstep.core.hashing import digest_file
from lockstep.runs.audit import Problem
from lockstep.runs.folder import IDENTITY_DOCUMENTS, RunFolder

INPUT_DOCUMENTS: Final = frozenset(f"{kind}.json" for kind in (*IDENTITY_DOCUMENTS, "environment"))


def file_entry(path: Path) -> dict[str, object]:
    """Length and digest of a file, as manifests list them. Raises DiskError."""
    digest = digest_file(path)
    return {"blake3": digest, "length": path.stat().st_size}


def is_input(name: str) -> bool:
    """Whether a file of this relative name exists before a run's first step."""
    return name in INPUT_DOCUMENTS or name.startswith("code/")


def write_inputs(folder: RunFolder) -> None:
    """List all input files with length and digest. Raises DiskError."""
    entries = {name: file_entry(path) for name, path in folder.listing().items() if is_input(name)}
    folder.write("inputs", {"files": entries})


def input_problems(folder: RunFolder) -> list[Problem]:
    """Inputs that are missing, changed or new since inputs.json was written. Raises IntegrityError, DiskError."""
    listed = folder.read("inputs")["files"]
    paths = {name: path for name, path in folder.listing().items() if is_input(name)}
    return list_problems(folder, listed, paths)


def list_problems(folder: RunFolder, listed: dict[str, dict[str, object]], paths: dict[str, Path]) -> list[Problem]:
    """A problem for each file that is missing, changed or not listed; `paths` are those that exist."""
    problems = []
    for name, entry in listed.items():
        path = paths.get(name)
        if path is None:
            problems.append(Problem(name, f"{folder.path / name}: missing. Restore it from a copy."))
            continue
        if path.is_symlink() or not path.is_file():
            problems.append(Problem(name, f"{path}: not the regular file that was written. Restore it from a copy."))
            continue
        try:
            now = file_entry(path)
        except DiskError as error:
            problems.append(Problem(name, str(error), unreadable=is_unreadable(error)))
            continue
        if now != entry:
            what = "its bytes" if now["length"] == entry["length"] else f"its length, {entry['length']} bytes then,"
            problems.append(
                Problem(name, f"{path}: {what} changed since it was written. It is not used; restore it from a copy.")
            )
    for name in sorted(set(paths) - set(listed)):
        problems.append(Problem(name, f"{folder.path / name}: does not belong to the run. Move it elsewhere."))
    return problems
