"""Canonical JSON: one value, one sequence of bytes."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.core.canonical import dumps, loads

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
keys = st.text().filter(lambda key: key != "$float")
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4), max_leaves=12
)


def bits(value: object) -> object:
    """Floats as their 64 bits, so that NaN equals NaN and -0.0 differs from 0.0."""
    if isinstance(value, float):
        return "nan" if math.isnan(value) else struct.pack("<d", value)
    if isinstance(value, dict):
        return {key: bits(item) for key, item in value.items()}
    if isinstance(value, list):
        return [bits(item) for item in value]
    return value


@given(values)
def test_what_is_written_reads_back_to_the_same_bits(value: object) -> None:
    assert bits(loads(dumps(value))) == bits(value)


@given(st.dictionaries(keys, scalars, min_size=2))
def test_the_order_of_keys_does_not_matter(value: dict[str, object]) -> None:
    assert dumps(dict(reversed(value.items()))) == dumps(value)


def test_the_bytes_are_the_ones_promised() -> None:
    value = {"b": [1, 0.1, True, None], "a": math.nan, "é": -math.inf}
    assert dumps(value).decode() == '{"a":{"$float":"nan"},"b":[1,0.1,true,null],"é":{"$float":"-inf"}}'


def test_numpy_scalars_are_written_as_the_numbers_they_equal() -> None:
    assert dumps([np.float64(0.1), np.int32(7), np.bool_(True), np.float64("nan")]) == dumps([0.1, 7, True, math.nan])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({1: 2}, "keys of canonical JSON are text; found int: 1"),
        ({"$float": 1}, "is reserved"),
        (object(), "canonical JSON holds objects, lists, text, numbers, booleans and null; found object"),
        (np.zeros(2), "found ndarray"),
        (np.longdouble(1), "found longdouble"),
        (np.datetime64(5, "ns"), "found datetime64"),
        (np.complex128(1), "found complex128"),
    ],
)
def test_what_json_cannot_hold_is_refused_with_its_type(value: object, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        dumps(value)


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", '{"$float":"big"}', "{"])
def test_text_that_is_not_canonical_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        loads(text)
