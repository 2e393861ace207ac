"""The model of `kind = "replay-agent"`: the agent that the run tested, acting through any candles."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from lockstep.core.errors import DataError, InputError, IntegrityError
from lockstep.kinds.replay_agent.result import BEST_FILE
from lockstep.kinds.shared.models import AgentDecisions, CandleModel, stored
from lockstep.learning.gradients import determinism
from lockstep.rl.greedy import WHOLE, decide, signals_of
from lockstep.runs.numerics import pinned_threads

if TYPE_CHECKING:
    from lockstep.engine.costs import Costs
    from lockstep.engine.settings import Execution
    from lockstep.engine.signals import Signals
    from lockstep.kinds.replay_agent.plan import ReplayAgentPlan
    from lockstep.market.candles import Candles
    from lockstep.runs.folder import RunFolder


class ReplayAgentModel(CandleModel):
    """The agent with its best weights; it always takes the action that it values most.

    It sees its own position and account, which follow from its decisions and the costs of the run, beginning without a
    position at the first bar after the lookback.

    costs       of the run: with them and `execution` the engine's trades are those of the run
    execution   the whole initial capital in each trade, as the agent's own account has it
    lookback    bars before its first decision
    """

    kind: ClassVar[str] = "replay-agent"

    def __init__(self, plan: ReplayAgentPlan, folder: RunFolder) -> None:
        super().__init__(folder)
        self.candles = plan.pinned.candles
        self.costs: Costs = plan.costs
        self.execution: Execution = WHOLE
        self.lookback = plan.spec.environment.lookback
        times = self.candles.timestamp
        self.learned = int(times[plan.parts.training[0]]), int(times[plan.parts.validation[1] - 1])
        self._plan = plan
        self._agent = plan.agent()
        try:
            arrays = load(stored(folder, BEST_FILE))
            # A run that `max_bytes` ended before its first evaluation tested the weights that it had.
            if arrays:
                self._agent.learner.set_weights(arrays)
        except (SafetensorError, KeyError) as error:
            raise IntegrityError(f"{folder.artifacts / BEST_FILE}: no weights of this agent ({error}).") from error

    def part(self, name: str) -> Candles:
        """The run's candles of "validation" or "test", with the lookback before them, as the agent was judged on."""
        if name not in ("validation", "test"):
            raise InputError(f'a part is "validation" or "test"; found {name!r}')
        return self._plan.environment_of(getattr(self._plan.parts, name)).candles

    def predict(self, candles: Candles) -> AgentDecisions:
        """The action at the close of each bar from `lookback` on, the last bar included, and the side held from then.

        It ends where the agent's capital is lost. On `part("test")` it is what the run was judged by, on its numerics.
        Raises DataError for candles of another bar length, or too few of them.
        """
        self.require_own_bars(candles)
        if len(candles) < self.lookback + 2:
            raise DataError(
                f"the agent looks back {self.lookback} bars and acts at the next open: give {self.lookback + 2} "
                f"candles or more; found {len(candles)}."
            )
        with determinism.settled(), pinned_threads():
            decisions = decide(self._agent, self._plan.environment_over(candles))
        actions, sides = decisions.actions.tolist(), decisions.sides.tolist()
        if decisions.last is not None:
            actions.append(decisions.last)
            sides.append(self._plan.environment_over(candles).side_after(sides[-1], decisions.last))
        bars = decisions.first + np.arange(len(actions), dtype=np.int64)
        return AgentDecisions(
            actions=np.array(actions, np.int64),
            sides=np.array(sides, np.int8),
            bars=bars,
            timestamp=candles.timestamp[bars],
        )

    def signals(self, candles: Candles) -> Signals:
        """Each change of the agent's side as a signal, a change to no position as an exit.

        `ls.simulate(candles, model.signals(candles), model.costs, model.execution)` trades what the agent did.
        """
        decisions = self.predict(candles)
        sides = np.zeros(len(candles), np.int8)
        if decisions.bars is not None and decisions.sides is not None:
            sides[decisions.bars] = decisions.sides
        return signals_of(sides)
