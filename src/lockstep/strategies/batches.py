"""Small operations on entry batches: joining, limiting, and back to signals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from lockstep.engine.entries import NO_LIMIT, EntryBatch
from lockstep.engine.signals import Signals

if TYPE_CHECKING:
    from numpy.typing import NDArray


def empty_batch(sets: int) -> EntryBatch:
    """`sets` sets without an entry."""
    return EntryBatch(
        offsets=np.zeros(sets + 1, np.int64),
        bar=np.empty(0, np.int32),
        side=np.empty(0, np.int8),
        stop=np.empty(0),
        target=np.empty(0),
        time_limit=np.empty(0, np.int32),
    )


def concatenate(batches: Sequence[EntryBatch]) -> EntryBatch:
    """The sets of all batches in one, in the order given."""
    if len(batches) == 1:
        return batches[0]
    if not batches:
        return empty_batch(0)
    trail = exit_offsets = exit_bar = None
    # NaN stands for "no trail" where only some of the sets have one.
    if any(batch.trail is not None for batch in batches):
        trail = np.concatenate(
            [np.full(batch.bar.size, np.nan) if batch.trail is None else batch.trail for batch in batches]
        )
    if any(batch.exit_bar is not None for batch in batches):
        none = np.empty(0, np.int32)
        exit_bar = np.concatenate([none if batch.exit_bar is None else batch.exit_bar for batch in batches])
        exit_offsets = _joined_offsets(
            [
                np.zeros(batch.sets + 1, np.int64) if batch.exit_offsets is None else batch.exit_offsets
                for batch in batches
            ]
        )
    return EntryBatch(
        offsets=_joined_offsets([batch.offsets for batch in batches]),
        bar=np.concatenate([batch.bar for batch in batches]),
        side=np.concatenate([batch.side for batch in batches]),
        stop=np.concatenate([batch.stop for batch in batches]),
        target=np.concatenate([batch.target for batch in batches]),
        time_limit=np.concatenate([batch.time_limit for batch in batches]),
        trail=trail,
        exit_offsets=exit_offsets,
        exit_bar=exit_bar,
    )


def _joined_offsets(parts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    # Offsets count from the start of their own batch, so lengths are joined and added up anew.
    counts = np.concatenate([np.diff(part) for part in parts])
    return np.concatenate((np.zeros(1, np.int64), np.cumsum(counts)))


def limited(batch: EntryBatch, max_holding: int | None) -> EntryBatch:
    """`batch` with `max_holding` (bars) given to entries that carry no time limit of their own."""
    # Untouched where nothing changes: a sweep calls this for each of its chunks.
    if max_holding is None or not np.any(batch.time_limit == NO_LIMIT):
        return batch
    limit = np.where(batch.time_limit == NO_LIMIT, np.int32(max_holding), batch.time_limit)
    return replace(batch, time_limit=limit.astype(np.int32))


def signals_of(batch: EntryBatch, bars: int) -> Signals:
    """A batch of one set as arrays over `bars` bars; what it cannot carry (no stop at all) is None."""
    side = np.zeros(bars, np.int8)
    side[batch.bar] = batch.side
    limit = None
    if np.any(batch.time_limit != NO_LIMIT):
        limit = np.full(bars, NO_LIMIT, np.int32)
        limit[batch.bar] = batch.time_limit
    leaving = None
    if batch.exit_bar is not None:
        leaving = np.zeros(bars, np.bool_)
        leaving[batch.exit_bar] = True
    return Signals(
        side=side,
        stop=_spread(batch.stop, batch.bar, bars),
        target=_spread(batch.target, batch.bar, bars),
        time_limit=limit,
        exit=leaving,
        trail=None if batch.trail is None else _spread(batch.trail, batch.bar, bars),
    )


def _spread(values: NDArray[np.float64], bar: NDArray[np.int32], bars: int) -> NDArray[np.float64] | None:
    # `Signals` takes a level at every entry or none at all, so one missing level leaves the whole array out.
    if values.size == 0 or np.isnan(values).any():
        return None
    array = np.full(bars, np.nan)
    array[bar] = values
    return array
