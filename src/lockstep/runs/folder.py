"""A run's folder: its paths, its self-checking documents, its lock, and the status that follows from its files.

    spec.json data.json code.json numerics.json   what the run is a function of; hashed in the journal's first line
    environment.json                              host, git commit ...: informative, in no hash of a result
    code/                                         the user's own source files, as they were
    inputs.json                                   length and BLAKE3 of all the above, written before the first step
    journal.jsonl  journal.cut                    the steps; lines that a resume cut and has to meet again
    segments/  checkpoints/  artifacts/           see the modules of the same names
    result.json                                   the summary
    MANIFEST.json                                 length and BLAKE3 of every file; written last, makes a run complete
    failure.json  alarm.json                      why a run ended early; where a recomputed step differed
    lock  tags.json  timing.json                  not part of the record: who writes now; names given later; how
                                                  long the steps took

Documents are those of `storage.documents`: a changed byte is always seen.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lockstep.core import files
from lockstep.core.errors import DiskError, RefusedError
from lockstep.storage.documents import document_bytes, document_hash, parse_document
from lockstep.storage.lock import Words, is_locked, locked

IDENTITY_DOCUMENTS: Final = ("spec", "data", "code", "numerics")
UNSEALED: Final = frozenset({"lock", "tags.json", "timing.json"})
"""Files that the manifest leaves out: they change after the run."""
_LOCK_WORDS: Final = Words("a run", "Wait for it, or stop it and resume.")


class RunStatus(enum.StrEnum):
    """The state of a run, as the files of its folder tell it."""

    RUNNING = "running"
    INTERRUPTED = "interrupted"
    COMPLETE = "complete"
    FAILED = "failed"


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run. Holds no state: every answer is read from the files."""

    path: Path

    @classmethod
    def create(
        cls,
        path: Path,
        *,
        spec: Mapping[str, Any],
        data: Mapping[str, Any],
        code: Mapping[str, Any],
        numerics: Mapping[str, Any],
        environment: Mapping[str, Any],
        sources: Mapping[str, bytes] | None = None,
    ) -> RunFolder:
        """Make the folder of a new run. `sources` are the user's source files by flat name.

        All but `environment` is hashed content: two runs are equal only if these bodies are. Where data came from,
        hosts, paths and times belong into `environment`. Raises RefusedError when the folder holds something.
        """
        if path.is_dir() and any(path.iterdir()):
            raise RefusedError(f"a new run needs an empty folder; {path} holds files. Choose another, or resume it.")
        folder = cls(path)
        files.make_folder(path)
        for name, content in (sources or {}).items():
            files.make_folder(folder.sources)
            files.write_atomic(folder.sources / flat_name(name), content)
        bodies = {"spec": spec, "data": data, "code": code, "numerics": numerics, "environment": environment}
        for kind, body in bodies.items():
            folder.write(kind, body)
        return folder

    @property
    def journal(self) -> Path:
        """Path of journal.jsonl, the steps; see `runs.journal`."""
        return self.path / "journal.jsonl"

    @property
    def cut_lines(self) -> Path:
        """Path of journal.cut, lines that a resume has to meet again; see `runs.resume`."""
        return self.path / "journal.cut"

    @property
    def segments(self) -> Path:
        """Path of segments/, the columns of the steps; see `storage.segments`."""
        return self.path / "segments"

    @property
    def checkpoints(self) -> Path:
        """Path of checkpoints/, the states; see `runs.checkpoint`."""
        return self.path / "checkpoints"

    @property
    def artifacts(self) -> Path:
        """Path of artifacts/, the files of `Result.artifacts`."""
        return self.path / "artifacts"

    @property
    def sources(self) -> Path:
        """Path of code/, the user's source files."""
        return self.path / "code"

    def document(self, kind: str) -> Path:
        """The path of a document: `<kind>.json`, the manifest's in capitals."""
        return self.path / ("MANIFEST.json" if kind == "manifest" else f"{kind}.json")

    def read(self, kind: str) -> Any:
        """The body of a document. Raises DiskError when it is not there, IntegrityError when it is damaged."""
        path = self.document(kind)
        return parse_document(files.read_bytes(path), kind, path)

    def write(self, kind: str, body: Any) -> None:
        """Write, or replace, a document atomically. Raises DiskError."""
        files.write_atomic(self.document(kind), document_bytes(kind, body))

    def has(self, kind: str) -> bool:
        """Whether a document exists, damaged or not."""
        return self.document(kind).exists()

    def identity_hashes(self) -> dict[str, str]:
        """The hashes of spec, data, code and numerics, of the documents as they are."""
        return {kind: document_hash(self.read(kind)) for kind in IDENTITY_DOCUMENTS}

    @property
    def numerics(self) -> str:
        """The numerics that the spec asks for: "native" or "portable"."""
        return str(self.read("spec").get("numerics", "native"))

    def result(self) -> Any:
        """The summary of a complete run. Raises DiskError when there is none, IntegrityError when it is damaged."""
        return self.read("result")["summary"]

    def status(self) -> RunStatus:
        """The status, from the lock and from which files exist, nothing else."""
        if is_locked(self.path):
            return RunStatus.RUNNING
        if self.has("manifest"):
            return RunStatus.COMPLETE
        return RunStatus.FAILED if self.has("failure") else RunStatus.INTERRUPTED

    def lock(self) -> AbstractContextManager[None]:
        """Hold the folder against other writers (`storage.lock.locked`). Raises RefusedError, DiskError."""
        return locked(self.path, _LOCK_WORDS)

    def listing(self) -> dict[str, Path]:
        """Every file below the folder but the unsealed and the temporary ones, by relative POSIX path, sorted.

        A symbolic link is listed like a file, never followed.
        """
        paths = {}
        for path in self.path.rglob("*"):
            if path.is_dir() and not path.is_symlink():
                continue
            name = path.relative_to(self.path).as_posix()
            if name not in UNSEALED and not files.is_temporary(path.name):
                paths[name] = path
        return dict(sorted(paths.items()))


def flat_name(name: str) -> str:
    """`name`, when it can name a file directly in a folder. Raises ValueError otherwise."""
    letters = name.replace("-", "").replace("_", "").replace(".", "")
    if not (letters.isascii() and letters.isalnum()) or name.startswith(".") or len(name) > 120:
        raise ValueError(
            f"a file of a run has a flat name of at most 120 ASCII letters, digits, '-', '_' and '.', "
            f"not starting with '.'; found {name!r}"
        )
    return name


def require_folder(path: Path) -> RunFolder:
    """The run in `path`. Raises DiskError when there is no such folder."""
    if not path.is_dir():
        raise DiskError(f"{path}: there is no such run folder. Check the name; `lockstep runs list` shows all runs.")
    return RunFolder(path)
