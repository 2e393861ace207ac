"""Read the files of a complete run by way of its seal, so that no damaged or foreign byte is shown or used.

A run that has not ended has no manifest yet: its files are read as they are, and what reads them checks their frames,
lines and documents by themselves. A document or a segment of another run is sound by itself too; only the manifest
shows that it does not belong here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lockstep.core import files
from lockstep.core.errors import IntegrityError
from lockstep.core.hashing import blake3_hex, digest_file
from lockstep.runs.folder import RunFolder
from lockstep.runs.form import read_formed
from lockstep.storage.documents import parse_document


def listed_files(folder: RunFolder) -> Mapping[str, Mapping[str, Any]]:
    """Length and digest by relative name, as the manifest has them; empty for a run that has not ended.

    Raises IntegrityError for a damaged manifest.
    """
    if not folder.has("manifest"):
        return {}
    listed: Mapping[str, Mapping[str, Any]] = read_formed(folder, "manifest")["files"]
    return listed


def sealed_bytes(folder: RunFolder, name: str) -> bytes | None:
    """The bytes of a file of a complete run; None where the run has not ended or has no such file.

    Raises IntegrityError when they are not those of the manifest, DiskError.
    """
    entry = listed_files(folder).get(name)
    if entry is None:
        return None
    require_lengths(folder, lambda listed: listed == name)
    path = folder.path / name
    data = files.read_bytes(path)
    if blake3_hex(data) != entry["blake3"]:
        raise _changed(folder, name)
    return data


def sealed_document(folder: RunFolder, kind: str) -> Any:
    """The body of a document; in a complete run it has to be the one that the manifest lists.

    Raises IntegrityError, DiskError.
    """
    path = folder.document(kind)
    data = sealed_bytes(folder, path.name)
    return folder.read(kind) if data is None else parse_document(data, kind, path)


def require_lengths(folder: RunFolder, which: Callable[[str], bool] = lambda name: True) -> None:
    """Compare the length of each file of a complete run with the manifest, without reading it.

    `which` selects files by relative name. Raises IntegrityError when a file is cut or missing, DiskError.
    """
    for name, entry in listed_files(folder).items():
        if not which(name):
            continue
        path = folder.path / name
        length = path.stat().st_size if path.is_file() else None
        if length != entry["length"]:
            raise IntegrityError(
                f"{path}: {'missing' if length is None else f'{length} bytes'}, but {entry['length']} were written. "
                "Restore it from a copy."
            )


def require_sealed(folder: RunFolder, which: Callable[[str], bool]) -> None:
    """Compare every byte of the selected files of a complete run with the manifest, and that there are no others.

    Raises IntegrityError naming the first file that differs, DiskError.
    """
    listed = listed_files(folder)
    if not listed:
        return
    require_lengths(folder, which)
    for name, entry in listed.items():
        if which(name) and digest_file(folder.path / name) != entry["blake3"]:
            raise _changed(folder, name)
    for name, path in folder.listing().items():
        if which(name) and name not in listed:
            raise IntegrityError(f"{path}: does not belong to the run. It is not used; move it elsewhere.")


def _changed(folder: RunFolder, name: str) -> IntegrityError:
    return IntegrityError(
        f"{folder.path / name}: its bytes changed since they were written. Not used; restore it from a copy."
    )
