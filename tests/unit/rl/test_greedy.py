"""What an agent wants, as trades of the engine."""

from __future__ import annotations

import numpy as np
import pytest
from tests.property.cases import candles_of

from lockstep.engine.metrics import Metric
from lockstep.engine.trades import ExitReason
from lockstep.rl.greedy import simulated
from lockstep.testing.costs import FREE

PRICE = np.array([100.0, 110.0, 120.0, 130.0, 140.0, 50.0])
CANDLES = candles_of(PRICE, PRICE, PRICE, PRICE)


def test_an_agent_that_leaves_the_market_is_out_at_the_next_open() -> None:
    """Long after bar 0: in at the open of bar 1, 110. Flat after bar 2: out at the open of bar 3, 130."""
    simulation, entries, market = simulated(CANDLES, np.array([1, 1, 0, 0, 0, 0], np.int8), FREE)
    assert simulation.trades.entry_price.tolist() == [110.0]
    assert simulation.trades.exit_price.tolist() == [130.0]
    assert simulation.trades.exit_reasons() == [ExitReason.EXIT]
    assert simulation[Metric.NET_PROFIT_PCT] == pytest.approx(100 * 20 / 110)
    assert (entries.bar.tolist(), market.size) == ([0], 6)


def test_an_agent_that_turns_round_closes_and_opens_at_one_price_and_the_last_bar_decides_nothing() -> None:
    """Long from 110 to 130, short from 130 to the last close, 50; what is wanted after the last bar has no bar."""
    simulation, _, _ = simulated(CANDLES, np.array([1, 1, -1, -1, -1, 0], np.int8), FREE)
    assert simulation.trades.side.tolist() == [1, -1]
    assert simulation.trades.entry_price.tolist() == [110.0, 130.0]
    assert simulation.trades.exit_price.tolist() == [130.0, 50.0]
