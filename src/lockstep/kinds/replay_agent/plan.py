"""Everything an agent's training needs, resolved: the same from a spec (prepare) and from a run's folder (restore).

The market is cut in time, with `purge` bars left out between two parts:

    | training ............ | purge | validation ..... | purge | test ..... |

An agent acts on every bar of its part. It sees `lookback` bars back, into the purged bars, never into the part before.
Outcomes and scales of the training part come from prices of the training part alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lockstep.core.errors import DataError
from lockstep.engine.costs import Costs
from lockstep.kinds.replay_agent.spec import ReplayAgentSpec
from lockstep.kinds.shared.market_data import Pinned
from lockstep.market.candles import Candles
from lockstep.market.checks import format_time
from lockstep.market.splits import cuts_from_end, purged
from lockstep.rl.actor_critic import ActorCritic, ActorCriticSettings
from lockstep.rl.agents import AGENTS
from lockstep.rl.double_dqn import DoubleDQN, DoubleDQNSettings
from lockstep.rl.environment import SingleAssetEnvironment
from lockstep.rl.hindsight import Hindsight, outcome_rules
from lockstep.rl.networks import NetworkShape
from lockstep.rl.prioritized import PrioritizedExperienceBuffer
from lockstep.rl.replay_buffer import ProfitWeightedExperienceBuffer, ReplayRules
from lockstep.rl.rollout import Rollout
from lockstep.rl.training import Replay
from lockstep.runs.seeds import SeedTree

if TYPE_CHECKING:
    from torch import nn

    from lockstep.learning.gradients.optim_state import OptimizerSettings
    from lockstep.rl.learning_agent import AgentSettings, LearningAgent
    from lockstep.rl.training import Buffer


@dataclass(frozen=True, kw_only=True)
class MarketParts:
    """Rows [start, stop) of each part of the candles."""

    training: tuple[int, int]
    validation: tuple[int, int]
    test: tuple[int, int]

    @classmethod
    def of(cls, bars: int, spec: ReplayAgentSpec) -> MarketParts:
        """The parts of `bars` bars. Raises DataError when one is too short."""
        purge, table, lookback = spec.purge_bars, spec.validation, spec.environment.lookback
        test, validation = math.floor(bars * table.test_share), math.floor(bars * table.validation_share)
        rows = np.arange(bars, dtype=np.int64)
        # Outcomes end with their part, so a label needs no purge; only the lookback reaches into the part before.
        parts = purged(
            rows, rows, cuts_from_end(bars, (validation + purge, test)), reach=lookback, embargo=purge - lookback
        )
        # One bar more than seen and lived: an action is filled at the next open.
        least = lookback + 1 + spec.environment.episode_bars
        if len(parts[0]) < least or validation < 2 or test < 2:
            raise DataError(
                f"the parts are too short: {len(parts[0])} bars to train on (an episode of "
                f"{spec.environment.episode_bars} after a lookback of {lookback} needs {least}), {validation} to "
                f"validate, {test} to test, {purge} between them; found {bars} bars in all. Load more, or shorten "
                "environment.episode_bars."
            )
        first, second, third = ((int(part[0]), int(part[-1]) + 1) for part in parts)
        return cls(training=first, validation=second, test=third)


@dataclass(frozen=True, kw_only=True, eq=False)
class ReplayAgentPlan:
    """The payload of a prepared run.

    scale   factor of rewards and account features, from the training part
    """

    spec: ReplayAgentSpec
    pinned: Pinned
    parts: MarketParts
    costs: Costs
    scale: float

    @classmethod
    def of(cls, spec: ReplayAgentSpec, pinned: Pinned) -> ReplayAgentPlan:
        """Check that spec and candles fit together. Raises DataError, InputError."""
        parts = MarketParts.of(len(pinned.candles), spec)
        # The scale is a quantity that is learned from data, so later parts must not enter it.
        training = pinned.candles.slice(*parts.training)
        return cls(
            spec=spec,
            pinned=pinned,
            parts=parts,
            costs=spec.costs.settings(spec.market.symbol or pinned.candles.symbol),
            scale=spec.agent.reward_scale if spec.agent.reward_scale is not None else return_scale(training),
        )

    @property
    def seeds(self) -> SeedTree:
        """The root of the run's random streams."""
        return SeedTree(self.spec.seed)

    def training_candles(self) -> Candles:
        """The candles of the training part."""
        return self.pinned.candles.slice(*self.parts.training)

    def training_environment(self) -> SingleAssetEnvironment:
        """The environment of episodes in the training part."""
        return self._environment(self.training_candles(), self.spec.environment.episode_bars)

    def environment_of(self, part: tuple[int, int]) -> SingleAssetEnvironment:
        """The environment of one episode over all bars of a part; its first bar is the first decision bar."""
        start, stop = part
        # The first observation looks back into the purged bars, which belong to no part.
        return self.environment_over(self.pinned.candles.slice(start - self.spec.environment.lookback, stop))

    def environment_over(self, candles: Candles) -> SingleAssetEnvironment:
        """The environment of one episode over candles; the bar after the lookback is the first decision bar."""
        return self._environment(candles, None)

    def _environment(self, candles: Candles, episode_bars: int | None) -> SingleAssetEnvironment:
        table = self.spec.environment
        return SingleAssetEnvironment(
            candles,
            lookback=table.lookback,
            costs=self.costs,
            allow_short=table.allow_short,
            episode_bars=episode_bars,
            account_scale=self.scale,
            seed=self.seeds,
        )

    def rollout(self) -> Rollout:
        """The source of experiences: the agent acts in the training part, and outcomes follow after the horizon."""
        table, candles = self.spec.environment, self.training_candles()
        rules = outcome_rules(candles, self.costs, horizon_bars=table.horizon_bars, target_profit=table.target_profit)
        return Rollout(
            self.training_environment(),
            Hindsight(candles, rules),
            horizon_bars=table.horizon_bars,
            steps_per_update=self.spec.training.steps_per_update,
            learning_starts=self.spec.training.learning_starts,
            seeds=self.seeds,
        )

    def buffer(self) -> Buffer:
        """An empty replay buffer of the mode that the spec names."""
        table, shape = self.spec.buffer, self._state_shape
        # A class of its own: td errors change with each update, outcomes only once.
        if table.mode == "prioritized":
            return PrioritizedExperienceBuffer(
                table.capacity, state_shape=shape, seed=self.seeds, alpha=table.alpha, beta=table.beta
            )
        rules = ReplayRules(
            profitable_share=table.profitable_share,
            floor=table.floor,
            exponent=table.exponent,
            count_penalty=table.count_penalty,
        )
        return ProfitWeightedExperienceBuffer(table.capacity, state_shape=shape, seed=self.seeds, rules=rules)

    @property
    def _state_shape(self) -> tuple[int]:
        return self.training_environment().observation_shape

    def replay(self) -> Replay:
        """Number, batch size and mode of the updates from the buffer."""
        table = self.spec.training
        return Replay(updates=table.updates, batch_size=table.batch_size, mode=self.spec.buffer.mode)

    def shape(self) -> NetworkShape:
        """Inputs, hidden layers and actions of each network."""
        return NetworkShape(
            inputs=self._state_shape[0],
            actions=len(SingleAssetEnvironment.actions),
            hidden=self.spec.agent.hidden,
        )

    def settings(self) -> AgentSettings:
        """Settings of the agent, in the class of its algorithm."""
        table = self.spec.agent
        # `AgentTable.resolved` has filled in whatever the algorithm has a default for.
        names = ["gamma", "tau", "target_every"]
        if table.algorithm == "double_dqn":
            names += ["epsilon_start", "epsilon_end"]
        else:
            names += ["temperature"]
        settings: dict[str, Any] = {name: getattr(table, name) for name in names}
        # Rewards of size one, whatever the market: learning rates and clipping then mean the same everywhere.
        settings |= {"reward_scale": self.scale, "clip_norm": self.spec.training.clip_norm}
        if table.algorithm == "double_dqn":
            # In updates and not in environment steps: of these there are some before the first update.
            fall = math.floor(self.spec.training.updates * (table.epsilon_share or 1.0))
            return DoubleDQNSettings(**settings, epsilon_updates=max(1, fall))
        # Without a target the temperature stays as it is (`ActorCriticSettings`).
        entropy = table.target_entropy if table.learn_temperature else None
        return ActorCriticSettings(**settings, target_entropy=entropy)

    def optimizer(self) -> OptimizerSettings:
        """Settings of the optimiser, from [training]."""
        return self.spec.training.settings()

    def agent(self) -> LearningAgent:
        """The agent before its first update."""
        algorithm, _ = AGENTS[self.spec.agent.algorithm]
        agent: LearningAgent = algorithm(
            self.shape(),
            self.settings(),
            self.optimizer(),
            seeds=self.seeds,
            device=self.spec.device,
            importance_weights=self.spec.buffer.mode == "prioritized",
        )
        return agent

    def module(self) -> nn.Module:
        """The agent's networks alone, for estimates on the meta device."""
        settings = self.settings()
        # Its temperature may be one more parameter, which the settings decide.
        if isinstance(settings, ActorCriticSettings):
            return ActorCritic.build(self.shape(), settings)
        return DoubleDQN.build(self.shape())

    def facts(self) -> Mapping[str, Any]:
        """The market and its parts, for a summary."""
        candles = self.pinned.candles
        return {
            "symbol": candles.symbol,
            "exchange": candles.exchange,
            "timeframe": candles.timeframe,
            "bars": len(candles),
            "start": format_time(int(candles.timestamp[0])),
            "end": format_time(int(candles.timestamp[-1])),
            "purge_bars": self.spec.purge_bars,
            "scale": self.scale,
            "parts": {
                name: {
                    "bars": stop - start,
                    "start": format_time(int(candles.timestamp[start])),
                    "end": format_time(int(candles.timestamp[stop - 1])),
                }
                for name, (start, stop) in vars(self.parts).items()
            },
        }


def return_scale(candles: Candles) -> float:
    """1 / standard deviation of the bar returns; 1 when they are constant.

    Sums are correctly rounded (`math.fsum`), so that every machine has the same.
    """
    returns = (candles.close[1:] / candles.close[:-1] - 1.0).tolist()
    mean = math.fsum(returns) / len(returns)
    deviation = math.sqrt(math.fsum((value - mean) * (value - mean) for value in returns) / len(returns))
    return 1.0 / deviation if deviation > 0.0 else 1.0
