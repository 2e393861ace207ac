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
- State is passed as named tuples of numbers, which the compiler takes apart into registers. Arrays leave
  their tuples once a set, and a tuple of which all was taken is not used again: numba counts references, with two
  atomic operations for each array that is held twice.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from lockstep.core.compiled import kernel
from lockstep.engine.walk_state import (
    AMBIGUOUS,
    CAPPED,
    DOWNSIDE,
    DRAWDOWN,
    END_OF_DATA,
    ENTRY_PRICE,
    ENTRY_RAW,
    EQUITY,
    EQUITY_BEFORE,
    EXIT,
    EXIT_BAR,
    EXIT_PRICE,
    EXIT_RAW,
    F8,
    GAPS,
    GROSS,
    I4,
    I8,
    LIVED,
    MAX_HOLD,
    NET_RETURN,
    PNL,
    PNL_OTHER,
    REASON,
    REFUSED,
    RUINED,
    SIDE,
    SIGNAL,
    SIGNAL_BAR,
    SIZE,
    SL,
    TP,
    TRAIL,
    UNFILLED,
    Bars,
    Entries,
    Exit,
    Fall,
    Fine,
    Life,
    Marks,
    Position,
    Span,
    Tally,
    Terms,
)

# A size that is the whole capital but for rounding was not cut.
ROUNDED_UP: Final = 1.0 + 1e-9


@kernel
def _see(fall: Fall, value: float) -> Fall:
    """Peak, trough and deepest fall after one more value of the account."""
    if value > fall.peak:
        return Fall(value, value, max(fall.depth, 1.0 - fall.trough / fall.peak))
    return Fall(fall.peak, min(fall.trough, value), fall.depth)


@kernel
def _book(blocks: F8, ends: I8, tally: Tally, j: int, r: float) -> Tally:
    """Adds the return r of bar j to the sums of its block."""
    block = tally.block
    while ends[block] <= j:
        block += 1
    blocks[block, 0] += r
    blocks[block, 1] += r * r
    return Tally(block, tally.downside + r * r if r < 0.0 else tally.downside)


@kernel
def _distance(default: float, side: int, p: float, stop: float, trail: float) -> float:
    """sl_distance: from entry to the tighter of stop and trailing stop, as a share of the entry price (rule 6)."""
    start = stop
    if trail == trail:
        start = max(stop, p - trail) if side > 0 else min(stop, p + trail)
    return abs(p - start) / p if np.isfinite(start) else default


@kernel
def _position(
    terms: Terms, t: int, side: int, p: float, stop: float, target: float, trail: float, equity: float
) -> Position:
    """The position that an entry of bar t opens at price p: its size and its marks (rules 6 to 8)."""
    # No stop at all: its side of the band is never reached, so the loop over bars needs no case for it.
    if stop != stop:
        stop = -np.inf if side > 0 else np.inf
    if target != target:
        target = np.inf if side > 0 else -np.inf
    distance = _distance(terms.default_distance, side, p, stop, trail)
    capital = equity if terms.compounding else terms.capital
    # Never more than the capital, however close the stop: there is no leverage.
    size = min(capital * terms.risk / distance, capital)
    capped = 1 if terms.risk > distance * ROUNDED_UP else 0
    q = p * (1.0 + side * terms.slippage) + side * terms.half_spread
    a, b = equity - size * (side + terms.taker), side * size / q
    lower, upper = (stop, target) if side > 0 else (target, stop)
    return Position(t, side, p, q, stop, target, trail, lower, upper, size, capped, equity, a, b)


@kernel
def _hold(
    bars: Bars, position: Position, first: int, end: int, marks: Marks, tally: Tally, blocks: F8, ends: I8
) -> Life:
    """Lives through bars first … end − 1 until one touches stop or target, marking and booking each bar before."""
    low, high, close = bars.low, bars.high, bars.close
    a, b, lower, upper = position.a, position.b, position.lower, position.upper
    previous, low_mark, high_mark, down, block = marks.last, marks.low, marks.high, 0.0, tally.block
    j = first
    touched = False
    while j < end and not touched:
        while ends[block] <= j:
            block += 1
        # By stretches of one block, whose sums stay in registers.
        stretch = min(end, ends[block])
        total, square = 0.0, 0.0
        # Unsigned: each access with a signed index would first allow for one that counts from the end of the array.
        k, stop = np.uint64(j), np.uint64(stretch)
        while k < stop:
            if low[k] <= lower or high[k] >= upper:
                touched = True
                break
            mark = a + b * close[k]
            r = mark / previous - 1.0
            total += r
            square += r * r
            # Without a branch: whether a bar loses is as good as random.
            loss = min(r, 0.0)
            down += loss * loss
            low_mark = min(low_mark, mark)
            high_mark = max(high_mark, mark)
            previous = mark
            k += np.uint64(1)
        j = int(np.int64(k))
        blocks[block, 0] += total
        blocks[block, 1] += square
    return Life(j, position.stop, Marks(previous, low_mark, high_mark), Tally(block, tally.downside + down))


@kernel
def _hold_trailing(
    bars: Bars, position: Position, first: int, last: int, end: int, marks: Marks, tally: Tally, blocks: F8, ends: I8
) -> Life:
    """`_hold` with a stop that follows the best price of the bars completed so far (rule 5)."""
    best = position.entry
    for j in range(first, last + 1):
        # The level first, then the bar's own extreme: within a bar, the order of high and low is unknown.
        if position.side > 0:
            level = max(position.stop, best - position.trail)
            if bars.low[j] <= level or bars.high[j] >= position.target:
                return Life(j, level, marks, tally)
            best = max(best, bars.high[j])
        else:
            level = min(position.stop, best + position.trail)
            if bars.high[j] >= level or bars.low[j] <= position.target:
                return Life(j, level, marks, tally)
            best = min(best, bars.low[j])
        if j < end:
            mark = position.a + position.b * bars.close[j]
            tally = _book(blocks, ends, tally, j, mark / marks.last - 1.0)
            marks = Marks(mark, min(marks.low, mark), max(marks.high, mark))
    return Life(last + 1, position.stop, marks, tally)


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
    # A bar of a local clock has 23 or 25 hours: its end is where the next one opens, not a length after its start.
    while k < fine.timestamp.size and fine.timestamp[k] == expected and fine.end[k] <= fine.bar_end[j]:
        down = fine.low[k] <= lower
        up = fine.high[k] >= upper
        if down and up:
            return 0
        if down:
            return -1
        if up:
            return 1
        expected = fine.end[k]
        k += 1
    return 0


@kernel
def _settle_touch(bars: Bars, fine: Fine, position: Position, j: int, level: float) -> Exit:
    """The exit of a position whose stop `level` or target is touched in bar j (rules 4, 5 and 9)."""
    first, target = bars.open[j], position.target
    if position.side > 0:
        stopped, reached, beyond = bars.low[j] <= level, bars.high[j] >= target, first <= level
        stop_price, lower, upper = min(first, level), level, target
    else:
        stopped, reached, beyond = bars.high[j] >= level, bars.low[j] <= target, first >= level
        stop_price, lower, upper = max(first, level), target, level
    # An open beyond the target fills at the target: a resting order is not paid more than it asks.
    if not stopped:
        return Exit(j, TP, target, 0, False)
    reason = SL if level == position.stop else TRAIL
    # An open beyond the stop is the bar's first price: nothing is unknown about the order.
    if not reached or beyond:
        return Exit(j, reason, stop_price, 0, False)
    order = position.side * _first_in_detail(fine, j, lower, upper)
    if order > 0:
        return Exit(j, TP, target, 0, False)
    # Unknown counts as stopped: a doubt must never flatter a result.
    return Exit(j, reason, stop_price, 1 if order == 0 else 0, False)


@kernel
def _leave(bars: Bars, terms: Terms, position: Position, out: Exit, when: I4, money: F8, column: int) -> float:
    """Settles one trade and writes it into `column`; returns its pnl (rule 7)."""
    s, p, q, size = position.side, position.entry, position.price, position.size
    received = out.price * (1.0 - s * terms.slippage) - s * terms.half_spread
    net_return = s * (received - q) / q - terms.taker - (terms.maker if out.reason == TP else terms.taker)
    pnl = size * net_return
    other = pnl
    # An ambiguous trade is booked as stopped; `other` is what the target would have paid (rule 9).
    if out.ambiguous:
        other_received = position.target * (1.0 - s * terms.slippage) - s * terms.half_spread
        other = size * (s * (other_received - q) / q - terms.taker - terms.maker)
    when[SIGNAL_BAR, column], when[EXIT_BAR, column] = position.bar, out.bar
    when[SIDE, column], when[REASON, column], when[AMBIGUOUS, column] = s, out.reason, out.ambiguous
    when[GAPS, column] = bars.gaps[out.bar] - bars.gaps[position.bar]
    money[ENTRY_RAW, column], money[ENTRY_PRICE, column] = p, q
    money[EXIT_RAW, column], money[EXIT_PRICE, column] = out.price, received
    money[SIZE, column], money[NET_RETURN, column] = size, net_return
    money[PNL, column], money[PNL_OTHER, column] = pnl, other
    money[GROSS, column], money[EQUITY_BEFORE, column] = size * (s * (out.price - p) / p), position.equity
    return pnl


@kernel
def walk_set(
    bars: Bars,
    terms: Terms,
    fine: Fine,
    entries: Entries,
    span: Span,
    ends: I8,
    when: I4,
    money: F8,
    totals: F8,
    blocks: F8,
) -> int:
    """Walks one set, the life of one account; returns the number T of its trades.

    Written are columns 0 … T − 1 of `when` and `money`, which have room for as many trades as the set has entries
    (there are never more), all of `totals`, and the sums of the bars lived through, added to `blocks`. ends is int64
    (B,), the first bar after each block.
    """
    bar, sides, stops, targets, limits = entries.bar, entries.side, entries.stop, entries.target, entries.time_limit
    trails, exit_bar, two_sided = entries.trail, entries.exit_bar, entries.two_sided
    lo, hi, flag, flag_end = span.lo, span.hi, span.flag, span.flag_end
    n = bars.close.size
    last_bar = n - 1
    equity = terms.capital
    fall, tally = Fall(equity, equity, 0.0), Tally(0, 0.0)
    column = 0
    pending, pending_from = -1, equity
    refused, unfilled, lived, capped, ruined = 0, 0, 0, 0, 0.0
    i, opposite = lo, lo
    while i < hi:
        t, s, stop, target = bar[i], sides[i], stops[i], targets[i]
        if t >= last_bar:
            unfilled += hi - i
            break
        p = bars.close[t] if terms.at_close else bars.open[t + 1]
        # NaN (no stop, no target) compares false, so it refuses nothing (rule 3).
        if (s > 0 and (stop >= p or target <= p)) or (s < 0 and (stop <= p or target >= p)):
            refused += 1
            i += 1
            continue

        # The last bar of the position, and why it would end there (rules 4 and 6). In 64 bits: t + NO_LIMIT would wrap.
        last, reason = last_bar, END_OF_DATA
        if np.int64(t) + limits[i] <= last_bar:
            last, reason = t + limits[i], MAX_HOLD
        event, event_reason = n, SIGNAL
        # Both cursors only move forward, so that a set's entries are read once.
        if two_sided:
            opposite = max(opposite, i + 1)
            while opposite < hi and sides[opposite] == s:
                opposite += 1
            if opposite < hi:
                event = bar[opposite]
        while flag < flag_end and exit_bar[flag] <= t:
            flag += 1
        # An entry of the other side goes before a flag of the same bar: it closes as well, and reverses.
        if flag < flag_end and exit_bar[flag] < event:
            event, event_reason = exit_bar[flag], EXIT
        # A time limit fills at the close, before the next open that an event of the same bar is filled at.
        if event < last or (event == last and reason == END_OF_DATA and terms.at_close):
            last, reason = event, event_reason
        at_open = reason in (SIGNAL, EXIT) and not terms.at_close
        trail = trails[i] if trails.size > 0 else np.nan
        position = _position(terms, t, s, p, stop, target, trail, equity)

        # Book the bar that was waiting, unless this position begins in it.
        first_mark = t if terms.at_close else t + 1
        previous = equity
        if pending == first_mark:
            previous = pending_from
        elif pending >= 0:
            tally = _book(blocks, ends, tally, pending, equity / pending_from - 1.0)
            fall = _see(fall, equity)
        marks = Marks(previous, np.inf, -np.inf)
        if terms.at_close:
            mark = position.a + position.b * bars.close[t]
            tally = _book(blocks, ends, tally, t, mark / previous - 1.0)
            marks = Marks(mark, mark, mark)

        # Live, and leave.
        end = last + 1 if at_open else last
        if position.trail == position.trail:
            life = _hold_trailing(bars, position, t + 1, last, end, marks, tally, blocks, ends)
        else:
            life = _hold(bars, position, t + 1, end, marks, tally, blocks, ends)
            x = life.bar
            # A bar left at its close was not looked at: its equity is the realised one, so there is no mark to book.
            if x == end and (at_open or not (bars.low[x] <= position.lower or bars.high[x] >= position.upper)):
                life = Life(last + 1, life.level, life.marks, life.tally)
        tally = life.tally
        if life.bar <= last:
            out = _settle_touch(bars, fine, position, life.bar, life.level)
        elif at_open:
            out = Exit(life.bar, reason, bars.open[life.bar], 0, True)
        else:
            out = Exit(last, reason, bars.close[last], 0, False)
        pnl = _leave(bars, terms, position, out, when, money, column)
        column += 1
        lived += out.bar - t - (1 if out.at_open else 0)
        capped += position.capped

        # Bar by bar only where the position made a new peak: elsewhere its lowest mark says all that is needed.
        if life.marks.high > fall.peak:
            for j in range(first_mark, out.bar):
                fall = _see(fall, position.a + position.b * bars.close[j])
        elif life.marks.low < fall.trough:
            fall = Fall(fall.peak, life.marks.low, fall.depth)
        equity += pnl
        pending, pending_from = out.bar, life.marks.last
        # A mark of 0 or less is ruin as well, even where the trade came back from it (rule 6).
        if equity <= 0.0 or life.marks.low <= 0.0:
            ruined = 1.0
            break

        # The next decision that may open a position (rule 2).
        if out.reason == SIGNAL:
            i = opposite
        elif out.reason == END_OF_DATA:
            unfilled += 1 if bar[hi - 1] == last_bar and sides[hi - 1] != s else 0
            break
        else:
            # Decisions of the bar that the position was left in count; those of the bar of an exit flag do not.
            free = event + 1 if out.reason == EXIT else out.bar
            i += 1
            while i < hi and bar[i] < free:
                i += 1
    if pending >= 0:
        tally = _book(blocks, ends, tally, pending, equity / pending_from - 1.0)
        fall = _see(fall, equity)
    totals[EQUITY], totals[DOWNSIDE], totals[RUINED] = equity, tally.downside, ruined
    totals[DRAWDOWN] = max(fall.depth, 1.0 - fall.trough / fall.peak)
    totals[REFUSED], totals[UNFILLED], totals[LIVED], totals[CAPPED] = refused, unfilled, lived, capped
    return column
