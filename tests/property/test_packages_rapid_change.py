"""Rapid changes: streaming, batch, pieces and plain Python agree to the last bit, without a look ahead (R9.11)."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.market.rapid_change import (
    RapidChangeDetector,
    RapidChangeRules,
    RapidChanges,
    detect_rapid_changes,
    scan_python,
)

COLUMNS = ("timestamp", "price", "velocity", "before", "volatility", "baseline", "ratio", "trigger")


@st.composite
def series(draw: st.DrawFn) -> tuple[Any, Any, RapidChangeRules]:
    n = draw(st.integers(0, 120))
    seed = draw(st.integers(0, 10**6))
    rng = np.random.Generator(np.random.Philox(seed))
    # Equal times, seconds, and outages; calm and wild stretches, and prices that stand still.
    step = rng.choice(np.array([0, 250, 1_000, 20_000, 600_000]), n, p=[0.2, 0.2, 0.4, 0.15, 0.05])
    size = np.repeat(rng.choice(np.array([0.0, 1e-5, 1e-3, 2e-2]), n // 20 + 1), 20)[:n]
    price = 100.0 * np.cumprod(1.0 + rng.normal(0.0, 1.0, n) * np.minimum(size, 0.05)).clip(1e-3, 1e3)
    rules = RapidChangeRules(
        velocity_window_s=draw(st.sampled_from([0.5, 5.0, 60.0])),
        volatility_multiplier=draw(st.sampled_from([1.2, 3.0])),
        returns=draw(st.integers(2, 20)),
        warmup=draw(st.integers(1, 20)),
        max_frozen=draw(st.none() | st.integers(1, 10)),
    )
    return np.cumsum(step).astype(np.int64), price, rules


def columns(found: RapidChanges) -> list[bytes]:
    return [getattr(found, name).tobytes() for name in COLUMNS]


@given(series(), st.data())
def test_streaming_and_batch_agree_bit_for_bit(case: tuple[Any, Any, RapidChangeRules], data: Any) -> None:
    """R9.11, R9.12: one by one, in pieces of any size, stopped and continued, and by plain Python."""
    time, price, rules = case
    whole = detect_rapid_changes(time, price, rules)
    detector, events = RapidChangeDetector("X", rules), []
    for t, p in zip(time.tolist(), price.tolist(), strict=True):
        events.append(detector.update(t, p))
    assert events == [whole.event(index, "X") for index in range(len(whole))]

    cut = data.draw(st.integers(0, time.shape[0]))
    first, second = RapidChangeDetector("X", rules), RapidChangeDetector("X", rules)
    head = first.update_many(time[:cut], price[:cut])
    second.set_state(first.get_state())
    tail = second.update_many(time[cut:], price[cut:])
    assert [a + b for a, b in zip(columns(head), columns(tail), strict=True)] == columns(whole)

    out, trigger = np.empty((time.shape[0], 5)), np.zeros(time.shape[0], np.int8)
    scan_python(
        time,
        price,
        0,
        rules.window_ms,
        rules.velocity_threshold_pct_per_min,
        rules.volatility_multiplier,
        rules.alpha,
        rules.warmup,
        rules.max_frozen or 0,
        np.zeros(rules.returns),
        np.array([-1, 0, 0, 0]),
        np.full(1, np.nan),
        out,
        trigger,
    )
    assert trigger.tobytes() == whole.trigger.tobytes()
    for index, name in enumerate(("velocity", "before", "volatility", "baseline", "ratio")):
        np.testing.assert_array_equal(out[:, index], getattr(whole, name))


@given(series(), st.data())
def test_an_observation_is_judged_by_those_before_it(case: tuple[Any, Any, RapidChangeRules], data: Any) -> None:
    """No look-ahead: whatever comes after observation k, what was found at 0 ... k stays."""
    time, price, rules = case
    cut = data.draw(st.integers(0, time.shape[0]))
    changed = price.copy()
    changed[cut:] = 7.0
    before, after = (detect_rapid_changes(time, each, rules) for each in (price, changed))
    for name in COLUMNS:
        assert getattr(before, name)[:cut].tobytes() == getattr(after, name)[:cut].tobytes()


@settings(max_examples=20)
@given(st.integers(0, 10**6))
def test_the_detectors_memory_is_bounded(seed: int) -> None:
    """One observation a second for two hours; a window of 60 s and 20 returns need about 61 of them."""
    rng = np.random.Generator(np.random.Philox(seed))
    detector = RapidChangeDetector("X")
    price = 100.0 * np.cumprod(1.0 + rng.normal(0.0, 1e-4, 7_200))
    for at in range(0, 7_200, 90):
        detector.update_many(1_000 * np.arange(at, at + 90), price[at : at + 90])
        assert detector.get_state()["time"].shape[0] <= 2 * (61 + 90)
