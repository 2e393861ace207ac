"""Training storage for packages: columns in hashed, append-only segments; verified when they are loaded.

    store.json            layout, how much was written, a chain of hashes over all frames: a self-checking document
    segments/packages     one row per package: hashes, flags, and its range in each pool
    segments/<pool>       the pools' rows, each kept once however many packages share it

A frame holds one chunk of packages. `store.json` is written after the frames it counts, so after a crash the frames
behind it are cut when the store is opened for writing again. Equal packages in equal order make equal files, however
they came: one by one or in batches of any size (but for `flush`, which ends a chunk early).
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import numpy as np
from blake3 import blake3
from numpy.typing import ArrayLike, NDArray

from lockstep.core import canonical, files
from lockstep.core.errors import DataError, IntegrityError
from lockstep.episodes.packages.batch import PackageBatch, concatenated
from lockstep.episodes.packages.layout import PackageLayout
from lockstep.episodes.packages.package import DEFAULT_RULES, FLAGS, ModelInputPackage, PackageRules
from lockstep.episodes.packages.pool import Ranges
from lockstep.episodes.packages.quarantine import Quarantine, admitted, reasons_against
from lockstep.storage.documents import document_bytes, parse_document
from lockstep.storage.lock import Words, locked
from lockstep.storage.segments import PART_BYTES, Position, SegmentReader, SegmentWriter

FORMAT: Final = 1
CHUNK: Final = 4_096
_INDEX: Final = "store.json"
_DOCUMENT: Final = "packages"
_HEADS: Final = "packages"
_SYNC_FRAMES: Final = 16
_EMPTY_CHAIN: Final = "0" * 64
_PLAIN: Final = ("timestamp", "symbol", "current_price", "has_price", "is_rapid_change", "data_hash", "digest")

_LOCK_WORDS: Final = Words("a store of packages", "Wait for it to end, or choose another folder.")


class PackageWriter:
    """Writes packages that may be stored, and counts those that may not. A context; one writer at a time.

    folder  folder of the store, created where it is missing, continued where it is not
    layout  symbols and columns of the packages; a store has one for good
    rules   what a package has to be before it may teach
    chunk   packages in a frame, >= 1
    words   what a second writer is told, where the store is part of something larger

    Raises DataError when the store has another layout; RefusedError when another process writes it; IntegrityError when
    what was stored is damaged.
    """

    def __init__(
        self,
        folder: Path,
        layout: PackageLayout,
        *,
        rules: PackageRules = DEFAULT_RULES,
        chunk: int = CHUNK,
        words: Words = _LOCK_WORDS,
    ) -> None:
        if chunk < 1:
            raise DataError(f"a chunk is a whole number of packages >= 1; found {chunk!r}.")
        self._folder, self._layout, self._rules, self._chunk = folder, layout, rules, chunk
        self._waiting: list[PackageBatch] = []
        self._singles: list[ModelInputPackage] = []
        self._flags: list[NDArray[np.bool_]] = []
        self._stack = ExitStack()
        files.make_folder(folder / "segments")
        self._stack.enter_context(locked(folder, words))
        self._segments = SegmentWriter(folder / "segments", part_bytes=PART_BYTES)
        self._starts: list[int] = []
        self._stored, self._chain = 0, _EMPTY_CHAIN
        self.quarantine = Quarantine()
        try:
            self._continue()
        except BaseException:
            self._stack.close()
            raise
        self._stack.callback(self._segments.close)

    def _continue(self) -> None:
        positions: dict[str, Position] = {}
        if (self._folder / _INDEX).exists():
            body = _read_index(self._folder)
            if body["layout"] != self._layout.to_json():
                raise DataError(
                    f"{self._folder}: the store holds packages of another layout: {body['layout']}. "
                    "Choose another folder, or the layout of this one."
                )
            positions = {name: Position.from_json(value) for name, value in body["positions"].items()}
            self._starts, self._stored, self._chain = list(body["starts"]), body["packages"], body["chain"]
            self.quarantine = Quarantine(body["quarantine"])
        self._segments.continue_from(positions)

    @property
    def stored(self) -> int:
        """Number of packages admitted so far, those not yet written included."""
        return self._stored + self._buffered

    @property
    def _buffered(self) -> int:
        return len(self._singles) + sum(len(batch) for batch in self._waiting)

    def add(self, package: ModelInputPackage, *, now_ms: int | None = None) -> bool:
        """Store one package if it may be stored, else quarantine it (R9.4, R9.5); returns whether it was stored.

        `now_ms` is the clock, milliseconds UTC, or None for historical packages. Raises DataError when the package does
        not fit the layout.
        """
        judged = package.judged(self._rules, now_ms=now_ms)
        reasons = reasons_against(judged, self._rules)
        if reasons:
            self.quarantine.add(judged, reasons)
            return False
        # Refused here, where the caller sees which package it was.
        PackageBatch.from_packages([judged], self._layout)
        self._singles.append(judged)
        self._flags.append(np.array([[judged.validation_flags[name] for name in FLAGS]]))
        self._write_full()
        return True

    def add_batch(self, batch: PackageBatch, *, now_ms: int | None = None) -> NDArray[np.bool_]:
        """Store the packages of a batch that may be stored, quarantine the others.

        `now_ms` as for `add`. Returns which were stored, bool (n,). Raises DataError for a batch of another layout.
        """
        if batch.layout != self._layout:
            raise DataError("a batch has the layout of the store; found another. Build it with the store's layout.")
        own = batch.hashed()
        flags, completeness = batch.flags(self._rules, now_ms=now_ms, hashed=own), batch.completeness()
        good, against = admitted(completeness, flags, self._rules)
        self.quarantine.add_batch(batch, against)
        if good.any():
            self._pack_singles()
            self._waiting.append(own if good.all() else own.take(good))
            self._flags.append(flags[good])
            self._write_full()
        return good

    def _pack_singles(self) -> None:
        if self._singles:
            self._waiting.append(PackageBatch.from_packages(self._singles, self._layout))
            self._singles = []

    def _write_full(self) -> None:
        if self._buffered < self._chunk:
            return
        self._pack_singles()
        whole, flags = concatenated(self._waiting), np.concatenate(self._flags)
        cut = len(whole) // self._chunk * self._chunk
        for at in range(0, cut, self._chunk):
            self._write(whole.take(slice(at, at + self._chunk)), flags[at : at + self._chunk])
        # Compacted, or the rest would hold the rows of all that was written.
        rest = cut < len(whole)
        self._waiting = [whole.take(slice(cut, None)).compacted()] if rest else []
        self._flags = [flags[cut:]] if rest else []

    def _write(self, batch: PackageBatch, flags: NDArray[np.bool_]) -> None:
        batch = batch.compacted()
        step = len(self._starts)
        heads: dict[str, NDArray[Any]] = {name: getattr(batch, name) for name in _PLAIN}
        heads["completeness"] = batch.completeness()
        heads["flags"] = np.packbits(flags, axis=1, bitorder="little")[:, 0]
        digests = {}
        for name, pool in batch.pools.items():
            heads[f"{name}.start"], heads[f"{name}.stop"] = pool.start, pool.stop
            digests[name] = self._segments.append(step, name, {"rows": pool.rows})
        # Last, so that a package is there only when its rows are.
        digests[_HEADS] = self._segments.append(step, _HEADS, heads)
        self._chain = _linked(self._chain, step, digests)
        self._starts.append(self._stored)
        self._stored += len(batch)
        if len(self._starts) % _SYNC_FRAMES == 0:
            self._save()

    def _save(self) -> None:
        self._segments.sync()
        body = {
            "format": FORMAT,
            "layout": self._layout.to_json(),
            "positions": {name: position.to_json() for name, position in self._segments.positions.items()},
            "starts": self._starts,
            "packages": self._stored,
            "chain": self._chain,
            "quarantine": self.quarantine.counts(),
        }
        files.write_atomic(self._folder / _INDEX, document_bytes(_DOCUMENT, body))

    def flush(self) -> None:
        """Write everything admitted so far, durably; the chunk under way ends here."""
        self._pack_singles()
        if self._waiting:
            self._write(concatenated(self._waiting), np.concatenate(self._flags))
            self._waiting, self._flags = [], []
        self._save()

    def close(self) -> None:
        """Flush, and release the lock so that others may write."""
        try:
            self.flush()
        finally:
            self._stack.close()

    def __enter__(self) -> PackageWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._stack.close()


class PackageStore:
    """Reads a store. Every frame, every package and the order of all is checked; damaged packages are never returned.

    problems            damages that the last pass met, as texts
    integrity_failures  packages that the last pass left out for them

    Raises DataError when there is no store in the folder; IntegrityError when its index is damaged.
    """

    def __init__(self, folder: Path) -> None:
        if not (folder / _INDEX).exists():
            raise DataError(f"{folder}: there is no store of packages here. Check the path; PackageWriter makes one.")
        body = _read_index(folder)
        self._folder = folder
        self.layout = PackageLayout.from_json(body["layout"])
        self._starts: Sequence[int] = body["starts"]
        self._packages, self._chain = int(body["packages"]), str(body["chain"])
        self.quarantined: Mapping[str, int] = body["quarantine"]
        self._reader = SegmentReader(folder / "segments", stop_step=len(self._starts))
        self.problems: list[str] = []
        self.integrity_failures = 0

    def __len__(self) -> int:
        return self._packages

    @property
    def folder(self) -> Path:
        """Folder of the store, as it was named."""
        return self._folder

    @property
    def digest(self) -> str:
        """The chain over all frames: two stores with one layout are equal when these are."""
        return self._chain

    def batches(self) -> Iterator[PackageBatch]:
        """All sound packages, frame by frame, oldest first; memory for one frame (R9.6)."""
        self.problems, self.integrity_failures = [], 0
        chain = _EMPTY_CHAIN
        for frame in range(len(self._starts)):
            try:
                batch, digests = self._frame(frame)
            except IntegrityError as error:
                # One damaged frame costs its own packages, not those after it; the chain then tells nothing more.
                self._report(str(error), self._rows(frame))
                continue
            chain = _linked(chain, frame, digests)
            batch = self._sound(batch)
            if len(batch):
                yield batch
        if not self.problems and chain != self._chain:
            self._report(f"{self._folder}: the frames are not those that were written. Restore them from a copy.", 0)

    def verify(self) -> list[str]:
        """Read everything; returns the damages as texts, none for a sound store."""
        for _ in self.batches():
            pass
        return list(self.problems)

    def package(self, index: int) -> ModelInputPackage:
        """Package number `index`, from 0. Raises IndexError, and IntegrityError where it is damaged."""
        frame = self._frame_of(index)
        package = self._frame(frame)[0].package(index - self._starts[frame])
        if not package.validation_flags["integrity"]:
            raise IntegrityError(f"{self._folder}: package {index} does not match its hashes. Restore it from a copy.")
        return package

    def flags(self, index: int) -> dict[str, bool]:
        """The flags that package number `index` had when it came, by the rules and the clock of then (R9.6).

        Raises IndexError, and IntegrityError where they are damaged.
        """
        frame = self._frame_of(index)
        bits = int(self._read(_HEADS, frame)[0]["flags"][index - self._starts[frame]])
        return {name: bool(bits >> place & 1) for place, name in enumerate(FLAGS)}

    def _frame_of(self, index: int) -> int:
        if not 0 <= index < self._packages:
            raise IndexError(f"the store holds packages 0 to {self._packages - 1}; asked for {index}.")
        return bisect.bisect_right(self._starts, index) - 1

    def taken(self, rows: ArrayLike) -> Iterator[tuple[NDArray[np.int64], PackageBatch]]:
        """The packages of some rows, each frame read once: their places in `rows`, and the packages.

        Raises IndexError, and IntegrityError where one is damaged.
        """
        numbers = np.asarray(rows, np.int64)
        if numbers.size and (numbers.min() < 0 or numbers.max() >= self._packages):
            raise IndexError(f"the store holds packages 0 to {self._packages - 1}; asked for others.")
        frames = np.searchsorted(np.asarray(self._starts, np.int64), numbers, side="right") - 1
        for frame in np.unique(frames).tolist():
            places = np.flatnonzero(frames == frame)
            batch = self._frame(frame)[0].take(numbers[places] - self._starts[frame])
            bad = np.flatnonzero(~batch.integrity())
            if bad.size:
                row = int(numbers[places[bad[0]]])
                raise IntegrityError(
                    f"{self._folder}: package {row} does not match its hashes. It is not used; restore the store from "
                    "a copy."
                )
            yield places, batch

    def _rows(self, frame: int) -> int:
        stop = self._starts[frame + 1] if frame + 1 < len(self._starts) else self._packages
        return stop - self._starts[frame]

    def _report(self, problem: str, packages: int) -> None:
        self.problems.append(problem)
        self.integrity_failures += packages

    def _sound(self, batch: PackageBatch) -> PackageBatch:
        good = batch.integrity()
        bad = int(np.count_nonzero(~good))
        if bad:
            first = int(np.argmin(good))
            self._report(
                f"{self._folder}: {bad} packages do not match their hashes, the first of "
                f"{self.layout.symbols[int(batch.symbol[first])]} at {int(batch.timestamp[first])}. They are not used.",
                bad,
            )
        return batch if bad == 0 else batch.take(good)

    def _frame(self, frame: int) -> tuple[PackageBatch, dict[str, str]]:
        columns = {name: self._read(name, frame) for name in (*self.layout.pools(), _HEADS)}
        heads, _ = columns[_HEADS]
        try:
            pools = {
                name: Ranges(rows=columns[name][0]["rows"], start=heads[f"{name}.start"], stop=heads[f"{name}.stop"])
                for name in self.layout.pools()
            }
            batch = PackageBatch(layout=self.layout, pools=pools, **{name: heads[name] for name in _PLAIN})
        except (KeyError, DataError) as error:
            raise IntegrityError(f"{self._folder}: frame {frame} is no frame of packages ({error}).") from error
        return batch, {name: digest for name, (_, digest) in columns.items()}

    def _read(self, name: str, frame: int) -> tuple[Mapping[str, NDArray[Any]], str]:
        for item in self._reader.frames(name, frame, frame + 1):
            return item.columns, item.digest
        raise IntegrityError(f"{self._folder}: frame {frame} of segment {name!r} is missing. Restore it from a copy.")


def _linked(chain: str, step: int, digests: Mapping[str, str]) -> str:
    return str(blake3(bytes.fromhex(chain) + canonical.dumps({"digests": dict(digests), "step": step})).hexdigest())


def _read_index(folder: Path) -> dict[str, Any]:
    path = folder / _INDEX
    body: dict[str, Any] = parse_document(files.read_bytes(path), _DOCUMENT, path)
    if body["format"] != FORMAT:
        raise IntegrityError(f"{path}: a store of format {body['format']}; this release reads {FORMAT}. Use another.")
    return body
