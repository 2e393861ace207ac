"""Kind: a kind of training, as `train`, `resume`, `verify` and the rest see it.

A kind turns a spec into a `Prepared` (data pinned, code identified, nothing computed yet) and a `Prepared` into a
`Training`. `prepare` runs once, where the user is; `restore` builds the same `Prepared` from a run's folder alone, for
resume and verify, perhaps on another machine. Both end in the same `training`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from lockstep.runs.executor import Executor
    from lockstep.runs.folder import RunFolder
    from lockstep.runs.identity import CodeIdentity
    from lockstep.runs.spec import RunSpec
    from lockstep.runs.training import Training


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a run will roughly cost, told before it starts; None where nobody can say."""

    seconds: float | None = None
    disk_bytes: int | None = None
    memory_bytes: int | None = None
    steps: int | None = None


@dataclass(frozen=True, kw_only=True)
class PrepareContext:
    """Where a run is prepared: the home folder, and where relative paths of the spec start."""

    home: Path
    base: Path = field(default_factory=Path)
    """Folder of the spec file; paths in it are relative to it."""
    python_objects: Mapping[str, Any] = field(default_factory=dict)
    """Objects that `ls.train` was given where a file can only name them: a strategy class, candles. By spec key."""
    estimate_only: bool = False
    """Only the estimate is wanted: what would take much memory or time to prepare is left out."""

    @property
    def snapshots(self) -> Path:
        """Content-addressed data snapshots, `<digest>.<suffix>` or `<digest>/`, shared by all runs of this home."""
        return self.home / "snapshots"


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """What a training may use while it runs. None of it may change a result."""

    executor: Executor
    home: Path


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A run that could start: everything its result depends on is pinned.

    `data` is the body of data.json, hashed: `digest` (of the columns used) and `snapshots` (the digests of the files
    in `PrepareContext.snapshots` that hold them, for export), plus whatever else the kind pins. `origin` tells where
    the data came from and is not hashed. `code` is the user's part of the identity of the code; what a run of this kind
    can load of Lockstep is added where the run begins (`CodeIdentity.for_kind`). `numerics` are entries a kind adds to
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
        """Load and pin the data, identify the code, check what can be checked. Raises the InputError tree."""
        ...

    def restore(self, spec: RunSpec, folder: RunFolder, context: PrepareContext) -> Prepared:
        """The `Prepared` of an existing run: data by the digests in data.json, the user's code from `code/`.

        Never looks at where the data came from. Raises IntegrityError when stored bytes differ, DataError when a
        snapshot is missing.
        """
        ...

    def training(self, prepared: Prepared, context: RunContext) -> Training:
        """The training of a prepared run, at its start."""
        ...
