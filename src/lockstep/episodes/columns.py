"""Columns that grow, for a million episodes: numbers in arrays, texts end to end, rows of ids by their hash.

An episode takes about 160 bytes here, room to grow included. As a Python object it would take 800, without its package.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from lockstep.core.errors import DataError

DTYPES: Final[Mapping[str, str]] = {
    "symbol": "<u2",
    "package": "<i8",
    "package_mark": "<u8",
    "created_at": "<i8",
    "completeness": "<f8",
    "is_rapid_change": "|b1",
    "training_count": "<i8",
    "actual_profit": "<f8",
    "profitability_score": "<f8",
    "optimal_action": "<i2",
    "is_profitable": "|b1",
    "outcome_validated": "|b1",
    "market_return": "<f8",
    "pivot_class": "|i1",
}
"""Columns of numbers. `package` is the row in the shelf of packages, -1 for none, and `package_mark` the first 8 bytes
of its digest; `market_return` is NaN and `pivot_class` -1 where unknown."""
TEXTS: Final = ("episode_id", "predictions")
"""Columns of text: UTF-8; predictions as canonical JSON."""
_LEAST: Final = 1_024
# Ids in the dictionary before they go into the sorted arrays: each merge sorts all, so it has to be rare.
_RECENT: Final = 65_536


class Numbers:
    """Equally long columns that grow by doubling."""

    def __init__(self) -> None:
        self.length = 0
        self._arrays = {name: np.empty(0, dtype) for name, dtype in DTYPES.items()}

    def __getitem__(self, name: str) -> NDArray[Any]:
        """A column (length,), a view to read and write; invalid after `extend`, which may move the column."""
        return self._arrays[name][: self.length]

    def extend(self, columns: Mapping[str, NDArray[Any]], count: int) -> None:
        """Append `count` rows: every column of `DTYPES`, (count,) each."""
        stop = self.length + count
        for name, dtype in DTYPES.items():
            array = self._arrays[name]
            if stop > array.shape[0]:
                grown = np.empty(max(_LEAST, stop, 2 * array.shape[0]), dtype)
                grown[: self.length] = array[: self.length]
                self._arrays[name] = array = grown
            array[self.length : stop] = columns[name]
        self.length = stop

    @property
    def nbytes(self) -> int:
        """Bytes held, room to grow included."""
        return sum(array.nbytes for array in self._arrays.values())


class Texts:
    """A column of texts: their UTF-8 bytes end to end, and where each ends."""

    def __init__(self) -> None:
        self.length = 0
        self._bytes = bytearray()
        self._stop = np.zeros(_LEAST, np.int64)

    def encoded(self, row: int) -> bytes:
        """The UTF-8 bytes of one text, a copy."""
        return bytes(self._bytes[self._stop[row - 1] if row else 0 : self._stop[row]])

    def __getitem__(self, row: int) -> str:
        return self.encoded(row).decode()

    def extend(self, texts: Sequence[bytes]) -> None:
        """Append texts, UTF-8 bytes each, as new rows at the end."""
        lengths = np.fromiter(map(len, texts), np.int64, len(texts))
        self.extend_joined(np.frombuffer(b"".join(texts), np.uint8), lengths)

    def extend_joined(self, joined: NDArray[np.uint8], lengths: NDArray[np.int64]) -> None:
        """Append k texts that lie end to end: their bytes uint8, and their lengths in bytes int64 (k,)."""
        stop = self.length + lengths.shape[0]
        if stop > self._stop.shape[0]:
            grown = np.zeros(max(stop, 2 * self._stop.shape[0]), np.int64)
            grown[: self.length] = self._stop[: self.length]
            self._stop = grown
        self._stop[self.length : stop] = len(self._bytes) + np.cumsum(lengths)
        self._bytes += joined.tobytes()
        self.length = stop

    def part(self, start: int, stop: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """The texts of rows start ... stop - 1: their bytes end to end, and their lengths. Copies."""
        ends = self._stop[start:stop]
        first = int(self._stop[start - 1]) if start else 0
        last = int(ends[-1]) if ends.size else first
        lengths = np.diff(ends, prepend=first)
        return np.frombuffer(bytes(self._bytes[first:last]), np.uint8), lengths

    @property
    def nbytes(self) -> int:
        """Bytes of texts and ends, room to grow in the ends included."""
        return len(self._bytes) + self._stop.nbytes


class RowsById:
    """Where the text of an id is: hashes in order, and a small dictionary of those that came last.

    A hash of 64 bits finds the candidates; the texts themselves decide, so equal hashes harm nothing.
    """

    def __init__(self, ids: Texts) -> None:
        self._ids = ids
        self._hashes = np.empty(0, np.uint64)
        self._rows = np.empty(0, np.int64)
        self._recent: dict[bytes, int] = {}

    def find(self, episode_id: bytes) -> int:
        """The row of an id, or -1 where it is not in the book."""
        row = self._recent.get(episode_id, -1)
        if row >= 0 or not self._hashes.size:
            return row
        digest = _hash(episode_id)
        # Equal hashes stand side by side; the first is where the search lands.
        at = int(np.searchsorted(self._hashes, digest))
        while at < self._hashes.shape[0] and self._hashes[at] == digest:
            row = int(self._rows[at])
            if self._ids.encoded(row) == episode_id:
                return row
            at += 1
        return -1

    def add(self, episode_ids: Sequence[bytes], first: int) -> None:
        """Take in the ids of rows `first` ...; `_ids` holds them already or will before the next call.

        Raises DataError for one that is taken, and then nothing has changed.
        """
        rows = dict(zip(episode_ids, range(first, first + len(episode_ids)), strict=True))
        taken = next(iter(rows.keys() & self._recent.keys()), None)
        if len(rows) < len(episode_ids):
            taken = next(one for place, one in enumerate(episode_ids) if rows[one] != first + place)
        if taken is None and self._hashes.size:
            # All at once: a search for each would cost more than everything else together.
            hashes = np.fromiter(map(_hash, episode_ids), np.uint64, len(episode_ids))
            at = np.minimum(np.searchsorted(self._hashes, hashes), self._hashes.shape[0] - 1)
            # Equal hashes are no proof; the few candidates are compared as texts.
            alike = np.flatnonzero(self._hashes[at] == hashes).tolist()
            taken = next((episode_ids[place] for place in alike if self.find(episode_ids[place]) >= 0), None)
        if taken is not None:
            raise DataError(f"an episode's id is unique; {taken.decode()!r} is taken. Choose another, or another book.")
        if len(self._recent) + len(rows) > _RECENT:
            self._merge()
        self._recent |= rows

    def _merge(self) -> None:
        hashes = np.fromiter(map(_hash, self._recent), np.uint64, len(self._recent))
        rows = np.fromiter(self._recent.values(), np.int64, len(self._recent))
        hashes, rows = np.concatenate((self._hashes, hashes)), np.concatenate((self._rows, rows))
        order = np.argsort(hashes, kind="stable")
        self._hashes, self._rows = hashes[order], rows[order]
        self._recent = {}

    def check_valid(self) -> None:
        """Raises DataError when an id does not lead to its row."""
        count = len(self._recent) + self._hashes.shape[0]
        if count != self._ids.length:
            raise DataError(f"the book has {count} ids for {self._ids.length} episodes.")
        for row in range(self._ids.length):
            if self.find(self._ids.encoded(row)) != row:
                raise DataError(f"the book's row {row} is not that of {self._ids[row]!r}.")

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays; the dictionary holds at most 65,536 ids on top."""
        return self._hashes.nbytes + self._rows.nbytes


def _hash(episode_id: bytes) -> int:
    return int.from_bytes(blake3(episode_id).digest(8), "little")
