"""Runs as files: list, show, check, export, import, remove, tag."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from lockstep.app.paths import require_file, require_writable_name
from lockstep.app.trust import reading
from lockstep.core.canonical import plain
from lockstep.core.errors import IntegrityError, LockstepError, RefusedError
from lockstep.reports.headline import headline, read_run, table_of
from lockstep.runs import transfer
from lockstep.runs.archive import Contents, look
from lockstep.runs.check import CheckReport, check_record
from lockstep.runs.folder import RunFolder, RunStatus
from lockstep.runs.form import MISFORMED
from lockstep.runs.results import Headline, TrainResult
from lockstep.runs.sealed import sealed_document
from lockstep.runs.store import FolderRunStore, RunRow, RunStore
from lockstep.runs.transfer import Transfer, snapshot_problems
from lockstep.runs.twins import CACHE
from lockstep.storage.derived import DerivedValues, stamp_of

_HEADLINE_FILES: Final = frozenset({"result.json", "MANIFEST.json"})
_HEADLINES_VERSION: Final = "1"


@dataclass(frozen=True, kw_only=True)
class ListedRun:
    """A row of the list of runs; `headline` and `trials` are None for a run that is not complete or has none."""

    row: RunRow
    headline: Headline | None = None
    trials: int | None = None

    @property
    def decision(self) -> str | None:
        """The decision of the verdict: ACCEPT, CAUTION or REJECT; None when there is none."""
        verdict = None if self.headline is None else self.headline.verdict
        return None if verdict is None else verdict["decision"]

    def to_json(self) -> dict[str, Any]:
        """A row of `lockstep runs list --json`; `trials`, `objective` and `best` are null for a run without trials."""
        row, line = self.row, self.headline
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
            "headline": None if line is None else line.to_json(),
            "decision": self.decision,
            "trials": self.trials,
            "objective": line.name if line and self.trials is not None else None,
            "best": line.value if line and self.trials is not None else None,
            "alarm": row.alarm,
            "problem": row.problem,
            "folder": str(row.folder),
        }


def list_runs(store: RunStore) -> list[ListedRun]:
    """All runs, oldest first. A damaged one is listed with its problem."""
    derived = DerivedValues(store.home / CACHE / "headlines.json", _HEADLINES_VERSION)
    listed = [_listed(row, derived) for row in store.list()]
    derived.save()
    return listed


def _listed(row: RunRow, derived: DerivedValues) -> ListedRun:
    if row.status is not RunStatus.COMPLETE or row.problem is not None:
        return ListedRun(row=row)
    folder = RunFolder(row.folder)
    try:
        stamp = stamp_of(row.folder, _HEADLINE_FILES)
        values = derived.get(row.run_id, stamp, lambda: _headline_of(folder))
        line = values["headline"]
        return ListedRun(row=row, headline=None if line is None else Headline(**line), trials=values["trials"])
    except (LockstepError, OSError):
        return ListedRun(row=row)  # `runs check` names the damage
    except MISFORMED as error:
        # A record from elsewhere may hold anything; it must not hide the others.
        problem = f"{row.folder}: the summary lacks what it should hold ({type(error).__name__}: {error})"
        return ListedRun(row=replace(row, problem=problem))


def _headline_of(folder: RunFolder) -> dict[str, Any]:
    summary = sealed_document(folder, "result")["summary"]
    total, line = table_of(summary, "trials").get("total"), headline(summary)
    return {
        "headline": None if line is None else plain(vars(line)),
        "trials": total if isinstance(total, int) else None,
    }


def show_run(run: str, store: RunStore) -> TrainResult:
    """What the record of a run says. Raises UnknownNameError, IntegrityError."""
    folder = store.find(run)
    with reading(folder):
        return read_run(folder, alarm=store.alarm(folder.path.name))


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """The report of `runs check` on one run."""

    run_id: str
    report: CheckReport

    @property
    def exit_code(self) -> int:
        """0 when sound, 1 when damaged, 4 when files could not be read."""
        return 0 if self.report.ok else self.report.error.exit_code

    def to_json(self) -> dict[str, Any]:
        """The object that `lockstep runs check --json` prints."""
        return {
            "run_id": self.run_id,
            "status": str(self.report.status),
            "sound": self.report.ok,
            "files": self.report.files,
            "problems": [{"file": problem.file, "message": problem.message} for problem in self.report.problems],
            "notes": list(self.report.notes),
        }

    def text(self) -> str:
        """The lines that `lockstep runs check` prints."""
        if self.report.ok:
            lines = [f"run {self.run_id} ({self.report.status}) is sound: {self.report.files:,} files read"]
        else:
            what = "is damaged" if self.report.error is IntegrityError else "cannot be read whole"
            lines = [f"run {self.run_id} {what}:", *(f"  {problem.message}" for problem in self.report.problems)]
        return "\n".join([*lines, *(f"  note: {note}" for note in self.report.notes)])


def check_run(run: str, store: RunStore) -> CheckResult:
    """Compare every byte of a run and of its data with its digest. Raises RefusedError while a process writes it."""
    folder = store.find(run)
    report = check_record(folder.path)
    if report.ok:
        report = replace(report, problems=tuple(snapshot_problems(folder, store.blobs)))
    return CheckResult(run_id=folder.path.name, report=report)


def remove_run(run: str, store: RunStore) -> str:
    """Remove a run for good, and return its id. Raises RefusedError while a process writes the run."""
    run_id = store.find(run).path.name
    store.remove(run_id)
    return run_id


def tag_run(run: str, tag: str, store: RunStore) -> str:
    """Name a run, and return its id. Raises InputError for a text that cannot be a tag."""
    run_id = store.find(run).path.name
    store.tag(run_id, tag)
    return run_id


def export_run(run: str, target: Path, store: RunStore, *, diff: bool = True) -> Transfer:
    """Check a run, then pack it and its data into the new file `target`.

    diff   False: leave out the diff of the repository that the run was made in

    Raises RefusedError when that file exists, IntegrityError for damage.
    """
    folder = store.find(run)
    require_writable_name(target, "an export")
    return transfer.export_run(folder, target, blobs=store.blobs, diff=diff)


def import_run(archive: Path, store: FolderRunStore) -> Transfer:
    """Check an exported run as a whole, then import it. Raises InputError, IntegrityError, RefusedError."""
    require_file(archive, "an export")
    return transfer.import_run(archive, store, inspect=_inspect)


def look_at(archive: Path) -> Contents:
    """What an exported run holds, its code among it; nothing is kept and nothing runs. Raises as `import_run` does."""
    require_file(archive, "an export")
    return look(archive)


def _inspect(folder: RunFolder) -> None:
    """Read a run as lists and reports do, so that no run is taken in that they cannot show."""
    # They load more than a list of runs needs.
    from lockstep.reports import gather

    result = read_run(folder)
    gather.brief(folder, result)
    if result.status == RunStatus.COMPLETE:
        headline(result.summary)
        if "session" in result.summary:
            from lockstep.learning.gradients.sessions import load_session

            with contextlib.suppress(RefusedError):
                load_session(folder)
