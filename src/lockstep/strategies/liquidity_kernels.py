"""Compiled candidate search of the liquidity sweep. `liquidity_sweep.LiquiditySweep.signals` is its plain twin.

Notation (SPEC 2.2), per bar t and window W = t - r .. t with r = reversal_candles:

    c        close[t]                             e        min low over W (long), max high over W (short)
    v        max over W of volume / mean volume   reach    3 x median ATR, price units
    p        pierce_depth                         d        min_distance_from_level
    L        a level: the mean of a cluster of swing prices

A long needs a level with e <= L (1 - p), L < c and c - L <= reach, hence e <= L < c: only swings near that strip
matter. Two facts make the search short and leave its result, to the last bit, that of clustering all swings:

(a) L < c implies e <= c (1 - p); bars that fail this, the spike or the count of closes are never looked at.
(b) A gap x_{k+1} - x_k > d x_k always starts a new cluster, since the running mean never exceeds x_k. Clustering may
    therefore start at the last such gap below the strip (with a margin for rounding), not at the lowest swing.
"""

from __future__ import annotations

import numpy as np
from numba import njit

# Relative margins for rounding: means of at most some hundred prices err by far less.
_LOOSE = 1e-9
_GAP = 1e-12


@njit(cache=True, error_model="numpy", nogil=True)
def find_candidates(
    open_, high, low, close, spike_ratio, atr, reach, first_bar, reversal, spike_min, pierce_min, bar, side, extreme,
    spike, depth,
):  # fmt: skip
    """Bars that could trade with `reversal` candles and parameters no looser than `spike_min` and `pierce_min`.

    Writes bar int32, side int8, extreme (e), spike (v) and depth (an upper bound of the pierce_depth that can still
    be met), a long before a short of the same bar. The outputs hold 2 n rows. Returns how many were written.
    """
    n = close.size
    count = 0
    bulls = 0
    bears = 0
    for t in range(n):
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
            if spike_ratio[j] > v:
                v = spike_ratio[j]
        if not v >= spike_min:
            continue
        c = close[t]
        if bulls >= reversal:
            e = low[t]
            for j in range(t - reversal, t):
                if low[j] < e:
                    e = low[j]
            if e <= c * (1.0 - pierce_min):
                bar[count] = t
                side[count] = 1
                extreme[count] = e
                spike[count] = v
                depth[count] = (1.0 - e / c) + _LOOSE
                count += 1
        if bears >= reversal:
            e = high[t]
            for j in range(t - reversal, t):
                if high[j] > e:
                    e = high[j]
            if e >= c * (1.0 + pierce_min):
                bar[count] = t
                side[count] = -1
                extreme[count] = e
                spike[count] = v
                depth[count] = (e / c - 1.0) + _LOOSE
                count += 1
    return count


@njit(cache=True, error_model="numpy", nogil=True)
def known_swings(swing_bar, confirm, n):
    """int32 (n + 1,): known[t + 1] is the number of swings (ascending `swing_bar`) known at bar t, known[0] is 0."""
    known = np.zeros(n + 1, np.int32)
    k = 0
    for t in range(n):
        while k < swing_bar.size and swing_bar[k] + confirm <= t:
            k += 1
        known[t + 1] = k
    return known


@njit(cache=True, error_model="numpy", nogil=True)
def keep_crowded(
    bar, side, extreme, spike, depth, count, close, reach, lookback, distance, touches, low_price, low_known,
    high_price, high_known,
):  # fmt: skip
    """Keep, in place, candidates with at least `touches` swings near their strip in the longest `lookback`.

    A necessary condition for every smaller lookback and distance: with N swings in all, the members of a cluster lie
    above its mean / exp(distance (2 + ln N)), because the k-th member raises the mean by at most 1 + distance / k.
    Returns how many were kept.
    """
    kept = 0
    for i in range(count):
        t = bar[i]
        c = close[t]
        price = low_price if side[i] > 0 else high_price
        known = low_known if side[i] > 0 else high_known
        start = known[max(0, t - lookback + 3)]
        stop = known[t + 1]
        if stop - start < touches:
            continue
        # A lower bound of exp(-x), so that no exponential enters the result.
        shrink = 1.0 - distance * (2.0 + 0.75 * np.sqrt(1.0 * (stop - start)))
        if side[i] > 0:
            bottom = max(c - reach[t], extreme[i]) * (1.0 - _LOOSE)
            top = c * (1.0 + distance) * (1.0 + _LOOSE)
        else:
            bottom = c * (1.0 - _LOOSE)
            top = min(c + reach[t], extreme[i]) * (1.0 + distance) * (1.0 + _LOOSE)
        near = 0
        for j in range(start, stop):
            near += price[j] >= bottom * shrink and price[j] <= top
        if near >= touches:
            bar[kept] = t
            side[kept] = side[i]
            extreme[kept] = extreme[i]
            spike[kept] = spike[i]
            depth[kept] = depth[i]
            kept += 1
    return kept


@njit(cache=True, error_model="numpy", nogil=True)
def _gather(price, start, stop, cut, top, buffer):
    """Swing prices in [cut, top] into `buffer`, ascending. Returns their number and whether any lay below `cut`."""
    size = 0
    below = False
    for j in range(start, stop):
        x = price[j]
        if x < cut:
            below = True
        elif x <= top:
            k = size
            while k > 0 and buffer[k - 1] > x:
                buffer[k] = buffer[k - 1]
                k -= 1
            buffer[k] = x
            size += 1
    return size, below


@njit(cache=True, error_model="numpy", nogil=True)
def has_level(price, start, stop, long, c, reach, e, p, d, touches, buffer):
    """Whether a level of the swing prices price[start:stop] makes a candidate trade (see the module)."""
    if stop - start < touches:
        return False
    if long:
        bottom = max(c - reach, e) * (1.0 - _LOOSE)
        ceiling = c
    else:
        bottom = c * (1.0 - _LOOSE)
        ceiling = min(c + reach, e) * (1.0 + _LOOSE)
    top = ceiling * (1.0 + d) * (1.0 + _LOOSE)
    size, below = _gather(price, start, stop, bottom * (1.0 - 8.0 * d), top, buffer)
    while True:
        first = 0
        while first < size and buffer[first] < bottom:
            first += 1
        if first == size:
            return False
        while first > 0 and buffer[first] - buffer[first - 1] <= (d * (1.0 + _LOOSE) + _GAP) * buffer[first - 1]:
            first -= 1
        if first > 0 or not below:
            break
        # The chain may go on below the cut: take everything below as well.
        size, below = _gather(price, start, stop, -np.inf, top, buffer)
    total = 0.0
    count = 0
    level = 0.0
    for k in range(first, size + 1):
        if k < size and count > 0 and buffer[k] - level <= d * level:
            total += buffer[k]
            count += 1
            level = total / count
            continue
        if count >= touches:
            if long:
                if level < c and c - level <= reach and e <= level * (1.0 - p):
                    return True
            elif level > c and level - c <= reach and e >= level * (1.0 + p):
                return True
        if k == size or buffer[k] > ceiling:
            return False
        total = buffer[k]
        count = 1
        level = total
    return False


@njit(cache=True, error_model="numpy", nogil=True)
def sweep_entries(
    list_offsets, bar, side, extreme, spike, depth, close, atr, reach, low_price, low_known, high_price, high_known,
    which, pierce, spike_threshold, distance, multiplier, reward, limit, lookback, touches, min_atr, warm, lo, hi,
    offsets, out_bar, out_side, out_stop, out_target, out_limit,
):  # fmt: skip
    """Entries of the sets lo .. hi - 1 into the output arrays. Returns the entries needed, which may exceed the room.

    `which` names each set's candidate list (list_offsets: rows list_offsets[w] .. list_offsets[w + 1] - 1).
    When both sides fire at one bar, neither is traded.
    """
    room = out_bar.size
    buffer = np.empty(max(low_price.size, high_price.size) + 1)
    at = 0
    offsets[0] = 0
    for s in range(lo, hi):
        p = pierce[s]
        v = spike_threshold[s]
        d = distance[s]
        last = -1
        for i in range(list_offsets[which[s]], list_offsets[which[s] + 1]):
            if spike[i] < v or depth[i] < p:
                continue
            t = bar[i]
            if t < warm[s]:
                continue
            c = close[t]
            if atr[t] < min_atr[s] * c:
                continue
            # Swings at bars t - lookback + 1 .. t - CONFIRM: known[b + 3] counts those at bars <= b.
            oldest = max(0, t - lookback[s] + 3)
            if side[i] > 0:
                first, past, price = low_known[oldest], low_known[t + 1], low_price
            else:
                first, past, price = high_known[oldest], high_known[t + 1], high_price
            if not has_level(price, first, past, side[i] > 0, c, reach[t], extreme[i], p, d, touches[s], buffer):
                continue
            loss = side[i] * (atr[t] * multiplier[s])
            stop = c - loss
            target = c + loss * reward[s]
            # An ATR too small to move the price leaves no room for a trade (R2.8).
            if (stop - c) * side[i] >= 0.0 or (target - c) * side[i] <= 0.0:
                continue
            if last == t:
                at -= 1  # both sides fire: the market says nothing
                continue
            last = t
            if at < room:
                out_bar[at] = t
                out_side[at] = side[i]
                out_stop[at] = stop
                out_target[at] = target
                out_limit[at] = limit[s]
            at += 1
        offsets[s - lo + 1] = at
    return at
