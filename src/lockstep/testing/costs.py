"""Costs of a market without friction, for tests."""

from __future__ import annotations

from typing import Final

from lockstep.engine.costs import Costs

FREE: Final = Costs(fee_rate=0.0, slippage_rate=0.0)
"""No fee, slippage or spread: what a trade earns is what the prices say."""
