"""Shelves: where the packages of episodes are. Episodes name them by row; only rows in use become objects."""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from typing import Final, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lockstep.core.types import Int
from lockstep.episodes.packages.batch import PackageBatch, concatenated
from lockstep.episodes.packages.layout import PackageLayout
from lockstep.episodes.packages.package import DEFAULT_RULES, PackageRules
from lockstep.episodes.packages.quarantine import Quarantine, admitted

_PIECE: Final = 4_096


class PackageShelf(Protocol):
    """Packages by row: `episodes.packages.store.PackageStore` on disk, `HeldPackages` in memory."""

    @property
    def layout(self) -> PackageLayout:
        """Symbols and columns that all packages here share."""
        ...

    def __len__(self) -> int: ...

    def taken(self, rows: ArrayLike) -> Iterator[tuple[Int, PackageBatch]]:
        """The packages of some rows, int64 (k,) in any order, each piece of the shelf read once.

        Yields places in `rows`, int64 (m,), and those m packages. Raises IndexError for a row that is not there.
        """
        ...


class HeldPackages:
    """Packages in memory, admitted and quarantined as `PackageWriter` does it; about 400 bytes each at 64 bars."""

    def __init__(self, layout: PackageLayout, *, rules: PackageRules = DEFAULT_RULES) -> None:
        self._layout, self._rules = layout, rules
        self._batches: list[PackageBatch] = []
        self._starts: list[int] = []
        self._waiting: list[PackageBatch] = []
        self._packed = 0
        self._stored = 0
        self.quarantine = Quarantine()

    @property
    def layout(self) -> PackageLayout:
        """Symbols and columns of the packages."""
        return self._layout

    @property
    def stored(self) -> int:
        """Number of packages admitted so far, quarantined ones not counted."""
        return self._stored

    def __len__(self) -> int:
        return self._stored

    def add_batch(self, batch: PackageBatch, *, now_ms: int | None = None) -> NDArray[np.bool_]:
        """Admit the packages of a batch that may be stored, quarantine the others (R9.4, R9.5).

        `now_ms` is the clock, milliseconds UTC, or None. Returns which were admitted, bool (n,).
        """
        own = batch.hashed()
        flags = batch.flags(self._rules, now_ms=now_ms, hashed=own)
        good, against = admitted(batch.completeness(), flags, self._rules)
        self.quarantine.add_batch(batch, against)
        if good.any():
            self._waiting.append(own if good.all() else own.take(good))
            self._stored += len(self._waiting[-1])
            if self._stored - self._packed >= _PIECE:
                self._pack()
        return good

    def _pack(self) -> None:
        """Join waiting packages to one batch: ranges can only be shared within one table of rows."""
        if self._waiting:
            self._batches.append(concatenated(self._waiting).compacted())
            self._starts.append(self._packed)
            self._packed, self._waiting = self._stored, []

    def taken(self, rows: ArrayLike) -> Iterator[tuple[Int, PackageBatch]]:
        """The packages of some rows, as `PackageShelf.taken` says; nothing is checked in memory. Raises IndexError."""
        self._pack()
        for piece, places, inside in grouped(self._starts, self._stored, rows):
            yield places, self._batches[piece].take(inside)


def grouped(starts: list[int], stop: int, rows: ArrayLike) -> Iterator[tuple[int, Int, Int]]:
    """Rows by the piece that holds them: piece, places in `rows`, rows inside of the piece.

    starts  first row of each piece, ascending from 0
    stop    number of rows in all pieces
    rows    int64 (k,), any order

    Raises IndexError for a row outside of 0 ... stop - 1.
    """
    numbers = np.asarray(rows, np.int64)
    order = np.argsort(numbers, kind="stable")
    ascending = numbers[order]
    if numbers.size and (numbers.min() < 0 or numbers.max() >= stop):
        raise IndexError(f"there are packages 0 to {stop - 1}; asked for {int(numbers.min())} to {int(numbers.max())}.")
    at = 0
    while at < order.shape[0]:
        piece = bisect.bisect_right(starts, int(ascending[at])) - 1
        end = starts[piece + 1] if piece + 1 < len(starts) else stop
        until = int(np.searchsorted(ascending, end, side="left"))
        places = order[at:until]
        yield piece, places, numbers[places] - starts[piece]
        at = until
