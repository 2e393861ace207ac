"""Find where two runs part: first in spec, data, code and numerics, then at a step and field of their journals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from lockstep.core import canonical
from lockstep.runs.folder import RunFolder
from lockstep.runs.identity import code_differences
from lockstep.runs.journal import Line, read_lines
from lockstep.runs.numerics import entry_differences
from lockstep.runs.resume import first_difference
from lockstep.storage.segments import SegmentReader

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SIDES: Final = ("in the first", "in the second")


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


@dataclass(frozen=True, kw_only=True)
class Diff:
    """How two runs differ, in words; empty where they agree. `equal`: equal journals to the last hash."""

    equal: bool
    data: tuple[str, ...]
    spec: tuple[str, ...]
    code: tuple[str, ...]
    numerics: tuple[str, ...]
    first: Difference | None

    def lines(self) -> list[str]:
        """One sentence per difference, for a person."""
        parts = {"data": self.data, "spec": self.spec, "code": self.code, "numerics": self.numerics}
        text = [f"{part}: {line}" for part, lines in parts.items() for line in lines]
        if self.first is not None:
            text.append(str(self.first))
        return text or ["equal: the journals are the same, line by line"]

    def to_json(self) -> dict[str, Any]:
        """The fields as a table, for `--json`."""
        return {
            "equal": self.equal,
            "data": list(self.data),
            "spec": list(self.spec),
            "code": list(self.code),
            "numerics": list(self.numerics),
            "first": self.first.to_json() if self.first is not None else None,
        }


def diff(first: RunFolder, second: RunFolder) -> Diff:
    """Compare two runs. An interrupted one is compared as far as it goes. Raises IntegrityError, DiskError."""
    documents = {kind: (first.read(kind), second.read(kind)) for kind in ("data", "spec", "code", "numerics")}
    difference, equal = _first_part(first, second)
    return Diff(
        equal=equal,
        data=tuple(key_differences(*documents["data"])),
        spec=tuple(key_differences(*documents["spec"])),
        code=tuple(code_differences(*documents["code"], _SIDES)),
        numerics=tuple(entry_differences(*documents["numerics"], _SIDES)),
        first=difference,
    )


def key_differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Each key, nested ones with dots, whose values differ, in words, sorted."""
    here, there = dict(_flat(first)), dict(_flat(second))
    lines = []
    for key in sorted(here.keys() | there.keys()):
        if key not in here or key not in there:
            owner, value = ("second", there[key]) if key not in here else ("first", here[key])
            lines.append(f"{key} = {value!r:.200}, only in the {owner}")
        elif canonical.dumps(here[key]) != canonical.dumps(there[key]):
            lines.append(f"{key} is {here[key]!r:.200} in the first and {there[key]!r:.200} in the second")
    return lines


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, item in value.items():
        if isinstance(item, Mapping) and item:
            yield from _flat(item, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", item


def _lines(folder: RunFolder) -> Iterator[Line]:
    if folder.journal.exists():
        yield from read_lines(folder.journal)


def _first_part(first: RunFolder, second: RunFolder) -> tuple[Difference | None, bool]:
    """The first line after the genesis that differs, and whether the journals are equal to the last hash."""
    ours, theirs = _lines(first), _lines(second)
    last = None
    steps = 0
    while True:
        one, two = next(ours, None), next(theirs, None)
        if one is None and two is None:
            # With other code, say, all steps may agree while the first lines differ: the runs are not equal.
            return None, last is not None and last[0].hash == last[1].hash
        if one is None or two is None:
            return _longer(one, two, steps), False
        if one.type != "genesis" and one.body != two.body:
            return line_difference(one.content, two.content, first, second), False
        steps += one.type == "step"
        last = (one, two)


def _longer(one: Line | None, two: Line | None, steps: int) -> Difference:
    more = one if one is not None else two
    kind = more.type if more is not None else "nothing"
    there, missing = f"goes on with a {kind} line", f"ends after {steps} steps"
    return Difference(
        where="the length",
        step=steps,
        field="lines",
        first=there if one is not None else missing,
        second=there if two is not None else missing,
    )


def line_difference(one: Mapping[str, Any], two: Mapping[str, Any], first: RunFolder, second: RunFolder) -> Difference:
    """The first field where two contents differ; for a segment's digest, the first column and row."""
    step = one.get("index", two.get("index"))
    where = f"step {step}" if step is not None else "the end"
    if one.get("type") != two.get("type"):
        # One run has ended where the other goes on.
        return Difference(where=where, step=step, field="type", first=one.get("type"), second=two.get("type"))
    field, here, there = first_difference(dict(one), dict(two))
    plain = Difference(where=where, step=step, field=field, first=here, second=there)
    if step is None or not field.startswith("segments.") or here is None or there is None:
        return plain
    name = field.removeprefix("segments.")
    frames = [stored_frame(folder, name, step) for folder in (first, second)]
    return column_difference(plain, *frames)


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
