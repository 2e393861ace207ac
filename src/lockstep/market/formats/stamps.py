"""Times written as text, in more ways than ISO-8601, as milliseconds since 1970 UTC.

Day and month are told apart by the file alone: a number over 12, or rows that ascend under one reading and not under
the other. A zone is that of the text, a declared one, or one that a column's name or the program documents. A column of
dates without a time of day names days, which are days of UTC (decision 0073).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timezone
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lockstep.core.errors import DataError
from lockstep.market.formats.epochs import instants_of
from lockstep.market.times import day_before_month, from_text, is_number, parse_zone

DAY_MS: Final = 86_400_000
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_TIME: Final = (
    r"(?:(?P<gap>[ T]+|, ?)(?P<H>\d{1,2})(?:[:.](?P<M>\d{2})(?:[:.](?P<S>\d{2})(?:[.,](?P<f>\d{1,9}))?)?)?"
    r"(?P<pre>[ -]?)(?P<ap>[AaPp]\.?\s?[Mm]\.?)?)?(?P<post> ?)(?P<z>Z|(?:UTC|GMT)?[+-]\d{1,2}:?\d{2}|UTC|GMT)?\s*$"
)
_FORMS: Final = (
    r"^\s*(?P<y>\d{4})(?P<s>[-./])(?P<m>\d{1,2})[-./](?P<d>\d{1,2})" + _TIME,
    r"^\s*(?P<p>\d{1,2})(?P<s>[-./])(?P<q>\d{1,2})[-./](?P<y>\d{4})" + _TIME,
    r"^\s*(?P<y>\d{4})(?P<m>\d{2})(?P<d>\d{2})[ T](?P<H>\d{2}):?(?P<M>\d{2}):?(?P<S>\d{2})\s*$",
    r"^\s*(?P<y>\d{4})(?P<m>\d{2})(?P<d>\d{2})" + _TIME,
    r"^\s*(?P<d>\d{1,2})[- .](?P<mon>[A-Za-z]{3,9})\.?[- .,]+(?P<y>\d{4})" + _TIME,
    r"^\s*(?P<mon>[A-Za-z]{3,9})\.? (?P<d>\d{1,2}), ?(?P<y>\d{4})" + _TIME,
)
_SHORT_YEAR: Final = r"^\s*\d{1,2}(?P<s>[-./])\d{1,2}[-./]\d{2}(?P<rest>$|[ T].*)"
_DAYS: Final = r"^\s*(\d{4}-\d{2}-\d{2}([ T]00:00(:00(\.0+)?)?)?|\d{8})\s*$"
# 2024030109, 202403010930, 20240301093000. Read as epoch numbers they would be times of 1970, 1976, 2033 or 2611.
_COMPACT: Final = (
    r"^\s*(?P<y>19\d{2}|20\d{2})(?P<m>0[1-9]|1[0-2])(?P<d>0[1-9]|[12]\d|3[01])"
    r"(?P<H>[01]\d|2[0-3])(?P<M>[0-5]\d)?(?P<S>[0-5]\d)?\s*$"
)
_COMPACT_DAY: Final = r"^(19|20)\d{2}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])$"
_HEXADECIMAL: Final = r"^\s*(0[xX])?[0-9a-fA-F]{8,32}\s*$"
_CLOCK_DIRECTIVES: Final = re.compile(r"%[HIcXsTRzZ]")
# Any number, whatever it counts; eight digits of a date and other texts are looked at first.
_COUNT: Final = r"^\s*-?\d{1,19}([.,]\d*)?\s*$"
_ZONELESS: Final = "Declare it: timezone='UTC' or a fixed offset (--timezone UTC; in a spec [data] timezone)."


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What is known of times beside their text.

    zone       declared, or documented by the column's name or the program; None where nothing says it
    reason     where `zone` is from, unless it was declared
    day_first  True where the program documents it
    server     the times are those of a trading server: dates are not days of UTC
    """

    zone: timezone | None = None
    reason: str = ""
    day_first: bool = False
    server: bool = False


def stamps_of(
    column: Any, *, unit: str | None, time_format: str | None, evidence: Evidence, place: str, notes: list[str]
) -> NDArray[np.int64]:
    """Milliseconds since 1970 UTC, int64 (n,), of an Arrow text column without missing values.

    unit         of epoch numbers, as in `times.from_numbers`
    time_format  as for `datetime.strptime`; None finds the form
    notes        gets a line for what was settled by evidence

    Raises DataError when a text cannot be read, day and month or the zone cannot be told; names the first row.
    """
    first = column[0].as_py() or ""
    if time_format is None and unit is None and _all_match(column, _COMPACT):
        return _by_form(column, _COMPACT, evidence, place, notes)
    if time_format is None and (unit is not None or (re.match(_COUNT, first) and not re.match(_COMPACT_DAY, first))):
        numbers = _epochs(column)
        if numbers is not None:
            return epochs_of(numbers, unit=unit, evidence=evidence, place=place, notes=notes)
    if time_format is None and not _is_iso(first) and _all_match(column, _HEXADECIMAL):
        raise DataError(
            f"{place}: {first!r} in row 0 is a hexadecimal number, as ids are. Write the times as decimal numbers or "
            "as text, such as 2024-03-01T12:00:00Z, or name the column that has them: columns={'timestamp': 'NAME'} "
            "(--columns timestamp=NAME; in a spec [data] columns)."
        )
    if time_format is not None or unit is not None or is_number(first):
        zone = evidence.zone
        is_day = time_format is not None and not _CLOCK_DIRECTIVES.search(time_format)
        if is_day and zone is None and not evidence.server:
            notes.append("dates are days of UTC")
            zone = parse_zone("UTC")
        return from_text(column.to_pylist(), unit=unit, time_format=time_format, zone=zone, place=place, notes=notes)
    if not re.match(_DAYS, first) and _is_iso(first):
        return _iso(column, evidence, place, notes)
    if re.match(_DAYS, first) and evidence.zone is None and not evidence.server:
        if _all_match(column, _DAYS):
            notes.append("dates are days of UTC")
            evidence = Evidence(zone=parse_zone("UTC"))
        return _iso(column, evidence, place, notes)
    form = next((form for form in _FORMS if re.match(form, first)), None)
    if match := re.match(_SHORT_YEAR, first):
        raise DataError(_two_digits(first, match, place))
    if form is None or _is_iso(first):
        return _iso(column, evidence, place, notes)
    return _by_form(column, form, evidence, place, notes)


def epochs_of(
    values: NDArray[Any], *, unit: str | None, evidence: Evidence, place: str, notes: list[str]
) -> NDArray[np.int64]:
    """Milliseconds since 1970 UTC, int64 (n,), of numbers, as `epochs.instants_of` reads them.

    Raises DataError when nothing says what they count, or they count in a zone that nothing names.
    """
    instants = instants_of(values, unit=unit, place=place, notes=notes)
    if instants.is_utc:
        return instants.milliseconds
    local = instants.milliseconds
    return local - _zone_offset(
        local, evidence, place, f"{values[0].item()}, {np.datetime64(int(local[0]), 'ms')},", notes
    )


def is_calendar(values: NDArray[Any]) -> bool:
    """Whether all numbers are dates or times as digits, 20240301 or 202403010930, rather than epoch numbers."""
    import pyarrow as pa

    if not values.size or not (np.all(np.isfinite(values)) and np.all(values == np.floor(values))):
        return False
    least, most = values.min(), values.max()
    if least < 19_000_101 or most > 20_991_231_235_959:
        return False
    texts = pa.array(values.astype(np.int64)).cast(pa.string())
    return _all_match(texts, _COMPACT_DAY) or _all_match(texts, _COMPACT)


def _all_match(column: Any, pattern: str) -> bool:
    import pyarrow.compute as pc

    return bool(pc.all(pc.match_substring_regex(column, pattern)).as_py())


def _two_digits(text: str, match: re.Match[str], place: str) -> str:
    """What to say of years of two digits, which leave open which of the three numbers they are."""
    sign = match["s"]
    clock = "".join(
        letter if not letter.isdigit() else f"%{directive}"
        for letter, directive in zip(re.sub(r"\d+", "0", match["rest"]), _directives(match["rest"]), strict=False)
    )
    clock = re.sub("[AaPp][Mm]$", "%p", clock)
    orders = [sign.join(order) + clock for order in (("%d", "%m", "%y"), ("%m", "%d", "%y"), ("%y", "%m", "%d"))]
    return (
        f"{place}: {text!r} in row 0 has a year of two digits, which could be any of its numbers. Say which: "
        f"{_format_option(orders[0])}, or '{orders[1]}', or '{orders[2]}'."
    )


def _directives(rest: str) -> list[str]:
    """For each letter of a time of day whose numbers are one letter each, the directive that a number stands for."""
    names = iter("HMSf" if not re.search("[AaPp][Mm]", rest) else "IMSf")
    return [next(names, "f") if letter.isdigit() else "" for letter in re.sub(r"\d+", "0", rest)]


def _epochs(column: Any) -> NDArray[Any] | None:
    """Numbers, int64 or float64 (n,), read all at once; None where a row is none, for the slow way to name it."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not _all_match(column, _COUNT):
        return None
    # Nanoseconds of today have 19 digits and would lose their last ones as floats.
    is_broken = pc.any(pc.match_substring_regex(column, "[.,]")).as_py()
    plain = pc.replace_substring(pc.utf8_trim_whitespace(column), ",", ".") if is_broken else column
    try:
        return np.asarray(pc.cast(pc.utf8_trim_whitespace(plain), pa.float64() if is_broken else pa.int64()).to_numpy())
    except pa.ArrowInvalid:
        return None


def _is_iso(text: str) -> bool:
    from datetime import datetime

    try:
        datetime.fromisoformat(text.strip().removesuffix(" UTC"))
    except ValueError:
        return False
    return True


def _iso(column: Any, evidence: Evidence, place: str, notes: list[str]) -> NDArray[np.int64]:
    values = column.to_pylist()
    stamps = from_text(values, unit=None, time_format=None, zone=evidence.zone, place=place, notes=notes)
    if evidence.reason and evidence.zone is not None:
        notes.append(f"times of {_zone_name(evidence.zone)}, {evidence.reason}")
    return stamps


def _zone_name(zone: timezone) -> str:
    return "UTC" if zone == parse_zone("UTC") else str(zone)


def _by_form(column: Any, form: str, evidence: Evidence, place: str, notes: list[str]) -> NDArray[np.int64]:
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    parts = pc.extract_regex(pc.cast(column, pa.string()), form)
    row = pc.index(pc.is_null(parts), True).as_py()
    if row >= 0:
        raise DataError(
            f"{place}: times are written in one way, as in row 0 ({column[0].as_py()!r}); found "
            f"{column[row].as_py()!r} in row {row}. Correct the row, or say how all are written: "
            "time_format='%d.%m.%Y %H:%M:%S' (--time-format; in a spec [data] time_format)."
        )
    cells = {parts.type.field(i).name: pc.struct_field(parts, i) for i in range(parts.type.num_fields)}
    time = _time_of_day(cells, column, place)
    if "mon" in cells:
        month = _months(cells["mon"], column, place)
        days = _days(_whole(cells["y"]), month, _whole(cells["d"]), column, place)
    elif "m" in cells:
        days = _days(_whole(cells["y"]), _whole(cells["m"]), _whole(cells["d"]), column, place)
    else:
        days = _ordered(cells, time, column, evidence, place, notes)
    local = days * DAY_MS + time
    return local - _offsets(cells, local, column, evidence, place, notes)


def _whole(cells: Any) -> NDArray[np.int64]:
    import pyarrow as pa
    import pyarrow.compute as pc

    # Arrow gives "" for a group that took no part.
    filled = pc.if_else(pc.equal(cells, ""), "0", cells)
    return np.asarray(pc.cast(filled, pa.int64()).to_numpy(zero_copy_only=False), dtype=np.int64)


def _refuse(bad: NDArray[np.bool_], column: Any, rule: str, place: str) -> None:
    if bad.any():
        row = int(np.argmax(bad))
        raise DataError(
            f"{place}: {rule}; found {column[row].as_py()!r} in row {row}, {int(bad.sum()):,} such rows. Correct them, "
            "or say how times are written: time_format='%d.%m.%Y %H:%M:%S' (--time-format; in a spec [data] "
            "time_format)."
        )


def _time_of_day(cells: dict[str, Any], column: Any, place: str) -> NDArray[np.int64]:
    """Milliseconds since midnight, int64 (n,)."""
    import pyarrow.compute as pc

    hour, minute, second = (_whole(cells[name]) for name in ("H", "M", "S"))
    if "ap" in cells:
        letters = np.asarray(pc.utf8_lower(pc.utf8_slice_codeunits(cells["ap"], 0, 1)).to_numpy(zero_copy_only=False))
        half = (letters == "a") | (letters == "p")
        _refuse(half & ((hour < 1) | (hour > 12)), column, "with AM and PM hours are 1 to 12", place)
        hour = np.where(half, hour % 12 + np.where(letters == "p", 12, 0), hour)
    _refuse((hour > 23) | (minute > 59) | (second > 59), column, "a time of day is 00:00:00 to 23:59:59", place)
    millisecond = np.zeros(hour.shape[0], dtype=np.int64)
    if "f" in cells and pc.any(pc.not_equal(cells["f"], "")).as_py():
        nanoseconds = _whole(pc.ascii_rpad(cells["f"], 9, padding="0"))
        _refuse(nanoseconds % 1_000_000 != 0, column, "times are whole milliseconds", place)
        millisecond = nanoseconds // 1_000_000
    return ((hour * 60 + minute) * 60 + second) * 1_000 + millisecond


def _months(cells: Any, column: Any, place: str) -> NDArray[np.int64]:
    names = [str(name)[:3].lower() for name in cells.to_pylist()]
    month = np.array([_MONTHS.index(name) + 1 if name in _MONTHS else 0 for name in names], dtype=np.int64)
    _refuse(month == 0, column, "months are written in English", place)
    return month


def _days(
    year: NDArray[np.int64], month: NDArray[np.int64], day: NDArray[np.int64], column: Any, place: str
) -> NDArray[np.int64]:
    """Days since 1970, int64 (n,)."""
    wrong = (month < 1) | (month > 12) | (day < 1) | (year < 1)
    if wrong.any() and (pattern := day_before_month(text := column[int(np.argmax(wrong))].as_py())):
        raise DataError(
            f"{place}: dates are in the calendar; found {text!r} in row {int(np.argmax(wrong))}. If the day stands "
            f"before the month, say so: {_format_option(pattern)}."
        )
    _refuse(wrong, column, "dates are in the calendar", place)
    first = ((year - 1970) * 12 + month - 1).astype("datetime64[M]")
    length = ((first + 1).astype("datetime64[D]") - first.astype("datetime64[D]")).astype(np.int64)
    _refuse(day > length, column, "dates are in the calendar", place)
    return np.asarray(first.astype("datetime64[D]").astype(np.int64) + day - 1, dtype=np.int64)


def _ordered(
    cells: dict[str, Any], time: NDArray[np.int64], column: Any, evidence: Evidence, place: str, notes: list[str]
) -> NDArray[np.int64]:
    """Days since 1970 of dates that begin with the day or the month; which, the file has to say."""
    one, two, year = _whole(cells["p"]), _whole(cells["q"]), _whole(cells["y"])
    first_over, second_over = np.flatnonzero(one > 12), np.flatnonzero(two > 12)
    if first_over.size and second_over.size:
        rows = int(first_over[0]), int(second_over[0])
        raise DataError(
            f"{place}: dates begin with the day or all with the month; found {column[rows[0]].as_py()!r} in row "
            f"{rows[0]} and {column[rows[1]].as_py()!r} in row {rows[1]}. Correct the file."
        )
    if second_over.size and evidence.day_first:
        row = int(second_over[0])
        raise DataError(
            f"{place}: this program writes the day first; found {column[row].as_py()!r} in row {row}. Say how they "
            f"are written: {_format_option(_format_of(column[row].as_py(), cells, row, day_first=False))}."
        )
    if first_over.size or evidence.day_first:
        if first_over.size:
            notes.append(f"day before month, by {column[int(first_over[0])].as_py()!r}")
        return _days(year, two, one, column, place)
    if second_over.size:
        notes.append(f"month before day, by {column[int(second_over[0])].as_py()!r}")
        return _days(year, one, two, column, place)
    by_day, by_month = _days(year, two, one, column, place), _days(year, one, two, column, place)
    orders = [_has_order(days * DAY_MS + time) for days in (by_day, by_month)]
    if orders == [True, False] or orders == [False, True]:
        notes.append(("day before month" if orders[0] else "month before day") + ", by the order of the rows")
        return by_day if orders[0] else by_month
    if np.array_equal(by_day, by_month):
        return by_day
    near = [_are_neighbours(days, time) for days in (by_day, by_month)]
    if orders == [True, True] and near[0] != near[1]:
        notes.append(("day before month" if near[0] else "month before day") + ", by days that follow one another")
        return by_day if near[0] else by_month
    row = int(np.argmax(by_day != by_month))
    text = column[row].as_py()
    options = [_format_of(text, cells, row, day_first=first) for first in (True, False)]
    raise DataError(
        f"{place}: {text!r} in row {row} could begin with the day or with the month, and no row decides. Say which: "
        f"{_format_option(options[0])}, or {_format_option(options[1])}."
    )


def _has_order(stamps: NDArray[np.int64]) -> bool:
    """Whether three rows at least ascend or descend throughout."""
    step = np.diff(stamps)
    return bool(step.size > 1 and (np.all(step > 0) or np.all(step < 0)))


def _are_neighbours(days: NDArray[np.int64], time: NDArray[np.int64]) -> bool:
    """Whether rows with times of day are of three days at least, each at most four after the one before.

    The other reading of such days has one day in each month, with several bars on it, which no series has.
    """
    dates = np.unique(days)
    return bool(dates.size > 2 and dates.size < days.size and np.unique(time).size > 1 and np.diff(dates).max() <= 4)


def _format_option(pattern: str) -> str:
    return f"time_format='{pattern}' (--time-format '{pattern}'; in a spec [data] time_format)"


def _format_of(text: str, cells: dict[str, Any], row: int, *, day_first: bool) -> str:
    """The pattern of `datetime.strptime` that reads a time such as 05.03.2024 16:00:00."""
    part = {name: str(cells[name][row].as_py() or "") for name in cells}
    out = part["s"].join(("%d", "%m", "%Y") if day_first else ("%m", "%d", "%Y"))
    if part["H"]:
        clock = text[text.index(part["gap"] + part["H"]) + len(part["gap"] + part["H"]) :]
        out += part["gap"] + ("%I" if part["ap"] else "%H")
        for name, directive in (("M", "%M"), ("S", "%S"), ("f", "%f")):
            if part[name]:
                out += clock[:1] + directive
                clock = clock[1 + len(part[name]) :]
        out += part["pre"] + ("%p" if part["ap"] else "")
    if zone := part["z"]:
        letters = "GMT" if zone.startswith("GMT") else "UTC" if zone.startswith("UTC") else ""
        out += part["post"] + letters + ("%z" if len(zone) > len(letters) else "")
    return out


def _offsets(
    cells: dict[str, Any], local: NDArray[np.int64], column: Any, evidence: Evidence, place: str, notes: list[str]
) -> NDArray[np.int64]:
    """How far each local time is ahead of UTC, milliseconds, int64 (n,)."""
    texts: Sequence[str] = cells["z"].to_pylist() if "z" in cells else []
    offsets = {text: _offset(text) for text in set(texts) if text}
    if offsets and "" not in texts and None not in texts:
        return np.array([offsets[text] for text in texts], dtype=np.int64)
    if offsets:
        row = next(row for row, text in enumerate(texts) if not text)
        raise DataError(
            f"{place}: all times name a zone or none does; found none in {column[row].as_py()!r} (row {row}). Correct "
            "the row."
        )
    return _zone_offset(local, evidence, place, repr(column[0].as_py()), notes)


def _zone_offset(
    local: NDArray[np.int64], evidence: Evidence, place: str, first: str, notes: list[str]
) -> NDArray[np.int64]:
    """How far local times that name no zone are ahead of UTC, milliseconds, int64 (n,). Raises DataError."""
    zone = evidence.zone
    if zone is None and not evidence.server and not np.any(local % DAY_MS):
        notes.append("dates are days of UTC")
        return np.zeros(local.shape[0], dtype=np.int64)
    if zone is None:
        whose = "the server's" if evidence.server else "not given"
        raise DataError(f"{place}: the zone of {first} (row 0) is {whose}. {_ZONELESS}")
    if evidence.reason:
        notes.append(f"times of {_zone_name(zone)}, {evidence.reason}")
    offset = zone.utcoffset(None)
    return np.full(local.shape[0], round(offset.total_seconds() * 1_000), dtype=np.int64)


def _offset(text: str) -> int:
    """Milliseconds ahead of UTC of Z, UTC, GMT, +02:00, GMT+0200."""
    match = re.search(r"([+-])(\d{1,2}):?(\d{2})$", text)
    if match is None:
        return 0
    minutes = int(match[2]) * 60 + int(match[3])
    return (-minutes if match[1] == "-" else minutes) * 60_000
