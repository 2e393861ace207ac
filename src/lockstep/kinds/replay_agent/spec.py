"""The spec of `kind = "replay-agent"`: an agent that trades one market and learns from a replay buffer.

Defaults are those of the literature where there are any: the network, batch and target settings of double DQN and
discrete soft actor-critic as Stable-Baselines3 and CleanRL have them, the buffer's of Schaul et al. 2016.
"""

from __future__ import annotations

from typing import Any, Final, Literal, Self

from pydantic import Field, model_validator

from lockstep.kinds.shared.agent_spec import BufferTable
from lockstep.kinds.shared.gradient_spec import Device, OptimizerTable, RecordingTable
from lockstep.kinds.shared.market_spec import FRACTION, CostsTable, DataTable, MarketTable
from lockstep.kinds.shared.retraining import SessionTable
from lockstep.runs.spec import NOT_IDENTITY, RunSpec, SpecModel

_DEFAULTS: Final[dict[str, dict[str, Any]]] = {
    "double_dqn": {
        "tau": 1.0,
        "target_every": 500,
        "epsilon_start": 1.0,
        "epsilon_end": 0.05,
        "epsilon_share": 0.1,
    },
    "actor_critic": {
        "tau": 0.005,
        "target_every": 1,
        "temperature": 1.0,
        "learn_temperature": True,
        "target_entropy": 0.89,
    },
}


ALGORITHM_KEYS: Final = frozenset(name for defaults in _DEFAULTS.values() for name in defaults)
"""Keys of [agent] whose defaults are an algorithm's."""


class EnvironmentTable(SpecModel):
    """`[environment]`: what the agent sees and does, and when the outcome is known (`rl.environment`)."""

    lookback: int = Field(default=16, ge=2)
    """Bars in an observation."""
    episode_bars: int = Field(default=250, ge=1)
    """Bars of an episode, which begins at a random bar of the training part."""
    allow_short: bool = True
    """Whether SELL goes short; else it only closes a long trade."""
    horizon_bars: int = Field(default=12, ge=1)
    """Bars after which the outcome of an action is known: its profit and the best action."""
    target_profit: float = Field(default=0.01, gt=0.0, json_schema_extra=FRACTION)
    """Profit that scores 1."""


class AgentTable(SpecModel):
    """`[agent]`: which agent learns. The default of a key that is None depends on the algorithm."""

    algorithm: Literal["double_dqn", "actor_critic"] = "double_dqn"
    """"double_dqn": van Hasselt et al. 2016; "actor_critic": discrete soft actor-critic, Christodoulou 2019."""
    hidden: tuple[int, ...] = Field(default=(64, 64), min_length=1)
    """Units of each hidden layer."""
    gamma: float = Field(default=0.99, ge=0.0, lt=1.0)
    """Discount of a reward one bar later."""
    reward_scale: float | None = Field(default=None, gt=0.0)
    """Factor of rewards and account features; left out, 1 / standard deviation of the training part's bar returns."""
    tau: float | None = Field(default=None, gt=0.0, le=1.0)
    """Share by which target networks follow: 1 for double_dqn, 0.005 for actor_critic."""
    target_every: int | None = Field(default=None, ge=1)
    """Updates between two moves of the target networks: 500 for double_dqn, 1 for actor_critic."""
    epsilon_start: float | None = Field(default=None, ge=0.0, le=1.0)
    """Chance of a random action at the beginning; double_dqn, 1."""
    epsilon_end: float | None = Field(default=None, ge=0.0, le=1.0)
    """Chance of a random action at the end; double_dqn, 0.05."""
    epsilon_share: float | None = Field(default=None, gt=0.0, le=1.0)
    """Share of the updates over which that chance falls; double_dqn, 0.1."""
    temperature: float | None = Field(default=None, gt=0.0)
    """Weight of the entropy at the beginning; actor_critic, 1."""
    learn_temperature: bool | None = None
    """Whether that weight is learned; actor_critic, true."""
    target_entropy: float | None = Field(default=None, gt=0.0, lt=1.0)
    """Entropy at which the learned weight aims, as a share of the highest entropy; actor_critic, 0.89."""

    @model_validator(mode="after")
    def _own_keys(self) -> Self:
        own = _DEFAULTS[self.algorithm]
        for other, defaults in _DEFAULTS.items():
            # A key of the other algorithm would have no effect, and a reader would believe that it has.
            foreign = [name for name in defaults if name not in own and getattr(self, name) is not None]
            if foreign:
                raise ValueError(f'{foreign[0]} belongs to algorithm = "{other}"; found algorithm = "{self.algorithm}"')
        start, end = (getattr(self.resolved(), name, None) for name in ("epsilon_start", "epsilon_end"))
        if start is not None and end is not None and end > start:
            raise ValueError(f"epsilon falls: epsilon_end is at most epsilon_start; found {end} and {start}")
        return self

    def resolved(self) -> Self:
        """The table with the algorithm's defaults filled in, as the run stores it."""
        missing = {name: value for name, value in _DEFAULTS[self.algorithm].items() if getattr(self, name) is None}
        return self.model_copy(update=missing)


class AgentTrainingTable(OptimizerTable):
    """`[training]`: the updates, the environment steps between them, and the optimiser."""

    updates: int = Field(default=10_000, ge=1)
    batch_size: int = Field(default=64, ge=1)
    steps_per_update: int = Field(default=4, ge=1)
    """Environment steps before each update."""
    learning_starts: int = Field(default=1_000, ge=1)
    """Environment steps before the first update."""
    learning_rate: float = Field(default=0.0003, gt=0.0)
    clip_norm: float | None = Field(default=10.0, gt=0.0)
    """L2 norm of the whole gradient above which it is scaled down."""


class AgentValidationTable(SpecModel):
    """`[validation]`: the parts of the market in time, training, validation, test, and when the agent is evaluated."""

    validation_share: float = Field(default=0.2, gt=0.0, lt=1.0, json_schema_extra=FRACTION)
    """Share of the bars on which the best weights are chosen."""
    test_share: float = Field(default=0.2, gt=0.0, lt=1.0, json_schema_extra=FRACTION)
    """Share of the bars, the last ones, on which the chosen agent acts once."""
    purge_bars: int | None = Field(default=None, ge=0)
    """Bars left out between two parts; default and minimum: the longer of horizon and lookback."""
    evaluate_every: int = Field(default=500, ge=1)
    """Updates between two walks through the validation part."""

    @model_validator(mode="after")
    def _leave_something(self) -> Self:
        # Each share is below 1 by its own rule; only their sum can leave nothing.
        if self.validation_share + self.test_share >= 1.0:
            raise ValueError(
                f"validation_share and test_share leave something to train on; found {self.validation_share} and "
                f"{self.test_share}"
            )
        return self


class ReplayAgentSpec(RunSpec):
    """An agent that trades one market, trained from a replay buffer."""

    kind: Literal["replay-agent"] = "replay-agent"
    device: Device = "cpu"
    market: MarketTable = MarketTable()
    data: DataTable = Field(default=DataTable(), json_schema_extra=NOT_IDENTITY)
    costs: CostsTable = CostsTable()
    environment: EnvironmentTable = EnvironmentTable()
    agent: AgentTable = AgentTable()
    buffer: BufferTable = BufferTable()
    training: AgentTrainingTable = AgentTrainingTable()
    validation: AgentValidationTable = AgentValidationTable()
    recording: RecordingTable = RecordingTable()
    session: SessionTable = SessionTable()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        first = self.training.learning_starts
        if first <= self.environment.horizon_bars:
            raise ValueError(
                f"training.learning_starts is more than environment.horizon_bars, since no outcome is known before; "
                f"found {first} and {self.environment.horizon_bars}"
            )
        # A full buffer drops its oldest: the first update is to draw from all experiences before it.
        if self.buffer.capacity < first + self.training.steps_per_update:
            raise ValueError(
                "buffer.capacity holds all experiences before the first update; found "
                f"{self.buffer.capacity} for learning_starts = {first}"
            )
        least = max(self.environment.horizon_bars, self.environment.lookback)
        if self.validation.purge_bars is not None and self.validation.purge_bars < least:
            raise ValueError(
                f"validation.purge_bars is at least the longer of horizon_bars and lookback, {least}, so that no part "
                f"sees another's bars; found {self.validation.purge_bars}"
            )
        # An agent that is filled at the close it decides on would trade at a price that it has seen.
        if self.costs.fill != "next_open":
            raise ValueError('the environment fills at the next open: costs.fill = "close" is not offered here')
        return self

    @property
    def purge_bars(self) -> int:
        """Bars left out between two parts, the default filled in."""
        least = max(self.environment.horizon_bars, self.environment.lookback)
        return least if self.validation.purge_bars is None else self.validation.purge_bars
