"""Parts in the order of time, purged: nothing that an earlier part was labelled by is read by a later one.

A sample is a bar of decision i. It reads bars i - reach ... i, and its label needs bars up to last(i) >= i. The samples
are cut into consecutive parts; of every part but the last the end is purged, so that for every sample i of an earlier
part and j of a later one

    last(i) + embargo < j - reach                                                                                (1)

The later part keeps its place, because the latest bars are what a result is judged on. No sample is purged that (1)
lets stay. On a grid without gaps, where labels need `ahead` bars, (1) says that reach + ahead + embargo bars lie
between two parts.

Source: Lopez de Prado, Advances in Financial Machine Learning (2018), chapter 7.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lockstep.core.errors import InputError

if TYPE_CHECKING:
    from lockstep.core.types import Int


def cuts_from_end(count: int, sizes: Sequence[int]) -> tuple[int, ...]:
    """Where `count` samples are cut so that the last parts have `sizes`, in order of time, and the first the rest.

    Returns len(sizes) + 2 sample numbers, ascending from 0 to `count`, as `purged` takes them. Parts that do not fit
    are cut short from the front. Raises InputError for a negative size.
    """
    if min(sizes, default=0) < 0:
        raise InputError(f"a part has 0 samples or more; found sizes {list(sizes)}")
    from_end = itertools.accumulate(reversed(sizes), initial=0)
    return (0, *reversed([max(count - taken, 0) for taken in from_end]))


def purged(bars: Int, last: Int, cuts: Sequence[int], *, reach: int, embargo: int = 0) -> tuple[Int, ...]:
    """The samples of each part, as their numbers int64, ascending; purged by eq. (1). A part may be left empty.

    bars     int64 (samples,), bars of decision, strictly ascending
    last     int64 (samples,), the last bar that each label needs, none before its own bar
    cuts     part k is cut from samples cuts[k] ... cuts[k + 1] - 1; one number more than there are parts
    reach    bars that a sample reads before its bar of decision
    embargo  bars that stay free between two parts beyond that

    Raises InputError for cuts that do not ascend within the samples, and for a negative reach or embargo.
    """
    if list(cuts) != sorted(cuts) or len(cuts) < 2 or cuts[0] < 0 or cuts[-1] > len(bars):
        raise InputError(
            f"cuts are at least two ascending sample numbers between 0 and {len(bars)}; found {list(cuts)}"
        )
    if reach < 0 or embargo < 0:
        raise InputError(f"reach and embargo are numbers of bars, 0 or more; found {reach} and {embargo}")
    parts: list[Int] = []
    first_read: int | None = None  # by whichever later part begins first
    # From the last part to the first: how much of one is purged depends on where the next that has samples reads.
    for start, stop in reversed(list(itertools.pairwise(cuts))):
        rows = np.arange(start, stop, dtype=np.int64)
        if first_read is not None:
            rows = rows[last[start:stop] + embargo < first_read]
        if len(rows):
            first_read = int(bars[rows[0]]) - reach
        parts.append(rows)
    return tuple(reversed(parts))
