"""Whatever space is written: it reads back as itself, decodes inside its bounds, and its grid is a product."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lockstep.core import canonical
from lockstep.core.space import Choice, Dimension, FloatRange, IntRange, Space, row

NUMBERS = st.floats(-1e12, 1e12, allow_nan=False)
BELOW_ONE = math.nextafter(1.0, 0.0)


@st.composite
def choices(draw: Any) -> Choice:
    values = draw(
        st.one_of(
            st.lists(st.integers(-1000, 1000), min_size=1, max_size=6, unique=True),
            st.lists(NUMBERS, min_size=1, max_size=6, unique=True),
            st.lists(st.text(max_size=5), min_size=1, max_size=6, unique=True),
        )
    )
    return Choice(tuple(values))


@st.composite
def integers(draw: Any) -> IntRange:
    low, steps, step = draw(st.integers(-(10**6), 10**6)), draw(st.integers(1, 50)), draw(st.integers(1, 9))
    if draw(st.booleans()):
        return IntRange(abs(low) + 1, abs(low) + 1 + steps, log=True)
    return IntRange(low, low + steps * step, step=step)


@st.composite
def reals(draw: Any) -> FloatRange:
    kind = draw(st.sampled_from(["plain", "log", "step"]))
    if kind == "step":
        digits = draw(st.integers(0, 6))
        low, steps, step = draw(st.integers(-1000, 1000)), draw(st.integers(1, 40)), draw(st.integers(1, 20))
        unit = 10**digits
        return FloatRange(low / unit, (low + steps * step) / unit, step=step / unit)
    low, high = sorted(draw(st.tuples(NUMBERS, NUMBERS).filter(lambda pair: pair[0] != pair[1])))
    if kind == "log":
        low, high = math.exp(low / 1e11), math.exp(low / 1e11) * (1.0 + abs(high - low) / 1e9 + 1e-6)
    return FloatRange(low, high, log=kind == "log")


DIMENSIONS: st.SearchStrategy[Dimension] = st.one_of(choices(), integers(), reals())
SPACES = st.dictionaries(st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True), DIMENSIONS, min_size=1, max_size=4).map(
    Space
)


@given(SPACES)
def test_a_space_reads_back_from_its_own_notation_through_canonical_json(space: Space) -> None:
    assert Space.parse(space.to_spec()) == space
    # JSON sorts keys; the order of parameters is then restored by whoever stored the names.
    stored = canonical.loads(canonical.dumps(space.to_spec()))
    assert Space.parse({name: stored[name] for name in space.names}) == space


@given(SPACES, st.lists(st.one_of(st.sampled_from([0.0, BELOW_ONE]), st.floats(0, BELOW_ONE)), min_size=4, max_size=4))
def test_a_decoded_set_is_always_valid_in_its_space(space: Space, unit: list[float]) -> None:
    columns = space.decode(np.array([unit[: len(space)]]))
    decoded = row(columns, 0)
    assert space.validate(decoded) == decoded


@given(SPACES)
def test_the_corners_of_the_cube_decode_to_the_ends_of_every_range(space: Space) -> None:
    corners = space.decode(np.array([[0.0] * len(space), [BELOW_ONE] * len(space)]))
    for name, dimension in space.items():
        first, last = corners[name].tolist()
        if isinstance(dimension, Choice):
            assert (first, last) == (dimension.values[0], dimension.values[-1])
        elif isinstance(dimension, IntRange) or dimension.step is not None:
            assert (first, last) == (dimension.low, dimension.high)
        else:
            width = dimension.high - dimension.low
            assert math.isclose(first, dimension.low, rel_tol=1e-12)
            assert dimension.high - last <= 1e-9 * max(width, abs(dimension.high))


@given(SPACES.filter(lambda space: all(d.size is not None and d.size <= 60 for d in space.values())))
@settings(max_examples=60)
def test_any_slice_of_the_grid_equals_that_slice_of_the_whole(space: Space) -> None:
    size = space.grid_size()
    stop = min(size, 500)
    whole = space.grid_rows(0, stop)
    sets = {tuple(row(whole, i).items()) for i in range(stop)}
    assert len(sets) == stop  # no combination twice
    start = stop // 3
    part = space.grid_rows(start, stop)
    assert all(part[name].tolist() == whole[name][start:].tolist() for name in space)


@given(st.integers(1, 2000), st.integers(0, 2**53 - 1))
def test_cells_never_overflow_and_are_monotonic(count: int, position: int) -> None:
    unit = position / 2**53
    cell = IntRange(0, count).decode(np.array([unit]))[0]
    assert 0 <= cell <= count
    assert cell == min(int(unit * (count + 1)), count)


@given(st.integers(-(2**53), 2**53 - 1), st.integers(1, 2**54), st.sampled_from([BELOW_ONE, 1.0 - 2.0**-52, 0.5]))
def test_the_largest_ranges_of_whole_numbers_keep_their_ends_without_a_clip(low: int, width: int, unit: float) -> None:
    high = min(low + width, 2**53)
    assert low <= IntRange(low, high).decode(np.array([unit]))[0] <= high


@given(
    st.tuples(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False)),
    st.one_of(st.just(BELOW_ONE), st.floats(0, BELOW_ONE)),
)
@settings(max_examples=500)
def test_no_sum_rounds_above_the_end_of_a_continuous_range(ends: tuple[float, float], unit: float) -> None:
    """Of any size: subnormal widths, and ends so far apart that their difference is rounded."""
    low, high = sorted(ends)
    assume(low < high and math.isfinite(high - low))
    assert low <= FloatRange(low, high).decode(np.array([unit]))[0] <= high
