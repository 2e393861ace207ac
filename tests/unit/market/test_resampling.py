from __future__ import annotations

import numpy as np
import pytest
from tests.unit.market.bars import DAY, HOUR, MONDAY, candles

from lockstep.core.errors import DataError
from lockstep.market.candles import Candles
from lockstep.market.resampling import align_asof, asof_index, complete_bars, resample, take_asof

MINUTE = 60_000
FIVE = 5 * MINUTE


def test_a_longer_bar_is_first_open_highest_lowest_last_close_and_all_volume() -> None:
    made = resample(candles(24, step=FIVE, symbol="BTC/USDT"), "1h")
    assert made.timestamp.tolist() == [MONDAY, MONDAY + HOUR]
    assert made.open.tolist() == [10, 22]
    assert made.high.tolist() == [21 + 2, 33 + 2]
    assert made.low.tolist() == [10 - 1, 22 - 1]
    assert made.close.tolist() == [21 + 1, 33 + 1]
    assert made.volume.tolist() == [sum(range(100, 112)), sum(range(112, 124))]
    assert (made.timeframe, made.symbol) == ("1h", "BTC/USDT")


def test_parts_of_a_bar_at_the_ends_are_left_out() -> None:
    bars = candles(36, step=FIVE)
    assert resample(bars.slice(1, 36), "1h").timestamp.tolist() == [MONDAY + HOUR, MONDAY + 2 * HOUR]
    assert resample(bars.slice(0, 35), "1h").timestamp.tolist() == [MONDAY, MONDAY + HOUR]
    with pytest.raises(DataError, match="no bar of 1h is complete"):
        resample(bars.slice(1, 12), "1h")


@pytest.mark.parametrize(("step", "timeframe"), [(HOUR, "30h"), (6 * HOUR, "36h"), (DAY, "30d"), (DAY, "90d")])
def test_a_longer_bar_closes_after_its_length_wherever_the_bars_end(step: int, timeframe: str) -> None:
    # Of lengths that a series of local clocks or of months could have as well.
    base = candles(400, step=step)
    longer = resample(base, timeframe)
    assert (longer.close_time - longer.timestamp).tolist() == [longer.timeframe_ms] * len(longer)
    assert longer.decision_time.tolist() == longer.close_time.tolist()
    seen = align_asof(longer, base)
    for stop in range(390, 400):
        part = base.head(stop)
        assert align_asof(complete_bars(part, timeframe), part).tolist() == seen[:stop].tolist()


def test_where_no_bar_is_complete_yet_there_are_none_under_the_same_labels() -> None:
    none = complete_bars(candles(5, step=FIVE, symbol="BTC/USDT", exchange="kraken", source="here"), "1h")
    assert (len(none), none.timeframe) == (0, "1h")
    assert (none.symbol, none.exchange, none.source) == ("BTC/USDT", "kraken", "here")


def test_bars_with_gaps_are_built_from_what_is_there_and_empty_ones_stay_missing() -> None:
    bars = candles(48, step=FIVE)
    keep = np.ones(48, dtype=bool)
    keep[5] = False
    keep[12:24] = False
    made = resample(bars.take(keep), "1h")
    assert made.timestamp.tolist() == [MONDAY, MONDAY + 2 * HOUR, MONDAY + 3 * HOUR]
    assert made.volume[0] == sum(range(100, 112)) - 105


def test_weeks_begin_on_monday_and_days_at_midnight() -> None:
    made = resample(candles(15, step=DAY), "1w")
    assert made.timestamp.tolist() == [MONDAY, MONDAY + 7 * DAY]
    assert resample(candles(48), "1d").timestamp.tolist() == [MONDAY, MONDAY + DAY]


def test_the_same_timeframe_changes_nothing() -> None:
    assert resample(candles(7), "1h") == candles(7)


@pytest.mark.parametrize("timeframe", ["5m", "90m"])
def test_only_multiples_can_be_made(timeframe: str) -> None:
    with pytest.raises(DataError, match="a multiple of the bars' own, 1h; found"):
        resample(candles(24), timeframe)


def at_half_past(count: int) -> Candles:
    hours = candles(count)
    return Candles.from_arrays(**{**hours.columns(), "timestamp": hours.timestamp + HOUR // 2}, timeframe="1h")


@pytest.mark.parametrize("timeframe", ["4h", "1h"])
def test_a_bar_across_two_longer_ones_is_refused_because_it_closes_after_the_first(timeframe: str) -> None:
    """R1.23: the 4h bar from 0:00 would count as closed at 4:00 with a close of 4:30 in it."""
    with pytest.raises(DataError, match=r"found the 1h bar of .* across two of them"):
        resample(at_half_past(24), timeframe)


def test_hours_that_open_at_half_past_make_days_where_the_market_closes_at_night() -> None:
    hours = at_half_past(72)
    open_hours = np.arange(72) % 24 // 8 == 1
    assert resample(hours.take(open_hours), "1d").close.tolist() == [hours.close[24 + 15]]


def test_a_longer_bar_is_seen_from_the_close_at_which_it_is_complete() -> None:
    base = candles(30, step=FIVE)
    higher = resample(base, "1h")
    index = align_asof(higher, base)
    # The twelfth 5m bar (row 11) closes at 01:00, when the first hour does.
    assert index.tolist() == [-1] * 11 + [0] * 12 + [1] * 7
    seen = take_asof(higher.close, index)
    assert np.isnan(seen[:11]).all()
    assert seen[11:].tolist() == [22.0] * 12 + [34.0] * 7


def test_moments_of_decision_may_be_given_as_times() -> None:
    higher = candles(3)
    moments = MONDAY + np.array([0, HOUR - 1, HOUR, 2 * HOUR, 99 * HOUR])
    assert align_asof(higher, moments).tolist() == [-1, -1, 0, 1, 2]


def test_facts_must_be_in_order() -> None:
    with pytest.raises(DataError, match="ascend; row 2 is earlier"):
        asof_index([1, 3, 2], [5])
    assert asof_index([], [5, 6]).tolist() == [-1, -1]
    assert asof_index([1, 1, 2], [1]).tolist() == [1]
