"""The journal: one line per step, each bound to all lines before it. Two runs are equal iff their last hashes are.

A line is canonical JSON, `{"content": {...}, "hash": H, "prev": P}` and a line feed, where P is the hash of the
line before (64 zeros in the first) and H = BLAKE3(P || canonical JSON of content), P as its 32 raw bytes. Contents:

    first line   {"type": "genesis", "format": "lockstep-journal", "version": 1, "fingerprint": ...,
                  "spec": ..., "data": ..., "code": ..., "numerics": ...}   hashes of the four documents' bodies
    a step       {"type": "step", "index": i, "scalars": {...}, "digests": {...}, "segments": {name: digest}}
                 and, where the columns of a segment may be redefined one by one by later releases,
                 "columns": {name: {column or column@edition: digest}}
    last line    {"type": "end", "steps": n, "result": ..., "artifacts": {name: digest}}

Nothing in it depends on host, time, path, interruptions or number of workers. After a crash the last line may be
torn: it lacks its line feed. Everything else that differs from what was written is damage.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from blake3 import blake3

from lockstep.core import canonical, files
from lockstep.core.errors import IntegrityError
from lockstep.core.hashing import digest_array
from lockstep.runs.training import Step
from lockstep.storage.appending import append_whole
from lockstep.storage.segment_format import checked_columns

if TYPE_CHECKING:
    from numpy.typing import NDArray

JOURNAL_FORMAT: Final = "lockstep-journal"
JOURNAL_VERSION: Final = 1
NO_HASH: Final = "0" * 64
_COLUMN_HEX: Final = 32
MAX_LINE_BYTES: Final = 64 << 20
"""A longer line is damage, or was made to fill memory: it is not read."""
_HEAD: Final = b'{"content":'
_TAIL_BYTES: Final = len(b',"hash":"' + b"0" * 64 + b'","prev":"' + b"0" * 64 + b'"}\n')


@dataclass(frozen=True, kw_only=True)
class Genesis:
    """What the run is a function of: hashes of its four documents, and the fingerprint over them."""

    fingerprint: str
    spec: str
    data: str
    code: str
    numerics: str

    def content(self) -> dict[str, Any]:
        """The content of the first line."""
        return {
            "type": "genesis",
            "format": JOURNAL_FORMAT,
            "version": JOURNAL_VERSION,
            "fingerprint": self.fingerprint,
            "spec": self.spec,
            "data": self.data,
            "code": self.code,
            "numerics": self.numerics,
        }


def column_digests(columns: Mapping[str, NDArray[Any]], editions: Mapping[str, int]) -> dict[str, str]:
    """A digest of each column, by its name; `name@2` for the second definition of that name, and so on.

    Of 128 bits: they say which column differs, while the segment's own digest says whether anything does.
    """
    return {
        name if editions.get(name, 1) == 1 else f"{name}@{editions[name]}": digest_array(column)[:_COLUMN_HEX]
        for name, column in columns.items()
    }


def step_content(step: Step, segments: Mapping[str, str]) -> dict[str, Any]:
    """The content of a step's line; `segments` are the digests of the frames it appended."""
    content: dict[str, Any] = {
        "type": "step",
        "index": step.index,
        "scalars": step.scalars,
        "digests": step.digests,
        "segments": segments,
    }
    if step.editions:
        content["columns"] = {
            name: column_digests(checked_columns(name, step.segments[name]), editions)
            for name, editions in step.editions.items()
        }
    return content


def end_content(steps: int, result: str, artifacts: Mapping[str, str]) -> dict[str, Any]:
    """The content of the last line: number of steps, digests of result.json and of each artifact."""
    return {"type": "end", "steps": steps, "result": result, "artifacts": artifacts}


@dataclass(frozen=True)
class Line:
    """One line of a journal: its place in the file (bytes), content and hash. `number` counts from 1."""

    number: int
    start: int
    stop: int
    content: dict[str, Any]
    prev: str
    hash: str
    data: bytes

    @property
    def type(self) -> str:
        """The kind of line: "genesis", "step" or "end"."""
        return str(self.content["type"])

    @property
    def body(self) -> bytes:
        """The bytes of the content, to compare by: Python holds 0.0 equal to -0.0 and 1 to 1.0, a journal does not."""
        return canonical.dumps(self.content)


def line_hash(prev: str, content: bytes) -> str:
    """H = BLAKE3(P || content), 64 hex digits; `prev` is P in hex."""
    return str(blake3(bytes.fromhex(prev) + content).hexdigest())


def encode_line(content: Mapping[str, Any], prev: str) -> tuple[bytes, str]:
    """The bytes of a line, and its hash. Raises TypeError for content that canonical JSON does not hold."""
    body = canonical.dumps(content)
    digest = line_hash(prev, body)
    # Joined by hand rather than dumped twice: the keys are in canonical order.
    return b'{"content":' + body + b',"hash":"' + digest.encode() + b'","prev":"' + prev.encode() + b'"}\n', digest


def decode_line(data: bytes, number: int, start: int, prev: str, place: Path) -> Line:
    """The line in `data`, which follows one with hash `prev`. Raises IntegrityError naming line and place."""
    body = data[len(_HEAD) : -_TAIL_BYTES]
    digest = line_hash(prev, body)
    sound = data == _HEAD + body + b',"hash":"' + digest.encode() + b'","prev":"' + prev.encode() + b'"}\n'
    content: Any = None
    if sound:
        try:
            # No second spelling of the same value passes.
            content = canonical.loads_canonical(body)
            sound = _has_form(content)
        except (ValueError, RecursionError):
            sound = False
    if not sound:
        raise IntegrityError(
            f"{place}: line {number} (byte {start}) is not the line that was written after the one before it. "
            "The journal is not used; restore it from a copy, or train again."
        )
    return Line(number, start, start + len(data), content, prev, digest, data)


def _has_form(content: Any) -> bool:
    """Whether a line holds what its type promises. The hash proves who wrote it last, not that it was this program."""
    if not isinstance(content, dict):
        return False
    if content.get("type") == "step":
        tables = [content.get(name) for name in ("scalars", "digests", "segments")]
        index = content.get("index")
        return (
            type(index) is int
            and index >= 0
            and all(isinstance(table, dict) for table in tables)
            and all(isinstance(digest, str) for table in tables[1:] for digest in (table or {}).values())
        )
    if content.get("type") == "end":
        artifacts, steps = content.get("artifacts"), content.get("steps")
        return (
            isinstance(artifacts, dict)
            and all(isinstance(digest, str) for digest in artifacts.values())
            and isinstance(content.get("result"), str)
            and type(steps) is int
        )
    names = ("fingerprint", "spec", "data", "code", "numerics")
    return content.get("type") == "genesis" and all(isinstance(content.get(name), str) for name in names)


def read_lines(path: Path) -> Iterator[Line]:
    """The lines of a journal in order, each checked against its hash and the line before it.

    A torn last line ends the iteration silently; `torn_bytes` tells how long it is. The file is read as a stream.
    Raises IntegrityError naming the first damaged line, DiskError when the file cannot be read.
    """
    try:
        with path.open("rb") as handle:
            yield from _checked_lines(handle, path)
    except OSError as error:
        raise files.disk_error("read", path, error) from error


def _checked_lines(handle: BinaryIO, path: Path) -> Iterator[Line]:
    prev, start, ended, steps = NO_HASH, 0, False, 0
    for number, data in enumerate(iter(lambda: handle.readline(MAX_LINE_BYTES), b""), start=1):
        if not data.endswith(b"\n"):
            if len(data) == MAX_LINE_BYTES:
                raise IntegrityError(
                    f"{path}: line {number} (byte {start}) has more than {MAX_LINE_BYTES} bytes. The journal is not "
                    "used; restore it from a copy, or train again."
                )
            return
        line = decode_line(data, number, start, prev, path)
        # The hashes prove that the lines are as written; this proves that the file is a journal.
        in_order = {"genesis": number == 1, "step": number > 1, "end": number > 1}[line.type] and not ended
        if line.type == "step" and line.content.get("index") != steps:
            in_order = False
        if not in_order:
            raise IntegrityError(f"{path}: line {number} ({line.type}) is out of order. The journal is not used.")
        if line.type == "genesis":
            _check_version(line, path)
        steps += line.type == "step"
        ended = line.type == "end"
        yield line
        prev, start = line.hash, line.stop


def _check_version(line: Line, path: Path) -> None:
    version = (line.content.get("format"), line.content.get("version"))
    if version != (JOURNAL_FORMAT, JOURNAL_VERSION):
        raise IntegrityError(
            f"{path}: this release reads {JOURNAL_FORMAT} version {JOURNAL_VERSION}; found {version[0]} {version[1]}. "
            "Use the release that wrote it."
        )


def torn_bytes(path: Path) -> int:
    """Length of the torn last line: bytes after the last line feed. 0 for a whole journal."""
    size = path.stat().st_size
    with path.open("rb") as handle:
        torn = 0
        while torn < size:
            step = min(1 << 16, size - torn)
            handle.seek(size - torn - step)
            at = handle.read(step).rfind(b"\n")
            if at >= 0:
                return torn + step - at - 1
            torn += step
    return torn


class JournalWriter:
    """Appends lines to a journal whose last hash the caller has checked."""

    def __init__(self, path: Path, *, last_hash: str) -> None:
        self._file = files.AppendFile(path)
        self._held: list[bytes] = []
        self._held_bytes = 0
        self.hash = last_hash

    @property
    def length(self) -> int:
        """Bytes of the file with all lines, those that are held back included."""
        return self._file.length + self._held_bytes

    def append(self, content: Mapping[str, Any]) -> str:
        """Append a line and hand it to the operating system; returns its hash. Raises DiskError."""
        digest = self.hold(content)
        self.hand_over()
        return digest

    def hold(self, content: Mapping[str, Any]) -> str:
        """Append a line that `hand_over` writes, with others in one call; returns its hash."""
        data, self.hash = encode_line(content, self.hash)
        self._held.append(data)
        self._held_bytes += len(data)
        return self.hash

    def hand_over(self) -> None:
        """Hand the lines that are held back to the operating system. Raises DiskError."""
        if self._held:
            # What a failure leaves behind is unknown, so nothing is written a second time.
            data = b"".join(self._held)
            self._held.clear()
            self._held_bytes = 0
            append_whole(self._file, [data])

    def sync(self) -> None:
        """Force all lines to the device. Raises DiskError."""
        self.hand_over()
        self._file.sync()

    def close(self) -> None:
        """Close the file. Closing twice does nothing."""
        self._file.close()
