"""Runs by fingerprint, so that the end of a training finds the few that have to agree with it without reading all.

    HOME/cache/fingerprints/<fingerprint>/<run id>     an empty folder for each run
    HOME/cache/fingerprints/complete                   all runs that were there before are in it

A cache: it says where to look and nothing else. What a run's journal is stands in its sealed manifest, which is read.
It may be removed at any time, and is made anew from the runs.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from lockstep.core import files
from lockstep.core.errors import DiskError

CACHE: Final = "cache"
"""Folder of a home for what can be made anew."""
_FINGERPRINTS: Final = "fingerprints"
_COMPLETE: Final = "complete"
_FINGERPRINT: Final = re.compile(r"[0-9a-f]{64}")


def note_twin(home: Path, fingerprint: str, run_id: str) -> None:
    """Enter a run. A home that cannot be written to keeps no cache."""
    if _FINGERPRINT.fullmatch(fingerprint):
        with contextlib.suppress(DiskError):
            files.make_folder(home / CACHE / _FINGERPRINTS / fingerprint / run_id)


def twins_of(home: Path, fingerprint: str, every: Callable[[], Iterable[tuple[str, str | None]]]) -> list[str]:
    """Ids of the runs that were entered under a fingerprint, sorted; some may be gone.

    every   (run id, fingerprint) of all runs, for the first call in a home without a cache
    """
    cache = home / CACHE / _FINGERPRINTS
    if not (cache / _COMPLETE).exists():
        twins = []
        for run_id, name in every():
            if name is not None:
                note_twin(home, name, run_id)
                twins += [run_id] if name == fingerprint else []
        with contextlib.suppress(DiskError):
            files.make_folder(cache / _COMPLETE)
        return sorted(twins)
    try:
        return sorted(path.name for path in (cache / fingerprint).iterdir())
    except OSError:
        return []
