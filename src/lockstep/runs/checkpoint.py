"""Checkpoints: the state of a training between two steps, tied to the journal and the segments at that moment.

One file each, `checkpoints/000000000123.ckpt` for the state after 123 steps, written atomically:

    magic "LSCKPT01", length of the JSON (u64), length of the arrays (u64)      little-endian
    JSON     canonical, padded with spaces to a multiple of 8: steps, journal hash and length in bytes at that
             step, position of each segment, state with arrays replaced by {"$array": key}
    arrays   safetensors
    seal     BLAKE3 of everything before, 32 bytes

The bytes are a function of the state alone. `checkpoints/index.json` lists the files with length and digest, so that a
missing one is noticed; it is written after a new file and before the removal of an old one.
"""

from __future__ import annotations

import itertools
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from lockstep.core import canonical, files
from lockstep.core.errors import DiskError, IntegrityError
from lockstep.core.hashing import blake3_hex
from lockstep.runs.training import State
from lockstep.storage.documents import document_bytes, parse_document
from lockstep.storage.segment_format import part_path, segment_parts
from lockstep.storage.segments import Position

CHECKPOINT_VERSION: Final = 1
_HEAD: Final = struct.Struct("<8sQQ")
_MAGIC: Final = b"LSCKPT01"
_SEAL_BYTES: Final = 32
_ARRAY_KEY: Final = "$array"
_NAMED_PARTS: Final = 10
_LEAST_CHECKPOINTS: Final = 3
"""The first and the newest two."""
_FILE: Final = re.compile(r"([0-9]{12})\.ckpt")


@dataclass(frozen=True, kw_only=True)
class CheckpointPolicy:
    """When a checkpoint is due, and how many stay.

    interval_s   seconds from one checkpoint to the next
    max_share    largest share of the time that writing may take; the interval grows where writing is slow
    keep         how many stay, at least 4, spread over the run
    keep_bytes   bytes that they may take together

    The first and the newest two stay always.
    """

    interval_s: float = 30.0
    max_share: float = 0.02
    keep: int = 32
    keep_bytes: int = 4 << 30

    def disk_bytes(self, each: int, seconds: float | None) -> int:
        """Most bytes that checkpoints of `each` bytes take in the end, in a run of `seconds` (None: a long one)."""
        due = self.keep if seconds is None else 1 + int(seconds / self.interval_s)
        return min(due, self.keep, max(_LEAST_CHECKPOINTS, self.keep_bytes // max(each, 1))) * each


class Schedule:
    """Says when the next checkpoint is due. Times are seconds of a monotonic clock."""

    def __init__(self, policy: CheckpointPolicy, now: float) -> None:
        self._policy = policy
        self._next = now + policy.interval_s

    def due(self, now: float) -> bool:
        """Whether `now` is the time for a checkpoint or later."""
        return now >= self._next

    def written(self, began: float, now: float) -> None:
        """Plan the next checkpoint after one that was written from `began` to `now`."""
        self._next = now + max(self._policy.interval_s, (now - began) / self._policy.max_share)


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The state after `steps` steps, and where journal (bytes) and segments ended then."""

    steps: int
    journal_hash: str
    journal_length: int
    segments: Mapping[str, Position]
    state: State

    def encode(self) -> bytes:
        """The bytes of its file. Raises TypeError for a state that cannot be stored."""
        arrays: dict[str, NDArray[Any]] = {}
        body = canonical.dumps(
            {
                "version": CHECKPOINT_VERSION,
                "steps": self.steps,
                "journal": {"hash": self.journal_hash, "length": self.journal_length},
                "segments": {name: position.to_json() for name, position in self.segments.items()},
                "state": _without_arrays(self.state, arrays),
            }
        )
        body += b" " * (-len(body) % 8)
        packed = save_arrays(arrays)
        pieces = [_HEAD.pack(_MAGIC, len(body), len(packed)), body, packed]
        hasher = blake3()
        for piece in pieces:
            hasher.update(piece)
        return b"".join([*pieces, hasher.digest()])

    @classmethod
    def decode(cls, data: bytes, place: Path) -> Checkpoint:
        """The checkpoint in `data`. Raises IntegrityError naming `place` when a byte is not what was written."""
        sealed, seal = memoryview(data)[:-_SEAL_BYTES], data[-_SEAL_BYTES:]
        if len(sealed) < _HEAD.size or blake3(sealed).digest() != seal:
            raise IntegrityError(f"{place}: the checkpoint does not match its digest. It is not used.")
        magic, length, packed = _HEAD.unpack_from(sealed)
        if magic != _MAGIC or len(sealed) != _HEAD.size + length + packed:
            raise IntegrityError(f"{place}: not a checkpoint of version {CHECKPOINT_VERSION}. It is not used.")
        try:
            value = canonical.loads(bytes(sealed[_HEAD.size : _HEAD.size + length]))
            arrays = load_arrays(bytes(sealed[_HEAD.size + length :]))
            steps, journal = value["steps"], value["journal"]
            if not all(type(number) is int and number >= 0 for number in (steps, journal["length"])):
                raise ValueError("its numbers of steps and bytes are no whole numbers")
            return cls(
                steps=steps,
                journal_hash=str(journal["hash"]),
                journal_length=journal["length"],
                segments={name: Position.from_json(item) for name, item in value["segments"].items()},
                state=_with_arrays(value["state"], arrays),
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, SafetensorError) as error:
            raise IntegrityError(f"{place}: not a checkpoint of this release ({error}). It is not used.") from error


def missing_parts(checkpoint: Checkpoint, segments: Path) -> list[Path]:
    """Segment files in `segments` that a checkpoint stands on and that are not there, the first ten of each segment."""
    there = segment_parts(segments)
    paths = []
    for name, position in sorted(checkpoint.segments.items()):
        parts = set(there.get(name, ()))
        # A checkpoint of somebody else may name any part: what is looked at is bounded by the files that there are.
        absent = (part for part in range(position.part + 1) if part not in parts)
        paths += [part_path(segments, name, part) for part in itertools.islice(absent, _NAMED_PARTS)]
    return paths


def _without_arrays(value: Any, arrays: dict[str, NDArray[Any]]) -> Any:
    """`value` with every array moved to `arrays` under its running number, mappings taken in key order."""
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "biuf" or value.dtype.itemsize > 8:
            raise TypeError(f"arrays of a state are booleans, integers or floats of up to 64 bits; found {value.dtype}")
        key = str(len(arrays))
        # Not ascontiguousarray: it would give a 0-dimensional array a dimension.
        arrays[key] = np.asarray(value, dtype=value.dtype.newbyteorder("<"), order="C")
        return {_ARRAY_KEY: key}
    if isinstance(value, Mapping):
        if _ARRAY_KEY in value:
            raise TypeError(f"the key {_ARRAY_KEY!r} is reserved in a state")
        return {key: _without_arrays(value[key], arrays) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [_without_arrays(item, arrays) for item in value]
    return value


def _with_arrays(value: Any, arrays: Mapping[str, NDArray[Any]]) -> Any:
    if isinstance(value, dict):
        if _ARRAY_KEY in value:
            return arrays[value[_ARRAY_KEY]]
        return {key: _with_arrays(item, arrays) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_arrays(item, arrays) for item in value]
    return value


def through_storage(state: State) -> State:
    """`state` as a resumed training receives it: written to the bytes of a checkpoint and read back."""
    stored = Checkpoint(steps=0, journal_hash="", journal_length=0, segments={}, state=state).encode()
    return Checkpoint.decode(stored, Path("memory")).state


@dataclass(frozen=True, kw_only=True)
class IndexEntry:
    """One checkpoint in the index: its steps, its file's length in bytes and digest."""

    steps: int
    length: int
    blake3: str


@dataclass(frozen=True, kw_only=True)
class Index:
    """The content of `index.json`.

    entries     the checkpoints that stay
    removed     steps of files that are about to be removed
    cut_lines   whether journal.cut is in use
    """

    entries: tuple[IndexEntry, ...] = ()
    removed: tuple[int, ...] = ()
    cut_lines: bool = False

    def body(self) -> dict[str, Any]:
        """The body of index.json, as canonical JSON holds it."""
        entries = [{"steps": entry.steps, "length": entry.length, "blake3": entry.blake3} for entry in self.entries]
        return {"kept": entries, "removed": self.removed, "cut_lines": self.cut_lines}


class CheckpointStore:
    """The checkpoints of one run."""

    def __init__(self, folder: Path, policy: CheckpointPolicy | None = None) -> None:
        self._folder = folder
        self._policy = policy if policy is not None else CheckpointPolicy()

    @property
    def index_path(self) -> Path:
        """The path of index.json, in the folder of the checkpoints."""
        return self._folder / "index.json"

    def path(self, steps: int) -> Path:
        """The file of the checkpoint after `steps` steps."""
        return self._folder / f"{steps:012d}.ckpt"

    def create(self) -> None:
        """Make the folder with an empty index. Raises DiskError."""
        files.make_folder(self._folder)
        self._write_index(Index())

    def index(self) -> Index:
        """The index. Raises IntegrityError when it is missing or damaged."""
        try:
            data = self.index_path.read_bytes()
        except FileNotFoundError:
            raise IntegrityError(f"{self.index_path}: missing. Restore it from a copy, or resume the run.") from None
        except OSError as error:
            raise files.disk_error("read", self.index_path, error) from error
        body = parse_document(data, "index", self.index_path)
        try:
            index = Index(
                entries=tuple(IndexEntry(**entry) for entry in body["kept"]),
                removed=tuple(body["removed"]),
                cut_lines=bool(body["cut_lines"]),
            )
            numbers = [*(number for entry in index.entries for number in (entry.steps, entry.length)), *index.removed]
            if not all(type(number) is int and number >= 0 for number in numbers):
                raise ValueError("steps and lengths are whole numbers")
        except (KeyError, TypeError, ValueError) as error:
            raise IntegrityError(
                f"{self.index_path}: not an index of checkpoints ({error}). It is not used; resume the run, which "
                "makes it anew."
            ) from error
        return index

    def stored_steps(self) -> list[int]:
        """Steps of the checkpoint files that are there, good or not, ascending."""
        if not self._folder.is_dir():
            return []
        matches = (_FILE.fullmatch(path.name) for path in self._folder.iterdir())
        return sorted(int(match[1]) for match in matches if match)

    def load(self, steps: int) -> Checkpoint:
        """A checkpoint. Raises IntegrityError when it is damaged or another's, DiskError when it cannot be read."""
        path = self.path(steps)
        checkpoint = Checkpoint.decode(files.read_bytes(path), path)
        if checkpoint.steps != steps:
            raise IntegrityError(f"{path}: holds the checkpoint after {checkpoint.steps} steps. It is not used.")
        return checkpoint

    def write(self, checkpoint: Checkpoint) -> None:
        """Add a checkpoint, then thin out. Journal and segments must be on the device already. Raises DiskError."""
        data = checkpoint.encode()
        files.write_atomic(self.path(checkpoint.steps), data)
        index = self.index()
        entry = IndexEntry(steps=checkpoint.steps, length=len(data), blake3=blake3_hex(data))
        entries = [other for other in index.entries if other.steps != checkpoint.steps] + [entry]
        entries.sort(key=lambda other: other.steps)
        drop = thin([(other.steps, other.length) for other in entries], self._policy.keep, self._policy.keep_bytes)
        self._keep(Index(entries=tuple(entries), cut_lines=index.cut_lines), drop)

    def restart_from(self, steps: int | None, *, cut_lines: bool) -> None:
        """Drop every checkpoint after `steps` (all for None) and whatever the index does not know."""
        try:
            entries = {entry.steps: entry for entry in self.index().entries}
        except IntegrityError:
            entries = {}
        remaining, drop = [], []
        for number in self.stored_steps():
            if steps is None or number > steps:
                drop.append(number)
                continue
            try:
                data = files.read_bytes(self.path(number))
            except DiskError:
                drop.append(number)  # a bad sector in an old checkpoint must not end a run that has a newer one
                continue
            entry = IndexEntry(steps=number, length=len(data), blake3=blake3_hex(data))
            # The index may lack a good file: a crash came between the two, or the index was damaged.
            if entries.get(number) == entry or (number not in entries and self._is_good(number)):
                remaining.append(entry)
            else:
                drop.append(number)
        self._keep(Index(entries=tuple(remaining), cut_lines=cut_lines), drop)

    def _is_good(self, steps: int) -> bool:
        try:
            self.load(steps)
        except (IntegrityError, DiskError):
            return False
        return True

    def forget_cut_lines(self) -> None:
        """Record that journal.cut is used no more."""
        index = self.index()
        if index.cut_lines:
            self._write_index(Index(entries=index.entries))

    def _keep(self, index: Index, drop: Sequence[int]) -> None:
        entries = tuple(entry for entry in index.entries if entry.steps not in drop)
        # Index first: a crash between the two leaves files that `removed` explains, never an entry without its file.
        self._write_index(Index(entries=entries, removed=tuple(drop), cut_lines=index.cut_lines))
        for steps in drop:
            try:
                files.remove(self.path(steps))
            except DiskError:
                # The index says that it goes; where the file cannot be removed, it stays and is not used.
                if _is_readable(self.path(steps)):
                    raise

    def _write_index(self, index: Index) -> None:
        files.write_atomic(self.index_path, document_bytes("index", index.body()))


def _is_readable(path: Path) -> bool:
    try:
        path.read_bytes()
    except OSError:
        return False
    return True


def thin(entries: Sequence[tuple[int, int]], keep: int, keep_bytes: int) -> list[int]:
    """Which of `entries` (steps, bytes; ascending) to remove so that at most `keep` with `keep_bytes` stay.

    The first and the newest two always stay: the newest may turn out damaged. In between the one goes whose
    neighbours are closest to each other, so that those that stay are spread evenly, whenever they were written.
    """
    rest, dropped = list(entries), []
    while len(rest) > _LEAST_CHECKPOINTS and (len(rest) > max(keep, 4) or sum(size for _, size in rest) > keep_bytes):
        inner = range(1, len(rest) - 2)
        at = min(inner, key=lambda i: rest[i + 1][0] - rest[i - 1][0])
        dropped.append(rest.pop(at)[0])
    return dropped
