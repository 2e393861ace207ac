"""The spec of `kind = "strategy"`: a parameter search over one market. Every key, its unit and its rule.

`[data]` and the name of a run are not in the fingerprint; the digest of the candles is. Keys of `[market]` are in it,
because a run is a statement about that market.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeAlias

from pydantic import Field, field_validator, model_validator

from lockstep.core.space import Space
from lockstep.engine.costs import Costs
from lockstep.engine.settings import Execution
from lockstep.kinds.shared.market_spec import FRACTION, CostsTable, DataTable, MarketTable
from lockstep.runs.spec import NOT_IDENTITY, RunSpec, SpecModel
from lockstep.search.objective import Judge
from lockstep.search.proposers import ALIASES, PROPOSERS

if TYPE_CHECKING:
    Optimizer: TypeAlias = str
else:
    # The names of the table: pydantic refuses others and lists these.
    Optimizer = Literal[tuple(PROPOSERS)]

DEFAULT_BATCH: Final = 1024


class StrategyTable(SpecModel):
    """`[strategy]`: the strategy, its fixed parameters, and those that are searched."""

    name: str = Field(min_length=1)
    """A built-in name in any letter case, or "file.py:Class", relative to the spec file."""
    parameters: dict[str, bool | int | float | str] = Field(default_factory=dict)
    """Fixed values; parameters that are neither here nor in the space keep the strategy's defaults."""
    space: dict[str, Any] | None = None
    """The parameters that are searched, in the notation of `core.space`; default: the strategy's own space."""

    @field_validator("space")
    @classmethod
    def _parses(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        # In one form and ordered by name: two ways to write one space have one fingerprint, and canonical JSON, which
        # sorts keys, cannot change which parameter a column of the search belongs to.
        return None if value is None else Space.parse({name: value[name] for name in sorted(value)}).to_spec()

    @model_validator(mode="after")
    def _once(self) -> Self:
        # Which of the two was meant cannot be known.
        twice = sorted(set(self.parameters) & set(self.space or {}))
        if twice:
            raise ValueError(
                f"{twice[0]} is both fixed ([strategy.parameters]) and searched ([strategy.space]): keep one of them"
            )
        return self


class ExecutionTable(SpecModel):
    """`[execution]`: how much money is put at risk (`engine.settings.Execution`)."""

    initial_capital: float = Field(default=10_000.0, gt=0.0)
    risk_per_trade: float = Field(default=0.02, gt=0.0, le=1.0, json_schema_extra=FRACTION)
    position_size_pct: float = Field(default=1.0, gt=0.0)
    compounding: bool = False
    max_holding: int | None = Field(default=None, ge=1)
    allow_far_stops: bool = False
    """Whether a stop or target under 5 % of the bar's close is a price; by default it is refused as a distance."""


class SearchTable(SpecModel):
    """`[search]`: which sets are evaluated, and which of them may win."""

    optimizer: Optimizer = "random"
    """The name of a proposer (`search.proposers`)."""
    n_iterations: int = Field(default=200, ge=1, le=2**30)
    """Draws of a random or Sobol search; a grid tries all its combinations."""
    objective: str = "sharpe_ratio"
    """A metric, or "file.py:function" of a trial's metrics, relative to the spec file."""
    direction: Literal["maximize", "minimize"] = "maximize"
    constraints: tuple[str, ...] = ()
    """Bounds on the metrics of a valid trial, such as "max_drawdown_pct >= -20"."""
    min_trades: int = Field(default=10, ge=0)
    batch_size: int = Field(default=DEFAULT_BATCH, ge=1, le=1 << 20)
    """Trials in a step of the run. In the fingerprint, since it decides which trials a journal line has."""

    @field_validator("optimizer", mode="before")
    @classmethod
    def _one_name(cls, value: Any) -> Any:
        # One name in the resolved spec, so that both names of a proposer have one fingerprint.
        return ALIASES.get(value, value) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _judge_reads(self) -> Self:
        Judge.make(
            "sharpe_ratio" if ".py:" in self.objective else self.objective,
            direction=self.direction,
            constraints=self.constraints,
            min_trades=self.min_trades,
        )
        return self


class ValidationTable(SpecModel):
    """`[validation]`: bars and sums by which the winner is judged."""

    holdout_bars: int = Field(default=0, ge=0)
    """Number of last bars that the search never sees; the winner is run on them once, and the result shows both."""
    blocks: int = Field(default=16, ge=1, le=4096)
    """Number of contiguous blocks of bars; sums of returns over each are stored for each trial."""


class StrategySpec(RunSpec):
    """A parameter search of a rule-based strategy over one market's candles."""

    kind: Literal["strategy"] = "strategy"
    market: MarketTable = MarketTable()
    data: DataTable = Field(default=DataTable(), json_schema_extra=NOT_IDENTITY)
    strategy: StrategyTable
    costs: CostsTable = CostsTable()
    execution: ExecutionTable = ExecutionTable()
    search: SearchTable = SearchTable()
    validation: ValidationTable = ValidationTable()

    def costs_for(self, symbol: str | None) -> Costs:
        """The engine's costs; `symbol` decides the size of a pip. Raises InputError."""
        return self.costs.settings(self.market.symbol or symbol)

    def execution_settings(self) -> Execution:
        """The engine's settings, from [execution], [costs] and [validation]."""
        return Execution(
            fill=self.costs.fill,
            initial_capital=self.execution.initial_capital,
            risk_per_trade=self.execution.risk_per_trade,
            position_size_pct=self.execution.position_size_pct,
            compounding=self.execution.compounding,
            max_holding=self.execution.max_holding,
            allow_far_stops=self.execution.allow_far_stops,
            blocks=self.validation.blocks,
        )
