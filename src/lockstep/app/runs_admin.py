"""Runs, looked at from outside: list, show, check, export, import, remove, tag."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lockstep.app.paths import require_file, require_writable_name
from lockstep.core.errors import IntegrityError, LockstepError
from lockstep.runs import transfer
from lockstep.runs.check import CheckReport, check
from lockstep.runs.folder import RunFolder, RunStatus
from lockstep.runs.results import TrainResult, read_result
from lockstep.runs.store import FolderRunStore, RunRow, RunStore
from lockstep.runs.transfer import Transfer


@dataclass(frozen=True, kw_only=True)
class ListedRun:
    """A run in the list, with the best value found where it is complete."""

    row: RunRow
    trials: int | None = None
    objective: str | None = None
    best: float | None = None

    def to_json(self) -> dict[str, Any]:
        """As in `--json`. `created` is UTC."""
        row = self.row
        return {
            "run_id": row.run_id,
            "status": str(row.status),
            "created": datetime.fromtimestamp(row.created_ms / 1000, tz=UTC).isoformat(timespec="milliseconds"),
            "kind": row.kind,
            "name": row.name,
            "seed": row.seed,
            "tags": list(row.tags),
            "fingerprint": row.fingerprint,
            "journal_hash": row.journal_hash,
            "steps": row.steps,
            "trials": self.trials,
            "objective": self.objective,
            "best": self.best,
            "alarm": row.alarm,
            "problem": row.problem,
            "folder": str(row.folder),
        }


def list_runs(store: RunStore) -> list[ListedRun]:
    """All runs, oldest first. A damaged one is listed with its problem."""
    return [_listed(row) for row in store.list()]


def _listed(row: RunRow) -> ListedRun:
    if row.status is not RunStatus.COMPLETE or row.problem is not None:
        return ListedRun(row=row)
    try:
        summary = RunFolder(row.folder).result()
    except LockstepError:
        return ListedRun(row=row)  # `runs check` names the damage
    best, objective = summary.get("best") or {}, summary.get("objective") or {}
    return ListedRun(
        row=row,
        trials=(summary.get("trials") or {}).get("total"),
        objective=objective.get("name"),
        best=best.get("objective"),
    )


def show_run(run: str, store: RunStore) -> TrainResult:
    """What the record of a run says. Raises UnknownNameError, IntegrityError."""
    folder = store.find(run)
    return read_result(folder, alarm=store.alarm(folder.path.name))


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """What `runs check` found in a run's folder."""

    run_id: str
    report: CheckReport

    @property
    def exit_code(self) -> int:
        """0 sound, 1 damaged."""
        return 0 if self.report.ok else IntegrityError.exit_code

    def to_json(self) -> dict[str, Any]:
        """As in `--json`."""
        return {
            "run_id": self.run_id,
            "status": str(self.report.status),
            "sound": self.report.ok,
            "files": self.report.files,
            "problems": [{"file": problem.file, "message": problem.message} for problem in self.report.problems],
            "notes": list(self.report.notes),
        }

    def text(self) -> str:
        """In words."""
        if self.report.ok:
            lines = [f"run {self.run_id} ({self.report.status}) is sound: {self.report.files:,} files read"]
        else:
            lines = [f"run {self.run_id} is damaged:", *(f"  {problem.message}" for problem in self.report.problems)]
        return "\n".join([*lines, *(f"  note: {note}" for note in self.report.notes)])


def check_run(run: str, store: RunStore) -> CheckResult:
    """Compare every byte of a run with what was written. Raises RefusedError while it is being written."""
    folder = store.find(run)
    return CheckResult(run_id=folder.path.name, report=check(folder.path))


def remove_run(run: str, store: RunStore) -> str:
    """Remove a run for good; returns its id. Raises RefusedError while it is being written."""
    run_id = store.find(run).path.name
    store.remove(run_id)
    return run_id


def tag_run(run: str, tag: str, store: RunStore) -> str:
    """Give a run a name; returns its id. Raises InputError for a name that cannot be one."""
    run_id = store.find(run).path.name
    store.tag(run_id, tag)
    return run_id


def export_run(run: str, target: Path, store: RunStore) -> Transfer:
    """Pack a run, checked first, and its data into the new file `target`. Raises RefusedError when that is there."""
    folder = store.find(run)
    require_writable_name(target, "an export")
    return transfer.export_run(folder, target, blobs=store.blobs)


def import_run(archive: Path, store: FolderRunStore) -> Transfer:
    """Take in a run that was exported elsewhere, when every byte checks out. Raises InputError, IntegrityError."""
    require_file(archive, "an export")
    return transfer.import_run(archive, store)
