"""Experiences: equation (1) of the module, the fields of R9.21, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.unit.rl.buffer_cases import Known

from lockstep.core.errors import InputError, RefusedError
from lockstep.episodes.outcomes import outcome_of
from lockstep.rl import Action, Outcome, RLExperience
from lockstep.rl.experience import experience_value, experience_value_python


def made(**fields: Any) -> RLExperience:
    return RLExperience(**{"state": [1.0, 2.0], "action": 0, "reward": 0.5, "next_state": [2.0, 3.0], **fields})


def test_an_experience_holds_the_fields_of_the_specification() -> None:
    """R9.21: state, action, reward, next_state, outcome, optimal action, value."""
    found = made(td_error=-3.0).with_outcome(Known())
    assert found.state.tolist() == [1.0, 2.0]
    assert found.next_state.tolist() == [2.0, 3.0]
    assert (found.action, found.reward, found.done) == (0, 0.5, False)
    assert (found.actual_profit, found.profitability_score, found.optimal_action) == (0.004, 0.4, 2)
    assert found.is_profitable
    assert found.outcome_validated
    # .4 of the score .4, .4 of |−3| / (1 + |−3|), .2 because action 0 was not the best, 2
    assert found.experience_value == 0.4 * 0.4 + 0.4 * (3.0 / 4.0) + 0.2 * 1.0


def test_without_an_outcome_only_the_td_error_gives_value() -> None:
    """R9.21: score 0, and no action is known to be better."""
    found = made(td_error=1.0)
    assert found.experience_value == 0.4 * 0.5
    assert not found.is_profitable
    assert found.actual_profit is None
    assert found.optimal_action is None


@pytest.mark.parametrize("score", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("error", [0.0, -0.5, 1e300, -5e-324])
@pytest.mark.parametrize("best", [-1, 0, 2])
def test_the_value_lies_between_0_and_1_and_both_forms_agree(score: float, error: float, best: int) -> None:
    value = experience_value(score, error, 0, best)
    assert 0.0 <= value <= 1.0
    assert value == experience_value_python(score, error, 0, best)


def test_anything_with_the_five_fields_is_an_outcome() -> None:
    """That of R9.21 foremost: 100 to 100.5 less a cost of .001 is a profit of .004, of a target of .01."""
    assert isinstance(Known(), Outcome)
    measured = outcome_of(Action.BUY, 100.0, 100.5)
    found = made(action=int(Action.BUY)).with_outcome(measured)
    assert found.actual_profit == pytest.approx(0.004)
    assert found.experience_value == pytest.approx(0.4 * 0.4)
    assert found.outcome_validated


def test_arrays_of_an_experience_cannot_be_changed_and_are_its_own() -> None:
    given = np.ones(2, np.float32)
    found = made(state=given)
    given[0] = 7.0
    assert found.state.tolist() == [1.0, 1.0]
    with pytest.raises(ValueError, match="read-only"):
        found.state[0] = 7.0


def test_a_validated_outcome_does_not_change() -> None:
    """Validated outcomes are immutable; one that was not validated may be corrected."""
    early = made().with_outcome(Known(outcome_validated=False))
    final = early.with_outcome(Known(actual_profit=0.008, profitability_score=0.8))
    assert final.profitability_score == 0.8
    assert final.with_outcome(Known(actual_profit=0.008, profitability_score=0.8)) is final
    with pytest.raises(RefusedError, match=r"does not change: it is \(0.008, 0.8, 2\); found \(0.004, 0.4, 2\)"):
        final.with_outcome(Known())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"state": [1.0, np.nan]}, "state holds finite numbers"),
        ({"next_state": [1.0]}, r"one shape; found \(2,\) and \(1,\)"),
        ({"action": -1}, "action is a whole number >= 0; found -1"),
        ({"action": True}, "action is a whole number >= 0; found True"),
        ({"action": 1.0}, "action is a whole number >= 0; found 1.0"),
        ({"reward": np.inf}, "reward is a finite number; found inf"),
        ({"td_error": np.nan}, "td_error is a finite number; found nan"),
        ({"training_count": -1}, "training_count is not negative; found -1"),
        ({"training_count": "1"}, "training_count is a whole number; found '1'"),
        ({"reward": 1j}, "reward is a finite number; found 1j"),
        ({"reward": "much"}, "reward is a finite number; found 'much'"),
        ({"td_error": 10**400}, "td_error is a finite number; found 1000"),
        ({"actual_profit": "high", "optimal_action": 1}, "actual_profit is a finite fraction; found 'high'"),
        ({"actual_profit": 0.1, "profitability_score": 1j, "optimal_action": 1}, "lies in 0 .. 1; found 1j"),
        ({"actual_profit": 0.1}, "known together; found 0.1 and None"),
        ({"profitability_score": 0.1}, "an unknown outcome scores 0"),
        ({"outcome_validated": True}, "an unknown outcome scores 0 and is not validated"),
        ({"actual_profit": -0.1, "profitability_score": 0.5, "optimal_action": 1}, "losses score 0"),
    ],
)
def test_what_cannot_be_an_experience_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        made(**fields)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"actual_profit": np.nan}, "actual_profit is a finite fraction; found nan"),
        ({"profitability_score": 1.5}, "lies in 0 .. 1; found 1.5"),
        ({"is_profitable": False}, "says whether actual_profit > 0; found False with a profit of 0.004"),
        ({"optimal_action": -1}, "optimal_action is a whole number >= 0; found -1"),
    ],
)
def test_what_cannot_be_an_outcome_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        made().with_outcome(replace(Known(), **change))
