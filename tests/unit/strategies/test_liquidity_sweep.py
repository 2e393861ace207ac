"""The liquidity sweep, bar by bar and as kernels (R2.1)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lockstep.core.space import Choice, FloatRange
from lockstep.engine.signals import Signals
from lockstep.market.candles import Candles
from lockstep.market.sample import sample_candles
from lockstep.strategies.contract import check_twins, random_market
from lockstep.strategies.evaluate import decide
from lockstep.strategies.levels import cluster_levels
from lockstep.strategies.liquidity_sweep import LiquiditySweep
from lockstep.strategies.view import MarketView

BARS = 200
AT = 180
"""The bar of the staged sweep's signal; the pierce is the bar before."""


def staged(*, spike: float = 5.0, pierce: float = 99.4, close: float = 100.4, downwards: bool = False) -> Candles:
    """A quiet market around 100.5 whose lows touch 100.0 every 20 bars, then one sweep below 100.0 and back.

    Bar AT - 1 falls to `pierce` on `spike` times the usual volume and closes below the level, bar AT at `close`.
    """
    price = 100.5 + 0.05 * np.where(np.arange(BARS + 1) % 2 == 0, 1.0, -1.0)
    opens, closes = price[:-1].copy(), price[1:].copy()
    low, high = np.minimum(opens, closes) - 0.2, np.maximum(opens, closes) + 0.2
    low[10:170:20] = 100.0
    volume = np.full(BARS, 10.0)
    opens[AT - 1], closes[AT - 1], low[AT - 1] = pierce + 0.3, pierce + 0.5, pierce
    volume[AT - 1] = 10.0 * spike
    opens[AT], closes[AT] = 99.9, close
    low[AT], high[AT - 1], high[AT] = 99.85, pierce + 0.6, max(99.9, close) + 0.05
    if downwards:
        opens, closes, low, high = 200.0 - opens, 200.0 - closes, 200.0 - high, 200.0 - low
    return Candles(
        timestamp=1_600_000_200_000 + 300_000 * np.arange(BARS),
        open=opens,
        high=high,
        low=low,
        close=closes,
        volume=volume,
        timeframe_ms=300_000,
    )


PARAMS = {"volume_spike_threshold": 3.0, "reversal_candles": 2, "key_level_lookback": 150}


def both_ways(candles: Candles, **params: Any) -> Signals:
    """The signals of the rule, after checking that the kernels find the same."""
    strategy, view = LiquiditySweep(), MarketView(candles)
    resolved = strategy.resolve({**PARAMS, **params})
    plain, compiled = strategy.checked_signals(view, resolved), decide(strategy, view, resolved)
    assert plain.side.tolist() == compiled.side.tolist()
    return plain


def test_a_pierce_a_spike_and_a_reversal_make_a_buy() -> None:
    """R2.1, R2.12."""
    signals = both_ways(staged(), reversal_candles=1)
    assert signals.side[AT] == 1
    assert np.flatnonzero(signals.side).tolist() == [AT]


def test_without_the_volume_spike_there_is_no_signal() -> None:
    """R2.12: the usual volume, 1.0 times the mean, is below the threshold of 3."""
    assert not both_ways(staged(spike=1.0), reversal_candles=1).side.any()


@pytest.mark.parametrize(
    ("change", "params"),
    [
        ({"pierce": 99.9}, {}),  # 99.9 > 100.0 (1 - 0.002) = 99.8: not deep enough
        ({"close": 99.95}, {}),  # closes below the level, 100.0
        ({}, {"min_level_touches": 9}),  # the level has 8 touches
        ({}, {"reversal_candles": 4}),  # three bullish closes among the last five
        ({}, {"key_level_lookback": 50}),  # holds two touches, below the default of 3
        ({}, {"pierce_depth": 0.007}),  # 99.4 > 100.0 (1 - 0.007) = 99.3
        ({}, {"min_atr_fraction": 0.1}),  # the ATR is less than 10 % of the price
    ],
)
def test_each_condition_is_needed(change: dict[str, float], params: dict[str, Any]) -> None:
    assert both_ways(staged(**change), **{"reversal_candles": 1, **params}).side[AT] == 0


def test_the_short_side_mirrors() -> None:
    """R2.1: the same market upside down, 200 - price, sells where the other buys."""
    signals = both_ways(staged(downwards=True), reversal_candles=1)
    assert np.flatnonzero(signals.side).tolist() == [AT]
    assert signals.side[AT] == -1


def test_stop_and_target_follow_from_close_atr_and_the_ratio() -> None:
    """R2.8, R2.9: stop = close - 1.5 ATR, target = close + 1.5 ATR x 2."""
    candles = staged()
    signals = both_ways(candles, reversal_candles=1)
    atr, close = MarketView(candles).rolling_atr(14)[AT], candles.close[AT]
    assert signals.stop is not None
    assert signals.target is not None
    assert signals.stop[AT] == close - 1.5 * atr
    assert signals.target[AT] == close + (1.5 * atr) * 2.0
    assert signals.time_limit == 30


def test_on_real_bars_every_signal_has_its_stop_and_target_on_the_right_side() -> None:
    """R2.8, R2.9 on EUR/USD, both directions."""
    candles = sample_candles()
    signals = both_ways(
        candles, pierce_depth=0.0003, volume_spike_threshold=1.2, reversal_candles=1, min_level_touches=2
    )
    at = np.flatnonzero(signals.side)
    assert signals.stop is not None
    assert signals.target is not None
    loss = (candles.close[at] - signals.stop[at]) * signals.side[at]
    gain = (signals.target[at] - candles.close[at]) * signals.side[at]
    assert (signals.side == 1).sum() > 20
    assert (signals.side == -1).sum() > 20
    assert (loss > 0.0).all()
    assert np.allclose(gain, 2.0 * loss, rtol=1e-9)


def test_a_swing_is_not_used_before_the_two_bars_after_it_have_closed() -> None:
    """With the third touch at bar AT - 2 the level is not yet known at AT; with AT - 3 it may be."""
    # The staged touches lie at 10, 30 ... 150: of the last 50 bars, 131 .. 180, one counts: 150.
    for touch, expected in ((AT - 12, 1), (AT - 1, 0)):
        candles = staged()
        low = candles.low.copy()
        low[touch] = min(low[touch], 100.0)
        changed = Candles(
            timestamp=candles.timestamp,
            open=candles.open,
            high=candles.high,
            low=low,
            close=candles.close,
            volume=candles.volume,
            timeframe_ms=300_000,
        )
        signals = both_ways(changed, reversal_candles=1, key_level_lookback=50, min_level_touches=2)
        assert signals.side[AT] == expected, touch


def test_a_market_without_volume_or_without_movement_gives_no_signal() -> None:
    rng = np.random.default_rng(1)
    loose = {"pierce_depth": 0.0, "volume_spike_threshold": 0.01, "reversal_candles": 1, "min_level_touches": 1}
    assert not both_ways(random_market(500, rng, volume=0.0), **loose).side.any()
    assert not both_ways(random_market(500, rng, scale=0.0), **loose).side.any()
    assert both_ways(random_market(500, rng), **loose).side.any()


def test_when_both_sides_fire_neither_is_traded() -> None:
    """One bull and one bear bar, both piercing: with reversal_candles = 1 each side is confirmed."""
    candles = staged(spike=8.0)
    opens, high, low, close = (getattr(candles, name).copy() for name in ("open", "high", "low", "close"))
    high[20:180:20] = 101.0
    # Bar AT - 1 rises, AT falls; together they sweep 100.0 and 101.0; the close lies between the two levels.
    opens[AT - 1], close[AT - 1], low[AT - 1], high[AT - 1] = 100.3, 100.7, 99.6, 101.4
    opens[AT], close[AT], low[AT], high[AT] = 100.7, 100.5, 100.4, 100.8
    both = Candles(
        timestamp=candles.timestamp, open=opens, high=high, low=low, close=close, volume=candles.volume,
        timeframe_ms=300_000,
    )  # fmt: skip
    assert both_ways(both, reversal_candles=1).side[AT] == 0
    # Either side alone trades.
    high[20:180:20] = candles.high[20:180:20]
    long_only = Candles(
        timestamp=candles.timestamp, open=opens, high=high, low=low, close=close, volume=candles.volume,
        timeframe_ms=300_000,
    )  # fmt: skip
    assert both_ways(long_only, reversal_candles=1).side[AT] == 1


def test_the_same_data_and_parameters_give_the_same_signals() -> None:
    """R2.3."""
    one, two = (both_ways(staged(), reversal_candles=1) for _ in range(2))
    assert one.side.tobytes() == two.side.tobytes()


def test_the_space_has_nine_dimensions_with_the_ranges_of_the_specification() -> None:
    """R2.2, R2.16."""
    assert dict(LiquiditySweep.parameters) == {
        "pierce_depth": FloatRange(0.0005, 0.005),
        "volume_spike_threshold": FloatRange(1.5, 5.0),
        "reversal_candles": Choice((1, 2, 3, 4, 5)),
        "min_distance_from_level": FloatRange(0.0005, 0.003),
        "atr_multiplier_sl": FloatRange(1.0, 3.0),
        "risk_reward_ratio": FloatRange(1.5, 4.0),
        "max_holding_periods": Choice((30, 50, 75, 100, 150)),
        "key_level_lookback": Choice((50, 100, 150, 200)),
        "min_level_touches": Choice((2, 3, 4, 5)),
    }
    assert LiquiditySweep().resolve({}) == {
        "pierce_depth": 0.002,
        "volume_spike_threshold": 2.0,
        "reversal_candles": 2,
        "min_distance_from_level": 0.001,
        "atr_multiplier_sl": 1.5,
        "risk_reward_ratio": 2.0,
        "max_holding_periods": 30,
        "key_level_lookback": 100,
        "min_level_touches": 3,
        "min_atr_fraction": 0.0,
    }


@pytest.mark.parametrize(
    ("params", "broken"),
    [
        ({"pierce_depth": -0.1}, "0 <= pierce_depth < 1"),
        ({"atr_multiplier_sl": 0.0}, "atr_multiplier_sl > 0"),
        ({"key_level_lookback": 4}, "5 <= key_level_lookback <= 1000000"),
        ({"min_level_touches": 0}, "min_level_touches >= 1"),
    ],
)
def test_values_that_mean_nothing_break_a_constraint(params: dict[str, Any], broken: str) -> None:
    strategy = LiquiditySweep()
    assert strategy.broken_constraint(strategy.resolve(params)) == broken


# Values at and beyond the edges of the search space, where shortcuts of the kernels would show.
EDGES = [
    {
        "pierce_depth": pierce,
        "volume_spike_threshold": 0.5,
        "reversal_candles": reversal,
        "min_distance_from_level": distance,
        "min_level_touches": touches,
        "key_level_lookback": lookback,
    }
    for pierce, reversal in ((0.0, 1), (0.001, 2))
    for distance in (0.0, 1e-5, 0.002, 0.05)
    for touches, lookback in ((1, 5), (2, 57), (2, 400), (4, 120))
]


@pytest.mark.parametrize("seed", range(2))
def test_rule_and_kernels_agree_on_every_entry(seed: int) -> None:
    """Random, flat, gapped, one-bar and empty markets; sampled sets and edges; single sets and batches."""
    compared = check_twins(LiquiditySweep(), seed=seed, bars=500, sets=6, parameter_sets=EDGES)
    assert compared > 2_000


def test_rule_and_kernels_agree_on_real_bars() -> None:
    compared = check_twins(
        LiquiditySweep(), candles=[sample_candles().head(3_000)], parameter_sets=EDGES[::7], sets=2, bars=130
    )
    assert compared > 100


def test_levels_are_means_of_prices_that_lie_within_the_distance_of_the_running_mean() -> None:
    # 100.0 and 100.1: 100.1 <= 100.0 x 1.001; mean 100.05. 100.2 > 100.05 x 1.001 = 100.15, so it starts the next.
    assert cluster_levels([100.2, 100.0, 100.1], 0.001) == [((100.0 + 100.1) / 2, 2), (100.2, 1)]
    assert cluster_levels([], 0.001) == []
    assert cluster_levels([5.0, 5.0, 5.0], 0.0) == [(5.0, 3)]


@pytest.mark.parametrize(
    ("name", "least", "below"),
    [
        ("pierce_depth", 0.0, -0.001),
        ("volume_spike_threshold", 1e-9, 0.0),
        ("reversal_candles", 1, 0),
        ("min_distance_from_level", 0.0, -0.001),
        ("atr_multiplier_sl", 1e-9, 0.0),
        ("risk_reward_ratio", 1e-9, 0.0),
        ("max_holding_periods", 1, 0),
        ("key_level_lookback", 5, 4),
        ("min_level_touches", 1, 0),
    ],
)
def test_a_parameter_may_reach_its_limit_and_not_pass_it(name: str, least: float, below: float) -> None:
    sweep = LiquiditySweep()
    assert sweep.broken_constraint(sweep.resolve({name: least})) is None
    assert name in (sweep.broken_constraint(sweep.resolve({name: below})) or "")


@pytest.mark.parametrize(
    ("name", "most", "above"),
    [
        ("pierce_depth", 0.999, 1.0),
        ("min_distance_from_level", 0.0999, 0.1),
        ("max_holding_periods", 2**31 - 2, 2**31 - 1),
        ("key_level_lookback", 1_000_000, 1_000_001),
    ],
)
def test_a_parameter_may_not_pass_its_upper_limit_either(name: str, most: float, above: float) -> None:
    sweep = LiquiditySweep()
    assert sweep.broken_constraint(sweep.resolve({name: most})) is None
    assert name in (sweep.broken_constraint(sweep.resolve({name: above})) or "")
