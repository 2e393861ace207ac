"""Causality and independence of the indicators, over random series (R1.23)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lockstep.market import indicators as ind
from lockstep.market.candles import Candles
from lockstep.market.resampling import align_asof, resample, take_asof

Array = np.ndarray[Any, Any]

# Every public function of the three price columns; windows short enough to matter in series of 60 bars.
CAUSAL: dict[str, Callable[[Array, Array, Array], Any]] = {
    "sma": lambda high, low, close: ind.sma(close, 5),
    "ema": lambda high, low, close: ind.ema(close, 5),
    "wilder_mean": lambda high, low, close: ind.wilder_mean(close, 5),
    "rsi": lambda high, low, close: ind.rsi(close, 4),
    "macd": lambda high, low, close: np.stack(ind.macd(close, 3, 6, 2)),
    "bollinger": lambda high, low, close: np.stack(ind.bollinger(close, 5)),
    "rolling_std": lambda high, low, close: ind.rolling_std(close, 4, 1),
    "rolling_median": lambda high, low, close: ind.rolling_median(close, 4),
    "rolling_max": lambda high, low, close: ind.rolling_max(close, 6),
    "rolling_min": lambda high, low, close: ind.rolling_min(close, 6),
    "previous_max": lambda high, low, close: ind.previous_max(high, 4),
    "previous_min": lambda high, low, close: ind.previous_min(low, 4),
    "shift": lambda high, low, close: ind.shift(close, 2),
    "true_range": ind.true_range,
    "rolling_atr": lambda high, low, close: ind.rolling_atr(high, low, close, 4),
    "wilder_atr": lambda high, low, close: ind.wilder_atr(high, low, close, 4),
    "log_returns": lambda high, low, close: ind.log_returns(close),
    "swing_highs": lambda high, low, close: ind.swing_highs(high),
    "swing_lows": lambda high, low, close: ind.swing_lows(low),
    "last_swing_high": lambda high, low, close: ind.last_swing_high(high),
    "last_swing_low": lambda high, low, close: ind.last_swing_low(low),
    "hold": lambda high, low, close: ind.hold(close),
}
ALIASES = {"rolling_mean", "volume_mean", "ema_warmup", "wilder_warmup"}

prices = st.floats(min_value=0.01, max_value=1e6) | st.just(float("nan"))


@st.composite
def series(draw: st.DrawFn) -> tuple[Array, Array, Array]:
    n = draw(st.integers(min_value=0, max_value=60))
    return tuple(draw(arrays(np.float64, n, elements=prices)) for _ in range(3))  # type: ignore[return-value]


def test_every_public_indicator_is_tried() -> None:
    assert set(CAUSAL) | ALIASES == set(ind.__all__)


@pytest.mark.parametrize("name", CAUSAL)
@given(bars=series(), data=st.data())
def test_a_value_never_changes_when_later_rows_do(name: str, bars: tuple[Array, Array, Array], data: Any) -> None:
    """R1.23: indicators at row t never change when rows after t are altered, or cut off."""
    n = bars[0].size
    t = data.draw(st.integers(min_value=0, max_value=n))
    before = CAUSAL[name](*bars)[..., :t]
    altered = [values.copy() for values in bars]
    for values in altered:
        values[t:] = data.draw(arrays(np.float64, n - t, elements=prices))
    np.testing.assert_array_equal(CAUSAL[name](*altered)[..., :t], before)
    np.testing.assert_array_equal(CAUSAL[name](*(values[:t] for values in bars)), before)


WINDOWED: dict[str, tuple[int, Callable[[Array], Array]]] = {
    "sma": (5, lambda x: ind.sma(x, 5)),
    "rolling_std": (5, lambda x: ind.rolling_std(x, 5)),
    "rolling_median": (5, lambda x: ind.rolling_median(x, 5)),
    "rolling_max": (5, lambda x: ind.rolling_max(x, 5)),
    "rolling_min": (5, lambda x: ind.rolling_min(x, 5)),
    "bollinger": (5, lambda x: ind.bollinger(x, 5)[0]),
    "previous_max": (6, lambda x: ind.previous_max(x, 5)),
    "swing_highs": (5, lambda x: ind.swing_highs(x, 2)),
    "rolling_atr": (6, lambda x: ind.rolling_atr(x, x, x, 5)),
}


@pytest.mark.parametrize("name", WINDOWED)
@given(bars=series(), start=st.integers(min_value=0, max_value=30))
def test_a_windowed_value_depends_on_its_window_alone(name: str, bars: tuple[Array, Array, Array], start: int) -> None:
    """The start of the series is of no matter, to the last bit, NaNs before the window included."""
    length, indicator = WINDOWED[name]
    values = bars[0]
    whole, later = indicator(values), indicator(values[start:])
    settled = length - 1
    np.testing.assert_array_equal(whole[start + settled :], later[settled:])


@given(values=arrays(np.float64, st.integers(1, 60), elements=st.floats(-1e6, 1e6)), window=st.integers(1, 12))
def test_rolling_values_lie_between_the_least_and_the_greatest(values: Array, window: int) -> None:
    low, high = ind.rolling_min(values, window), ind.rolling_max(values, window)
    there = ~np.isnan(low)
    slack = 1e-9 * (1 + np.abs(values).max())
    for middle in (ind.sma(values, window), ind.rolling_median(values, window)):
        assert (middle[there] >= low[there] - slack).all()
        assert (middle[there] <= high[there] + slack).all()
    assert (ind.rolling_std(values, window)[there] <= (high - low)[there] + slack).all()


@given(values=arrays(np.float64, st.integers(0, 60), elements=st.floats(0.01, 1e6)), window=st.integers(1, 12))
def test_rsi_stays_between_0_and_100(values: Array, window: int) -> None:
    out = ind.rsi(values, window)
    known = out[~np.isnan(out)]
    assert known.size == max(0, values.size - window)
    assert ((known >= 0) & (known <= 100)).all()


STEP = 300_000


@st.composite
def gappy_candles(draw: st.DrawFn) -> Candles:
    """5m bars with gaps, starting anywhere in an hour."""
    steps = draw(st.lists(st.sampled_from([1, 1, 1, 1, 2, 5, 13, 30]), min_size=24, max_size=80))
    time = STEP * (draw(st.integers(0, 40)) + np.cumsum(np.array(steps, dtype=np.int64)))
    close = draw(arrays(np.float64, time.size, elements=st.floats(1, 100)))
    return Candles(
        timestamp=time, open=close, high=close * 1.5, low=close * 0.5, close=close, volume=close, timeframe_ms=STEP
    )


def hourly_view(bars: Candles) -> Array:
    """The close and the volume of the last complete hour, as seen from each bar; NaN before the first."""
    try:
        higher = resample(bars, "1h")
    except ValueError:
        return np.full((2, len(bars)), np.nan)
    index = align_asof(higher, bars)
    assert (higher.close_time[index[index >= 0]] <= bars.close_time[index >= 0]).all()
    return np.stack([take_asof(higher.close, index), take_asof(higher.volume, index)])


@given(bars=gappy_candles(), data=st.data())
def test_a_longer_bar_is_seen_only_once_it_has_closed(bars: Candles, data: Any) -> None:
    """R1.23 for series of another timeframe: cutting or altering the future changes nothing seen before."""
    t = data.draw(st.integers(1, len(bars)))
    seen = hourly_view(bars)[:, :t]
    np.testing.assert_array_equal(hourly_view(bars.head(t)), seen)
    close = bars.close.copy()
    close[t:] *= 1.25
    volume = bars.volume.copy()
    volume[t:] += 1
    altered = Candles(
        timestamp=bars.timestamp, open=bars.open, high=bars.high, low=bars.low, close=close, volume=volume,
        timeframe_ms=STEP,
    )  # fmt: skip
    np.testing.assert_array_equal(hourly_view(altered)[:, :t], seen)


@given(bars=gappy_candles())
def test_resampling_loses_no_volume_between_its_first_and_last_bar(bars: Candles) -> None:
    try:
        higher = resample(bars, "1h")
    except ValueError:
        return
    inside = (bars.timestamp >= higher.timestamp[0]) & (bars.timestamp < higher.close_time[-1])
    assert higher.volume.sum() == pytest.approx(bars.volume[inside].sum())
    assert higher.high.max() == bars.high[inside].max()
    assert higher.low.min() == bars.low[inside].min()
