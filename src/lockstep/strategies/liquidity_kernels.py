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

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lockstep.core.compiled import kernel

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]
I4 = NDArray[np.int32]
I1 = NDArray[np.int8]


# Relative margins for rounding: a mean of some hundred prices errs by far less than either. They only let in more
# swings and candidates than needed; what decides (`_is_hit`) has no margin.
LOOSE: Final = 1e-9
GAP: Final = 1e-12
# Candidates looked at by all sets in turn: their swings, some 200 kB, stay in the second-level cache.
BLOCK: Final = 1024


class Market(NamedTuple):
    """What the rule reads of each bar, float64 (n,): prices, volume over its mean, ATR and `reach` in price units."""

    open: F8
    high: F8
    low: F8
    close: F8
    spike_ratio: F8
    atr: F8
    reach: F8


class Candidates(NamedTuple):
    """Bars that could trade, one row each; several lists, one per value of reversal_candles, may stand in a row.

    slot     int32: 2 t for a long of bar t, 2 t + 1 for a short
    side     int8: 1 or -1
    extreme  float64: e, price units
    spike    float64: v, a ratio
    depth    float64: an upper bound of the pierce_depth that can still be met, a fraction
    """

    slot: I4
    side: I1
    extreme: F8
    spike: F8
    depth: F8


class Strips(NamedTuple):
    """Swings near the strip of each slot, ascending in price.

    offsets  int64 (2 n + 1,): those of slot i are rows offsets[i] .. offsets[i + 1] - 1
    price    float64
    bar      int32
    longest  rows of the longest strip
    """

    offsets: I8
    price: F8
    bar: I4
    longest: int


class Readers(NamedTuple):
    """Which sets read which list of candidates, all int64.

    list_offsets    list w is rows list_offsets[w] .. list_offsets[w + 1] - 1 of the candidates
    members         set numbers, those of one list together
    member_offsets  list w is read by members[member_offsets[w] : member_offsets[w + 1]]
    """

    list_offsets: I8
    members: I8
    member_offsets: I8


class Sets(NamedTuple):
    """Parameters of k sets, a column (k,) each; `warm` is the first bar that may trade, the rest is as in the rule."""

    pierce: F8
    spike: F8
    distance: F8
    lookback: I8
    touches: I8
    warm: I8
    stop_atr: F8
    reward: F8
    limit: I8
    min_atr: F8


class Setup(NamedTuple):
    """One candidate under one set: what a level is compared with."""

    long: bool
    close: float
    reach: float
    extreme: float
    pierce: float
    distance: float
    touches: int


@kernel
def find_candidates(
    market: Market, first_bar: int, reversal: int, spike_min: float, pierce_min: float, rows: Candidates
) -> int:
    """Bars that could trade with `reversal` candles and parameters no looser than `spike_min` and `pierce_min`.

    Writes `rows`, which have room for 2 n, ascending in slot. Returns the number written.
    """
    open_, close, low, high = market.open, market.close, market.low, market.high
    count = 0
    # Closes up and down within the window, kept by adding one bar and taking one away.
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
        # NaN where the indicators are not yet defined: such a bar fails this comparison.
        if not (market.atr[t] > 0.0 and market.reach[t] > 0.0):
            continue
        v = 0.0
        for j in range(t - reversal, t + 1):
            v = max(v, market.spike_ratio[j])
        if not v >= spike_min:
            continue
        c = close[t]
        if bulls >= reversal:
            e = low[t]
            for j in range(t - reversal, t):
                e = min(e, low[j])
            # Fact (a) of the module's docstring; the same for shorts below.
            if e <= c * (1.0 - pierce_min):
                rows.slot[count] = 2 * t
                rows.side[count] = 1
                rows.extreme[count] = e
                rows.spike[count] = v
                rows.depth[count] = (1.0 - e / c) + LOOSE
                count += 1
        if bears >= reversal:
            e = high[t]
            for j in range(t - reversal, t):
                e = max(e, high[j])
            if e >= c * (1.0 + pierce_min):
                rows.slot[count] = 2 * t + 1
                rows.side[count] = -1
                rows.extreme[count] = e
                rows.spike[count] = v
                rows.depth[count] = (e / c - 1.0) + LOOSE
                count += 1
    return count


@kernel
def _insert(prices: F8, bars: I4, size: int, price: float, bar: int) -> int:
    """Puts a swing into its place among the `size` first ones, which ascend in price; returns their new number."""
    # A window holds some dozens of swings as a rule: moving them costs less than any tree would.
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
    """Takes the swing of `bar` out of the `size` first ones; returns their new number."""
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
    # No swing lies between the two prices, so no level can.
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
    loosest: F8, market: Market, low_bars: I8, high_bars: I8, confirm: int, lookback: int, distance: float
) -> Strips:
    """For each slot with a number in `loosest` (2 n,), the swings near its strip.

    low_bars, high_bars   bars of the swings, ascending; lookback, distance   the largest of the sweep
    """
    offsets = np.zeros(loosest.size + 1, np.int64)
    room = 1024
    out_price, out_bar = np.empty(room), np.empty(room, np.int32)
    # Two swings lie at least confirm + 1 bars apart, so a window holds at most this many.
    most = min(max(low_bars.size, high_bars.size), lookback // (confirm + 1) + 1) + 1
    prices, bars = np.empty((2, most)), np.empty((2, most), np.int32)
    # Two windows move along the bars, of lows (0) and of highs (1): swings oldest .. newest - 1, sorted by price.
    size, newest, oldest = np.zeros(2, np.int64), np.zeros(2, np.int64), np.zeros(2, np.int64)
    at, longest = 0, 0
    for slot in range(loosest.size):
        t, s = slot // 2, slot % 2
        offsets[slot + 1] = at
        e = loosest[slot]
        if e != e:
            continue
        pivots, values = (low_bars, market.low) if s == 0 else (high_bars, market.high)
        while oldest[s] < newest[s] and pivots[oldest[s]] <= t - lookback:
            size[s] = _remove(prices[s], bars[s], size[s], pivots[oldest[s]])
            oldest[s] += 1
        while newest[s] < pivots.size and pivots[newest[s]] <= t - confirm:
            b = pivots[newest[s]]
            newest[s] += 1
            # Slots without a candidate are passed over, so a swing can be too old before it was ever taken in.
            if b <= t - lookback:
                oldest[s] = newest[s]
            else:
                size[s] = _insert(prices[s], bars[s], size[s], values[b], b)
        c, reach = market.close[t], market.reach[t]
        if s == 0:
            bottom, ceiling = max(c - reach, e), c
        else:
            bottom, ceiling = c, min(c + reach, e)
        # A cluster whose mean lies below the ceiling may hold swings up to this far above it.
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
        longest = max(longest, past - first)
        offsets[slot + 1] = at
    return Strips(offsets, out_price[:at].copy(), out_bar[:at].copy(), longest)


@kernel
def _is_hit(total: float, count: int, setup: Setup) -> bool:
    """Whether the level total / count makes the bar trade."""
    level = total / count
    # Written as in the plain twin, operation by operation: another order would round otherwise.
    if setup.long:
        near = level < setup.close and setup.close - level <= setup.reach
        return near and setup.extreme <= level * (1.0 - setup.pierce)
    near = level > setup.close and level - setup.close <= setup.reach
    return near and setup.extreme >= level * (1.0 + setup.pierce)


@kernel
def _has_level(strips: Strips, first: int, past: int, after: int, setup: Setup, near: F8) -> bool:
    """Whether a level of the swings first .. past - 1 that lie behind bar `after` makes the bar trade.

    `near` is scratch, as long as the longest strip.
    """
    c, d, touches = setup.close, setup.distance, setup.touches
    if setup.long:
        bottom, top = max(c - setup.reach, setup.extreme / (1.0 - setup.pierce)) * (1.0 - LOOSE), c
    else:
        bottom, top = c * (1.0 - LOOSE), min(c + setup.reach, setup.extreme / (1.0 + setup.pierce))
    top *= (1.0 + d) * (1.0 + LOOSE)
    size = 0
    for k in range(first, past):
        # Without a branch: whether a swing is recent enough is as good as random.
        near[size] = strips.price[k]
        size += (strips.bar[k] > after) & (strips.price[k] <= top)
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
            if count >= touches and _is_hit(total, count, setup):
                return True
            # Too few swings are left for another cluster that counts.
            if size - k < touches:
                return False
            total = x
            count = 1
        k += 1
    return count >= touches and _is_hit(total, count, setup)


@kernel
def _longer(values: I4, used: int) -> I4:
    """int32, twice as long, with the first `used` values."""
    longer = np.empty(2 * values.size, np.int32)
    longer[:used] = values[:used]
    return longer


@kernel
def find_hits(market: Market, candidates: Candidates, strips: Strips, readers: Readers, sets: Sets) -> tuple[I4, I4]:
    """Which candidates each set trades: set number and candidate row of every hit, rows ascending for each set.

    All sets that read a list look at one block of it before any looks at the next, so that its swings are fetched
    from memory once and not once a set.
    """
    slot, side, spike, depth = candidates.slot, candidates.side, candidates.spike, candidates.depth
    list_offsets, member_offsets = readers.list_offsets, readers.member_offsets
    hit_set, hit_row = np.empty(4096, np.int32), np.empty(4096, np.int32)
    near = np.empty(strips.longest + 1)
    hits = 0
    for w in range(list_offsets.size - 1):
        # Blocks outside and sets inside: the other way round reads all swings once for each set.
        for block in range(list_offsets[w], list_offsets[w + 1], BLOCK):
            stop = min(block + BLOCK, list_offsets[w + 1])
            for m in range(member_offsets[w], member_offsets[w + 1]):
                s = readers.members[m]
                p, v, d, enough = sets.pierce[s], sets.spike[s], sets.distance[s], sets.touches[s]
                lookback, warm = sets.lookback[s], sets.warm[s]
                # Room for a whole block, so that the loop over candidates never has to look for it.
                while hits + BLOCK > hit_set.size:
                    hit_set, hit_row = _longer(hit_set, hits), _longer(hit_row, hits)
                for i in range(block, stop):
                    # The cheapest questions first: most candidates end here.
                    if spike[i] < v or depth[i] < p:
                        continue
                    t = slot[i] // 2
                    first, past = strips.offsets[slot[i]], strips.offsets[slot[i] + 1]
                    if past - first < enough or t < warm:
                        continue
                    setup = Setup(side[i] > 0, market.close[t], market.reach[t], candidates.extreme[i], p, d, enough)
                    if _has_level(strips, first, past, t - lookback, setup, near):
                        hit_set[hits] = s
                        hit_row[hits] = i
                        hits += 1
    return hit_set[:hits], hit_row[:hits]


@kernel
def write_entries(
    hit_set: I4, hit_row: I4, candidates: Candidates, market: Market, sets: Sets
) -> tuple[I8, I4, I1, F8, F8, I4]:
    """Hits as entries, set by set: offsets, then bar, side, stop, target and time limit of each."""
    slot, side, atr = candidates.slot, candidates.side, market.atr
    count, room = sets.pierce.size, hit_set.size
    # Hits come block by block; a counting sort brings those of a set together and keeps their order.
    start = np.zeros(count + 1, np.int64)
    for s in hit_set:
        start[s + 1] += 1
    for s in range(count):
        start[s + 1] += start[s]
    ordered = np.empty(room, np.int32)
    place = start.copy()
    for h in range(room):
        ordered[place[hit_set[h]]] = hit_row[h]
        place[hit_set[h]] += 1
    offsets = np.zeros(count + 1, np.int64)
    bar, sides, limits = np.empty(room, np.int32), np.empty(room, np.int8), np.empty(room, np.int32)
    stops, targets = np.empty(room), np.empty(room)
    at = 0
    for s in range(count):
        last = -1
        for h in range(start[s], start[s + 1]):
            i = ordered[h]
            t = slot[i] // 2
            c = market.close[t]
            loss = side[i] * (atr[t] * sets.stop_atr[s])
            stop = c - loss
            target = c + loss * sets.reward[s]
            # A quiet market; and an ATR too small to move the price leaves no room for a trade (R2.8).
            if atr[t] < sets.min_atr[s] * c or (stop - c) * side[i] >= 0.0 or (target - c) * side[i] <= 0.0:
                continue
            if last == t:
                at -= 1  # both sides fire: the market says nothing
                continue
            last = t
            bar[at], sides[at], stops[at], targets[at], limits[at] = t, side[i], stop, target, sets.limit[s]
            at += 1
        offsets[s + 1] = at
    return offsets, bar[:at], sides[:at], stops[:at], targets[:at], limits[:at]


def loosest_extremes(slots: NDArray[Any], extremes: F8, bars: int) -> F8:
    """float64 (2 bars,): per slot the e that allows most, over all candidate lists; NaN where there is no candidate."""
    # The lists overlap, so a slot occurs several times: `ufunc.at`, since indexing would take only the last of them.
    loosest = np.full(2 * bars, np.nan)
    np.fmin.at(loosest, slots[slots % 2 == 0], extremes[slots % 2 == 0])
    np.fmax.at(loosest, slots[slots % 2 == 1], extremes[slots % 2 == 1])
    return loosest
