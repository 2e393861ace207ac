"""The archive of an exported run, read with suspicion: what it holds, before anything is kept or run.

Nothing is extracted by the names in the archive: only regular files that the index lists are read, under names checked
one by one, no byte further than the index says. `runs.transfer` describes the file.
"""

from __future__ import annotations

import contextlib
import errno
import re
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
from lockstep.core.errors import InputError, IntegrityError, LockstepError
from lockstep.runs.folder import UNSEALED
from lockstep.storage.documents import parse_document

INDEX: Final = "lockstep-export.json"
FORMAT_VERSION: Final = 1
MAX_FILES: Final = 100_000
MAX_INDEX_BYTES: Final = 64 << 20
MAX_SHOWN_BYTES: Final = 1 << 20
"""Bytes of a document or a source file that a look shows."""
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
    TypeError,
    AttributeError,
)
"""What `zipfile`, and reading values of another form, raise on bytes that are no archive, or no longer one."""
PIECE: Final = 1 << 20
_PART: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


@contextlib.contextmanager
def opened(source: Path) -> Iterator[tuple[zipfile.ZipFile, dict[str, Any]]]:
    """The archive and its index, checked against each other. What `zipfile` raises becomes an error of ours.

    Raises InputError for a file that is no export, IntegrityError for a damaged or forged one, DiskError.
    """
    try:
        handle: BinaryIO = source.open("rb")
    except OSError as error:
        raise files.disk_error("read", source, error) from error
    try:
        with handle, zipfile.ZipFile(handle) as archive:
            yield archive, _read_index(archive, source)
    except LockstepError:
        raise
    except _FOREIGN as error:
        raise IntegrityError(f"{source}: not a whole export of a run ({error}). Export or copy it again.") from error
    except OSError as error:
        if error.errno == errno.EINVAL:
            # A damaged offset leads to a place before the file's first byte.
            raise IntegrityError(
                f"{source}: not a whole export of a run ({error}). Export or copy it again."
            ) from error
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
    if not isinstance(index.get("status"), str):
        refuse("names no status")
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


def extract(archive: zipfile.ZipFile, name: str, entry: Mapping[str, Any], target: Path, source: Path) -> None:
    """One file of the archive as the new file `target`, compared with its digest. Raises IntegrityError, DiskError."""
    files.make_folder(target.parent)
    with files.AppendFile(target) as out:
        for piece in _pieces(archive, name, entry, source):
            out.append(piece)
        out.sync()


def _pieces(archive: zipfile.ZipFile, name: str, entry: Mapping[str, Any], source: Path) -> Iterator[bytes]:
    """The bytes of a file, never more than the index promises; the last piece comes when all are as promised."""
    hasher, left, last = blake3(), entry["length"], b""
    with archive.open(name) as handle:
        # One byte more than promised shows a file that is too long, without unpacking a bomb.
        while piece := handle.read(min(PIECE, left + 1)):
            left -= len(piece)
            if left < 0:
                break
            hasher.update(piece)
            if last:
                yield last
            last = piece
    if left != 0 or hasher.hexdigest() != entry["blake3"]:
        raise IntegrityError(f"{source}: {name} is not the file that the index lists. Copy or export the run again.")
    if last:
        yield last


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What an archive holds, as far as it says so itself: only importing it checks the record as a whole.

    status, kind, name   as its documents have them; None where they do not
    host                 name of the machine that its environment.json names
    files                length in bytes by name
    code                 text of each of the user's files, by name: what verify, resume and the like would run
    diff                 whether it holds a diff of the repository that it was made in
    """

    run_id: str
    status: str
    kind: str | None
    name: str | None
    host: str | None
    files: Mapping[str, int]
    code: Mapping[str, str]
    diff: bool

    def to_json(self) -> dict[str, Any]:
        """The object that `lockstep runs import --look --json` prints."""
        return {**vars(self), "files": dict(self.files), "code": dict(self.code)}


def look(source: Path) -> Contents:
    """What the archive `source` holds. Writes nothing and runs nothing; raises as `opened` does."""
    with opened(source) as (archive, index):
        listed = index["files"]

        def content(name: str) -> bytes:
            if listed[name]["length"] > MAX_SHOWN_BYTES:
                return b"[longer than 1 MiB, and not shown]\n"
            return b"".join(_pieces(archive, name, listed[name], source))

        def document(kind: str) -> Mapping[str, Any]:
            name = f"run/{kind}.json"
            if name not in listed or listed[name]["length"] > MAX_SHOWN_BYTES:
                return {}
            body = parse_document(content(name), kind, source / name)
            return body if isinstance(body, Mapping) else {}

        spec, environment = document("spec"), document("environment")
        full, git = environment.get("spec"), environment.get("git")
        return Contents(
            run_id=index["run_id"],
            status=index["status"],
            kind=_text(spec.get("kind")),
            name=_text(full.get("name")) if isinstance(full, Mapping) else None,
            host=_text(environment.get("host")),
            files={name: entry["length"] for name, entry in sorted(listed.items())},
            code={
                name.removeprefix("run/code/"): content(name).decode("utf-8", errors="replace")
                for name in sorted(listed)
                if name.startswith("run/code/")
            },
            diff=isinstance(git, Mapping) and bool(git.get("diff")),
        )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
