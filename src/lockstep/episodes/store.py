"""A book in a folder: columns in hashed segments, packages beside them, and one document that names the generation.

    book.json               generation, symbols, episodes, a chain of hashes over all frames: a self-checking document
    columns/<generation>/   segment `episodes` (the columns of `DTYPES`, lengths of texts), segments of the texts' bytes
    packages/               a store of packages (`episodes.packages.store`)

`save_table` writes a new generation, then `book.json` at once, then removes the old one: a crash leaves the book as it
was or as it is now. `open_table` checks every byte of the columns; packages are checked when they are read.

A book in memory is a copy of its folder. Several may be open at once, while a market is collected and networks are
trained on it: `save_table` adds the training counts of others, and refuses where others added or settled episodes,
which it would undo.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from lockstep.core import canonical, files
from lockstep.core.errors import DataError, DiskError, IntegrityError, RefusedError
from lockstep.episodes.columns import DTYPES, TEXTS
from lockstep.episodes.packages.batch import PackageBatch
from lockstep.episodes.packages.features import FEATURES, STATE
from lockstep.episodes.packages.layout import PackageLayout
from lockstep.episodes.packages.package import ModelInputPackage, PackageRules
from lockstep.episodes.packages.store import PackageStore, PackageWriter
from lockstep.episodes.report import CollectionReport
from lockstep.episodes.table import EpisodeTable
from lockstep.storage.documents import document_bytes, parse_document
from lockstep.storage.lock import Words, locked
from lockstep.storage.segments import SegmentReader, SegmentWriter

FORMAT: Final = 1
INDEX: Final = "book.json"
PACKAGES: Final = "packages"
_COLUMNS: Final = "columns"
_DOCUMENT: Final = "episodes"
_SEGMENT: Final = "episodes"
_FRAME: Final = 65_536
_EMPTY_CHAIN: Final = "0" * 64
_PATIENCE_S: Final = 60.0
_LOCK_WORDS: Final = Words("a book of episodes", "Try again when it is done.")
# Packages of a book were admitted once, by rules that the book does not store.
_ANY: Final = PackageRules(min_completeness=0.0)


Table = TypeVar("Table", bound=EpisodeTable)


def save_table(book: EpisodeTable, folder: Path) -> None:
    """Write `book` to `folder`: whole or not at all. Packages that are not there yet are added.

    Afterwards the book reads its packages from the folder. Training counts that another process raised since the book
    was opened are added to its own.

    Raises RefusedError when another process writes the folder, or added or settled episodes since the book was opened;
    DataError when the folder holds another book, or a package may not be stored; DiskError when a write fails. After an
    error the folder holds what it held before.
    """
    files.make_folder(folder)
    with locked(folder, _LOCK_WORDS, patience_s=_PATIENCE_S):
        _join(book, folder)
        _save(book, folder)


@contextlib.contextmanager
def changing(folder: Path, empty: Callable[[], Table]) -> Iterator[Table]:
    """The book of a folder, locked against other writers; saved at the end, unless an error ends the block.

    `empty` makes the table that is filled. Raises what `open_table` and `save_table` raise.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no book of episodes here. Check the path.")
    with locked(folder, _LOCK_WORDS, patience_s=_PATIENCE_S):
        book = open_table(folder, empty)
        yield book
        _save(book, folder)


def _join(book: EpisodeTable, folder: Path) -> None:
    """Add the training counts that others wrote since the book was opened.

    Raises RefusedError when they added or settled episodes, DataError when the folder holds another book.
    """
    index, opened = folder / INDEX, book.generation
    if not index.exists():
        return
    if opened is None or opened.folder != folder.absolute():
        raise DataError(
            f"{folder}: the folder holds another book. Choose an empty one, or open that book and add to it."
        )
    if _index(folder)["generation"] == opened.number:
        return
    other = open_table(folder, EpisodeTable)
    # Counts of use only grow, so their difference can be added; new episodes of two writers cannot be joined.
    now = other.generation
    if now is None:
        raise RuntimeError("a table that was opened knows its generation")
    if now.counts.shape != opened.counts.shape or now.validated != opened.validated:
        raise RefusedError(
            f"{folder}: another process added or settled episodes since this book was opened: {len(now.counts)} "
            f"episodes, {now.validated} settled; then {len(opened.counts)} and {opened.validated}. Saving would undo "
            "that. Open the book again and repeat the change."
        )
    book.parts()[0]["training_count"][: len(opened.counts)] += now.counts - opened.counts
    book.runs |= other.runs
    # What was added is in the book now: a save that fails from here on must not add it again when it is tried again.
    book.generation = now


def _save(book: EpisodeTable, folder: Path) -> None:
    _put_packages(book, folder)
    generation = 1 + max((int(path.name) for path in _generations(folder)), default=0)
    target = folder / _COLUMNS / str(generation)
    chain = _write_columns(book, target)
    body = {
        "format": FORMAT,
        "generation": generation,
        "episodes": len(book),
        "symbols": list(book.symbols),
        "chain": chain,
        "packages": 0 if book.shelf is None else len(book.shelf),
        "report": None if book.report is None else book.report.to_json(),
        "sessions": sorted(book.runs),
    }
    files.write_atomic(folder / INDEX, document_bytes(_DOCUMENT, body))
    book.generation = book.in_folder(folder, generation)
    # Only after the index names the new generation; what a crash leaves here, the next save removes.
    for old in _generations(folder):
        if old != target:
            shutil.rmtree(old, ignore_errors=True)


def open_table(folder: Path, empty: Callable[[], Table]) -> Table:
    """The book that `save_table` wrote; `empty` makes the table that is filled.

    Raises DataError when there is no book in the folder; IntegrityError when a byte of it is not the one that was
    written.
    """
    while True:
        body = _index(folder)
        try:
            return _opened(folder, body, empty())
        except (DiskError, IntegrityError, FileNotFoundError) as error:
            # Another process has saved meanwhile: its new generation replaced the columns that were being read.
            if _index(folder)["generation"] != body["generation"]:
                continue
            if isinstance(error, FileNotFoundError):
                raise IntegrityError(
                    f"{error.filename}: a file of the book is gone. Restore it from a copy."
                ) from error
            raise


def _index(folder: Path) -> dict[str, Any]:
    path = folder / INDEX
    if not path.is_file():
        raise DataError(
            f"{folder}: there is no book of episodes here. Check the path; `lockstep data episodes` makes one."
        )
    body: dict[str, Any] = parse_document(files.read_bytes(path), _DOCUMENT, path)
    if body["format"] != FORMAT:
        raise IntegrityError(f"{path}: a book of format {body['format']}; this release reads {FORMAT}. Use another.")
    return body


def _opened(folder: Path, body: Mapping[str, Any], book: Table) -> Table:
    for symbol in body["symbols"]:
        book.symbol_code(symbol)
    chain = _read_columns(book, folder / _COLUMNS / str(body["generation"]))
    if chain != body["chain"] or len(book) != body["episodes"]:
        raise IntegrityError(
            f"{folder}: the columns are not those that were written ({len(book)} of {body['episodes']} episodes, or "
            "others). They are not used; restore the folder from a copy."
        )
    if body["packages"]:
        book.shelf = store = PackageStore(folder / PACKAGES)
        if len(store) < body["packages"]:
            raise IntegrityError(
                f"{folder / PACKAGES}: {len(store)} packages are there, the book has {body['packages']}. Restore the "
                "folder from a copy."
            )
    if body["report"] is not None:
        book.report = CollectionReport.from_json(body["report"])
    book.runs.update(body.get("sessions", ()))
    book.generation = book.in_folder(folder, body["generation"])
    return book


def _generations(folder: Path) -> list[Path]:
    return [path for path in (folder / _COLUMNS).glob("*") if path.name.isdecimal()]


def _write_columns(book: EpisodeTable, target: Path) -> str:
    numbers, *texts = book.parts()
    shutil.rmtree(target, ignore_errors=True)
    files.make_folder(target)
    writer, chain = SegmentWriter(target), _EMPTY_CHAIN
    try:
        for frame, start in enumerate(range(0, len(book), _FRAME)):
            stop = min(start + _FRAME, len(book))
            columns = {name: numbers[name][start:stop] for name in DTYPES}
            digests = {}
            for name, text in zip(TEXTS, texts, strict=True):
                joined, columns[f"{name}.length"] = text.part(start, stop)
                digests[name] = writer.append(frame, name, {"utf8": joined})
            digests[_SEGMENT] = writer.append(frame, _SEGMENT, columns)
            chain = _linked(chain, frame, digests)
        writer.sync()
    finally:
        writer.close()
    return chain


def _read_columns(book: EpisodeTable, target: Path) -> str:
    """Fill an empty book frame by frame; returns the chain of hashes over the frames that are there."""
    reader, chain = SegmentReader(target), _EMPTY_CHAIN
    texts = {name: reader.frames(name) for name in TEXTS}
    for frame in reader.frames(_SEGMENT):
        digests, parts = {_SEGMENT: frame.digest}, {}
        for name in TEXTS:
            other = next(texts[name], None)
            if other is None or other.step != frame.step:
                raise IntegrityError(f"{target}: frame {frame.step} of {name!r} is missing. Restore it from a copy.")
            digests[name] = other.digest
            parts[name] = (other.columns["utf8"].astype(np.uint8), frame.columns[f"{name}.length"].astype(np.int64))
        book.restore({name: frame.columns[name] for name in DTYPES}, parts)
        chain = _linked(chain, frame.step, digests)
    return chain


def _linked(chain: str, frame: int, digests: Mapping[str, str]) -> str:
    return str(blake3(bytes.fromhex(chain) + canonical.dumps({"digests": dict(digests), "frame": frame})).hexdigest())


def _put_packages(book: EpisodeTable, folder: Path) -> None:
    """Write all packages of the book to the folder's store, those in memory after those that are there."""
    home = folder / PACKAGES
    if isinstance(book.shelf, PackageStore) and book.shelf.folder.absolute() == home.absolute() and not book.loose:
        return
    numbers = book.parts()[0]
    place = numbers["package"]
    shelved, loose = np.flatnonzero(place >= 0), sorted(book.loose)
    if not shelved.size and not loose:
        return
    own = isinstance(book.shelf, PackageStore) and book.shelf.folder.absolute() == home.absolute()
    layout = book.shelf.layout if book.shelf is not None else layout_of([book.loose[row] for row in loose])
    # The book's own column changes at the end, so that a failure leaves it as it was.
    moved = place.copy()
    with PackageWriter(home, layout, rules=_ANY) as writer:
        if not own and book.shelf is not None:
            _copy(book, shelved, writer, moved)
        for row in loose:
            index = writer.stored
            if not writer.add(book.loose[row]):
                worst = writer.quarantine.recent[-1]
                raise DataError(f"episode {book.ids([row])[0]!r}: its package may not be stored: {worst}. Mend it.")
            moved[row] = index
    place[:] = moved
    book.shelve(PackageStore(home))


def _copy(book: EpisodeTable, rows: NDArray[np.int64], writer: PackageWriter, moved: NDArray[np.int64]) -> None:
    """Copy the packages of these rows to another store, a piece at a time; `moved`, int64 (n,), gets their new rows."""
    for start in range(0, rows.size, _FRAME):
        part = rows[start : start + _FRAME]
        for places, batch in book.batches(part):
            first = writer.stored
            writer.add_batch(batch)
            _require_stored(writer.stored - first, len(batch), batch)
            moved[part[places]] = first + np.arange(len(batch))


def _require_stored(stored: int, total: int, batch: PackageBatch) -> None:
    if stored != total:
        raise DataError(
            f"{total - stored} of {total} packages from {int(batch.timestamp[0])} on may not be stored: their time or "
            "bars are invalid. Leave their episodes out."
        )


def layout_of(packages: Sequence[ModelInputPackage]) -> PackageLayout:
    """The layout of packages; features and state of another width than those of `packages.features` are numbered.

    Raises DataError when there are no timeframes or symbols to name.
    """
    symbols = sorted({str(package.symbol) for package in packages})
    timeframes = sorted({name for package in packages for name in (package.ohlcv_data or {})})
    named = next((tuple(one.technical_indicators) for one in packages if one.technical_indicators), ("none",))
    features = next((one.cnn_features for one in packages if one.cnn_features is not None), None)
    state = next((one.rl_state for one in packages if one.rl_state is not None), None)
    return PackageLayout(
        symbols=tuple(symbols),
        timeframes=tuple(timeframes),
        indicators=named,
        features=_names(FEATURES, "feature", features),
        state=_names(STATE, "state", state),
        feature_dtype="<f8" if features is not None and features.dtype == np.float64 else "<f4",
    )


def _names(names: tuple[str, ...], word: str, values: NDArray[Any] | None) -> tuple[str, ...]:
    """Names of the last dimension of `values`: `names` where the width fits, else `word_0`, `word_1` ..."""
    width = len(names) if values is None else values.shape[-1]
    return names if width == len(names) else tuple(f"{word}_{index}" for index in range(width))
