"""Which runs of a home came from elsewhere, and whose code the user has allowed to run here.

    HOME/imports/<run id>.json         this run was imported; names the archive
    HOME/imports/code-<digest>.json    the user has allowed these files to run

A run that is trained on the record of an imported one is marked as well.

An answer belongs to the bytes of the code, not to a run: the same files are asked about once, and other files under the
name of a run that was allowed are asked about again. A run folder that lies in no home counts as imported, and is asked
about each time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lockstep.core import canonical, files
from lockstep.core.errors import IntegrityError, LockstepError
from lockstep.core.hashing import blake3_hex, digest_file
from lockstep.runs.folder import RunFolder
from lockstep.storage.documents import document_bytes, parse_document

IMPORTS: Final = "imports"
"""Folder of a home that holds the marks. No archive writes into it."""
RUNS: Final = "runs"


@dataclass(frozen=True, kw_only=True)
class ForeignCode:
    """Code of a run that came from elsewhere.

    home      the home that the run lies in; None for a folder that lies in none
    archive   name of the file that the run was imported from; None for a folder that lies in no home
    files     length in bytes by name
    digest    of names and bytes of all files
    """

    run_id: str
    home: Path | None
    archive: str | None
    files: Mapping[str, int]
    digest: str


def mark_imported(home: Path, run_id: str, archive: str) -> None:
    """Record that a run came from elsewhere. Raises DiskError."""
    files.make_folder(home / IMPORTS)
    name = archive.encode("utf-8", errors="backslashreplace").decode()
    files.write_atomic(_mark(home, run_id), document_bytes("import", {"run_id": run_id, "archive": name}))


def pass_on(source: RunFolder | None, home: Path, run_id: str) -> None:
    """Mark a run as imported where it is made from one, in `source`, that was; None for a run of its own.

    What a stranger wrote goes on in it: batches, names, settings, code. Raises DiskError.
    """
    if source is not None and is_imported(source):
        mark_imported(home, run_id, _archive(source) or source.path.name)


def unmark(home: Path, run_id: str) -> None:
    """Forget where a run came from, because it is gone. Raises DiskError."""
    files.remove(_mark(home, run_id))


def is_imported(folder: RunFolder) -> bool:
    """Whether a run came from elsewhere: it has a mark in its home, or lies in none."""
    home = _home(folder)
    return home is None or _mark(home, folder.path.absolute().name).exists()


def foreign_code(folder: RunFolder) -> ForeignCode | None:
    """Code of an imported run that nobody has allowed to run here yet; None where there is none. Raises DiskError.

    The files themselves are hashed: what code.json says of them was written by whoever made the run.
    """
    if not folder.sources.is_dir() or not is_imported(folder):
        return None
    paths = {path.name: path for path in sorted(folder.sources.iterdir())}
    if not paths:
        return None
    home = _home(folder)
    code = ForeignCode(
        run_id=folder.path.absolute().name,
        home=home,
        archive=_archive(folder),
        files={name: path.stat().st_size for name, path in paths.items() if path.is_file()},
        digest=code_digest(folder),
    )
    return None if home is not None and _is_allowed(home, code.digest) else code


def code_digest(folder: RunFolder) -> str:
    """Digest of names and bytes of the files that a run's code is in. Raises DiskError."""
    paths = sorted(folder.sources.iterdir()) if folder.sources.is_dir() else []
    return blake3_hex(canonical.dumps({path.name: digest_file(path) for path in paths if path.is_file()}))


def allow(code: ForeignCode) -> None:
    """Keep the answer that this code may run, where the run lies in a home. Raises DiskError."""
    if code.home is None:
        return
    files.make_folder(code.home / IMPORTS)
    body = {"run_id": code.run_id, "files": list(code.files), "digest": code.digest}
    files.write_atomic(_answer(code.home, code.digest), document_bytes("allowed", body))


def _is_allowed(home: Path, digest: str) -> bool:
    path = _answer(home, digest)
    try:
        return path.exists() and parse_document(files.read_bytes(path), "allowed", path)["digest"] == digest
    except (IntegrityError, KeyError, TypeError):
        return False  # asked again


def _archive(folder: RunFolder) -> str | None:
    home = _home(folder)
    if home is None or not (mark := _mark(home, folder.path.absolute().name)).exists():
        return None
    try:
        body = parse_document(files.read_bytes(mark), "import", mark)
    except LockstepError:
        return None
    archive = body.get("archive") if isinstance(body, dict) else None
    return archive if isinstance(archive, str) else None


def _home(folder: RunFolder) -> Path | None:
    path = folder.path.absolute()
    return path.parent.parent if path.parent.name == RUNS else None


def _mark(home: Path, run_id: str) -> Path:
    return home / IMPORTS / f"{run_id}.json"


def _answer(home: Path, digest: str) -> Path:
    return home / IMPORTS / f"code-{digest}.json"
