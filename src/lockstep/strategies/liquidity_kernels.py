"""Compiled candidate search of the liquidity sweep. `liquidity_sweep.LiquiditySweep.signals` is its plain twin.

Notation (R2.1), per bar t and window W = t - r .. t with r = reversal_candles:

    c        close[t]                             e        min low over W (long), max high over W (short)
    v        max over W of volume / mean volume   reach    3 x median ATR, price units
    p        pierce_depth                         d        min_distance_from_level
    L        a level: the mean of a cluster of swing prices

A long needs a level with e <= L (1 - p), L < c and c - L <= reach, hence e <= L < c: only swings near that strip
matter. Three facts make the search short and leave its result, to the last bit, that of clustering all swings anew:

(a) L < c implies e <= c (1 - p); bars that fail this, the spike or the count of closes are never looked at.
(b) A gap x_{k+1} - x_k > d x_k always starts a new cluster, since the running mean never exceeds x_k. Clustering may
    therefore start at the last such gap below the strip, not at the lowest swing.
(c) A gap in the swings of a long lookback is at least as wide in those of a shorter one. So the swings around the
    strip are sorted and stored once, for the largest d and lookback of a sweep, and serve every set.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lockstep.core.compiled import kernel

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]
I4 = NDArray[np.int32]
I1 = NDArray[np.int8]


# Relative margins for rounding: a mean of some hundred prices errs by far less than either.
LOOSE: Final = 1e-9
GAP: Final = 1e-12
# Candidates looked at by all sets in turn: their swings, some 200 kB, stay in the second-level cache.
BLOCK: Final = 1024


@kernel
def find_candidates(
    open_: F8,
    high: F8,
    low: F8,
    close: F8,
    spike_ratio: F8,
    atr: F8,
    reach: F8,
    first_bar: int,
    reversal: int,
    spike_min: float,
    pierce_min: float,
    slot: I4,
    side: I1,
    extreme: F8,
    spike: F8,
    depth: F8,
) -> int:
    """Bars that could trade with `reversal` candles and parameters no looser than `spike_min` and `pierce_min`.

    Writes slot (2 t for a long, 2 t + 1 for a short of bar t), side, extreme (e), spike (v) and depth (an upper bound
    of the pierce_depth that can still be met), ascending in slot. The outputs hold 2 n rows. Returns the rows written.
    """
    count = 0
    bulls = 0
    bears = 0
    for t in range(close.size):
        bulls += close[t] > open_[t]
        bears += close[t] < open_[t]
        gone = t - reversal - 1
        if gone >= 0:
            bulls -= close[gone] > open_[gone]
            bears -= close[gone] < open_[gone]
        if t < first_bar or (bulls < reversal and bears < reversal):
            continue
        if not (atr[t] > 0.0 and reach[t] > 0.0):
            continue
        v = 0.0
        for j in range(t - reversal, t + 1):
            v = max(v, spike_ratio[j])
        if not v >= spike_min:
            continue
        c = close[t]
        if bulls >= reversal:
            e = low[t]
            for j in range(t - reversal, t):
                e = min(e, low[j])
            if e <= c * (1.0 - pierce_min):
                slot[count] = 2 * t
                side[count] = 1
                extreme[count] = e
                spike[count] = v
                depth[count] = (1.0 - e / c) + LOOSE
                count += 1
        if bears >= reversal:
            e = high[t]
            for j in range(t - reversal, t):
                e = max(e, high[j])
            if e >= c * (1.0 + pierce_min):
                slot[count] = 2 * t + 1
                side[count] = -1
                extreme[count] = e
                spike[count] = v
                depth[count] = (e / c - 1.0) + LOOSE
                count += 1
    return count


@kernel
def _insert(prices: F8, bars: I4, size: int, price: float, bar: int) -> int:
    k = size
    while k > 0 and prices[k - 1] > price:
        prices[k] = prices[k - 1]
        bars[k] = bars[k - 1]
        k -= 1
    prices[k] = price
    bars[k] = bar
    return size + 1


@kernel
def _remove(prices: F8, bars: I4, size: int, bar: int) -> int:
    k = 0
    while bars[k] != bar:
        k += 1
    for j in range(k, size - 1):
        prices[j] = prices[j + 1]
        bars[j] = bars[j + 1]
    return size - 1


@kernel
def _strip(prices: F8, size: int, bottom: float, top: float, distance: float) -> tuple[int, int]:
    """Rows from the last certain cluster boundary at or below `bottom` up to `top`; (0, 0) when none can matter."""
    first, past = 0, size
    while first < past:
        middle = (first + past) // 2
        if prices[middle] < bottom:
            first = middle + 1
        else:
            past = middle
    if first == size or prices[first] > top:
        return 0, 0
    past = first
    while past < size and prices[past] <= top:
        past += 1
    while first > 0 and prices[first] - prices[first - 1] <= (distance * (1.0 + LOOSE) + GAP) * prices[first - 1]:
        first -= 1
    return first, past


@kernel
def collect_strips(
    loosest: F8, close: F8, reach: F8, low: F8, low_bars: I8, high: F8, high_bars: I8, confirm: int, lookback: int,
    distance: float,
) -> tuple[I8, F8, I4]:  # fmt: skip
    """For each slot with a number in `loosest` (2 n,), the swings near its strip, ascending in price.

    Returns offsets int64 (2 n + 1,), prices and bars of the swings.
    """
    offsets = np.zeros(loosest.size + 1, np.int64)
    room = 1024
    out_price, out_bar = np.empty(room), np.empty(room, np.int32)
    # Two swings lie at least confirm + 1 bars apart, so a window holds at most this many.
    most = min(max(low_bars.size, high_bars.size), lookback // (confirm + 1) + 1) + 1
    prices, bars = np.empty((2, most)), np.empty((2, most), np.int32)
    size, newest, oldest = np.zeros(2, np.int64), np.zeros(2, np.int64), np.zeros(2, np.int64)
    at = 0
    for slot in range(loosest.size):
        t, s = slot // 2, slot % 2
        offsets[slot + 1] = at
        e = loosest[slot]
        if e != e:
            continue
        pivots, values = (low_bars, low) if s == 0 else (high_bars, high)
        while oldest[s] < newest[s] and pivots[oldest[s]] <= t - lookback:
            size[s] = _remove(prices[s], bars[s], size[s], pivots[oldest[s]])
            oldest[s] += 1
        while newest[s] < pivots.size and pivots[newest[s]] <= t - confirm:
            b = pivots[newest[s]]
            newest[s] += 1
            if b <= t - lookback:
                oldest[s] = newest[s]
            else:
                size[s] = _insert(prices[s], bars[s], size[s], values[b], b)
        c = close[t]
        if s == 0:
            bottom, ceiling = max(c - reach[t], e), c
        else:
            bottom, ceiling = c, min(c + reach[t], e)
        top = ceiling * (1.0 + LOOSE) * (1.0 + distance) * (1.0 + LOOSE)
        first, past = _strip(prices[s], size[s], bottom * (1.0 - LOOSE), top, distance)
        while at + past - first > room:
            room *= 2
            longer_price, longer_bar = np.empty(room), np.empty(room, np.int32)
            longer_price[:at] = out_price[:at]
            longer_bar[:at] = out_bar[:at]
            out_price, out_bar = longer_price, longer_bar
        for k in range(first, past):
            out_price[at] = prices[s, k]
            out_bar[at] = bars[s, k]
            at += 1
        offsets[slot + 1] = at
    return offsets, out_price[:at].copy(), out_bar[:at].copy()


@kernel
def _is_hit(total: float, count: int, long: bool, c: float, reach: float, e: float, p: float) -> bool:
    """Whether the level total / count makes the bar trade."""
    level = total / count
    if long:
        return level < c and c - level <= reach and e <= level * (1.0 - p)
    return level > c and level - c <= reach and e >= level * (1.0 + p)


@kernel
def _has_level(
    price: F8, bar: I4, first: int, past: int, after: int, long: bool, c: float, reach: float, e: float, p: float,
    d: float, touches: int, near: F8,
) -> bool:  # fmt: skip
    """Whether a level of the swings first .. past - 1 that lie behind bar `after` makes the bar trade.

    `near` is scratch, as long as the longest strip.
    """
    if long:
        bottom, top = max(c - reach, e / (1.0 - p)) * (1.0 - LOOSE), c
    else:
        bottom, top = c * (1.0 - LOOSE), min(c + reach, e / (1.0 + p))
    top *= (1.0 + d) * (1.0 + LOOSE)
    size = 0
    for k in range(first, past):
        # Without a branch: whether a swing is recent enough is as good as random.
        near[size] = price[k]
        size += (bar[k] > after) & (price[k] <= top)
    if size < touches or near[size - 1] < bottom:
        return False
    # Down to the last certain cluster boundary at or below the strip.
    gap = d * (1.0 + LOOSE) + GAP
    k = size - 1
    while k > 0 and (near[k - 1] >= bottom or near[k] - near[k - 1] <= gap * near[k - 1]):
        k -= 1
    total = 0.0
    count = 0
    while k < size:
        x = near[k]
        if x * count <= total * (1.0 + d):
            total += x
            count += 1
        else:
            if count >= touches and _is_hit(total, count, long, c, reach, e, p):
                return True
            if size - k < touches:
                return False
            total = x
            count = 1
        k += 1
    return count >= touches and _is_hit(total, count, long, c, reach, e, p)


@kernel
def _longer(values: I4, used: int) -> I4:
    longer = np.empty(2 * values.size, np.int32)
    longer[:used] = values[:used]
    return longer


@kernel
def find_hits(
    list_offsets: I8, slot: I4, side: I1, extreme: F8, spike: F8, depth: F8, strip_offsets: I8, strip_price: F8,
    strip_bar: I4, longest: int, close: F8, reach: F8, members: I8, member_offsets: I8, pierce: F8,
    spike_threshold: F8, distance: F8, lookback: I8, touches: I8, warm: I8,
) -> tuple[I4, I4]:  # fmt: skip
    """Which candidates each set trades: set number and candidate row of every hit, rows ascending for each set.

    members[member_offsets[w] : member_offsets[w + 1]] are the sets that read candidate list w. All of them look at one
    block of the list before any looks at the next, so that its swings are fetched from memory once and not once a set.
    `longest` is the length of the longest strip.
    """
    hit_set, hit_row = np.empty(4096, np.int32), np.empty(4096, np.int32)
    near = np.empty(longest + 1)
    hits = 0
    for w in range(list_offsets.size - 1):
        for block in range(list_offsets[w], list_offsets[w + 1], BLOCK):
            stop = min(block + BLOCK, list_offsets[w + 1])
            for m in range(member_offsets[w], member_offsets[w + 1]):
                s = members[m]
                p, v, d, enough = pierce[s], spike_threshold[s], distance[s], touches[s]
                while hits + BLOCK > hit_set.size:
                    hit_set, hit_row = _longer(hit_set, hits), _longer(hit_row, hits)
                for i in range(block, stop):
                    if spike[i] < v or depth[i] < p:
                        continue
                    t = slot[i] // 2
                    first, past = strip_offsets[slot[i]], strip_offsets[slot[i] + 1]
                    if past - first < enough or t < warm[s]:
                        continue
                    if _has_level(
                        strip_price, strip_bar, first, past, t - lookback[s], side[i] > 0, close[t], reach[t],
                        extreme[i], p, d, enough, near,
                    ):  # fmt: skip
                        hit_set[hits] = s
                        hit_row[hits] = i
                        hits += 1
    return hit_set[:hits], hit_row[:hits]


@kernel
def write_entries(
    hit_set: I4, hit_row: I4, slot: I4, side: I1, close: F8, atr: F8, multiplier: F8, reward: F8, limit: I8,
    min_atr: F8,
) -> tuple[I8, I4, I1, F8, F8, I4]:  # fmt: skip
    """Hits as entries, set by set: offsets, then bar, side, stop, target and time limit of each."""
    sets, room = multiplier.size, hit_set.size
    start = np.zeros(sets + 1, np.int64)
    for s in hit_set:
        start[s + 1] += 1
    for s in range(sets):
        start[s + 1] += start[s]
    ordered = np.empty(room, np.int32)
    place = start.copy()
    for h in range(room):
        ordered[place[hit_set[h]]] = hit_row[h]
        place[hit_set[h]] += 1
    offsets = np.zeros(sets + 1, np.int64)
    bar, sides, limits = np.empty(room, np.int32), np.empty(room, np.int8), np.empty(room, np.int32)
    stops, targets = np.empty(room), np.empty(room)
    at = 0
    for s in range(sets):
        last = -1
        for h in range(start[s], start[s + 1]):
            i = ordered[h]
            t = slot[i] // 2
            c = close[t]
            loss = side[i] * (atr[t] * multiplier[s])
            stop = c - loss
            target = c + loss * reward[s]
            # A quiet market; and an ATR too small to move the price leaves no room for a trade (R2.8).
            if atr[t] < min_atr[s] * c or (stop - c) * side[i] >= 0.0 or (target - c) * side[i] <= 0.0:
                continue
            if last == t:
                at -= 1  # both sides fire: the market says nothing
                continue
            last = t
            bar[at], sides[at], stops[at], targets[at], limits[at] = t, side[i], stop, target, limit[s]
            at += 1
        offsets[s + 1] = at
    return offsets, bar[:at], sides[:at], stops[:at], targets[:at], limits[:at]


def loosest_extremes(slots: NDArray[Any], extremes: F8, bars: int) -> F8:
    """float64 (2 bars,): per slot the e that allows most, over all candidate lists; NaN where there is no candidate."""
    loosest = np.full(2 * bars, np.nan)
    np.fmin.at(loosest, slots[slots % 2 == 0], extremes[slots % 2 == 0])
    np.fmax.at(loosest, slots[slots % 2 == 1], extremes[slots % 2 == 1])
    return loosest
