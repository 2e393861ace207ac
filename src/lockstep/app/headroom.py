"""Headroom: compare the memory and disk that this machine has free with what a training will take."""

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

    memory   of this machine; None when the system does not say
    disk     on the disk of the home
    """

    memory: int | None
    disk: int

    @classmethod
    def at(cls, home: Path) -> Headroom:
        """Headroom for runs in `home`, which need not exist yet."""
        there = next(folder for folder in (home.absolute(), *home.absolute().parents) if folder.is_dir())
        return cls(memory=_memory_free(), disk=shutil.disk_usage(there).free)

    def shortages(self, estimate: Estimate) -> list[str]:
        """Which of "memory" and "disk" is too small; an unknown amount counts as enough."""
        pairs = {"memory": (estimate.memory_bytes, self.memory), "disk": (estimate.disk_bytes, self.disk)}
        return [name for name, (need, free) in pairs.items() if need is not None and free is not None and need > free]


def with_warnings(prepared: Prepared, home: Path) -> Prepared:
    """`prepared`, with a warning among its notes for memory or disk that the estimate says is too small."""
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
    # A warning, not a refusal: the estimate is rough, and a user may be about to free memory.
    return replace(prepared, notes=(*prepared.notes, *(warnings[name] for name in free.shortages(estimate))))


def _memory_free() -> int | None:
    """Bytes that Linux reports as available; on other systems all bytes of the machine, which errs to the high side."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return None
