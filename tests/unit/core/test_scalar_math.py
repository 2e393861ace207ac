"""log, exp and power without the C library: how exact they are, and that both twins give the same bits."""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Callable
from decimal import Decimal, getcontext, localcontext

import numpy as np
import pytest

from lockstep.core import scalar_math

SPECIAL = (0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5, math.inf, -math.inf, math.nan, 5e-324, 2.2e-308, 1.7e308)
TWINS = (("log", 1), ("exp", 1), ("power", 2))


def bits(value: float) -> bytes:
    """The eight bytes of a float, one NaN standing for all."""
    return struct.pack("<d", math.nan if math.isnan(value) else value)


def ulps(value: float, exact: Decimal) -> float:
    """Distance of `found` from `exact` in units of the last place of the exact value's nearest float."""
    return float(abs(Decimal(value) - exact) / Decimal(math.ulp(float(exact))))


def any_floats(count: int) -> list[float]:
    """Floats drawn uniformly over all bit patterns, so that every exponent, NaN and subnormals occur."""
    generator = random.Random(7)
    return [struct.unpack("<d", generator.randbytes(8))[0] for _ in range(count)]


@pytest.fixture(autouse=True)
def sixty_digits() -> object:
    with localcontext() as context:
        context.prec = 60
        context.Emax, context.Emin = 999_999, -999_999
        yield getcontext()


@pytest.mark.parametrize("scale", [0.3, 3.0, 700.0])
def test_log_is_within_one_unit_in_the_last_place(scale: float) -> None:
    generator = random.Random(1)
    numbers = [math.exp(generator.uniform(-scale, scale)) for _ in range(1500)]
    assert max(ulps(scalar_math.log(x), Decimal(x).ln()) for x in numbers if x != 1.0) < 1.0


def test_log_of_subnormal_numbers_is_exact_to_one_unit() -> None:
    for x in (5e-324, 1e-323, 1.1e-310, 2.2250738585072014e-308):
        assert ulps(scalar_math.log(x), Decimal(x).ln()) < 1.0


@pytest.mark.parametrize("scale", [0.3, 3.0, 708.0])
def test_exp_is_within_one_unit_in_the_last_place(scale: float) -> None:
    generator = random.Random(2)
    numbers = [generator.uniform(-scale, scale) for _ in range(1500)]
    assert max(ulps(scalar_math.exp(x), Decimal(x).exp()) for x in numbers) < 1.0


def test_exp_at_its_edges() -> None:
    assert scalar_math.exp(709.782712893384) == pytest.approx(1.797693134862273e308, rel=1e-13)
    assert scalar_math.exp(709.79) == math.inf
    assert scalar_math.exp(-745.2) == 0.0
    assert scalar_math.exp(-744.0) == 1e-323  # the nearest multiple of 2^-1074 to 7.4e-324 is 2 of them
    assert scalar_math.exp(0.0) == 1.0


def test_power_is_within_two_units_in_the_last_place() -> None:
    generator = random.Random(3)
    worst = 0.0
    for i in range(2000):
        x = math.exp(generator.uniform(-20, 20)) if i % 2 else generator.uniform(0.5, 2.0)
        y = generator.uniform(-690.0, 690.0) / abs(math.log(x))
        worst = max(worst, ulps(scalar_math.power(x, y), (Decimal(x).ln() * Decimal(y)).exp()))
    assert worst < 2.0


def test_power_of_small_whole_numbers_is_exact() -> None:
    for base in range(2, 13):
        for exponent in range(12):
            assert scalar_math.power(float(base), float(exponent)) == float(base**exponent)
    assert scalar_math.power(2.0, 0.5) == math.sqrt(2.0)


def test_power_has_the_special_cases_of_ieee_754() -> None:
    for x in SPECIAL:
        for y in (*SPECIAL, 3.0, -3.0, 1e300, -1e300, 9007199254740993.0):
            value = scalar_math.power(x, y)
            try:
                expected = math.pow(x, y)
            except ValueError:  # Python raises where IEEE 754 gives nan, or an infinity for a division by zero
                odd = abs(y) < 2**53 and y % 2 == 1
                expected = math.nan if x != 0.0 else math.copysign(math.inf, x) if odd else math.inf
            except OverflowError:
                expected = math.inf
            if x in (2.0, 0.5, 5e-324, 2.2e-308, 1.7e308) and 0.0 < abs(expected) < math.inf:
                assert value == pytest.approx(expected, rel=1e-15)  # not a special case
            else:
                assert bits(value) == bits(expected), (x, y)


@pytest.mark.parametrize(("name", "arity"), TWINS)
def test_compiled_and_python_twin_give_the_same_bits(name: str, arity: int) -> None:
    compiled: Callable[..., float] = getattr(scalar_math, name)
    python: Callable[..., float] = getattr(scalar_math, f"{name}_python")
    numbers = [*SPECIAL, *any_floats(3000), *np.random.default_rng(4).uniform(-40, 40, 3000).tolist()]
    others = numbers[::-1]
    for x, y in zip(numbers, others, strict=True):
        arguments = (x,) if arity == 1 else (x, y)
        assert bits(compiled(*arguments)) == bits(python(*arguments)), arguments


def test_python_twins_call_no_compiled_code_when_compilation_is_off() -> None:
    # The twins share their helpers with the compiled form; each helper's own twin must agree as well.
    for m in (0.3, 1.0, 7e-310, 1e300):
        assert scalar_math._reduce(m) == scalar_math._reduce_python(m)
        assert scalar_math._log_double(m) == scalar_math._log_double_python(m)
    for k in (-1074, -1021, -3, 0, 5, 1023):
        assert scalar_math._scale(1.25, k) == scalar_math._scale_python(1.25, k) == math.ldexp(1.25, k)


def test_log_interpolation_meets_its_ends_and_never_leaves_them() -> None:
    unit = np.array([0.0, 0.5, 1.0 - 2.0**-53, 1.0])
    values = scalar_math.log_interpolate(unit, 1e-4, 1e-2)
    assert values.tolist() == scalar_math.log_interpolate_python(unit, 1e-4, 1e-2).tolist()
    assert values[0] == pytest.approx(1e-4, rel=1e-15)
    assert values[1] == pytest.approx(1e-3, rel=1e-14)  # the geometric mean
    assert values.min() >= 1e-4
    assert values.max() <= 1e-2
