"""Kind: a kind of training, as `train`, `resume`, `verify` and the rest see it.

    prepare    spec -> Prepared: data pinned, code identified, everything checked; trains nothing and times nothing
    restore    the same `Prepared` from a run's folder alone, for resume and verify, perhaps on another machine
    estimate   Prepared -> Estimate: may time a few steps of a training that is thrown away
    training   Prepared -> Training, at its start

`train` asks for all four but `restore`. What prepares many trainings inside one (a study, a walk-forward) leaves
`estimate` out, and pays for no rehearsal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from lockstep.runs.executor import Executor
    from lockstep.runs.folder import RunFolder
    from lockstep.runs.identity import CodeIdentity
    from lockstep.runs.spec import RunSpec
    from lockstep.runs.training import Training
    from lockstep.storage.blobs import BlobStore


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a run will roughly take; None where nobody can say. For a person: nothing of it is ever hashed."""

    seconds: float | None = None
    disk_bytes: int | None = None
    memory_bytes: int | None = None
    steps: int | None = None
    notes: tuple[str, ...] = ()
    """Lines for a person on what the numbers are made of, printed after those of `Prepared`."""


@dataclass(frozen=True, kw_only=True)
class Gauge:
    """How to read the numbers of a step while a run goes on; it is in no hash.

    objective   what the value in a step's "best" is, such as "sharpe_ratio"
    work        units of work in one trial, by the unit's name, such as {"bars x sets": 5025}
    """

    objective: str = "score"
    work: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class PrepareContext:
    """Where a run is prepared: where data are pinned, and where relative paths of the spec start."""

    blobs: BlobStore
    """Data snapshots, which all runs of a home share."""
    home: Path | None = None
    """Where a spec that names no book of episodes looks for the home's own. A run is restored without it."""
    base: Path = field(default_factory=Path)
    """Folder of the spec file; paths in it are relative to it."""
    python_objects: Mapping[str, Any] = field(default_factory=dict)
    """Objects that `ls.train` was given where a file can only name them: a strategy class, candles. By spec key."""


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """What a training may use while it runs. None of it may change a result."""

    executor: Executor
    blobs: BlobStore


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A run that could start: everything its result depends on is pinned.

    `data` is the body of data.json, hashed: `digest` (of the columns used) and `snapshots` (the digests of the blobs
    in `PrepareContext.blobs` that hold them, for export), plus whatever else the kind pins. `origin` tells where
    the data came from and is not hashed. `code` is the user's part of the identity of the code; what a run of this kind
    can load of Lockstep is added where the run begins (`kind_code.whole_code`). `numerics` are entries a kind adds to
    the numerics identity (torch, device). `payload` is the kind's own, handed back to `training` untouched.
    """

    spec: RunSpec
    data: Mapping[str, Any]
    code: CodeIdentity
    payload: Any = None
    origin: Mapping[str, Any] = field(default_factory=dict)
    numerics: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    """Lines for a person, printed before the start."""
    estimate: Estimate | None = None
    """Set by `train` for its announcement; a kind leaves it None and answers `Kind.estimate`."""
    gauge: Gauge = Gauge()

    def with_estimate(self, estimate: Estimate) -> Prepared:
        """As a training is announced: with what it will take, and the notes on that after its own."""
        return replace(self, estimate=estimate, notes=(*self.notes, *estimate.notes))


class Kind(Protocol):
    """A kind of training. Stateless; registered by name in `runs.registry`."""

    @property
    def name(self) -> str:
        """The spec's `kind`."""
        ...

    @property
    def spec_model(self) -> type[RunSpec]:
        """The model that the spec is validated against."""
        ...

    def prepare(self, spec: RunSpec, context: PrepareContext) -> Prepared:
        """Load and pin the data, identify the code, check what can be checked. Raises the InputError tree.

        Makes no step of the training. What cannot be trained fails here, so that no run is made of it.
        """
        ...

    def restore(self, spec: RunSpec, folder: RunFolder, context: PrepareContext) -> Prepared:
        """The `Prepared` of an existing run: data by the digests in data.json, the user's code from `code/`.

        Never looks at where the data came from. Raises IntegrityError when stored bytes differ, DataError when a
        snapshot is missing.
        """
        ...

    def estimate(self, prepared: Prepared, context: PrepareContext, *, time_large: bool = True) -> Estimate:
        """What the training of `prepared` will take. Leaves `prepared` as it is, and writes nothing.

        With `time_large` False, a network so large that making it would itself cost minutes and gigabytes is counted
        and not timed. `train` does time it: it is about to make that network anyway.
        """
        ...

    def training(self, prepared: Prepared, context: RunContext) -> Training:
        """The training of a prepared run, at its start."""
        ...
