"""Parameter spaces: every notation, every refusal, decoding and grids."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from lockstep.core.errors import SpaceError
from lockstep.core.space import Choice, FloatRange, IntRange, Space, row


def test_each_notation_of_the_specification_is_read() -> None:
    """R4.5: lists are choices, integer pairs inclusive ranges, float pairs continuous, `range` a grid."""
    space = Space.parse(
        {
            "choice": [30, 50, 75],
            "text": ["fast", "slow"],
            "flag": [True, False],
            "whole": (10, 50),
            "real": (0.0005, 0.005),
            "grid": range(10, 60, 10),
            "stepped": {"low": 0.1, "high": 0.5, "step": 0.1},
            "log": {"low": 1e-5, "high": 1e-2, "log": True},
            "log_whole": {"low": 1, "high": 1000, "log": True},
        }
    )
    assert space["choice"] == Choice((30, 50, 75))
    assert space["whole"] == IntRange(10, 50)
    assert space["real"] == FloatRange(0.0005, 0.005)
    assert space["grid"] == IntRange(10, 50, step=10)  # Python's own range ends before 60
    assert space["stepped"] == FloatRange(0.1, 0.5, step=0.1)
    assert space["log"] == FloatRange(1e-5, 1e-2, log=True)
    assert space["log_whole"] == IntRange(1, 1000, log=True)
    assert space.names[:3] == ("choice", "text", "flag")


def test_two_numbers_in_a_list_are_two_choices_because_toml_has_no_tuples() -> None:
    assert Space.parse({"pierce": [0.0005, 0.005]})["pierce"] == Choice((0.0005, 0.005))


def test_a_number_without_a_point_makes_whole_numbers_and_one_with_a_point_makes_real_ones() -> None:
    assert Space.parse({"a": {"low": 1, "high": 5}})["a"] == IntRange(1, 5)
    assert Space.parse({"a": {"low": 1.0, "high": 5}})["a"] == FloatRange(1.0, 5.0)
    assert Space.parse({"a": {"low": 1, "high": 5, "step": 0.5}})["a"] == FloatRange(1.0, 5.0, step=0.5)


def test_a_python_range_that_counts_down_or_holds_one_number_is_read() -> None:
    assert Space.parse({"a": range(50, 0, -10)})["a"] == IntRange(10, 50, step=10)
    assert Space.parse({"a": range(7, 8)})["a"] == Choice((7,))


@pytest.mark.parametrize(
    ("notation", "words"),
    [
        ((5, 5), "low lies below high; found low 5 and high 5"),
        ((0.5, 0.1), "low lies below high"),
        ([], "names at least one value"),
        ((1, 2, 3), "a tuple is a range of two numbers"),
        (("a", "b"), "a tuple is a range of two numbers"),
        ((True, False), "a tuple is a range of two numbers"),
        (0.5, "unsupported notation of type float"),
        ("fast", "unsupported notation of type str"),
        (None, "unsupported notation of type NoneType"),
        ({1, 2}, "unsupported notation of type set"),
        (range(5, 5), "holds at least one number"),
        ([1, 1], "names each choice once; found 1 twice"),
        ([1, "a"], "all numbers, all texts or all true/false"),
        ([1, True], "all numbers, all texts or all true/false"),
        ([1, None], "all numbers, all texts or all true/false"),
        ([float("nan")], "a finite number"),
        ([2**60], "at most 2\\^53"),
        ((0.0, float("inf")), "a finite number"),
        ((-1.7e308, 1.7e308), "the width of a range is finite"),
        ({"low": 1}, "keys low, high"),
        ({"low": 1, "high": 3, "stepp": 1}, "keys low, high"),
        ({"low": 1, "high": 3, "log": 1}, "log is true or false"),
        ({"low": "1", "high": 3}, "low of a range is a number; found '1'"),
        ({"low": 1, "high": 10, "step": 4}, "write high = 9 or 13"),
        ({"low": 1, "high": 10, "step": 0}, "at least 1; found 0"),
        ({"low": 0.1, "high": 0.55, "step": 0.1}, "write high = 0.5 or 0.6"),
        ({"low": 0.1, "high": 0.5, "step": -0.1}, "above 0"),
        ({"low": 0.0, "high": 1.0, "step": 1e-9}, "at most 10,000,000 steps"),
        ({"low": 0.0, "high": 1.0, "log": True}, "starts above 0"),
        ({"low": 0, "high": 9, "log": True}, "starts at 1 or above"),
        ({"low": 1.0, "high": 9.0, "log": True, "step": 1.0}, "has no step"),
    ],
)
def test_an_invalid_notation_is_refused_and_the_parameter_named(notation: object, words: str) -> None:
    """R4.34: invalid spaces raise ValueError naming the parameter."""
    with pytest.raises(SpaceError, match=words) as caught:
        Space.parse({"good": (1, 2), "pierce_depth": notation})
    assert "'pierce_depth'" in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_an_empty_space_and_something_that_is_no_mapping_are_refused() -> None:
    with pytest.raises(SpaceError, match="at least one parameter"):
        Space.parse({})
    with pytest.raises(SpaceError, match="maps names to ranges"):
        Space.parse([("a", (1, 2))])  # type: ignore[arg-type]
    with pytest.raises(SpaceError, match="letters, digits and underscores; found 'a b'"):
        Space.parse({"a b": (1, 2)})
    with pytest.raises(SpaceError, match=r"use Space\.parse"):
        Space({"a": (1, 2)})  # type: ignore[dict-item]


def test_decoding_reaches_both_ends_of_an_integer_range_with_equal_cells() -> None:
    """R4.5: integer tuples are inclusive at both ends."""
    unit = np.array([[0.0], [0.2499], [0.25], [0.75], [np.nextafter(1.0, 0.0)]])
    # four integers share [0, 1) in cells of 0.25
    assert Space.parse({"a": (2, 5)}).decode(unit)["a"].tolist() == [2, 2, 3, 5, 5]


def test_decoding_gives_the_types_that_were_written() -> None:
    space = Space.parse({"i": (1, 3), "f": (0.0, 1.0), "t": ["a", "b"], "b": [True, False], "c": [1, 2.5]})
    columns = space.decode(np.full((2, 5), 0.5))
    assert [columns[name].dtype for name in "iftbc"] == [np.int64, np.float64, object, np.bool_, np.float64]
    assert row(columns, 1) == {"i": 2, "f": 0.5, "t": "b", "b": False, "c": 2.5}
    assert [type(value) for value in row(columns, 1).values()] == [int, float, str, bool, float]


def test_decoding_refuses_positions_of_another_shape_or_outside_the_cube() -> None:
    space = Space.parse({"a": (1, 3), "b": (1, 3)})
    with pytest.raises(SpaceError, match=r"shape \(n, 2\); found \(3,\)"):
        space.decode(np.zeros(3))
    with pytest.raises(SpaceError, match=r"\[0, 1\)"):
        space.decode(np.ones((1, 2)))
    with pytest.raises(SpaceError, match=r"\[0, 1\)"):
        space.decode(np.full((1, 2), np.nan))


def test_a_logarithmic_range_spends_as_much_on_each_factor_of_ten() -> None:
    unit = np.linspace(0.0, 1.0, 3000, endpoint=False)[:, None]
    values = Space.parse({"a": {"low": 1e-4, "high": 1e-1, "log": True}}).decode(unit)["a"]
    counts = [int(((values >= 10.0**e) & (values < 10.0 ** (e + 1))).sum()) for e in (-4, -3, -2)]
    assert all(abs(count - 1000) <= 1 for count in counts)


def test_steps_are_decimal_so_that_a_user_finds_the_numbers_that_were_written() -> None:
    space = Space.parse({"a": {"low": 0.1, "high": 0.5, "step": 0.1}})
    assert space.grid_rows(0, 5)["a"].tolist() == [0.1, 0.2, 0.3, 0.4, 0.5]


def test_the_grid_is_the_product_with_the_last_parameter_fastest() -> None:
    space = Space.parse({"a": [7, 5], "b": (1, 3)})
    assert space.grid_size() == 2 * 3
    rows = space.grid_rows(0, 6)
    assert list(zip(rows["a"].tolist(), rows["b"].tolist(), strict=True)) == [
        (7, 1),
        (7, 2),
        (7, 3),
        (5, 1),
        (5, 2),
        (5, 3),
    ]
    assert space.grid_rows(4, 5)["b"].tolist() == [2]


def test_a_grid_refuses_a_continuous_range_and_says_how_to_write_a_step() -> None:
    with pytest.raises(SpaceError, match=r"'real': a grid needs finitely many values.*step = 0\.1"):
        Space.parse({"a": [1, 2], "real": (0.0, 1.0)}).grid_size()


def test_grid_rows_outside_the_grid_are_refused() -> None:
    with pytest.raises(SpaceError, match="grid rows lie in 0 to 3; found 2 to 4"):
        Space.parse({"a": (1, 3)}).grid_rows(2, 4)


def test_a_grid_of_astronomic_size_has_a_size_but_no_rows() -> None:
    space = Space.parse({f"p{i}": (1, 10_000) for i in range(6)})
    assert space.grid_size() == 10_000**6
    with pytest.raises(SpaceError, match=r"at most 2\^62"):
        space.grid_rows(0, 1)


def test_validation_returns_plain_values_in_the_order_of_the_space() -> None:
    space = Space.parse({"a": (1, 3), "b": (0.0, 1.0), "t": ["x", "y"]})
    checked = space.validate({"t": "y", "b": np.float64(0.5), "a": np.int64(3)})
    assert list(checked.items()) == [("a", 3), ("b", 0.5), ("t", "y")]
    assert [type(value) for value in checked.values()] == [int, float, str]
    assert space.validate({"a": 2.0, "b": 1, "t": "x"}) == {"a": 2, "b": 1.0, "t": "x"}


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("a", 4, "lies in 1 to 3"),
        ("a", 1.5, "whole number"),
        ("a", True, "whole number"),
        ("b", -0.1, "lies in 0.0 to 1.0"),
        ("b", "x", "a number"),
        ("s", 0.25, "nearest is 0.2"),
        ("t", "z", "one of"),
    ],
)
def test_a_value_outside_its_dimension_is_refused_by_name(name: str, value: object, words: str) -> None:
    space = Space.parse({"a": (1, 3), "b": (0.0, 1.0), "s": {"low": 0.0, "high": 1.0, "step": 0.1}, "t": ["x", "y"]})
    good: dict[str, object] = {"a": 1, "b": 0.5, "s": 0.3, "t": "x"}
    with pytest.raises(SpaceError, match=rf"parameter '{name}'.*{words}"):
        space.validate(good | {name: value})


def test_missing_and_unknown_parameters_are_refused_by_name() -> None:
    space = Space.parse({"a": (1, 3), "b": (1, 3)})
    with pytest.raises(SpaceError, match="parameter 'b': a value is missing"):
        space.validate({"a": 1})
    with pytest.raises(SpaceError, match="parameter 'c': not in this space, which names a, b"):
        space.validate({"a": 1, "b": 1, "c": 1})


def test_spaces_are_equal_only_with_the_same_order() -> None:
    one, other = Space.parse({"a": (1, 2), "b": (1, 3)}), Space.parse({"b": (1, 3), "a": (1, 2)})
    assert one != other
    assert one == Space.parse({"a": (1, 2), "b": (1, 3)})
    assert hash(one) == hash(Space.parse({"a": (1, 2), "b": (1, 3)}))
    assert one != {"a": (1, 2)}


def test_importing_and_decoding_a_plain_space_does_not_load_numba() -> None:
    code = (
        "import sys, numpy as np; from lockstep.core.space import Space;"
        "Space.parse({'a': (1, 3), 'b': (0.1, 0.2)}).decode(np.full((3, 2), .5));"
        "sys.exit('numba' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
