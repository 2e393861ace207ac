"""Trade by trade against vectorbt 1.2.0 (`Portfolio.from_signals`) on the same signals, filled at the close.

vectorbt's fills at the next open look at no stop in the entry bar, so the mode that both can do is compared.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from tests.integration.peers import RULES, SERIES, compare, series, signals_for

from lockstep.engine.costs import Costs
from lockstep.engine.settings import Execution
from lockstep.engine.signals import Signals
from lockstep.engine.simulate import simulate
from lockstep.market.candles import Candles

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    vectorbt = pytest.importorskip("vectorbt", exc_type=ImportError)

pytestmark = pytest.mark.peers

COSTS = Costs(fee_rate=0, slippage_rate=0.0005)
# Sizes so small that no account is ruined: the peer goes on trading, we do not (rule 6).
CLOSE = Execution(fill="close", risk_per_trade=1e-9)


def one_order_per_bar(candles: Candles, signals: Signals) -> tuple[Signals, int]:
    """`signals` without those at the close of a bar in which a stop or target filled: the peer has one order per bar.

    Taking one out moves later trades, so this repeats until none is left. Flags in the bar of a signal go too (the
    peer calls them a conflict).
    """
    side, taken = signals.side.copy(), 0
    flags = None if signals.exit is None else signals.exit & (side == 0)
    while True:
        current = replace(signals, side=side, exit=flags)
        trades = simulate(candles, current, COSTS, CLOSE).trades
        inside = [reason in ("SL", "TP") for reason in trades.exit_reasons()]
        bars = trades.exit_bar[inside]
        bars = bars[side[bars] != 0]
        if bars.size == 0:
            return current, taken
        side = side.copy()
        side[bars[0]] = 0
        taken += 1


def peer_trades(candles: Candles, signals: Signals) -> list[dict[str, Any]]:
    long, short = signals.side > 0, signals.side < 0
    close = candles.close
    flags = np.zeros(close.size, np.bool_) if signals.exit is None else signals.exit

    def distance(levels: Any) -> Any:
        return np.nan if levels is None else np.abs(levels - close) / close

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        portfolio = vectorbt.Portfolio.from_signals(
            close,
            entries=long,
            exits=flags,
            short_entries=short,
            short_exits=flags,
            price=close,
            open=candles.open,
            high=candles.high,
            low=candles.low,
            sl_stop=distance(signals.stop),
            tp_stop=distance(signals.target),
            slippage=COSTS.slippage_rate,
            fees=0,
            size=1,
            init_cash=1e12,
            upon_opposite_entry="reverse",
            stop_exit_price="stopmarket",
            stop_entry_price="price",
            freq="1h",
        )
        records = portfolio.exit_trades.values
    return [
        {
            "signal_bar": int(row["entry_idx"]),
            "exit_bar": int(row["exit_idx"]),
            "entry_price": float(row["entry_price"]),
            "exit_price": float(row["exit_price"]),
            "closed": int(row["status"]) == 1,
        }
        for row in records
    ]


def equal(x: dict[str, Any], y: dict[str, Any]) -> bool:
    """Prices agree to 1e-9: the peer keeps levels as shares of the entry price, which rounds."""
    return (
        x["exit_bar"] == y["exit_bar"]
        and abs(x["entry_price"] / y["entry_price"] - 1) < 1e-9
        and abs(x["exit_price"] / y["exit_price"] - 1) < 1e-9
    )


def explain(candles: Candles, x: dict[str, Any] | None, y: dict[str, Any] | None) -> str | None:
    """The written rule behind a difference between our trade x and the peer's y, or None."""
    if x is None or y is None:
        if x is None and y is not None and y["signal_bar"] == len(candles) - 1:
            return "rule 1: a signal on the last bar is unfilled"
        return None
    if x["exit_reason"] == "END_OF_DATA":
        return None if y["closed"] else "rule 4.6: end of data"
    s = 1 if x["side"] == "LONG" else -1
    opened = candles.open[x["exit_bar"]] * (1 - s * COSTS.slippage_rate)
    jumped = s * (opened - x["exit_price"]) > 0
    if x["exit_reason"] == "TP" and x["exit_bar"] == y["exit_bar"] and jumped:
        return "rule 4.3: gap over the target" if abs(y["exit_price"] / opened - 1) < 1e-9 else None
    return None


@pytest.mark.parametrize("name", list(SERIES))
def test_every_trade_equals_vectorbt_or_differs_by_a_written_rule(name: str) -> None:
    """R3.2, R3.6 and docs/engine.md, rules 1 to 4 and 7; unexplained differences: none."""
    candles = series(name)
    compared = 0
    for seed, (kind, rule) in enumerate(RULES.items()):
        if rule.limit is not None or rule.trail:  # time limits need callbacks, trails are shares there
            continue
        signals, _ = one_order_per_bar(candles, signals_for(candles, rule, seed))
        ours = simulate(candles, signals, COSTS, CLOSE).trades.to_dicts()
        theirs = peer_trades(candles, signals)

        identical, explained, unexplained = compare(ours, theirs, equal, partial(explain, candles))
        assert unexplained == [], (name, kind, explained)
        assert identical > 0.5 * len(ours)
        assert explained.get("rule 4.6: end of data", 0) <= 1
        compared += identical
    assert compared > 200
