"""Compare every byte of a run's folder with the byte that was written. Complete runs and interrupted ones alike.

A complete run is compared with its manifest. An interrupted one has none: its inputs are compared with `inputs.json`,
its checkpoints with their index, journal and segments with each other and with the checkpoints. What a crash may
leave behind the last checkpoint (a torn line, frames of an unfinished step) is a note, not a problem: resume cuts it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lockstep.core.errors import DiskError, IntegrityError, LockstepError, RefusedError
from lockstep.core.files import is_unreadable
from lockstep.core.hashing import blake3_hex
from lockstep.runs.audit import Audit, Auditor, Mark, Problem
from lockstep.runs.checkpoint import Checkpoint, CheckpointStore, Index, missing_parts
from lockstep.runs.folder import IDENTITY_DOCUMENTS, RunFolder, RunStatus, require_folder
from lockstep.runs.form import form_problems, identity_problems
from lockstep.runs.input_manifest import file_entry, input_problems, is_input, list_problems
from lockstep.runs.manifest import output_differences
from lockstep.runs.resume import read_cut_lines
from lockstep.storage.documents import document_hash


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """The outcome of `check`. `files` is how many files were read."""

    status: RunStatus
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    files: int

    @property
    def ok(self) -> bool:
        """Whether every byte is as it was written; notes may remain."""
        return not self.problems

    def raise_for_problems(self) -> None:
        """Raise IntegrityError naming every damaged file, if there is one; DiskError where all could not be read."""
        if self.problems:
            raise self.error("\n".join(problem.message for problem in self.problems))

    @property
    def error(self) -> type[IntegrityError | DiskError]:
        """What the problems are: damage, or a disk or permissions that keep files from being read."""
        return DiskError if all(problem.unreadable for problem in self.problems) else IntegrityError


def check(path: Path) -> CheckReport:
    """Check the run in `path`. Raises RefusedError while it is being written, DiskError when there is no folder."""
    folder = require_folder(path)
    status = folder.status()
    if status is RunStatus.RUNNING:
        raise RefusedError(f"{path}: a run is checked when nobody writes it. Wait for it to end, or stop it.")
    return _Check(folder, status).run()


def check_record(path: Path) -> CheckReport:
    """Check the run in `path`, and that its documents have the form and the identity that this program gives a run.

    What leaves a home, comes into one or is computed again is looked at in this way. Raises as `check` does.
    """
    folder = require_folder(path)
    status = folder.status()
    # Only documents of the right form are read further.
    problems = form_problems(folder) if status is not RunStatus.RUNNING else []
    if problems:
        return CheckReport(status=status, problems=tuple(problems), notes=(), files=len(folder.listing()))
    report = check(path)
    return replace(report, problems=report.problems or tuple(identity_problems(folder)))


class _Check:
    def __init__(self, folder: RunFolder, status: RunStatus) -> None:
        self._folder = folder
        self._status = status
        self._problems: list[Problem] = []
        self._notes: list[str] = []
        self._listing = folder.listing()
        self._store = CheckpointStore(folder.checkpoints)

    def run(self) -> CheckReport:
        """Check the files one by one, then against each other."""
        self._regular()
        checkpoints = self._checkpoints()
        audit = Auditor(self._folder, marks={item.journal_length for item in checkpoints}).run()
        self._problems += audit.problems
        fits = self._genesis(audit)
        if self._status is RunStatus.COMPLETE:
            self._complete(audit, fits)
        else:
            self._notes += audit.notes
            self._interrupted(audit)
        self._index(self._ties(audit, checkpoints))
        if (self._folder.path / "tags.json").exists():
            self._try("tags.json", self._folder.read, "tags")
        return CheckReport(
            status=self._status,
            problems=tuple({problem.file: problem for problem in reversed(self._problems)}.values())[::-1],
            notes=tuple(self._notes),
            files=len(self._listing),
        )

    def _problem(self, name: str, message: str) -> None:
        self._problems.append(Problem(name, f"{self._folder.path / name}: {message}"))

    def _try(self, name: str, read: Callable[..., Any], *args: Any) -> Any:
        """What `read(*args)` returns; None, and a problem recorded, when it raises."""
        try:
            return read(*args)
        except LockstepError as error:
            self._problems.append(Problem(name, str(error), unreadable=is_unreadable(error)))
        except (KeyError, TypeError, ValueError, AttributeError):
            self._problem(name, "not the document that was written. Restore it from a copy.")
        return None

    def _regular(self) -> None:
        for name, path in self._listing.items():
            if path.is_symlink() or not path.is_file():
                self._problem(name, "not the regular file that was written. Restore it from a copy.")

    def _complete(self, audit: Audit, fits: bool) -> None:
        """Compare a complete run with its manifest, and the manifest with the journal."""
        body = self._try("MANIFEST.json", self._folder.read, "manifest")
        if body is not None:
            listing = {name: path for name, path in self._listing.items() if name != "MANIFEST.json"}
            self._problems += self._try("MANIFEST.json", list_problems, self._folder, body["files"], listing) or []
            if fits and not audit.problems:
                self._seal(body, audit)
        if audit.end is None and not audit.problems:
            self._problem("journal.jsonl", "has no last line, though the run was sealed. Restore it from a copy.")
        # Tails are what a crash leaves; a sealed run had none.
        for note in audit.notes:
            self._problem(note.split(" ", 1)[0], f"does not end where it ended when it was sealed ({note}).")
        if audit.end is not None:
            self._outputs(audit.end.content)

    def _seal(self, body: dict[str, Any], audit: Audit) -> None:
        """Compare what the manifest says of the journal with the journal."""
        genesis = audit.genesis.content if audit.genesis is not None else {}
        claims = (body.get("journal_hash"), body.get("fingerprint"), body.get("steps"))
        if claims[0] != audit.journal_hash:
            self._problem("MANIFEST.json", "names another last hash than the journal has. Restore it from a copy.")
        elif claims[1:] != (genesis.get("fingerprint"), audit.steps):
            self._problem(
                "MANIFEST.json",
                "names another fingerprint or number of steps than the journal. Restore it from a copy.",
            )

    def _interrupted(self, audit: Audit) -> None:
        """Compare an interrupted run with inputs.json, and name files that do not belong to it."""
        # The first start writes inputs.json before anything else: a run killed earlier has none.
        begun = audit.genesis is not None or bool(self._store.stored_steps())
        if begun or self._folder.has("inputs"):
            for problem in self._try("inputs.json", input_problems, self._folder) or []:
                if self._as_begun(problem.file, audit):
                    self._problem("inputs.json", f"lists another {problem.file} than the journal's first line names.")
                else:
                    self._problems.append(problem)
        else:
            for kind in (*IDENTITY_DOCUMENTS, "environment"):
                self._try(f"{kind}.json", self._folder.read, kind)
            self._notes.append("the run was not begun; resume begins it")
        if audit.genesis is None and self._store.stored_steps():
            self._problem("journal.jsonl", "missing or empty, though the run has checkpoints. Restore it from a copy.")
        for kind in ("failure", "alarm"):
            if self._folder.has(kind):
                self._try(f"{kind}.json", self._folder.read, kind)
        if audit.end is not None:
            self._outputs(audit.end.content)
            self._problem("MANIFEST.json", "missing, though the run reached its end. `lockstep resume` seals it.")
        elif self._folder.has("result") or self._folder.artifacts.is_dir():
            self._notes.append("the run was interrupted while it wrote its result; resume writes it anew")
        self._unknown(audit)

    def _unknown(self, audit: Audit) -> None:
        documents = {f"{kind}.json" for kind in ("inputs", "failure", "alarm", "result")}
        expected = {"journal.jsonl", "journal.cut", "checkpoints/index.json", *documents, *audit.digests}
        expected |= {f"checkpoints/{self._store.path(steps).name}" for steps in self._store.stored_steps()}
        for name in self._listing:
            if not (name in expected or is_input(name) or name.startswith("artifacts/")):
                self._problem(name, "does not belong to the run. Move it elsewhere.")

    def _outputs(self, end: dict[str, Any]) -> None:
        digests = {}
        for name, path in self._listing.items():
            if (name.startswith("artifacts/") or name == "result.json") and path.is_file():
                entry = self._try(name, file_entry, path)
                digests[name] = entry["blake3"] if entry is not None else ""
        for name, message in output_differences(end, digests):
            self._problem(name, message)

    def _genesis(self, audit: Audit) -> bool:
        """Compare the four documents with the journal's first line. Returns whether the journal is this run's."""
        if audit.genesis is None:
            return False
        fits = True
        for kind in IDENTITY_DOCUMENTS:
            name = f"{kind}.json"
            digest = self._try(name, self._hash, kind)
            if digest is not None and digest != audit.genesis.content[kind]:
                # Of two that disagree, the one whose digest inputs.json holds is right.
                fits = fits and not self._as_listed(name)
                if self._as_listed(name):
                    self._problem("journal.jsonl", f"its first line names another {name}: it belongs to another run.")
                else:
                    self._problem(name, "not the document that the journal's first line names.")
        return fits

    def _as_begun(self, name: str, audit: Audit) -> bool:
        """Whether a document is the one that the journal's first line names."""
        kind = name.removesuffix(".json")
        if audit.genesis is None or kind not in IDENTITY_DOCUMENTS:
            return False
        try:
            return bool(self._hash(kind) == audit.genesis.content[kind])
        except LockstepError:
            return False

    def _as_listed(self, name: str) -> bool:
        try:
            return bool(self._folder.read("inputs")["files"][name] == file_entry(self._folder.path / name))
        except (LockstepError, KeyError, TypeError):
            return False

    def _hash(self, kind: str) -> str:
        return document_hash(self._folder.read(kind))

    def _checkpoints(self) -> list[Checkpoint]:
        """All checkpoints that are whole in themselves; problems for the others."""
        good = []
        for steps in self._store.stored_steps():
            checkpoint = self._try(self._name(steps), self._store.load, steps)
            if checkpoint is not None:
                good.append(checkpoint)
        return good

    def _name(self, steps: int) -> str:
        return f"checkpoints/{self._store.path(steps).name}"

    def _ties(self, audit: Audit, checkpoints: list[Checkpoint]) -> set[int]:
        """Check that each checkpoint stands where journal and segments say; problems for those that do not.

        Returns the steps of those that do.
        """
        tied = set()
        for checkpoint in checkpoints:
            for path in missing_parts(checkpoint, self._folder.segments):
                name = path.relative_to(self._folder.path).as_posix()
                self._problem(name, f"missing, though {self._name(checkpoint.steps)} stands on it. Restore it.")
            mark = audit.marks.get(checkpoint.journal_length)
            if mark == Mark(checkpoint.steps, checkpoint.journal_hash, dict(checkpoint.segments)):
                tied.add(checkpoint.steps)
            elif mark is None and checkpoint.journal_length > audit.journal_length:
                self._problem(
                    "journal.jsonl",
                    f"has {audit.journal_length} whole bytes, but {self._name(checkpoint.steps)} was written when it "
                    f"had {checkpoint.journal_length}. Restore it from a copy.",
                )
            elif not audit.problems:
                self._problem(self._name(checkpoint.steps), "belongs to another run, or the journal is another's.")
        return tied

    def _index(self, tied: set[int]) -> None:
        """Compare the index with the checkpoints and the journal.cut that are there."""
        stored = self._store.stored_steps()
        if not stored and not self._folder.journal.exists() and not self._store.index_path.exists():
            return  # killed before the first line
        index: Index | None = self._try("checkpoints/index.json", self._store.index)
        if index is None:
            return
        listed = {entry.steps: entry for entry in index.entries}
        for steps, entry in listed.items():
            if steps not in stored:
                self._problem(self._name(steps), "missing. Restore it from a copy, or resume from an older checkpoint.")
            elif blake3_hex(self._store.path(steps).read_bytes()) != entry.blake3:
                # A checkpoint that agrees with journal and segments is right, so the index is not.
                name = "checkpoints/index.json" if steps in tied else self._name(steps)
                self._problem(name, f"the index lists another checkpoint after {steps} steps. Restore it from a copy.")
        newest = max(listed, default=-1)
        for steps in stored:
            # A crash leaves at most one new file before the index knows it, and old ones after it let them go.
            if steps not in listed and steps not in index.removed and steps < newest:
                self._problem(self._name(steps), "does not belong to the run.")
        path = self._folder.cut_lines
        if path.exists():
            self._try("journal.cut", read_cut_lines, path)
        elif index.cut_lines:
            self._problem("journal.cut", "missing; it holds lines that have to be met again. Restore it from a copy.")
