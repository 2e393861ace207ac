"""Which sets are asked: every value of every choice, the ends and the middle of every range, as constraints allow."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lockstep.core.space import Choice, FloatRange, IntRange, Space
from lockstep.strategies.base import Strategy
from lockstep.validation.branches import Branches, branch_values, corner_sets


def generator(seed: int = 1) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def asked(strategy: Strategy, decides: Any = lambda params: True, seed: int = 1) -> tuple[list[dict[str, Any]], Any]:
    """The sets that are asked of a strategy, and the values that no set with a decision had."""
    base = strategy.resolve({}) if set(strategy.defaults) >= set(strategy.space) else None
    branches = Branches(strategy, strategy.space, base, generator(seed))
    sets: list[dict[str, Any]] = []
    while (chosen := branches.next()) is not None:
        sets.append(chosen)
        branches.answered(chosen, 5 if decides(chosen) else 0)
        assert len(sets) < 200
    return sets, branches.unasked


def test_the_values_of_a_parameter_are_its_choices_or_its_ends_and_middle() -> None:
    assert branch_values(Choice((True, False))) == [True, False]
    assert sorted(branch_values(Choice(("b", "a", "c")))) == ["a", "b", "c"]
    assert branch_values(IntRange(2, 10)) == [2, 10, 6]
    assert branch_values(IntRange(1, 2)) == [1, 2]
    assert branch_values(FloatRange(0.5, 1.5)) == [0.5, 1.5, 1.0]
    assert branch_values(FloatRange(0.1, 0.5, step=0.1)) == [0.1, 0.5, 0.3]
    many = branch_values(Choice(tuple(range(1_000))), generator())
    assert len(many) == 64
    assert {0, 999, 500} <= set(many)


class Many(Strategy):
    parameters = {"mode": ["a", "b", "c", "d"], "on": [True, False], "n": (2, 30), "x": (0.0, 1.0)}
    defaults = {"mode": "a", "on": True, "n": 5, "x": 0.3}


def test_every_value_is_in_a_set_and_few_sets_are_enough() -> None:
    sets, unasked = asked(Many())
    for name, dimension in Many().space.items():
        assert {params[name] for params in sets} >= set(branch_values(dimension)), name
    assert unasked == []
    assert len(sets) == 4  # as many as the longest list has choices


def test_a_value_whose_set_decides_nothing_is_asked_again_in_the_set_that_decides() -> None:
    """Where x is at its end nothing enters; the mode that only that set had is asked once more without it."""
    sets, unasked = asked(Many(), decides=lambda params: params["x"] < 1.0)
    assert [name for name, _ in unasked] == ["x"]
    deciding = [params for params in sets if params["x"] < 1.0]
    assert {params["mode"] for params in deciding} == {"a", "b", "c", "d"}


def test_constraints_are_kept_and_a_value_that_none_can_have_is_said() -> None:
    class Ordered(Strategy):
        parameters = {"fast": (5, 60), "slow": (10, 50)}
        defaults = {"fast": 10, "slow": 40}
        constraints = {"fast < slow": lambda p: p["fast"] < p["slow"]}

    sets, unasked = asked(Ordered())
    assert all(params["fast"] < params["slow"] for params in sets)
    assert {params["slow"] for params in sets} >= {10, 30, 50}
    assert unasked == [("fast", 60)]


def test_without_defaults_sets_are_drawn_all_the_same() -> None:
    class Bare(Strategy):
        parameters = {"n": (2, 30), "mode": ["a", "b"]}

    sets, unasked = asked(Bare())
    assert {params["n"] for params in sets} >= {2, 16, 30}
    assert {params["mode"] for params in sets} == {"a", "b"}
    assert unasked == []


def test_corners_hold_the_longest_warm_up() -> None:
    corners = corner_sets(Many(), Many().space, {})
    assert {(params["n"], params["x"]) for params in corners} >= {(2, 0.0), (30, 1.0), (30, 0.3), (5, 0.3)}


@given(
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=5),
    silent=st.integers(0, 5),
    seed=st.integers(0, 2**31),
)
def test_whatever_the_space_every_value_is_asked_once_at_least_and_the_number_of_sets_is_bounded(
    sizes: list[int], silent: int, seed: int
) -> None:
    class Drawn(Strategy):
        parameters = Space({f"p{i}": Choice(tuple(range(size))) for i, size in enumerate(sizes)})
        defaults = {f"p{i}": 0 for i in range(len(sizes))}

    sets, unasked = asked(Drawn(), decides=lambda params: params["p0"] != silent, seed=seed)
    for i, size in enumerate(sizes):
        assert {params[f"p{i}"] for params in sets} == set(range(size))
    assert len(sets) <= 2 * sum(sizes)
    if sizes[0] > 1:
        assert {pair for pair in unasked if pair != ("p0", silent)} == set()
