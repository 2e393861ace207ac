from __future__ import annotations

import numpy as np
import pytest

from lockstep.core.errors import DataError, StrategyError
from lockstep.market.candles import Candles
from lockstep.strategies.inputs import Events, EventSeries, HigherTimeframe, OwnCandles
from lockstep.strategies.view import MarketView

HOUR = 3_600_000


def hours(count: int, *, first: int = 0, skip: tuple[int, ...] = ()) -> Candles:
    """1h candles whose close is their hour's number, from 1970-01-05 (a Monday)."""
    number = np.array([i for i in range(first, first + count) if i not in skip], dtype=np.int64)
    price = 100.0 + number
    return Candles(
        timestamp=number * HOUR + 4 * 24 * HOUR,
        open=price - 0.5,
        high=price + 1.0,
        low=price - 1.0,
        close=price,
        volume=np.ones(number.size),
        timeframe_ms=HOUR,
    )


def test_a_higher_bar_is_visible_from_the_base_bar_with_which_it_closes() -> None:
    view = MarketView(hours(10), {"4h": HigherTimeframe("4h")})
    # Hours 0..3 make the first 4h bar; it closes with hour 3, the second with hour 7, the third never.
    assert view["4h"].index.tolist() == [-1, -1, -1, 0, 0, 0, 0, 1, 1, 1]
    assert view["4h"].close[3] == 103.0
    assert view["4h"].high[7:].tolist() == [108.0] * 3
    assert np.isnan(view["4h"].close[:3]).all()
    assert len(view["4h"].bars) == 2


def test_an_indicator_of_the_higher_bars_is_brought_to_the_base() -> None:
    view = MarketView(hours(10), {"4h": HigherTimeframe("4h")})
    doubled = 2.0 * view["4h"].bars.close
    assert view["4h"].align(doubled)[[3, 9]].tolist() == [206.0, 214.0]


def test_while_no_higher_bar_has_closed_the_series_is_empty_not_an_error() -> None:
    view = MarketView(hours(2), {"1d": HigherTimeframe("1d")})
    assert len(view["1d"].bars) == 0
    assert np.isnan(view["1d"].close).all()


def test_own_candles_with_other_closing_times_are_seen_as_of_each_close() -> None:
    other = Candles(
        timestamp=hours(10).timestamp + HOUR // 2,
        open=hours(10).open,
        high=hours(10).high,
        low=hours(10).low,
        close=hours(10).close,
        volume=hours(10).volume,
        timeframe_ms=HOUR,
    )
    view = MarketView(hours(5), {"other": OwnCandles("1h")}, {"other": other})
    # Its first bar closes half an hour after our first: it is known at the close of our second.
    assert view["other"].index.tolist() == [-1, 0, 1, 2, 3]
    assert len(view["other"].bars) == 4


def day_bars(days: list[int], price: list[float]) -> Candles:
    """Days of New York by the hours (from 1970-01-05) at which they open."""
    value = np.array(price)
    return Candles(
        timestamp=np.array(days) * HOUR + 4 * 24 * HOUR, open=value, high=value, low=value, close=value, volume=value,
        timeframe_ms=24 * HOUR,
    )  # fmt: skip


def test_a_day_of_25_hours_is_seen_when_the_next_one_opens() -> None:
    # Days open at hours 4, 28, 53 and 77: the second has 25 hours.
    view = MarketView(hours(80), {"day": OwnCandles("1d")}, {"day": day_bars([4, 28, 53, 77], [1, 2, 3, 4])})
    # The bar of hour 51 closes at 52, an hour before the day does.
    assert view["day"].close[[27, 50, 51, 52]].tolist() == [1.0, 1.0, 1.0, 2.0]


def test_a_decision_at_a_day_of_23_hours_knows_nothing_of_the_next_day() -> None:
    days = day_bars([4, 28, 51, 75], [1, 2, 3, 4])
    moment = int(days.timestamp[2])
    news = Events(timestamp=[0, moment, moment + HOUR // 2], columns={"x": [0.0, 7.0, 9.0]})
    seen = MarketView(days, {"news": EventSeries("x")}, {"news": news})["news"]["x"]
    assert seen.tolist() == [0.0, 7.0, 9.0, 9.0]
    # The same in a window that ends with that day, and of other bars.
    assert MarketView(days.head(2), {"news": EventSeries("x")}, {"news": news})["news"]["x"].tolist() == [0.0, 7.0]
    assert len(MarketView(days.head(2), {"news": EventSeries("x")}, {"news": news})["news"].events) == 2


def test_the_future_of_a_further_series_is_not_in_the_view() -> None:
    view = MarketView(hours(5), {"other": OwnCandles()}, {"other": hours(500)})
    assert len(view["other"].bars) == 5
    assert len(view.window(0, 3)["other"].bars) == 3


def test_an_event_counts_from_its_moment() -> None:
    start = int(hours(1).timestamp[0])
    news = Events(timestamp=[start + HOUR, start + HOUR + 1, start + 90 * HOUR], columns={"surprise": [1.0, 2.0, 9.0]})
    view = MarketView(hours(4), {"news": EventSeries("surprise")}, {"news": news})
    # The close of bar 0 is start + 1h: the first event is known then, the second from bar 1 on.
    assert view["news"]["surprise"].tolist() == [1.0, 2.0, 2.0, 2.0]
    assert len(view["news"].events) == 2
    with pytest.raises(StrategyError, match="no column 'forecast'; it has surprise"):
        view["news"]["forecast"]


def test_arrays_cannot_be_written_to() -> None:
    view = MarketView(hours(50), {"4h": HigherTimeframe("4h")})
    for array in (view.close, view.atr(14), view.sma(5), view["4h"].close, view["4h"].index):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1.0


def test_an_indicator_is_worked_out_once() -> None:
    view = MarketView(hours(50))
    assert view.atr(14) is view.atr(14)
    assert view.atr(14) is not view.atr(7)


def test_the_plain_name_is_wilders_average_and_the_mean_says_that_it_is_one() -> None:
    """True ranges after the first bar 1, 2, 3: the mean of two is 1.5, then 2.5; Wilder's is (1.5 + 3) / 2 = 2.25."""
    close = np.array([10.0, 10.0, 10.0, 10.0])
    reach = np.array([0.0, 1.0, 2.0, 3.0])
    opened = 1_700_006_400_000 + np.arange(4) * 3_600_000
    bars = Candles(
        timestamp=opened, open=close, high=close + reach, low=close, close=close, volume=close, timeframe_ms=3_600_000
    )
    view = MarketView(bars)
    assert view.rolling_atr(2)[2:].tolist() == [1.5, 2.5]
    assert view.atr(2)[2:].tolist() == [1.5, 2.25]


def test_convenience_indicators_include_the_decision_bar() -> None:
    view = MarketView(hours(10))
    assert view.highest(3)[5] == 106.0  # the high of hour 5 is 105 + 1
    assert view.lowest(3)[5] == 102.0  # the low of hour 3 is 103 - 1
    assert view.sma(3)[5] == (103.0 + 104.0 + 105.0) / 3.0
    assert view.mean_volume(4)[5] == 1.0
    assert np.isnan(view.ema(5)[0])
    assert np.isnan(view.rsi(5)[0])


@pytest.mark.parametrize(
    ("declared", "series", "message"),
    [
        ({}, {"btc": hours(3)}, "declares no input 'btc'; it declares none"),
        ({"btc": OwnCandles()}, {}, "input 'btc' is a candle series: give inputs={'btc': candles}; found nothing"),
        ({"btc": OwnCandles("5m")}, {"btc": hours(3)}, "input 'btc' must have bars of 5m; found 1h"),
        ({"news": EventSeries("x")}, {"news": hours(3)}, "input 'news' is an event series"),
        ({"up": HigherTimeframe("30m")}, {}, "whole multiple of the base timeframe 1h; found 30m"),
        ({"up": HigherTimeframe("1h")}, {}, "whole multiple of the base timeframe 1h; found 1h"),
    ],
)
def test_a_wrong_input_is_named_with_the_cure(declared: object, series: object, message: str) -> None:
    with pytest.raises(StrategyError, match=message):
        MarketView(hours(10), declared, series)  # type: ignore[arg-type]


def test_a_missing_event_column_is_named() -> None:
    with pytest.raises(DataError, match="lacks the event column 'surprise'; it has actual"):
        MarketView(
            hours(3),
            {"news": EventSeries("surprise")},
            {"news": Events(timestamp=[0], columns={"actual": [1.0]})},
        )


@pytest.mark.parametrize(
    ("timestamp", "columns", "message"),
    [
        ([2, 1], {"a": [0.0, 0.0]}, "event timestamps ascend; row 1 lies before the one above"),
        ([1, 2], {"a": [0.0]}, r"as long as the timestamps, 2; found \(1,\) in 'a'"),
        ([[1, 2]], {}, "one-dimensional"),
    ],
)
def test_events_are_checked_at_birth(timestamp: object, columns: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Events(timestamp=timestamp, columns=columns)  # type: ignore[arg-type]


def test_unknown_series_and_attributes_are_named() -> None:
    view = MarketView(hours(10), {"4h": HigherTimeframe("4h")})
    with pytest.raises(StrategyError, match="the view has no series '1d'; it has 4h"):
        view["1d"]
    with pytest.raises(AttributeError, match="an aligned series has open"):
        view["4h"].vwap  # noqa: B018 - the access is what is tested


def test_no_bars_make_a_view_of_no_bars() -> None:
    view = MarketView(hours(0), {"4h": HigherTimeframe("4h")})
    assert len(view) == 0
    assert view["4h"].close.size == 0
    assert view.atr(14).size == 0
