"""How good an agent is: validation while it is trained, one walk through the test part, and its baselines.

Three baselines stand beside the agent, computed by the same engine with the same costs:

    buy and hold          the whole capital long from the first to the last bar
    always flat           nothing; a profit of 0
    random entries        the agent's own trades, same number, sides and lengths, at other times (200 draws)

Notation: r_j, h_j changes of the equity of the agent and of buy and hold in bar j of n, as shares of the initial
capital; d_j = r_j - h_j.
    excess over flat      sum of r_j,  standard error sqrt(n) std(r)        over buy and hold: the same with d_j     (1)
Standard errors take bars as independent, so they are a lower bound. The agent beats its baselines on this part when
both excesses exceed 1.645 standard errors (one-sided, 5 %) and at most 5 % of the random draws made more; else the
sentence names the baselines that it does not beat.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from safetensors.numpy import save

from lockstep.engine.baselines import buy_and_hold, random_entries
from lockstep.engine.export import EDITIONS as TABLE_EDITIONS
from lockstep.engine.export import equity_csv, trades_csv
from lockstep.engine.metrics import Metric
from lockstep.engine.renamed import EDITIONS
from lockstep.rl.greedy import WHOLE, Walk, walk
from lockstep.rl.training import AgentWatcher
from lockstep.validation.verdict import Comparison, Verdict, beats_all, listed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.engine.simulate import Simulation
    from lockstep.kinds.replay_agent.plan import ReplayAgentPlan
    from lockstep.rl.agent import Agent

ERRORS: Final = 1.645
PERCENTILE: Final = 95.0
_TEST: Final = (
    f"one-sided 5 %: an excess beats a baseline above {ERRORS} standard errors, bars taken as independent; random "
    f"entries are beaten where at most {100.0 - PERCENTILE:.0f} % of the draws made more"
)
BEST_FILE: Final = "best_agent.safetensors"


class Examination(AgentWatcher):
    """Walks through the validation part every n updates and after the last, and stores the weights of the best walk.

    With those weights it walks through the test part once, at the end.
    """

    def __init__(self, plan: ReplayAgentPlan, *, updates: int) -> None:
        self._plan = plan
        self._every, self._updates = plan.spec.validation.evaluate_every, updates
        self._best: dict[str, Any] | None = None
        self._arrays: dict[str, NDArray[Any]] = {}

    def after(self, step: int, agent: Agent) -> Mapping[str, Any]:
        """Figures of a walk through the validation part, for the journal; empty when none is due after `step`."""
        # After the last update too, or the end of a training would never be judged.
        if (step + 1) % self._every and step + 1 != self._updates:
            return {}
        evaluation = walk(agent, self._plan.environment_of(self._plan.parts.validation))
        seen = {"step": step, **_figures(evaluation.simulation)}
        # Strictly better: of equal walks the earlier stays, which has learned less from noise.
        better = self._best is None or seen["net_profit_pct"] > self._best["net_profit_pct"]
        if better:
            self._best = seen
            self._arrays = {
                name: array.copy()
                for name, array in agent.learner.arrays().items()
                if not name.startswith("optimizer.")
            }
        return {"validation": {**_figures(evaluation.simulation), "best": better}}

    def result(self, agent: Agent) -> Mapping[str, Any]:
        """Both parts with their baselines, and the verdict."""
        plan, walks = self._plan, self._walks(agent)
        parts = {name: examined(evaluation, plan, name) for name, evaluation in walks.items()}
        return {
            "data": plan.facts(),
            "agent": {**agent.describe(), "best_step": None if self._best is None else self._best["step"]},
            **parts,
            "verdict": judged(parts["test"]).to_json(),
            "editions": {**EDITIONS, **TABLE_EDITIONS},
        }

    def artifacts(self, agent: Agent) -> Mapping[str, bytes]:
        """The best weights as safetensors; trades and equity of the test part as CSV."""
        simulation = self._walks(agent)["test"].simulation
        return {
            BEST_FILE: save(self._arrays),
            "test_trades.csv": trades_csv(simulation),
            "test_equity.csv": equity_csv(simulation),
        }

    def _walks(self, agent: Agent) -> dict[str, Walk]:
        """Walks through both later parts with the best weights. The agent has its present weights again afterwards."""
        # Walks borrow the agent: `finish` and a replay of the gradients need its last weights.
        plan, present = self._plan, agent.learner.get_state()
        if self._arrays:
            agent.learner.set_weights(self._arrays)
        try:
            return {
                name: walk(agent, plan.environment_of(getattr(plan.parts, name))) for name in ("validation", "test")
            }
        finally:
            agent.learner.set_weights(present)

    def get_state(self) -> dict[str, Any]:
        """Figures and weights of the best walk so far."""
        return {"best": self._best, "arrays": self._arrays}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from a state of `get_state`."""
        self._best = None if state["best"] is None else dict(state["best"])
        self._arrays = {name: np.array(array) for name, array in state["arrays"].items()}


def _figures(simulation: Simulation) -> dict[str, Any]:
    metrics = simulation.metrics
    return {
        "net_profit_pct": metrics[Metric.NET_PROFIT_PCT],
        "sharpe_ratio": metrics[Metric.SHARPE_RATIO],
        "trades": metrics[Metric.TOTAL_TRADES],
    }


def examined(evaluation: Walk, plan: ReplayAgentPlan, part: str) -> dict[str, Any]:
    """A part in the summary: metrics, baselines, and excess over the baselines, percent."""
    simulation = evaluation.simulation
    start, stop = getattr(plan.parts, part)
    bars = plan.pinned.candles.slice(start, start + len(evaluation.sides))
    # Over the bars that the agent decided at, so that both have the same days to earn on.
    hold = buy_and_hold(bars, evaluation.market, plan.costs, WHOLE)
    # A stream for each part: the draws of the test do not depend on whether validation has trades.
    seeds = plan.seeds.child("baseline", part, "random_entries")
    luck = random_entries(evaluation.market, evaluation.entries, simulation, seeds)
    returns, held = simulation.equity, hold.equity
    return {
        "bars": stop - start,
        "metrics": {str(metric): value for metric, value in simulation.metrics.items()},
        "baselines": {
            "buy_and_hold": {str(metric): value for metric, value in hold.metrics.items()},
            "always_flat": {"net_profit_pct": 0.0, "total_trades": 0},
            "random_entries": None if luck is None else luck.to_dict(),
        },
        "excess_over_flat": _excess(_changes(returns)),
        "excess_over_hold": _excess(_changes(returns) - _changes(held)),
    }


def _changes(equity: NDArray[np.float64]) -> NDArray[np.float64]:
    """Change of equity in each bar as a share of the initial capital, float64 (n,).

    Trades have a fixed size, so changes add up; a share of the present equity would compound them.
    """
    capital = WHOLE.initial_capital
    return np.diff(equity, prepend=capital) / capital


def _excess(values: NDArray[np.float64]) -> dict[str, float | None]:
    """Equation (1), in percent. Sums are correctly rounded (`math.fsum`), so that every machine has the same."""
    items = values.tolist()
    n, total = len(items), math.fsum(items)
    mean = total / n
    variance = math.fsum((value - mean) * (value - mean) for value in items) / n
    return {"value_pct": 100.0 * total, "standard_error_pct": 100.0 * math.sqrt(n * variance) if n > 1 else None}


def judged(test: Mapping[str, Any]) -> Verdict:
    """The verdict on the test part: whether the agent beats its baselines.

    `test` is the table of the part. An agent without a trade beats nothing.
    """
    comparisons = [
        _beside("buy_and_hold", "buy and hold", test["excess_over_hold"]),
        _beside("always_flat", "staying flat", test["excess_over_flat"]),
        _beside_luck(test["baselines"]["random_entries"]),
    ]
    # All that are missed, not the first: each is a reason of its own against the agent.
    missed = [f"{item.words} ({item.reason})" for item in comparisons if not item.beats]
    if missed:
        sentence = f"On the test part it does not beat {listed(missed, 'or')}."
    else:
        sentence = (
            f"On the test part it beats {', '.join(f'{item.words} ({item.reason})' for item in comparisons)}. That is "
            "one stretch of one market: repeat it with other seeds and other years before believing it."
        )
    return Verdict.of_comparisons(comparisons, test=_TEST, sentence=sentence, decision=beats_all(not missed))


def _beside(name: str, words: str, excess: Mapping[str, float | None]) -> Comparison:
    """A comparison by equation (1): the agent beats a baseline above ERRORS standard errors."""
    value, error = excess["value_pct"], excess["standard_error_pct"]
    return Comparison(
        name=name,
        words=words,
        # An agent without trades has an error of 0 and would beat staying flat with nothing.
        beats=value is not None and error is not None and error > 0.0 and value > ERRORS * error,
        reason=f"{value:+.2f} %" + ("" if error is None else f", standard error {error:.2f} %"),
        figures={"excess_pct": value, "standard_error_pct": error},
    )


def _beside_luck(luck: Mapping[str, Any] | None) -> Comparison:
    percentile = None if luck is None else luck["net_profit_pct"]["percentile"]
    return Comparison(
        name="random_entries",
        words="random entries",
        beats=percentile is not None and percentile >= PERCENTILE,
        reason="no trade to compare" if percentile is None else f"above {percentile:.0f} % of the draws",
        figures={"percentile": percentile},
    )
