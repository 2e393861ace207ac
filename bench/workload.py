"""The benchmark's six-parameter workload as a compiled candidate kernel: prepared market and sets in, EntryBatch out.

Signal of ../shared/bench/backtest/common.py: low pierces the lowest low of the last `lookback` bars by `pierce`, close
recovers above it, volume exceeds k times its 20-bar mean. Long only. Stop m ATRs below the close, target rr times as
far above it, time limit H bars.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lockstep.core.compiled import kernel
from lockstep.engine.entries import EntryBatch


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """Bars that pass the loosest pierce and k of the sets, once per lookback, stored column by column.

    starts int64 (L + 1,): candidates of lookback l are starts[l] … starts[l + 1] − 1 of the other columns.
    """

    starts: NDArray[np.int64]
    bar: NDArray[np.int32]
    low: NDArray[np.float64]
    level: NDArray[np.float64]
    volume: NDArray[np.float64]
    mean_volume: NDArray[np.float64]
    close: NDArray[np.float64]
    atr: NDArray[np.float64]
    # Of every set
    lookback: NDArray[np.int64]
    pierce: NDArray[np.float64]
    k: NDArray[np.float64]
    m: NDArray[np.float64]
    rr: NDArray[np.float64]
    H: NDArray[np.int32]


@kernel
def _candidates(low, close, volume, atr, mean_volume, levels, pierce, k, bars, starts):  # type: ignore[no-untyped-def]
    count = 0
    factor = 1.0 - pierce
    for i in range(levels.shape[0]):
        for t in range(close.size):
            level = levels[i, t]
            if low[t] < level * factor and close[t] > level and volume[t] > k * mean_volume[t] and atr[t] == atr[t]:
                bars[count] = t
                count += 1
        starts[i + 1] = count
    return count


@kernel
def _entries(  # type: ignore[no-untyped-def]
    starts, bar, low, level, volume, mean_volume, close, atr, lookback, pierce, k, m, rr, limit, lo, hi,
    offsets, out_bar, out_stop, out_target, out_limit,
):  # fmt: skip
    # Unsigned: an access with a signed index would first allow for one that counts from the end of the array.
    count, one = np.uint64(0), np.uint64(1)
    for s in range(lo, hi):
        factor, least, width, ratio, hold = 1.0 - pierce[s], k[s], m[s], rr[s], limit[s]
        i, last = np.uint64(starts[lookback[s]]), np.uint64(starts[lookback[s] + 1])
        while i < last:
            if low[i] < level[i] * factor and volume[i] > least * mean_volume[i]:
                distance = width * atr[i]
                out_bar[count] = bar[i]
                out_stop[count] = close[i] - distance
                out_target[count] = close[i] + ratio * distance
                out_limit[count] = hold
                count += one
            i += one
        offsets[s - lo + 1] = count
    return np.int64(count)


def prepare(market: dict[str, Any], sets: dict[str, NDArray[Any]], lookbacks: tuple[int, ...]) -> Prepared:
    """`market` as `limit.prep` gives it: open … volume, atr, vsma and levels (lookbacks, n)."""
    n = market["close"].size
    room = np.empty(n * len(lookbacks), np.int32)
    starts = np.zeros(len(lookbacks) + 1, np.int64)
    count = _candidates(
        market["low"], market["close"], market["volume"], market["atr"], market["vsma"], market["levels"],
        float(sets["pierce"].min()), float(sets["k"].min()), room, starts,
    )  # fmt: skip
    bar = room[:count].copy()
    which = np.repeat(np.arange(len(lookbacks)), np.diff(starts))
    return Prepared(
        starts=starts,
        bar=bar,
        low=market["low"][bar],
        level=market["levels"][which, bar],
        volume=market["volume"][bar],
        mean_volume=market["vsma"][bar],
        close=market["close"][bar],
        atr=market["atr"][bar],
        lookback=np.searchsorted(np.array(lookbacks), sets["lookback"]).astype(np.int64),
        pierce=sets["pierce"].astype(np.float64),
        k=sets["k"].astype(np.float64),
        m=sets["m"].astype(np.float64),
        rr=sets["rr"].astype(np.float64),
        H=sets["H"].astype(np.int32),
    )


def entries(prepared: Prepared, lo: int, hi: int) -> EntryBatch:
    """Entries of sets lo … hi − 1."""
    p = prepared
    per_lookback = np.diff(p.starts)
    room = int(per_lookback[p.lookback[lo:hi]].sum())
    offsets = np.zeros(hi - lo + 1, np.int64)
    bar, limit = np.empty(room, np.int32), np.empty(room, np.int32)
    stop, target = np.empty(room), np.empty(room)
    count = _entries(
        p.starts, p.bar, p.low, p.level, p.volume, p.mean_volume, p.close, p.atr, p.lookback, p.pierce, p.k, p.m,
        p.rr, p.H, lo, hi, offsets, bar, stop, target, limit,
    )  # fmt: skip
    return EntryBatch(
        offsets=offsets,
        bar=bar[:count],
        side=np.ones(count, np.int8),
        stop=stop[:count],
        target=target[:count],
        time_limit=limit[:count],
    )
