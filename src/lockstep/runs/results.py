"""What comes back from a training, now or read later from its folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockstep.core.errors import Interrupted, NotEqualError, RefusedError
from lockstep.runs.folder import RunFolder, RunStatus
from lockstep.runs.identity import fingerprint
from lockstep.runs.journal import read_lines
from lockstep.runs.store import read_tags

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Best:
    """The trial that won: its index, parameters and metrics (full precision; None where undefined)."""

    index: int
    parameters: Mapping[str, Any]
    metrics: Mapping[str, float | int | None]

    def to_json(self) -> dict[str, Any]:
        """As in `--json`."""
        return {"index": self.index, "parameters": dict(self.parameters), "metrics": dict(self.metrics)}


@dataclass(frozen=True, kw_only=True, repr=False)
class TrainResult:
    """A run, as its record tells it. The same facts as `lockstep runs show RUN --json`.

    run_id, folder      where the record is
    status              complete, interrupted, failed or running
    fingerprint         names spec, data, code and numerics together
    journal_hash        of the last line of the journal so far: equal runs have equal ones; None before the first
    data_hash           digest of the candles used
    seed                the root seed, drawn already when the spec said "random"
    best                the winning trial; None while there is none
    trial_counts        total and valid
    summary             everything the kind of training reports, as in result.json; empty until complete
    spec, data          the resolved spec and data.json
    alarm               why this result must not be trusted, or None
    notes               what a person should know about how the run went
    """

    run_id: str
    folder: Path
    status: str
    fingerprint: str
    journal_hash: str | None
    data_hash: str | None
    seed: int
    best: Best | None
    trial_counts: Mapping[str, int]
    summary: Mapping[str, Any] = field(default_factory=dict)
    spec: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    alarm: str | None = None
    tags: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 complete, 130 interrupted, 1 failed or contradicted by another run of the same fingerprint."""
        if self.status == RunStatus.INTERRUPTED:
            return Interrupted.exit_code
        if self.status == RunStatus.FAILED:
            return RefusedError.exit_code
        return 0 if self.alarm is None else NotEqualError.exit_code

    def trials(self) -> dict[str, NDArray[np.generic]]:
        """Every trial recorded so far, as columns (n_trials,): index, parameters, metrics, cause and block sums.

        Read from the run's segments, checked against their hashes. Raises IntegrityError when a byte changed.
        """
        from lockstep.storage.segments import SegmentReader

        return dict(SegmentReader(RunFolder(self.folder).segments).read("trials"))

    def to_json(self) -> dict[str, Any]:
        """What `train --json` prints as its last line. `verdict` is null until validation exists."""
        return {
            "run_id": self.run_id,
            "status": self.status,
            "fingerprint": self.fingerprint,
            "journal_hash": self.journal_hash,
            "data_hash": self.data_hash,
            "seed": self.seed,
            "best": self.best.to_json() if self.best is not None else None,
            "trials": dict(self.trial_counts),
            "verdict": None,
            "folder": str(self.folder),
            "alarm": self.alarm,
            "tags": list(self.tags),
            "notes": list(self.notes),
            "summary": dict(self.summary),
        }

    def __repr__(self) -> str:
        lines = [f"run {self.run_id}: {self.status}, {self.trial_counts['total']:,} trials"]
        if self.alarm is not None:
            lines.append(f"  ALARM: {self.alarm}")
        if self.best is not None:
            parameters = ", ".join(f"{name}={value!r}" for name, value in self.best.parameters.items())
            lines.append(f"  best trial {self.best.index}: {parameters}")
        lines.append(
            f"  fingerprint {self.fingerprint[:16]}, journal {(self.journal_hash or 'none')[:16]}, seed {self.seed}"
        )
        lines.append(f"  {self.folder}")
        return "\n".join(lines)


def read_result(folder: RunFolder, *, alarm: str | None = None, notes: tuple[str, ...] = ()) -> TrainResult:
    """What a run's folder says, complete or not. Raises IntegrityError when a document is damaged.

    `alarm` is what the store found by comparing runs (`RunStore.alarm`).
    """
    status = folder.status()
    spec, data = folder.read("spec"), folder.read("data")
    summary: Mapping[str, Any] = folder.result() if status is RunStatus.COMPLETE else {}
    journal_hash, last_step = _end_of_journal(folder)
    failure = folder.read("failure") if status is RunStatus.FAILED else None
    trials = summary.get("trials") or {"total": last_step.get("total", 0), "valid": last_step.get("valid", 0)}
    best = summary.get("best")
    return TrainResult(
        run_id=folder.path.name,
        folder=folder.path.absolute(),
        status=str(status),
        fingerprint=fingerprint(folder.identity_hashes()),
        journal_hash=journal_hash,
        data_hash=data.get("digest"),
        seed=int(spec["seed"]),
        best=Best(**{name: best[name] for name in ("index", "parameters", "metrics")}) if best is not None else None,
        trial_counts={"total": int(trials["total"]), "valid": int(trials["valid"])},
        summary=summary,
        spec=spec,
        data=data,
        environment=folder.read("environment"),
        alarm=alarm,
        tags=read_tags(folder),
        notes=notes if failure is None else (*notes, f"{failure['error']}: {failure['message']}"),
    )


def _end_of_journal(folder: RunFolder) -> tuple[str | None, Mapping[str, Any]]:
    """Hash of the last whole line of the journal, and the scalars of its last step."""
    if folder.has("manifest"):
        return str(folder.read("manifest")["journal_hash"]), {}
    last: str | None = None
    scalars: Mapping[str, Any] = {}
    if folder.journal.exists():
        for line in read_lines(folder.journal):
            last = line.hash
            scalars = line.content.get("scalars", scalars)
    return last, scalars
