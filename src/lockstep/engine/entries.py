"""Compact entries of many parameter sets: what candidate kernels write and the walk kernel reads.

A set's entries are the bars at which it would open a position, in ascending order, stored one set after the
other (compressed sparse rows): the entries of set k are indices offsets[k] … offsets[k + 1] − 1.
A single backtest is a batch of one set, so both take the same path through the same kernel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lockstep.engine.signals import Signals

#: Time limit of an entry that has none.
NO_LIMIT: Final = int(np.iinfo(np.int32).max)


@dataclass(frozen=True, kw_only=True, eq=False)
class EntryBatch:
    """Entries of k sets; E entries in all.

    offsets      int64 (k + 1,): ascending, offsets[0] == 0, offsets[k] == E
    bar          int32 (E,): bar at whose close the decision falls; strictly ascending inside a set
    side         int8 (E,): 1 long, -1 short
    stop         float64 (E,): stop price; NaN is none
    target       float64 (E,): target price; NaN is none
    time_limit   int32 (E,): bars, ≥ 1; NO_LIMIT is none
    trail        float64 (E,) or None: trailing distance in price units, > 0; NaN is none
    exit_offsets int64 (k + 1,) or None, exit_bar int32: bars at whose close a set closes any position, same layout

    The constructor checks shapes and dtypes (constant time: sweeps make thousands); `check_valid` checks values.
    """

    offsets: NDArray[np.int64]
    bar: NDArray[np.int32]
    side: NDArray[np.int8]
    stop: NDArray[np.float64]
    target: NDArray[np.float64]
    time_limit: NDArray[np.int32]
    trail: NDArray[np.float64] | None = None
    exit_offsets: NDArray[np.int64] | None = None
    exit_bar: NDArray[np.int32] | None = None

    def __post_init__(self) -> None:
        """Raises TypeError or ValueError, not InputError: only code makes a batch, so a wrong one is a defect."""
        _check_array("offsets", self.offsets, np.int64)
        if self.offsets.size < 1:
            raise ValueError("entries: offsets has one value more than there are sets; found none")
        entries = self.bar.size
        # Exact types: a kernel that gets others is compiled again, for a minute.
        for name, dtype in (
            ("bar", np.int32),
            ("side", np.int8),
            ("stop", np.float64),
            ("target", np.float64),
            ("time_limit", np.int32),
        ):
            _check_array(name, getattr(self, name), dtype, size=entries)
        if self.offsets[0] != 0 or self.offsets[-1] != entries:
            raise ValueError(
                f"entries: offsets run from 0 to the number of entries ({entries}); "
                f"found {self.offsets[0]} to {self.offsets[-1]}"
            )
        if self.trail is not None:
            _check_array("trail", self.trail, np.float64, size=entries)
        # One without the other would be read as bars of a wrong set.
        if (self.exit_offsets is None) != (self.exit_bar is None):
            raise ValueError("entries: exit_offsets and exit_bar come together or not at all")
        if self.exit_offsets is not None and self.exit_bar is not None:
            _check_array("exit_offsets", self.exit_offsets, np.int64, size=self.offsets.size)
            _check_array("exit_bar", self.exit_bar, np.int32)

    @property
    def sets(self) -> int:
        """k, the number of parameter sets in the batch."""
        return int(self.offsets.size) - 1

    @property
    def nbytes(self) -> int:
        """Bytes of the entries, which a sweep keeps inside the processor's cache."""
        columns = (self.bar, self.side, self.stop, self.target, self.time_limit, self.trail, self.exit_bar)
        return sum(int(column.nbytes) for column in columns if column is not None)

    def check_valid(self, bars: int) -> str | None:
        """The first broken rule in words, or None: for contract suites of candidate kernels."""
        if np.any(np.diff(self.offsets) < 0):
            return "offsets descend"
        if self.bar.size and (self.bar.min() < 0 or self.bar.max() >= bars):
            return f"a bar lies outside 0 … {bars - 1}"
        if np.any((self.side != 1) & (self.side != -1)):
            return "a side is neither 1 nor -1"
        if np.any(self.time_limit < 1):
            return "a time limit is below 1 bar"
        if self.trail is not None and np.any(self.trail <= 0.0):
            return "a trailing distance is not above 0"
        for k in range(self.sets):
            if np.any(np.diff(self.bar[self.offsets[k] : self.offsets[k + 1]]) <= 0):
                return f"bars of set {k} do not ascend strictly"
        return None


def _check_array(name: str, array: NDArray[Any], dtype: type, size: int | None = None) -> None:
    if array.dtype != dtype or array.ndim != 1 or not array.flags.c_contiguous:
        raise TypeError(
            f"entries: {name} is a contiguous array of {np.dtype(dtype)}; found {array.dtype}, {array.ndim} dimensions"
        )
    if size is not None and array.size != size:
        raise ValueError(f"entries: {name} has {size} values; found {array.size}")


def compact(signals: Signals, *, max_holding: int | None = None) -> EntryBatch:
    """The entries of `signals` as a batch of one set; `max_holding` limits signals that carry no time limit."""
    # Of a mask: NumPy looks for its True in strides, and for other values one by one.
    at = np.flatnonzero(signals.side != 0)
    # NaN compares false with every price, so a level that is absent needs no case in the walk.
    empty = np.full(at.size, np.nan)
    limit: NDArray[np.int32]
    if isinstance(signals.time_limit, np.ndarray):
        limit = signals.time_limit[at]
    else:
        value = max_holding if signals.time_limit is None else signals.time_limit
        limit = np.full(at.size, NO_LIMIT if value is None else min(value, NO_LIMIT), np.int32)
    exit_bar = None if signals.exit is None else np.flatnonzero(signals.exit).astype(np.int32)
    return EntryBatch(
        offsets=np.array([0, at.size], np.int64),
        bar=at.astype(np.int32),
        side=signals.side[at],
        stop=empty if signals.stop is None else signals.stop[at],
        target=empty if signals.target is None else signals.target[at],
        time_limit=limit,
        trail=None if signals.trail is None else signals.trail[at],
        exit_offsets=None if exit_bar is None else np.array([0, exit_bar.size], np.int64),
        exit_bar=exit_bar,
    )
