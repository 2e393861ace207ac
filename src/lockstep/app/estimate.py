"""Estimate: what a training will take, told without training it and without making a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockstep.app.headroom import Headroom
from lockstep.app.request import TrainingRequest
from lockstep.app.train import kind_of
from lockstep.runs.kind import Estimate, PrepareContext
from lockstep.runs.spec import resolve

if TYPE_CHECKING:
    from lockstep.storage.blobs import BlobStore


@dataclass(frozen=True, kw_only=True)
class EstimateReport:
    """What a training will roughly take, beside what this machine has free. Bytes and seconds; None is unknown.

    notes         what is trained on what, in words
    memory_free   bytes that this machine could hand out now
    disk_free     bytes that are free where runs are kept
    """

    kind: str
    notes: tuple[str, ...]
    estimate: Estimate
    memory_free: int | None
    disk_free: int

    @property
    def fits(self) -> bool:
        """Whether memory and disk suffice, as far as that can be said."""
        return not self.shortages()

    def shortages(self) -> list[str]:
        """ "memory", "disk": what there is too little of."""
        return Headroom(memory=self.memory_free, disk=self.disk_free).shortages(self.estimate)

    def to_json(self) -> dict[str, Any]:
        """As in `--json`."""
        estimate = self.estimate
        return {
            "kind": self.kind,
            "notes": list(self.notes),
            "seconds": estimate.seconds,
            "steps": estimate.steps,
            "memory_bytes": estimate.memory_bytes,
            "disk_bytes": estimate.disk_bytes,
            "memory_free": self.memory_free,
            "disk_free": self.disk_free,
            "fits": self.fits,
        }


def estimate(request: TrainingRequest, *, home: Path, blobs: BlobStore) -> EstimateReport:
    """What a request will take. Data are pinned as `train` would pin them; large networks are counted, not made.

    Raises what `train` raises before its first step.
    """
    kind = kind_of(request)
    spec = resolve(kind.spec_model, request.values, source=request.name)
    context = PrepareContext(blobs=blobs, home=home, base=request.base, python_objects=request.objects)
    prepared = kind.prepare(spec, context)
    cost = kind.estimate(prepared, context, time_large=False)
    free = Headroom.at(home)
    return EstimateReport(
        kind=kind.name,
        notes=(*prepared.notes, *cost.notes),
        estimate=cost,
        memory_free=free.memory,
        disk_free=free.disk,
    )
