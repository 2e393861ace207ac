"""Headroom: what this machine has free, beside what a training will take."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lockstep.reports.words import size

if TYPE_CHECKING:
    from lockstep.runs.kind import Estimate, Prepared


@dataclass(frozen=True, kw_only=True)
class Headroom:
    """Bytes that are free.

    memory   that this machine could hand out now, None where nobody can say
    disk     where runs are kept
    """

    memory: int | None
    disk: int

    @classmethod
    def at(cls, home: Path) -> Headroom:
        """For runs in `home`, whether it is there or not."""
        there = next(folder for folder in (home.absolute(), *home.absolute().parents) if folder.is_dir())
        return cls(memory=_memory_free(), disk=shutil.disk_usage(there).free)

    def shortages(self, estimate: Estimate) -> list[str]:
        """ "memory", "disk": what there is too little of, as far as that can be said."""
        pairs = {"memory": (estimate.memory_bytes, self.memory), "disk": (estimate.disk_bytes, self.disk)}
        return [
            name for name, (need, free) in pairs.items() if need is not None and free is not None and need > free
        ]


def with_warnings(prepared: Prepared, home: Path) -> Prepared:
    """The same, with a note for each thing that its estimate says there is too little of."""
    if prepared.estimate is None:
        return prepared
    free, estimate = Headroom.at(home), prepared.estimate
    memory, disk = (size(count or 0) for count in (estimate.memory_bytes, estimate.disk_bytes))
    warnings = {
        "memory": f"warning: this run takes about {memory} of memory, and {size(free.memory or 0)} are free: the "
        "system may end it. Close other programs, or train something smaller",
        "disk": f"warning: this run takes about {disk} on disk, and {size(free.disk)} are free in {home}: it would "
        "stop when the disk is full. Free some, name another --home, or record less",
    }
    return replace(prepared, notes=(*prepared.notes, *(warnings[name] for name in free.shortages(estimate))))


def _memory_free() -> int | None:
    """Bytes that Linux says are available; elsewhere those of the machine, where it tells them."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return None
