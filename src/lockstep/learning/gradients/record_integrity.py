"""Compare a run's files with what its journal and manifest say of them; a missing piece is an error, never skipped.

A frame that is cut, or whose head is damaged at the end of a segment, looks like one that was not written yet. The
journal knows better: its line of a step comes after the step's frames. Needs no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lockstep.core import files
from lockstep.core.errors import IntegrityError
from lockstep.core.hashing import blake3_hex

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.runs.folder import RunFolder
    from lockstep.storage.segments import SegmentReader


def is_record(name: str) -> bool:
    """Whether a file of a run's folder, named relative to it, holds part of the record of the steps."""
    return name == "journal.jsonl" or name.startswith("segments/")


def require_lengths(folder: RunFolder, which: Callable[[str], bool] = lambda name: True) -> None:
    """Compare the length of each file of a complete run with the manifest, without reading it.

    `which` selects files by relative name. A run that has not ended has no manifest yet: nothing is compared.
    Raises IntegrityError when a file is cut or missing, DiskError.
    """
    if not folder.has("manifest"):
        return
    for name, entry in folder.read("manifest")["files"].items():
        if not which(name):
            continue
        path = folder.path / name
        length = path.stat().st_size if path.is_file() else None
        if length != entry["length"]:
            raise IntegrityError(
                f"{path}: {'missing' if length is None else f'{length} bytes'}, but {entry['length']} were written. "
                "Restore it from a copy."
            )


def sealed_bytes(folder: RunFolder, name: str) -> bytes | None:
    """The bytes of a file of a complete run; None where the run has not ended or has no such file.

    Raises IntegrityError when their digest is not that of the manifest, DiskError.
    """
    entry = folder.read("manifest")["files"].get(name) if folder.has("manifest") else None
    if entry is None:
        return None
    require_lengths(folder, lambda listed: listed == name)
    path = folder.path / name
    data = files.read_bytes(path)
    if blake3_hex(data) != entry["blake3"]:
        raise IntegrityError(f"{path}: its bytes changed since they were written. Not used; restore it from a copy.")
    return data


def every_row(folder: RunFolder, reader: SegmentReader, name: str, start: int, stop: int) -> dict[str, NDArray[Any]]:
    """Columns (stop - start, ...) of a segment that has one row for each step in [start, stop).

    Raises IntegrityError when rows are missing or damaged.
    """
    columns = reader.read(name, start=start, stop=stop)
    rows = len(next(iter(columns.values()))) if columns else 0
    if rows != stop - start:
        raise missing(folder, name, f"{rows} rows for the steps {start} to {stop - 1}")
    return columns


def missing(folder: RunFolder, name: str, state: str) -> IntegrityError:
    """The error for frames that the journal names and the segment lacks; `state` says what the segment has instead."""
    # A power cut may take frames that no checkpoint depends on yet; resuming computes those steps again.
    cure = "Restore it from a copy." if folder.has("manifest") else "Resume the run, or restore it from a copy."
    return IntegrityError(f"{folder.segments / name}.*.seg: found {state}, though the journal has more. {cure}")
