"""The order in which runs came into a home, whatever the clock of a machine said.

    HOME/order                one run id a line, in the order in which the runs were made or imported

Ids sort by the clock at a run's birth. A clock that once stood in the future, or a run from such a machine, would
otherwise be the newest for ever. Runs that the file lacks (of earlier versions, or copied by hand) come first, by id.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from lockstep.core import files

ORDER: Final = "order"


def note_arrival(home: Path, run_id: str) -> None:
    """Make `run_id` the newest of the home. Raises DiskError."""
    with files.AppendFile(home / ORDER) as handle:
        # One write of one line: lines of two processes never mix.
        handle.append(f"{run_id}\n".encode("ascii"))


def in_order(home: Path, run_ids: Iterable[str]) -> list[str]:
    """`run_ids`, oldest first. A line that is torn, or names a run that is gone, means nothing."""
    try:
        lines = (home / ORDER).read_bytes().decode("ascii", errors="replace").splitlines()
    except OSError:
        lines = []
    # A run that was removed and imported again came last with its last line.
    place = {run_id: number for number, run_id in enumerate(lines)}
    return sorted(run_ids, key=lambda run_id: (place.get(run_id, -1), run_id))
