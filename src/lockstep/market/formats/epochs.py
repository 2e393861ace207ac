"""Numbers that are times: since 1970 in seconds to nanoseconds, and the other counts that programs write.

A count is read without a declaration only where no other reading is a time of markets. .NET ticks have the size of
nanoseconds of 1990, seconds since 2001 that of seconds of 1992, days of a spreadsheet that of seconds of 1970: such
numbers are refused with every reading that is possible, and the option for each, unless their steps decide.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lockstep.core.errors import DataError
from lockstep.market.checks import format_time
from lockstep.market.times import UNITS, from_numbers

# Since 1970, milliseconds.
_YEAR_1900: Final = -2_208_988_800_000
YEAR_1971: Final = 31_536_000_000
_YEAR_1996: Final = 820_454_400_000
_YEAR_2050: Final = 2_524_608_000_000
_YEAR_2100: Final = 4_102_444_800_000
_DAY: Final = 86_400_000
# Lengths of bars, seconds. No two of them have the ratio of a tick to a nanosecond, 100.
_BARS: Final = (
    1, 5, 10, 15, 30, 60, 180, 300, 900, 1_800, 3_600, 7_200, 10_800, 14_400, 21_600, 28_800, 43_200, 86_400, 604_800,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """A way to count time.

    origin    the number that stands for 1970
    per_ms    how many make a millisecond, or
    ms        how many milliseconds one is
    is_utc    whether it is defined in UTC; else numbers name no zone
    is_sure   whether numbers of its size are nothing else, so that it may be read without a declaration
    since     the earliest time that is taken for one without a declaration, milliseconds since 1970
    text      in words
    """

    origin: float
    text: str
    per_ms: int = 1
    ms: int = 1
    is_utc: bool = True
    is_sure: bool = False
    since: int = 631_152_000_000  # 1990

    def milliseconds(self, values: NDArray[np.generic]) -> NDArray[np.float64]:
        """The times, float64 (n,), near enough to place them in a year."""
        return (values.astype(np.float64) - self.origin) * self.ms / self.per_ms


EPOCHS: Final[Mapping[str, Epoch]] = {
    "ticks": Epoch(
        origin=621_355_968_000_000_000, per_ms=10_000, is_utc=False, text=".NET ticks, 100 ns since the year 1"
    ),
    "filetime": Epoch(origin=116_444_736_000_000_000, per_ms=10_000, text="Windows file times, 100 ns since 1601"),
    "webkit": Epoch(
        origin=11_644_473_600_000_000, per_ms=1_000, is_sure=True, text="Chrome's times, microseconds since 1601"
    ),
    "apple": Epoch(origin=-978_307_200, ms=1_000, since=1_167_609_600_000, text="Apple's times, seconds since 2001"),
    "mac": Epoch(origin=2_082_844_800, ms=1_000, is_utc=False, text="old Mac times, seconds since 1904"),
    "excel": Epoch(origin=25_569, ms=_DAY, is_utc=False, text="days of a spreadsheet, since 1900"),
    "excel1904": Epoch(origin=24_107, ms=_DAY, is_utc=False, text="days of an old Mac spreadsheet, since 1904"),
    "julian": Epoch(origin=2_440_587.5, ms=_DAY, is_sure=True, text="Julian days"),
    "matlab": Epoch(origin=719_529, ms=_DAY, is_utc=False, text="MATLAB's days, since the year 0"),
    "ordinal": Epoch(origin=719_163, ms=_DAY, is_utc=False, text="Python's ordinals, days since the year 1"),
    "days": Epoch(origin=0, ms=_DAY, is_utc=False, text="days since 1970"),
    "minutes": Epoch(origin=0, ms=60_000, text="minutes since 1970"),
}
TIME_UNITS: Final = (*UNITS, *EPOCHS)


def option(unit: str) -> str:
    """How a unit is declared, for a message."""
    return f"time_unit={unit!r} (--time-unit {unit}; in a spec [data] time_unit)"


@dataclass(frozen=True, kw_only=True)
class Instants:
    """Times of numbers: int64 (n,) milliseconds since 1970, and whether those are of UTC or of a zone not named."""

    milliseconds: NDArray[np.int64]
    is_utc: bool = True


def instants_of(values: NDArray[np.generic], *, unit: str | None, place: str, notes: list[str]) -> Instants:
    """The times that numbers count.

    values   (n,), integers or floats
    unit     one of `TIME_UNITS`; None finds it
    notes    gets a line where they count something else than one unit since 1970

    Raises DataError where a declared unit does not fit, or without one several readings are possible, or none is.
    """
    if unit is not None and unit in EPOCHS:
        return _counted(values, unit, place)
    if unit is not None and unit not in UNITS:
        raise DataError(f"{place}: time_unit is one of {', '.join(TIME_UNITS)}; found {unit!r}.")
    if unit is not None or not values.size or not np.all(np.isfinite(values)):
        return Instants(milliseconds=from_numbers(values, unit=unit, place=place, notes=notes))
    odd = _odd_row(values)
    others = [name for name, epoch in EPOCHS.items() if _fits(values, epoch)]
    if odd is None:
        lines: list[str] = []
        stamps = from_numbers(values, unit=None, place=place, notes=lines)
        name = _of_like_size(values, stamps, others, place)
        if name is None:
            notes += lines
            return Instants(milliseconds=stamps)
    else:
        name = others[0] if len(others) == 1 and EPOCHS[others[0]].is_sure else None
        if name is None:
            raise DataError(_unclear(values, odd, others, place))
    notes.append(f"times in {EPOCHS[name].text}")
    return _counted(values, name, place)


def _rough(values: NDArray[np.generic]) -> NDArray[np.float64]:
    """Milliseconds since 1970 by the size of each number, float64 (n,), near enough to place them in a year."""
    size = np.abs(values.astype(np.float64))
    factor = np.select([size < 1e11, size < 1e14, size < 1e17], [1e3, 1.0, 1e-3], 1e-6)
    return np.asarray(values.astype(np.float64) * factor)


def _odd_row(values: NDArray[np.generic]) -> int | None:
    """The first row that is no time since 1970 of any market; None where there is none.

    A series that lies in 1970 alone, or after 2050, is none; nor is one time beyond 2100 or before 1900.
    """
    stamps = _rough(values)
    odd = (stamps >= _YEAR_2100) | (stamps < _YEAR_1900)
    if not odd.any():
        odd[:] = np.all((stamps >= 0) & (stamps < YEAR_1971)) or np.all(stamps >= _YEAR_2050)
    return int(np.argmax(odd)) if odd.any() else None


def _fits(values: NDArray[np.generic], epoch: Epoch) -> bool:
    """Whether all numbers are times of the epoch's years, up to 2050, so."""
    ends = epoch.milliseconds(np.array([values.min(), values.max()]))
    return bool(ends[0] >= epoch.since and ends[1] < _YEAR_2050)


def _of_like_size(values: NDArray[np.generic], stamps: NDArray[np.int64], others: list[str], place: str) -> str | None:
    """What numbers count that are times before 1996 as they stand, and of today in another count; None: since 1970.

    Raises DataError where nothing decides.
    """
    if stamps.max() >= _YEAR_1996 or not others:
        return None
    (other,) = others
    if other == "apple":
        raise DataError(_readings(values, 0, ["s", other], place))
    step, counts = np.unique(np.abs(np.diff(values)), return_counts=True)
    common = float(step[np.argmax(counts)]) if step.size else 0.0
    # Of the two ways to count, one gives a usual length of bars.
    is_bar = [any(abs(common / rate - bar) < 1e-6 * bar for bar in _BARS) for rate in (1e9, 1e7)]
    if is_bar == [True, False]:
        return None
    if is_bar == [False, True]:
        return other
    raise DataError(_readings(values, 0, ["ns", other], place))


def _unclear(values: NDArray[np.generic], row: int, others: list[str], place: str) -> str:
    if others:
        return _readings(values, row, others, place)
    stamp = int(_rough(values)[row])
    year = np.datetime64(stamp, "ms").astype("datetime64[Y]")
    return (
        f"{place}: numbers count seconds, milliseconds, microseconds or nanoseconds since 1970; {values[row].item()} "
        f"in row {row} would lie in the year {year}. Write the times as text, such as 2024-03-01T12:00:00Z; where "
        f"they count one of these units all the same, declare it: {option('s')}."
    )


def _readings(values: NDArray[np.generic], row: int, names: list[str], place: str) -> str:
    """What a number may be, one line for each reading with its option."""
    number = values[row : row + 1]
    lines = []
    for name in names:
        epoch = EPOCHS.get(name)
        time = epoch.milliseconds(number)[0] if epoch is not None else float(number[0]) * 1e3 / UNITS[name]
        text = epoch.text if epoch is not None else f"{name} since 1970"
        lines.append(f"    {format_time(round(time))}, {text}: {option(name)}")
    listing = "\n".join(lines)
    return (
        f"{place}: what the numbers count decides the century, and nothing in them does. {number[0].item()} in row "
        f"{row} may be\n{listing}\nDeclare which, or write the times as text, such as 2024-03-01T12:00:00Z."
    )


def _counted(values: NDArray[np.generic], unit: str, place: str) -> Instants:
    """The times of numbers of another count. Raises DataError at a part of a millisecond, or a time beyond reason."""
    epoch = EPOCHS[unit]
    far = (epoch.milliseconds(values) < _YEAR_1900) | ~(epoch.milliseconds(values) < _YEAR_2100)
    _refuse(far, values, f"{place}: in {epoch.text}, times lie between 1900 and 2100", "Check time_unit.")
    cure = "Bars open on whole milliseconds; round the times yourself if that is what you want."
    if values.dtype.kind in "iu" and float(epoch.origin).is_integer():
        counts = values.astype(np.int64) - int(epoch.origin)
        _refuse(counts % epoch.per_ms != 0, values, f"{place}: times are whole milliseconds", cure)
        return Instants(milliseconds=counts // epoch.per_ms * epoch.ms, is_utc=epoch.is_utc)
    exact = epoch.milliseconds(values)
    # A day's fraction is written with so many digits that seconds are exact, milliseconds are not.
    grain, slack = (1_000, 50.0) if epoch.ms == _DAY else (1, 0.01)
    whole = np.round(exact / grain) * grain
    rule = f"{place}: times are whole {'seconds' if grain > 1 else 'milliseconds'}"
    _refuse(np.abs(exact - whole) > slack, values, rule, cure)
    if epoch.ms == _DAY:
        parts = values.astype(np.float64)
        cut = np.abs(parts * 100 - np.round(parts * 100)) < 1e-6
        # A hundredth of a day is 864 s: no bar opens so, but times that were cut to two digits do.
        if cut.all() and np.any(np.round(parts * 100) % 25):
            _refuse(np.round(parts * 100) % 25 > 0, values, rule, "Two digits are too few for a time of day; " + cure)
    return Instants(milliseconds=whole.astype(np.int64), is_utc=epoch.is_utc)


def _refuse(bad: NDArray[np.bool_], values: NDArray[np.generic], rule: str, cure: str) -> None:
    if bad.any():
        row = int(np.argmax(bad))
        raise DataError(f"{rule}; found {values[row].item()!r} in row {row}, {int(bad.sum()):,} such rows. {cure}")
