"""Sum trees and lowest keys: twins, exact sums, no slot of weight 0, the exact minimum."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lockstep.rl import eviction, sum_tree
from lockstep.rl.eviction import LowestKeys
from lockstep.rl.sum_tree import SumForest

CAPACITIES = (1, 2, 15, 16, 17, 255, 256, 257, 5000)


def forest_of(weights: Any) -> SumForest:
    weights = np.asarray(weights, np.float64)
    made = SumForest(1, weights.size)
    made.weights[0] = weights
    made.rebuild()
    return made


def find(forest: SumForest, points: Any, tree: int = 0, kernel: Any = sum_tree.find) -> list[int]:
    points = np.array(points, np.float64)
    slots = np.empty(points.size, np.int64)
    kernel(forest.forest, forest.offsets, np.full(points.size, tree), points, slots)
    return [int(slot) for slot in slots]


@pytest.mark.parametrize("capacity", CAPACITIES)
def test_every_level_begins_at_a_cache_line_and_holds_the_sums_of_the_next(capacity: int) -> None:
    made = forest_of(np.arange(capacity) + 1.0)
    assert all(offset % 16 == 0 for offset in made.offsets)
    assert made.forest.ctypes.data % 64 == 0
    assert made.totals[0] == capacity * (capacity + 1) / 2  # whole numbers: every sum is exact
    assert made.check_valid() == (True, "")


@pytest.mark.parametrize("capacity", CAPACITIES)
def test_a_point_is_found_in_the_stretch_of_its_slot(capacity: int) -> None:
    """Stretches of weights 1, 2, 3 ... begin at 0, 1, 3, 6 ...; just below the next one is still the same slot."""
    made = forest_of(np.arange(capacity) + 1.0)
    begins = np.arange(capacity) * (np.arange(capacity) + 1) / 2
    assert find(made, begins) == list(range(capacity))
    assert find(made, np.nextafter(begins + np.arange(capacity) + 1.0, 0.0)) == list(range(capacity))


def test_slots_without_weight_are_never_found_even_beyond_the_end() -> None:
    weights = np.zeros(300)
    weights[[3, 17, 250]] = 0.1, 0.2, 0.3
    made = forest_of(weights)
    total = float(made.totals[0])
    points = np.append(np.linspace(0.0, total, 1001), [np.nextafter(total, 1.0), total * (1.0 + 1e-12)])
    found = find(made, points)
    assert set(found) == {3, 17, 250}
    assert found[-1] == 250


def test_changed_weights_leave_the_bits_of_a_tree_built_anew() -> None:
    """100,000 changes of magnitudes from 1e-12 to 1e12: no rounding gathers."""
    rng = np.random.Generator(np.random.Philox(3))
    made = SumForest(2, 700)
    for _ in range(100):
        trees, slots = rng.integers(0, 2, 1000), rng.integers(0, 700, 1000)
        sum_tree.set_weights(made.forest, made.offsets, trees, slots, 10.0 ** rng.uniform(-12, 12, 1000))
    again = SumForest(2, 700)
    again.weights[:] = made.weights
    again.rebuild()
    assert made.forest.tobytes() == again.forest.tobytes()
    assert made.check_valid() == (True, "")


@pytest.mark.parametrize("capacity", CAPACITIES[:-1])
def test_compiled_and_python_give_the_same_bits(capacity: int) -> None:
    rng = np.random.Generator(np.random.Philox(capacity))
    one, two = SumForest(2, capacity), SumForest(2, capacity)
    for _ in range(3):
        trees, slots = rng.integers(0, 2, 40), rng.integers(0, capacity, 40)
        weights = np.where(rng.random(40) < 0.2, 0.0, rng.lognormal(0.0, 3.0, 40))
        sum_tree.set_weights(one.forest, one.offsets, trees, slots, weights)
        sum_tree.set_weights_python(two.forest, two.offsets, trees, slots, weights)
        sum_tree.set_weight(one.forest, one.offsets, 1, 0, 0.5)
        sum_tree.set_weight_python(two.forest, two.offsets, 1, 0, 0.5)
        assert one.forest.tobytes() == two.forest.tobytes()
        points = rng.random(40) * one.totals[1]
        assert find(one, points, 1) == find(two, points, 1, sum_tree.find_python)
    sum_tree.rebuild_python(two.forest, two.offsets)
    assert one.forest.tobytes() == two.forest.tobytes()


def test_no_slots_and_no_points_change_nothing() -> None:
    made, none = forest_of([1.0, 2.0]), np.empty(0, np.int64)
    before = made.forest.tobytes()
    for kernel in (sum_tree.set_weights, sum_tree.set_weights_python):
        kernel(made.forest, made.offsets, none, none, np.empty(0))
    assert find(made, []) == find(made, [], kernel=sum_tree.find_python) == []
    assert made.forest.tobytes() == before


@pytest.mark.parametrize(("node", "value"), [(-1, 1.0), (0, 7.0), (16, np.nan), (17, -1.0)])
def test_a_damaged_tree_is_not_valid_and_says_where(node: int, value: float) -> None:
    made = forest_of(np.ones(10))
    made.forest[0, node] = value
    ok, reason = made.check_valid()
    assert not ok
    assert reason


def test_the_lowest_key_is_found_after_any_changes() -> None:
    """Against min() over all; ids decide between equal keys, of which there are many. Compiled and Python agree."""
    rng = np.random.Generator(np.random.Philox(5))
    for capacity in (1, 3, 4, 5, 64, 100):
        ids = rng.permutation(capacity).astype(np.int64)
        one, two = LowestKeys(1, capacity), LowestKeys(1, capacity)
        for step in range(300):
            slot = int(rng.integers(0, capacity))
            key = float(rng.choice([0.0, 0.25, 0.5, np.inf]))
            if step % 7 == 0:
                ids[slot] += capacity  # a newer entry in the same slot
            for made, kernel in ((one, eviction.set_key), (two, eviction.set_key_python)):
                kernel(made.keys, 0, ids, made.shift, made.best_key, made.best_slot, slot, key)
            entries = [(float(key), int(ids[at]), at) for at, key in enumerate(one.keys[0])]
            lowest = min(entries)
            wanted = -1 if lowest[0] == np.inf else lowest[2]
            if step % 3 == 0:
                assert one.lowest(0, ids) == wanted
                found = eviction.lowest_python(two.keys[0], ids, two.shift, two.best_key[0], two.best_slot[0])
                assert found == wanted
                assert one.best_slot.tobytes() == two.best_slot.tobytes()
            assert one.check_valid(ids) == (True, "")


def test_a_wrong_minimum_is_not_valid() -> None:
    made = LowestKeys(1, 8)
    ids = np.arange(8)
    made.keys[0] = np.arange(8.0)
    assert made.lowest(0, ids) == 0
    made.keys[0, 2] = -1.0
    ok, reason = made.check_valid(ids)
    assert not ok
    assert "holds slot 0" in reason
