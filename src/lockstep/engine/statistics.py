"""From the trades and return sums of a walk to the row of metrics of each set; formulas in `metrics.Metric`.

Undefined values are NaN here (None at the surface). Every sum runs in a stated order, trade by trade or block by
block, so that a sweep and a single backtest give the same bits.
"""

from __future__ import annotations

import math
from collections import namedtuple
from typing import Any, Final

import numpy as np

from lockstep.core.compiled import kernel
from lockstep.core.scalar_math import power
from lockstep.engine.metrics import COLUMN, COUNTS, Metric
from lockstep.engine.walk_state import (
    AMBIGUOUS,
    CAPPED,
    DOWNSIDE,
    DRAWDOWN,
    END_OF_DATA,
    EQUITY,
    EQUITY_BEFORE,
    EXIT_BAR,
    F8,
    GAPS,
    GROSS,
    I4,
    LIVED,
    NET_RETURN,
    PNL,
    PNL_OTHER,
    REASON,
    REFUSED,
    RUINED,
    SIDE,
    SIGNAL_BAR,
    SIZE,
    UNFILLED,
)

# Kernels read `M.NET_PROFIT` as the plain integer it is; names and order are those of the enum, said once, there. Any,
# because no type checker can know attributes that are made from an enum; numba refuses a name that is not there.
M: Final[Any] = namedtuple("M", [metric.name for metric in Metric])(*range(len(Metric)))
METRICS: Final = len(Metric)
# What follows from money, and says nothing where money grew beyond the largest float.
_MONEY: Final = tuple(
    column
    for metric, column in COLUMN.items()
    if metric not in COUNTS and metric not in (Metric.EXPOSURE, Metric.AVG_HOLDING_PERIODS)
)

ROOT_252: Final = math.sqrt(252.0)
# A return is a quotient of two prices or equities less 1, so its last bits are noise of this size or below. A deviation
# that small is no risk: equal stops, or an exit at the price of the last mark, would give ratios of 1e16.
NOISE: Final = 1e-14
# A sum of N numbers is exact to about N times 1e-16 of the sum of their sizes.
CANCELLED: Final = 1e-12


@kernel
def _ratio(numerator: float, denominator: float) -> float:
    """numerator / denominator, undefined unless the denominator is above 0."""
    return numerator / denominator if denominator > 0.0 else np.nan


@kernel
def _deviations(values: F8) -> tuple[float, float]:
    """Population standard deviations (ddof 0) of all values and of the negative ones, in two passes; NaN of none.

    0 when they differ by rounding only. Sums start from the first value: the mean of equal values is that value.
    """
    # Two passes: Σ x² − n·mean² in one pass would cancel where returns are small beside their mean.
    count, total, origin = 0, 0.0, values[0]
    shift, shift_below, origin_below = 0.0, 0.0, 0.0
    for value in values:
        shift += value - origin
        if value < 0.0:
            if count == 0:
                origin_below = value
            count += 1
            shift_below += value - origin_below
    mean = origin + shift / values.size
    mean_below = origin_below + shift_below / count if count > 0 else np.nan
    below = 0.0
    for value in values:
        total += (value - mean) * (value - mean)
        if value < 0.0:
            below += (value - mean_below) * (value - mean_below)
    deviation = math.sqrt(total / values.size)
    deviation_below = math.sqrt(below / count) if count > 0 else np.nan
    # NaN is not below the noise and stays.
    return 0.0 if deviation <= NOISE else deviation, 0.0 if deviation_below <= NOISE else deviation_below


@kernel
def _tail_mean(values: F8) -> float:
    """Mean of the smallest twentieth of the values (at least one), summed in ascending order."""
    k = (values.size + 19) // 20
    if k <= 16:
        # Few: keep them sorted while reading, which costs no second array of all values.
        tail = np.sort(values[:k])
        for i in range(k, values.size):
            value = values[i]
            if value < tail[k - 1]:
                j = k - 1
                while j > 0 and tail[j - 1] > value:
                    tail[j] = tail[j - 1]
                    j -= 1
                tail[j] = value
    else:
        # `partition` alone leaves the tail in any order, and the order of a sum decides its last bits.
        tail = np.sort(np.partition(values, k - 1)[:k])
    total = 0.0
    for value in tail:
        total += value
    return total / k


@kernel
def _bounds(money: F8, capital: float, compounding: bool) -> tuple[float, float]:
    """Net profit when every ambiguous trade took the worse, and when it took the better, of stop and target.

    Both orders leave in the same bar, so no other trade changes. With compounding every size is proportional to the
    equity before it, so the ratios chain.
    """
    low, high = 0.0, 0.0
    low_equity, high_equity = capital, capital
    for i in range(money.shape[1]):
        worse = min(money[PNL, i], money[PNL_OTHER, i])
        better = max(money[PNL, i], money[PNL_OTHER, i])
        low += worse
        high += better
        if compounding:
            low_equity *= 1.0 + worse / money[EQUITY_BEFORE, i]
            high_equity *= 1.0 + better / money[EQUITY_BEFORE, i]
    return (low_equity - capital, high_equity - capital) if compounding else (low, high)


@kernel
def _trade_metrics(when: I4, money: F8, capital: float, compounding: bool, row: F8) -> None:
    """Everything that follows from the list of trades."""
    trades = when.shape[1]
    # One pass for all of it: the columns of a batch are read from the cache once.
    wins, losses, longs, ambiguous, over_gaps, held = 0, 0, 0, 0, 0, 0
    won, lost, won_pct, lost_pct, best, worst = 0.0, 0.0, 0.0, 0.0, -np.inf, np.inf
    net, total_pct, gross, moved, turnover = 0.0, 0.0, 0.0, 0.0, 0.0
    equity, peak, depth, depths, under = capital, capital, 0.0, 0.0, 0
    for i in range(trades):
        pnl, pct, size = money[PNL, i], money[NET_RETURN, i], money[SIZE, i]
        net += pnl
        total_pct += pct
        # Summed beside `net`, not derived from prices again: costs are the difference of what was booked.
        gross += money[GROSS, i]
        moved += abs(money[GROSS, i])
        turnover += 2.0 * size
        held += when[EXIT_BAR, i] - when[SIGNAL_BAR, i]
        if when[SIDE, i] > 0:
            longs += 1
        if when[GAPS, i] > 0:
            over_gaps += 1
        if pnl > 0.0:
            wins += 1
            won += pnl
            won_pct += pct
            best = max(best, pct)
        elif pnl < 0.0:
            losses += 1
            lost += pnl
            lost_pct += pct
            worst = min(worst, pct)
        ambiguous += when[AMBIGUOUS, i]
        # Stepped by trade; falls inside a trade are those of `max_drawdown_pct`.
        equity += pnl
        peak = max(peak, equity)
        if equity < peak:
            fall = equity / peak - 1.0
            depth = min(depth, fall)
            depths += fall
            under += 1
    row[M.NET_PROFIT] = net
    row[M.NET_PROFIT_PCT] = 100.0 * net / capital
    # Without an ambiguous trade all three are one number, to the bit.
    row[M.NET_PROFIT_WORST_PCT], row[M.NET_PROFIT_BEST_PCT] = row[M.NET_PROFIT_PCT], row[M.NET_PROFIT_PCT]
    if ambiguous > 0:
        low, high = _bounds(money, capital, compounding)
        row[M.NET_PROFIT_WORST_PCT], row[M.NET_PROFIT_BEST_PCT] = 100.0 * low / capital, 100.0 * high / capital
    row[M.MAX_DRAWDOWN_TRADES_PCT] = 100.0 * depth
    row[M.AVG_DRAWDOWN_PCT] = 100.0 * depths / under if under > 0 else 0.0
    row[M.CALMAR_RATIO_TRADES] = _ratio(row[M.NET_PROFIT_PCT], -row[M.MAX_DRAWDOWN_TRADES_PCT])
    row[M.TOTAL_TRADES], row[M.WINNING_TRADES], row[M.LOSING_TRADES] = trades, wins, losses
    row[M.LONG_TRADES], row[M.SHORT_TRADES] = longs, trades - longs
    row[M.WIN_RATE] = _ratio(wins, trades)
    row[M.PROFIT_FACTOR] = _ratio(won, -lost)
    row[M.EXPECTANCY] = _ratio(100.0 * total_pct, trades)
    row[M.AVG_WIN_PCT] = _ratio(100.0 * won_pct, wins)
    row[M.AVG_LOSS_PCT] = _ratio(100.0 * lost_pct, losses)
    row[M.LARGEST_WIN_PCT] = 100.0 * best if wins > 0 else np.nan
    row[M.LARGEST_LOSS_PCT] = 100.0 * worst if losses > 0 else np.nan
    row[M.AVG_HOLDING_PERIODS] = _ratio(held, trades)
    row[M.TOTAL_COSTS] = gross - net
    # Results that cancel leave the rounding of their sum, and a share of that is no share.
    row[M.COST_SHARE] = _ratio(gross - net, gross) if gross > CANCELLED * moved else np.nan
    row[M.BREAK_EVEN_COST] = _ratio(gross, turnover)
    row[M.AMBIGUOUS_TRADES], row[M.GAP_TRADES] = ambiguous, over_gaps
    row[M.OPEN_AT_END] = 1 if trades > 0 and when[REASON, trades - 1] == END_OF_DATA else 0
    row[M.SHARPE_RATIO_PER_TRADE], row[M.SORTINO_RATIO_PER_TRADE] = np.nan, np.nan
    row[M.CVAR_95], row[M.CVAR_95_PCT] = np.nan, np.nan
    if trades > 0:
        deviation, below = _deviations(money[NET_RETURN])
        row[M.SHARPE_RATIO_PER_TRADE] = _ratio(total_pct / trades, deviation) * ROOT_252
        row[M.SORTINO_RATIO_PER_TRADE] = _ratio(total_pct / trades, below) * ROOT_252
        row[M.CVAR_95] = _tail_mean(money[NET_RETURN])
        row[M.CVAR_95_PCT] = 100.0 * row[M.CVAR_95]


@kernel
def _bar_metrics(totals: F8, blocks: F8, bars: int, annual: float, capital: float, row: F8) -> None:
    """Everything that follows from the returns of the bars: sums of blocks, added in order."""
    total, square = 0.0, 0.0
    for k in range(blocks.shape[0]):
        total += blocks[k, 0]
        square += blocks[k, 1]
    ruined = totals[RUINED] > 0.0
    row[M.SHARPE_RATIO], row[M.SORTINO_RATIO], row[M.CALMAR_RATIO] = np.nan, np.nan, np.nan
    row[M.CAGR_PCT], row[M.VOLATILITY_PCT] = np.nan, np.nan
    # 0.0 − x, since −x of no drawdown would be −0.0.
    row[M.MAX_DRAWDOWN_PCT] = 0.0 - 100.0 * totals[DRAWDOWN]
    if bars > 0 and not ruined:
        mean = total / bars
        variance = square / bars - mean * mean
        row[M.VOLATILITY_PCT] = 0.0
        # Below this share of the raw second moment the difference is rounding, not variance.
        if variance > max(1e-12 * square / bars, NOISE * NOISE):
            row[M.VOLATILITY_PCT] = 100.0 * math.sqrt(variance) * math.sqrt(annual)
            row[M.SHARPE_RATIO] = mean / math.sqrt(variance) * math.sqrt(annual)
        downside = math.sqrt(totals[DOWNSIDE] / bars)
        if downside > NOISE:
            row[M.SORTINO_RATIO] = mean / downside * math.sqrt(annual)
        row[M.CAGR_PCT] = 100.0 * (power(totals[EQUITY] / capital, annual / bars) - 1.0)
        if totals[DRAWDOWN] > NOISE:
            row[M.CALMAR_RATIO] = row[M.CAGR_PCT] / (100.0 * totals[DRAWDOWN])
    row[M.EXPOSURE] = totals[LIVED] / bars if bars > 0 else 0.0
    row[M.REFUSED_SIGNALS], row[M.UNFILLED_SIGNALS] = totals[REFUSED], totals[UNFILLED]
    row[M.RUINED], row[M.CAPPED_TRADES] = totals[RUINED], totals[CAPPED]
    if ruined:
        # Returns through 0 mean nothing; a validator must not average them.
        blocks[:] = np.nan


@kernel
def _without_overflow(blocks: F8, row: F8) -> None:
    """Makes what is beyond the largest float undefined, and with it all that was worked out from such money."""
    if not np.isfinite(row[M.NET_PROFIT]):
        blocks[:] = np.nan
        for column in _MONEY:
            row[column] = np.nan
    for column in range(METRICS):
        if np.isinf(row[column]):
            row[column] = np.nan


@kernel
def summarise(
    when: I4, money: F8, totals: F8, blocks: F8, bars: int, annual: float, capital: float, compounding: bool, row: F8
) -> None:
    """Fills `row`, the metrics of one set, from what `walk.walk_set` wrote of it.

    bars is n, annual the bars per year. The block sums of a ruined set become NaN.
    """
    _trade_metrics(when, money, capital, compounding, row)
    _bar_metrics(totals, blocks, bars, annual, capital, row)
    _without_overflow(blocks, row)
