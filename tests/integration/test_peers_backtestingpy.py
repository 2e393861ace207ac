"""Trade by trade against backtesting.py 0.6.6 on the same signals; every difference has a written rule."""

from __future__ import annotations

import math
import warnings
from functools import partial
from typing import Any

import numpy as np
import pytest
from tests.integration.peers import RULES, SERIES, column, compare, series, signals_for

from lockstep.engine.settings import Execution
from lockstep.engine.signals import Signals
from lockstep.engine.simulate import simulate
from lockstep.market.candles import Candles
from lockstep.testing.costs import FREE

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    backtesting = pytest.importorskip("backtesting", exc_type=ImportError)

pytestmark = pytest.mark.peers

UNITS = 10


def peer_trades(candles: Candles, signals: Signals, *, at_close: bool) -> tuple[list[dict[str, Any]], list[int]]:
    """The peer's trades by signal bar, and the bars of signals it refused."""
    n = len(candles)
    side = signals.side
    stop, target = column(signals.stop, math.nan, n), column(signals.target, math.nan, n)
    flags, trail = column(signals.exit, False, n), column(signals.trail, math.nan, n)
    limit = signals.time_limit
    refused: list[int] = []

    class Follow(backtesting.Strategy):  # type: ignore[name-defined, misc]
        def init(self) -> None: ...

        def order(self, t: int) -> None:
            s = int(side[t])
            level, goal = float(stop[t]), float(target[t])
            if not math.isnan(trail[t]):
                start = candles.close[t] - s * trail[t]
                level = start if math.isnan(level) else max(level, start) if s > 0 else min(level, start)
            given = {
                "size": UNITS,
                "sl": None if math.isnan(level) else level,
                "tp": None if math.isnan(goal) else goal,
                "tag": t,
            }
            try:
                self.buy(**given) if s > 0 else self.sell(**given)
            except ValueError:
                refused.append(t)

        def follow_trail(self, t: int) -> None:
            trade = self.trades[0]
            born = trade.tag
            if math.isnan(trail[born]) or t <= born:
                return
            s = 1 if trade.is_long else -1
            seen = slice(born + 1, t + 1)
            if s > 0:
                best = max(candles.close[born], candles.high[seen].max())
                trade.sl = max(stop[born], best - trail[born])
            else:
                best = min(candles.close[born], candles.low[seen].min())
                trade.sl = min(stop[born], best + trail[born])

        def next(self) -> None:
            t = len(self.data) - 1
            signal = int(side[t])
            if self.position:
                born = self.trades[0].tag
                held = 1 if self.position.is_long else -1
                if limit is not None and t - born >= limit:
                    self.position.close()
                    if signal:
                        self.order(t)
                elif signal == -held:
                    self.position.close()
                    self.order(t)
                elif flags[t]:
                    self.position.close()
                else:
                    self.follow_trail(t)
            elif signal:
                self.order(t)

    frame = candles.to_frame()
    frame = frame.rename(columns={name: name.capitalize() for name in ("open", "high", "low", "close", "volume")})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        backtesting.backtesting._tqdm = lambda x, **_: x
        run = backtesting.Backtest(frame, Follow, cash=1e12, commission=0, trade_on_close=at_close).run()
    table = run["_trades"]
    trades = [
        {
            "signal_bar": int(tag),
            "entry_bar": int(entry),
            "exit_bar": int(leave),
            "entry_level": float(bought),
            "exit_level": float(sold),
        }
        for tag, entry, leave, bought, sold in zip(
            table["Tag"], table["EntryBar"], table["ExitBar"], table["EntryPrice"], table["ExitPrice"], strict=True
        )
    ]
    return trades, refused


def equal(x: dict[str, Any], y: dict[str, Any]) -> bool:
    return all(x[name] == y[name] for name in ("entry_bar", "exit_bar", "entry_level", "exit_level"))


def explain(candles: Candles, signals: Signals, x: dict[str, Any] | None, y: dict[str, Any] | None) -> str | None:
    """The written rule behind a difference between our trade x and the peer's y, or None."""
    if x is None and y is not None:
        # The peer judges levels at the signal's close, we at the fill; then it leaves in the entry bar.
        t, price = y["signal_bar"], y["entry_level"]
        s = int(signals.side[t])
        stop = column(signals.stop, -s * math.inf, len(candles))[t]
        target = column(signals.target, s * math.inf, len(candles))[t]
        passed = s * (price - stop) <= 0 or s * (target - price) <= 0
        return "rule 3: refused at the fill" if passed and y["exit_bar"] == y["entry_bar"] else None
    if x is not None and y is None:
        # Orders of the last bar, and positions still open, never reach the peer's list of trades.
        last = x["exit_bar"] == len(candles) - 1
        at_last_close = x["exit_reason"] in ("END_OF_DATA", "MAX_HOLD", "SIGNAL", "EXIT")
        return "rule 4.6: end of data" if last and at_last_close else None
    if x is None or y is None:
        return None
    bars = x["entry_bar"] == y["entry_bar"] and x["exit_bar"] == y["exit_bar"]
    if bars and x["exit_reason"] == "TP" and y["exit_level"] == candles.open[x["exit_bar"]]:
        # The peer gives the open to a target that was jumped over.
        s = 1 if x["side"] == "LONG" else -1
        return "rule 4.3: gap over the target" if s * (y["exit_level"] - x["exit_level"]) > 0 else None
    return None


@pytest.mark.parametrize("at_close", [False, True], ids=["next_open", "close"])
@pytest.mark.parametrize("name", list(SERIES))
def test_every_trade_equals_backtestingpy_or_differs_by_a_written_rule(name: str, at_close: bool) -> None:
    """R3.2 and docs/engine.md, rules 1 to 6; unexplained differences: none."""
    candles = series(name)
    compared = 0
    for seed, (kind, rule) in enumerate(RULES.items()):
        # With fills at the next open the peer cannot leave at a close, nor know the trail's starting price.
        if not at_close and (rule.limit is not None or rule.trail):
            continue
        signals = signals_for(candles, rule, seed)
        result = simulate(
            candles, signals, FREE, Execution(fill="close" if at_close else "next_open", risk_per_trade=1e-9)
        )
        ours = result.trades.to_dicts()
        theirs, refused = peer_trades(candles, signals, at_close=at_close)
        assert refused == [], "levels are on the right side of the close, which is what the peer looks at"

        identical, explained, unexplained = compare(ours, theirs, equal, partial(explain, candles, signals))
        assert unexplained == [], (name, kind, explained)
        assert identical > 0.5 * len(ours)
        assert explained.get("rule 4.6: end of data", 0) <= 1
        compared += identical
    assert compared > 300


def test_the_comparison_notices_a_price_that_is_off() -> None:
    """The classifier itself: a trade moved by one bar, or by a cent, is not the same and has no rule."""
    trade = {"signal_bar": 1, "entry_bar": 2, "exit_bar": 5, "entry_level": 100.0, "exit_level": 101.0}
    for change in ({"exit_bar": 6}, {"exit_level": 101.01}, {"entry_level": 99.99}):
        identical, explained, unexplained = compare([trade], [{**trade, **change}], equal, lambda x, y: None)
        assert (identical, explained, len(unexplained)) == (0, {}, 1)
    assert np.isfinite(UNITS)
