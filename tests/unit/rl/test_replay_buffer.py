"""The profit-weighted buffer: counts, eviction, accounts, outcomes, twins (R9.23 to R9.25, R9.27)."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from tests.unit.rl.buffer_cases import Buffer, Known, filled, ids, lost, slots

from lockstep.core.errors import InputError, RefusedError
from lockstep.episodes.outcomes import TrainingOutcome, outcome_of
from lockstep.rl import ReplayRules, experience_store
from lockstep.rl import profit_kernels as kernels
from lockstep.rl.experience import experience_value
from lockstep.testing.contracts.replay_buffer import experience, play

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
        ({"outcome_validated": ["False", "False"]}, "outcome_validated holds real numbers; .*Code text"),
        ({"dones": [0.5, 1.0]}, "dones are False or True; found 0.5"),
        ({"rewards": [1j, 0.0]}, "rewards hold real numbers; .*complex128"),
        ({"rewards": ["1.5", "2"]}, "rewards hold real numbers; .*Code text"),
        ({"td_errors": [1j, 0.0]}, "td_errors hold real numbers"),
        ({"actions": [2**70, 0]}, "actions hold real numbers; .* of type object"),
        (
            {"training_counts": [0, 2**60]},
            r"training_counts of newcomers are at most 2\*\*53; found 1152921504606846976",
        ),
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


def test_an_id_that_add_never_returned_is_refused_as_far_as_slots_tell() -> None:
    """Slots are filled in their order first, and only a later experience takes the place of an earlier one."""
    buffer = Buffer(4)
    added = [buffer.add(lost(number)) for number in range(3)]
    assert added == [0, 5, 10]
    for foreign in (1, 2, 4, 7, 11):
        with pytest.raises(InputError, match=f"found {foreign}. Use ids of this buffer only"):
            buffer.update_priorities([added[0], foreign], [5.0, 5.0])
    assert buffer._store.floats[0, experience_store.ERROR] == 0.0
    added += [buffer.add(lost(number)) for number in range(3, 9)]
    assert buffer.update_priorities(added, np.ones(9)) == 4


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
