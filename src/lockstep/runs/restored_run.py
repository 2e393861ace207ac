"""Restore a prepared run from its folder: the common beginning of resume, verify and replay."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lockstep.core.errors import IntegrityError, SpecError
from lockstep.runs import registry
from lockstep.runs.folder import RunFolder
from lockstep.runs.identity import COMPARE_ALL_THE_SAME, NumericsIdentity, fingerprint_of, require_comparable
from lockstep.runs.kind import Kind, PrepareContext, Prepared
from lockstep.runs.kind_code import whole_code
from lockstep.runs.spec import resolve

if TYPE_CHECKING:
    from lockstep.storage.blobs import BlobStore


@dataclass(frozen=True, kw_only=True)
class RestoredRun:
    """A run that can be computed here. `numerics` are those in force in this process."""

    kind: Kind
    prepared: Prepared
    numerics: NumericsIdentity

    def bodies(self) -> dict[str, Any]:
        """The bodies of code.json and numerics.json that a run begun here would have."""
        return {"code": self.prepared.code.body(), "numerics": self.numerics.body()}


def restore_run(folder: RunFolder, blobs: BlobStore) -> RestoredRun:
    """Restore a run from its folder alone, data from the snapshots in `blobs`.

    Raises UnknownNameError for an unknown kind, IntegrityError for damage, DataError when a snapshot is missing.
    """
    body = folder.read("spec")
    kind = registry.get(str(body.get("kind")))
    try:
        spec = resolve(kind.spec_model, body, source=str(folder.document("spec")))
    except SpecError as error:
        raise IntegrityError(f"{error}. The run was made by a release with another spec; use that one.") from error
    prepared = kind.restore(spec, folder, PrepareContext(blobs=blobs))
    prepared = replace(prepared, code=whole_code(prepared.code, kind))
    return RestoredRun(kind=kind, prepared=prepared, numerics=NumericsIdentity.collect(prepared.numerics))


def recorded_bodies(folder: RunFolder) -> dict[str, Any]:
    """The bodies of code.json and numerics.json in a run's folder."""
    return {"code": folder.read("code"), "numerics": folder.read("numerics")}


def require_same_code(folder: RunFolder, restored: RestoredRun, *, cure: str = COMPARE_ALL_THE_SAME) -> str:
    """The fingerprint of the run, when code and numerics here are those it began with.

    Raises NotComparableError naming each difference.
    """
    require_comparable(recorded_bodies(folder), restored.bodies(), what=f"run {folder.path.name}", cure=cure)
    return fingerprint_of(spec=folder.read("spec"), data=folder.read("data"), **recorded_bodies(folder))
