from __future__ import annotations

import numpy as np
import pytest
from tests.unit.market.bars import HOUR, MONDAY

from lockstep.core.errors import DataError
from lockstep.market.times import from_numbers, from_text, parse_instant, parse_zone


def numbers(values: list[float], unit: str | None = None, dtype: type = np.int64) -> list[int]:
    return from_numbers(np.array(values, dtype=dtype), unit=unit, place="f").tolist()


def text(values: list[str | None], time_format: str | None = None, zone: str | None = None) -> list[int]:
    return from_text(values, unit=None, time_format=time_format, zone=parse_zone(zone), place="f").tolist()


@pytest.mark.parametrize("factor", [1, 1_000, 1_000_000, 1_000_000_000])
def test_seconds_to_nanoseconds_become_milliseconds(factor: int) -> None:
    """R1.24: second-based timestamps are normalised to ms on read."""
    seconds = MONDAY // 1_000
    assert numbers([seconds * factor, (seconds + 3_600) * factor]) == [MONDAY, MONDAY + HOUR]


def test_the_border_between_seconds_and_milliseconds_is_1e11() -> None:
    """R1.24: values < 10^11 are seconds."""
    assert numbers([10**11 - 1]) == [(10**11 - 1) * 1_000]
    assert numbers([10**11]) == [10**11]


def test_the_other_borders_are_a_thousand_times_as_large_each() -> None:
    for border, above in ((10**14, 1_000), (10**17, 1_000_000)):
        assert from_numbers(np.array([border]), unit=None, place="t").tolist() == [border // above]
        below = border - above  # a whole number of milliseconds in either unit
        assert from_numbers(np.array([below]), unit=None, place="t").tolist() == [below // (above // 1_000)]
    assert from_text(["2024-01-01T00:00:00Z"], unit=None, time_format=None, zone=None, place="t").dtype == np.int64


def test_a_declared_unit_wins_over_the_magnitude() -> None:
    assert numbers([86_400_000], "ms") == [86_400_000]  # 1970-01-02, which by size alone reads as 1972
    with pytest.raises(DataError, match="time_unit is one of s, ms, us, ns; found 'min'"):
        numbers([1], "min")


def test_a_file_that_changes_its_unit_is_read_row_by_row_where_no_row_is_in_doubt() -> None:
    mixed = [MONDAY, MONDAY // 1_000 + 3_600, MONDAY * 1_000 + 2 * HOUR * 1_000]
    assert numbers(mixed) == [MONDAY, MONDAY + HOUR, MONDAY + 2 * HOUR]
    notes: list[str] = []
    from_numbers(np.array(mixed), unit=None, place="f", notes=notes)
    assert notes == ["times of several units, each row by its size: 1 in s, 1 in ms, 1 in us"]
    with pytest.raises(DataError, match=rf"row 0 \({MONDAY}\) is in ms and row 1 \(5000\) in s, 1 such rows"):
        numbers([MONDAY, 5_000])  # 5,000 seconds are 1970, 5,000 milliseconds too


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_no_declared_unit_makes_bars_of_1970_of_times_that_are_of_today_by_their_size(unit: str) -> None:
    seconds = MONDAY // 1_000
    for values in ([seconds, seconds + 3_600], [MONDAY, MONDAY + HOUR], [seconds, MONDAY + HOUR]):
        try:
            stamps = numbers(values, unit)
        except DataError as error:
            assert "leave it out" in str(error) or "Leave time_unit out" in str(error)
            stamps = numbers(values)  # what the message says
        assert stamps == [MONDAY, MONDAY + HOUR]


def test_a_unit_that_contradicts_rows_of_several_units_is_refused_with_all_of_them() -> None:
    with pytest.raises(DataError, match=r"Leave time_unit out: the rows are in s and ms, and each is then read by its"):
        numbers([MONDAY // 1_000, MONDAY + HOUR], "us")


def test_a_declared_unit_reads_a_series_that_begins_in_1970() -> None:
    days = [day * 86_400_000 for day in (7, 30, 2_000, 19_000)]
    assert numbers(days, "ms") == days


def test_parts_of_a_millisecond_are_not_cut_off_in_silence() -> None:
    with pytest.raises(DataError, match=r"whole milliseconds; found .* in row 1"):
        numbers([MONDAY * 1_000, MONDAY * 1_000 + 1])
    with pytest.raises(DataError, match="whole milliseconds"):
        numbers([MONDAY / 1_000 + 0.0004], dtype=np.float64)
    assert numbers([MONDAY / 1_000 + 0.25], dtype=np.float64) == [MONDAY + 250]


def test_missing_and_huge_numbers_are_refused() -> None:
    with pytest.raises(DataError, match=r"times are numbers; found .* in row 1"):
        numbers([MONDAY, np.nan], dtype=np.float64)
    with pytest.raises(DataError, match="between 1970 and 9999"):
        numbers([2**62], "s")
    with pytest.raises(DataError, match="between 1970 and 9999"):
        numbers([-(2**63)], "s")


@pytest.mark.parametrize(
    "written",
    [
        "2024-01-01T01:00:00Z",
        "2024-01-01 01:00:00+00:00",
        "2024-01-01T02:00:00+01:00",
        "2024-01-01T01:00:00.000000Z",
        "2024-01-01 01:00:00 UTC",
        "20240101T010000Z",
        str((MONDAY + HOUR) // 1_000),
        str(MONDAY + HOUR),
        f"{(MONDAY + HOUR) // 1_000}.0",
    ],
)
def test_iso_texts_with_a_zone_and_epoch_texts_name_one_instant(written: str) -> None:
    assert text([written]) == [MONDAY + HOUR]


def test_a_text_without_a_zone_needs_a_declared_one() -> None:
    with pytest.raises(
        DataError, match=r"zone of '2024-01-01 01:00' \(row 0\) is not given. Declare it: timezone='UTC' .*--timezone"
    ):
        text(["2024-01-01 01:00"])
    assert text(["2024-01-01 01:00"], zone="UTC") == [MONDAY + HOUR]
    assert text(["2024-01-01 01:00"], zone="+01:00") == [MONDAY]
    assert text(["2024-01-01T01:00Z"], zone="+01:00") == [MONDAY + HOUR]  # a text's own zone counts


def test_day_first_dates_are_read_by_their_format_only() -> None:
    with pytest.raises(DataError, match=r"ISO-8601.*found '02.01.2024 01:00' in row 0. Say how"):
        text(["02.01.2024 01:00"], zone="UTC")
    assert text(["01.01.2024 01:00:00.000"], "%d.%m.%Y %H:%M:%S.%f", "UTC") == [MONDAY + HOUR]
    with pytest.raises(DataError, match=r"written as time_format '%d.%m.%Y' says; found '2024' in row 1"):
        text(["01.01.2024", "2024"], "%d.%m.%Y", "UTC")


def test_a_column_does_not_mix_numbers_and_dates() -> None:
    with pytest.raises(DataError, match="epoch numbers, as in the other rows; found '2024-01-01' in row 1"):
        text([str(MONDAY), "2024-01-01"])
    with pytest.raises(DataError, match=r"ISO-8601.*found None in row 1"):
        text(["2024-01-01T00:00Z", None])


def test_zones_with_summer_time_are_refused() -> None:
    with pytest.raises(DataError, match=r"'UTC' or a fixed offset.*found 'Europe/Berlin'.*occur twice"):
        parse_zone("Europe/Berlin")
    with pytest.raises(DataError, match="fixed offset"):
        parse_zone("+25:00")


def test_an_instant_is_read_as_utc_unless_it_says_otherwise() -> None:
    assert parse_instant("2024-01-01") == parse_instant("2024-01-01T01:00+01:00") == MONDAY
    with pytest.raises(DataError, match="a time is ISO-8601"):
        parse_instant("yesterday")
