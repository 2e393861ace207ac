"""What a state may hold: equal numbers go in and come out, or are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from lockstep.core.errors import InputError
from lockstep.rl import PrioritizedExperienceBuffer, ProfitWeightedExperienceBuffer, RLExperience
from lockstep.rl.double_dqn import DoubleDQN
from lockstep.rl.networks import DTYPES, NetworkShape
from lockstep.rl.observations import observations
from lockstep.runs.seeds import SeedTree

BUFFERS = (ProfitWeightedExperienceBuffer, PrioritizedExperienceBuffer)
MOMENT = 1_700_000_000_123


def experience(state: Any, next_state: Any) -> RLExperience:
    return RLExperience(state=state, action=1, reward=0.0, next_state=next_state)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (np.array([0.1, 2.0], np.float32), np.float32),
        (np.array([0.5], np.float16), np.float32),
        (np.array([0.1]), np.float64),
        (np.array([0.5], ">f8"), np.float64),
        ([0.1, 3], np.float64),
        ([True, False], np.float32),
        (np.array([2**24, -(2**24)]), np.float32),
        (np.array([2**24 + 1]), np.float64),
        (np.array([2**40]), np.float32),
        (np.array([MOMENT]), np.float64),
        (np.array([2**62, -(2**62)]), np.float32),
        (np.array([2**53 + 2], np.uint64), np.float64),
        (np.array([0.1], np.longdouble) * 0 + 3, np.float64),
        (torch.tensor([0.25]), np.float32),
        (np.zeros((0, 3)), np.float64),
    ],
)
def test_equal_numbers_come_out_of_the_narrowest_type_that_a_rule_allows(value: Any, dtype: type) -> None:
    array = observations(value, "state")
    assert array.dtype == dtype
    assert array.tolist() == np.asarray(value).tolist()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.array([1 + 2j]), "real numbers; found .* of type complex128. Give its real and imaginary part"),
        (["a", "b"], "real numbers; .*Code text as numbers"),
        ("abc", "real numbers"),
        ([1.0, None], "real numbers; .* of type object. Make an array of one type"),
        (np.array(["2024-01-01"], "datetime64[ms]"), "Give the time since a moment"),
        (np.array([5], "timedelta64[s]"), "Divide it by a unit"),
        ([[1.0], [1.0, 2.0]], "is an array of numbers"),
        ([2**53 + 1], "whole ones up to 2.*53; found 9007199254740993"),
        ([0.5, 2**53 + 1], "whole numbers up to 2.*53, .*found 9007199254740993"),
        ([-1, 2**63 + 1], "whole numbers up to 2.*53, .*found 9223372036854775809"),
        ([2**70], "real numbers; .* of type object"),
        (np.array([np.nan]), "finite numbers; found nan"),
        (np.array([1.0, -np.inf], np.float32), "finite numbers; found -inf"),
        (np.array([1e308], np.longdouble) * 1e10, "finite numbers; found inf"),
        (np.array([1.0], np.longdouble) + np.finfo(np.longdouble).eps, "numbers that float64 holds exactly"),
        (np.ma.masked_array([1.0, 2.0], [False, True]), "a number everywhere; found masked values"),
        (torch.ones(1, requires_grad=True), "is an array of numbers"),
    ],
)
def test_what_no_float_holds_is_refused_by_experience_and_buffer(value: Any, message: str) -> None:
    with pytest.raises(InputError, match=f"experience: state .*{message}"):
        experience(value, value)
    rows = {"states": value, "next_states": value, "actions": [0] * 2, "rewards": [0.0] * 2}
    for kind in BUFFERS:
        buffer = kind(4)
        with pytest.raises(InputError, match=f"buffer: states .*{message.replace('is an', '.*an')}"):
            buffer.add_batch(**rows)
        assert len(buffer) == 0
        assert buffer.get_state()["store"]["state_shape"] is None


def test_two_moments_a_millisecond_apart_stay_two() -> None:
    """R9.21: float32 would make 1700000053248 of both."""
    both = experience(np.array([float(MOMENT)]), np.array([MOMENT + 1.0]))
    assert (both.state[0], both.next_state[0]) == (MOMENT, MOMENT + 1)
    for kind in BUFFERS:
        buffer = kind(4)
        id = buffer.add(both)
        back = buffer.experience(id)
        assert back is not None
        assert (back.state[0], back.next_state[0]) == (MOMENT, MOMENT + 1)
        assert buffer.sample_batch(1).states.tolist() == [[MOMENT]]


@pytest.mark.parametrize("kind", BUFFERS)
def test_the_first_float64_state_widens_a_buffer_and_changes_nothing_that_is_there(kind: Any) -> None:
    """0.1 as float32 is 0.100000001..., and stays that; 0.1 as float64 stays itself; then all are float64."""
    buffer = kind(4, state_shape=(2,))
    single = np.full(2, 0.1, np.float32)
    first = buffer.add(experience(single, single))
    assert buffer.sample_batch(1).states.dtype == np.float32
    second = buffer.add(experience(np.full(2, 0.1), np.full(2, 0.2)))
    third = buffer.add(experience(np.array([1, 2]), np.array([3, 4])))
    states = [buffer.experience(id).state for id in (first, second, third)]
    assert {state.dtype for state in states} == {np.dtype(np.float64)}
    assert [state[0] for state in states] == [float(np.float32(0.1)), 0.1, 1.0]
    assert buffer.check_valid() == (True, "")


@pytest.mark.parametrize("kind", BUFFERS)
def test_a_state_of_float64_is_restored_with_and_without_its_observations(kind: Any) -> None:
    buffer = kind(4)
    ids = [buffer.add(experience(np.array([MOMENT + k + 0.5]), np.array([MOMENT + k + 1.5]))) for k in range(6)]
    here = [id for id in ids if buffer.experience(id) is not None]
    recorded = buffer.observed(here)
    for state, columns in ((buffer.get_state(), None), (buffer.get_state(observations=False), recorded)):
        again = kind(4, seed=9)
        again.set_state(state, recorded=columns)
        assert again.observed(here)["state"].tolist() == recorded["state"].tolist()
        assert again.check_valid() == (True, "")


def test_a_network_of_float32_refuses_what_it_would_round_to_its_neighbour() -> None:
    """One of float64 takes it, and tells two moments apart. Small numbers are rounded as the network rounds anyway."""
    single, double = (
        DoubleDQN(NetworkShape(inputs=1, hidden=(4,), dtype=dtype), seeds=SeedTree(1)) for dtype in DTYPES
    )
    with pytest.raises(InputError, match=r"a state holds numbers up to 2\*\*24, .*; found 1700000000123.0. .*float64"):
        single.act(np.array([[float(MOMENT)]]))
    small = np.array([[0.1]])
    assert np.array_equal(single.action_values(small), single.action_values(small.astype(np.float32)))
    values = double.action_values(np.array([[float(MOMENT)], [MOMENT + 1.0]]))
    assert not np.array_equal(values[0], values[1])
