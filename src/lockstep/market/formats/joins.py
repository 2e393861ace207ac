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
    """Raises DataError unless names differ in figures and months alone, as those of one market's parts do."""
    by_word: dict[str, str] = {}
    for name in names:
        by_word.setdefault(_word(name), name)
    if len(by_word) > 1:
        first, second = list(by_word.values())[:2]
        raise DataError(
            f"{place}: files that are joined are of one market; found {first} and {second}, whose names differ in more "
            f"than dates. {_CURE}"
        )


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
