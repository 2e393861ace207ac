"""Compare a run's files with what its journal and manifest say of them; a missing piece is an error, never skipped.

A frame that is cut, or whose head is damaged at the end of a segment, looks like one that was not written yet. The
journal knows better: its line of a step comes after the step's frames. Needs no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lockstep.core.errors import IntegrityError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.runs.folder import RunFolder
    from lockstep.storage.segments import SegmentReader


def is_record(name: str) -> bool:
    """Whether a file of a run's folder, named relative to it, holds part of the record of the steps."""
    return name == "journal.jsonl" or name.startswith("segments/")


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
