"""Estimate: time, memory and disk of a training, without training it and without making a run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockstep.app.headroom import Headroom
from lockstep.app.request import TrainingRequest
from lockstep.app.train import kind_of
from lockstep.runs.kind import Duration, Estimate, PrepareContext, silent
from lockstep.runs.spec import resolve

if TYPE_CHECKING:
    from lockstep.storage.blobs import BlobStore


@dataclass(frozen=True, kw_only=True)
class EstimateReport:
    """Roughly what a training will take, beside what this machine has free.

    notes         what is trained on what, in words
    preparation   time of reading, checking and pinning, which the training does once more
    estimate      time, steps, bytes; None where a value is unknown
    memory_free   bytes of memory that are free now; None when the system does not say
    disk_free     bytes that are free on the disk of the home
    """

    kind: str
    notes: tuple[str, ...]
    estimate: Estimate
    memory_free: int | None
    disk_free: int
    preparation: Duration = field(default_factory=Duration)

    @property
    def cpu_seconds(self) -> float | None:
        """Processor time of preparation, training and judging together; None where it is unknown."""
        training, judging = self.estimate.training, self.estimate.judging
        return None if training is None or judging is None else (self.preparation + training + judging).cpu

    @property
    def fits(self) -> bool:
        """Whether memory and disk suffice; an unknown amount counts as enough."""
        return not self.shortages()

    def shortages(self) -> list[str]:
        """Which of "memory" and "disk" is too small."""
        return Headroom(memory=self.memory_free, disk=self.disk_free).shortages(self.estimate)

    def to_json(self) -> dict[str, Any]:
        """The object that `lockstep train --estimate --json` prints."""
        estimate = self.estimate
        return {
            "kind": self.kind,
            "notes": list(self.notes),
            "seconds": estimate.seconds,
            "cpu_seconds": self.cpu_seconds,
            "preparation": self.preparation.to_json(),
            "training": None if estimate.training is None else estimate.training.to_json(),
            "judging": None if estimate.judging is None else estimate.judging.to_json(),
            "steps": estimate.steps,
            "memory_bytes": estimate.memory_bytes,
            "disk_bytes": estimate.disk_bytes,
            "memory_free": self.memory_free,
            "disk_free": self.disk_free,
            "fits": self.fits,
        }


def estimate(
    request: TrainingRequest, *, home: Path, blobs: BlobStore, tell: Callable[[str], None] = silent
) -> EstimateReport:
    """What a request will take.

    tell   takes lines about work that lasts

    Data are pinned as `train` pins them. Large networks are counted, not made. Raises what `train` raises before its
    first step.
    """
    cpu, wall = time.process_time(), time.perf_counter()
    kind = kind_of(request)
    spec = resolve(kind.spec_model, request.values, source=request.name)
    context = PrepareContext(blobs=blobs, home=home, base=request.base, python_objects=request.objects, tell=tell)
    prepared = kind.prepare(spec, context)
    preparation = Duration(cpu=time.process_time() - cpu, wall=time.perf_counter() - wall)
    cost = kind.estimate(prepared, context, time_large=False)
    free = Headroom.at(home)
    return EstimateReport(
        kind=kind.name,
        notes=(*prepared.notes, *cost.notes),
        estimate=cost,
        memory_free=free.memory,
        disk_free=free.disk,
        preparation=preparation,
    )
