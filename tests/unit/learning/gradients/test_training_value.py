"""Step and session values by their formulas, by hand (docs/replay.md)."""

from __future__ import annotations

import numpy as np
import pytest

from lockstep.learning.gradients.training_value import StepValues, converged, convergence, session_value, steadiness


def test_a_steps_value_is_profit_loss_reduction_and_surprise() -> None:
    """v = .5 p + .3 clip((L' - L) / |L'|) + .2 g / (g + m), m the mean of all norms so far."""
    values = StepValues()
    # First step: no loss before it; g = m = 2.
    assert values.add(loss=1.0, gradient_norm=2.0, profitability=0.4) == pytest.approx(0.5 * 0.4 + 0.2 * 2 / (2 + 2))
    # Loss 1 -> .75 is a reduction of a quarter; m = (2 + 6) / 2 = 4.
    expected = 0.5 * 1.0 + 0.3 * 0.25 + 0.2 * 6 / (6 + 4)
    assert values.add(loss=0.75, gradient_norm=6.0, profitability=1.0) == pytest.approx(expected)
    # A loss that rises gives nothing; m = (2 + 6 + 1) / 3 = 3.
    assert values.add(loss=5.0, gradient_norm=1.0, profitability=0.0) == pytest.approx(0.2 * 1 / (1 + 3))


def test_a_step_without_gradient_and_a_loss_of_zero_have_values() -> None:
    values = StepValues()
    assert values.add(loss=0.0, gradient_norm=0.0, profitability=0.0) == 0.0
    assert values.add(loss=1.0, gradient_norm=0.0, profitability=0.5) == 0.25


def test_the_state_of_step_values_comes_back() -> None:
    one, other = StepValues(), StepValues()
    one.add(loss=1.0, gradient_norm=2.0, profitability=0.4)
    other.set_state(one.get_state())
    step = {"loss": 0.5, "gradient_norm": 1.0, "profitability": 0.1}
    assert one.add(**step) == other.add(**step)


def test_a_sessions_value_is_its_best_quarter_its_steadiness_and_its_convergence() -> None:
    """R9.28: 40 steps, so the top quarter is ten; spans of ten with mean losses 4, 2, 3, 1."""
    values = np.array([0.8] * 10 + [0.1] * 30)
    losses = np.repeat([4.0, 2.0, 3.0, 1.0], 10)
    worth = session_value(losses, values, np.array([1.0, 0.0] * 20))
    assert worth.top_quarter == pytest.approx(0.8)
    # Of six pairs five fall (4-2, 4-3, 4-1, 2-1, 3-1) and one rises (2-3).
    assert worth.steadiness == pytest.approx(4 / 6)
    assert worth.convergence == 0.75
    assert worth.value == pytest.approx(0.5 * 0.8 + 0.3 * 4 / 6 + 0.2 * 0.75)
    assert worth.profitable == 0.5, "shown, and no part of the value"


def test_what_market_and_labels_decide_is_no_part_of_the_value() -> None:
    """R9.28: two sessions that differ in the profitable share alone have one value."""
    losses, values = np.linspace(1.0, 0.5, 60), np.full(60, 0.3)
    one, two = (session_value(losses, values, np.full(60, share)) for share in (0.0, 0.94))
    assert one.value == two.value


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        (np.linspace(1.0, 0.5, 300), 1.0),
        (np.linspace(0.5, 1.0, 300), 0.0),
        (np.ones(300), 0.0),
        (np.linspace(1.0, 0.5, 19), 0.0),
        (np.array([9.0] * 5 + [2.0] * 10 + [1.0] * 10), 1.0),
    ],
)
def test_steadiness_is_how_often_a_later_span_is_better(losses: np.ndarray, expected: float) -> None:
    """Always, never, equal; fewer than two spans; spans of 12 steps end with the last step: 25 = 1 + 12 + 12."""
    assert steadiness(losses) == expected


def test_convergence_compares_the_last_ten_losses_with_the_first_ten() -> None:
    """R9.29: mean 1 at first, .25 at last."""
    losses = np.array([1.0] * 10 + [0.6] * 5 + [0.25] * 10)
    assert convergence(losses) == 0.75
    assert convergence(losses[::-1].copy()) == 0.0, "a loss that grows has not converged at all"
    assert convergence(np.zeros(12)) == 0.0


@pytest.mark.parametrize(("last", "expected"), [(0.995, True), (1.005, True), (0.985, False), (1.02, False)])
def test_converged_when_two_spans_of_ten_differ_by_less_than_a_percent(last: float, expected: bool) -> None:
    """R9.29."""
    assert converged(np.array([3.0] * 5 + [1.0] * 10 + [last] * 10)) is expected


def test_fewer_than_twenty_steps_never_count_as_converged() -> None:
    assert not converged(np.ones(19))
    assert converged(np.ones(20))


def test_a_session_without_steps_is_worth_nothing() -> None:
    none = np.empty(0)
    assert session_value(none, none, none).value == 0.0
