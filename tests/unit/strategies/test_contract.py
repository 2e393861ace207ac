"""The contract of compiled strategies finds what it is there to find."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lockstep.core.errors import StrategyError
from lockstep.strategies.contract import check_twins, odd_markets
from lockstep.strategies.liquidity_sweep import LiquiditySweep

LOOSE = {"pierce_depth": 0.0, "volume_spike_threshold": 0.5, "reversal_candles": 1, "min_level_touches": 1}


class WrongStop(LiquiditySweep):
    def entries(self, prepared: Any, sets: Any, lo: int, hi: int) -> Any:
        batch = super().entries(prepared, sets, lo, hi)
        return replace(batch, stop=np.nextafter(batch.stop, np.inf))


class DropsTheLast(LiquiditySweep):
    def entries(self, prepared: Any, sets: Any, lo: int, hi: int) -> Any:
        batch = super().entries(prepared, sets, lo, hi)
        if batch.bar.size == 0:
            return batch
        columns = {name: getattr(batch, name)[:-1].copy() for name in ("bar", "side", "stop", "target", "time_limit")}
        return replace(batch, offsets=np.minimum(batch.offsets, batch.bar.size - 1), **columns)


class DependsOnItsPlace(LiquiditySweep):
    def entries(self, prepared: Any, sets: Any, lo: int, hi: int) -> Any:
        batch = super().entries(prepared, sets, lo, hi)
        return replace(batch, time_limit=batch.time_limit + np.int32(1 if lo else 0))


@pytest.mark.parametrize(
    ("strategy", "field"), [(WrongStop, "stop"), (DropsTheLast, "offsets"), (DependsOnItsPlace, "time_limit")]
)
def test_a_kernel_that_differs_is_found_with_market_parameters_and_values(strategy: Any, field: str) -> None:
    with pytest.raises(StrategyError) as caught:
        check_twins(strategy(), bars=300, sets=2, parameter_sets=[LOOSE])
    message = str(caught.value)
    assert f"{strategy.__name__}: signals and entries differ on " in message
    assert f": {field} is " in message
    assert "'pierce_depth': " in message


def test_the_markets_include_those_that_break_kernels() -> None:
    markets = dict(odd_markets(100, np.random.default_rng(0)))
    assert len(markets["no bars"]) == 0
    assert len(markets["one bar"]) == 1
    assert np.ptp(markets["flat prices"].close) == 0.0
    assert markets["no volume"].volume.max() == 0.0
    assert np.diff(markets["gaps"].timestamp).max() > 300_000
