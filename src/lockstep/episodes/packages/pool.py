"""Rows shared by many packages, stored once: ranges over a table instead of a table for each package.

    rows    (m, c)   the table
    start   (n,)     first row of package i, or -1 where it has none (the field is None)
    stop    (n,)     one past its last row

`compact` brings any such ranges into the one form that depends on the packages' contents alone, so that packages
give the same stored bytes whether they came one by one or were built together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lockstep.core.compiled import kernel
from lockstep.core.errors import DataError
from lockstep.core.types import Int


@dataclass(frozen=True, kw_only=True, eq=False)
class Ranges:
    """A pool's rows and each package's range in them. Read-only.

    rows   (m, c), C-contiguous, little-endian
    start  int64 (n,), -1 where the package has none
    stop   int64 (n,), equal to `start` for an empty range
    """

    rows: NDArray[Any]
    start: Int
    stop: Int

    def __post_init__(self) -> None:
        if self.rows.ndim != 2 or not self.rows.flags.c_contiguous or self.start.shape != self.stop.shape:
            raise DataError(
                f"a pool is a C-contiguous table (rows, columns) with one start and stop per package; found "
                f"{self.rows.shape}, {self.start.shape} and {self.stop.shape}."
            )
        there = self.start >= 0
        if np.any(self.stop[there] < self.start[there]) or np.any(self.stop[there] > self.rows.shape[0]):
            raise DataError("a package's range lies inside of its pool's rows; found one that does not.")
        for name in ("rows", "start", "stop"):
            view = getattr(self, name).view()
            view.flags.writeable = False
            object.__setattr__(self, name, view)

    @property
    def there(self) -> NDArray[np.bool_]:
        """bool (n,): which packages have this field (perhaps with no rows)."""
        return self.start >= 0

    @property
    def lengths(self) -> Int:
        """int64 (n,): rows of each package; 0 where it has none."""
        return np.where(self.there, self.stop - self.start, 0)

    def table(self, index: int) -> NDArray[Any] | None:
        """The rows of one package, a view; None where it has none."""
        start = int(self.start[index])
        return None if start < 0 else self.rows[start : int(self.stop[index])]

    def count(self, rows: NDArray[np.bool_], *, skip: int = 0) -> Int:
        """int64 (n,): in how many rows of each package (its first `skip` left out) `rows`, bool (m,), is true."""
        sums = np.concatenate((np.zeros(1, np.int64), np.cumsum(rows, dtype=np.int64)))
        first = np.where(self.there, np.minimum(self.start + skip, self.stop), 0)
        return np.where(self.there, sums[np.where(self.there, self.stop, 0)] - sums[first], 0)

    def take(self, which: Any) -> Ranges:
        """The ranges of some packages (slice, mask or numbers), over the same rows."""
        return Ranges(rows=self.rows, start=self.start[which], stop=self.stop[which])

    def compacted(self) -> Ranges:
        """The same contents in canonical form: no row that nobody uses, none twice that neighbours share."""
        size = int(self.lengths.sum())
        take, start = np.empty(size, np.int64), np.empty(self.start.shape[0], np.int64)
        words = _words(self.rows)
        used = int(compact(words, self.start, self.stop, start, take))
        return Ranges(rows=self.rows[take[:used]], start=start, stop=np.where(start < 0, -1, start + self.lengths))


def joined(parts: list[Ranges]) -> Ranges:
    """The packages of several pools after one another. Raises ValueError when columns or dtypes differ."""
    offsets = np.cumsum([0, *(part.rows.shape[0] for part in parts[:-1])])
    return Ranges(
        rows=np.concatenate([part.rows for part in parts]),
        start=np.concatenate(
            [np.where(part.there, part.start + at, -1) for part, at in zip(parts, offsets, strict=True)]
        ),
        stop=np.concatenate(
            [np.where(part.there, part.stop + at, -1) for part, at in zip(parts, offsets, strict=True)]
        ),
    )


def _words(rows: NDArray[Any]) -> NDArray[Any]:
    """The rows as whole numbers: bits are compared, so NaN equals itself and 0.0 is not -0.0."""
    return rows.view(np.dtype(f"<u{rows.dtype.itemsize}"))


def compact_python(words: NDArray[Any], start: Int, stop: Int, new_start: Int, take: Int) -> int:
    """Canonical ranges: package by package, behind the rows that the one before left, as much overlapped as can be.

    A package may begin at any row of the range of the package before (the first that fits), and go on where that one
    ended if nothing follows there; else its rows are appended.

    words      unsigned (m, c), the rows' bits
    start      int64 (n,), -1 for none
    stop       int64 (n,)
    new_start  int64 (n,), filled with the start of each package in the new table, -1 for none
    take       int64 (sum of lengths,), filled: which old row each new row is

    Returns how many rows the new table has.
    """
    columns = words.shape[1]
    total = 0
    # Only the package before is searched, not the whole table: consecutive moments share rows, others hardly do, and a
    # search of all would take quadratic time. The form depends on the order of packages, which the store fixes.
    first, last = 0, 0  # the range of the package before, in the new table
    for i in range(start.shape[0]):
        if start[i] < 0:
            new_start[i] = -1
            continue
        length = stop[i] - start[i]
        # An empty field is not an absent one: it has a range, and leaves `first` and `last` to the next package.
        if length == 0:
            new_start[i] = total
            continue
        place = total
        for candidate in range(first, last):
            # Rows after `last` belong to earlier packages; this one can go on there only at the table's end.
            if candidate + length > last and last != total:
                continue
            overlap = min(length, last - candidate)
            same = True
            for k in range(overlap):
                old, new = take[candidate + k], start[i] + k
                # One and the same old row needs no look at its words: the usual case for packages built together.
                if old != new:
                    for column in range(columns):
                        if words[old, column] != words[new, column]:
                            same = False
                            break
                    if not same:
                        break
            if same:
                place = candidate
                break
        # What overlaps stands there already; only the rest is new.
        for k in range(max(total - place, 0), length):
            take[place + k] = start[i] + k
        new_start[i] = place
        first, last = place, place + length
        total = max(total, last)
    return total


compact = kernel(compact_python)
