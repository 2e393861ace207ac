"""Logarithm, exponential and power in plain IEEE arithmetic: the only ones that may touch a result.

The C library's `log`, `exp` and `pow` differ in their last bit between versions and pick other code paths on
other CPUs. Additions, multiplications and divisions do not, so these functions use nothing else: no library
call, no fused multiply-add (numba without fastmath never contracts), no reading of bits. Each is compiled and
has its Python twin `<name>_python`, the very same source, which gives the same bits.

    k, m    x = 2^k m with m in [1/sqrt 2, sqrt 2), exact
    f, s    f = m - 1,  s = f / (2 + f),  so that ln m = ln((1+s)/(1-s)) = 2 (s + s^3/3 + s^5/5 + ...)
    z       s^2 <= 0.0295: eleven terms of the series reach 2^-57
    r       x - k ln 2, |r| <= ln(2)/2: the Taylor series of exp reaches 2^-57 at degree 14
    hi, lo  a number as an unevaluated sum of two floats (Dekker, Numer. Math. 18, 1971)

The reduction is the one of fdlibm (Sun Microsystems, 1993); coefficients are those of the series, not fitted.
Measured against 60-digit arithmetic: log and exp within 1 ulp, power too (2 are promised).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lockstep.core.compiled import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

_INF: Final = math.inf
_NAN: Final = math.nan
# Powers of two by which a number is brought near 1, largest first; written in hex, so no `pow` made them.
_STEPS: Final = (512, 256, 128, 64, 32, 16, 8, 4, 2, 1)
_UP: Final = tuple(float.fromhex(f"0x1p{step}") for step in _STEPS)
_DOWN: Final = tuple(float.fromhex(f"0x1p-{step}") for step in _STEPS)
_FEW: Final = 8
_POWERS: Final = tuple(float.fromhex(f"0x1p{k}") for k in range(-_FEW, _FEW + 1))
_NEAR: Final = 6
"""Place of 2^8 in `_UP`."""
_SQRT2: Final = float.fromhex("0x1.6a09e667f3bcdp+0")
_SQRT_HALF: Final = float.fromhex("0x1.6a09e667f3bcdp-1")
# ln 2 = hi + lo; hi has 32 bits, so k * hi is exact for every exponent k. mid + low splits lo further.
_LN2_HI: Final = float.fromhex("0x1.62e42feep-1")
_LN2_LO: Final = float.fromhex("0x1.a39ef35793c76p-33")
_LN2_MID: Final = float.fromhex("0x1.a39ef357p-33")
_LN2_LOW: Final = float.fromhex("0x1.278ece600fcbep-66")
_INV_LN2: Final = float.fromhex("0x1.71547652b82fep+0")
_THIRD_HI: Final = float.fromhex("0x1.5555555555555p-2")
_THIRD_LO: Final = float.fromhex("0x1.5555555555555p-56")
_SPLIT: Final = 134217729.0  # 2^27 + 1
_EXP_OVERFLOW: Final = float.fromhex("0x1.62e42fefa39efp+9")  # largest x whose exp is finite
_EXP_UNDERFLOW: Final = -745.1332191019412  # below it exp rounds to 0
_TWO_53: Final = 9007199254740992.0
_EXP_COEFFICIENTS: Final = tuple(1.0 / math.factorial(n) for n in range(14, 1, -1))  # 1/14! ... 1/2!
_LOG_COEFFICIENTS: Final = tuple(2.0 / (2 * n + 1) for n in range(11, 0, -1))  # 2/23 ... 2/3
_LOG_TAIL: Final = tuple(1.0 / (2 * n + 1) for n in range(13, 1, -1))  # 1/27 ... 1/5


def _reduce_python(x: float) -> tuple[float, int]:
    """(m, k) with x = m 2^k and m in [1/sqrt 2, sqrt 2), for finite x > 0; exact, also for subnormal x."""
    k = 0
    m = x
    # Most numbers are near 1, where no step is taken.
    if m >= _UP[_NEAR] or m <= _DOWN[_NEAR]:
        for i in range(10):
            if m >= _UP[i]:
                m *= _DOWN[i]
                k += _STEPS[i]
        for i in range(10):
            # 2^-512 twice would miss the deepest subnormals, hence the second pass below.
            if m <= _DOWN[i]:
                m *= _UP[i]
                k -= _STEPS[i]
    while m < _SQRT_HALF:
        m *= 2.0
        k -= 1
    while m >= _SQRT2:
        m *= 0.5
        k += 1
    return m, k


_reduce: Any = kernel(_reduce_python)


def log_python(x: float) -> float:
    """Natural logarithm of `x`; -inf at 0, nan below 0, within 1 ulp."""
    if x != x or x < 0.0:
        return _NAN
    if x == 0.0:
        return -_INF
    if x == _INF:
        return _INF
    m, k = _reduce(x)
    f = m - 1.0  # exact: m lies within a factor of 2 of 1 (Sterbenz)
    s = f / (2.0 + f)
    z = s * s
    series = 0.0
    for coefficient in _LOG_COEFFICIENTS:
        series = series * z + coefficient
    series *= z
    half_square = 0.5 * f * f
    # ln(1+f) = f - f^2/2 + s (f^2/2 + series): the large term f is added last and loses nothing.
    return float(k * _LN2_HI - ((half_square - (s * (half_square + series) + k * _LN2_LO)) - f))


log: Any = kernel(log_python)


def _scale_python(y: float, k: int) -> float:
    """y 2^k with one rounding at most, for y in [0.5, 2]."""
    if -_FEW <= k <= _FEW:
        return y * _POWERS[k + _FEW]
    rest = 0
    if k < -1020:
        rest = k + 1020
        k = -1020
    size = k if k >= 0 else -k
    # Smallest steps first: the last factor that may overflow comes when nothing follows it.
    for i in range(9, -1, -1):
        if size & _STEPS[i]:
            y = y * _UP[i] if k > 0 else y * _DOWN[i]
    if size >= 1024:
        y *= 2.0
        y *= _UP[0] * 0.5
        y *= _UP[0]
    if rest != 0:
        factor = 1.0
        for _ in range(-rest):
            factor *= 0.5
        y *= factor  # the only inexact step: the result is subnormal
    return y


_scale: Any = kernel(_scale_python)


def _exp_sum_python(x: float, low: float) -> float:
    """exp(x + low) for |low| far below an ulp of x."""
    if x != x:
        return _NAN
    if x > _EXP_OVERFLOW:
        return _INF
    if x < _EXP_UNDERFLOW:
        return 0.0
    k = int(x * _INV_LN2 + (0.5 if x >= 0.0 else -0.5))
    high = x - k * _LN2_HI
    correction = k * _LN2_LO - low
    r = high - correction
    # What the subtraction rounded away still counts, at first order.
    lost = (high - r) - correction
    series = 0.0
    for coefficient in _EXP_COEFFICIENTS:
        series = series * r + coefficient
    # 1 + r rounds; r - (near - 1) is what it lost, and is added back with the small terms.
    near = 1.0 + r
    return _scale(near + ((r - (near - 1.0)) + (r * r * series + (lost + lost * r))), k)  # type: ignore[no-any-return]


_exp_sum: Any = kernel(_exp_sum_python)


def exp_python(x: float) -> float:
    """The exponential of `x`; inf above 709.78, 0 below -745.13, within 1 ulp."""
    return _exp_sum(x, 0.0)  # type: ignore[no-any-return]


exp: Any = kernel(exp_python)


def _two_sum_python(a: float, b: float) -> tuple[float, float]:
    """a + b as hi + lo exactly (Knuth)."""
    total = a + b
    shadow = total - a
    return total, (a - (total - shadow)) + (b - shadow)


_two_sum: Any = kernel(_two_sum_python)


def _two_product_python(a: float, b: float) -> tuple[float, float]:
    """a * b as hi + lo exactly (Veltkamp, Dekker), without a fused multiply-add."""
    product = a * b
    t = _SPLIT * a
    a_hi = t - (t - a)
    a_lo = a - a_hi
    t = _SPLIT * b
    b_hi = t - (t - b)
    b_lo = b - b_hi
    return product, ((a_hi * b_hi - product) + a_hi * b_lo + a_lo * b_hi) + a_lo * b_lo


_two_product: Any = kernel(_two_product_python)


def _log_double_python(x: float) -> tuple[float, float]:
    """ln x as hi + lo with a relative error near 2^-64, for finite x > 0."""
    m, k = _reduce(x)
    f = m - 1.0
    divisor = 2.0 + f
    divisor_lo = (2.0 - divisor) + f
    s = f / divisor
    # What the division rounded away: the exact remainder f - s (divisor + divisor_lo), over the divisor.
    product, product_lo = _two_product(s, divisor)
    s_lo = (((f - product) - product_lo) - s * divisor_lo) / divisor
    z, z_lo = _two_product(s, s)
    z_lo += 2.0 * s * s_lo
    tail = 0.0
    for coefficient in _LOG_TAIL:
        tail = tail * z + coefficient
    tail *= z * z  # z^2/5 + z^3/7 + ...
    third, third_lo = _two_product(z, _THIRD_HI)
    third_lo += z * _THIRD_LO + z_lo * _THIRD_HI + tail
    # ln m = 2 s (1 + z/3 + tail)
    factor, factor_lo = _two_sum(1.0, third)
    factor_lo += third_lo
    hi, lo = _two_product(2.0 * s, factor)
    lo += 2.0 * s * factor_lo + 2.0 * s_lo * factor
    base, base_lo = _two_sum(k * _LN2_HI, k * _LN2_MID)
    base_lo += k * _LN2_LOW
    total, total_lo = _two_sum(base, hi)
    total_lo += base_lo + lo
    return _two_sum(total, total_lo)  # type: ignore[no-any-return]


_log_double: Any = kernel(_log_double_python)


def power_python(x: float, y: float) -> float:
    """`x` to the power `y` with the special cases of IEEE 754 `pow`; nan where it is not real; within 2 ulp."""
    if y == 0.0 or x == 1.0:
        return 1.0
    if x != x or y != y:
        return _NAN
    whole = abs(y) >= _TWO_53 or y == float(int(y))
    odd = whole and abs(y) < _TWO_53 and int(y) % 2 != 0
    # 1/x keeps the sign of a zero, which `x < 0` does not see.
    negative = x < 0.0 or (x == 0.0 and math.copysign(1.0, x) < 0.0)
    sign = -1.0 if negative and odd else 1.0
    size = abs(x)
    if abs(y) == _INF:
        if size == 1.0:
            return 1.0
        return _INF if (size > 1.0) == (y > 0.0) else 0.0
    if size == 0.0:
        return sign * (0.0 if y > 0.0 else _INF)
    if size == _INF:
        return sign * (_INF if y > 0.0 else 0.0)
    if x < 0.0 and not whole:
        return _NAN
    if size == 1.0:
        return sign  # also keeps 0 * (a huge y) out of Dekker's product
    hi, lo = _log_double(size)
    # Far beyond both ends of exp: decided here, because Dekker's product would overflow for a huge y.
    if abs(hi * y) > 800.0:
        return sign * (_INF if hi * y > 0.0 else 0.0)
    product, product_lo = _two_product(hi, y)
    product_lo += lo * y
    total, rest = _two_sum(product, product_lo)
    return sign * _exp_sum(total, rest)  # type: ignore[no-any-return]


power: Any = kernel(power_python)


def log_interpolate_python(unit: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    """Positions `unit` (n,) in [0, 1] on a logarithmic scale from `low` to `high`, both > 0; never outside them."""
    start = log(low)
    width = log(high) - start
    values = np.empty(unit.size, np.float64)
    for i in range(unit.size):
        values[i] = min(max(exp(start + unit[i] * width), low), high)
    return values


log_interpolate: Any = kernel(log_interpolate_python)
