"""The compiled loops of the profit-weighted buffer, on the arrays of its store, its trees and its eviction keys.

Notation (R9.22 to R9.24; defaults of `replay_buffer.ReplayRules` in brackets)
    b_s    base of slot s, (floor + score)^exponent          [floor .05, exponent .6]
    c_s    its training count
    w_s    weight, b_s / (1 + penalty c_s)                   [penalty .1]
    trees  tree 0 holds the weights of the unprofitable account, tree 1 those of the profitable one: a slot has its
           weight in the tree of its account and 0 in the other
    group  of eviction keys: 0 and 1 hold the values of the unprofitable and the profitable whose outcome is known,
           2 those that wait for theirs, whose keys are all 0, so that the lowest is the oldest

Drawing without replacement, each draw proportional to the weights of the rest, equals drawing with replacement and
dropping duplicates: conditional on a new slot, the distribution of a draw is the same. So no slot is removed from the
trees while a batch is drawn. Only where too many draws are dropped (a batch that is most of the content, or a few slots
with most of the weight) the drawn slots are removed and the rest is drawn one by one.

Each kernel has its Python twin `<name>_python`, the very same source, which gives the same bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lockstep.core.compiled import kernel
from lockstep.core.scalar_math import power
from lockstep.rl.eviction import lowest, set_key
from lockstep.rl.experience import experience_value
from lockstep.rl.experience_store import (
    ACCOUNT,
    ACTION,
    BASE,
    BEST,
    COUNT,
    ERROR,
    OUTCOME,
    PROFIT,
    PROVISIONAL,
    SCORE,
    UNKNOWN,
    VALIDATED,
    VALUE,
)
from lockstep.rl.prefetch import prefetch
from lockstep.rl.sum_tree import find, set_weight, set_weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

GROUPS = 3
WAITING = 2  # group of experiences without outcome

# Places in `counters`, int64 (7,).
SIZE = 0
SERIAL = 1
EVICTED = 2  # to 4: of each group
PROFITABLE = 5  # size of the profitable account
WAIT = 6  # how many wait for their outcome
COUNTERS = 7


class Contents(NamedTuple):
    """A buffer as `set_outcomes` takes it, which changes every part of it but the observations.

    The other kernels take single arrays: a tuple costs some microseconds a call, an eighth of adding eight experiences.
    """

    floats: NDArray[np.float64]
    ints: NDArray[np.int64]
    ids: NDArray[np.int64]
    forest: NDArray[np.float64]
    offsets: NDArray[np.int64]
    keys: NDArray[np.float64]
    shift: int
    best_key: NDArray[np.float64]
    best_slot: NDArray[np.int64]
    counters: NDArray[np.int64]
    floor: float
    exponent: float
    penalty: float


def derive_python(
    floats: NDArray[np.float64], ints: NDArray[np.int64], slots: NDArray[np.int64], floor: float, exponent: float
) -> None:
    """Set account, base and value of slots (n,) from their facts."""
    # Most scores are 0 or 1, and the power is the most expensive operation: compute it once for each of the two.
    base_of_zero = -1.0
    base_of_one = -1.0
    for slot in slots:
        settled = ints[slot, OUTCOME] != UNKNOWN
        ints[slot, ACCOUNT] = 1 if settled and floats[slot, PROFIT] > 0.0 else 0
        score = floats[slot, SCORE]
        if score == 0.0:
            if base_of_zero < 0.0:
                base_of_zero = power(floor, exponent)
            floats[slot, BASE] = base_of_zero
        elif score == 1.0:
            if base_of_one < 0.0:
                base_of_one = power(floor + 1.0, exponent)
            floats[slot, BASE] = base_of_one
        else:
            floats[slot, BASE] = power(floor + score, exponent)
        floats[slot, VALUE] = experience_value(
            floats[slot, SCORE], floats[slot, ERROR], ints[slot, ACTION], ints[slot, BEST]
        )


derive = kernel(derive_python)


def group_of_python(ints: NDArray[np.int64], slot: int) -> int:
    """The group of eviction keys that `slot` is in; `derive` has set its account before."""
    return 2 if ints[slot, OUTCOME] == UNKNOWN else ints[slot, ACCOUNT]


group_of = kernel(group_of_python)


def key_of_python(floats: NDArray[np.float64], slot: int, group: int) -> float:
    """Eviction key of `slot` in its group: its value, or 0 while it waits for its outcome."""
    return 0.0 if group == 2 else floats[slot, VALUE]


key_of = kernel(key_of_python)


def evicted_python(
    ids: NDArray[np.int64], keys: NDArray[np.float64], shift: int, best_key: NDArray[np.float64],
    best_slot: NDArray[np.int64], counters: NDArray[np.int64],
) -> tuple[int, int]:  # fmt: skip
    """Slot and group of the experience that a full buffer evicts next.

    First one that has waited while newcomers filled half the slots: its outcome is overdue. Then the unprofitable one
    of the lowest value, then the profitable one. One of these exists, because waiting experiences that are not overdue
    fill half the slots at most.
    """
    if counters[WAIT] > 0:
        slot = lowest(keys[2], ids, shift, best_key[2], best_slot[2])
        if 2 * (counters[SERIAL] - ids[slot] // ids.size) > ids.size:
            return slot, 2
    slot = lowest(keys[0], ids, shift, best_key[0], best_slot[0])
    if slot >= 0:
        return slot, 0
    return lowest(keys[1], ids, shift, best_key[1], best_slot[1]), 1


evicted = kernel(evicted_python)


def weights_of_python(
    floats: NDArray[np.float64], ints: NDArray[np.int64], slots: NDArray[np.int64], penalty: float
) -> NDArray[np.float64]:
    """The weights w of slots (n,), float64 (n,)."""
    weights = np.empty(slots.size, np.float64)
    for slot in slots:
        prefetch(floats, slot, BASE)
        prefetch(ints, slot, COUNT)
    for k in range(slots.size):
        weights[k] = floats[slots[k], BASE] / (1.0 + penalty * ints[slots[k], COUNT])
    return weights


weights_of = kernel(weights_of_python)


def place_python(
    new_words: NDArray[np.uint32], new_floats: NDArray[np.float64], new_ints: NDArray[np.int64],
    words: NDArray[np.uint32], floats: NDArray[np.float64], ints: NDArray[np.int64], ids: NDArray[np.int64],
    forest: NDArray[np.float64], offsets: NDArray[np.int64],
    keys: NDArray[np.float64], shift: int, best_key: NDArray[np.float64], best_slot: NDArray[np.int64],
    counters: NDArray[np.int64], floor: float, exponent: float, penalty: float, new_ids: NDArray[np.int64],
) -> None:  # fmt: skip
    """Store n rows one after the other, each in a free slot or in that of an evicted experience; write new_ids (n,)."""
    here = np.empty(1, np.int64)
    for k in range(new_ids.size):
        if counters[SIZE] < ids.size:
            slot = counters[SIZE]
            counters[SIZE] += 1
        else:
            slot, group = evicted(ids, keys, shift, best_key, best_slot, counters)
            counters[EVICTED + group] += 1
            counters[WAIT] -= group == 2
            account = ints[slot, ACCOUNT]
            counters[PROFITABLE] -= account
            # The newcomer may belong to the other account or group: its own weight and key do not replace these.
            set_weight(forest, offsets, account, slot, 0.0)
            set_key(keys, group, ids, shift, best_key, best_slot, slot, np.inf)
        ids[slot] = counters[SERIAL] * ids.size + slot
        counters[SERIAL] += 1
        new_ids[k] = ids[slot]
        for column in range(new_floats.shape[1]):
            floats[slot, column] = new_floats[k, column]
        for column in range(new_ints.shape[1]):
            ints[slot, column] = new_ints[k, column]
        for word in range(words.shape[2]):
            words[slot, 0, word] = new_words[k, 0, word]
            words[slot, 1, word] = new_words[k, 1, word]
        here[0] = slot
        derive(floats, ints, here, floor, exponent)
        account = ints[slot, ACCOUNT]
        counters[PROFITABLE] += account
        weight = floats[slot, BASE] / (1.0 + penalty * ints[slot, COUNT])
        set_weight(forest, offsets, account, slot, weight)
        group = group_of(ints, slot)
        counters[WAIT] += group == 2
        key = key_of(floats, slot, group)
        # `set_key` breaks ties by id, so the slot has its new id before.
        set_key(keys, group, ids, shift, best_key, best_slot, slot, key)


place = kernel(place_python)


def draw_distinct_python(
    forest: NDArray[np.float64], offsets: NDArray[np.int64], uniforms: NDArray[np.float64], all_trees: bool,
    marked: NDArray[np.uint8], drawn: NDArray[np.int64], count: int,
) -> int:  # fmt: skip
    """Draw a slot for each of uniforms (m,) in [0, 1), from tree 1 or from both trees.

    A slot that is not `marked` yet is marked and written to `drawn` behind its first `count`. Returns the new count.
    """
    trees = np.ones(uniforms.size, np.int64)
    points = np.empty(uniforms.size, np.float64)
    slots = np.empty(uniforms.size, np.int64)
    below = forest[0, 0] if all_trees else 0.0
    total = below + forest[1, 0]
    # Both trees form one line, tree 0 first. With tree 1 empty, a point that rounding moved to the end stays in tree 0.
    for k in range(uniforms.size):
        points[k] = uniforms[k] * total
        if points[k] < below or (all_trees and forest[1, 0] <= 0.0):
            trees[k] = 0
        else:
            points[k] -= below
    find(forest, offsets, trees, points, slots)
    for slot in slots:
        if marked[slot] == 0:
            marked[slot] = 1
            drawn[count] = slot
            count += 1
    return count


draw_distinct = kernel(draw_distinct_python)


def draw_removing_python(
    forest: NDArray[np.float64], offsets: NDArray[np.int64], ints: NDArray[np.int64], uniforms: NDArray[np.float64],
    all_trees: bool, marked: NDArray[np.uint8], drawn: NDArray[np.int64], count: int,
) -> None:  # fmt: skip
    """Draw a new slot for each of uniforms (m,): the weight of every drawn slot becomes 0.

    `count_draws` sets the weights of all drawn slots again.
    """
    for k in range(count):
        set_weight(forest, offsets, ints[drawn[k], ACCOUNT], drawn[k], 0.0)
    for k in range(uniforms.size):
        draw_distinct(forest, offsets, uniforms[k : k + 1], all_trees, marked, drawn, count + k)
        set_weight(forest, offsets, ints[drawn[count + k], ACCOUNT], drawn[count + k], 0.0)


draw_removing = kernel(draw_removing_python)


def draw_uniform_python(
    size: int, uniforms: NDArray[np.float64], marked: NDArray[np.uint8], drawn: NDArray[np.int64], count: int
) -> int:
    """`draw_distinct` with equal weights: slot floor(size u) for each u of uniforms (m,). Returns the new count."""
    for uniform in uniforms:
        slot = min(int(uniform * size), size - 1)
        if marked[slot] == 0:
            marked[slot] = 1
            drawn[count] = slot
            count += 1
    return count


draw_uniform = kernel(draw_uniform_python)


def shuffle_rest_python(
    size: int, uniforms: NDArray[np.float64], marked: NDArray[np.uint8], drawn: NDArray[np.int64], count: int
) -> None:
    """Draw an unmarked slot for each of uniforms (m,), all equally likely (Fisher and Yates, 1938)."""
    rest = np.flatnonzero(marked[:size] == 0)
    for k in range(uniforms.size):
        left = rest.size - k
        at = k + min(int(uniforms[k] * left), left - 1)
        drawn[count + k] = rest[at]
        marked[rest[at]] = 1
        rest[at] = rest[k]


shuffle_rest = kernel(shuffle_rest_python)


def count_draws_python(
    forest: NDArray[np.float64], offsets: NDArray[np.int64], floats: NDArray[np.float64], ints: NDArray[np.int64],
    slots: NDArray[np.int64], marked: NDArray[np.uint8], penalty: float,
) -> None:  # fmt: skip
    """Raise the training counts of distinct slots (n,) by one, set the weights that follow, and unmark them."""
    accounts = np.empty(slots.size, np.int64)
    for k in range(slots.size):
        slot = slots[k]
        marked[slot] = 0
        ints[slot, COUNT] += 1
        accounts[k] = ints[slot, ACCOUNT]
    set_weights(forest, offsets, accounts, slots, weights_of(floats, ints, slots, penalty))


count_draws = kernel(count_draws_python)


def set_errors_python(
    floats: NDArray[np.float64], ints: NDArray[np.int64], ids: NDArray[np.int64],
    keys: NDArray[np.float64], shift: int, best_key: NDArray[np.float64], best_slot: NDArray[np.int64],
    slots: NDArray[np.int64], errors: NDArray[np.float64],
) -> None:  # fmt: skip
    """Set the td errors (n,) of slots (n,), and the values that follow; a slot of -1 is skipped."""
    for slot in slots:
        # Of both groups: which one it is would have to be read first.
        prefetch(keys, 0, slot)
        prefetch(keys, 1, slot)
    for k in range(slots.size):
        slot = slots[k]
        if slot < 0:
            continue
        floats[slot, ERROR] = errors[k]
        value = experience_value(floats[slot, SCORE], errors[k], ints[slot, ACTION], ints[slot, BEST])
        floats[slot, VALUE] = value
        group = group_of(ints, slot)
        # Keys of waiting experiences are all 0, whatever their value.
        if group != 2:
            set_key(keys, group, ids, shift, best_key, best_slot, slot, value)


set_errors = kernel(set_errors_python)


def broken_outcome_python(
    profits: NDArray[np.float64], scores: NDArray[np.float64], best: NDArray[np.int64]
) -> tuple[int, int]:
    """Index into `replay_buffer._OUTCOME_RULES` and k of the first outcome that breaks a rule, else (-1, -1)."""
    for k in range(profits.size):
        if not np.isfinite(profits[k]):
            return 0, k
        if not 0.0 <= scores[k] <= 1.0:
            return 1, k
        if scores[k] > 0.0 and profits[k] <= 0.0:
            return 2, k
        if best[k] < 0:
            return 3, k
    return -1, -1


broken_outcome = kernel(broken_outcome_python)


def conflict_python(
    floats: NDArray[np.float64], ints: NDArray[np.int64], slots: NDArray[np.int64], profits: NDArray[np.float64],
    scores: NDArray[np.float64], best: NDArray[np.int64], marked: NDArray[np.uint8],
) -> int:  # fmt: skip
    """The first k whose outcome must not be set: its slot occurs twice, or has another validated one. -1 for none."""
    row = -1
    for k in range(slots.size):
        slot = slots[k]
        if slot < 0:
            continue
        if marked[slot] != 0:
            row = k
            break
        if ints[slot, OUTCOME] == VALIDATED and not (
            floats[slot, PROFIT] == profits[k] and floats[slot, SCORE] == scores[k] and ints[slot, BEST] == best[k]
        ):
            row = k
            break
        marked[slot] = 1
    # Draws rely on empty marks, so they are cleared on both ways out.
    for slot in slots:
        if slot >= 0:
            marked[slot] = 0
    return row


conflict = kernel(conflict_python)


def set_outcomes_python(
    buffer: Contents,
    slots: NDArray[np.int64],
    profits: NDArray[np.float64],
    scores: NDArray[np.float64],
    best: NDArray[np.int64],
    validated: NDArray[np.bool_],
) -> None:
    """Set the outcomes of distinct slots (n,), and the accounts, weights and values that follow."""
    floats, ints, ids, counters = buffer.floats, buffer.ints, buffer.ids, buffer.counters
    keys, shift, best_key, best_slot = buffer.keys, buffer.shift, buffer.best_key, buffer.best_slot
    n = slots.size
    before = np.empty(n, np.int64)
    groups = np.empty(n, np.int64)
    leaves = buffer.offsets[buffer.offsets.size - 1]
    for slot in slots:
        for group in range(2):
            prefetch(keys, group, slot)
            prefetch(buffer.forest, group, leaves + slot)
    for k in range(n):
        slot = slots[k]
        before[k] = ints[slot, ACCOUNT]
        groups[k] = group_of(ints, slot)
        floats[slot, PROFIT] = profits[k]
        floats[slot, SCORE] = scores[k]
        ints[slot, BEST] = best[k]
        if ints[slot, OUTCOME] != VALIDATED:
            ints[slot, OUTCOME] = VALIDATED if validated[k] else PROVISIONAL
    derive(floats, ints, slots, buffer.floor, buffer.exponent)
    # A slot has its weight in the tree of its account only. Those that leave a tree and those that enter one are set
    # together, level by level: one after the other, each would wait for memory of its own.
    trees = np.empty(2 * n, np.int64)
    places = np.empty(2 * n, np.int64)
    weights = np.zeros(2 * n, np.float64)
    places[:n] = slots
    weights[:n] = weights_of(floats, ints, slots, buffer.penalty)
    changes = n
    for k in range(n):
        slot = slots[k]
        account = ints[slot, ACCOUNT]
        trees[k] = account
        if account != before[k]:
            counters[PROFITABLE] += account - before[k]
            trees[changes] = before[k]
            places[changes] = slot
            changes += 1
        group = groups[k]
        # With an outcome it waits no more: its group is its account.
        if account != group:
            counters[WAIT] -= group == 2
            set_key(keys, group, ids, shift, best_key, best_slot, slot, np.inf)
        set_key(keys, account, ids, shift, best_key, best_slot, slot, floats[slot, VALUE])
    set_weights(buffer.forest, buffer.offsets, trees[:changes], places[:changes], weights[:changes])


set_outcomes = kernel(set_outcomes_python)


def account_sums_python(
    floats: NDArray[np.float64], ints: NDArray[np.int64], size: int, sums: NDArray[np.float64]
) -> None:
    """Add up into sums (2, 6), a row per account: count, sums of score, profit, value; draws, highest count."""
    for slot in range(size):
        account = ints[slot, ACCOUNT]
        sums[account, 0] += 1.0
        sums[account, 1] += floats[slot, SCORE]
        if ints[slot, OUTCOME] != UNKNOWN:
            sums[account, 2] += floats[slot, PROFIT]
        sums[account, 3] += floats[slot, VALUE]
        sums[account, 4] += ints[slot, COUNT]
        sums[account, 5] = max(sums[account, 5], ints[slot, COUNT])


account_sums = kernel(account_sums_python)
