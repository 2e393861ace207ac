"""The trades of a backtest, as columns, and the equity curve they make."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from lockstep.core.compiled import kernel
from lockstep.engine import walk_state
from lockstep.engine.walk_state import F8, I4

if TYPE_CHECKING:
    import pandas as pd


class ExitReason(StrEnum):
    """Why a position ended (docs/engine.md, rules 4 to 6)."""

    TP = "TP"
    """the target was touched"""
    SL = "SL"
    """the stop was touched, or jumped over"""
    MAX_HOLD = "MAX_HOLD"
    """the time limit"""
    SIGNAL = "SIGNAL"
    """an entry signal of the other side"""
    END_OF_DATA = "END_OF_DATA"
    """the last bar closed with the position open"""
    EXIT = "EXIT"
    """the strategy's exit flag"""
    TRAIL = "TRAIL"
    """the trailing stop, tighter than the fixed one, was touched or jumped over"""


#: Name of each reason code of the walk.
REASON_OF_CODE: Final = {
    walk_state.TP: ExitReason.TP,
    walk_state.SL: ExitReason.SL,
    walk_state.MAX_HOLD: ExitReason.MAX_HOLD,
    walk_state.SIGNAL: ExitReason.SIGNAL,
    walk_state.END_OF_DATA: ExitReason.END_OF_DATA,
    walk_state.EXIT: ExitReason.EXIT,
    walk_state.TRAIL: ExitReason.TRAIL,
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Trades:
    """T closed trades, oldest first; every column has shape (T,). Prices and money in quote currency.

    signal_bar      int32: bar at whose close the trade was decided
    entry_bar       int32: bar of the entry fill: signal_bar + 1 with fill="next_open", signal_bar with "close"
    exit_bar        int32: bar of the exit fill
    side            int8: 1 long, -1 short
    entry_level     float64: entry price before costs
    entry_price     float64: entry price after slippage and half the spread
    exit_level      float64: exit price before costs
    exit_price      float64: exit price after slippage and half the spread
    size            float64: money put in, before costs
    pnl             float64: size · net_return
    net_return      float64: result as a fraction of size, after all costs
    gross_pnl       float64: what the trade would have made without any costs
    equity_before   float64: realised equity when the trade was entered
    holding_periods int32: exit_bar − signal_bar
    reason          int8: code of the exit reason; `exit_reasons()` gives the names
    ambiguous       bool: stop and target were touched in one bar and the order is unknown
    spans_gap       bool: bars are missing somewhere between signal bar and exit bar
    timestamp       int64 (n,): ms UTC at the open of each bar of the market, from which trades have their times;
                    no column of its own
    """

    signal_bar: NDArray[np.int32]
    entry_bar: NDArray[np.int32]
    exit_bar: NDArray[np.int32]
    side: NDArray[np.int8]
    entry_level: NDArray[np.float64]
    entry_price: NDArray[np.float64]
    exit_level: NDArray[np.float64]
    exit_price: NDArray[np.float64]
    size: NDArray[np.float64]
    pnl: NDArray[np.float64]
    net_return: NDArray[np.float64]
    gross_pnl: NDArray[np.float64]
    equity_before: NDArray[np.float64]
    holding_periods: NDArray[np.int32]
    reason: NDArray[np.int8]
    ambiguous: NDArray[np.bool_]
    spans_gap: NDArray[np.bool_]
    timestamp: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return int(self.signal_bar.size)

    @property
    def pnl_pct(self) -> NDArray[np.float64]:
        """`net_return` in percent, float64 (T,)."""
        return 100.0 * self.net_return

    def columns(self) -> dict[str, NDArray[Any]]:
        """Every column by name, arrays of shape (T,); `pnl_pct` as well, which is `net_return` in percent."""
        columns = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "timestamp"}
        return {**columns, "pnl_pct": self.pnl_pct}

    def exit_reasons(self) -> list[ExitReason]:
        """The reason of each trade's exit."""
        return [REASON_OF_CODE[code] for code in self.reason.tolist()]

    def to_dicts(self, timestamp: NDArray[np.int64] | None = None) -> list[dict[str, Any]]:
        """One dict of plain Python values per trade, with names for side and reason.

        With `timestamp` (int64 (n,), ms UTC at bar open) each also holds entry_time and exit_time: the open time of
        the bar in which the fill falls.
        """
        columns: dict[str, list[Any]] = {name: column.tolist() for name, column in self.columns().items()}
        columns["side"] = ["LONG" if side > 0 else "SHORT" for side in columns["side"]]
        del columns["reason"]
        columns["exit_reason"] = [str(reason) for reason in self.exit_reasons()]
        if timestamp is not None:
            columns["entry_time"] = timestamp[self.entry_bar].tolist()
            columns["exit_time"] = timestamp[self.exit_bar].tolist()
        # Row by row from lists: indexing arrays for each trade would take far longer.
        names = list(columns)
        return [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def to_frame(self) -> pd.DataFrame:
        """A pandas frame with one row per trade: `to_dicts`, with entry_time and exit_time as moments in UTC."""
        import pandas as pd

        columns: dict[str, Any] = {}
        if self.timestamp is not None:
            for name, bar in (("entry_time", self.entry_bar), ("exit_time", self.exit_bar)):
                columns[name] = pd.to_datetime(self.timestamp[bar], unit="ms", utc=True)
        columns |= self.columns()
        del columns["reason"]
        columns["side"] = np.where(self.side > 0, "LONG", "SHORT")
        columns["exit_reason"] = [str(reason) for reason in self.exit_reasons()]
        return pd.DataFrame(columns)


def trades_of(when: I4, money: F8, *, at_close: bool, timestamp: NDArray[np.int64] | None = None) -> Trades:
    """Trades of a walk's columns, copied out of its buffers; `timestamp` is that of the market's bars."""
    # A buffer has room for as many trades as there were entries; a view would keep all of it in memory.
    signal_bar = when[walk_state.SIGNAL_BAR].copy()
    exit_bar = when[walk_state.EXIT_BAR].copy()
    return Trades(
        signal_bar=signal_bar,
        entry_bar=signal_bar if at_close else signal_bar + np.int32(1),
        exit_bar=exit_bar,
        side=when[walk_state.SIDE].astype(np.int8),
        entry_level=money[walk_state.ENTRY_RAW].copy(),
        entry_price=money[walk_state.ENTRY_PRICE].copy(),
        exit_level=money[walk_state.EXIT_RAW].copy(),
        exit_price=money[walk_state.EXIT_PRICE].copy(),
        size=money[walk_state.SIZE].copy(),
        pnl=money[walk_state.PNL].copy(),
        net_return=money[walk_state.NET_RETURN].copy(),
        gross_pnl=money[walk_state.GROSS].copy(),
        equity_before=money[walk_state.EQUITY_BEFORE].copy(),
        holding_periods=exit_bar - signal_bar,
        reason=when[walk_state.REASON].astype(np.int8),
        ambiguous=when[walk_state.AMBIGUOUS] != 0,
        spans_gap=when[walk_state.GAPS] > 0,
        timestamp=timestamp,
    )


@kernel
def _mark(close: F8, entry_bar: I4, exit_bar: I4, side: Any, money: F8, taker: float, equity: F8) -> None:
    """Writes equity at every close: flat, marked, and realised where a position was left."""
    n = close.size
    # The same a + b·c as in `walk`, so that the curve shows the very marks that the metrics were taken from.
    current, done = equity[0], 0
    for i in range(entry_bar.size):
        for j in range(done, entry_bar[i]):
            equity[j] = current
        size, q, before, pnl = money[0, i], money[1, i], money[2, i], money[3, i]
        a, b = before - size * (side[i] + taker), side[i] * size / q
        for j in range(entry_bar[i], exit_bar[i]):
            equity[j] = a + b * close[j]
        current = before + pnl
        done = exit_bar[i]
    for j in range(done, n):
        equity[j] = current


def equity_curve(close: F8, trades: Trades, *, initial_capital: float, fee_rate: float) -> NDArray[np.float64]:
    """Equity at the close of every bar, float64 (n,): the walk's own marks, written out (docs/engine.md, rule 8).

    A bar in which a position ends carries the realised equity, unless another begins in it.
    """
    equity = np.empty(close.size, np.float64)
    if close.size:
        equity[0] = initial_capital
        money = np.stack([trades.size, trades.entry_price, trades.equity_before, trades.pnl])
        _mark(close, trades.entry_bar, trades.exit_bar, trades.side, money, fee_rate, equity)
    return equity


@kernel
def bar_returns(equity: F8, initial_capital: float) -> F8:
    """r_j = E_j / E_{j−1} − 1 with E_{−1} the initial capital; float64 (n,), exactly 0 while flat, NaN after ruin."""
    returns = np.empty(equity.size)
    before = initial_capital
    for j in range(equity.size):
        returns[j] = equity[j] / before - 1.0 if before > 0.0 else np.nan
        before = equity[j]
    return returns
