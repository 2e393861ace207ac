"""Evaluate an agent without exploration: walk it through bars, and simulate its decisions in the engine.

The agent takes its best action at each bar, from the first to the last. What it sees includes its own position, so the
bars must come one by one. `engine.simulate` then trades the sides that it chose, with the whole initial capital in each
trade as in the environment: trades, costs, equity and every metric are the engine's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lockstep.engine.costs import Costs
from lockstep.engine.entries import EntryBatch, compact
from lockstep.engine.preparation import MarketArrays, market_arrays
from lockstep.engine.settings import Execution
from lockstep.engine.signals import Signals
from lockstep.engine.simulate import Simulation, simulate_entries
from lockstep.rl.environment import SingleAssetEnvironment

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.market.candles import Candles
    from lockstep.rl.agent import Agent

WHOLE: Execution = Execution(risk_per_trade=1.0)
"""The whole initial capital in each trade, never more: the environment invests the same."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Walk:
    """Record of an evaluation. The engine's bars begin with the first decision bar.

    actions          int64 (n,), at each decision bar
    sides            int8 (n + 1,), side chosen at each bar; 0 at the last, which decides nothing
    equity           the environment's at the end, a fraction of the initial capital; an open position counts
    simulation       the engine's result for the same sides; it closes an open position at the last bar
    entries, market  inputs of `simulation`, for baselines
    """

    actions: NDArray[np.int64]
    sides: NDArray[np.int8]
    equity: float
    simulation: Simulation
    entries: EntryBatch
    market: MarketArrays


@dataclass(frozen=True, kw_only=True, eq=False)
class Decisions:
    """The decisions of an agent that acts through bars, from bar `first` on.

    actions  int64 (n,), at each decision bar
    sides    int8 (n,), side held from each of these bars' close on
    last     the action at the bar after them, which has no next open; None where the capital was lost before
    """

    first: int
    actions: NDArray[np.int64]
    sides: NDArray[np.int8]
    last: int | None


def decide(agent: Agent, environment: SingleAssetEnvironment) -> Decisions:
    """Act greedily through all bars of an environment whose `episode_bars` is None."""
    seen, actions, sides = environment.reset(), [], []
    first, lost = environment.bar, False
    while environment.running:
        action = int(agent.act(seen[np.newaxis])[0])
        result = environment.step(action)
        seen, lost = result.observation, result.terminated
        actions.append(action)
        sides.append(environment.side)
    return Decisions(
        first=first,
        actions=np.array(actions, np.int64),
        sides=np.array(sides, np.int8),
        last=None if lost else int(agent.act(seen[np.newaxis])[0]),
    )


def walk(agent: Agent, environment: SingleAssetEnvironment) -> Walk:
    """Act greedily through all bars of an environment whose `episode_bars` is None, and simulate it."""
    decisions = decide(agent, environment)
    first = decisions.first
    bars = environment.candles.slice(first, first + len(decisions.actions) + 1)
    targets = np.array([*decisions.sides, 0], np.int8)
    simulation, entries, market = simulated(bars, targets, environment.costs)
    return Walk(
        actions=decisions.actions,
        sides=targets,
        equity=environment.equity,
        simulation=simulation,
        entries=entries,
        market=market,
    )


def simulated(bars: Candles, sides: NDArray[np.int8], costs: Costs) -> tuple[Simulation, EntryBatch, MarketArrays]:
    """Simulate in the engine a trader who holds `sides` (n,) from each bar's close on.

    A change of side is a signal, a change to 0 an exit flag; the last bar decides nothing.
    """
    held = sides.copy()
    held[-1] = sides[-2] if len(sides) > 1 else 0  # a signal there would need an open that the data lack
    entries, market = compact(signals_of(held)), market_arrays(bars)
    return simulate_entries(bars, market, entries, costs, WHOLE), entries, market


def signals_of(sides: NDArray[np.int8]) -> Signals:
    """The signals of a trader who holds `sides` (n,) from each bar's close on: a change is a signal, to 0 an exit."""
    change = sides != np.concatenate((np.zeros(1, np.int8), sides[:-1]))
    return Signals(side=np.where(change, sides, 0).astype(np.int8), exit=change & (sides == 0))
