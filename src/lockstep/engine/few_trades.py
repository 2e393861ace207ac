"""Why a backtest has no trades, or too few to be judged: read off its metrics, in words.

Without this every kind of failure looks alike: a rule that never fires, stops on the wrong side of the price, no exit,
a ruined account, and a search over too few bars all end as "too few trades".
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import numpy as np

from lockstep.engine.metrics import COLUMN, Metric

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Reason(StrEnum):
    """What a set with too few trades lacks; the first that applies."""

    RUINED = "ruined"
    """Equity reached 0, and trading stopped there."""
    NO_SIGNAL = "no_signal"
    """Not one signal in all bars."""
    REFUSED = "refused"
    """Signals, but each had its stop or target on the wrong side of the price that it was filled at."""
    UNFILLED = "unfilled"
    """A signal on the last bar only, which has no bar to live in."""
    NEVER_LEFT = "never_left"
    """One trade, which lasted until the data ended."""
    FEW = "few"
    """Trades like any others, but not enough of them."""


_WORDS: Final[Mapping[Reason, str]] = {
    Reason.RUINED: "the account was ruined: equity reached 0 and trading stopped",
    Reason.NO_SIGNAL: "the strategy gave no signal in any bar",
    Reason.REFUSED: "every signal was refused: its stop or target lies on the wrong side of the price it is filled at",
    Reason.UNFILLED: "the only signal is that of the last bar, which cannot be filled",
    Reason.NEVER_LEFT: "the only trade was never left: it lasted until the data ended",
    Reason.FEW: "there were trades, but too few",
}
_CURES: Final[Mapping[Reason, str]] = {
    Reason.RUINED: "Risk less per trade (a smaller risk_per_trade), or check that the costs fit this market",
    Reason.NO_SIGNAL: "Run `lockstep backtest` on one set and look at the rule: its condition may never hold",
    Reason.REFUSED: (
        "A stop is a price: below the market for a long and above it for a short, and a target the other way round; "
        "view.close * 0.98 is 2 % below"
    ),
    Reason.UNFILLED: "Take more candles",
    Reason.NEVER_LEFT: (
        "Give the strategy a way out: a stop, a target, time_limit=, exit=, or signals of the other side (-1)"
    ),
}


def reasons(metrics: NDArray[np.float64], rows: NDArray[np.bool_]) -> dict[str, int]:
    """How many of the chosen sets have each reason. metrics (k, len(Metric)), rows bool (k,): sets with too few."""

    def column(metric: Metric) -> NDArray[np.float64]:
        values: NDArray[np.float64] = metrics[rows, COLUMN[metric]]
        return values

    trades = column(Metric.TOTAL_TRADES)
    none = trades == 0
    holds = [
        (Reason.RUINED, column(Metric.RUINED) == 1),
        (Reason.REFUSED, none & (column(Metric.REFUSED_SIGNALS) > 0)),
        (Reason.UNFILLED, none & (column(Metric.UNFILLED_SIGNALS) > 0)),
        (Reason.NO_SIGNAL, none),
        (Reason.NEVER_LEFT, (trades == 1) & (column(Metric.OPEN_AT_END) == 1)),
        (Reason.FEW, np.ones(trades.size, np.bool_)),
    ]
    open_ = np.ones(trades.size, np.bool_)
    counts: dict[str, int] = {}
    for reason, applies in holds:
        chosen = open_ & applies
        if count := int(np.count_nonzero(chosen)):
            counts[str(reason)] = count
        open_ &= ~applies
    return counts


def in_words(counts: Mapping[str, int]) -> str:
    """`In 12 the strategy gave no signal in any bar; in 5 every signal was refused: ...`, the commonest first."""
    order = sorted(counts.items(), key=lambda item: -item[1])
    text = "; ".join(f"in {count:,} {_WORDS[Reason(reason)]}" for reason, count in order if count)
    return text[:1].upper() + text[1:]


def cure(counts: Mapping[str, int]) -> str | None:
    """What to change for the commonest reason; None where more trades are all that is missing."""
    leading = max(counts, key=lambda reason: counts[reason], default=None)
    return None if leading is None else _CURES.get(Reason(leading))
