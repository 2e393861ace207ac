"""Several files of one market as one series: which files a pattern names, and whether they are of one kind."""

from __future__ import annotations

import glob
import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lockstep.core.errors import DataError

_MONTHS: Final = re.compile(r"(?<![a-z])(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*(?![a-z])")
_YEAR, _MONTH, _DAY = r"(19[7-9]\d|20\d\d)", r"(0[1-9]|1[0-2])", r"(0[1-9]|[12]\d|3[01])"
_CLOCK: Final = r"([01]\d|2[0-4])[0-5]\d([0-5]\d)?"
_DATES_OF: Final = (
    rf"{_YEAR}({_MONTH}({_DAY}({_CLOCK})?)?)?",
    rf"{_DAY}{_MONTH}{_YEAR}",
    rf"{_MONTH}{_DAY}{_YEAR}",
    rf"([0-3]\d|[7-9]\d){_MONTH}{_DAY}",
    rf"{_MONTH}{_DAY}",
    r"1\d{9}(\d{3}){0,3}",  # seconds since 1970 and finer
)
_CLOCKS_OF: Final = (_CLOCK,)
_CODE: Final = re.compile(r"(?<![a-z0-9])(\d{4,6})[.](hk|ss|sh|sz|bj|t|ks|kq|tw|two|kl|sr)(?![a-z0-9])")
"""The number of a share with the suffix of its exchange."""
_PARTS: Final = re.compile(r"(?<![a-z])(part|page|chunk|split|file|batch|slice)[-_. ]?\d+")
_DIGITS_OF_PARTS: Final = 3
"""Days, months, quarters and the numbers of parts; what has more digits is a date, or one of numbers in a row."""
_CURE: Final = "Name the files of one market: a list of paths, or a narrower pattern."


def paths_of(source: str | Path | Sequence[str | Path]) -> list[Path]:
    """The files that a path, a pattern such as "BTCUSDT-1h-*.zip", or a list of both names; patterns by name.

    Raises DataError when a pattern names no file, a path stands twice, or a pattern names files of several markets.
    """
    out: list[Path] = []
    for item in [source] if isinstance(source, str | Path) else source:
        path = Path(item).expanduser()
        if not glob.has_magic(str(path)) or path.exists():
            out.append(path)
            continue
        files = _matching(path)
        if not files:
            raise DataError(
                f"{path}: no file has a name of this pattern. List the folder {path.parent} and correct it."
            )
        require_one_series([file.name for file in files], str(path))
        out += files
    if not out:
        raise DataError(f"a list of files names at least one; found {source!r}.")
    if twice := next((path for path in out if out.count(path) > 1), None):
        raise DataError(f"{twice}: each file is named once; found it {out.count(twice)} times.")
    return out


def _matching(pattern: Path) -> list[Path]:
    """The files that a pattern names, by name."""
    fixed = next((at for at, part in enumerate(pattern.parts) if glob.has_magic(part)), 0)
    folder = Path(*pattern.parts[:fixed])
    return sorted(path for path in folder.glob(str(Path(*pattern.parts[fixed:]))) if path.is_file())


def require_one_series(names: Sequence[str], place: str) -> None:
    """Raises DataError unless names differ in dates, times and numbers of parts alone, as those of one market do."""
    by_word: dict[str, str] = {}
    for name in names:
        by_word.setdefault(_word(name), name)
    others = list(by_word.values())[:2] if len(by_word) > 1 else _numbered_markets(names)
    if others:
        raise DataError(
            f"{place}: files that are joined are of one market; found {others[0]} and {others[1]}, whose names differ "
            f"in more than dates. {_CURE}"
        )


def _numbered_markets(names: Sequence[str]) -> Sequence[str]:
    """Two names whose numbers are neither dates nor parts: "600519.csv" and "000858.csv" are two shares; else none."""
    codes: dict[str, str] = {}
    for name in names:
        # 2001.T and 2002.T are shares, though both numbers could be years.
        codes.setdefault(match[1] if (match := _CODE.search(name.lower())) else "", name)
    if len(codes) > 1:
        return list(codes.values())[:2]
    runs = [re.findall(r"\d+", _PARTS.sub("", name.lower())) for name in names]
    if len(names) < 2 or len({len(numbers) for numbers in runs}) > 1:
        return ()
    columns = list(zip(*runs, strict=True))
    has_date = any(_are(column, _DATES_OF) for column in columns)
    for column in columns:
        values = sorted(set(map(int, column)))
        if (
            max(map(len, column)) <= _DIGITS_OF_PARTS
            or values[-1] - values[0] == len(values) - 1  # parts in a row, or one number in all
            or _are(column, _DATES_OF)
            or (has_date and _are(column, _CLOCKS_OF))
        ):
            continue
        first = column[0]
        return names[0], names[next(at for at, run in enumerate(column) if run != first)]
    return ()


def _are(runs: Sequence[str], forms: Sequence[str]) -> bool:
    """Whether all numbers of a column have one of these forms."""
    return any(all(re.fullmatch(form, run) for run in runs) for form in forms)


def _word(name: str) -> str:
    return re.sub(r"[\d\W_]+", "-", _MONTHS.sub("0", name.lower())).strip("-")


def joined(parts: Sequence[tuple[dict[str, NDArray[Any]], str]]) -> dict[str, NDArray[Any]]:
    """The columns of several files, one after another in the order of their first times.

    parts  columns by name, and the file that they are from; each is in order by itself or will be refused

    Raises DataError when two overlap in time or have bars of another length.
    """
    ordered = sorted(parts, key=lambda part: int(part[0]["timestamp"].min()))
    for (before, one), (after, other) in itertools.pairwise(ordered):
        if before.keys() != after.keys():
            raise DataError(f"{other}: its columns are not those of {one}: {', '.join(sorted(after))}. {_CURE}")
        if int(before["timestamp"].max()) >= int(after["timestamp"].min()):
            raise DataError(
                f"{other} and {one} overlap in time: files that are joined follow one another. {_CURE} Of the same "
                "bars in two files, leave one out."
            )
        steps = [_common_step(columns["timestamp"]) for columns in (before, after)]
        if None not in steps and steps[0] != steps[1]:
            raise DataError(
                f"{other} and {one} have bars of another length: the most common steps are {steps[1]:,} ms and "
                f"{steps[0]:,} ms. {_CURE}"
            )
    return {name: np.concatenate([columns[name] for columns, _ in ordered]) for name in ordered[0][0]}


def _common_step(time: NDArray[np.int64]) -> int | None:
    """The most common step in milliseconds; None below three rows, where there is no such thing."""
    if time.shape[0] < 3:
        return None
    values, counts = np.unique(np.abs(np.diff(time)), return_counts=True)
    return int(values[np.argmax(counts)])
