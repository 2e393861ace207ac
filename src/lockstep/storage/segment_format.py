"""Segments: append-only columnar files, one frame per step.

A segment is a table that grows. Its rows come frame by frame; names, dtypes and trailing shapes of its columns
are fixed by its first frame. A segment called `trials` lives in `segments/trials.000000.seg`, then `.000001.seg`
and so on: a part that has reached `part_bytes` is closed and the next one begun.

A part is a schema record followed by frames. All integers are little-endian, all sizes multiples of 8:

    head    32 bytes   tag (8 bytes), a (u64), b (u64), length of the body (u64)
    body               schema (tag `LSSCHEM1`, a = part number): canonical JSON, padded with spaces
                       frame  (tag `LSFRAME1`, a = step, b = rows): the columns one after the other, C order,
                       little-endian, each padded with zero bytes to a multiple of 8
    seal    32 bytes   schema: BLAKE3(head, body); frame: BLAKE3(head, digest), where `digest` is
                       `core.hashing.digest_columns` of the frame's columns

The journal holds the same `digest` for the step, so a large payload is hashed once, and a frame is tied to its
step by the journal and to its place by its head. Text columns are refused: code them as integers.
"""

from __future__ import annotations

import functools
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple

import numpy as np
from blake3 import blake3

from lockstep.core import canonical, files
from lockstep.core.errors import DataError, IntegrityError
from lockstep.core.hashing import column_head, digest_columns

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.storage.columns import Columns

HEAD: Final = struct.Struct("<8sQQQ")
SCHEMA_TAG: Final = b"LSSCHEM1"
FRAME_TAG: Final = b"LSFRAME1"
SEAL_BYTES: Final = 32
_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_PART: Final = re.compile(r"([a-z][a-z0-9_-]{0,63})\.([0-9]{6})\.seg")
_KINDS: Final = "biuf"
_DTYPE: Final = re.compile(r"[<|][biuf][1248]")
MAX_PART: Final = 999_999
"""A part's number has six digits in its file's name."""
_MAX_ROWS: Final = 1 << 48
_JOINED_BYTES: Final = 1 << 16
"""Columns of a frame up to this size are hashed in one call."""
_LAYOUTS: Final = 64
"""Numbers of rows whose layout a schema remembers."""

Record = tuple[bytes, memoryview, bytes]
"""Head, body and seal."""


@dataclass(frozen=True)
class Frame:
    """One step's columns of one segment. `digest` is the one in the journal; the arrays are read-only."""

    step: int
    rows: int
    digest: str
    columns: dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Schema:
    """Names, little-endian dtypes and trailing shapes of a segment's columns, in order."""

    columns: tuple[tuple[str, str, tuple[int, ...]], ...]

    @classmethod
    def of(cls, columns: Columns) -> Schema:
        """The schema of a frame with these columns, which fixes that of the whole segment."""
        return cls(
            tuple((name, _little(array).str, tuple(int(n) for n in array.shape[1:])) for name, array in columns.items())
        )

    @functools.cached_property
    def _row_sizes(self) -> list[int]:
        """Bytes of one row of each column."""
        return [np.dtype(dtype).itemsize * _product(shape) for _, dtype, shape in self.columns]

    @functools.cached_property
    def _places(self) -> dict[int, tuple[list[_Place], int]]:
        return {}

    def _layout(self, rows: int) -> tuple[list[_Place], int]:
        """Where each column lies in the body of a frame of `rows` rows, and the length of the body."""
        layout = self._places.get(rows)
        if layout is None:
            places, offset = [], 0
            for (name, dtype, shape), size in zip(self.columns, self._row_sizes, strict=True):
                stop = offset + rows * size
                head = column_head(name, dtype, (rows, *shape))
                places.append(_Place(name, np.dtype(dtype), (rows, *shape), offset, stop, padded(stop), head))
                offset = padded(stop)
            layout = places, offset
            if len(self._places) >= _LAYOUTS:
                self._places.clear()
            self._places[rows] = layout
        return layout

    def body_length(self, rows: int) -> int:
        """Bytes of the body of a frame of `rows` rows."""
        return self._layout(rows)[1]

    def split(self, body: memoryview, rows: int) -> dict[str, NDArray[Any]]:
        """The columns in the body of a frame, as views. Raises ValueError when the padding is not zero."""
        result = {}
        for name, dtype, shape, start, stop, end, _ in self._layout(rows)[0]:
            # The seal covers the columns' digest, not the padding: without this a changed byte there would go unseen.
            if end > stop and any(body[stop:end]):
                raise ValueError("padding is not zero")
            array: NDArray[Any] = np.ndarray(shape, dtype, body, start)
            array.flags.writeable = False
            result[name] = array
        return result

    def digest(self, body: memoryview, rows: int) -> str:
        """`digest_columns` of the columns in the body of a frame."""
        hasher = blake3()
        pieces: list[Any] = []
        for _, _, _, start, stop, _, head in self._layout(rows)[0]:
            pieces += (head, body[start:stop])
            if stop - start > _JOINED_BYTES:
                pieces.pop()
                hasher.update(b"".join(pieces))
                hasher.update(body[start:stop])
                pieces.clear()
        hasher.update(b"".join(pieces))
        return str(hasher.hexdigest())


class _Place(NamedTuple):
    """A column in the body of a frame: bytes [start, stop), then zeros up to `end`; `head` is hashed before it."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    start: int
    stop: int
    end: int
    head: bytes


class FrameForm:
    """What the frames of one segment have in common, worked out once: frames come by the million."""

    def __init__(self, segment: str, schema: Schema) -> None:
        self.segment, self.schema = segment, schema
        self._names = [name for name, _, _ in schema.columns]
        self._types = [(np.dtype(dtype), shape) for _, dtype, shape in schema.columns]

    def fitting(self, columns: Columns) -> list[NDArray[Any]] | None:
        """The columns as they are, where they have this form to the letter; None where `checked_columns` has to look.

        Then they are other than contiguous little-endian arrays of the segment's columns, or not equally long.
        """
        if list(columns) != self._names:
            return None
        arrays = list(columns.values())
        if not arrays or not isinstance(arrays[0], np.ndarray) or not arrays[0].shape:
            return None
        rows = arrays[0].shape[:1]
        for array, (dtype, shape) in zip(arrays, self._types, strict=True):
            if (
                type(array) is not np.ndarray
                or array.dtype != dtype
                or array.shape != rows + shape
                or not array.flags.c_contiguous
            ):
                return None
        return arrays

    def digest(self, arrays: Sequence[NDArray[Any]], rows: int) -> str:
        """`digest_columns` of arrays of this form with `rows` rows, 64 hex digits."""
        places, length = self.schema._layout(rows)
        if length > _JOINED_BYTES:
            return digest_columns(dict(zip(self._names, arrays, strict=True)))
        pieces: list[Any] = []
        for place, array in zip(places, arrays, strict=True):
            pieces += (place.head, array)
        return str(blake3(b"".join(pieces)).hexdigest())


def part_path(folder: Path, name: str, part: int) -> Path:
    """The file of one part: `<name>.<part, six digits>.seg`."""
    return folder / f"{name}.{part:06d}.seg"


def segment_parts(folder: Path) -> dict[str, list[int]]:
    """Part numbers found in a segment folder, by segment name, both sorted; other files are ignored."""
    parts: dict[str, list[int]] = {}
    if folder.is_dir():
        for path in sorted(folder.iterdir()):
            match = _PART.fullmatch(path.name)
            if match:
                parts.setdefault(match[1], []).append(int(match[2]))
    return parts


def checked_columns(name: str, columns: Columns) -> dict[str, NDArray[Any]]:
    """The columns as C-ordered little-endian arrays. Raises DataError."""
    if not _NAME.fullmatch(name):
        raise DataError(
            "a segment's name is a lower-case letter, then at most 63 lower-case letters, digits, '_' or '-'; "
            f"found {name!r}"
        )
    arrays: dict[str, NDArray[Any]] = {}
    for column, value in columns.items():
        array = np.asarray(value)
        if array.dtype.kind not in _KINDS or array.dtype.itemsize > 8 or array.ndim < 1:
            raise DataError(
                f"segment {name!r}, column {column!r}: columns are arrays of booleans, integers or floats of up to 64 "
                f"bits, rows along the first axis; found dtype {array.dtype}, shape {array.shape}. "
                "Code text as integers."
            )
        arrays[column] = np.ascontiguousarray(array, dtype=_little(array))
    rows = {column: array.shape[0] for column, array in arrays.items()}
    if len(set(rows.values())) != 1:
        raise DataError(f"segment {name!r}: one frame has one number of rows in every column; found {rows}")
    return arrays


def _little(array: NDArray[Any]) -> np.dtype[Any]:
    return array.dtype.newbyteorder("<")


def _product(shape: Sequence[int]) -> int:
    result = 1
    for n in shape:
        result *= n
    return result


def padded(size: int) -> int:
    """`size` rounded up to a multiple of 8."""
    return -(-size // 8) * 8


def frame_seal(head: bytes, digest: str) -> bytes:
    """The seal of a frame with this head and this digest of its columns."""
    return blake3(head + bytes.fromhex(digest)).digest()


def schema_record(schema: Schema, name: str, part: int) -> bytes:
    """The bytes of the record that begins a part: head, body, seal."""
    body = canonical.dumps({"columns": schema.columns, "segment": name})
    body += b" " * (padded(len(body)) - len(body))
    head = HEAD.pack(SCHEMA_TAG, part, 0, len(body))
    return head + body + blake3(head + body).digest()


def damaged(path: Path, offset: int, what: str) -> IntegrityError:
    """The error for bytes at `offset` of `path` that are not the bytes written."""
    return IntegrityError(f"{path}: {what} at byte {offset}. It is not used; restore the file from a copy.")


def read_record(handle: BinaryIO, path: Path, stop: int) -> Record | None:
    """Head, body and seal of the record at the handle, or None when `stop` comes before its end (a torn tail)."""
    offset = handle.tell()
    if stop - offset < HEAD.size + SEAL_BYTES:
        return None
    head = handle.read(HEAD.size)
    tag, _, _, length = HEAD.unpack(head)
    if tag not in (SCHEMA_TAG, FRAME_TAG):
        raise damaged(path, offset, "no record of a segment begins")
    if stop - offset < HEAD.size + length + SEAL_BYTES:
        return None
    body = memoryview(handle.read(length))
    seal = handle.read(SEAL_BYTES)
    # `stop` is the size measured before: a resume in another process may have cut the file since.
    if len(body) != length or len(seal) != SEAL_BYTES:
        raise damaged(path, offset, "the file became shorter while it was read")
    return head, body, seal


def has_schema(handle: BinaryIO, path: Path) -> bool:
    """Whether the part is long enough for its schema record. Leaves the handle at the beginning."""
    handle.seek(0)
    head, size = handle.read(HEAD.size), path.stat().st_size
    handle.seek(0)
    return len(head) == HEAD.size and size >= HEAD.size + HEAD.unpack(head)[3] + SEAL_BYTES


def read_schema(handle: BinaryIO, path: Path, name: str, part: int) -> Schema:
    """The schema record that begins every part. Raises IntegrityError."""
    size = path.stat().st_size
    record = read_record(handle, path, size)
    if record is None:
        raise damaged(path, 0, f"the schema record is cut at length {size}, beginning")
    head, body, seal = record
    tag, number, _, _ = HEAD.unpack(head)
    if tag != SCHEMA_TAG or seal != blake3(head + bytes(body)).digest():
        raise damaged(path, 0, "the schema record does not match its digest")
    # The digest proves that the record is whole, not that this program wrote it.
    try:
        value = canonical.loads(bytes(body))
        segment = value["segment"]
        columns = tuple((str(column), str(dtype), tuple(shape)) for column, dtype, shape in value["columns"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise damaged(path, 0, f"the schema record is no schema ({error})") from None
    if segment != name or number != part:
        raise damaged(path, 0, f"this is part {number} of segment {segment!r}, found in another's place")
    for column, dtype, shape in columns:
        if not _DTYPE.fullmatch(dtype) or not all(type(size) is int and 0 <= size < _MAX_ROWS for size in shape):
            raise damaged(
                path, 0, f"the schema has a column {column!r:.80} of type {dtype!r:.40}, which no segment has"
            )
    return Schema(columns)


def decode_frame(record: Record, schema: Schema, path: Path, offset: int) -> Frame:
    """A verified frame. Raises IntegrityError."""
    head, body, seal = record
    tag, step, rows, length = HEAD.unpack(head)
    try:
        if tag != FRAME_TAG or rows > _MAX_ROWS or not schema.body_length(rows) == length == len(body):
            raise ValueError("its head does not fit the schema")
        columns = schema.split(body, rows)
    except ValueError as error:
        raise damaged(path, offset, f"a frame is damaged ({error})") from None
    digest = schema.digest(body, rows)
    if frame_seal(head, digest) != seal:
        raise damaged(path, offset, f"the frame of step {step} does not match its digest")
    return Frame(step, rows, digest, columns)


def record_of(data: memoryview) -> Record:
    """Head, body and seal of a record that is all of `data`."""
    return bytes(data[: HEAD.size]), data[HEAD.size : -SEAL_BYTES], bytes(data[-SEAL_BYTES:])


def record_length(schema: Schema, rows: int) -> int:
    """Bytes of the record of a frame of `rows` rows."""
    return HEAD.size + schema.body_length(rows) + SEAL_BYTES


def leading_steps(data: bytes, length: int, rows: int, *, after: int) -> list[int]:
    """Steps of the frames at the beginning of `data` that have this length and number of rows and rise from `after`.

    It looks at heads only, as an index does; what else stands there is for the one who reads the frame.
    """
    count = len(data) // length
    table = np.frombuffer(data, np.uint8, count * length).reshape(count, length)
    heads = np.ascontiguousarray(table[:, : HEAD.size]).view("<u8")
    expected = np.frombuffer(HEAD.pack(FRAME_TAG, 0, rows, length - HEAD.size - SEAL_BYTES), "<u8")
    steps = heads[:, 1]
    sound = (heads[:, 0] == expected[0]) & (heads[:, 2] == expected[2]) & (heads[:, 3] == expected[3])
    # Compared, not subtracted: differences of unsigned numbers are never negative.
    sound &= steps > np.concatenate([np.array([after], np.uint64), steps[:-1]])
    return [int(step) for step in steps[: count if sound.all() else int(np.argmin(sound))]]


def joined_columns(data: memoryview, count: int, rows: int, schema: Schema) -> dict[str, NDArray[Any]] | None:
    """The columns of `count` frames of `rows` rows each, which are all of `data`, joined: (count rows, ...).

    Every frame is verified, as `decode_frame` does it, which says what is wrong with which frame where this gives None.
    """
    places, length = schema._layout(rows)
    table = np.frombuffer(data, np.uint8).reshape(count, -1)
    heads, body = table[:, : HEAD.size], table[:, HEAD.size : HEAD.size + length]
    fields = np.ascontiguousarray(heads).view("<u8")
    expected = HEAD.unpack(HEAD.pack(FRAME_TAG, 0, rows, length))
    if np.any(fields[:, 0] != np.frombuffer(expected[0], "<u8")) or np.any(fields[:, 2:] != expected[2:]):
        return None
    if any(np.any(body[:, place.stop : place.end]) for place in places if place.end > place.stop):
        return None
    pieces = []
    for place in places:
        pieces += [
            np.broadcast_to(np.frombuffer(place.head, np.uint8), (count, len(place.head))),
            body[:, place.start : place.stop],
        ]
    hashed = np.concatenate(pieces, axis=1).reshape(-1).data
    size, width = table.shape[1], len(hashed) // count
    for at in range(count):
        digest = blake3(hashed[at * width : (at + 1) * width]).digest()
        first = at * size
        seal = blake3(bytes(data[first : first + HEAD.size]) + digest).digest()
        if seal != data[first + size - SEAL_BYTES : first + size]:
            return None
    return {
        place.name: np.ascontiguousarray(body[:, place.start : place.stop])
        .view(place.dtype)
        .reshape(count * rows, *place.shape[1:])
        for place in places
    }


def open_part(path: Path) -> BinaryIO:
    """Open a part for reading. Raises DiskError."""
    try:
        return path.open("rb")
    except OSError as error:
        raise files.disk_error("read", path, error) from error
