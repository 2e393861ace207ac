"""Spreadsheets of other countries: delimiter, decimal mark, grouped digits, encodings, dates. Proven, or refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.unit.market.formats.files import BARS, DAYS, HOUR, comma, moment, rows, series, write

from lockstep.core.errors import DataError
from lockstep.market.candles import Candles
from lockstep.market.load import load_candles

ISO = "%Y-%m-%dT%H:%M:%SZ"


@pytest.mark.parametrize(
    ("header", "encoding", "group"),
    [
        ("Datum;Er\u00f6ffnung;Hoch;Tief;Schluss;Volumen", "utf-8", "."),
        ("Datum;Er\u00f6ffnung;Hoch;Tief;Schluss;Volumen", "cp1252", "."),
        ("Date;Ouverture;Plus haut;Plus bas;Cl\u00f4ture;Volume", "cp1252", "\u00a0"),
        ("Date;Ouverture;Plus haut;Plus bas;Cl\u00f4ture;Volume", "utf-8", "\u202f"),
        ("Fecha;Apertura;M\u00e1ximo;M\u00ednimo;Cierre;Volumen", "utf-16", ""),
        ("Date;Open;High;Low;Close;Volume", "utf-8-sig", "'"),
    ],
)
def test_a_semicolon_file_with_decimal_commas_and_grouped_digits(
    tmp_path: Path, header: str, encoding: str, group: str
) -> None:
    lines = rows(BARS, lambda t, *cells: [moment(t, ISO), *(comma(value, 3, group) for value in cells)], ";")
    candles = load_candles(write(tmp_path / "a.csv", ["sep=;", header, *lines], encoding=encoding, end="\r\n"))
    assert candles == BARS
    assert "decimal comma" in str(candles.format)


def test_commas_that_group_digits_and_dollars_are_read(tmp_path: Path) -> None:
    lines = rows(
        DAYS,
        lambda t, o, h, low, c, v: [moment(t, "%m/%d/%Y"), f"${c:.2f}", f'"{v:,.3f}"', f"${o}", f"${h}", f"${low}"],
    )
    candles = load_candles(write(tmp_path / "a.csv", ["Date,Close/Last,Volume,Open,High,Low", *reversed(lines)]))
    assert candles == DAYS
    assert "commas group digits" in str(candles.format)
    assert "month before day, by '" in str(candles.format)


def test_volumes_in_thousands_and_millions_are_shifted_as_decimals(tmp_path: Path) -> None:
    lines = rows(
        DAYS,
        lambda t, o, h, low, c, v: [f'"{moment(t, "%b %d, %Y")}"', f'"{c:,.2f}"', f'"{o:,.2f}"', h, low, "1.23K", "0%"],
    )
    lines[0] = lines[0].replace("1.23K", "4.57M")
    candles = load_candles(write(tmp_path / "a.csv", ["Date,Price,Open,High,Low,Vol.,Change %", *lines]))
    assert candles.volume[:2].tolist() == [4_570_000.0, 1_230.0]
    assert candles.close.tolist() == DAYS.close.tolist()


@pytest.mark.parametrize("mark", [",", "."])
def test_a_comma_that_could_be_either_is_refused_and_both_cures_work(tmp_path: Path, mark: str) -> None:
    flat = [f"{moment(int(t), ISO)};1,234;1,300;1,200;1,250;7" for t in BARS.timestamp]
    path = write(tmp_path / "a.csv", ["Date;Open;High;Low;Close;Volume", *flat])
    with pytest.raises(DataError, match=r"the comma in '1,234' could be a decimal mark or group digits") as caught:
        load_candles(path)
    assert f"--decimal {mark}" in str(caught.value)
    assert "2: 2024-01-10T00:00:00Z;1,234;" in str(caught.value)
    assert load_candles(path, decimal=mark).open[0] == (1.234 if mark == "," else 1_234.0)  # type: ignore[arg-type]


def test_two_decimal_marks_in_one_file_are_refused(tmp_path: Path) -> None:
    lines = rows(BARS, lambda t, o, h, low, c, v: [t, comma(o, 2), h, low, c, v], ";")
    with pytest.raises(DataError, match=r"one decimal mark; found '[\d.]+' in row 0 .* and '[\d,]+' in row 0"):
        load_candles(write(tmp_path / "a.csv", ["timestamp;open;high;low;close;volume", *lines]))


def test_digits_that_are_grouped_wrongly_are_no_number(tmp_path: Path) -> None:
    lines = rows(BARS, lambda t, o, h, low, c, v: [t, *(comma(x, 2) for x in (o, h, low, c)), "12.34"], ";")
    with pytest.raises(DataError, match=r"column 'volume' holds numbers; found '12.34' in row 0"):
        load_candles(write(tmp_path / "a.csv", ["timestamp;open;high;low;close;volume", *lines]), decimal=",")


def test_text_that_is_not_utf_8_and_may_matter_needs_its_encoding(tmp_path: Path) -> None:
    lines = rows(BARS, lambda t, o, h, low, c, v: [t, o, h, low, c, v, "caf\u00e9"])
    path = write(tmp_path / "a.csv", ["timestamp,open,high,low,close,volume,note", *lines], encoding="cp1252")
    with pytest.raises(DataError, match=r"not UTF-8 and has no byte-order mark(.|\n)*--encoding cp1252"):
        load_candles(path)
    assert load_candles(path, encoding="cp1252") == BARS
    with pytest.raises(DataError, match="encoding is the name of one"):
        load_candles(path, encoding="klingon")


FORMS: list[tuple[str, str]] = [
    ("%d.%m.%Y %H:%M", "day"), ("%d/%m/%Y %H:%M:%S", "day"), ("%d-%m-%Y %I:%M %p", "day"), ("%m/%d/%Y %H:%M", "month"),
    ("%m/%d/%Y %I:%M:%S %p", "month"), ("%d %b %Y %H:%M", ""), ("%d-%b-%Y %H:%M", ""), ("%b %d, %Y %I:%M %p", ""),
    ("%Y/%m/%d %H:%M", ""), ("%Y.%m.%d %H:%M:%S.000", ""), ("%Y%m%d %H:%M:%S", ""), ("%Y-%m-%d, %H:%M", ""),
]  # fmt: skip


@pytest.mark.parametrize(("form", "order"), FORMS)
def test_a_date_over_the_twelfth_says_whether_the_day_is_first(tmp_path: Path, form: str, order: str) -> None:
    lines = rows(BARS, lambda t, o, h, low, c, v: [f'"{moment(t, form)}"', o, h, low, c, v])  # 10 to 13 January
    candles = load_candles(write(tmp_path / "a.csv", ["Date,Open,High,Low,Close,Volume", *lines]), timezone="UTC")
    assert candles == BARS
    assert (f"{order} before" in str(candles.format)) is (order != "")


@pytest.mark.parametrize(
    "form", ["%d.%m.%Y %H:%M", "%m/%d/%Y %I:%M:%S %p", "%d-%m-%Y %H:%M:%S.%f", "%d/%m/%Y %H:%M UTC"]
)
def test_dates_that_no_row_decides_are_refused_and_the_cure_reads_them(tmp_path: Path, form: str) -> None:
    early = series(40, start=BARS.timestamp[0] - 5 * 24 * HOUR)  # 5 to 6 January
    lines = rows(early, lambda t, o, h, low, c, v: [moment(t, form), o, h, low, c, v])
    path = write(tmp_path / "a.csv", ["Date,Open,High,Low,Close,Volume", *lines])
    with pytest.raises(DataError, match="could begin with the day or with the month, and no row decides") as caught:
        load_candles(path, timezone="UTC")
    patterns = re.findall(r"--time-format '([^']+)'", str(caught.value))
    assert len(patterns) == 2
    readings = [load_candles(path, timezone="UTC", time_format=pattern) for pattern in patterns]
    assert early in readings
    assert readings[0] != readings[1]


def test_rows_that_ascend_under_one_reading_alone_say_which_it_is(tmp_path: Path) -> None:
    """10 November to 12 December by days: read month first, 1 December would come after 12 November and before it."""
    days = series(12, step=24 * HOUR, start=1_733_011_200_000)  # 1 to 12 December 2024
    before = series(3, step=24 * HOUR, start=1_733_011_200_000 - 3 * 24 * HOUR)
    late = [
        *rows(before, lambda t, *c: [moment(t, "%d/%m/%Y"), *c]),
        *rows(days, lambda t, *c: [moment(t, "%d/%m/%Y"), *c]),
    ]
    assert len(load_candles(write(tmp_path / "a.csv", ["Date,Open,High,Low,Close,Volume", *late]))) == 15
    lines = rows(days, lambda t, *c: [moment(t, "%d/%m/%Y"), *c])
    with pytest.raises(DataError, match="no row decides"):
        load_candles(write(tmp_path / "b.csv", ["Date,Open,High,Low,Close,Volume", *lines]))
    swapped = [lines[0], lines[2], lines[1], *lines[3:]]
    with pytest.raises(DataError, match="no row decides"):
        load_candles(write(tmp_path / "c.csv", ["Date,Open,High,Low,Close,Volume", *swapped]))


@pytest.mark.parametrize(
    ("cell", "rule"),
    [
        ("13/13/2024 00:00", "all with the month; found|dates are in the calendar"),
        ("31/02/2024 00:00", "dates are in the calendar"),
        ("20/01/2024 25:00", "a time of day is"),
        ("20/01/2024 13:00 PM", "hours are 1 to 12"),
        ("20/01/2024 1:00:00.0001", "whole milliseconds"),
        ("yesterday", "times are written in one way"),
    ],
)
def test_a_time_that_is_none_is_named_with_its_row(tmp_path: Path, cell: str, rule: str) -> None:
    lines = rows(BARS, lambda t, *c: [moment(t, "%d/%m/%Y %H:%M"), *c])
    lines[7] = ",".join([cell, *lines[7].split(",")[1:]])
    with pytest.raises(DataError, match=rf"({rule})(.|\n)*row 7"):
        load_candles(write(tmp_path / "a.csv", ["Date,Open,High,Low,Close,Volume", *lines]), timezone="UTC")


def test_dates_without_a_time_of_day_are_days_of_utc_and_hours_need_a_zone(tmp_path: Path) -> None:
    for form in ("%Y-%m-%d", "%Y%m%d", "%Y-%m-%d 00:00:00", "%d.%m.%Y"):
        lines = rows(DAYS, lambda t, *c, form=form: [moment(t, form), *c])  # type: ignore[misc]
        candles = load_candles(write(tmp_path / "a.csv", ["Date,Open,High,Low,Close,Volume", *lines]))
        assert candles == DAYS
        assert "dates are days of UTC" in str(candles.format)
        assert load_candles(tmp_path / "a.csv", timezone="+01:00").timestamp[0] == DAYS.timestamp[0] - HOUR
    days: dict[str, Any] = {**DAYS.columns(), "timestamp": pa.array(DAYS.timestamp).cast(pa.timestamp("ms"))}
    assert load_candles(pa.table(days)) == DAYS
    lines = rows(BARS, lambda t, *c: [moment(t, "%Y-%m-%d %H:%M"), *c])
    with pytest.raises(DataError, match=r"--timezone UTC(.|\n)*First lines as read:\n    1: Date,Open"):
        load_candles(write(tmp_path / "b.csv", ["Date,Open,High,Low,Close,Volume", *lines]))


def test_years_of_two_digits_are_refused_and_the_cure_reads_them(tmp_path: Path) -> None:
    lines = rows(BARS, lambda t, *c: [moment(t, "%d.%m.%y %H:%M"), *c])
    path = write(tmp_path / "a.csv", ["Date,Open,High,Low,Close,Volume", *lines])
    with pytest.raises(DataError, match=r"year of two digits(.|\n)*--time-format '%d.%m.%y %H:%M'"):
        load_candles(path, timezone="UTC")
    assert load_candles(path, timezone="UTC", time_format="%d.%m.%y %H:%M") == BARS


def test_the_index_of_a_frame_may_have_no_name(tmp_path: Path) -> None:
    lines = rows(BARS, lambda t, *c: [moment(t, "%Y-%m-%d %H:%M:%S+00:00"), *c])
    assert load_candles(write(tmp_path / "a.csv", [",open,high,low,close,volume", *lines])) == BARS


def test_utf_16_without_a_mark_says_its_encoding(tmp_path: Path) -> None:
    lines = ["timestamp,open,high,low,close,volume", *rows(BARS, lambda t, *c: [t, *c])]
    with pytest.raises(DataError, match="--encoding utf-16-le"):
        load_candles(write(tmp_path / "a.csv", lines, encoding="utf-16-le"))
    assert load_candles(tmp_path / "a.csv", encoding="utf-16-le") == BARS


def test_times_written_as_digits_are_no_epoch_numbers(tmp_path: Path) -> None:
    for form in ("%Y%m%d%H%M", "%Y%m%d%H%M%S"):
        lines = ["timestamp,open,high,low,close,volume", *rows(BARS, lambda t, *c: [moment(t, form), *c])]  # noqa: B023
        path = write(tmp_path / "a.csv", lines)
        assert load_candles(path, timezone="UTC") == BARS
        with pytest.raises(DataError, match=r"the zone of '20[0-9]{10,12}' .* is not given"):
            load_candles(path)
        frame = BARS.to_frame()
        frame["timestamp"] = [int(moment(t, form)) for t in BARS.timestamp.tolist()]
        assert load_candles(frame, timezone="UTC") == BARS
    days = DAYS.to_frame()
    days["timestamp"] = [int(moment(t, "%Y%m%d")) for t in DAYS.timestamp.tolist()]
    assert load_candles(days) == load_candles(days, time_format="%Y%m%d", timezone="UTC") == DAYS
    # What a unit is declared for is an epoch number.
    assert load_candles(days, time_unit="s", timeframe="1s", on_bad="drop").timestamp[0] == days["timestamp"][0] * 1_000


@pytest.mark.parametrize("first", [0, 100_000])
def test_row_numbers_are_no_times(first: int) -> None:
    frame = BARS.to_frame()
    frame["timestamp"] = range(first, first + len(BARS))
    with pytest.raises(DataError, match=r"would lie in the year 1970.* time_unit='s'"):
        load_candles(frame)
    assert load_candles(frame, time_unit="s").timestamp[0] == first * 1_000


def test_a_date_and_a_time_of_day_in_two_columns_are_joined(tmp_path: Path) -> None:
    lines = rows(BARS, lambda t, o, h, low, c, v: [o, h, low, c, v, moment(t, "%Y-%m-%d"), moment(t, "%H:%M:%S")])
    path = write(tmp_path / "a.csv", ["open,high,low,close,volume,date,time", *lines])
    assert load_candles(path, timezone="UTC") == BARS
    compact = rows(BARS, lambda t, *c: ["EURUSD", "60", moment(t, "%Y%m%d"), moment(t, "%H%M%S"), *c], ";")
    header = ";".join(f"<{name}>" for name in ["TICKER", "PER", "DATE", "TIME", "OPEN", "HIGH", "LOW", "CLOSE", "VOL"])
    assert load_candles(write(tmp_path / "b.csv", [header, *compact]), timezone="UTC") == BARS
    with pytest.raises(DataError, match=r"a time is in one column, or in two.*--columns 'timestamp=<DATE>\+<TIME>'"):
        load_candles(path, columns={"timestamp": ["date", "hour"]})


def test_lines_above_a_table_are_left_aside_as_found_or_as_declared(tmp_path: Path) -> None:
    lines = rows(BARS, lambda t, *c: [t, *c])
    header = "timestamp,open,high,low,close,volume"
    above = ["Prices of a house", "", "made on a Monday, by hand"]
    assert load_candles(write(tmp_path / "a.csv", [*above, header, *lines])) == BARS
    padded = write(tmp_path / "c.csv", ["Prices of a house,,,,,", header, *lines])
    assert load_candles(padded) == BARS
    odd = ["a,b,c,d,e,f", header]
    with pytest.raises(DataError, match=r"(.|\n)*First lines as read:\n    1: a,b,c"):
        load_candles(write(tmp_path / "b.csv", [*odd, *lines]))
    assert load_candles(tmp_path / "b.csv", skip=1) == BARS
    with pytest.raises(DataError, match="skip is a number of lines"):
        load_candles(tmp_path / "b.csv", skip=-1)


def test_rows_that_no_line_names_and_that_fit_no_order_say_the_exact_option(tmp_path: Path) -> None:
    lines = rows(BARS, lambda t, o, h, low, c, v: [t // 1_000, low, h, o, c, v, 9.5, 3, 4])
    path = write(tmp_path / "a.csv", lines)
    with pytest.raises(DataError, match="the rows fit no usual order") as caught:
        load_candles(path)
    assert "--columns timestamp,open,high,low,close,volume,column7,column8,column9" in str(caught.value)
    names = ["timestamp", "low", "high", "open", "close", "volume", "x", "y", "z"]
    assert load_candles(path, columns=names) == BARS
    assert load_candles(path, columns=[*names[:5], "a", "b", "c", "d"]).volume.tolist() == [0.0] * len(BARS)


def test_a_file_that_reads_as_ever_says_nothing_of_itself(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", ["timestamp,open,high,low,close,volume", *rows(BARS, lambda t, *c: [t, *c])])
    candles = load_candles(path)
    assert isinstance(candles, Candles)
    assert candles.format is None
    assert "read as" not in repr(candles)
