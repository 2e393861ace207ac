"""What trading costs: fees, slippage and spread.

Notation, used in every formula of this package:
    p       price before costs (a bar's open or close, a stop or a target)
    buy(p)  = p · (1 + slippage_rate) + spread / 2      price paid when buying
    sell(p) = p · (1 − slippage_rate) − spread / 2      price received when selling
Both sides of every trade are adverse, whatever the reason of the exit (docs/engine.md, rule 7; R3.6).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any, Final

from lockstep.core.errors import InputError

HIGHEST_USUAL_RATE: Final = 0.02
"""Fees and slippage above 2 % a side are taken for percent given as fractions."""


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Costs of one market. Rates are fractions (0.001 is 0.1 %), the spread is in price units.

    fee_rate        fee per side on the entry notional for orders that take liquidity; 0 ≤ fee_rate < 1
    maker_fee_rate  fee of an exit at the target, which rests in the book; None means `fee_rate`. It may be negative
                    (a rebate) down to −1.
    slippage_rate   adverse share of the price lost on each side; 0 ≤ slippage_rate < 1
    allow_high_fees True: fees and slippage above 0.02 (2 % per side) are meant; by default they are refused, since 0.1
                    is 10 %
    spread          full distance between bid and ask, in price units; half is paid on each side
    """

    fee_rate: float = 0.001
    maker_fee_rate: float | None = None
    slippage_rate: float = 0.0005
    spread: float = 0.0
    allow_high_fees: bool = False

    def __post_init__(self) -> None:
        """Raises InputError for a rate outside its range."""
        _check_range("fee_rate", self.fee_rate, low=0.0, high=1.0)
        _check_range("slippage_rate", self.slippage_rate, low=0.0, high=1.0)
        _check_range("spread", self.spread, low=0.0, high=math.inf)
        if self.maker_fee_rate is not None:
            _check_range("maker_fee_rate", self.maker_fee_rate, low=-1.0, high=1.0)
        if not isinstance(self.allow_high_fees, bool):
            raise InputError(f"costs: allow_high_fees is True or False; found {self.allow_high_fees!r}")
        if not self.allow_high_fees:
            _check_usual("fee_rate", self.fee_rate, "money put in")
            _check_usual("maker_fee_rate", self.maker_fee_rate or 0.0, "money put in")
            _check_usual("slippage_rate", self.slippage_rate, "price")

    @property
    def target_fee_rate(self) -> float:
        """Fee rate of an exit at the target."""
        return self.fee_rate if self.maker_fee_rate is None else self.maker_fee_rate

    def buy_price(self, price: float) -> float:
        """What a buyer pays when the price before costs is `price`."""
        return price * (1.0 + self.slippage_rate) + self.spread / 2.0

    def sell_price(self, price: float) -> float:
        """What a seller receives when the price before costs is `price`."""
        return price * (1.0 - self.slippage_rate) - self.spread / 2.0


def _check_range(name: str, value: Any, *, low: float, high: float) -> None:
    number = isinstance(value, Real)
    if not number or not (low <= value < high):
        raise InputError(
            f"costs: {name} lies in [{low:g}, {high:g}); found {value!r}. "
            "Rates are fractions (0.1 % is 0.001), the spread is in price units."
        )


def _check_usual(name: str, rate: float, of: str) -> None:
    if abs(rate) > HIGHEST_USUAL_RATE:
        raise InputError(
            f"costs: {name} = {rate!r} is {100 * rate:g} % of the {of}, on each side of every trade. Rates are "
            f"fractions: {rate:g} % is {rate / 100:g}. If it is meant, set [costs] allow_high_fees = true, in Python "
            "ls.Costs(allow_high_fees=True)"
        )
