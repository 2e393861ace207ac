"""Times as files give them, turned into int64 milliseconds since 1970 UTC.

Nothing is guessed that could be wrong in silence: numbers are read by their magnitude, each row by its own where every
row of the column leaves no doubt, else such a column is refused; text without a zone needs a declared one; day-first
dates need a format.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lockstep.core.errors import DataError

# How many of a unit make a second, and the magnitude below which a bare number is taken for that unit:
# 1e11 seconds is the year 5138, 1e11 milliseconds is 1973 (R1.24: smaller values are seconds).
UNITS: Final = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_LIMITS: Final = np.array([10**11, 10**14, 10**17], dtype=np.int64)
_NAMES: Final = ("s", "ms", "us", "ns")
# Where rows of several units stand in one column, each must be a time of these years: no number is that in two units.
_FIRST_SURE: Final = 631_152_000_000  # 1990
_LAST_SURE: Final = 4_102_444_800_000  # 2100
# A number of seconds of those years, read as milliseconds, falls before this.
_END_OF_MISREAD: Final = 60 * 86_400_000
_FINER: Final = re.compile(r"[.,]\d{6}(\d+)")
_OFFSET: Final = re.compile(r"([+-])(\d{2}):?(\d{2})")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


def parse_zone(text: str | None) -> timezone | None:
    """A fixed zone: "UTC" or an offset such as "+02:00". None stays None. Raises DataError on anything else."""
    if text is None:
        return None
    if text.upper() in ("UTC", "Z", "GMT"):
        return UTC
    if match := _OFFSET.fullmatch(text):
        offset = timedelta(hours=int(match[2]), minutes=int(match[3]))
        if offset < timedelta(hours=24):
            return timezone(-offset if match[1] == "-" else offset)
    raise DataError(
        f"timezone is 'UTC' or a fixed offset such as '+02:00'; found {text!r}. "
        "Zones with summer time have hours that occur twice: convert such times to UTC first."
    )


def parse_instant(text: str) -> int:
    """Milliseconds since 1970 UTC of an ISO-8601 text; without a zone it is read as UTC. Raises DataError."""
    try:
        moment = datetime.fromisoformat(text)
        return _milliseconds(_whole_microseconds(moment, text).replace(tzinfo=moment.tzinfo or UTC))
    except ValueError:
        raise DataError(
            f"a time is ISO-8601 in whole milliseconds, such as '2024-03-01' or '2024-03-01T12:00Z'; found {text!r}."
        ) from None


def instant_ms(when: str | int) -> int:
    """Milliseconds since 1970 UTC of an ISO-8601 text or of a number of them. Raises DataError as `parse_instant`."""
    return parse_instant(when) if isinstance(when, str) else int(when)


def _milliseconds(moment: datetime) -> int:
    # Divided as timedeltas: a float of seconds has no exact milliseconds.
    whole, rest = divmod(moment - _EPOCH, _MILLISECOND)
    if rest:
        raise ValueError("a part of a millisecond")
    return whole


def from_numbers(
    values: NDArray[Any], *, unit: str | None, place: str, notes: list[str] | None = None
) -> NDArray[np.int64]:
    """Epoch numbers as milliseconds.

    values  (n,), integers or floats that are whole in milliseconds
    unit    "s", "ms", "us" or "ns"; None reads it from the magnitude: below 1e11 seconds, below 1e14 milliseconds,
            below 1e17 microseconds, else nanoseconds (so times before March 1973 need a unit). A column of several
            units is read row by row where each row is then a time of 1990 to 2100
    place   file and column, named in errors
    notes   gets a line where rows have several units

    Raises DataError when a value is missing or has a part of a millisecond, magnitudes disagree, or a declared unit
    would make times of 1970 or the far future of numbers that are of another unit by their size; names the first row.
    """
    if values.dtype.kind == "f":
        _refuse(~np.isfinite(values), values, place, "times are numbers", "Fetch the row again or leave it out.")
    if unit is not None and unit not in UNITS:
        raise DataError(f"{place}: time_unit is one of {', '.join(UNITS)}; found {unit!r}.")
    if not values.size:
        return values.astype(np.int64)
    # The smallest and the largest decide for all rows between them, in the usual case without a look at each.
    least, most = values.min().item(), values.max().item()
    smallest, largest = np.searchsorted(_LIMITS, [max(least, 0), max(most, 0)], side="right").tolist()
    if least >= 0 and smallest == largest and unit in (None, _NAMES[smallest]):
        return to_milliseconds(values, _NAMES[smallest], place)
    kinds = np.searchsorted(_LIMITS, np.abs(values), side="right")
    by_size = np.array([UNITS[name] for name in _NAMES])[kinds]
    # Whole milliseconds are enough to place a row in a year.
    instants = values // np.maximum(by_size // 1_000, 1) * np.where(by_size == 1, 1_000, 1)
    sure = bool(np.all((instants >= _FIRST_SURE) & (instants < _LAST_SURE)))
    other = kinds != kinds[0]
    if unit is not None:
        if sure:
            _refuse_misread(values, kinds, unit, place)
        return to_milliseconds(values, unit, place)
    if not other.any():  # times before 1970 and after it
        return to_milliseconds(values, _NAMES[kinds[0]], place)
    row = int(np.argmax(other))
    if not sure:
        raise DataError(
            f"{place}: times have one unit, or are all of 1990 to 2100, where each row's size tells its own; by their "
            f"size row 0 ({values[0]}) is in {_NAMES[kinds[0]]} and row {row} ({values[row]}) in {_NAMES[kinds[row]]}, "
            f"{int(other.sum()):,} such rows. Correct the rows, or where all have one unit all the same declare it: "
            "time_unit='ms' (--time-unit ms; in a spec [data] time_unit)."
        )
    out = np.empty(values.shape[0], dtype=np.int64)
    for kind in np.unique(kinds):
        rows = np.flatnonzero(kinds == kind)
        out[rows] = to_milliseconds(values[rows], _NAMES[kind], f"{place} (rows in {_NAMES[kind]} alone)")
    if notes is not None:
        counts = ", ".join(f"{int(np.sum(kinds == kind)):,} in {_NAMES[kind]}" for kind in np.unique(kinds))
        notes.append(f"times of several units, each row by its size: {counts}")
    return out


def _refuse_misread(values: NDArray[Any], kinds: NDArray[np.intp], unit: str, place: str) -> None:
    """Raises DataError when a declared unit contradicts numbers that are sure times of 1990 to 2100 in another."""
    declared = values.astype(np.float64) * (1_000 / UNITS[unit])
    misread = (kinds != _NAMES.index(unit)) & ((declared < _END_OF_MISREAD) | (declared > _LAST_SURE))
    if not misread.any():
        return
    row = int(np.argmax(misread))
    units = sorted({_NAMES[kind] for kind in kinds}, key=_NAMES.index)
    cure = f"Declare time_unit={units[0]!r}, or leave it out." if len(units) == 1 else "Leave time_unit out: "
    if len(units) > 1:
        cure += f"the rows are in {' and '.join(units)}, and each is then read by its size."
    raise DataError(
        f"{place}: with time_unit={unit!r} row {row} ({values[row]}) would lie in "
        f"{'January or February 1970' if declared[row] < _END_OF_MISREAD else 'a year beyond 2100'}, "
        f"{int(misread.sum()):,} such rows; by its size it is in {_NAMES[kinds[row]]}. {cure}"
    )


def to_milliseconds(values: NDArray[Any], unit: str, place: str) -> NDArray[np.int64]:
    """Numbers of one unit as milliseconds. Raises DataError at a part of a millisecond, or beyond the year 9999."""
    per_second = UNITS[unit]
    cure = "Bars open on whole milliseconds; round the times yourself if that is what you want."
    if values.dtype.kind == "f":
        exact = values * (1_000 / per_second) if per_second <= 1_000 else values / (per_second / 1_000)
        # Floats of seconds hold milliseconds only to about 1e-7; anything nearer than that is a whole one.
        whole = np.round(exact)
        _refuse(np.abs(exact - whole) > 1e-3, values, place, "times are whole milliseconds", cure)
        return whole.astype(np.int64)
    integers = values.astype(np.int64)
    if per_second <= 1_000:
        factor = 1_000 // per_second
        limit = np.iinfo(np.int64).max // factor
        _refuse(
            (integers > limit) | (integers < -limit),
            values,
            place,
            "times lie between 1970 and 9999",
            "Check time_unit (--time-unit; in a spec [data] time_unit).",
        )
        return integers * factor
    divisor = per_second // 1_000
    _refuse(integers % divisor != 0, values, place, "times are whole milliseconds", cure)
    return integers // divisor


def _refuse(bad: NDArray[np.bool_], values: NDArray[Any], place: str, rule: str, cure: str) -> None:
    if bad.any():
        row = int(np.argmax(bad))
        raise DataError(f"{place}: {rule}; found {values[row]!r} in row {row}, {int(bad.sum()):,} such rows. {cure}")


def from_text(
    values: Sequence[str | None],
    *,
    unit: str | None,
    time_format: str | None,
    zone: timezone | None,
    place: str,
    notes: list[str] | None = None,
) -> NDArray[np.int64]:
    """Times written as text, as milliseconds: epoch numbers, ISO-8601, or `time_format`.

    values       one text per row
    unit         for epoch numbers, as in `from_numbers`
    time_format  as for datetime.strptime, such as "%d.%m.%Y %H:%M:%S.%f"; None reads ISO-8601
    zone         the zone of texts that name none; None refuses them
    place        file and column, named in errors
    notes        as for `from_numbers`

    Raises DataError when a text cannot be read, or names no zone and none is declared; names the first row.
    """
    # The first row decides the form; a row of another form is then an error, because a mixed column has no one meaning.
    if time_format is None and values and values[0] is not None and (unit is not None or is_number(values[0])):
        return from_numbers(_numbers(values, unit, place), unit=unit, place=place, notes=notes)
    if time_format is None:
        read: Callable[[str], datetime] = _iso
        form = "ISO-8601, such as 2024-03-01T12:00:00Z"
        cure = ""
    else:
        pattern = time_format

        def read(text: str) -> datetime:
            return datetime.strptime(text, pattern)  # noqa: DTZ007 - the zone is added below

        form = f"written as time_format {time_format!r} says"
        cure = "Correct time_format, or the row."
    out = np.empty(len(values), dtype=np.int64)
    for row, text in enumerate(values):
        try:
            moment = read(text or "")
        except ValueError:
            raise DataError(f"{place}: times are {form}; found {text!r} in row {row}. {cure or _cure(text)}") from None
        if moment.tzinfo is None:
            if zone is None:
                raise DataError(
                    f"{place}: the zone of {text!r} (row {row}) is not given. "
                    "Declare it: timezone='UTC' or a fixed offset (--timezone UTC; in a spec [data] timezone)."
                )
            moment = moment.replace(tzinfo=zone)
        try:
            out[row] = _milliseconds(_whole_microseconds(moment, text or ""))
        except ValueError:
            raise DataError(f"{place}: times are whole milliseconds; found {text!r} in row {row}. Round it.") from None
    return out


def _cure(text: str | None) -> str:
    """What helps where a time is not ISO-8601."""
    if text is None or not re.search(r"\d", text):
        return "A line that is no row, such as a total or the names of the columns again, has to be left out."
    if re.fullmatch(r"\s*\d+(\.\d+)?[eE][+]?\d+\s*", text):
        return "The program that wrote it may have cut digits: write the times as whole numbers or as ISO-8601 text."
    if re.fullmatch(r"\s*\d{5}([.,]\d+)?\s*", text):
        return "If it is the number of a day in a spreadsheet, format that column as a date, and save the file again."
    if pattern := day_before_month(text):
        return (
            f"If the day stands before the month, say so: time_format='{pattern}' (--time-format '{pattern}'; in a "
            "spec [data] time_format)."
        )
    if re.search(r"\d\s+(?!UTC|GMT|AM|PM)[A-Z][A-Za-z_/]+\s*$", text):
        return "Names of zones are not read: their hours may occur twice. Write the times in UTC, or with their offset."
    return (
        "Say how the times are written: time_format='%d.%m.%Y %H:%M:%S' (--time-format '%d.%m.%Y %H:%M:%S'; in a "
        "spec [data] time_format)."
    )


def day_before_month(text: str) -> str | None:
    """The pattern that reads a date such as 2024-31-01, where nothing but a swap of month and day makes it one."""
    match = re.match(
        r"\s*(\d{4})([-./])(\d{1,2})\2(\d{1,2})(?:([ T])\d{1,2}(:\d{2})?(:\d{2})?(\.\d{1,6})?)?(Z)?\s*$", text
    )
    if match is None or not (12 < int(match[3]) <= 31 and 1 <= int(match[4]) <= 12):
        return None
    clock = "".join(
        part for part, cell in (("%H", match[5]), (":%M", match[6]), (":%S", match[7]), (".%f", match[8])) if cell
    )
    return match[2].join(("%Y", "%d", "%m")) + (match[5] or "") + clock + ("%z" if match[9] else "")


def _iso(text: str) -> datetime:
    text = text.strip()
    # pandas and some exchanges write " UTC", which ISO-8601 does not know.
    return datetime.fromisoformat(text[:-4] + "Z" if text.endswith(" UTC") else text)


def _whole_microseconds(moment: datetime, text: str) -> datetime:
    """The moment that Python read. Raises ValueError where it left digits beyond microseconds out."""
    if (match := _FINER.search(text)) and match[1].strip("0"):
        raise ValueError("a part of a microsecond")
    return moment


def is_number(text: str, unit: str | None = None) -> bool:
    """Whether a text is an epoch number; with a declared unit a shorter one is too."""
    # Twenty digits in a row are no epoch; 20240301 is a date that fromisoformat reads, unless a unit is declared.
    digits = "9,19" if unit is None else "1,19"
    return re.fullmatch(rf"\s*\d{{{digits}}}(\.\d*)?\s*", text) is not None


def _numbers(values: Sequence[str | None], unit: str | None, place: str) -> NDArray[Any]:
    # Nanoseconds of today have 19 digits and would lose their last ones as floats.
    whole = all(text is not None and "." not in text for text in values)
    convert: Callable[[str], Any] = int if whole else float
    for row, text in enumerate(values):
        if text is None or not is_number(text, unit):
            raise DataError(
                f"{place}: times are epoch numbers, as in the other rows; found {text!r} in row {row}. Correct it."
            )
    numbers = [convert(text) for text in values if text is not None]
    if whole and (most := max(numbers)) > np.iinfo(np.int64).max:
        row = numbers.index(most)
        raise DataError(f"{place}: times are epoch numbers of at most 64 bits; found {most} in row {row}. Correct it.")
    return np.array(numbers, dtype=np.int64 if whole else np.float64)
