"""Outcomes: from prices strictly after the prediction, pending until the horizon passed, then final (R9.7, R9.8)."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest
from tests.unit.market.bars import MONDAY, SHARED, candles

from lockstep.core.errors import DataError, InputError, RefusedError
from lockstep.episodes.outcomes import (
    Action,
    OutcomeRules,
    OutcomeTracker,
    Prices,
    Status,
    TrainingOutcome,
    outcome_of,
    settle_outcomes,
)
from lockstep.market.orderbook import Trades

T = MONDAY
MINUTE = 60_000


def prices(*pairs: tuple[int, float]) -> Prices:
    """Prices at milliseconds after T."""
    return Prices(time=T + np.array([t for t, _ in pairs], np.int64), price=np.array([p for _, p in pairs], np.float64))


def test_an_outcome_begins_unvalidated_with_its_five_fields() -> None:
    """R9.7: five named fields, outcome_validated False at first."""
    fresh = TrainingOutcome()
    assert list(TrainingOutcome.__dataclass_fields__) == [
        "actual_profit",
        "profitability_score",
        "optimal_action",
        "is_profitable",
        "outcome_validated",
    ]
    assert (fresh.actual_profit, fresh.profitability_score, fresh.is_profitable) == (0.0, 0.0, False)
    assert fresh.optimal_action == 1
    assert fresh.outcome_validated is False


@pytest.mark.parametrize(
    ("action", "exit_price", "profit", "score", "optimal"),
    [
        (Action.BUY, 100.6, 0.006 - 0.001, 0.5, Action.BUY),
        (Action.BUY, 102.0, 0.02 - 0.001, 1.0, Action.BUY),
        (Action.BUY, 99.4, -0.006 - 0.001, 0.0, Action.SELL),
        (Action.SELL, 99.4, 0.006 - 0.001, 0.5, Action.SELL),
        (Action.SELL, 100.6, -0.006 - 0.001, 0.0, Action.BUY),
        (Action.HOLD, 102.0, 0.0, 0.0, Action.BUY),
        (Action.BUY, 100.05, 0.0005 - 0.001, 0.0, Action.HOLD),
    ],
)
def test_profit_score_and_best_action_by_hand(
    action: int, exit_price: float, profit: float, score: float, optimal: int
) -> None:
    """R9.7: side (exit / 100 - 1) - .001; score = profit / .01 in [0, 1]; the best of -move - .001, 0, move - .001."""
    found = outcome_of(action, 100.0, exit_price)
    assert found.actual_profit == pytest.approx(profit, abs=1e-15)
    assert found.profitability_score == pytest.approx(score, abs=1e-12)
    assert found.optimal_action == optimal
    assert found.is_profitable is (profit > 0)
    assert found.outcome_validated


def test_the_two_thresholds_share_one_scale() -> None:
    """A tenth of the target scores .1 (replay), seven tenths .7 (CNN)."""
    rules = OutcomeRules(round_trip_cost=0.0, target_profit=0.5)
    assert outcome_of(2, 1.0, 1.0 + 0.05, rules).profitability_score == pytest.approx(0.1)
    assert outcome_of(2, 1.0, 1.0 + 0.35, rules).profitability_score == pytest.approx(0.7)


def test_the_price_of_the_predictions_own_moment_is_not_used() -> None:
    """R9.8: prices at and before T are 1 and 50; the entry is the first strictly after it, 100."""
    given = prices((-5, 1.0), (0, 50.0), (1, 100.0), (300_000, 101.0))
    found = settle_outcomes([T], [Action.BUY], given)
    assert found.entry_ms.tolist() == [T + 1]
    assert found.exit_ms.tolist() == [T + 300_000]
    assert found.actual_profit[0] == 101.0 / 100.0 - 1.0 - 0.001
    for past in ((-5, 9.0), (0, 9.0)):
        other = prices(past, (1, 100.0), (300_000, 101.0))
        assert settle_outcomes([T], [Action.BUY], other).outcome(0) == found.outcome(0)


def test_an_outcome_is_pending_until_its_horizon_has_passed() -> None:
    """R9.8: a price one millisecond before the horizon settles nothing."""
    for last, status in ((299_999, Status.PENDING), (300_000, Status.VALIDATED)):
        found = settle_outcomes([T], [Action.BUY], prices((1, 100.0), (last, 101.0)))
        assert found.status.tolist() == [status]
        assert found.outcome(0).outcome_validated is (status is Status.VALIDATED)
    nothing = settle_outcomes([T], [Action.BUY], prices((1, 100.0)))
    assert nothing.outcome(0) == TrainingOutcome()
    assert nothing.exit_ms.tolist() == [-1]


def test_without_a_price_to_enter_or_to_leave_at_a_prediction_lapses() -> None:
    """A gap is no outcome: no price inside of the horizon, or none within 300 s after it."""
    for pairs, status in (
        (((1, 100.0), (600_000, 101.0)), Status.VALIDATED),
        (((1, 100.0), (600_001, 101.0)), Status.LAPSED),
        (((300_000, 100.0), (300_001, 101.0)), Status.LAPSED),
        (((299_999, 100.0), (300_000, 101.0)), Status.VALIDATED),
    ):
        found = settle_outcomes([T], [Action.SELL], prices(*pairs))
        assert found.status.tolist() == [status]
        assert bool(found.outcome_validated[0]) is (status is Status.VALIDATED)
    patient = OutcomeRules(max_delay_s=10_000.0)
    late = settle_outcomes([T], [Action.SELL], prices((1, 100.0), (600_001, 101.0)), patient)
    assert late.status.tolist() == [Status.VALIDATED]


def test_a_validated_outcome_never_changes() -> None:
    """R9.7: frozen; another measurement is refused; later corrections of prices change nothing."""
    known = outcome_of(Action.BUY, 100.0, 101.0)
    with pytest.raises(FrozenInstanceError):
        known.actual_profit = 5.0  # type: ignore[misc]
    with pytest.raises(RefusedError, match=r"a validated outcome never changes; this one has a profit of 0\.009"):
        known.replaced_by(outcome_of(Action.BUY, 100.0, 102.0))
    assert known.replaced_by(known) is known
    assert TrainingOutcome().replaced_by(known) is known
    first = settle_outcomes([T, T], [Action.BUY, Action.SELL], prices((1, 100.0), (300_000, 101.0)))
    corrected = prices((1, 100.0), (300_000, 150.0), (400_000, 1.0))
    second = settle_outcomes([T, T], [Action.BUY, Action.SELL], corrected, previous=first)
    assert second.actual_profit.tolist() == first.actual_profit.tolist()
    with pytest.raises(ValueError, match="read-only"):
        second.actual_profit[0] = 1.0


def test_what_was_pending_is_settled_when_prices_come() -> None:
    first = settle_outcomes([T, T + MINUTE], [2, 2], prices((1, 100.0), (MINUTE + 1, 100.0), (300_000, 101.0)))
    assert first.status.tolist() == [Status.VALIDATED, Status.PENDING]
    more = prices((1, 100.0), (MINUTE + 1, 100.0), (300_000, 101.0), (360_000, 102.0))
    second = settle_outcomes([T, T + MINUTE], [2, 2], more, previous=first)
    assert second.status.tolist() == [Status.VALIDATED, Status.VALIDATED]
    assert second.actual_profit.tolist() == [101 / 100 - 1 - 0.001, 102 / 100 - 1 - 0.001]


def test_a_bars_open_is_struck_after_the_close_before_it() -> None:
    """A decision at a bar's close enters at the next open and, after one bar's horizon, leaves at that bar's close."""
    bars = candles(4, step=5 * MINUTE)  # opens 10, 11, 12, 13; closes 11, 12, 13, 14
    decided = int(bars.close_time[0])
    found = settle_outcomes([decided], [Action.BUY], Prices.of_candles(bars), OutcomeRules(round_trip_cost=0.0))
    assert found.entry_ms.tolist() == [decided + 1]
    assert found.exit_ms.tolist() == [bars.close_time[1]]
    assert found.actual_profit[0] == 12.0 / 11.0 - 1.0


def test_several_trades_of_one_millisecond_keep_their_order() -> None:
    trades = Trades(
        trade_id=np.arange(4),
        timestamp=T + np.array([0, 5, 5, 300_000]),
        price=np.array([1.0, 100.0, 7.0, 101.0]),
        quantity=np.ones(4),
        side=np.ones(4, np.int8),
    )
    found = settle_outcomes([T], [Action.BUY], Prices.of_trades(trades))
    assert found.actual_profit[0] == 101.0 / 100.0 - 1.0 - 0.001


def test_the_tracker_settles_as_prices_come() -> None:
    """R9.8: pending at first, settled by the first price at or after the horizon."""
    tracker = OutcomeTracker()
    assert tracker.predict("a", T, Action.BUY) == TrainingOutcome()
    assert tracker.observe(T, 50.0) == []
    assert tracker.observe(T + 1, 100.0) == []
    tracker.predict("b", T + 1, Action.SELL)
    assert tracker.pending == 2
    assert tracker.observe(T + 299_999, 90.0) == []
    (settled,) = tracker.observe(T + 300_000, 101.0)
    assert (settled.prediction_id, settled.status) == ("a", Status.VALIDATED)
    assert settled.outcome == outcome_of(Action.BUY, 100.0, 101.0)
    (lapsed,) = tracker.observe(T + 10 * 300_000, 99.0)
    assert (lapsed.prediction_id, lapsed.status, lapsed.outcome) == ("b", Status.LAPSED, TrainingOutcome())
    assert tracker.pending == 0


def test_the_tracker_refuses_what_would_be_a_look_back_or_ahead() -> None:
    tracker = OutcomeTracker()
    tracker.predict("a", T, Action.BUY)
    tracker.observe(T + 10, 100.0)
    with pytest.raises(DataError, match="prediction 'late' was made at"):
        tracker.predict("late", T + 9, Action.BUY)
    tracker.predict("b", T + 20, Action.BUY)
    with pytest.raises(DataError, match="'c' is earlier than the one before it"):
        tracker.predict("c", T + 15, Action.BUY)
    with pytest.raises(DataError, match="times of prices never fall"):
        tracker.observe(T + 9, 100.0)
    with pytest.raises(DataError, match=r"found 0\.0 at"):
        tracker.observe(T + 30, 0.0)
    with pytest.raises(DataError, match="found 3"):
        tracker.predict("d", T + 30, 3)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: OutcomeRules(horizon_s=0.0), "horizon_s is a finite number > 0"),
        (lambda: OutcomeRules(round_trip_cost=-0.1), "round_trip_cost is a finite number >= 0"),
        (lambda: OutcomeRules(horizon_s=1e-5), "at least a millisecond"),
        (lambda: outcome_of(5, 1.0, 1.0), "0 \\(SELL\\), 1 \\(HOLD\\) or 2 \\(BUY\\); found 5"),
        (lambda: outcome_of(2, 0.0, 1.0), "the entry price is a finite number greater than zero; found 0.0"),
        (lambda: outcome_of(2, 1.0, float("nan")), "the exit price .* found nan"),
        (lambda: prices((5, 1.0), (4, 1.0)), "row 1 does"),
        (lambda: prices((5, 1.0), (6, -1.0)), "found -1.0 in row 1"),
        (lambda: settle_outcomes([T], [2, 2], prices()), "a time and an action"),
        (lambda: settle_outcomes([T], [3], prices()), "found another"),
    ],
)
def test_bad_arguments_are_named(call: Any, text: str) -> None:
    with pytest.raises((InputError, DataError), match=text):
        call()


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data is not here")
def test_real_bars_settle_all_but_those_at_gaps_and_at_the_end() -> None:
    """R9.8: 121,739 real five-minute bars with one gap of 16: the last is pending, the one before the gap lapses."""
    from lockstep.market.load import load_candles

    bars = load_candles(SHARED / "binance" / "BTCUSDT-5m.parquet")
    found = settle_outcomes(bars.close_time, np.full(len(bars), Action.BUY), Prices.of_candles(bars))
    counts = {status: int(np.count_nonzero(found.status == status)) for status in Status}
    assert counts == {Status.PENDING: 1, Status.LAPSED: 1, Status.VALIDATED: len(bars) - 2}
    assert np.all(found.entry_ms[found.outcome_validated] > bars.close_time[found.outcome_validated])
    # A coin's toss less the costs: buying always loses about .1 % in five minutes.
    assert -0.0012 < found.actual_profit[found.outcome_validated].mean() < -0.0008
