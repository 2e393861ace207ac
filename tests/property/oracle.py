"""A second simulator, written from docs/engine.md alone: bar by bar, cash and units, no code of the engine.

It is slow and plain on purpose. Prices, rules and numbers in comments refer to docs/engine.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Position:
    signal_bar: int
    side: int
    entry_level: float
    entry_price: float
    stop: float | None
    target: float | None
    limit: int | None
    trail: float | None
    size: float
    units: float
    best: float
    equity_before: float


@dataclass
class Account:
    """What a simulation leaves behind."""

    cash: float
    trades: list[dict[str, Any]] = field(default_factory=list)
    equity: list[float] = field(default_factory=list)
    refused: int = 0
    unfilled: int = 0
    ruined: bool = False
    lived: int = 0


def simulate(bars: dict[str, list[float]], signals: dict[str, Any], rules: dict[str, Any]) -> Account:
    """bars: open, high, low, close; signals: side and optional stop, target, limit, trail, exit; rules: see below."""
    opens, highs, lows, closes = bars["open"], bars["high"], bars["low"], bars["close"]
    n = len(closes)
    fee, slip, half = rules["fee"], rules["slip"], rules["spread"] / 2
    maker = rules.get("maker", fee)
    at_close = rules["fill"] == "close"
    account = Account(cash=rules["capital"])
    position: Position | None = None
    waiting_exit: str | None = None
    waiting_entry: int | None = None  # signal bar

    def buy(price: float) -> float:
        return price * (1 + slip) + half

    def sell(price: float) -> float:
        return price * (1 - slip) - half

    def value(price: float) -> float:
        """Rule 8: cash plus position is equity."""
        return account.cash + (position.units * price if position is not None else 0.0)

    def enter(t: int, price: float) -> None:
        nonlocal position
        s = signals["side"][t]
        stop = None if signals.get("stop") is None else signals["stop"][t]
        target = None if signals.get("target") is None else signals["target"][t]
        trail = None if signals.get("trail") is None else signals["trail"][t]
        limit = None if signals.get("limit") is None else signals["limit"][t]
        # Rule 3
        if stop is not None and s * (price - stop) <= 0:
            account.refused += 1
            return
        if target is not None and s * (target - price) <= 0:
            account.refused += 1
            return
        # Rule 6
        candidates = [level for level in (stop, None if trail is None else price - s * trail) if level is not None]
        distance = 0.02
        if candidates:
            tightest = max(candidates) if s > 0 else min(candidates)
            distance = abs(price - tightest) / price
        capital = account.cash if rules["compounding"] else rules["capital"]
        size = min(capital * rules["risk"] / distance, capital)
        q = buy(price) if s > 0 else sell(price)
        position = Position(
            signal_bar=t, side=s, entry_level=price, entry_price=q, stop=stop, target=target, limit=limit, trail=trail,
            size=size, units=s * size / q, best=price, equity_before=account.cash,
        )  # fmt: skip
        account.cash -= s * size + fee * size

    def leave(j: int, price: float, reason: str, *, ambiguous: bool = False, opened: bool = False) -> None:
        nonlocal position
        if position is None:
            raise AssertionError("nothing to leave")
        s, q = position.side, position.entry_price
        out = sell(price) if s > 0 else buy(price)
        fee_out = maker if reason == "TP" else fee
        account.cash += position.units * out - fee_out * position.size
        account.lived += j - position.signal_bar - (1 if opened else 0)
        pct = s * (out - q) / q - fee - fee_out
        account.trades.append(
            {
                "signal_bar": position.signal_bar,
                "entry_bar": position.signal_bar if at_close else position.signal_bar + 1,
                "exit_bar": j,
                "side": s,
                "reason": reason,
                "entry_level": position.entry_level,
                "entry_price": q,
                "exit_level": price,
                "exit_price": out,
                "size": position.size,
                "net_return": pct,
                "pnl": position.size * pct,
                "gross_pnl": position.size * s * (price - position.entry_level) / position.entry_level,
                "equity_before": position.equity_before,
                "ambiguous": ambiguous,
            }
        )
        position = None
        if account.cash <= 0:
            account.ruined = True

    for j in range(n):
        # Rule 4, step 1, and entries decided at the close before
        if position is not None and waiting_exit is not None:
            leave(j, opens[j], waiting_exit, opened=True)
        waiting_exit = None
        if waiting_entry is not None and position is None and not account.ruined:
            enter(waiting_entry, opens[j])
        waiting_entry = None

        # Steps 2 to 4
        if position is not None and j > position.signal_bar:
            s = position.side
            levels = [] if position.stop is None else [position.stop]
            if position.trail is not None:
                levels.append(position.best - s * position.trail)
            level = None if not levels else (max(levels) if s > 0 else min(levels))
            adverse, favourable = (lows[j], highs[j]) if s > 0 else (highs[j], lows[j])
            stopped = level is not None and s * (adverse - level) <= 0
            reached = position.target is not None and s * (favourable - position.target) >= 0
            if stopped:
                beyond = s * (opens[j] - level) <= 0
                price = opens[j] if beyond else level
                reason = "SL" if level == position.stop else "TRAIL"
                leave(j, price, reason, ambiguous=reached and not beyond)
            elif reached:
                leave(j, position.target, "TP")
            elif position.limit is not None and j == position.signal_bar + position.limit:
                leave(j, closes[j], "MAX_HOLD")
            else:
                position.best = max(position.best, highs[j]) if s > 0 else min(position.best, lows[j])

        # Step 5, and what the close of bar j decides
        signal = signals["side"][j]
        flag = signals.get("exit") is not None and signals["exit"][j]
        if position is not None and j > position.signal_bar:
            opposite = signal == -position.side
            if opposite or flag:
                reason = "SIGNAL" if opposite else "EXIT"
                if at_close:
                    leave(j, closes[j], reason)
                elif j < n - 1:
                    waiting_exit = reason
            if not opposite:
                signal = 0  # of the own side: ignored, or used up by the exit flag
        # Step 6
        if position is not None and j == n - 1:
            leave(j, closes[j], "END_OF_DATA")
        # Rules 1 and 2
        if signal != 0 and not account.ruined:
            if j == n - 1:
                account.unfilled += 1
            elif at_close:
                if position is None:
                    enter(j, closes[j])
            else:
                waiting_entry = j
        equity = value(closes[j])
        if equity <= 0:
            account.ruined = True
        account.equity.append(equity)
    return account
