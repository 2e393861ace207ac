from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from tests.unit.market.bars import DAY, HOUR, MONDAY, candles, columns

from lockstep.core.errors import DataError
from lockstep.core.hashing import digest_columns
from lockstep.market.candles import Candles


def broken(row: int, **values: float) -> dict[str, Any]:
    """Five good bars of which one row is changed."""
    bars = columns()
    for name, value in values.items():
        bars[name][row] = value
    return bars


def test_columns_are_read_only_contiguous_and_of_their_types() -> None:
    bars = candles()
    for name, values in bars.columns().items():
        assert values.dtype == (np.int64 if name == "timestamp" else np.float64)
        assert values.flags.c_contiguous
        with pytest.raises(ValueError, match="read-only"):
            values[0] = 1


def test_candles_do_not_follow_a_later_change_of_the_arrays_they_were_made_of() -> None:
    bars = columns()
    made = Candles(**bars, timeframe_ms=HOUR)
    before = made.digest
    bars["close"][0] = 11.5
    assert made.close[0] == 11.0
    assert made.digest == before == digest_columns(made.columns())


def test_a_read_only_view_of_a_writable_array_is_copied_too() -> None:
    bars = columns()
    view = bars["close"].view()
    view.flags.writeable = False
    made = Candles(**{**bars, "close": view}, timeframe_ms=HOUR)
    bars["close"][0] = 11.5
    assert made.close[0] == 11.0


@pytest.mark.parametrize(
    ("row", "change", "rule"),
    [
        (2, {"high": 12.5}, "OHLC-inconsistent: 1 row, first row 2"),  # close is 13
        (3, {"low": 13.5}, "OHLC-inconsistent: 1 row, first row 3"),  # open is 13
        (1, {"close": np.nan}, "non-finite: 1 row, first row 1"),
        (4, {"volume": np.inf}, "non-finite: 1 row, first row 4"),
        (0, {"low": 0.0}, "non-positive price: 1 row, first row 0"),
        (2, {"volume": -1.0}, "negative volume: 1 row, first row 2"),
        (3, {"timestamp": MONDAY + 2 * HOUR}, "duplicated: 1 row, first row 3"),
        (3, {"timestamp": MONDAY + HOUR // 2}, "unsorted: 1 row, first row 3"),
        (4, {"timestamp": MONDAY + 4 * HOUR + 1}, "off-grid: 1 row, first row 4"),
        (0, {"timestamp": -1}, "time-range: 1 row, first row 0"),
    ],
)
def test_a_bad_row_is_refused_with_its_rule_number_time_and_values(row: int, change: Any, rule: str) -> None:
    with pytest.raises(DataError) as caught:
        Candles(**broken(row, **change), timeframe_ms=HOUR)
    text = str(caught.value)
    assert rule in text
    for name, value in change.items():
        assert name == "timestamp" or f"{name}={value!r}" in text.replace("np.float64", "")


def test_every_broken_rule_is_counted_and_the_first_row_of_each_is_named() -> None:
    bars = columns(10)
    bars["high"][[3, 5, 7]] = 1.0
    bars["volume"][[6, 8]] = -2.0
    with pytest.raises(DataError) as caught:
        Candles(**bars, timeframe_ms=HOUR, source="my.csv")
    lines = str(caught.value).splitlines()
    assert lines[0] == "my.csv: 5 of 10 rows break 2 rules of candles."
    assert lines[1].startswith(
        "  OHLC-inconsistent: 3 rows, first row 3 "
        "(2024-01-01 03:00Z open=13.0 high=1.0 low=12.0 close=14.0 volume=103.0)"
    )
    assert lines[2].startswith("  negative volume: 2 rows, first row 6 ")
    assert "on_bad='drop' (--drop-bad; in a spec [data] on_bad = \"drop\")" in lines[3]


def test_one_row_is_counted_once_and_in_the_singular() -> None:
    bars = columns(4)
    bars["volume"][2] = -1.0
    with pytest.raises(DataError, match=r"^one: 1 of 4 rows breaks 1 rule of candles\."):
        Candles(**bars, timeframe_ms=HOUR, source="one")
    bars["close"][2] = 1_000.0
    with pytest.raises(DataError, match=r"^one: 1 of 4 rows breaks 2 rules of candles\."):
        Candles(**bars, timeframe_ms=HOUR, source="one")


def test_duplicates_apart_from_each_other_are_counted() -> None:
    bars = columns(4)
    bars["timestamp"] = MONDAY + HOUR * np.array([0, 1, 0, 1])
    with pytest.raises(DataError, match=r"unsorted: 1 row, first row 2(.|\n)*duplicated: 2 rows, first row 2"):
        Candles(**bars, timeframe_ms=HOUR)


def test_lengths_dimensions_and_types_are_checked() -> None:
    with pytest.raises(DataError, match="columns have one length; found 'close' with 4"):
        Candles(**{**columns(), "close": np.ones(4)}, timeframe_ms=HOUR)
    with pytest.raises(DataError, match="'open' is one-dimensional; found shape"):
        Candles(**{**columns(), "open": np.ones((5, 1))}, timeframe_ms=HOUR)
    with pytest.raises(DataError, match="'close' holds numbers"):
        Candles(**{**columns(), "close": np.array(["a"] * 5)}, timeframe_ms=HOUR)
    with pytest.raises(DataError, match="whole milliseconds"):
        Candles(**{**columns(), "timestamp": columns()["timestamp"] + 0.5}, timeframe_ms=HOUR)
    with pytest.raises(DataError, match="positive number of milliseconds; found 0"):
        Candles(**columns(), timeframe_ms=0)
    with pytest.raises(DataError, match="may not be called 'open'"):
        Candles(**columns(), timeframe_ms=HOUR, extra={"open": np.ones(5)})


def test_integers_and_short_floats_become_doubles_exactly() -> None:
    bars = columns()
    made = Candles(**{**bars, "open": bars["open"].astype(np.float32), "volume": np.arange(5)}, timeframe_ms=HOUR)
    assert made.open.tolist() == [10, 11, 12, 13, 14]
    assert made.volume.tolist() == [0, 1, 2, 3, 4]


def test_the_timeframe_is_the_most_common_step() -> None:
    bars = columns(6)
    bars["timestamp"][4:] += 3 * HOUR
    assert Candles.from_arrays(**bars).timeframe == "1h"


def test_a_timeframe_is_not_guessed_from_one_bar_or_from_irregular_steps() -> None:
    with pytest.raises(DataError, match="two or more times"):
        Candles.from_arrays(**columns(1))
    bars = columns(4)
    bars["timestamp"] = MONDAY + HOUR * np.array([0, 1, 3, 7])
    with pytest.raises(DataError, match="nothing but gaps: all 3 steps between rows differ"):
        Candles.from_arrays(**bars)
    # Minutes without trades left out: steps of 2, 2, 1, 2 hours do not make a two-hour series.
    bars = columns(5)
    bars["timestamp"] = MONDAY + HOUR * np.array([0, 2, 4, 5, 7])
    with pytest.raises(DataError, match="most common step is 2h, but 1 of 4 steps is shorter"):
        Candles.from_arrays(**bars)
    assert Candles.from_arrays(**bars, timeframe="1h").timeframe == "1h"


def test_rows_that_are_all_gaps_under_the_declared_timeframe_are_refused() -> None:
    with pytest.raises(DataError, match=r"nothing but gaps: no two of 5 rows are one declared timeframe \(5m\) apart"):
        Candles.from_arrays(**columns(), timeframe="5m")


def test_a_declared_timeframe_longer_than_the_steps_is_refused() -> None:
    with pytest.raises(DataError, match="off-grid: 4 rows, first row 1"):
        Candles.from_arrays(**columns(), timeframe="4h")


def test_the_grid_has_a_free_phase_and_follows_summer_time_for_long_bars() -> None:
    half_past = columns(start=MONDAY + HOUR // 2)
    assert Candles.from_arrays(**half_past, timeframe="1h").timestamp[0] == MONDAY + HOUR // 2
    # New York midnights around the change of 2024-03-10: 05:00 UTC, then 04:00 UTC.
    days = columns(4, step=DAY)
    days["timestamp"] = days["timestamp"] + HOUR * np.array([5, 5, 4, 4])
    assert len(Candles.from_arrays(**days, timeframe="1d")) == 4


@pytest.mark.parametrize(
    ("hours", "accepted"),
    [
        # Four-hour bars that begin at 17:00 in New York: 21:00 UTC, then 20:00 UTC from 2024-03-10 on.
        (4, True),
        # Bars of three hours follow the hours; two of them 2 hours apart, among six, are a mistake (test_clock.py).
        (3, False),
    ],
)
def test_summer_time_may_move_a_few_bars_of_four_hours_and_no_shorter_ones(hours: int, accepted: bool) -> None:
    bars = columns(6, step=hours * HOUR)
    bars["timestamp"] = bars["timestamp"] - HOUR * np.array([0, 0, 0, 1, 1, 1])
    if accepted:
        assert Candles(**bars, timeframe_ms=hours * HOUR).timestamp.tolist() == bars["timestamp"].tolist()
    else:
        with pytest.raises(DataError, match="off-grid"):
            Candles(**bars, timeframe_ms=hours * HOUR)


def test_the_digest_is_of_columns_alone_and_any_bit_changes_it() -> None:
    first = candles(symbol="BTC/USDT", source="a")
    assert first.digest == candles(symbol="ETH/USDT", source="b").digest
    changed = columns()
    changed["close"][2] = np.nextafter(changed["close"][2], 20)
    assert Candles(**changed, timeframe_ms=HOUR).digest != first.digest
    assert first == candles()
    assert hash(first) == hash(candles())
    assert first != Candles(**changed, timeframe_ms=HOUR)
    assert first != "candles"


def test_extra_columns_are_part_of_the_digest_whatever_their_order() -> None:
    extra = {"funding": np.full(5, 0.01), "basis": np.array([1, 2, np.nan, 4, 5])}
    one = candles(extra=extra)
    two = candles(extra=dict(reversed(extra.items())))
    assert list(one.extra) == ["basis", "funding"]
    assert one.digest == two.digest != candles().digest


def test_slices_share_memory_and_count_as_python_does() -> None:
    bars = candles(10, symbol="BTC/USDT")
    part = bars.slice(2, -3)
    assert part.open.tolist() == [12, 13, 14, 15, 16]
    assert np.shares_memory(part.open, bars.open)
    assert part.symbol == "BTC/USDT"
    assert [len(bars.head(3)), len(bars.tail(3)), len(bars.head(99)), len(bars.tail(99))] == [3, 3, 10, 10]
    assert bars.tail(0).timestamp.size == bars.head(0).timestamp.size == 0
    assert bars.tail(2).open.tolist() == [18, 19]
    with pytest.raises(DataError, match="not negative"):
        bars.head(-1)


def test_between_takes_bars_by_their_open_time() -> None:
    bars = candles(10)
    assert bars.between("2024-01-01T02:00Z", "2024-01-01T05:00Z").open.tolist() == [12, 13, 14]
    assert len(bars.between(stop=MONDAY)) == 0
    assert len(bars.between("2025-01-01", "2024-01-01")) == 0


def test_take_keeps_rows_by_mask_and_refuses_another_order() -> None:
    bars = candles()
    kept = bars.take(np.array([True, False, True, False, True]))
    assert kept.open.tolist() == [10, 12, 14]
    with pytest.raises(ValueError, match="read-only"):
        kept.open[0] = 1
    with pytest.raises(DataError, match="row numbers ascend"):
        bars.take(np.array([2, 1]))


def test_candles_cross_to_a_worker_unchanged_and_still_frozen() -> None:
    bars = candles(extra={"funding": np.arange(5.0)}, symbol="BTC/USDT", exchange="kraken")
    arrived = copy.deepcopy(bars)
    assert arrived == bars
    assert (arrived.symbol, arrived.exchange) == ("BTC/USDT", "kraken")
    with pytest.raises(ValueError, match="read-only"):
        arrived.extra["funding"][0] = 1
    with pytest.raises(TypeError):
        arrived.extra["funding"] = np.zeros(5)


def test_a_frame_and_back_gives_the_same_candles() -> None:
    bars = candles(extra={"funding": np.arange(5.0)})
    frame = bars.to_frame()
    assert list(frame.columns) == ["timestamp", "open", "high", "low", "close", "volume", "funding"]
    frame.loc[0, "close"] = 11.5
    assert bars.close[0] == 11
    assert Candles.from_frame(bars.to_frame(), extra=["funding"]) == bars


def test_the_repr_says_what_is_in_it() -> None:
    bars = candles(symbol="BTC/USDT", exchange="kraken")
    digest = bars.digest[:12]
    assert repr(bars) == f"<Candles kraken BTC/USDT 1h: 5 bars, 2024-01-01 00:00Z to 2024-01-01 04:00Z, {digest}>"
    assert repr(bars.head(0)) == "<Candles kraken BTC/USDT 1h: no bars>"
    assert candles(2, step=250).timeframe == "250ms"


def test_bars_close_one_timeframe_after_they_open() -> None:
    assert (candles().close_time - candles().timestamp).tolist() == [HOUR] * 5
