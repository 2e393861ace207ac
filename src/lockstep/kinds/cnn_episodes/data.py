"""The samples of the chosen episodes: windows, targets and names, pinned as a snapshot by digest.

`<digest>.episodes` holds raw windows; the training scales them. A book grows, so the snapshot also names what the run
learned from: `episode_id`, and in `package` the digests of the packages.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from lockstep.core.errors import DataError, InputError, UnknownNameError
from lockstep.core.files import read_bytes
from lockstep.core.hashing import digest_columns
from lockstep.core.near_names import did_you_mean
from lockstep.episodes.book import EpisodeBook
from lockstep.episodes.outcomes import Action
from lockstep.kinds.shared.spec_paths import spec_path
from lockstep.learning.gradients.sources import EPISODES, ids_in
from lockstep.storage.blobs import sound_arrays

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from lockstep.kinds.cnn_episodes.spec import BookTable, EpisodesTable
    from lockstep.runs.kind import PrepareContext
    from lockstep.storage.blobs import BlobStore

FEW: Final = 100
"""Episodes below which a training is remarked on."""
BOOK_KEY: Final = "data.episodes"
"""Key of an `EpisodeBook` in `PrepareContext.python_objects`."""
BOOK_FOLDER: Final = "episodes"
"""Folder of the book of episodes in a home."""
SUFFIX: Final = EPISODES
CLASSES: Final = 3
_DTYPES: Final = {
    "windows": "float32",
    "classes": "int64",
    "returns": "float32",
    "scores": "float64",
    "profitable": "bool",
    "package": "uint8",
    "episode_id": "uint8",
    "id_length": "int64",
}


@dataclass(frozen=True, kw_only=True)
class PinnedEpisodes:
    """The samples of a run.

    arrays      windows float32 (n, window, features), oldest bar first, not scaled; classes int64 (n,); returns float32
                (n,), fractions; scores float64 (n,); profitable bool (n,); package uint8 (n, 32), digests; episode_id
                uint8, UTF-8 end to end, and id_length int64 (n,)
    available   episodes of the symbol at or above the threshold, used or not
    """

    arrays: Mapping[str, NDArray[Any]]
    available: int
    origin: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.arrays["classes"])

    @property
    def window(self) -> int:
        """Number of bars in a window."""
        return int(self.arrays["windows"].shape[1])

    @property
    def features(self) -> int:
        """Number of features of a bar."""
        return int(self.arrays["windows"].shape[2])

    @property
    def digest(self) -> str:
        """BLAKE3 of the arrays, the name of the snapshot."""
        return digest_columns(self.arrays)

    @property
    def ids(self) -> list[str]:
        """Episode ids in the order of the samples, the highest score first."""
        return ids_in(self.arrays)

    def body(self) -> dict[str, Any]:
        """The body of data.json; all of it is hashed into the fingerprint."""
        digest = self.digest
        return {
            "digest": digest,
            "episodes": len(self),
            "available": self.available,
            "window": self.window,
            "features": self.features,
            "snapshots": [digest],
        }


def check_file(path: Path, digest: str, data: Mapping[str, Any]) -> None:
    """Compare the file of a snapshot with its digest, for `storage.blob_checks`. Raises IntegrityError, DiskError."""
    sound_arrays(read_bytes(path), digest, str(path), tuple(_DTYPES))


def book_of(table: BookTable, context: PrepareContext) -> tuple[EpisodeBook, dict[str, Any]]:
    """The book that Python hands over or the spec names, and its origin. Raises InputError, DataError."""
    book = context.python_objects.get(BOOK_KEY)
    if book is not None:
        if not isinstance(book, EpisodeBook):
            raise InputError(f"episodes are given as an EpisodeBook; found {type(book).__name__}.")
        return book, {"source": "python"}
    if table.source == "python":
        raise DataError(
            'data.source = "python" stands for a book that was given in Python: give it again, or name its folder with '
            "data.path."
        )
    # An explicit path wins over the book of the home.
    if table.path is not None:
        path = spec_path(table.path, context.base)
    elif context.home is not None:
        path = context.home / BOOK_FOLDER
    else:
        raise DataError("data.path names the folder of a book where no home has one of its own; found none. Set it.")
    return EpisodeBook.open(path), {"source": "folder", "path": str(path)}


def check_symbol(book: EpisodeBook, symbol: str) -> None:
    """Raise UnknownNameError for a symbol that the book has no episode of, though it has some of others."""
    if not book.symbols or symbol in book.symbols:
        return
    raise UnknownNameError(
        f"the book has no episode of {symbol!r}; it has episodes of {', '.join(map(repr, book.symbols))}."
        f"{did_you_mean(symbol, book.symbols)}"
    )


def no_episodes(book: EpisodeBook, symbol: str, least: float) -> str:
    """Why no episode can be trained on, with the number that would change it."""
    rows = book.profitable_rows(symbol, min_profitability=0.0, max_episodes=None)
    if rows.size == 0:
        return (
            f"no episode of {symbol!r} has a known outcome; the book has {len(book)} episodes of "
            f"{', '.join(book.symbols) or 'no symbol'}. Collect more."
        )
    return (
        f"no validated episode of {symbol!r} has a score of at least {least:g}; {rows.size} are validated, and the "
        f"highest score is {book.scores()[rows[0]]:.3f}. Collect more, or lower min_profitability."
    )


def few_episodes(used: int) -> str:
    """A remark on a number of episodes that a network learns by heart; empty for enough of them."""
    if used >= FEW:
        return ""
    return (
        f"{used} episodes are few: a network learns them by heart. Lower min_profitability, raise max_episodes, or "
        f"collect more, so that there are {FEW} at least."
    )


def pin(table: EpisodesTable, book: EpisodeBook, blobs: BlobStore, origin: Mapping[str, Any]) -> PinnedEpisodes:
    """Choose the episodes (R9.19), read their packages, store the samples.

    Raises UnknownNameError, DataError when nothing is left to learn from, IntegrityError for a damaged package,
    DiskError.
    """
    # All of them, not only `max_episodes`: some may turn out to be unusable below.
    check_symbol(book, table.symbol)
    rows = book.profitable_rows(table.symbol, min_profitability=table.min_profitability, max_episodes=None)
    available = rows.size
    if available == 0:
        raise DataError(no_episodes(book, table.symbol, table.min_profitability))
    # The highest score first. A bar without enough bars after it has no pivot class (-1).
    if table.target == "pivot":
        rows = rows[book.column("pivot_class")[rows] >= 0]
    window = table.window if table.window is not None else _longest(book, rows[: table.max_episodes])
    rows, windows, digests = _windows(book, rows, window, table.max_episodes)
    if rows.size == 0:
        raise DataError(
            f"none of the {available} episodes of {table.symbol!r} has a package with {window} bars of features"
            f"{' and a known pivot' if table.target == 'pivot' else ''}. Choose a smaller episodes.window, or collect "
            "with the packages kept."
        )
    # Names beside the numbers, since the book grows and is ranked anew.
    ids = [episode_id.encode() for episode_id in book.ids(rows)]
    columns = {
        "windows": windows,
        "classes": book.column("optimal_action" if table.target == "action" else "pivot_class")[rows],
        "returns": _returns(book, rows),
        "scores": book.scores()[rows],
        "profitable": book.column("is_profitable")[rows],
        "package": digests,
        "episode_id": np.frombuffer(b"".join(ids), np.uint8),
        "id_length": np.array([len(item) for item in ids]),
    }
    # Fixed types and order: the digest depends on both, and a book may hold other types.
    arrays = {name: np.ascontiguousarray(columns[name], dtype) for name, dtype in _DTYPES.items()}
    pinned = PinnedEpisodes(arrays=arrays, available=available, origin=origin)
    blobs.put_arrays(arrays, SUFFIX)
    return pinned


def _longest(book: EpisodeBook, rows: NDArray[np.int64]) -> int:
    """Bars of the longest window among the packages; 0 without features."""
    lengths = [int(batch.pools["cnn_features"].lengths.max(initial=0)) for _, batch in book.batches(rows)]
    loose = (book.loose[row].cnn_features for row in rows.tolist() if row in book.loose)
    lengths += [len(features) for features in loose if features is not None]
    return max(lengths, default=0)


class _Window(NamedTuple):
    """The features of one package: its row in the book, float32 (window, features), and the package's digest."""

    row: int
    features: NDArray[np.float32]
    digest: bytes


def _windows(
    book: EpisodeBook, rows: NDArray[np.int64], window: int, limit: int
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.uint8]]:
    """The first `limit` rows whose packages have that many bars of finite features: rows int64 (n,), windows float32
    (n, window, features), package digests uint8 (n, 32)."""
    # Lazily, so that reading ends with the last package that is needed.
    chosen = list(itertools.islice(_usable(book, rows, window, chunk=max(limit, 1)), limit))
    if not chosen:
        return rows[:0], np.empty((0, window, 0), np.float32), np.empty((0, 32), np.uint8)
    digests = np.frombuffer(b"".join(item.digest for item in chosen), np.uint8).reshape(len(chosen), -1)
    return np.array([item.row for item in chosen], np.int64), np.stack([item.features for item in chosen]), digests


def _usable(book: EpisodeBook, rows: NDArray[np.int64], window: int, *, chunk: int) -> Iterator[_Window]:
    """Usable windows in the order of `rows`. Packages are read `chunk` at a time: a run may use few of a large book."""
    for start in range(0, rows.size, chunk):
        part = rows[start : start + chunk]
        packages = _packages(book, part, window)
        for place, row in enumerate(part.tolist()):
            # One NaN makes every weight NaN after one step.
            if place in packages and np.isfinite(packages[place][0]).all():
                yield _Window(row, *packages[place])


def _packages(book: EpisodeBook, rows: NDArray[np.int64], window: int) -> dict[int, tuple[NDArray[np.float32], bytes]]:
    """Features and digest by place in `rows`, of the packages with that many bars, stored in batches or loose."""
    packages: dict[int, tuple[NDArray[np.float32], bytes]] = {}
    # A book has packages in batches on disk and, while it is collected, loose ones in memory.
    for places, batch in book.batches(rows):
        pool, digests = batch.pools["cnn_features"], batch.hashes()[1]
        for index in np.flatnonzero(pool.lengths == window).tolist():
            table = pool.table(index)
            if table is not None:
                packages[int(places[index])] = (table.astype(np.float32), digests[index].tobytes())
    for place, row in enumerate(rows.tolist()):
        package = book.loose.get(row)
        if package is not None and package.cnn_features is not None and len(package.cnn_features) == window:
            digest = bytes.fromhex(package.digest.removeprefix("blake3:"))
            packages[place] = (package.cnn_features.astype(np.float32), digest)
    return packages


def _returns(book: EpisodeBook, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return of the market, fraction; for an outcome without it, the profit with the sign of the action."""
    moved = book.column("market_return")[rows].copy()
    # The actions are numbered SELL, HOLD, BUY, so the distance from HOLD is the side.
    side = book.column("optimal_action")[rows].astype(np.float64) - float(Action.HOLD)
    unknown = np.isnan(moved)
    moved[unknown] = (side * book.column("actual_profit")[rows])[unknown]
    return moved


def restore(body: Mapping[str, Any], blobs: BlobStore) -> PinnedEpisodes:
    """The same samples from the snapshot. Raises DataError when it is missing, IntegrityError for damage."""
    return PinnedEpisodes(arrays=blobs.get_arrays(body["digest"], SUFFIX, tuple(_DTYPES)), available=body["available"])
