"""Where two lines of journals differ, and what they say alike although one was written by another release.

A release may add, drop or redefine columns of a segment, and values of a result. Two lines are then compared over what
both have under the same definition, and the rest is named (`Apart`). Definitions are numbered: the first of every name
is 1, and a step or a result that has a later one says which (`Step.editions`, key `editions` of a summary).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from lockstep.core import canonical, files
from lockstep.runs.folder import RunFolder
from lockstep.runs.journal import column_digests
from lockstep.runs.resume import first_difference
from lockstep.storage.segments import SegmentReader

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EDITIONS: Final = "editions"
"""Key of a summary: names of values in it, or of columns of its tables, that have been redefined -> number."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The first place where two journals differ.

    where            "step 12", "the end" or "the length"
    step             number of the step; None at the end
    field            path into the line, such as "scalars.best"
    column, row      for a segment, the first column and row (counted within the step) that differ
    first, second    the two values
    """

    where: str
    step: int | None
    field: str
    first: Any
    second: Any
    column: str | None = None
    row: int | None = None

    def __str__(self) -> str:
        place = f"{self.field}" if self.column is None else f"{self.field}, column {self.column}, row {self.row}"
        return f"{self.where}: {place} is {self.first!r:.200} in the first and {self.second!r:.200} in the second"

    def to_json(self) -> dict[str, Any]:
        """The fields as a table, for `--json` and for the report of a fresh process."""
        return {
            "where": self.where,
            "step": self.step,
            "field": self.field,
            "column": self.column,
            "row": self.row,
            "first": self.first,
            "second": self.second,
        }


@dataclass(kw_only=True)
class Apart:
    """What only one of two runs has, or has under another definition, and so cannot be compared. Names, sorted."""

    removed: set[str] = field(default_factory=set)
    """Only in the first."""
    added: set[str] = field(default_factory=set)
    """Only in the second."""
    redefined: set[str] = field(default_factory=set)
    """In both, under different definitions."""

    def lines(self) -> list[str]:
        """One sentence for each kind of name."""
        parts = (
            ("only in the first", self.removed),
            ("only in the second", self.added),
            ("redefined between the two", self.redefined),
        )
        return [f"{words}, so not compared: {', '.join(sorted(names))}" for words, names in parts if names]


@dataclass(frozen=True)
class Side:
    """One of two runs that are compared: its columns of a step, its summary and its files, wherever they are."""

    frame: Callable[[str, int], Mapping[str, NDArray[np.generic]]]
    """(segment, step) -> the columns appended there; empty when there are none."""
    summary: Callable[[], Mapping[str, Any]]
    artifact: Callable[[str], bytes]

    @classmethod
    def of(cls, folder: RunFolder) -> Side:
        """A run in its folder."""
        return cls(
            frame=lambda name, step: stored_frame(folder, name, step),
            summary=folder.result,
            artifact=lambda name: files.read_bytes(folder.artifacts / name),
        )


def line_difference(
    one: Mapping[str, Any], two: Mapping[str, Any], first: Side, second: Side, apart: Apart | None = None
) -> Difference | None:
    """The first field where two contents differ; None where they are equal.

    For a segment's digest that is the first column and row, for the digest of the result the value in it, for a table
    of the artifacts the column and row. With `apart`, what only one has, or has under another definition, is put there
    and passed over.
    """
    if canonical.dumps(one) == canonical.dumps(two):
        return None
    step = one.get("index", two.get("index"))
    where = f"step {step}" if step is not None else "the end"
    if one.get("type") != two.get("type"):
        # One run has ended where the other goes on.
        return Difference(where=where, step=step, field="type", first=one.get("type"), second=two.get("type"))
    if step is None:
        return _end_difference(dict(one), dict(two), first, second, apart)
    ours, theirs = dict(one), dict(two)
    # The columns' own digests say nothing that the segment's does not, except which columns.
    columns = [content.pop("columns", {}) for content in (ours, theirs)]
    if apart is not None:
        for name in sorted(columns[0].keys() | columns[1].keys()):
            digests = [
                _column_digests(side, name, int(step), table)
                for side, table in zip((first, second), columns, strict=True)
            ]
            # Alike in all that both have: the digest of the whole has nothing more to say.
            if _unequal_column(apart, *digests) is None:
                for content in (ours, theirs):
                    content["segments"] = {key: value for key, value in content["segments"].items() if key != name}
    if canonical.dumps(ours) == canonical.dumps(theirs):
        return None
    field_, here, there = first_difference(ours, theirs)
    plain = Difference(where=where, step=step, field=field_, first=here, second=there)
    if not field_.startswith("segments.") or here is None or there is None:
        return plain
    name = field_.removeprefix("segments.")
    frames = [dict(side.frame(name, int(step))) for side in (first, second)]
    if apart is not None:
        frames = [{key: frame[key] for key in frames[0].keys() & frames[1].keys()} for frame in frames]
        frames = [{key: frame[key] for key in sorted(frame) if key not in apart.redefined} for frame in frames]
    return column_difference(plain, *frames)


def _column_digests(side: Side, name: str, step: int, table: Mapping[str, Any]) -> Mapping[str, str]:
    """Digests of the columns of a segment: those of the line, or, for a line of before there were any, of its frame."""
    recorded: Mapping[str, str] | None = table.get(name)
    return recorded if recorded is not None else column_digests(side.frame(name, step), {})


def _unequal_column(apart: Apart, ours: Mapping[str, str], theirs: Mapping[str, str]) -> str | None:
    """The first column that both have under one definition with different digests; notes the others in `apart`."""
    names = [{key.partition("@")[0] for key in digests} for digests in (ours, theirs)]
    apart.removed |= names[0] - names[1]
    apart.added |= names[1] - names[0]
    once = {key.partition("@")[0] for key in ours.keys() ^ theirs.keys()}
    apart.redefined |= once & names[0] & names[1]
    return next((key for key in ours if key in theirs and ours[key] != theirs[key]), None)


def _end_difference(
    ours: dict[str, Any], theirs: dict[str, Any], first: Side, second: Side, apart: Apart | None
) -> Difference | None:
    """Where two last lines differ: in the result and in JSON artifacts by the value, in a table by the row."""
    field_, here, there = first_difference(ours, theirs)
    if field_ != "result" and not field_.startswith("artifacts."):
        return Difference(where="the end", step=None, field=field_, first=here, second=there)
    summaries = first.summary(), second.summary()
    editions: list[Mapping[str, int]] = [summary.get(EDITIONS, {}) for summary in summaries]

    def other(name: str) -> bool:
        return editions[0].get(name, 1) != editions[1].get(name, 1)

    if ours.get("result") != theirs.get("result"):
        for place, old, new in _value_differences(*summaries, apart, other):
            return Difference(where="the end", step=None, field=f"result.{place}", first=old, second=new)
    tables = ours.get("artifacts", {}), theirs.get("artifacts", {})
    for name in sorted(tables[0].keys() | tables[1].keys()):
        digests = [table.get(name) for table in tables]
        if digests[0] == digests[1]:
            continue
        plain = Difference(where="the end", step=None, field=f"artifacts.{name}", first=digests[0], second=digests[1])
        if None not in digests and name.endswith(".json"):
            here_values, there_values = (canonical.loads(side.artifact(name)) for side in (first, second))
            for place, old, new in _value_differences(here_values, there_values, apart, other):
                return replace(plain, field=f"artifacts.{name}.{place}", first=old, second=new)
            if apart is None:
                return plain
            continue
        if None in digests or not name.endswith(".csv"):
            return plain
        unequal = _table_difference(plain, first.artifact(name), second.artifact(name), apart, other)
        if unequal is not None:
            return unequal
    if apart is not None or ours.get("result") == theirs.get("result"):
        return None
    return Difference(where="the end", step=None, field=field_, first=here, second=there)


def _value_differences(
    ours: Any, theirs: Any, apart: Apart | None, other: Callable[[str], bool], place: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """Path and both values of each place where two results differ, in the order of the keys."""
    if canonical.dumps(ours) == canonical.dumps(theirs):
        return
    if not isinstance(ours, Mapping) or not isinstance(theirs, Mapping):
        yield (place, ours, theirs) if apart is not None else first_difference(ours, theirs, place)
        return
    for key in sorted(ours.keys() | theirs.keys()):
        inside = f"{place}.{key}" if place else key
        if apart is not None and inside == EDITIONS:
            continue
        if apart is not None and key in ours and key in theirs and other(key):
            apart.redefined.add(inside)
        elif key not in ours or key not in theirs:
            if apart is None:
                yield inside, ours.get(key), theirs.get(key)
            else:
                (apart.removed if key in ours else apart.added).add(inside)
        else:
            yield from _value_differences(ours[key], theirs[key], apart, other, inside)


def _table_difference(
    plain: Difference, ours: bytes, theirs: bytes, apart: Apart | None, other: Callable[[str], bool]
) -> Difference | None:
    """The first column and row in which two CSV files differ; None where all that is compared is alike."""
    (names, *rows), (others, *their_rows) = (list(csv.reader(io.StringIO(data.decode()))) for data in (ours, theirs))
    if apart is None and names != others:
        return replace(plain, column="(names)", row=0, first=names, second=others)
    file = plain.field.removeprefix("artifacts.")
    if apart is not None:
        apart.removed |= {f"{file}: {name}" for name in names if name not in others}
        apart.added |= {f"{file}: {name}" for name in others if name not in names}
        apart.redefined |= {f"{file}: {name}" for name in names if name in others and other(name)}
    if len(rows) != len(their_rows):
        return replace(plain, column="(rows)", row=None, first=len(rows), second=len(their_rows))
    shared = [name for name in names if name in others and not (apart is not None and other(name))]
    places = [(name, names.index(name), others.index(name)) for name in shared]
    for number, (one, two) in enumerate(zip(rows, their_rows, strict=True)):
        for name, here, there in places:
            if one[here] != two[there]:
                return replace(plain, column=name, row=number, first=one[here], second=two[there])
    return None if apart is not None else plain


def stored_frame(folder: RunFolder, name: str, step: int) -> dict[str, NDArray[np.generic]]:
    """The columns that a step appended to a segment; empty when it did not. Raises IntegrityError, DiskError."""
    frame = next(SegmentReader(folder.segments).frames(name, step, step + 1), None)
    return dict(frame.columns) if frame is not None else {}


def column_difference(
    plain: Difference, here: Mapping[str, NDArray[np.generic]], there: Mapping[str, NDArray[np.generic]]
) -> Difference:
    """`plain` with the first column, in the order they are stored, and the first row in it that differ bit for bit."""
    if not here or not there:
        return plain
    if list(here) != list(there):
        return replace(plain, first=list(here), second=list(there), column="(names)", row=0)
    first: tuple[int, str] | None = None
    for name in here:
        row = _first_row(here[name], there[name])
        # The earliest row names the moment at which a run went wrong; later columns may only follow from it.
        if row is not None and (first is None or row < first[0]):
            first = (row, name)
    if first is None:
        return plain
    row, name = first
    values = [column[row].tolist() if row < len(column) else "no such row" for column in (here[name], there[name])]
    return replace(plain, column=name, row=row, first=values[0], second=values[1])


def _first_row(one: NDArray[np.generic], two: NDArray[np.generic]) -> int | None:
    """First row whose bytes differ: NaN equals itself, 0.0 and -0.0 differ, as in the digest."""
    if one.dtype != two.dtype or one.shape[1:] != two.shape[1:]:
        return 0
    import numpy as np

    rows = min(len(one), len(two))
    wide = one.dtype.itemsize * int(np.prod(one.shape[1:], dtype=np.int64))
    if rows and wide:
        pairs = [np.ascontiguousarray(column[:rows]).reshape(rows, -1).view(np.uint8) for column in (one, two)]
        differ = np.flatnonzero((pairs[0] != pairs[1]).any(axis=1))
        if differ.size:
            return int(differ[0])
    return rows if len(one) != len(two) else None
