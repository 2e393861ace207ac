"""Outcomes over random prices: streaming and batch agree, the past is never looked at (R9.8)."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lockstep.episodes.outcomes import OutcomeRules, OutcomeTracker, Prices, Status, settle_outcomes

RULES = OutcomeRules(horizon_s=0.01, max_delay_s=0.005, round_trip_cost=0.002, target_profit=0.05)  # 10 and 5 ms
steps = st.lists(st.sampled_from([0, 1, 1, 2, 3, 12, 30]), min_size=0, max_size=40)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Any, Any, Prices]:
    """Predictions and prices on one clock of a few milliseconds, with bursts and gaps."""
    time = np.cumsum(np.array(draw(steps), np.int64))
    price = np.array([draw(st.sampled_from([95.0, 99.9, 100.0, 100.1, 103.0])) for _ in time], np.float64)
    made = np.cumsum(np.array(draw(steps), np.int64))
    action = np.array([draw(st.integers(0, 2)) for _ in made], np.int64)
    return made, action, Prices(time=time, price=price)


@given(cases())
def test_streaming_and_batch_agree(case: tuple[Any, Any, Prices]) -> None:
    """R9.8: status and outcome of every prediction, to the last bit."""
    made, action, prices = case
    tracker, settled = OutcomeTracker(RULES), {}
    waiting = list(enumerate(zip(made.tolist(), action.tolist(), strict=True)))
    for time, price in zip(prices.time.tolist(), prices.price.tolist(), strict=True):
        while waiting and waiting[0][1][0] <= time:
            index, (at, what) = waiting.pop(0)
            if tracker._seen_until is None or at >= tracker._seen_until:
                tracker.predict(str(index), at, what)
        for one in tracker.observe(time, price):
            settled[int(one.prediction_id)] = one
    found = settle_outcomes(made, action, prices, RULES)
    for index in range(made.shape[0]):
        if index in settled:
            assert found.status[index] == settled[index].status
            assert found.outcome(index) == settled[index].outcome
        else:
            assert found.status[index] == Status.PENDING


@given(cases(), st.data())
def test_prices_up_to_a_prediction_and_after_its_exit_change_nothing(case: tuple[Any, Any, Prices], data: Any) -> None:
    """R9.8: computed from prices after the prediction only; the entry is later than it, the exit not before t + h."""
    made, action, prices = case
    found = settle_outcomes(made, action, prices, RULES)
    sure = found.outcome_validated
    assert np.all(found.entry_ms[sure] > made[sure])
    assert np.all(found.exit_ms[sure] >= made[sure] + RULES.horizon_ms)
    for index in np.flatnonzero(sure).tolist():
        other = prices.price.copy()
        other[prices.time <= made[index]] = 1.0
        other[prices.time > found.exit_ms[index]] = 1e6
        again = settle_outcomes(made, action, Prices(time=prices.time, price=other), RULES)
        assert again.outcome(index) == found.outcome(index)


@given(cases(), st.integers(0, 40))
def test_what_is_validated_stays_as_prices_come(case: tuple[Any, Any, Prices], cut: int) -> None:
    """Settling with some prices first, then with all, is settling with all: nothing validated moves."""
    made, action, prices = case
    some = Prices(time=prices.time[:cut], price=prices.price[:cut])
    first = settle_outcomes(made, action, some, RULES)
    both = settle_outcomes(made, action, prices, RULES, previous=first)
    whole = settle_outcomes(made, action, prices, RULES)
    assert both.status.tolist() == whole.status.tolist()
    assert both.actual_profit.tobytes() == whole.actual_profit.tobytes()
    final = first.status != Status.PENDING
    assert np.array_equal(both.status[final], first.status[final])
