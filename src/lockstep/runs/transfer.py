"""Export a run into one file, and import it into another home, where it verifies.

The file is a ZIP that any tool opens. The same run gives the same bytes (names sorted, dates fixed):

    lockstep-export.json      self-checking document: run id, fingerprint, journal hash, length and BLAKE3 of the rest
    run/...                   the run's folder
    snapshots/<digest>.*      the data it used

What is imported was written by somebody else. `runs.archive` reads it file by file into a folder beside the runs; it
becomes a run when every digest, the form of every document and the whole record check out, its data among them.
Importing runs no code, and marks the run as imported: whatever runs its code later asks first (`runs.trust`).
"""

from __future__ import annotations

import contextlib
import functools
import shutil
import stat
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lockstep.core import files
from lockstep.core.errors import IntegrityError, LockstepError, RefusedError
from lockstep.core.files import is_unreadable
from lockstep.core.hashing import blake3_hex
from lockstep.runs.archive import FORMAT_VERSION, INDEX, PIECE, extract, opened
from lockstep.runs.audit import Problem
from lockstep.runs.check import check_record
from lockstep.runs.folder import RunFolder, RunStatus, require_folder
from lockstep.runs.form import MISFORMED
from lockstep.runs.input_manifest import file_entry
from lockstep.runs.store import FolderRunStore
from lockstep.runs.trust import mark_imported, unmark
from lockstep.storage.blob_checks import check_blob
from lockstep.storage.blobs import BlobStore, is_damaged, missing, require_digest
from lockstep.storage.documents import document_bytes

__all__ = ["INDEX", "Transfer", "export_run", "import_run"]

MAX_BYTES: Final = 256 << 30
_DATE: Final = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """The run that was exported or imported.

    length   bytes of the files, before compression
    code     names of the user's files, which verify, resume and the like run
    diff     whether the record holds a diff of the repository that it was made in
    """

    run_id: str
    path: Path
    files: int
    length: int
    code: tuple[str, ...] = ()
    diff: bool = False


def export_run(folder: RunFolder, target: Path, *, blobs: BlobStore, diff: bool = True) -> Transfer:
    """Write a run, checked first, and its data into the new file `target`.

    diff   False: leave the diff of the repository out of environment.json, which is in no hash of a result

    Raises RefusedError when `target` is there or the run is being written, IntegrityError for damage of the run or its
    data, DataError when the run's data are not there, DiskError.
    """
    require_folder(folder.path)
    if target.exists() or target.is_symlink():
        raise RefusedError(f"{target}: something is there already, and nothing is overwritten. Choose another name.")
    check_record(folder.path).raise_for_problems()
    content: dict[str, Path | bytes] = {f"run/{name}": path for name, path in folder.listing().items()}
    content |= _snapshot_files(folder, blobs)
    if not diff:
        content |= _without_diff(folder)
    listed = {name: _entry(item) for name, item in content.items()}
    index = {
        "version": FORMAT_VERSION,
        "run_id": folder.path.name,
        "status": folder.status(),
        "files": listed,
    }
    partial = files.temporary_path(target)
    try:
        # Process ids repeat, in containers soon, and a sink appends: a killed process may have left this very file.
        files.remove(partial)
        with _Sink(partial) as sink, zipfile.ZipFile(sink, "w", allowZip64=True) as archive:
            _add(archive, INDEX, [document_bytes("export", index)], 0)
            for name, item in sorted(content.items()):
                _add(archive, name, _pieces(item), listed[name]["length"])
        files.fs.rename(partial, target)
        files.fs.fsync_folder(target.parent)
    except OSError as error:
        raise files.disk_error("write", target, error) from error
    finally:
        with contextlib.suppress(OSError):
            files.fs.unlink(partial)
    return _transfer(folder, target, listed, diff=diff and _holds_diff(folder))


def _transfer(folder: RunFolder, path: Path, listed: Mapping[str, Any], *, diff: bool) -> Transfer:
    return Transfer(
        run_id=folder.path.name,
        path=path,
        files=len(listed),
        length=sum(entry["length"] for entry in listed.values()),
        code=tuple(name.removeprefix("run/code/") for name in sorted(listed) if name.startswith("run/code/")),
        diff=diff,
    )


def _entry(item: Path | bytes) -> dict[str, Any]:
    if isinstance(item, bytes):
        return {"blake3": blake3_hex(item), "length": len(item)}
    return file_entry(item)


def _holds_diff(folder: RunFolder) -> bool:
    git = folder.read("environment").get("git") if folder.has("environment") else None
    return isinstance(git, Mapping) and bool(git.get("diff"))


def _without_diff(folder: RunFolder) -> dict[str, Path | bytes]:
    """The documents that change when environment.json has no diff: itself, and those that list its digest."""
    if not _holds_diff(folder):
        return {}
    environment = folder.read("environment")
    git = {**environment["git"], "diff": "", "left_out": True}
    changed = {"environment.json": document_bytes("environment", {**environment, "git": git})}
    for kind in ("inputs", "manifest"):
        path = folder.document(kind)
        if path.exists():
            body = folder.read(kind)
            listed = {name: _entry(data) for name, data in changed.items() if name in body["files"]}
            changed[path.name] = document_bytes(kind, {**body, "files": {**body["files"], **listed}})
    return {f"run/{name}": data for name, data in changed.items()}


def snapshot_problems(folder: RunFolder, blobs: BlobStore) -> list[Problem]:
    """What is wrong with the data that a run in `folder` has pinned, the first of it; nothing where all is sound."""
    try:
        _snapshot_files(folder, blobs)
    except LockstepError as error:
        return [Problem("data.json", str(error), unreadable=is_unreadable(error))]
    return []


def _snapshot_files(folder: RunFolder, blobs: BlobStore) -> dict[str, Path | bytes]:
    """The files of the snapshots that data.json names, each as its digest says.

    Raises DataError when one is missing, IntegrityError when one is damaged.
    """
    data = folder.read("data")
    by_name: dict[str, Path | bytes] = {}
    for digest in data.get("snapshots", []):
        suffixes = blobs.suffixes(require_digest(digest))
        if not suffixes:
            raise missing(blobs.place(digest))
        for suffix in suffixes:
            path = blobs.path(digest, suffix)
            check_blob(path, digest, suffix, data)
            by_name[f"snapshots/{digest}{suffix}"] = path
    return by_name


def _pieces(item: Path | bytes) -> Iterator[bytes]:
    if isinstance(item, bytes):
        yield item
        return
    with item.open("rb") as handle:
        while piece := handle.read(PIECE):
            yield piece


def _add(archive: zipfile.ZipFile, name: str, pieces: Any, length: int) -> None:
    info = zipfile.ZipInfo(name, date_time=_DATE)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = (stat.S_IFREG | 0o644) << 16
    info.create_system = 3  # Unix, on whatever machine: the same run gives the same bytes
    # An entry of the archive, not a file: its bytes reach the disk by the archive's `_Sink`.
    into = functools.partial(archive.open, mode="w", force_zip64=length > (1 << 30))
    with into(info) as entry:
        for piece in pieces:
            entry.write(piece)


class _Sink:
    """A file that `zipfile` writes front to back, by way of `core.files`; synced when all went well."""

    def __init__(self, path: Path) -> None:
        self._file = files.AppendFile(path)

    def write(self, data: bytes | memoryview) -> int:
        """Append `data`; returns its bytes, as `zipfile` expects of a file."""
        self._file.append(data)
        return memoryview(data).nbytes

    def flush(self) -> None:
        """Do nothing: appended bytes are with the operating system already."""

    def __enter__(self) -> Any:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                self._file.sync()
        finally:
            self._file.close()


def import_run(
    source: Path,
    store: FolderRunStore,
    *,
    max_bytes: int = MAX_BYTES,
    inspect: Callable[[RunFolder], object] | None = None,
) -> Transfer:
    """Take the run in `source` into `store`, under its own id, when all of it checks out.

    Where the run exists already, only the data that the store lacks, or holds damaged, are taken.

    max_bytes   bytes to unpack at most
    inspect     reads the unpacked run as lists and reports will; what it cannot read is refused

    Raises InputError for a file that is no export, IntegrityError for a damaged or forged one, RefusedError when run
    and data exist already or the file is larger than `max_bytes` or the disk, DiskError. None of them leaves
    a file behind.
    """
    files.make_folder(store.runs)
    with opened(source) as (archive, index):
        run_id, listed = index["run_id"], index["files"]
        present = (store.runs / run_id).exists()
        if present:
            listed = _lacking(RunFolder(store.runs / run_id), listed, store.blobs)
            if not listed:
                raise RefusedError(f"{store.runs / run_id}: this run is there already, and nothing is overwritten.")
        _check_size(listed, source, store.home, max_bytes)
        with store.building(run_id) as staging:
            for name, entry in listed.items():
                extract(archive, name, entry, staging / name, source)
            folder = RunFolder(store.runs / run_id if present else staging / "run")
            if not present:
                _check_staged(folder, index, source)
            _check_snapshots(staging, folder, source)
            if not present and inspect is not None:
                _inspect(inspect, folder, source)
            _adopt(staging, folder, store.blobs)
            diff = _holds_diff(folder)
            if not present:
                _admit(folder, run_id, source, store)
    return _transfer(RunFolder(store.runs / run_id), store.runs / run_id, listed, diff=diff)


def _inspect(inspect: Callable[[RunFolder], object], folder: RunFolder, source: Path) -> None:
    try:
        inspect(folder)
    except MISFORMED as error:
        if isinstance(error, LockstepError):
            raise
        raise IntegrityError(
            f"{source}: a document of the run lacks what it should hold ({type(error).__name__}: {error}). It is not "
            "used; export the run again."
        ) from error


def _admit(folder: RunFolder, run_id: str, source: Path, store: FolderRunStore) -> None:
    # Marked first: a crash in between leaves a mark without a run, never a run that passes for one of this home.
    mark_imported(store.home, run_id, source.name)
    try:
        store.admit(folder.path, run_id)
    except BaseException:
        unmark(store.home, run_id)
        raise


def _check_size(listed: Mapping[str, Any], source: Path, home: Path, max_bytes: int) -> None:
    total = sum(entry["length"] for entry in listed.values())
    free = shutil.disk_usage(home).free
    if total > min(max_bytes, free):
        raise RefusedError(
            f"{source}: unpacked it has {total} bytes; {free} are free, and at most {max_bytes} are taken. "
            "Free some space."
        )


def _lacking(folder: RunFolder, listed: Mapping[str, Any], blobs: BlobStore) -> dict[str, Any]:
    """Entries of snapshots in an archive that the run in `folder` names and `blobs` lacks or holds damaged."""
    data = folder.read("data")
    digests = set(data.get("snapshots", []))
    entries = {}
    for name, entry in listed.items():
        kind, _, file_name = name.partition("/")
        digest, suffix = _digest_and_suffix(file_name)
        if kind == "snapshots" and digest in digests:
            sound = blobs.has(digest, suffix) and not is_damaged(
                blobs.path(digest, suffix), functools.partial(_check, digest=digest, suffix=suffix, data=data)
            )
            if not sound:
                entries[name] = entry
    return entries


def _check(path: Path, *, digest: str, suffix: str, data: Mapping[str, Any]) -> None:
    check_blob(path, digest, suffix, data)


def _snapshots_in(staging: Path) -> list[Path]:
    return sorted((staging / "snapshots").iterdir()) if (staging / "snapshots").is_dir() else []


def _digest_and_suffix(file_name: str) -> tuple[str, str]:
    digest, dot, rest = file_name.partition(".")
    return digest, dot + rest


def _check_snapshots(staging: Path, folder: RunFolder, source: Path) -> None:
    """Compare the unpacked snapshots with the digests in their names. Raises IntegrityError."""
    data = folder.read("data")
    for path in _snapshots_in(staging):
        try:
            check_blob(path, *_digest_and_suffix(path.name), data)
        except IntegrityError as error:
            raise IntegrityError(
                f"{source}: snapshots/{path.name} is not the data of its digest. The run was exported from a damaged "
                "home; nothing of it is kept. Export it from a sound one."
            ) from error


def _adopt(staging: Path, folder: RunFolder, blobs: BlobStore) -> None:
    """Move the unpacked snapshots to the others. A sound blob that exists stays; a damaged one is replaced."""
    data = folder.read("data")
    for path in _snapshots_in(staging):
        digest, suffix = _digest_and_suffix(path.name)
        check = functools.partial(_check, digest=digest, suffix=suffix, data=data)
        blobs.adopt(path, digest, suffix, check=check)


def _check_staged(folder: RunFolder, index: Mapping[str, Any], source: Path) -> None:
    """Check the unpacked record as a run, and that its data came with it. Raises IntegrityError."""
    if not folder.has("spec"):
        raise IntegrityError(f"{source}: holds no run. Export it again.")
    report = check_record(folder.path)
    if report.problems:
        # The folder is gone when the message is read: the archive and the name within it are what helps.
        lines = [problem.message.replace(f"{folder.path}/", f"{source}: run/") for problem in report.problems]
        raise IntegrityError("\n".join(lines))
    if report.status is not RunStatus(index["status"]):
        raise IntegrityError(f"{source}: its index says the run is {index['status']}, but it is {report.status}.")
    snapshots = set(folder.read("data").get("snapshots", []))
    if snapshots != {path.name.partition(".")[0] for path in _snapshots_in(folder.path.parent)}:
        raise IntegrityError(f"{source}: does not hold exactly the data that the run names. Export it again.")
