"""The contract of compiled strategies finds what it is there to find."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lockstep.core.errors import StrategyError
from lockstep.strategies.contract import check_twins, odd_markets, random_market
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


class DependsOnTheOthers(LiquiditySweep):
    """Prepares something of all sets together; equal wherever these are the same."""

    def prepare(self, view: Any, sets: Any) -> Any:
        return super().prepare(view, sets), len(next(iter(sets.values())))

    def entries(self, prepared: Any, sets: Any, lo: int, hi: int) -> Any:
        inner, together = prepared
        batch = super().entries(inner, sets, lo, hi)
        return replace(batch, time_limit=batch.time_limit + np.int32(1 if together == 1 else 0))


@pytest.mark.parametrize(
    ("strategy", "field"),
    [
        (WrongStop, "stop"),
        (DropsTheLast, "offsets"),
        (DependsOnItsPlace, "time_limit"),
        (DependsOnTheOthers, "time_limit"),
    ],
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


def test_a_random_market_has_the_wicks_bursts_and_gaps_that_it_says() -> None:
    candles = random_market(20_000, np.random.default_rng(3), gaps=True, digits=6)
    body = np.maximum(candles.open, candles.close)
    # Wicks are 100 * .002 * u^2, of mean .2 / 3; volumes 400 u^3, of mean 100; a gap before every fiftieth bar.
    assert np.mean(candles.high - body) == pytest.approx(0.2 / 3, rel=0.05)
    assert np.max(candles.high - body) == pytest.approx(0.2, rel=0.01)
    assert np.mean(candles.volume) == pytest.approx(100.0, rel=0.05)
    skipped = np.diff(candles.timestamp) // 300_000 - 1
    assert np.mean(skipped > 0) == pytest.approx(0.02, rel=0.2)
    assert skipped.max() == 39
    # Steps are .002 g, one in ten of them three times as large: .002^2 (.9 + .1 * 9) is their variance, and the pull
    # back to the middle leaves 1 / (1 - .97^2) of it.
    assert np.std(candles.close) == pytest.approx(100 * 0.002 * (1.8 / (1 - 0.97**2)) ** 0.5, rel=0.15)
