from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import talib
from tests.unit.market.bars import walk

from lockstep.core.errors import InputError
from lockstep.core.scalar_math import log
from lockstep.market import indicators as ind
from lockstep.market.indicators import ranges, recursive, rolling, swings

BARS = walk(2_000, seed=11)
HIGH, LOW, CLOSE, VOLUME = BARS.high, BARS.low, BARS.close, BARS.volume
NAN = np.nan


def head(values: np.ndarray[Any, Any]) -> int:
    """Length of the NaN head; everything after it is a number."""
    missing = np.isnan(values)
    length = int(np.argmin(missing)) if not missing.all() else values.size
    assert not missing[length:].any()
    return length


def agree(ours: np.ndarray[Any, Any], theirs: np.ndarray[Any, Any], tolerance: float = 1e-12) -> None:
    """Same NaN head, and values equal up to the rounding of another order of additions."""
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs))
    np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance * 100)


@pytest.mark.parametrize("window", [2, 3, 14, 200])
def test_indicators_agree_with_talib(window: int) -> None:
    agree(ind.sma(CLOSE, window), talib.SMA(CLOSE, window))
    agree(ind.ema(CLOSE, window), talib.EMA(CLOSE, window))
    agree(ind.rsi(CLOSE, window), talib.RSI(CLOSE, window))
    agree(ind.wilder_atr(HIGH, LOW, CLOSE, window), talib.ATR(HIGH, LOW, CLOSE, window))
    agree(ind.rolling_max(HIGH, window), talib.MAX(HIGH, window))
    agree(ind.rolling_min(LOW, window), talib.MIN(LOW, window))
    # TA-Lib subtracts mean squares, which costs it half of its digits.
    agree(ind.rolling_std(CLOSE, window), talib.STDDEV(CLOSE, window), tolerance=1e-7)
    for ours, theirs in zip(ind.bollinger(CLOSE, window, 2.5), talib.BBANDS(CLOSE, window, 2.5, 2.5), strict=True):
        agree(ours, theirs, tolerance=1e-7)


def test_true_range_and_volume_mean_agree_with_talib() -> None:
    agree(ind.true_range(HIGH, LOW, CLOSE), talib.TRANGE(HIGH, LOW, CLOSE), tolerance=0)
    agree(ind.volume_mean(VOLUME, 20), talib.SMA(VOLUME, 20))


def test_macd_agrees_with_talib_once_the_seeds_are_forgotten() -> None:
    settled = ind.ema_warmup(26, bits=60)
    for ours, theirs in zip(ind.macd(CLOSE), talib.MACD(CLOSE), strict=True):
        np.testing.assert_allclose(ours[settled:], theirs[settled:], rtol=0, atol=1e-11)
    line, trigger, histogram = ind.macd(CLOSE)
    agree(line, talib.EMA(CLOSE, 12) - talib.EMA(CLOSE, 26))
    np.testing.assert_array_equal(histogram, line - trigger)


def test_rolling_atr_is_the_mean_of_true_ranges() -> None:
    ranges_from_bar_1 = talib.TRANGE(HIGH, LOW, CLOSE)[1:]
    agree(ind.rolling_atr(HIGH, LOW, CLOSE, 14), np.concatenate(([NAN], talib.SMA(ranges_from_bar_1, 14))))


@pytest.mark.parametrize(
    ("name", "length", "values"),
    [
        ("sma", 19, lambda: ind.sma(CLOSE, 20)),
        ("ema", 19, lambda: ind.ema(CLOSE, 20)),
        ("wilder_mean", 19, lambda: ind.wilder_mean(CLOSE, 20)),
        ("rolling_std", 19, lambda: ind.rolling_std(CLOSE, 20)),
        ("rolling_median", 19, lambda: ind.rolling_median(CLOSE, 20)),
        ("rolling_max", 19, lambda: ind.rolling_max(CLOSE, 20)),
        ("rolling_min", 19, lambda: ind.rolling_min(CLOSE, 20)),
        ("previous_max", 20, lambda: ind.previous_max(CLOSE, 20)),
        ("previous_min", 20, lambda: ind.previous_min(CLOSE, 20)),
        ("shift", 3, lambda: ind.shift(CLOSE, 3)),
        ("true_range", 1, lambda: ind.true_range(HIGH, LOW, CLOSE)),
        ("log_returns", 1, lambda: ind.log_returns(CLOSE)),
        ("rsi", 14, lambda: ind.rsi(CLOSE)),
        ("rolling_atr", 14, lambda: ind.rolling_atr(HIGH, LOW, CLOSE)),
        ("wilder_atr", 14, lambda: ind.wilder_atr(HIGH, LOW, CLOSE)),
        ("bollinger", 19, lambda: ind.bollinger(CLOSE)[0]),
        ("macd line", 25, lambda: ind.macd(CLOSE)[0]),
        ("macd signal", 26 + 9 - 2, lambda: ind.macd(CLOSE)[1]),
    ],
)
def test_the_nan_head_has_its_documented_length(name: str, length: int, values: Callable[[], Any]) -> None:
    """NaN heads are left, never back-filled."""
    assert head(values()) == length, name


def test_previous_extrema_leave_the_bar_itself_out() -> None:
    values = [1.0, 5.0, 2.0, 9.0, 3.0]
    np.testing.assert_array_equal(ind.previous_max(values, 2), [NAN, NAN, 5, 5, 9])
    np.testing.assert_array_equal(ind.previous_min(values, 2), [NAN, NAN, 1, 2, 2])


def test_medians_by_hand() -> None:
    values = [5.0, 1.0, 3.0, 3.0, 10.0, -2.0]
    np.testing.assert_array_equal(ind.rolling_median(values, 3), [NAN, NAN, 3, 3, 3, 3])
    np.testing.assert_array_equal(ind.rolling_median(values, 4), [NAN, NAN, NAN, 3, 3, 3])
    np.testing.assert_array_equal(ind.rolling_median(values, 2), [NAN, 3, 2, 3, 6.5, 4])


def test_medians_equal_numpys() -> None:
    values = np.round(CLOSE[:400], 1)  # rounded, so that equal values occur
    for window in (1, 2, 7, 20):
        expected = [np.median(values[t - window + 1 : t + 1]) for t in range(window - 1, values.size)]
        np.testing.assert_array_equal(ind.rolling_median(values, window)[window - 1 :], expected)


def test_equal_values_have_exactly_their_mean_and_no_deviation() -> None:
    values = np.full(100, 0.1)
    assert set(ind.sma(values, 7)[6:].tolist()) == {0.1}
    assert set(ind.rolling_std(values, 7)[6:].tolist()) == {0.0}
    upper, middle, lower = ind.bollinger(values, 7)
    assert upper[6] == middle[6] == lower[6] == 0.1


def test_the_deviation_of_a_sample_divides_by_one_less() -> None:
    values = [1.0, 2.0, 4.0]
    variance = ((1 - 7 / 3) ** 2 + (2 - 7 / 3) ** 2 + (4 - 7 / 3) ** 2) / 2
    assert ind.rolling_std(values, 3, 1)[2] == pytest.approx(variance**0.5, rel=1e-15)
    assert np.isnan(ind.rolling_std(values, 1, 1)).all()


def test_rsi_is_100_without_falls_0_without_rises_and_50_without_movement() -> None:
    rising = np.arange(1.0, 30.0)
    assert ind.rsi(rising, 14)[-1] == 100
    assert ind.rsi(rising[::-1], 14)[-1] == 0
    assert ind.rsi(np.ones(30), 14)[-1] == 50


def test_log_returns_use_the_portable_logarithm() -> None:
    returns = ind.log_returns(CLOSE)
    assert returns[5] == log(CLOSE[5] / CLOSE[4])
    np.testing.assert_allclose(returns[1:], np.diff(np.log(CLOSE)), rtol=0, atol=1e-13)


def test_swings_stand_where_they_become_known() -> None:
    high = [1.0, 2.0, 5.0, 3.0, 1.0, 4.0, 4.0, 2.0, 1.0]
    # The 5 at bar 2 is above two bars on each side, known at bar 4. The two 4s are not strictly above each other.
    np.testing.assert_array_equal(ind.swing_highs(high), [NAN, NAN, NAN, NAN, 5, NAN, NAN, NAN, NAN])
    low = [-value for value in high]
    np.testing.assert_array_equal(ind.swing_lows(low), [NAN, NAN, NAN, NAN, -5, NAN, NAN, NAN, NAN])
    np.testing.assert_array_equal(ind.last_swing_high(high), [NAN, NAN, NAN, NAN, 5, 5, 5, 5, 5])
    np.testing.assert_array_equal(ind.last_swing_low(low), [NAN, NAN, NAN, NAN, -5, -5, -5, -5, -5])
    np.testing.assert_array_equal(ind.swing_highs([1, 2, 1.5], 1), [NAN, NAN, 2])


TWINS = [
    (rolling.rolling_mean, 1, (3,)),
    (rolling.rolling_std, 1, (3, 0)),
    (rolling.rolling_std, 1, (3, 1)),
    (rolling.rolling_median, 1, (3,)),
    (rolling.rolling_median, 1, (4,)),
    (rolling.rolling_max, 1, (3,)),
    (rolling.rolling_min, 1, (3,)),
    (rolling.shift, 1, (2,)),
    (recursive._smooth, 1, (3, 0.4)),
    (recursive.rsi, 1, (3,)),
    (ranges.true_range, 3, ()),
    (ranges.log_returns, 1, ()),
    (swings.swing_highs, 1, (2,)),
    (swings.swing_lows, 1, (2,)),
    (swings.hold, 1, ()),
]


def inputs(n: int, share_nan: float, seed: int) -> list[np.ndarray[Any, Any]]:
    rng = np.random.Generator(np.random.Philox(seed))
    bars = walk(n, seed)
    arrays = [bars.high.copy(), bars.low.copy(), bars.close.copy()]
    for array in arrays:
        array[rng.random(n) < share_nan] = NAN
    return arrays


@pytest.mark.parametrize(("n", "share_nan"), [(0, 0), (1, 0), (1, 1), (2, 0), (7, 0.5), (60, 0), (60, 0.1), (60, 1)])
@pytest.mark.parametrize(("kernel", "count", "options"), TWINS, ids=lambda item: getattr(item, "__name__", None))
def test_a_kernel_and_its_twin_give_the_same_bits(
    kernel: Any, count: int, options: tuple[Any, ...], n: int, share_nan: float
) -> None:
    for seed in range(3):
        arrays = inputs(n, share_nan, seed)[-count:]
        compiled = kernel(*arrays, *options)
        np.testing.assert_array_equal(compiled, kernel.python(*arrays, *options))
        assert compiled.shape == (n,)
        assert compiled.dtype == np.float64


@pytest.mark.parametrize("window", [1, 2, 3, 4, 5, 6, 7, 9, 20])
def test_every_window_is_summed_oldest_first_to_the_last_bit(window: int) -> None:
    values = 1e5 + np.random.default_rng(window).standard_normal(60)
    values[25] = NAN
    for t in range(window - 1, values.size):
        oldest, *later = values[t - window + 1 : t + 1].tolist()
        total = 0.0
        for value in later:
            total += value - oldest
        mean = oldest + total / window
        squares = 0.0
        for value in (oldest, *later):
            squares += (value - mean) * (value - mean)
        np.testing.assert_array_equal(ind.rolling_mean(values, window)[t], mean)
        np.testing.assert_array_equal(ind.rolling_std(values, window)[t], np.sqrt(squares / window))


def test_blocks_of_the_rolling_mean_join_without_a_seam() -> None:
    """The kernel works in blocks of 2048 bars; around a border each window is what it is."""
    values = walk(5_000, seed=4).close
    mean, std = ind.sma(values, 20), ind.rolling_std(values, 20)
    for t in (2_066, 2_067, 2_068, 4_114, 4_115, 4_116):
        part = values[t - 19 : t + 1]
        assert mean[t] == ind.sma(part, 20)[-1]
        assert std[t] == ind.rolling_std(part, 20)[-1]


def test_a_nan_spoils_its_window_and_restarts_a_recursion() -> None:
    values = np.arange(1.0, 13.0)
    values[5] = NAN
    for windowed in (ind.sma, ind.rolling_max, ind.rolling_min, ind.rolling_median, ind.rolling_std):
        assert np.isnan(windowed(values, 3)).tolist() == [True] * 2 + [False] * 3 + [True] * 3 + [False] * 4
    restarted = ind.ema(values, 3)
    np.testing.assert_array_equal(restarted[6:], ind.ema(values[6:], 3))
    # A change needs two prices: the RSI of window 3 is back four bars after the NaN.
    assert np.isnan(ind.rsi(values, 3)).tolist() == [True] * 3 + [False] * 2 + [True] * 4 + [False] * 3


def test_recursions_forget_where_the_series_starts_to_the_last_bit() -> None:
    """After the declared warm-up a value is the same whatever came before."""
    values = walk(4_000, seed=9).close
    whole = {"ema": ind.ema(values, 30), "rsi": ind.rsi(values, 14), "wilder": ind.wilder_mean(values, 14)}
    for start in (1, 500, 1_234):
        later = values[start:]
        for name, part, settled in (
            ("ema", ind.ema(later, 30), ind.ema_warmup(30)),
            ("rsi", ind.rsi(later, 14), ind.wilder_warmup(14)),
            ("wilder", ind.wilder_mean(later, 14), ind.wilder_warmup(14)),
        ):
            assert settled < 1_000
            np.testing.assert_array_equal(part[settled:], whole[name][start + settled :], err_msg=name)


def test_the_declared_warm_up_is_where_the_seed_weighs_too_little() -> None:
    assert (1 - 2 / 21) ** (ind.ema_warmup(20) - 20) < 2**-80 <= (1 - 2 / 21) ** (ind.ema_warmup(20) - 21)
    assert ind.ema_warmup(1) == 2
    assert ind.wilder_warmup(2) == 2 + 81  # 2^-80 is not below 2^-80
    assert ind.wilder_warmup(14, bits=10) == 14 + 94  # (13/14)^94 = 0.00094 < 2^-10 < (13/14)^93


def test_arguments_are_checked_and_converted() -> None:
    np.testing.assert_array_equal(ind.sma([1, 2, 3, 4], 2), [NAN, 1.5, 2.5, 3.5])
    np.testing.assert_array_equal(ind.sma(np.arange(8.0)[::2], window=np.int64(2)), [NAN, 1, 3, 5])
    for call, message in [
        (lambda: ind.sma(CLOSE, 0), "rolling_mean: window is a whole number >= 1; found 0"),
        (lambda: ind.sma(CLOSE, 2.5), "window is a whole number >= 1; found 2.5"),  # type: ignore[arg-type]
        (lambda: ind.ema(CLOSE, 0), "whole number >= 1; found 0"),
        (lambda: ind.shift(CLOSE, -1), "bars is a whole number >= 0; found -1"),
        (lambda: ind.sma(np.ones((2, 2)), 1), "values is one-dimensional; found shape"),
        (lambda: ind.sma(1.0, 1), "values is one-dimensional"),  # type: ignore[arg-type]
        (lambda: ind.sma(["a"], 1), "values holds numbers; found list"),  # type: ignore[arg-type]
        (lambda: ind.true_range(HIGH, LOW, CLOSE[1:]), "close has as many bars as the first array, 2000; found 1999"),
    ]:
        with pytest.raises(InputError, match=message):
            call()


def test_results_are_new_arrays_and_inputs_stay_as_they_are() -> None:
    values = CLOSE.copy()
    out = ind.sma(values, 1)
    out[0] = -1
    np.testing.assert_array_equal(values, CLOSE)
    assert values.flags.writeable


def test_every_public_indicator_has_a_documentation_and_a_name() -> None:
    for name in ind.__all__:
        assert getattr(ind, name).__doc__, name
    assert repr(ind.rolling_max) == "<indicator rolling_max(values: 'Float', window: 'int') -> 'Float'>"
