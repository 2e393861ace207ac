"""Export a run into one file, and import it into another home, where it verifies.

The file is a ZIP that any tool opens. The same run gives the same bytes (names sorted, dates fixed):

    lockstep-export.json      self-checking document: run id, fingerprint, journal hash, length and BLAKE3 of the rest
    run/...                   the run's folder
    snapshots/<digest>.*      the data it used

What is imported was written by somebody else. Nothing is extracted by the names in the archive: only regular files that
the index lists are read, under names checked one by one, no byte further than the index says, into a folder beside the
runs; it becomes a run when every digest and the whole record check out. Importing runs no code; verifying or resuming
a run that brings its own strategy does, so do that with runs from people you trust.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from blake3 import blake3

from lockstep.core import files
from lockstep.core.errors import InputError, IntegrityError, LockstepError, RefusedError
from lockstep.runs.check import check
from lockstep.runs.folder import UNSEALED, RunFolder, RunStatus, require_folder
from lockstep.runs.input_manifest import file_entry
from lockstep.runs.store import FolderRunStore
from lockstep.storage.blobs import BlobStore, missing
from lockstep.storage.documents import document_bytes, parse_document

INDEX: Final = "lockstep-export.json"
FORMAT_VERSION: Final = 1
MAX_BYTES: Final = 256 << 30
MAX_FILES: Final = 100_000
MAX_INDEX_BYTES: Final = 64 << 20
_FOREIGN: Final = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    ValueError,
    RuntimeError,
    LookupError,
    OverflowError,
)
"""What `zipfile` raises on bytes that are no ZIP, or no longer one."""
_DATE: Final = (1980, 1, 1, 0, 0, 0)
_PIECE: Final = 1 << 20
_PART: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """The run that was exported or imported."""

    run_id: str
    path: Path
    files: int
    length: int
    """Bytes of the files, before compression."""


def export_run(folder: RunFolder, target: Path, *, blobs: BlobStore) -> Transfer:
    """Write a run, checked first, and its data into the new file `target`.

    Raises RefusedError when `target` is there or the run is being written, IntegrityError for damage, DataError when
    the run's data are not there, DiskError.
    """
    require_folder(folder.path)
    if target.exists() or target.is_symlink():
        raise RefusedError(f"{target}: something is there already, and nothing is overwritten. Choose another name.")
    check(folder.path).raise_for_problems()
    content = {f"run/{name}": path for name, path in folder.listing().items()}
    content |= _snapshot_files(folder, blobs)
    listed = {name: file_entry(path) for name, path in content.items()}
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
            for name, path in sorted(content.items()):
                _add(archive, name, _pieces(path), path.stat().st_size)
        files.fs.rename(partial, target)
        files.fs.fsync_folder(target.parent)
    except OSError as error:
        raise files.disk_error("write", target, error) from error
    finally:
        with contextlib.suppress(OSError):
            files.fs.unlink(partial)
    return _transfer(folder.path.name, target, listed)


def _transfer(run_id: str, path: Path, listed: Mapping[str, Any]) -> Transfer:
    return Transfer(
        run_id=run_id, path=path, files=len(listed), length=sum(entry["length"] for entry in listed.values())
    )


def _snapshot_files(folder: RunFolder, blobs: BlobStore) -> dict[str, Path]:
    """The files of the snapshots that data.json names. Raises DataError when one is missing."""
    by_name: dict[str, Path] = {}
    for digest in folder.read("data").get("snapshots", []):
        if not _DIGEST.fullmatch(digest):
            raise IntegrityError(f"{folder.document('data')}: a snapshot is named by 64 hex digits; found {digest!r}")
        suffixes = blobs.suffixes(digest)
        if not suffixes:
            raise missing(blobs.place(digest))
        by_name |= {f"snapshots/{digest}{suffix}": blobs.path(digest, suffix) for suffix in suffixes}
    return by_name


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as handle:
        while piece := handle.read(_PIECE):
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


def import_run(source: Path, store: FolderRunStore, *, max_bytes: int = MAX_BYTES) -> Transfer:
    """Take the run in `source` into `store`, under its own id, when every byte of it checks out.

    Where the run exists already, only the data that the store lacks are taken: that restores a missing snapshot.

    Raises InputError for a file that is no export, IntegrityError for a damaged or forged one, RefusedError when run
    and data exist already or the file is larger than `max_bytes` or the disk, DiskError. None of them leaves
    a file behind.
    """
    files.make_folder(store.runs)
    try:
        handle = source.open("rb")
    except OSError as error:
        raise files.disk_error("read", source, error) from error
    with handle, _opened(handle, source) as archive:
        index = _read_index(archive, source)
        run_id, listed = index["run_id"], index["files"]
        present = (store.runs / run_id).exists()
        if present:
            listed = _lacking(RunFolder(store.runs / run_id), listed, store.blobs)
            if not listed:
                raise RefusedError(f"{store.runs / run_id}: this run is there already, and nothing is overwritten.")
        _check_size(listed, source, store.home, max_bytes)
        staging = store.runs / f".new-{run_id}-{os.getpid()}"
        shutil.rmtree(staging, ignore_errors=True)  # a killed process of this very id may have left it
        try:
            for name, entry in listed.items():
                _extract(archive, name, entry, staging / name, source)
            if not present:
                _check_staged(staging, index, source)
            for path in _snapshots_in(staging):
                # A blob that exists stays: runs rely on it, and its digest is checked whenever it is opened.
                store.blobs.adopt(path, *_digest_and_suffix(path.name))
            if not present:
                store.admit(staging / "run", run_id)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return _transfer(run_id, store.runs / run_id, listed)


@contextlib.contextmanager
def _opened(handle: BinaryIO, source: Path) -> Iterator[zipfile.ZipFile]:
    """The archive. What `zipfile` raises on foreign bytes becomes an error of ours."""
    try:
        with zipfile.ZipFile(handle) as archive:
            yield archive
    except LockstepError:
        raise
    except _FOREIGN as error:
        raise IntegrityError(f"{source}: not a whole export of a run ({error}). Export or copy it again.") from error
    except OSError as error:
        raise files.disk_error("read", source, error) from error


def _read_index(archive: zipfile.ZipFile, source: Path) -> dict[str, Any]:
    """The index, when archive and index agree on what there is and every name is harmless."""
    entries = archive.infolist()
    names = [entry.filename for entry in entries]
    if INDEX not in names:
        raise InputError(
            f"{source}: a ZIP, but not an export of a run: it has no {INDEX}. Make one: lockstep runs export."
        )
    if len(names) > MAX_FILES or len(set(names)) != len(names):
        raise IntegrityError(
            f"{source}: {len(names)} files, of which {len(set(names))} differ by name; it is not used."
        )
    head = archive.getinfo(INDEX)
    if head.file_size > MAX_INDEX_BYTES:
        raise IntegrityError(f"{source}: the index has {head.file_size} bytes; it is not used.")
    with archive.open(head) as handle:
        data = handle.read(MAX_INDEX_BYTES + 1)
    index: dict[str, Any] = parse_document(data, "export", source / INDEX)
    _check_index(index, source)
    if set(index["files"]) != set(names) - {INDEX}:
        raise IntegrityError(f"{source}: holds other files than its index lists; it is not used.")
    for entry in entries:
        mode = entry.external_attr >> 16
        readable = entry.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
        # Only plain files: a link could lead out of the folder, and other methods may need code or memory of their own.
        if entry.is_dir() or stat.S_IFMT(mode) not in (0, stat.S_IFREG) or entry.flag_bits & 1 or not readable:
            raise IntegrityError(
                f"{source}: {entry.filename!r} is a link, a folder, encrypted or packed oddly; it is not used."
            )
    return index


def _check_index(index: Any, source: Path) -> None:
    def refuse(what: str) -> None:
        raise IntegrityError(f"{source}: its index {what}; it is not used.")

    if not isinstance(index, dict) or index.get("version") != FORMAT_VERSION:
        refuse(f"is not of version {FORMAT_VERSION}")
    if not re.fullmatch(r"[0-9]{8}T[0-9]{9}-[0-9a-f]{6}", str(index.get("run_id"))):
        refuse(f"names no run id ({index.get('run_id')!r:.80})")
    if not isinstance(index.get("files"), dict):
        refuse("lists no files")
    for name, entry in index["files"].items():
        parts = name.split("/")
        # At most run/<folder>/<file>: that is all a run has.
        if not 2 <= len(parts) <= 3 or parts[0] not in ("run", "snapshots") or not all(map(_PART.fullmatch, parts)):
            refuse(f"lists the name {name!r:.80}, which no run has")
        # `check` ignores these files, so an import could smuggle them in unchecked; no export has them.
        if "/".join(parts[1:]) in UNSEALED or name.endswith(files.TEMPORARY_SUFFIX):
            refuse(f"lists {name!r:.80}, which is no part of a run's record")
        if parts[0] == "snapshots" and (len(parts) != 2 or not _DIGEST.fullmatch(parts[1].partition(".")[0])):
            refuse(f"lists the snapshot {name!r:.80}, which is not named by a digest")
        # The index was written by somebody else: its digest proves nothing about its types.
        sound = isinstance(entry, dict) and entry.keys() == {"blake3", "length"}
        length = entry["length"] if sound else None
        if (
            isinstance(length, bool)
            or not isinstance(length, int)
            or length < 0
            or not isinstance(entry["blake3"], str)
        ):
            refuse(f"tells no length and digest of {name!r:.80}")


def _check_size(listed: Mapping[str, Any], source: Path, home: Path, max_bytes: int) -> None:
    total = sum(entry["length"] for entry in listed.values())
    free = shutil.disk_usage(home).free
    if total > min(max_bytes, free):
        raise RefusedError(
            f"{source}: unpacked it has {total} bytes; {free} are free, and at most {max_bytes} are taken. "
            "Free some space."
        )


def _extract(archive: zipfile.ZipFile, name: str, entry: Mapping[str, Any], target: Path, source: Path) -> None:
    """One file into staging, never more bytes than the index promises, checked against its digest."""
    files.make_folder(target.parent)
    hasher, left = blake3(), entry["length"]
    with archive.open(name) as handle, files.AppendFile(target) as out:
        # One byte more than promised shows a file that is too long, without unpacking a bomb.
        while piece := handle.read(min(_PIECE, left + 1)):
            left -= len(piece)
            if left < 0:
                break
            hasher.update(piece)
            out.append(piece)
        out.sync()
    if left != 0 or hasher.hexdigest() != entry["blake3"]:
        raise IntegrityError(f"{source}: {name} is not the file that the index lists. Copy or export the run again.")


def _lacking(folder: RunFolder, listed: Mapping[str, Any], blobs: BlobStore) -> dict[str, Any]:
    """Entries of snapshots in an archive that the run in `folder` names and `blobs` lacks."""
    digests = set(folder.read("data").get("snapshots", []))
    entries = {}
    for name, entry in listed.items():
        kind, _, file_name = name.partition("/")
        digest, suffix = _digest_and_suffix(file_name)
        if kind == "snapshots" and digest in digests and not blobs.has(digest, suffix):
            entries[name] = entry
    return entries


def _snapshots_in(staging: Path) -> list[Path]:
    return sorted((staging / "snapshots").iterdir()) if (staging / "snapshots").is_dir() else []


def _digest_and_suffix(file_name: str) -> tuple[str, str]:
    digest, dot, rest = file_name.partition(".")
    return digest, dot + rest


def _check_staged(staging: Path, index: Mapping[str, Any], source: Path) -> None:
    """Check the unpacked record as a run, and that its data came with it. Raises IntegrityError."""
    folder = RunFolder(staging / "run")
    if not folder.has("spec"):
        raise IntegrityError(f"{source}: holds no run. Export it again.")
    report = check(folder.path)
    report.raise_for_problems()
    if report.status is not RunStatus(index["status"]):
        raise IntegrityError(f"{source}: its index says the run is {index['status']}, but it is {report.status}.")
    snapshots = set(folder.read("data").get("snapshots", []))
    if snapshots != {path.name.partition(".")[0] for path in _snapshots_in(staging)}:
        raise IntegrityError(f"{source}: does not hold exactly the data that the run names. Export it again.")
