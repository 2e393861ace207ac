"""What the walk reads, carries and writes: named tuples of its arrays and numbers, and what their rows mean.

Notation and rules are those of `engine.walk`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]
I4 = NDArray[np.int32]
I1 = NDArray[np.int8]

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
ENTRY_RAW, ENTRY_PRICE, EXIT_RAW, EXIT_PRICE, SIZE, NET_RETURN, PNL, PNL_OTHER, GROSS, EQUITY_BEFORE = range(10)
MONEY_ROWS: Final = 10
# Cells of `totals`, float64 (8,), of one set.
EQUITY, DOWNSIDE, DRAWDOWN, REFUSED, UNFILLED, LIVED, RUINED, CAPPED = range(8)
TOTALS: Final = 8


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
    """Finer bars that settle ambiguous ones: bar_time, bar_end int64 (n,) ms, opens and closes of the coarse bars;
    timestamp, end int64 (m,) ms, high, low float64 (m,) of the finer bars. All arrays empty: no finer bars."""

    bar_time: I8
    bar_end: I8
    timestamp: I8
    end: I8
    high: F8
    low: F8


class Entries(NamedTuple):
    """Columns of an `entries.EntryBatch` as the kernel reads them; what is None there is empty here.

    two_sided   False where only one side occurs: then no entry can end a position, and none is looked for
    """

    bar: I4
    side: I1
    stop: F8
    target: F8
    time_limit: I4
    trail: F8
    exit_bar: I4
    two_sided: bool


class Span(NamedTuple):
    """One set among its batch: entries lo … hi − 1 and exit flags flag … flag_end − 1."""

    lo: int
    hi: int
    flag: int
    flag_end: int


class Walked(NamedTuple):
    """What the kernels write for k sets; rows and columns as named above and in `metrics.Metric`.

    when     int32 (6, T), of the trades of the set walked last: each set begins again at column 0
    money    float64 (10, T), likewise
    blocks   float64 (k, B, 2): Σ r and Σ r² of each block
    metrics  float64 (k, len(Metric))
    """

    when: I4
    money: F8
    blocks: F8
    metrics: F8


class Tally(NamedTuple):
    """The block that was booked last, and Σ min(r, 0)² so far."""

    block: int
    downside: float


class Fall(NamedTuple):
    """Highest equity so far, the lowest since, and the deepest fall before that peak, as a fraction of its own peak."""

    peak: float
    trough: float
    depth: float


class Marks(NamedTuple):
    """Equity at the closes of one position: at the last bar marked, the lowest and the highest; ±inf before any."""

    last: float
    low: float
    high: float


class Position(NamedTuple):
    """One open position. Prices before costs except `price`; a missing stop or target is infinite, a missing trail NaN.

    bar           the signal bar t
    lower, upper  stop and target as one band for both sides: a bar that touches either ends the position
    capped        1 when risk_per_trade asked for more than the capital
    equity        realised equity before the entry
    a, b          equity of the position marked at close c is a + b·c
    """

    bar: int
    side: int
    entry: float
    price: float
    stop: float
    target: float
    trail: float
    lower: float
    upper: float
    size: float
    capped: int
    equity: float
    a: float
    b: float


class Life(NamedTuple):
    """How the bars of a position went: the bar touched, or one past the last; the stop in force there."""

    bar: int
    level: float
    marks: Marks
    tally: Tally


class Exit(NamedTuple):
    """How a position ended: bar, reason, price before costs, 1 if ambiguous, and whether at the bar's open."""

    bar: int
    reason: int
    price: float
    ambiguous: int
    at_open: bool
