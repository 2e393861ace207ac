"""How signals are executed and money is put at risk."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from numbers import Integral, Real
from typing import Any

from lockstep.core.errors import InputError
from lockstep.engine.costs import Costs

#: Distance from entry to stop, as a share of the entry price, that sizes a trade without any stop (rule 6).
DEFAULT_STOP_DISTANCE = 0.02


class Fill(StrEnum):
    """At which price a decision made at the close of bar t is filled (docs/engine.md, rule 1)."""

    NEXT_OPEN = "next_open"
    """open[t + 1]: the first price that anybody could get after the decision"""
    CLOSE = "close"
    """close[t]: the decision's own price, for comparison with engines that assume it"""


@dataclass(frozen=True, kw_only=True)
class Execution:
    """Execution and sizing rules of one simulation.

    fill               "next_open" (default) or "close"
    initial_capital    equity before the first bar, in quote currency; > 0
    risk_per_trade     share of the capital lost when the initial stop is hit, before costs; > 0
    position_size_pct  scales risk_per_trade; 1.0 leaves it as it is; > 0
    compounding        False: every trade is sized from initial_capital; True: from the equity at its entry
    max_holding        time limit in bars of signals that carry none; None is no limit
    allow_far_stops    True: stops and targets under 5 % of the bar's close are prices as well; by default they are
                       taken for distances that somebody gave in place of prices, and refused
    blocks             number of contiguous blocks of bars whose return sums are kept for validation; ≥ 1
    """

    fill: Fill | str = Fill.NEXT_OPEN
    initial_capital: float = 10_000.0
    risk_per_trade: float = 0.02
    position_size_pct: float = 1.0
    compounding: bool = False
    max_holding: int | None = None
    allow_far_stops: bool = False
    blocks: int = 16

    def __post_init__(self) -> None:
        """Raises InputError for a value outside its range."""
        try:
            object.__setattr__(self, "fill", Fill(self.fill))
        except ValueError:
            choices = ", ".join(repr(str(choice)) for choice in Fill)
            raise InputError(f"execution: fill is one of {choices}; found {self.fill!r}") from None
        for name in ("initial_capital", "risk_per_trade", "position_size_pct"):
            value = getattr(self, name)
            number = isinstance(value, Real)
            if not (number and value > 0.0 and math.isfinite(value)):
                raise InputError(f"execution: {name} is a positive, finite number; found {value!r}")
        if self.max_holding is not None and not _at_least_one(self.max_holding):
            raise InputError(
                f"execution: max_holding is at least 1 bar; found {self.max_holding!r}. Use None for no time limit."
            )
        if not isinstance(self.allow_far_stops, bool):
            raise InputError(f"execution: allow_far_stops is True or False; found {self.allow_far_stops!r}")
        if not _at_least_one(self.blocks):
            raise InputError(f"execution: blocks is at least 1; found {self.blocks!r}")

    @property
    def at_close(self) -> bool:
        """Whether decisions fill at their own bar's close."""
        return self.fill is Fill.CLOSE


def _at_least_one(value: Any) -> bool:
    whole = isinstance(value, Integral)
    return whole and bool(value >= 1)


def settled(costs: Costs | None, execution: Execution | None) -> tuple[Costs, Execution]:
    """Costs and execution with their defaults for None. Raises InputError for a value of another type."""
    costs = Costs() if costs is None else costs
    execution = Execution() if execution is None else execution
    if not isinstance(costs, Costs):
        raise InputError(f"costs are an ls.Costs, such as ls.Costs(fee_rate=0.001); found {costs!r:.100}")
    if not isinstance(execution, Execution):
        raise InputError(f"execution is an ls.Execution, such as ls.Execution(fill='close'); found {execution!r:.100}")
    return costs, execution
