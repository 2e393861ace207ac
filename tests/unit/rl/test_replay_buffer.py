"""The profit-weighted buffer: shares, distribution, counts, eviction, accounts, outcomes (R9.22 to R9.25, R9.27)."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.unit.rl.buffer_cases import Known, statistic

from lockstep.core.errors import InputError, RefusedError
from lockstep.episodes.outcomes import TrainingOutcome, outcome_of
from lockstep.rl import ProfitWeightedExperienceBuffer, ReplayRules, experience_store, replay_buffer
from lockstep.rl import profit_kernels as kernels
from lockstep.rl.experience import RLExperience, experience_value
from lockstep.testing.contracts.replay_buffer import experience, play

Buffer = ProfitWeightedExperienceBuffer


def filled(profits: list[float | None], *, capacity: int = 64, seed: int = 42, **rules: float) -> Buffer:
    """One experience per profit; a profit of .01 scores 1, losses and None score 0."""
    buffer = Buffer(capacity, seed=seed, rules=ReplayRules(**rules))
    for number, profit in enumerate(profits):
        buffer.add(experience(number, profit=profit))
    return buffer


def lost(number: int) -> RLExperience:
    """One that earned nothing and was no mistake."""
    plain = replace(experience(number), action=1)
    return plain.with_outcome(TrainingOutcome(actual_profit=0.0, optimal_action=1))


def ids(buffer: Buffer) -> list[int]:
    """Ids of the content, in order of slots."""
    return [int(id) for id in buffer._store.ids[: len(buffer)]]


def slots(buffer: Buffer, batch_size: int, prioritize: bool = True) -> tuple[int, ...]:
    return tuple(int(id) % buffer.capacity for id in buffer.sample_batch(batch_size, prioritize).ids)


# ------------------------------------------------------------------------------------------- composition of a batch


@pytest.mark.parametrize(("batch_size", "profitable"), [(10, 7), (1, 1), (2, 1), (3, 2), (20, 14)])
def test_seven_of_ten_come_from_the_profitable_set(batch_size: int, profitable: int) -> None:
    """R9.22: the first round(.7 n) of a batch; the others come from all, so these are a lower bound."""
    buffer = filled([0.004] * 30 + [-0.004] * 30)
    for _ in range(50):
        batch = buffer.sample_batch(batch_size)
        assert batch.is_profitable[:profitable].all()
        assert len(set(batch.ids.tolist())) == len(batch) == batch_size


def test_fewer_than_seven_of_ten_where_fewer_are_profitable() -> None:
    """R9.22: both profitable ones come first, the other eight from what is left."""
    buffer = filled([0.004, 0.009] + [-0.004] * 30)
    for _ in range(20):
        batch = buffer.sample_batch(10)
        assert batch.is_profitable.tolist() == [True] * 2 + [False] * 8


def test_without_any_profit_it_draws_from_all() -> None:
    batch = filled([-0.004, None] * 10).sample_batch(10)
    assert len(set(batch.ids.tolist())) == 10


def test_the_rest_is_drawn_from_profitable_ones_too() -> None:
    """R9.22: 'rest from all' is not 'rest from the unprofitable'."""
    buffer = filled([0.004] * 30 + [-0.004] * 30)
    assert sum(int(buffer.sample_batch(10).is_profitable[7:].sum()) for _ in range(50)) > 0


@pytest.mark.parametrize("prioritize", [True, False])
@pytest.mark.parametrize("batch_size", [6, 7, 1000])
def test_a_batch_not_smaller_than_the_content_is_all_of_it(prioritize: bool, batch_size: int) -> None:
    """Every count rises by one, and no random number is used."""
    buffer = filled([0.004, -0.004, None, 0.02, None, 0.001])
    before = repr(buffer.get_state()["generator"])
    batch = buffer.sample_batch(batch_size, prioritize)
    assert [int(id) % 64 for id in batch.ids] == [0, 1, 2, 3, 4, 5]
    assert batch.training_counts.tolist() == [1] * 6
    assert repr(buffer.get_state()["generator"]) == before


def test_profitable_ones_are_more_frequent_in_batches_than_in_the_buffer() -> None:
    """R9.23: a tenth of 200 is profitable. .7 of 20 alone is 70 %, and 14 of the 20 are there to be drawn."""
    buffer = filled(([0.006] + [-0.004] * 9) * 20, capacity=256)
    drawn = sum(int(buffer.sample_batch(20).is_profitable.sum()) for _ in range(50))
    assert drawn / (50 * 20) > 0.7
    assert buffer.profitable_size / len(buffer) == 0.1


@given(
    profitable=st.integers(1, 40),
    others=st.integers(1, 40),
    batch_size=st.integers(1, 79),
    share=st.sampled_from([0.0, 0.3, 0.7, 1.0]),
    trained=st.integers(0, 30),
)
def test_the_profitable_share_of_every_batch_exceeds_that_of_the_buffer(
    profitable: int, others: int, batch_size: int, share: float, trained: int
) -> None:
    """R9.23, for every batch: also where nearly all is profitable and has been trained on much more than the losses."""
    assume(batch_size < profitable + others)
    buffer = filled([0.004] * profitable + [-0.004] * others, capacity=128, profitable_share=share)
    for _ in range(trained):
        buffer.sample_batch(profitable)
    batch = buffer.sample_batch(batch_size)
    assert Fraction(int(batch.is_profitable.sum()), batch_size) > Fraction(profitable, profitable + others)


def test_uniform_batches_have_the_share_of_the_buffer() -> None:
    """prioritize_profitable=False: 4 standard deviations of 10,000 draws are 4 sqrt(.09 / 10,000) = .012."""
    buffer = filled(([0.006] + [-0.004] * 9) * 20, capacity=256)
    drawn = sum(int(buffer.sample_batch(20, False).is_profitable.sum()) for _ in range(500))
    assert drawn / 10_000 == pytest.approx(0.1, abs=0.012)


# ------------------------------------------------------------------------------- distribution, against exact values


def successive(weights: dict[int, float], draws: int) -> Iterator[tuple[tuple[int, ...], float]]:
    """Every ordered sample without replacement and its probability: w / (sum of what is left), draw by draw."""
    for order in itertools.permutations(weights, draws):
        left, probability = sum(weights.values()), 1.0
        for slot in order:
            probability *= weights[slot] / left
            left -= weights[slot]
        yield order, probability


def exact(weights: dict[int, float], profitable: set[int], batch_size: int) -> dict[tuple[int, ...], float]:
    """Probabilities of ordered batches: m of the profitable ones first, then of all that is left."""
    first = max(int(0.7 * batch_size + 0.5), batch_size * len(profitable) // len(weights) + 1)
    first = min(first, len(profitable))
    result: dict[tuple[int, ...], float] = {}
    for head, p in successive({slot: weights[slot] for slot in weights if slot in profitable}, first):
        rest = {slot: weight for slot, weight in weights.items() if slot not in head}
        for tail, q in successive(rest, batch_size - first):
            result[head + tail] = result.get(head + tail, 0.0) + p * q
    return result


PROFITS = [0.002, 0.005, 0.02, -0.01, None, -0.03]
SCORES = {0: 0.2, 1: 0.5, 2: 1.0, 3: 0.0, 4: 0.0, 5: 0.0}


@pytest.mark.parametrize("rounds", [0, 1, 4, 1000], ids=["one by one", "one round", "four rounds", "only by dropping"])
@pytest.mark.parametrize("batch_size", [1, 3, 5])
def test_ordered_batches_have_the_exact_probabilities(
    rounds: int, batch_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R9.22: chi-square over all ordered batches, whichever way of drawing is used. Counts do not weigh here."""
    monkeypatch.setattr(replay_buffer, "_ROUNDS", rounds)
    buffer = filled(PROFITS, count_penalty=0.0)
    weights = {slot: (0.05 + score) ** 0.6 for slot, score in SCORES.items()}
    probabilities = exact(weights, {0, 1, 2}, batch_size)
    seen = Counter(slots(buffer, batch_size) for _ in range(6000))
    found, limit = statistic(seen, probabilities)
    assert found < limit
    # The same draws against equal weights: the test can fail.
    wrong, limit = statistic(seen, exact(dict.fromkeys(SCORES, 1.0), {0, 1, 2}, batch_size))
    assert wrong > limit


def test_training_counts_enter_the_probabilities() -> None:
    """R9.24: w = (.05 + score)^.6 / (1 + .1 count), here with counts 0, 3, 6 ... that stay as they are."""
    buffer = filled(PROFITS)
    counts = {slot: 3 * slot for slot in SCORES}
    state = buffer.get_state()
    state["store"]["ints"][:, 2] = list(counts.values())
    weights = {slot: (0.05 + SCORES[slot]) ** 0.6 / (1.0 + 0.1 * counts[slot]) for slot in SCORES}
    seen: Counter[Any] = Counter()
    for _ in range(4000):
        buffer.set_state(state)  # counts as before, generator where the last draw left it
        batch = buffer.sample_batch(3)
        assert batch.weights == pytest.approx([weights[int(id) % 64] for id in batch.ids], rel=1e-14)
        seen[tuple(int(id) % 64 for id in batch.ids)] += 1
        state["generator"] = buffer.get_state()["generator"]
    found, limit = statistic(seen, exact(weights, {0, 1, 2}, 3))
    assert found < limit
    untrained = {slot: (0.05 + score) ** 0.6 for slot, score in SCORES.items()}
    wrong, limit = statistic(seen, exact(untrained, {0, 1, 2}, 3))
    assert wrong > limit


def test_weights_that_few_hold_are_drawn_right_and_in_time() -> None:
    """Base 1.001^6 against .001^6 = 1e-18: dropping draws would go on for ever, so they are taken out of the trees."""
    buffer = filled([-0.01] * 5 + [0.02], floor=0.001, exponent=6.0, count_penalty=0.0)
    weights = dict.fromkeys(range(5), 0.001**6) | {5: 1.001**6}
    seen = Counter(slots(buffer, 3) for _ in range(3000))
    found, limit = statistic(seen, exact(weights, {5}, 3))
    assert found < limit


@pytest.mark.parametrize("rounds", [0, 1, 1000])
def test_uniform_batches_have_equal_probabilities(rounds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """6 * 5 * 4 = 120 ordered batches of three."""
    monkeypatch.setattr(replay_buffer, "_ROUNDS", rounds)
    buffer = filled(PROFITS)
    seen = Counter(slots(buffer, 3, False) for _ in range(6000))
    found, limit = statistic(seen, dict.fromkeys(itertools.permutations(range(6), 3), 1.0 / 120.0))
    assert found < limit


# ---------------------------------------------------------------------------------------------------- training counts


def test_drawing_raises_the_count_and_lowers_the_weight() -> None:
    """R9.24: from b to b / 1.1, b / 1.2, b / 1.3; drawn uniformly or not."""
    buffer = filled([0.02])
    for count in (1, 2, 3):
        batch = buffer.sample_batch(1, count % 2 == 0)
        assert batch.training_counts.tolist() == [count]
        assert buffer.weight(0) == pytest.approx(1.05**0.6 / (1.0 + 0.1 * count), rel=1e-14)


def test_what_was_trained_often_is_drawn_less() -> None:
    """R9.24: bases are as (1.05 / .1)^.6 = 4.1 to 1. Counts c grow as b / (1 + .1 c), so in the long run as sqrt(b):
    2.0 to 1. Without the penalty they stay at 4.1, less what drawing without replacement takes off.
    """
    spread = {}
    for penalty in (0.1, 0.0):
        buffer = filled([0.02] + [0.0005] * 19, count_penalty=penalty)
        for _ in range(300):
            buffer.sample_batch(4)
        counts = buffer._store.ints[:20, 2]
        spread[penalty] = counts[0] / np.mean(counts[1:])
    assert spread[0.0] > 3.0
    assert spread[0.1] < 2.5


# ------------------------------------------------------------------------------------------------ eviction, accounts


def test_the_lowest_value_goes_first_and_unprofitable_ones_before_all_profitable_ones() -> None:
    """Values .4 |d| / (1 + |d|) of d = 3, 1, 9 are .3, .2, .36, none of them a mistake (action 1 of 2,
    best 1); the profitable one has less, and stays."""
    buffer = Buffer(4)
    ids = [buffer.add(lost(number)) for number in range(4)]
    buffer.update_outcome(ids[1], TrainingOutcome(actual_profit=1e-9, is_profitable=True))
    buffer.update_priorities([ids[0], ids[2], ids[3]], [3.0, 1.0, 9.0])
    for gone in (ids[2], ids[0], ids[3]):
        newest = buffer.add(lost(50))
        buffer.update_priorities([newest], [1e6])
        assert buffer.experience(gone) is None
        assert buffer.experience(ids[1]) is not None
    assert buffer.statistics().unprofitable.evicted == 3


def test_only_profitable_ones_left_and_the_lowest_value_among_them_goes() -> None:
    """The newcomer without an outcome is stored all the same: it might turn out profitable."""
    buffer = Buffer(3)
    profits = (0.005, 0.001, 0.009)
    ids = [buffer.add(experience(0, profit=profit)) for profit in profits]  # values .2, .04, .36
    newest = buffer.add(experience(7))
    assert [buffer.experience(id) is not None for id in (*ids, newest)] == [True, False, True, True]
    assert buffer.statistics().profitable.evicted == 1
    buffer.add(experience(8, profit=0.009))  # .2 goes, not the one that waits
    assert [buffer.experience(id) is not None for id in (*ids, newest)] == [False, False, True, True]


def test_of_equal_values_the_oldest_goes() -> None:
    """Losses without error all have value 0, and whoever waits has no value: first in, first out."""
    for made in (lost, experience):
        buffer = Buffer(8)
        ids = [buffer.add(made(number)) for number in range(30)]
        assert [buffer.experience(id) is not None for id in ids] == [False] * 22 + [True] * 8
    assert (buffer.statistics().evicted_unknown, buffer.statistics().unprofitable.evicted) == (22, 22)


@pytest.mark.parametrize("profit", [-0.004, 0.004])
def test_in_a_full_buffer_newcomers_stay_until_their_outcome_is_known(profit: float) -> None:
    """R9.27: a live loop adds first and tells outcomes 20 experiences later; full of losses or of profits, no newcomer
    makes room for another before. 20 of 40 slots are half: one later is too late, since no outcome is to be expected.
    """
    for delay, kept in ((20, True), (21, False)):
        buffer = filled([profit] * 40, capacity=40)
        waiting: list[int] = []
        for number in range(200):
            waiting.append(buffer.add(experience(number)))
            if len(waiting) > delay:
                assert buffer.update_outcome(waiting.pop(0), outcome_of(2, 1.0, 1.0 + profit)) is kept
        assert buffer.check_valid() == (True, "")
        assert (buffer.statistics().evicted_unknown == 0) is kept


def test_one_that_waited_too_long_goes_before_any_loss() -> None:
    """Number 6 is the third after number 3, half of 6 slots: a loss goes for it. Number 7 is the fourth."""
    buffer = filled([-0.01, -0.01, -0.01, None, -0.01, -0.01], capacity=6)
    waits = ids(buffer)[3]
    for number, here in ((6, True), (7, False)):
        buffer.add(experience(number, profit=0.01))
        assert (buffer.experience(waits) is not None) is here
    assert (buffer.statistics().unprofitable.size, buffer.statistics().evicted_unknown) == (4, 1)


def test_many_added_at_once_are_the_same_as_one_after_the_other() -> None:
    one, many = Buffer(8, seed=1), Buffer(8, seed=1)
    rng = np.random.Generator(np.random.Philox(2))
    profits = rng.normal(0.0, 0.01, 30)
    given = [experience(number, profit=float(profit)) for number, profit in enumerate(profits)]
    ids = [one.add(found) for found in given]
    columns = {
        "states": [found.state for found in given],
        "actions": [found.action for found in given],
        "rewards": [found.reward for found in given],
        "next_states": [found.next_state for found in given],
        "dones": [found.done for found in given],
        "actual_profits": profits,
        "profitability_scores": [found.profitability_score for found in given],
        "optimal_actions": [found.optimal_action for found in given],
        "outcome_validated": np.ones(30, bool),
    }
    assert many.add_batch(**columns).tolist() == ids
    assert repr(one.get_state()) == repr(many.get_state())
    assert many.check_valid() == (True, "")


def test_profitable_and_unprofitable_ones_are_tracked_apart() -> None:
    """R9.25: sizes, means, draws and evictions of both accounts. Scores of .004 and .02 are .4 and 1."""
    buffer = filled([0.004, 0.02, -0.01, None, -0.03])
    found = buffer.statistics()
    assert (found.size, found.added, found.unknown) == (5, 5, 1)
    assert found.mean_score == (0.4 + 1.0) / 5
    assert (found.profitable.size, found.unprofitable.size) == (2, 3)
    assert buffer.profitable_size == 2
    assert found.profitable.mean_score == (0.4 + 1.0) / 2
    assert found.profitable.mean_profit == (0.004 + 0.02) / 2
    assert found.unprofitable.mean_score == 0.0
    assert found.unprofitable.mean_profit == (-0.01 - 0.03) / 2  # not of the one without an outcome
    assert (found.profitable.draws, found.max_training_count) == (0, 0)
    buffer.sample_batch(5)
    buffer.sample_batch(5)
    found = buffer.statistics()
    assert (found.profitable.draws, found.unprofitable.draws, found.max_training_count) == (4, 6, 2)


def test_an_empty_buffer_has_no_means() -> None:
    found = Buffer(4).statistics()
    assert found.mean_score is found.profitable.mean_score is found.unprofitable.mean_profit is None


# ------------------------------------------------------------------------------------------------------------ outcomes


def test_an_outcome_changes_weight_value_and_account() -> None:
    """R9.27: weight from .05^.6 to .45^.6; value from .4 |d| / (1 + |d|) to that + .4 .4 + .2 (action 0, best 2)."""
    buffer = filled([None, -0.01])
    buffer.update_priorities([0], [1.0])
    assert buffer.weight(0) == pytest.approx(0.05**0.6, rel=1e-14)
    assert buffer.update_outcome(0, Known())
    assert buffer.weight(0) == pytest.approx(0.45**0.6, rel=1e-14)
    found = buffer.experience(0)
    assert found is not None
    assert found.experience_value == 0.4 * 0.4 + 0.4 * 0.5 + 0.2
    assert buffer.profitable_size == 1
    assert buffer.check_valid() == (True, "")
    assert buffer.sample_batch(1).ids.tolist() == [0]  # round(.7) = 1 of the profitable set, which it alone is


def test_an_outcome_can_take_an_experience_out_of_the_profitable_account() -> None:
    """R9.27: as long as it was not validated."""
    buffer = filled([None, 0.004])
    buffer.update_outcome(0, Known(outcome_validated=False))
    buffer.update_outcome(0, Known(-0.002, 0.0, 1, False, True))
    assert buffer.profitable_size == 1
    assert buffer.weight(0) == pytest.approx(0.05**0.6, rel=1e-14)
    assert buffer.check_valid() == (True, "")


def test_a_validated_outcome_is_final_and_nothing_of_the_call_is_done() -> None:
    """R9.27: of two outcomes in one call neither is taken where one of them is final."""
    buffer = filled([None, None, None])
    first, second, _ = ids(buffer)
    assert buffer.update_outcome(second, Known())
    assert buffer.update_outcome(second, Known())  # the same again is no change
    before = repr(buffer.get_state())
    with pytest.raises(RefusedError, match=r"a validated outcome does not change; experience 65 \(number 1 of"):
        buffer.update_outcomes([first, second], [0.01, 0.01], [1.0, 1.0], [2, 2])
    with pytest.raises(RefusedError, match="named once"):
        buffer.update_outcomes([first, first], [0.01, 0.01], [1.0, 1.0], [2, 2])
    assert repr(buffer.get_state()) == before
    assert buffer.check_valid() == (True, "")


def test_the_outcome_of_an_evicted_experience_is_passed_over() -> None:
    buffer = Buffer(2)
    ids = [buffer.add(experience(number)) for number in range(3)]
    assert not buffer.update_outcome(ids[0], Known())
    assert buffer.update_outcomes(ids, [0.01] * 3, [1.0] * 3, [0] * 3) == 2
    assert buffer.profitable_size == 2
    assert buffer.weight(ids[0]) == 0.0
    assert buffer.check_valid() == (True, "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0.1, 0.1], [1.0], [2]), r"actual_profits has one entry per id, \(1,\); found shape \(2,\)"),
        (([0.1], [1.0], [2.0]), "optimal_actions are whole numbers"),
        (([np.nan], [1.0], [2]), "actual_profits are finite"),
        (([0.1], [1.5], [2]), "profitability_scores lie in 0 .. 1; outcome 0 has profit 0.1, score 1.5, action 2"),
        (([-0.1], [0.5], [2]), "losses score 0"),
        (([0.1], [1.0], [-2]), "optimal_actions are whole numbers >= 0"),
    ],
)
def test_outcomes_that_break_a_rule_are_refused(arguments: tuple[Any, ...], message: str) -> None:
    buffer = filled([None])
    with pytest.raises(InputError, match=message):
        buffer.update_outcomes([0], *arguments)
    assert buffer.statistics().unknown == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"states": np.full((2, 3), np.nan)}, "states hold finite numbers"),
        ({"next_states": np.ones((2, 4))}, r"next_states has the shape \(2, 3\) here; found \(2, 4\)"),
        ({"states": None}, "experiences have states"),
        ({"actions": None}, "experiences have actions; found none"),
        ({"actions": [0.0, 1.0]}, "actions holds whole numbers; found float64"),
        ({"rewards": [1.0]}, r"rewards has the shape \(2,\) here; found \(1,\)"),
        ({"rewards": [1.0, np.inf]}, "rewards are finite; found inf in row 1"),
        ({"td_errors": [np.nan, 1.0]}, "td_errors are finite; found nan in row 0"),
        ({"actual_profits": [1.0, np.inf]}, "optimal_actions are known where profits are"),
        ({"actual_profits": [1.0, np.inf], "optimal_actions": [1, 1]}, "actual_profits are finite, or NaN"),
        ({"profitability_scores": [0.0, 2.0]}, "profitability_scores lie in 0 .. 1; found 2.0 in row 1"),
        ({"profitability_scores": [0.0, 1.0]}, "losses and unknown outcomes score 0"),
        ({"actions": [0, -1]}, "actions are whole numbers >= 0; found -1 in row 1"),
        ({"training_counts": [0, -1]}, "training_counts are not negative"),
        ({"outcome_validated": [True, False]}, "only known outcomes are validated"),
    ],
)
def test_columns_that_break_a_rule_are_refused_and_leave_the_buffer_empty(change: dict[str, Any], message: str) -> None:
    buffer = Buffer(4)
    columns = {"states": np.ones((2, 3)), "actions": [0, 1], "rewards": [0.0, 1.0], "next_states": np.ones((2, 3))}
    with pytest.raises(InputError, match=message):
        buffer.add_batch(**{**columns, **change})
    assert len(buffer) == 0
    assert buffer.check_valid() == (True, "")
    buffer.add(experience(1))  # no shape was learned from what was refused


@pytest.mark.parametrize("capacity", [0, -1, True, 1.5, 2**40])
def test_a_capacity_that_is_none_is_refused(capacity: Any) -> None:
    with pytest.raises(InputError, match="capacity is a whole number from 1"):
        Buffer(capacity)


@pytest.mark.parametrize("name", ["profitable_share", "floor", "exponent", "count_penalty"])
def test_rules_outside_their_range_are_refused(name: str) -> None:
    for value in (-1.0, np.nan, 1e9):
        with pytest.raises(InputError, match=f"{name} lies in"):
            ReplayRules(**{name: value})


# ------------------------------------------------------------------------------------------------ priorities, twins


def test_priorities_survive_being_saved_and_loaded() -> None:
    """Two of a thousand hold nearly all the weight; after a reload they are drawn as often."""
    profits: list[float | None] = [-0.01] * 998 + [0.02, 0.02]
    buffer = filled(profits, capacity=1000, floor=1e-3, exponent=3.0, count_penalty=0.0)
    again = Buffer(1000, seed=7, rules=buffer.rules)
    again.set_state(buffer.get_state())
    assert [again.weight(id) for id in ids(again)] == [buffer.weight(id) for id in ids(buffer)]
    assert buffer.weight(ids(buffer)[999]) == pytest.approx(1.001**3, rel=1e-14)
    assert again.statistics() == buffer.statistics()
    assert all({998, 999} <= set(slots(again, 4)) for _ in range(50))


def test_a_wrong_weight_key_count_or_account_is_not_valid() -> None:
    """check_valid names the rule that is broken."""

    def weight(buffer: Buffer) -> None:
        kernels.set_weight(buffer._forest.forest, buffer._forest.offsets, 0, 1, 0.3)

    def key(buffer: Buffer) -> None:
        buffer._keys.keys[0, 1] = 0.9
        buffer._keys.forget()

    def account(buffer: Buffer) -> None:
        buffer._store.ints[1, 5] = 1

    def score(buffer: Buffer) -> None:
        buffer._store.floats[0, 2] = 0.9

    def error(buffer: Buffer) -> None:
        buffer._store.floats[0, 3] = 0.9

    def mark(buffer: Buffer) -> None:
        buffer._marked[0] = 1

    def size(buffer: Buffer) -> None:
        buffer._counters[kernels.PROFITABLE] = 0

    def waiting(buffer: Buffer) -> None:
        buffer._counters[kernels.WAIT] = 2

    for damage, rule in (
        (weight, "weight = base"),
        (key, "the key is the value"),
        (account, "the account is that of the outcome"),
        (score, "base = "),
        (error, "value follows"),
        (mark, "nothing is marked"),
        (size, "profitable are those"),
        (waiting, "waiting are those"),
    ):
        buffer = filled([0.004, -0.01, None])
        assert buffer.check_valid() == (True, "")
        damage(buffer)
        ok, reason = buffer.check_valid()
        assert not ok
        assert rule in reason


TWINS = [name.removesuffix("_python") for name in vars(kernels) if name.endswith("_python")]


def test_compiled_and_python_give_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A training on compiled kernels, and the same on their Python twins: equal states, to the last bit."""
    assert len(TWINS) == 16

    def training(buffer: Buffer) -> tuple[list[str], str]:
        digests = play(buffer, 3, 12)
        new = [buffer.add(experience(number)) for number in range(3)]
        buffer.update_priorities(new, [9.0, 8.0, 7.0])
        buffer.update_outcomes(new[1:], [0.01, -0.01], [1.0, 0.0], [2, 1], [0, 1])
        digests += play(buffer, 4, 3)
        for prioritize in (True, False):
            buffer.sample_batch(19, prioritize)  # nearly all: drawn one by one
        return digests, repr(buffer.get_state()) + repr(buffer._forest.forest.tobytes()) + repr(buffer.statistics())

    compiled = training(Buffer(20))
    for name in TWINS:
        monkeypatch.setattr(kernels, name, getattr(kernels, f"{name}_python"))
    for name in ("gather", "find_slots", "broken_rule"):
        monkeypatch.setattr(experience_store, name, getattr(experience_store, f"{name}_python"))
    assert training(Buffer(20)) == compiled


def test_a_fresh_process_with_other_hashes_draws_the_same() -> None:
    """R9.51."""
    script = """
from lockstep.rl import ProfitWeightedExperienceBuffer
from lockstep.testing.contracts.replay_buffer import play
print(*play(ProfitWeightedExperienceBuffer(20, seed=5), 1, 10))
"""
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split() == play(Buffer(20, seed=5), 1, 10)


def test_the_value_of_a_stored_experience_is_that_of_the_experience() -> None:
    buffer = filled([0.004, None, -0.01])
    assert buffer.update_priorities(ids(buffer), [0.5, -2.0, 3.0]) == 3
    for slot, id in enumerate(ids(buffer)):
        found = buffer.experience(id)
        assert found is not None
        best = -1 if found.optimal_action is None else found.optimal_action
        assert found.experience_value == experience_value(found.profitability_score, found.td_error, found.action, best)
        assert buffer._store.floats[slot, 5] == found.experience_value
