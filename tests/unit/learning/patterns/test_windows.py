"""Windows of features: causal to the last bit, scale-free, whole; and what they may not cross."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.unit.kinds.cnn_builders import candles_of

from lockstep.core.errors import DataError, InputError
from lockstep.learning.patterns.windows import (
    CHANNELS,
    WindowSettings,
    channel_series,
    covered_bars,
    require_finite,
    unbroken,
)
from lockstep.market.candles import Candles


def scaled(candles: Candles, price: float, volume: float) -> Candles:
    columns = {name: getattr(candles, name) * price for name in ("open", "high", "low", "close")}
    return replace(candles, **columns, volume=candles.volume * volume)


@pytest.mark.parametrize("name", CHANNELS)
def test_a_channel_at_bar_t_is_the_same_to_the_last_bit_whether_later_bars_exist_or_not(name: str) -> None:
    """Decision D3: causal, always. Features end at the decision bar."""
    candles = candles_of(140)
    whole = channel_series(candles, (name,))[0]
    for t in (0, 1, 13, 19, 20, 21, 60, 138):
        part = channel_series(candles.head(t + 1), (name,))[0]
        assert part.tobytes() == whole[: t + 1].tobytes()


@pytest.mark.parametrize("name", CHANNELS)
def test_a_channel_reads_the_bars_it_declares_and_no_earlier_one(name: str) -> None:
    candles = candles_of(140)
    before = CHANNELS[name].before
    whole = channel_series(candles, (name,))[0]
    assert np.isnan(whole[:before]).all()
    assert np.isfinite(whole[before:]).all()
    # From bars t - before ... t alone comes the same number as from all.
    late = channel_series(candles.slice(100 - before, 140), (name,))[0]
    assert late[before:].tobytes() == whole[100:].tobytes()


@pytest.mark.parametrize("name", CHANNELS)
def test_a_channel_is_free_of_scale(name: str) -> None:
    """Prices eight times as high, volume four times: powers of two change no bit but those of logarithms."""
    candles = candles_of(80)
    one, other = (channel_series(item, (name,))[0] for item in (candles, scaled(candles, 8.0, 4.0)))
    assert other == pytest.approx(one, rel=1e-12, abs=1e-15, nan_ok=True)


def test_channels_have_their_closed_forms() -> None:
    candles = Candles.from_arrays(
        timestamp=np.arange(2) * 3_600_000,
        open=[10.0, 11.0],
        high=[12.0, 14.0],
        low=[10.0, 10.0],
        close=[11.0, 13.0],
        volume=[1.0, 1.0],
        timeframe="1h",
    )
    names = ("return", "range", "body", "upper_wick", "lower_wick")
    found = channel_series(candles, names)[:, 1]
    # ln(13 / 11); (14 - 10) / 13; (13 - 11) / 4; (14 - 13) / 4; (11 - 10) / 4
    assert found == pytest.approx([np.log(13 / 11), 4 / 13, 0.5, 0.25, 0.25])


def test_the_rsi_channel_runs_from_all_falls_to_all_rises() -> None:
    def rsi(close: np.ndarray) -> float:
        candles = Candles.from_arrays(
            timestamp=np.arange(15) * 3_600_000,
            open=close,
            high=close,
            low=close,
            close=close,
            volume=np.ones(15),
            timeframe="1h",
        )
        return float(channel_series(candles, ("rsi",))[0, -1])

    assert rsi(np.arange(15) + 1.0) == 1.0
    assert rsi(15.0 - np.arange(15)) == -1.0
    assert rsi(np.full(15, 3.0)) == 0.0
    # 14 changes: ten rises of 1, four falls of 1: (10 - 4) / (10 + 4)
    steps = np.array([1.0] * 10 + [-1.0] * 4)
    assert rsi(50.0 + np.concatenate(([0.0], np.cumsum(steps)))) == pytest.approx(6 / 14)


def test_a_span_is_unbroken_where_no_gap_lies_between_two_of_its_bars() -> None:
    candles = candles_of(30, gaps=(10,))
    found = np.flatnonzero(unbroken(candles, back=3, ahead=2, max_gap=0))
    # Bars t - 3 ... t + 2 on one side of the step from row 9 to row 10: t <= 7 or t >= 13.
    assert found.tolist() == [3, 4, 5, 6, 7, *range(13, 28)]
    assert np.flatnonzero(unbroken(candles, back=3, ahead=2, max_gap=9)).tolist() == found.tolist()
    assert np.flatnonzero(unbroken(candles, back=3, ahead=2, max_gap=10)).tolist() == list(range(3, 28))


def test_covered_bars_are_those_that_windows_hold() -> None:
    assert np.flatnonzero(covered_bars(np.array([4, 5, 9]), 3, 12)).tolist() == [2, 3, 4, 5, 7, 8, 9]


def test_settings_that_make_no_window_are_refused() -> None:
    with pytest.raises(InputError, match="different names out of return, range"):
        WindowSettings(channels=("return", "return"))
    with pytest.raises(InputError, match="2 bars or more"):
        WindowSettings(window=1)
    assert WindowSettings(window=64).reach == 63 + 19  # the volume channel looks back over 20 bars


def test_a_value_that_is_no_number_is_named_by_channel_and_row() -> None:
    series = channel_series(candles_of(40), ("return", "body"))
    series[1, 30] = np.inf
    settings = WindowSettings(channels=("return", "body"), window=4)
    require_finite(series, np.arange(10, 30), settings)
    with pytest.raises(DataError, match="body is inf at row 30"):
        require_finite(series, np.arange(10, 34), settings)
