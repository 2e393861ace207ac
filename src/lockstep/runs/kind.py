"""Kind: a kind of training, as `train`, `resume`, `verify` and the rest see it.

    prepare    spec -> Prepared: data pinned, code identified, everything checked; trains nothing and times nothing
    restore    the same `Prepared` from a run's folder alone, for resume and verify, perhaps on another machine
    estimate   Prepared -> Estimate: may time a few steps of a training that is thrown away
    training   Prepared -> Training, at its start

`train` calls all but `restore`. A study or a walk-forward prepares many trainings inside one, and does not call
`estimate` for each: it would time steps every time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
class Duration:
    """How long work takes.

    cpu    seconds of processor time, which other programs of the machine hardly change
    wall   seconds that pass meanwhile, on the machine as it is now
    """

    cpu: float = 0.0
    wall: float = 0.0

    def __add__(self, other: Duration) -> Duration:
        return Duration(cpu=self.cpu + other.cpu, wall=self.wall + other.wall)

    def __mul__(self, factor: float) -> Duration:
        return Duration(cpu=self.cpu * factor, wall=self.wall * factor)

    def to_json(self) -> dict[str, float]:
        """Both numbers by name, in seconds, for JSON."""
        return {"cpu_seconds": self.cpu, "seconds": self.wall}


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a run will roughly take; None where nobody can say. For a person only: it enters no hash.

    seconds    that pass, of training and judging together
    training   the steps, and what is written of them
    judging    evaluation after epochs and at the end, baselines, questions to a winner
    """

    seconds: float | None = None
    training: Duration | None = None
    judging: Duration | None = None
    disk_bytes: int | None = None
    memory_bytes: int | None = None
    steps: int | None = None
    notes: tuple[str, ...] = ()
    """Lines for a person on what the numbers are made of, printed after those of `Prepared`."""


@dataclass(frozen=True, kw_only=True)
class Gauge:
    """How to read the numbers of a step while a run goes on; it enters no hash.

    objective   what the value in a step's "best" is, such as "sharpe_ratio"
    work        units of work in one trial, by the unit's name, such as {"bars x sets": 5025}
    """

    objective: str = "score"
    work: Mapping[str, float] = field(default_factory=dict)


def silent(line: str) -> None:
    """Say nothing: the default where nobody waits."""


@dataclass(frozen=True, kw_only=True)
class PrepareContext:
    """Where a run is prepared: where data are pinned, and where relative paths of the spec start."""

    blobs: BlobStore
    """Data snapshots, which all runs of a home share."""
    home: Path | None = None
    """Folder of the home, whose own book of episodes serves a spec that names none. None when a run is restored."""
    base: Path = field(default_factory=Path)
    """Folder of the spec file; paths in it are relative to it."""
    python_objects: Mapping[str, Any] = field(default_factory=dict)
    """By spec key, the objects passed to `ls.train` for what a file can only name: a strategy class, candles."""
    tell: Callable[[str], None] = silent
    """Takes lines about work that lasts, for a person who waits."""


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """What a training may use while it runs. None of it may change a result."""

    executor: Executor
    blobs: BlobStore
    tell: Callable[[str], None] = silent
    """Takes lines about work outside of the steps, for a person who waits."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A run that could start: everything its result depends on is pinned.

    data       body of data.json, hashed: `digest` of the columns used, `snapshots` (digests of the blobs in
               `PrepareContext.blobs` that hold them, for export), and whatever else the kind pins
    code       the user's part of the code identity; `kind_code.whole_code` adds Lockstep's files where the run begins
    payload    the kind's own value, handed back to `training` untouched
    origin     where the data came from; not hashed
    numerics   entries that a kind adds to the numerics identity (torch, device)
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
        """This run with its estimate, and the notes of that after its own, for the announcement before the start."""
        return replace(self, estimate=estimate, notes=(*self.notes, *estimate.notes))


class Kind(Protocol):
    """A kind of training. Stateless; registered by name in `runs.registry`."""

    @property
    def name(self) -> str:
        """The value of the key `kind` in a spec."""
        ...

    @property
    def spec_model(self) -> type[RunSpec]:
        """The model that the spec is validated against."""
        ...

    def prepare(self, spec: RunSpec, context: PrepareContext) -> Prepared:
        """Load and pin the data, identify the code, check what can be checked. Raises the InputError tree.

        Makes no step of the training. A spec that cannot be trained fails here, before there is a run.
        """
        ...

    def restore(self, spec: RunSpec, folder: RunFolder, context: PrepareContext) -> Prepared:
        """The `Prepared` of an existing run: data by the digests in data.json, the user's code from `code/`.

        Never reads from where the data came. Raises IntegrityError when stored bytes differ, DataError when a snapshot
        is missing.
        """
        ...

    def estimate(self, prepared: Prepared, context: PrepareContext, *, time_large: bool = True) -> Estimate:
        """What the training of `prepared` will take. Leaves `prepared` as it is, and writes nothing.

        time_large   False: count the parameters of a network so large that building it takes minutes and gigabytes,
                     instead of timing it. `train` passes True, because it builds that network anyway
        """
        ...

    def training(self, prepared: Prepared, context: RunContext) -> Training:
        """The training of a prepared run, at its start."""
        ...
