"""Plain prioritised replay: priorities, stratified draws, importance weights, the oldest goes first."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from tests.unit.rl.buffer_cases import statistic

from lockstep.core.errors import InputError, RefusedError
from lockstep.episodes.outcomes import TrainingOutcome
from lockstep.rl import PrioritizedExperienceBuffer, experience_store, prioritized
from lockstep.testing.contracts.replay_buffer import experience, play


def filled(errors: list[float], **options: float) -> tuple[PrioritizedExperienceBuffer, list[int]]:
    buffer = PrioritizedExperienceBuffer(8, seed=42, **options)  # type: ignore[arg-type]
    ids = [buffer.add(experience(number)) for number in range(len(errors))]
    buffer.update_priorities(ids, errors)
    return buffer, ids


def test_draws_have_the_exact_probabilities_of_stratified_sampling() -> None:
    """Priorities 1, 2, 3, 4 of 10 and two draws: the first from [0, 5), the second from [5, 10)."""
    buffer, ids = filled([1.0, 2.0, -3.0, 4.0], alpha=1.0, epsilon=1e-12)
    seen = Counter(tuple(ids.index(int(id)) for id in buffer.sample_batch(2).ids) for _ in range(5000))
    first, second = {0: 1 / 5, 1: 2 / 5, 2: 2 / 5}, {2: 1 / 5, 3: 4 / 5}
    probabilities = {(a, b): first[a] * second[b] for a, b in itertools.product(first, second)}
    found, limit = statistic(seen, probabilities)
    assert found < limit
    wrong, limit = statistic(seen, dict.fromkeys(probabilities, 1 / 6))
    assert wrong > limit


def test_importance_weights_undo_unequal_probabilities() -> None:
    """(N p / sum)^-beta over the largest: of priorities 1 and 4 the weights are 1 and (1/4)^beta."""
    buffer, ids = filled([1.0, 4.0], alpha=1.0, epsilon=1e-12)
    batch = buffer.sample_batch(50, beta=0.5)
    wanted = {ids[0]: 1.0, ids[1]: 0.5}
    assert batch.weights == pytest.approx([wanted[int(id)] for id in batch.ids], rel=1e-9)
    assert np.all(buffer.sample_batch(50, beta=0.0).weights == 1.0)


def test_alpha_0_is_uniform_and_a_newcomer_has_the_highest_priority_so_far() -> None:
    """Priorities of errors 3 and 1 are 3 and 1; the newcomer's is 3, until its own error is known."""
    flat, ids = filled([1.0, 100.0], alpha=0.0)
    assert [flat.weight(id) for id in ids] == [1.0, 1.0]
    buffer, ids = filled([3.0, 1.0], alpha=1.0, epsilon=0.5)
    newest = buffer.add(experience(9))
    assert [buffer.weight(id) for id in (*ids, newest)] == [3.5, 1.5, 3.5]


def test_the_oldest_goes_first_also_when_many_come_at_once() -> None:
    one, many = PrioritizedExperienceBuffer(8), PrioritizedExperienceBuffer(8)
    ids = [one.add(experience(number)) for number in range(21)]
    given = [experience(number) for number in range(21)]
    columns = {
        "states": [found.state for found in given],
        "actions": [found.action for found in given],
        "rewards": [found.reward for found in given],
        "next_states": [found.next_state for found in given],
        "dones": [found.done for found in given],
    }
    assert many.add_batch(**columns).tolist() == ids
    assert [one.experience(id) is not None for id in ids] == [False] * 13 + [True] * 8
    assert repr(one.get_state()) == repr(many.get_state())


def test_priorities_survive_being_saved_and_loaded() -> None:
    """One of eight holds nearly all of it, before and after."""
    buffer, ids = filled([1e-9] * 7 + [1000.0], alpha=1.0)
    again = PrioritizedExperienceBuffer(8, alpha=1.0, seed=7)
    again.set_state(buffer.get_state())
    assert [again.weight(id) for id in ids] == [buffer.weight(id) for id in ids]
    assert set(again.sample_batch(100).ids.tolist()) == {ids[7]}


def test_compiled_and_python_give_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    def training(buffer: PrioritizedExperienceBuffer) -> tuple[list[str], str]:
        return play(buffer, 3, 12), repr(buffer.get_state())

    compiled = training(PrioritizedExperienceBuffer(20))
    for name in ("draw_stratified", "set_priorities"):
        monkeypatch.setattr(prioritized, name, getattr(prioritized, f"{name}_python"))
    for name in ("gather", "find_slots", "broken_rule"):
        monkeypatch.setattr(experience_store, name, getattr(experience_store, f"{name}_python"))
    assert training(PrioritizedExperienceBuffer(20)) == compiled


@pytest.mark.parametrize(
    "options", [{"alpha": -0.1}, {"alpha": 1.1}, {"beta": np.nan}, {"epsilon": 0.0}, {"epsilon": 1e-300}]
)
def test_numbers_outside_their_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(InputError, match=f"buffer: {next(iter(options))} lies in"):
        PrioritizedExperienceBuffer(8, **options)  # type: ignore[arg-type]
    buffer, _ = filled([1.0])
    with pytest.raises(InputError, match=r"beta lies in 0 \.\. 1; found 2.0"):
        buffer.sample_batch(2, beta=2.0)


def test_a_missing_priority_is_not_valid() -> None:
    buffer, _ = filled([1.0, 2.0])
    prioritized.set_weights(buffer._forest.forest, buffer._forest.offsets, np.array([0]), np.array([1]), np.zeros(1))
    assert buffer.check_valid() == (False, "a slot has a priority > 0 iff it is in use; one has not")


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.6, 1.0])
def test_the_largest_errors_that_are_taken_have_a_finite_sum_and_finite_weights(alpha: float) -> None:
    """64 of them, beside the smallest priority there is; one more than the largest is refused, and changes nothing."""
    buffer = PrioritizedExperienceBuffer(64, alpha=alpha, beta=1.0, epsilon=1e-200)
    ids = [buffer.add(experience(number)) for number in range(64)]
    limit = prioritized.largest_error(64, alpha)
    buffer.update_priorities(ids, [0.0] + [limit] * 63)
    assert buffer.check_valid() == (True, "")
    batch = buffer.sample_batch(32)
    assert len(set(batch.ids.tolist())) == 32
    assert batch.weights == pytest.approx(np.ones(32))
    before = repr(buffer.get_state())
    for error in (math.nextafter(limit, np.inf), np.inf, -np.inf, np.nan):
        with pytest.raises(
            InputError, match=rf"td_errors .*; found .* for experience {ids[3]} \(number 1 of .*nothing"
        ):
            buffer.update_priorities([ids[0], ids[3]], [1.0, error])
        columns = {"states": np.ones((2, 3)), "next_states": np.ones((2, 3)), "actions": [0, 0], "rewards": [0.0, 0.0]}
        with pytest.raises(InputError, match=r"td_errors .*; found .* row 1"):
            buffer.add_batch(**columns, td_errors=[0.0, error])
    assert repr(buffer.get_state()) == before


def test_errors_of_1e308_are_refused_where_their_priorities_have_no_finite_sum() -> None:
    buffer, ids = filled([1.0, 2.0], alpha=1.0)
    with pytest.raises(InputError, match=rf"lie within -.*finite sum; found 1e\+308 for experience {ids[1]} .*Scale"):
        buffer.update_priorities(ids, [1.0, 1e308])
    assert [buffer.weight(id) for id in ids] == [1.0 + 1e-6, 2.0 + 1e-6]
    root, ids = filled([1e308, 2.0], alpha=0.5)
    assert root.weight(ids[0]) == pytest.approx(1e154)
    assert root.check_valid() == (True, "")


def test_importance_weights_stay_finite_over_any_range_of_priorities() -> None:
    """Shares of 1 and 1e-505, which float64 does not hold: (N P)^-1 is infinite; the quotients are 1e-505 and 1."""
    buffer = PrioritizedExperienceBuffer(2, alpha=1.0, epsilon=1e-200)
    ids = [buffer.add(experience(number)) for number in range(2)]
    buffer.update_priorities(ids, [0.0, 1e305])
    forest, slots, weights = buffer._forest, np.empty(2, np.int64), np.empty(2)
    for draw in (prioritized.draw_stratified, prioritized.draw_stratified_python):
        draw(forest.forest, forest.offsets, buffer._store.ints, np.zeros(2), 2, 1.0, slots, weights)
        assert slots.tolist() == [0, 1]
        assert weights.tolist() == [1.0, 0.0]


def test_priorities_without_a_finite_sum_are_not_valid() -> None:
    """As a state of an earlier release can have them."""
    buffer, _ = filled([1.0, 2.0], alpha=1.0)
    state = buffer.get_state()
    state["priorities"][:] = 1.7e308
    buffer.set_state(state)
    assert buffer.check_valid() == (False, "the sum of the priorities is finite; it is inf")
    state["priorities"][:] = 1.0
    state["highest"] = np.inf
    buffer.set_state(state)
    assert buffer.check_valid()[1].startswith("the highest |td error| lies in 0 .. ")


def test_an_id_that_add_never_returned_is_refused_also_below_the_highest() -> None:
    """Ids are 0, 9, 18 ... here: a slot is part of each. Evicted ones are passed over."""
    buffer, ids = filled([1.0] * 8)
    ids += [buffer.add(experience(number)) for number in range(8, 20)]
    assert ids[:3] == [0, 9, 18]
    assert buffer.update_priorities(ids, np.ones(20)) == 8
    for foreign in sorted(set(range(max(ids) + 20)) - set(ids)):
        with pytest.raises(InputError, match=f"one that add.. returned; found {foreign}"):
            buffer.update_priorities([ids[-1], foreign], [5.0, 5.0])
    assert buffer.weight(ids[-1]) == pytest.approx(1.0)


def test_an_outcome_is_kept_and_changes_no_draw() -> None:
    """R9.21: facts follow; a validated outcome stays, one of an evicted experience is told to be late."""
    buffer = PrioritizedExperienceBuffer(4, seed=1)
    ids = [buffer.add(experience(number)) for number in range(4)]
    weight = buffer.weight(ids[1])
    good, other = (
        TrainingOutcome(
            actual_profit=profit, profitability_score=0.5, optimal_action=2, is_profitable=True, outcome_validated=True
        )
        for profit in (0.005, 0.006)
    )
    assert buffer.update_outcome(ids[1], good)
    found = buffer.experience(ids[1])
    assert found is not None
    assert (found.actual_profit, found.optimal_action, found.outcome_validated) == (0.005, 2, True)
    assert buffer.weight(ids[1]) == weight
    assert buffer.check_valid() == (True, "")
    with pytest.raises(RefusedError, match="does not change"):
        buffer.update_outcome(ids[1], other)
    buffer.add(experience(9))
    assert not buffer.update_outcome(ids[0], good)
