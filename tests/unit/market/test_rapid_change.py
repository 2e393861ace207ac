"""Rapid changes: velocity, volatility spikes, events; streaming and batch (R9.11, R9.12)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.unit.market.bars import MONDAY, SHARED

from lockstep.core.errors import DataError, InputError
from lockstep.market.rapid_change import (
    RapidChangeDetector,
    RapidChangeMonitor,
    RapidChangeRules,
    Trigger,
    detect_rapid_changes,
)

SECOND = 1_000


def seconds(prices: list[float]) -> tuple[Any, Any]:
    return MONDAY + SECOND * np.arange(len(prices), dtype=np.int64), np.array(prices)


def test_velocity_is_percent_per_minute_over_the_window() -> None:
    """R9.11: 100.0 at second 0, 100.5 at second 60: 0.5 % in a minute reaches the threshold of .5, 100.49 does not."""
    for last, reached in ((100.5, True), (100.49, False), (99.5, True)):
        found = detect_rapid_changes(*seconds([100.0] * 60 + [last]), RapidChangeRules(warmup=1_000))
        assert np.isnan(found.velocity[:60]).all()  # no whole window before
        assert found.velocity[60] == 100.0 * (last - 100.0) / 100.0
        assert bool(found.trigger[60]) is reached


def test_the_threshold_is_configurable() -> None:
    """R9.11: twice the move does not reach four times the threshold."""
    series = seconds([100.0] * 60 + [101.0])
    assert detect_rapid_changes(*series, RapidChangeRules(warmup=1_000)).trigger[-1] == 1
    rules = RapidChangeRules(warmup=1_000, velocity_threshold_pct_per_min=2.0)
    assert detect_rapid_changes(*series, rules).trigger[-1] == 0


def test_a_change_over_a_gap_is_divided_by_the_time_that_passed() -> None:
    """R9.11: 3 % over a gap of ten minutes is .3 % per minute, not 3 %."""
    time, price = np.array([0, 60_000, 660_000]), np.array([100.0, 100.0, 103.0])
    found = detect_rapid_changes(time, price)
    assert found.velocity[2] == 100.0 * (103.0 - 100.0) / 100.0 / 10.0
    assert found.trigger[2] == 0


def alternating(n: int, size: float) -> list[float]:
    """Prices whose returns are +size and about -size in turns, so that their deviation is about `size`."""
    return [100.0 * (1.0 + size * (k % 2)) for k in range(n)]


def test_a_volatility_spike_is_measured_against_the_baseline_before_it() -> None:
    """R9.12: sigma of the last 20 returns, baseline of the sigmas before, ratio of the two, by hand."""
    prices = alternating(60, 1e-4)
    prices += [prices[-1] * (1.0 + 5e-3)]
    found = detect_rapid_changes(*seconds(prices))
    returns = np.diff(prices) / np.array(prices[:-1])
    sigmas = np.array([returns[k - 19 : k + 1].std() for k in range(19, 60)])
    baseline = sigmas[0]
    for sigma in sigmas[1:-1]:
        baseline += 0.05 * (sigma - baseline)
    assert found.volatility[60] == pytest.approx(sigmas[-1], rel=1e-12)
    assert found.baseline[60] == pytest.approx(baseline, rel=1e-12)
    assert found.ratio[60] == found.volatility[60] / found.baseline[60]
    assert found.ratio[60] > 3.0
    assert found.trigger[60] & 2
    assert np.isnan(found.volatility[:20]).all()  # 20 returns need 21 prices
    assert np.count_nonzero(found.trigger[:60]) == 0


def test_the_multiplier_is_configurable() -> None:
    """R9.12: the spike above has a ratio between 3 and 20."""
    prices = alternating(60, 1e-4)
    prices += [prices[-1] * (1.0 + 5e-3)]
    ratio = detect_rapid_changes(*seconds(prices)).ratio[-1]
    assert detect_rapid_changes(*seconds(prices), RapidChangeRules(volatility_multiplier=ratio)).trigger[-1] & 2
    above = RapidChangeRules(volatility_multiplier=np.nextafter(ratio, 100.0) * 1.000001)
    assert not detect_rapid_changes(*seconds(prices), above).trigger[-1] & 2


def test_nothing_spikes_before_twenty_sigmas() -> None:
    """R9.12: a spike at observation k has 20 sigmas behind it: 21 prices for the first, 19 more, then the spike."""
    for calm, triggers in ((39, 0), (40, 1)):
        prices = alternating(calm, 1e-4)
        prices += [prices[-1] * 1.005]
        found = detect_rapid_changes(*seconds(prices))
        assert np.count_nonzero(found.trigger & 2) == triggers


def test_the_baseline_is_frozen_while_it_spikes_and_adapts_again_afterwards() -> None:
    """R9.12: during the 20 observations that hold the jump the baseline stays, bit for bit."""
    prices = alternating(60, 1e-4)
    prices += [price * 1.005 for price in alternating(40, 1.5e-4)]
    found = detect_rapid_changes(*seconds(prices))
    spiking = np.flatnonzero(found.trigger & 2)
    assert spiking.tolist() == list(range(60, 80))
    assert len(set(found.baseline[60:81].tolist())) == 1
    assert found.baseline[81] != found.baseline[80]


def test_a_livelier_market_is_not_rapid_for_ever_where_a_limit_says_so() -> None:
    prices = alternating(60, 1e-4) + alternating(400, 1e-3)
    assert np.count_nonzero(detect_rapid_changes(*seconds(prices)).trigger[-300:]) == 300
    limited = detect_rapid_changes(*seconds(prices), RapidChangeRules(max_frozen=30))
    assert np.count_nonzero(limited.trigger[-300:]) == 0


def test_a_market_that_never_moved_has_no_scale_to_spike_on() -> None:
    found = detect_rapid_changes(*seconds([100.0] * 50 + [100.1]))
    assert found.baseline[50] == 0.0
    assert np.isnan(found.ratio[50])
    assert found.trigger[50] == 0


def test_an_event_says_everything() -> None:
    """R9.11, R9.12: the event's fields, for a move up that triggers both and one down."""
    prices = alternating(61, 1e-4)
    rules = RapidChangeRules(velocity_window_s=60.0)
    for factor, direction in ((1.01, 1), (0.99, -1)):
        found = detect_rapid_changes(*seconds([*prices, prices[-1] * factor]), rules)
        event = found.event(61, "BTC/USDT")
        assert event is not None
        assert event.trigger is Trigger.BOTH
        assert event.direction == direction
        assert event.timestamp == MONDAY + 61 * SECOND
        assert event.price_before == prices[1]
        assert event.price_after == prices[-1] * factor
        assert event.change_pct == 100.0 * (event.price_after - event.price_before) / event.price_before
        assert event.velocity_pct_per_min == event.change_pct
        assert event.spike_ratio == event.volatility / event.baseline_volatility  # type: ignore[operator]
        assert found.event(60, "BTC/USDT") is None
        assert found.events("BTC/USDT") == [event]


def test_a_moment_is_rapid_while_a_trigger_is_in_its_window() -> None:
    """R9.13: the trigger at second 60 marks the moments from 60 until just before 120."""
    found = detect_rapid_changes(*seconds([100.0] * 60 + [101.0]), RapidChangeRules(warmup=1_000))
    moments = MONDAY + np.array([59_999, 60_000, 119_999, 120_000])
    assert found.within(moments, 60_000).tolist() == [False, True, True, False]


def test_symbols_have_their_own_thresholds_and_memories() -> None:
    """All thresholds are configurable per symbol."""
    monitor = RapidChangeMonitor(by_symbol={"CALM": RapidChangeRules(velocity_threshold_pct_per_min=5.0)})
    for symbol, expected in (("CALM", None), ("OTHER", Trigger.VELOCITY)):
        assert monitor.update(symbol, 0, 100.0) is None
        event = monitor.update(symbol, 60_000, 101.0)
        assert (event and event.trigger) == expected
        if event is not None:
            assert event.symbol == symbol


def test_bad_observations_are_refused_and_change_nothing() -> None:
    detector = RapidChangeDetector("X")
    detector.update(1_000, 100.0)
    before = detector.get_state()
    for time, price, text in ((999, 100.0, "never fall"), (2_000, 0.0, "found 0.0"), (2_000, np.nan, "found nan")):
        with pytest.raises(DataError, match=text):
            detector.update(time, price)
    after = detector.get_state()
    assert all(np.array_equal(before[name], after[name], equal_nan=True) for name in before)
    with pytest.raises(DataError, match="equally many"):
        detector.update_many(np.array([1]), np.array([1.0, 2.0]))
    with pytest.raises(DataError, match="that of 20 returns; found 5"):
        detector.set_state({**before, "ring": np.zeros(5)})


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"velocity_threshold_pct_per_min": 0.0}, "finite number > 0; found 0.0"),
        ({"volatility_multiplier": 1.0}, "finite number > 1"),
        ({"velocity_window_s": float("inf")}, "found inf"),
        ({"alpha": 0.0}, "a weight in"),
        ({"returns": 1}, "whole number >= 2"),
        ({"warmup": 0}, "whole number >= 1"),
        ({"max_frozen": 0}, "max_frozen is a whole number >= 1"),
    ],
)
def test_rules_are_checked(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=text):
        RapidChangeRules(**changes)


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data is not here")
def test_real_minutes_are_rapid_now_and_then() -> None:
    """R9.11, R9.12: 63,643 real minutes; about one in a hundred triggers, none all the time."""
    from lockstep.market.load import load_candles

    bars = load_candles(SHARED / "binance" / "BTCUSDT-1m.parquet")
    found = detect_rapid_changes(bars.close_time, bars.close)
    share = np.count_nonzero(found.trigger) / len(found)
    assert 0.002 < share < 0.03
    events = found.events("BTC/USDT")
    assert {event.trigger for event in events} == set(Trigger)
    assert all(abs(event.velocity_pct_per_min or 0.0) >= 0.5 for event in events if event.trigger is Trigger.VELOCITY)
