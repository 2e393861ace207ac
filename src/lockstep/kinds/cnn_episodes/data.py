"""The samples of an episode session: windows, targets and names of the chosen episodes, pinned as a snapshot by digest.

`<digest>.episodes` holds raw windows; they are scaled when the training is made. What the run learned from is then
known although the book goes on: `episode_id` and `package` (the packages' own digests) name it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lockstep.core.errors import DataError
from lockstep.core.hashing import digest_columns
from lockstep.episodes.book import EpisodeBook
from lockstep.episodes.outcomes import Action

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.kinds.cnn_episodes.spec import EpisodesTable
    from lockstep.storage.blobs import BlobStore

SUFFIX: Final = ".episodes"
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
    """What a session learns from.

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
        """Bars of a window."""
        return int(self.arrays["windows"].shape[1])

    @property
    def features(self) -> int:
        """Features of a bar."""
        return int(self.arrays["windows"].shape[2])

    @property
    def digest(self) -> str:
        """BLAKE3 of the arrays."""
        return digest_columns(self.arrays)

    @property
    def ids(self) -> list[str]:
        """The episodes, best first."""
        text, stops = self.arrays["episode_id"].tobytes(), np.cumsum(self.arrays["id_length"]).tolist()
        return [text[start:stop].decode() for start, stop in zip([0, *stops], stops, strict=False)]

    def body(self) -> dict[str, Any]:
        """The body of data.json: all of it is hashed."""
        digest = self.digest
        return {
            "digest": digest,
            "episodes": len(self),
            "available": self.available,
            "window": self.window,
            "features": self.features,
            "snapshots": [digest],
        }


def pin(table: EpisodesTable, book: EpisodeBook, blobs: BlobStore, origin: Mapping[str, Any]) -> PinnedEpisodes:
    """Choose the episodes (R9.19), read their packages, store what they teach.

    Raises DataError when nothing is left to learn from, IntegrityError for a damaged package, DiskError.
    """
    rows = book.profitable_rows(table.symbol, min_profitability=table.min_profitability, max_episodes=None)
    available = rows.size
    if available == 0:
        raise DataError(
            f"no validated episode of {table.symbol!r} has a score of at least {table.min_profitability:g}; the book "
            f"has {len(book)} episodes of {', '.join(book.symbols) or 'no symbol'}. Collect more, or lower "
            "episodes.min_profitability."
        )
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
    ids = [episode_id.encode() for episode_id in book.ids(rows)]
    found = {
        "windows": windows,
        "classes": book.column("optimal_action" if table.target == "action" else "pivot_class")[rows],
        "returns": _returns(book, rows),
        "scores": book.scores()[rows],
        "profitable": book.column("is_profitable")[rows],
        "package": digests,
        "episode_id": np.frombuffer(b"".join(ids), np.uint8),
        "id_length": np.array([len(item) for item in ids]),
    }
    arrays = {name: np.ascontiguousarray(found[name], dtype) for name, dtype in _DTYPES.items()}
    pinned = PinnedEpisodes(arrays=arrays, available=available, origin=origin)
    blobs.put_arrays(arrays, SUFFIX)
    return pinned


def _longest(book: EpisodeBook, rows: NDArray[np.int64]) -> int:
    lengths = [int(batch.pools["cnn_features"].lengths.max(initial=0)) for _, batch in book.batches(rows)]
    loose = (book.loose[row].cnn_features for row in rows.tolist() if row in book.loose)
    lengths += [len(features) for features in loose if features is not None]
    return max(lengths, default=0)


def _windows(
    book: EpisodeBook, rows: NDArray[np.int64], window: int, limit: int
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.uint8]]:
    """Rows whose packages have that many bars of features, at most `limit` of them; windows and package digests."""
    parts: list[tuple[NDArray[np.int64], list[NDArray[np.float32]], list[bytes]]] = []
    count, step = 0, max(limit, 1)
    for start in range(0, rows.size, step):
        part = rows[start : start + step]
        found: dict[int, tuple[NDArray[np.float32], bytes]] = {}
        for held, batch in book.batches(part):
            pool = batch.pools["cnn_features"]
            digests = batch.hashes()[1]
            for index in np.flatnonzero(pool.lengths == window).tolist():
                table = pool.table(index)
                if table is not None:
                    found[int(held[index])] = (table.astype(np.float32), digests[index].tobytes())
        for place, row in enumerate(part.tolist()):
            package = book.loose.get(row)
            if package is not None and package.cnn_features is not None and len(package.cnn_features) == window:
                digest = bytes.fromhex(package.digest.removeprefix("blake3:"))
                found[place] = (package.cnn_features.astype(np.float32), digest)
        places = [place for place in sorted(found) if np.isfinite(found[place][0]).all()][: limit - count]
        parts.append((part[places], [found[place][0] for place in places], [found[place][1] for place in places]))
        count += len(places)
        if count >= limit:
            break
    windows = [item for _, items, _ in parts for item in items]
    joined = b"".join(item for _, _, items in parts for item in items)
    chosen = np.concatenate([part for part, _, _ in parts]) if parts else rows[:0]
    stacked = np.stack(windows) if windows else np.empty((0, window, 0), np.float32)
    return chosen, stacked, np.frombuffer(joined, np.uint8).reshape(len(windows), -1 if windows else 32)


def _returns(book: EpisodeBook, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """What the market did. Of an outcome made by hand that does not say so: its profit, with its action's sign."""
    moved = book.column("market_return")[rows].copy()
    side = book.column("optimal_action")[rows].astype(np.float64) - float(Action.HOLD)
    unknown = np.isnan(moved)
    moved[unknown] = (side * book.column("actual_profit")[rows])[unknown]
    return moved


def restore(body: Mapping[str, Any], blobs: BlobStore) -> PinnedEpisodes:
    """The same from data.json and the snapshot. Raises DataError when it is missing, IntegrityError for damage."""
    return PinnedEpisodes(arrays=blobs.get_arrays(body["digest"], SUFFIX, tuple(_DTYPES)), available=body["available"])
