"""The one walk through the bars: entries in, trades and return sums out, for sweeps and single backtests alike.

The rules are those of docs/engine.md, cited below as (rule k); a change here is a change there. Notation:
    t         signal bar (decision at its close)          x    exit bar
    p, px     entry and exit price before costs           q    entry price after costs
    s         side, +1 long, -1 short                      E    equity realised so far
    a + b·c   equity of an open position marked at close c (one multiplication, one addition per bar)
    r         return of a bar, equity at its close over equity at the close before, minus 1

Why the walk looks as it does:
- The last bar a position can live to (time limit, opposite signal, exit flag, end of data) is known when it is
  opened, so the loop over its bars asks only for stop and target.
- That loop is bound by its one division; everything else hides behind it. Peaks are settled after the loop, and
  only where the position made a new one.
- A bar in which one trade ends and the next begins has ONE return. Its booking waits (`pending`) until no
  further trade can begin in it, so that the sums do not depend on who asks.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lockstep.core.compiled import kernel

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]
I4 = NDArray[np.int32]

# Exit reasons, as codes of `when[REASON]`; `lockstep.engine.trades.ExitReason` names them.
TP: Final = 1
SL: Final = 2
MAX_HOLD: Final = 3
SIGNAL: Final = 4
END_OF_DATA: Final = 5
EXIT: Final = 6
TRAIL: Final = 7

# Rows of `when`, int32 (6, trades).
SIGNAL_BAR, EXIT_BAR, SIDE, REASON, AMBIGUOUS, GAPS = range(6)
WHEN_ROWS: Final = 6
# Rows of `money`, float64 (10, trades).
ENTRY_RAW, ENTRY_PRICE, EXIT_RAW, EXIT_PRICE, SIZE, PNL_PCT, PNL, PNL_OTHER, GROSS, EQUITY_BEFORE = range(10)
MONEY_ROWS: Final = 10
# Columns of `totals`, float64 (sets, 7).
EQUITY, DOWNSIDE, DRAWDOWN, REFUSED, UNFILLED, LIVED, RUINED = range(7)
TOTAL_COLUMNS: Final = 7
# Cells of the walk's scratch `z`: extremes of the marks of one position, peak and trough of the account.
LOW_MARK, HIGH_MARK, DOWN, PEAK, TROUGH, DEPTH, LEVEL = range(7)


class Bars(NamedTuple):
    """open, high, low, close: float64 (n,); gaps: int32 (n,), missing stretches of bars before bar j, cumulative."""

    open: F8
    high: F8
    low: F8
    close: F8
    gaps: I4


class Terms(NamedTuple):
    """Costs and execution as plain numbers. `risk` is risk_per_trade · position_size_pct."""

    taker: float
    maker: float
    slippage: float
    half_spread: float
    capital: float
    risk: float
    default_distance: float
    compounding: bool
    at_close: bool


class Fine(NamedTuple):
    """Finer bars that settle ambiguous ones: bar_time int64 (n,) ms of the coarse bars; timestamp, high, low of the
    finer bars; both lengths in ms. All arrays empty: no finer bars."""

    bar_time: I8
    timestamp: I8
    high: F8
    low: F8
    bar_ms: int
    step_ms: int


@kernel
def _see(z: F8, value: float) -> None:
    """Takes one value of the account into peak, trough and deepest fall (as a fraction of the peak)."""
    if value > z[PEAK]:
        fall = 1.0 - z[TROUGH] / z[PEAK]
        z[DEPTH] = max(z[DEPTH], fall)
        z[PEAK] = value
        z[TROUGH] = value
    elif value < z[TROUGH]:
        z[TROUGH] = value


@kernel
def _book(z: F8, blocks: F8, ends: I8, block: int, j: int, r: float) -> int:
    """Adds the return r of bar j to the sums of its block; returns the block."""
    while ends[block] <= j:
        block += 1
    blocks[block, 0] += r
    blocks[block, 1] += r * r
    if r < 0.0:
        z[DOWN] += r * r
    return block


@kernel
def _hold(
    bars: Bars,
    lower: float,
    upper: float,
    a: float,
    b: float,
    previous: float,
    first: int,
    end: int,
    z: F8,
    blocks: F8,
    ends: I8,
    block: int,
) -> tuple[int, float, int]:
    """Lives through bars first … end − 1 until one touches `lower` or `upper`, marking and booking each bar before.

    Returns (bar touched, or end; last mark; block).
    """
    low, high, close = bars.low, bars.high, bars.close
    low_mark, high_mark, down = z[LOW_MARK], z[HIGH_MARK], 0.0
    j = first
    touched = False
    while j < end and not touched:
        while ends[block] <= j:
            block += 1
        stretch = min(end, ends[block])
        total, square = 0.0, 0.0
        while j < stretch:
            if low[j] <= lower or high[j] >= upper:
                touched = True
                break
            mark = a + b * close[j]
            r = mark / previous - 1.0
            total += r
            square += r * r
            loss = min(r, 0.0)
            down += loss * loss
            low_mark = min(low_mark, mark)
            high_mark = max(high_mark, mark)
            previous = mark
            j += 1
        blocks[block, 0] += total
        blocks[block, 1] += square
    z[LOW_MARK], z[HIGH_MARK] = low_mark, high_mark
    z[DOWN] += down
    return j, previous, block


@kernel
def _hold_trailing(
    bars: Bars,
    side: int,
    entry: float,
    stop: float,
    target: float,
    trail: float,
    a: float,
    b: float,
    previous: float,
    first: int,
    last: int,
    end: int,
    z: F8,
    blocks: F8,
    ends: I8,
    block: int,
) -> tuple[int, float, int]:
    """`_hold` with a stop that follows the best price of the bars completed so far (rule 5).

    Looks at bars first … last, marks those before `end`; leaves the level in force at the returned bar in z[LEVEL].
    Returns (bar touched, or last + 1; last mark; block).
    """
    best = entry
    for j in range(first, last + 1):
        if side > 0:
            level = max(stop, best - trail)
            if bars.low[j] <= level or bars.high[j] >= target:
                z[LEVEL] = level
                return j, previous, block
            best = max(best, bars.high[j])
        else:
            level = min(stop, best + trail)
            if bars.high[j] >= level or bars.low[j] <= target:
                z[LEVEL] = level
                return j, previous, block
            best = min(best, bars.low[j])
        if j < end:
            mark = a + b * bars.close[j]
            block = _book(z, blocks, ends, block, j, mark / previous - 1.0)
            z[LOW_MARK] = min(z[LOW_MARK], mark)
            z[HIGH_MARK] = max(z[HIGH_MARK], mark)
            previous = mark
    return last + 1, previous, block


@kernel
def _first_in_detail(fine: Fine, j: int, lower: float, upper: float) -> int:
    """Which side of bar j the finer bars reach first: -1 lower, 1 upper, 0 unknown (rule 9).

    Unknown when there are no finer bars, when one is missing before the deciding one, or when one reaches both.
    """
    if fine.timestamp.size == 0:
        return 0
    start = fine.bar_time[j]
    k = np.searchsorted(fine.timestamp, start)
    expected = start
    while k < fine.timestamp.size and fine.timestamp[k] == expected and expected < start + fine.bar_ms:
        down = fine.low[k] <= lower
        up = fine.high[k] >= upper
        if down and up:
            return 0
        if down:
            return -1
        if up:
            return 1
        k += 1
        expected += fine.step_ms
    return 0


@kernel
def _settle_touch(
    bars: Bars, fine: Fine, side: int, j: int, level: float, stop: float, target: float
) -> tuple[int, float, int]:
    """Reason, price before costs and ambiguity of a touch in bar j (rules 4, 5 and 9)."""
    first = bars.open[j]
    if side > 0:
        stopped, reached, beyond = bars.low[j] <= level, bars.high[j] >= target, first <= level
        stop_price, lower, upper = min(first, level), level, target
    else:
        stopped, reached, beyond = bars.high[j] >= level, bars.low[j] <= target, first >= level
        stop_price, lower, upper = max(first, level), target, level
    if not stopped:
        return TP, target, 0
    reason = SL if level == stop else TRAIL
    # An open beyond the stop is the bar's first price: nothing is unknown about the order.
    if not reached or beyond:
        return reason, stop_price, 0
    order = side * _first_in_detail(fine, j, lower, upper)
    if order > 0:
        return TP, target, 0
    return reason, stop_price, 1 if order == 0 else 0


@kernel
def _distance(default: float, side: int, p: float, stop: float, trail: float) -> float:
    """sl_distance: from entry to the tighter of stop and trailing stop, as a share of the entry price (rule 6)."""
    start = stop
    if trail == trail:
        start = max(stop, p - trail) if side > 0 else min(stop, p + trail)
    return abs(p - start) / p if np.isfinite(start) else default


@kernel
def _leave(
    bars: Bars,
    terms: Terms,
    t: int,
    x: int,
    s: int,
    reason: int,
    ambiguous: int,
    p: float,
    q: float,
    px: float,
    target: float,
    size: float,
    equity: float,
    when: I4,
    money: F8,
    made: int,
) -> float:
    """Settles and records one trade in column `made`; returns its pnl (rule 7)."""
    out = px * (1.0 - s * terms.slippage) - s * terms.half_spread
    pnl_pct = s * (out - q) / q - terms.taker - (terms.maker if reason == TP else terms.taker)
    pnl = size * pnl_pct
    other = pnl
    if ambiguous:
        other_out = target * (1.0 - s * terms.slippage) - s * terms.half_spread
        other = size * (s * (other_out - q) / q - terms.taker - terms.maker)
    when[SIGNAL_BAR, made], when[EXIT_BAR, made] = t, x
    when[SIDE, made], when[REASON, made], when[AMBIGUOUS, made] = s, reason, ambiguous
    when[GAPS, made] = bars.gaps[x] - bars.gaps[t]
    money[ENTRY_RAW, made], money[ENTRY_PRICE, made] = p, q
    money[EXIT_RAW, made], money[EXIT_PRICE, made] = px, out
    money[SIZE, made], money[PNL_PCT, made] = size, pnl_pct
    money[PNL, made], money[PNL_OTHER, made] = pnl, other
    money[GROSS, made], money[EQUITY_BEFORE, made] = size * (s * (px - p) / p), equity
    return pnl


@kernel
def _walk_set(
    bars: Bars,
    terms: Terms,
    fine: Fine,
    entries: Any,
    lo: int,
    hi: int,
    exit_lo: int,
    exit_hi: int,
    ends: I8,
    when: I4,
    money: F8,
    made: int,
    totals: F8,
    blocks: F8,
    z: F8,
) -> int:
    """Walks one set (entries lo … hi − 1), writing its trades from column `made` on; returns the next free column."""
    bar, sides, stops, targets, limits, trails, exit_bar, two_sided = entries
    n = bars.close.size
    last_bar = n - 1
    equity = terms.capital
    z[PEAK], z[TROUGH], z[DEPTH], z[DOWN] = equity, equity, 0.0, 0.0
    pending, pending_from, block = -1, equity, 0
    refused, unfilled, lived, ruined = 0, 0, 0, 0.0
    i, opposite, flag = lo, lo, exit_lo
    while i < hi:
        t = bar[i]
        if t >= last_bar:
            unfilled += hi - i
            break
        s, stop, target = sides[i], stops[i], targets[i]
        p = bars.close[t] if terms.at_close else bars.open[t + 1]
        # NaN (no stop, no target) compares false, so it refuses nothing (rule 3).
        if (s > 0 and (stop >= p or target <= p)) or (s < 0 and (stop <= p or target >= p)):
            refused += 1
            i += 1
            continue

        # The last bar of the position, and why it would end there (rules 4 and 6).
        last, reason = last_bar, END_OF_DATA
        if np.int64(t) + limits[i] <= last_bar:
            last, reason = t + limits[i], MAX_HOLD
        event, event_reason = n, SIGNAL
        if two_sided:
            opposite = max(opposite, i + 1)
            while opposite < hi and sides[opposite] == s:
                opposite += 1
            if opposite < hi:
                event = bar[opposite]
        while flag < exit_hi and exit_bar[flag] <= t:
            flag += 1
        if flag < exit_hi and exit_bar[flag] < event:
            event, event_reason = exit_bar[flag], EXIT
        if event < last or (event == last and reason == END_OF_DATA and terms.at_close):
            last, reason = event, event_reason
        by_event = reason in (SIGNAL, EXIT)
        at_open = by_event and not terms.at_close

        # Size and marks (rules 6 to 8). No stop at all: its side of the band is never reached.
        trail = trails[i] if trails.size > 0 else np.nan
        if stop != stop:
            stop = -np.inf if s > 0 else np.inf
        if target != target:
            target = np.inf if s > 0 else -np.inf
        distance = _distance(terms.default_distance, s, p, stop, trail)
        capital = equity if terms.compounding else terms.capital
        size = min(capital * terms.risk / distance, capital)
        q = p * (1.0 + s * terms.slippage) + s * terms.half_spread
        b = s * size / q
        a = equity - size * (s + terms.taker)

        # Book the bar that was waiting, unless this position begins in it.
        first_mark = t if terms.at_close else t + 1
        previous = equity
        if pending == first_mark:
            previous = pending_from
        elif pending >= 0:
            block = _book(z, blocks, ends, block, pending, equity / pending_from - 1.0)
            _see(z, equity)
        z[LOW_MARK], z[HIGH_MARK] = np.inf, -np.inf
        if terms.at_close:
            mark = a + b * bars.close[t]
            block = _book(z, blocks, ends, block, t, mark / previous - 1.0)
            z[LOW_MARK], z[HIGH_MARK] = mark, mark
            previous = mark

        # Live. A bar left at its close is not marked: its equity is the realised one.
        end = last + 1 if at_open else last
        level = stop
        if trail == trail:
            x, previous, block = _hold_trailing(
                bars, s, p, stop, target, trail, a, b, previous, t + 1, last, end, z, blocks, ends, block
            )
            if x <= last:
                level = z[LEVEL]
        else:
            lower, upper = (stop, target) if s > 0 else (target, stop)
            x, previous, block = _hold(bars, lower, upper, a, b, previous, t + 1, end, z, blocks, ends, block)
            if x == end and (at_open or not (bars.low[x] <= lower or bars.high[x] >= upper)):
                x = last + 1

        ambiguous = 0
        if x <= last:
            reason, px, ambiguous = _settle_touch(bars, fine, s, x, level, stop, target)
            at_open = False
        elif at_open:
            px = bars.open[x]
        else:
            x = last
            px = bars.close[x]

        pnl = _leave(bars, terms, t, x, s, reason, ambiguous, p, q, px, target, size, equity, when, money, made)
        made += 1
        lived += x - t - (1 if at_open else 0)
        if z[HIGH_MARK] > z[PEAK]:
            for j in range(first_mark, x):
                _see(z, a + b * bars.close[j])
        elif z[LOW_MARK] < z[TROUGH]:
            z[TROUGH] = z[LOW_MARK]
        equity += pnl
        pending, pending_from = x, previous
        if equity <= 0.0 or z[LOW_MARK] <= 0.0:
            ruined = 1.0
            break

        # The next decision that may open a position (rule 2).
        if reason == SIGNAL:
            i = opposite
        elif reason == END_OF_DATA:
            unfilled += 1 if bar[hi - 1] == last_bar and sides[hi - 1] != s else 0
            break
        else:
            free = event + 1 if reason == EXIT else x
            i += 1
            while i < hi and bar[i] < free:
                i += 1
    if pending >= 0:
        _book(z, blocks, ends, block, pending, equity / pending_from - 1.0)
        _see(z, equity)
    totals[EQUITY], totals[DOWNSIDE], totals[RUINED] = equity, z[DOWN], ruined
    totals[DRAWDOWN] = max(z[DEPTH], 1.0 - z[TROUGH] / z[PEAK])
    totals[REFUSED], totals[UNFILLED], totals[LIVED] = refused, unfilled, lived
    return made


@kernel
def walk_sets(
    bars: Bars,
    terms: Terms,
    fine: Fine,
    entries: Any,
    offsets: I8,
    exit_offsets: I8,
    ends: I8,
    when: I4,
    money: F8,
    trade_offsets: I8,
    totals: F8,
    blocks: F8,
) -> None:
    """Walks every set of a batch.

    entries is (bar, side, stop, target, time_limit, trail, exit_bar, two_sided); trail and exit_bar may be empty.
    ends int64 (B,): first bar after each block. Written: when (6, ≥ trades), money (10, ≥ trades), trade_offsets
    (k + 1,), totals (k, 7), blocks (k, B, 2) holding Σ r and Σ r² per block. The trades of set k are columns
    trade_offsets[k] … trade_offsets[k + 1] − 1; there are never more trades than entries.
    """
    z = np.empty(7)
    blocks[:] = 0.0
    made = 0
    trade_offsets[0] = 0
    for k in range(offsets.size - 1):
        exit_lo, exit_hi = 0, 0
        if exit_offsets.size > 0:
            exit_lo, exit_hi = exit_offsets[k], exit_offsets[k + 1]
        made = _walk_set(
            bars, terms, fine, entries, offsets[k], offsets[k + 1], exit_lo, exit_hi, ends,
            when, money, made, totals[k], blocks[k], z,
        )  # fmt: skip
        trade_offsets[k + 1] = made
