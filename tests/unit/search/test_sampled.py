"""Random and Sobol proposers: addressed draws, duplicates, and what the seed decides."""

from __future__ import annotations

import numpy as np
import pytest

from lockstep.core.errors import InputError, SpaceError
from lockstep.core.space import Space
from lockstep.search.proposer import Proposer
from lockstep.search.sampled import RandomProposer, SobolProposer

SPACE = Space.parse({"a": (0.0, 1.0), "b": (1, 10), "c": ["x", "y"]})


def everything(proposer: Proposer) -> list[dict[str, object]]:
    return [dict(row) for row in proposer.ask(1 << 20).rows()]


@pytest.mark.parametrize("kind", [RandomProposer, SobolProposer])
@pytest.mark.parametrize(("start", "stop"), [(0, 1), (0, 100), (3, 4), (5, 99), (64, 96), (97, 100)])
def test_any_piece_of_the_sequence_equals_that_piece_of_the_whole(
    kind: type[RandomProposer | SobolProposer], start: int, stop: int
) -> None:
    whole = kind(SPACE, n_iterations=100, seed=7).unit(0, 100)
    piece = kind(SPACE, n_iterations=100, seed=7).unit(start, stop)
    assert piece.tolist() == whole[start:stop].tolist()


@pytest.mark.parametrize("kind", [RandomProposer, SobolProposer])
def test_draws_are_uniform_on_the_half_open_cube(kind: type[RandomProposer | SobolProposer]) -> None:
    unit = kind(SPACE, n_iterations=4096, seed=1).unit(0, 4096)
    assert unit.min() >= 0.0
    assert unit.max() < 1.0
    # The mean of 4,096 uniform draws has a standard error of 1 / sqrt(12 * 4096) = 0.0045.
    assert np.abs(unit.mean(axis=0) - 0.5).max() < 4 * 0.0045


def test_a_coordinate_belongs_to_its_name_so_that_another_parameter_does_not_move_it() -> None:
    alone = RandomProposer(Space.parse({"a": (0.0, 1.0)}), n_iterations=50, seed=3).unit(0, 50)
    beside = RandomProposer(Space.parse({"z": [1, 2], "a": (0.0, 1.0)}), n_iterations=50, seed=3).unit(0, 50)
    assert alone[:, 0].tolist() == beside[:, 1].tolist()


def test_the_sequence_is_the_same_today_as_when_it_was_written_down() -> None:
    """R4.13: guards the seed tree, the Philox addressing and the decoding against silent change."""
    proposer = RandomProposer(SPACE, n_iterations=3, seed=42)
    raw = [np.random.Philox(key=proposer._tree.child("random", name).key()).random_raw(3) for name in ("a", "b", "c")]
    expected = np.stack([(stream >> np.uint64(11)) * 2.0**-53 for stream in raw], axis=1)
    assert proposer.unit(0, 3).tolist() == expected.tolist()
    # Written down in November 2026; NumPy promises that raw Philox output never changes (NEP 19).
    assert proposer.unit(0, 2).tolist() == [
        [0.813863378791981, 0.21814984736457865, 0.6855274936254795],
        [0.931203072935497, 0.2810281286104801, 0.5184136196457173],
    ]
    first = next(iter(proposer.ask(1).rows()))
    assert first == {"a": expected[0, 0], "b": 1 + int(expected[0, 1] * 10), "c": "xy"[int(expected[0, 2] * 2)]}


@pytest.mark.parametrize("kind", [RandomProposer, SobolProposer])
@pytest.mark.parametrize("trials", [0, 1, 8_191, 8_192, 8_193, 16_384, 16_385])
def test_a_state_goes_on_at_its_very_trial_also_where_a_chunk_of_draws_ends(
    kind: type[RandomProposer | SobolProposer], trials: int
) -> None:
    """Draws are made in chunks of 8,192; all of these differ, so trial i is draw i."""
    space = Space.parse({"a": (0.0, 1e6), "b": (0.0, 1e6)})
    whole = space.decode(kind(space, n_iterations=16_390, seed=7).unit(0, 16_390))
    proposer = kind(space, n_iterations=16_390, seed=7)
    proposer.set_state({"told": trials})
    following = proposer.ask(3)
    assert (following.start, proposer.duplicates) == (trials, 0)
    assert {name: column.tolist() for name, column in following.columns.items()} == {
        name: column[trials : trials + 3].tolist() for name, column in whole.items()
    }


def test_equal_draws_are_tried_once_and_counted() -> None:
    """Random search de-duplicates; the first occurrence is kept."""
    space = Space.parse({"a": (1, 3), "b": [True, False]})
    proposer = RandomProposer(space, n_iterations=500, seed=0)
    rows = everything(proposer)
    assert len(rows) == 3 * 2  # 500 draws of 6 combinations meet all of them
    assert proposer.duplicates == 500 - 6
    drawn = space.decode(proposer.unit(0, 500))
    order = list(dict.fromkeys(zip(drawn["a"].tolist(), drawn["b"].tolist(), strict=True)))
    assert [(row["a"], row["b"]) for row in rows] == order


def test_floats_count_as_equal_when_they_agree_to_six_decimals() -> None:
    # Between 1.0 and 1.00001 there are 11 numbers of six decimals; the range is narrower than 1e-5, so it is
    # compared five decimals finer and nothing is lost.
    narrow = RandomProposer(Space.parse({"a": (1.0, 1.00001)}), n_iterations=200, seed=0)
    assert len(everything(narrow)) == 200
    wide = RandomProposer(Space.parse({"a": (0.0, 3.0)}), n_iterations=200, seed=0)
    assert wide._key("a", np.array([1.0000001])).tolist() == wide._key("a", np.array([1.0000004])).tolist()
    assert wide._key("a", np.array([1.000001])).tolist() != wide._key("a", np.array([1.000002])).tolist()
    assert wide._key("a", np.array([-0.0])).tolist() == wide._key("a", np.array([0.0])).tolist()


@pytest.mark.parametrize(
    "notation",
    [
        {"low": 1e-9, "high": 1.0, "log": True},  # a third of the draws lie below 1e-6
        {"low": 1e-12, "high": 1e3, "log": True},
        {"low": 0.0, "high": 1.0, "step": 2.5e-7},
        {"low": 1e300, "high": 1e308},
        [number * 1e-8 for number in range(1, 513)],
    ],
)
def test_small_steps_and_large_numbers_are_not_taken_for_equal(notation: object) -> None:
    # Of 512 draws from 512 choices about 1 - 1/e differ; of the others all but a few do.
    proposer = RandomProposer(Space.parse({"a": notation}), n_iterations=512, seed=1)
    assert len({row["a"] for row in everything(proposer)}) == 512 - proposer.duplicates
    assert proposer.duplicates < (220 if isinstance(notation, list) else 3)


def test_a_space_smaller_than_the_number_of_draws_is_said_beforehand() -> None:
    (note,) = RandomProposer(Space.parse({"a": (1, 3)}), n_iterations=10, seed=0).notes
    assert "10 draws from a space of 3 combinations" in note
    assert RandomProposer(SPACE, n_iterations=10, seed=0).notes == ()


def test_sobol_points_say_when_their_number_is_no_power_of_two() -> None:
    assert SobolProposer(SPACE, n_iterations=64, seed=0).notes == ()
    (note,) = SobolProposer(SPACE, n_iterations=100, seed=0).notes
    assert "n_iterations = 100 lies between 64 and 128" in note


def test_sobol_points_fill_every_cell_where_random_draws_leave_holes() -> None:
    space = Space.parse({"a": (0.0, 1.0), "b": (0.0, 1.0)})
    points = SobolProposer(space, n_iterations=64, seed=5).unit(0, 64)
    cells = {(int(x * 8), int(y * 8)) for x, y in points}
    assert len(cells) == 64  # one point in each of 8 x 8 cells: a (0, 6, 2)-net in base 2


def test_seed_zero_is_a_seed() -> None:
    """R4.28."""
    zero = everything(RandomProposer(SPACE, n_iterations=20, seed=0))
    assert zero == everything(RandomProposer(SPACE, n_iterations=20, seed=0))
    assert zero != everything(RandomProposer(SPACE, n_iterations=20, seed=42))


@pytest.mark.parametrize("kind", [RandomProposer, SobolProposer])
def test_what_cannot_be_searched_is_refused(kind: type[RandomProposer | SobolProposer]) -> None:
    with pytest.raises(SpaceError, match="varies at least one parameter"):
        kind(Space({}), n_iterations=5, seed=0)
    with pytest.raises(InputError, match="n_iterations is a whole number above 0; found 0"):
        kind(SPACE, n_iterations=0, seed=0)
    with pytest.raises(InputError, match="a seed is a whole number"):
        kind(SPACE, n_iterations=5, seed=-1)


def test_more_sobol_points_than_the_sequence_has_are_refused() -> None:
    with pytest.raises(SpaceError, match=r"at most 2\^30 points"):
        SobolProposer(SPACE, n_iterations=2**30 + 1, seed=0)
