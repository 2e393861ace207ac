"""Numbers of other counts than seconds since 1970: read where they are nothing else, else refused with the option."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from tests.unit.market.formats.files import BARS, DAYS, HOUR, comma, moment, rows, series, write

from lockstep.core.errors import DataError
from lockstep.kinds.shared.market_spec import FileTable
from lockstep.market.candles import Candles
from lockstep.market.formats.epochs import EPOCHS, TIME_UNITS
from lockstep.market.load import load_candles

HEADER = "timestamp,open,high,low,close,volume"
# Where each count begins, by the calendar alone; lengths in milliseconds.
DAY_MS = 86_400_000
FIRST_DAYS = {
    "ticks": (dt.date(1, 1, 1), 1e-4),
    "filetime": (dt.date(1601, 1, 1), 1e-4),
    "webkit": (dt.date(1601, 1, 1), 1e-3),
    "apple": (dt.date(2001, 1, 1), 1_000),
    "mac": (dt.date(1904, 1, 1), 1_000),
    "excel": (dt.date(1899, 12, 30), DAY_MS),
    "excel1904": (dt.date(1904, 1, 1), DAY_MS),
    "ordinal": (dt.date(1, 1, 1), DAY_MS),
    "days": (dt.date(1970, 1, 1), DAY_MS),
    "minutes": (dt.date(1970, 1, 1), 60_000),
}
JULIAN_1970, MATLAB_1970 = 2_440_587.5, 719_529  # as their manuals have them


def counted(candles: Candles, unit: str) -> list[Any]:
    """The times of bars in another count, whole where they are."""
    if unit in ("julian", "matlab"):
        numbers = [
            t / DAY_MS + {"julian": JULIAN_1970, "matlab": MATLAB_1970}[unit] for t in candles.timestamp.tolist()
        ]
    else:
        first, length = FIRST_DAYS[unit]
        before = (dt.date(1970, 1, 1) - first).days * DAY_MS + (DAY_MS if unit == "ordinal" else 0)
        if length < 1:
            return [(t + before) * round(1 / length) for t in candles.timestamp.tolist()]
        numbers = [(t + before) / length for t in candles.timestamp.tolist()]
    return [int(number) for number in numbers] if all(number.is_integer() for number in numbers) else numbers


def frame(candles: Candles, times: Any) -> pd.DataFrame:
    return candles.to_frame().assign(timestamp=times)


def test_the_units_of_a_spec_are_those_of_the_reader() -> None:
    assert {*FIRST_DAYS, "julian", "matlab"} == set(EPOCHS)
    literal, _ = get_args(FileTable.model_fields["time_unit"].annotation)
    assert get_args(literal) == TIME_UNITS


@pytest.mark.parametrize("unit", EPOCHS)
def test_a_declared_count_is_read_from_files_and_frames(tmp_path: Path, unit: str) -> None:
    for bars in (BARS, DAYS):
        numbers = counted(bars, unit)
        assert load_candles(frame(bars, numbers), time_unit=unit, timezone="UTC") == bars
        path = tmp_path / f"{len(bars)}.csv"
        frame(bars, numbers).to_csv(path, index=False)
        assert load_candles(path, time_unit=unit, timezone="UTC") == bars


@pytest.mark.parametrize("unit", EPOCHS)
def test_no_count_is_read_as_another_century(unit: str) -> None:
    """Without a declaration the times are those that were meant, or refused with the option that reads them."""
    for bars in (BARS, DAYS):
        try:
            assert load_candles(frame(bars, counted(bars, unit)), timezone="UTC") == bars
            assert unit in ("ticks", "filetime", "webkit", "julian")
        except DataError as error:
            listing = re.findall(r"(\d{4})-\d\d-\d\d .*--time-unit (\w+);", str(error))
            assert ("2024", unit) in listing
            assert unit not in ("ticks", "filetime", "webkit", "julian")


def test_ticks_are_those_of_a_zone_that_nothing_names() -> None:
    ticks = counted(BARS, "ticks")
    with pytest.raises(DataError, match=r"the zone of 638404416000000000, 2024-01-10T00:00:00.000, \(row 0\) is not"):
        load_candles(frame(BARS, ticks))
    assert load_candles(frame(DAYS, counted(DAYS, "ticks"))) == DAYS
    assert load_candles(frame(BARS, ticks), timezone="+02:00").timestamp[0] == BARS.timestamp[0] - 2 * HOUR


def test_nanoseconds_of_1990_are_not_ticks() -> None:
    for step in (HOUR, 24 * HOUR):
        bars = series(60, step=step, start=631_152_000_000)
        assert load_candles(frame(bars, bars.timestamp * 1_000_000)) == bars
    odd = [638_396_640_000_000_000 + 7 * 10**8 * row for row in range(90)]
    with pytest.raises(DataError, match=r"1990-03-25 .*time_unit='ns'[\s\S]*2024-01-01 .*time_unit='ticks'"):
        load_candles(frame(BARS, odd))


def test_days_of_a_spreadsheet_with_a_decimal_comma(tmp_path: Path) -> None:
    lines = rows(BARS, lambda t, *c: [comma(t / DAY_MS + 25_569, 10), *(comma(x) for x in c)], ";")
    path = write(tmp_path / "a.csv", [HEADER.replace(",", ";"), *lines])
    with pytest.raises(DataError, match=r"45301.0 in row 0 may be\s+2024-01-10 00:00Z, days of a spreadsheet"):
        load_candles(path)
    assert load_candles(path, time_unit="excel", timezone="UTC") == BARS


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([-62_135_596_800 + 3_600 * row for row in range(90)], "-62135596800 in row 0 would lie in the year 0001"),
        ([7_000_000_000 + 3_600 * row for row in range(90)], "would lie in the year 2191"),
        ([2_600_000_000 + 3_600 * row for row in range(90)], "would lie in the year 2052"),
        ([float(row) for row in range(90)], "0.0 in row 0 would lie in the year 1970"),
    ],
)
def test_a_count_of_something_else_is_refused(times: list[float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_candles(frame(BARS, times))


def test_times_before_1970_are_read_as_such_in_text_too(tmp_path: Path) -> None:
    start = -86_400 * 100
    lines = rows(series(200, step=DAY_MS), lambda t, *c: [start + (t - BARS.timestamp[0]) // 1_000, *c])
    candles = load_candles(write(tmp_path / "a.csv", [HEADER, *lines]), start="1970-01-01")
    assert candles.timestamp[0] == 0
    assert len(candles) == 100


def test_a_declared_count_that_does_not_fit_is_refused() -> None:
    with pytest.raises(DataError, match=r"days of a spreadsheet, since 1900, times lie between 1900 and 2100"):
        load_candles(frame(BARS, BARS.timestamp // 1_000), time_unit="excel")
    with pytest.raises(DataError, match=r"times are whole seconds; found 45292.000004 in row 0"):
        load_candles(frame(BARS, [45_292.000004 + row for row in range(90)]), time_unit="excel")
    with pytest.raises(DataError, match="times are whole milliseconds; found 638396640000000001"):
        load_candles(frame(BARS, [638_396_640_000_000_001 + row * 10**9 for row in range(90)]), time_unit="ticks")


@pytest.mark.parametrize("form", ["{:x}", "0x{:X}", "{:x}abcdef0123456789"])
def test_hexadecimal_ids_are_named_as_such(tmp_path: Path, form: str) -> None:
    lines = rows(BARS, lambda t, *c: [form.format(t // 1_000), *c])
    with pytest.raises(DataError, match="in row 0 is a hexadecimal number, as ids are"):
        load_candles(write(tmp_path / "a.csv", [HEADER, *lines]))


def test_typed_times_that_were_converted_with_another_unit() -> None:
    """pandas.to_datetime(microseconds) takes them for nanoseconds."""
    wrong = pd.to_datetime(BARS.timestamp * 1_000, utc=True)
    with pytest.raises(DataError, match=r"all times lie in 1970, such as 1970-01-20 .*time_unit='ns'"):
        load_candles(frame(BARS, wrong))
    assert load_candles(frame(BARS, wrong), time_unit="ns").timeframe_ms == 3_600


def test_digits_below_a_millisecond_are_never_cut(tmp_path: Path) -> None:
    def lines(tail: str) -> list[str]:
        return [HEADER, *rows(BARS, lambda t, *c: [moment(t, "%Y-%m-%dT%H:%M:%S") + tail, *c])]

    assert load_candles(write(tmp_path / "a.csv", lines(".000000000Z"))) == BARS
    for tail in (".000000001Z", ".0000001Z", ".000001Z"):
        with pytest.raises(DataError, match=r"times are whole milliseconds; found .* in row 0"):
            load_candles(write(tmp_path / "b.csv", lines(tail)))
    with pytest.raises(DataError, match="in whole milliseconds"):
        load_candles(BARS.to_frame(), start="2024-01-10T00:00:00.0000001")
    stamps = pa.array(BARS.timestamp * 1_000_000 + 1, pa.timestamp("ns", "UTC"))
    with pytest.raises(DataError, match="times are whole milliseconds"):
        load_candles(pa.table({**BARS.columns(), "timestamp": stamps}))


@pytest.mark.parametrize("clock", ["", " %H:%M", "T%H:%M:%S"])
def test_days_before_months_after_the_year_are_named(tmp_path: Path, clock: str) -> None:
    form = "%Y-%d-%m" + clock
    path = write(tmp_path / "a.csv", [HEADER, *rows(DAYS, lambda t, *c: [moment(t, form), *c])])
    with pytest.raises(DataError, match=re.escape(f"time_format='{form}'")):
        load_candles(path)
    assert load_candles(path, time_format=form, timezone="UTC") == DAYS


@pytest.mark.parametrize(
    ("form", "order"), [("%d.%m.%Y %H:%M", "day before month"), ("%m/%d/%Y %H:%M", "month before day")]
)
def test_days_that_follow_one_another_decide_which_comes_first(tmp_path: Path, form: str, order: str) -> None:
    """Both readings ascend: one has days in a row, the other one day in each month with 24 bars."""
    bars = series(6 * 24, start=1_704_067_200_000 + 3 * DAY_MS)  # 4 to 9 January 2024
    path = write(tmp_path / "a.csv", [HEADER, *rows(bars, lambda t, *c: [moment(t, form), *c])])
    candles = load_candles(path, timezone="UTC")
    assert candles == bars
    assert f"{order}, by days that follow one another" in str(candles.format)


def test_six_days_that_may_be_six_months_are_refused_with_both_readings(tmp_path: Path) -> None:
    """Daily bars of 1 to 6 January, or monthly ones: both are what people have."""
    bars = series(6, step=DAY_MS, start=1_704_067_200_000)
    path = write(tmp_path / "a.csv", [HEADER, *rows(bars, lambda t, *c: [moment(t, "%d.%m.%Y"), *c])])
    with pytest.raises(DataError, match=r"time_format='%d\.%m\.%Y'.*or time_format='%m\.%d\.%Y'"):
        load_candles(path)
    assert load_candles(path, time_format="%d.%m.%Y") == bars
    months: Callable[[], Candles] = lambda: load_candles(path, time_format="%m.%d.%Y")  # noqa: E731
    assert np.all(np.diff(months().timestamp) > 28 * DAY_MS)
