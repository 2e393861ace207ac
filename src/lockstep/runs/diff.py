"""Find where two runs part: first in spec, data, code and numerics, then at a step and field of their journals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from lockstep.core import canonical
from lockstep.runs.folder import RunFolder
from lockstep.runs.identity import code_differences
from lockstep.runs.journal import Line, read_lines
from lockstep.runs.line_differences import Apart, Difference, Side, line_difference
from lockstep.runs.numerics import entry_differences

_SIDES: Final = ("in the first", "in the second")


@dataclass(frozen=True, kw_only=True)
class Diff:
    """How two runs differ, in words; empty where they agree. `equal`: equal journals to the last hash.

    `apart` names columns and values that only one has, or has under another definition; `first` is the first place
    where what both have differs.
    """

    equal: bool
    data: tuple[str, ...]
    spec: tuple[str, ...]
    code: tuple[str, ...]
    numerics: tuple[str, ...]
    first: Difference | None
    apart: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """One sentence per difference, for a person."""
        parts = {"data": self.data, "spec": self.spec, "code": self.code, "numerics": self.numerics}
        text = [f"{part}: {line}" for part, lines in parts.items() for line in lines]
        text += self.apart
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
            "apart": list(self.apart),
            "first": self.first.to_json() if self.first is not None else None,
        }


def diff(first: RunFolder, second: RunFolder) -> Diff:
    """Compare two runs. An interrupted one is compared as far as it goes. Raises IntegrityError, DiskError."""
    documents = {kind: (first.read(kind), second.read(kind)) for kind in ("data", "spec", "code", "numerics")}
    apart = Apart()
    difference, equal = _first_part(first, second, apart)
    return Diff(
        equal=equal,
        data=tuple(key_differences(*documents["data"])),
        spec=tuple(key_differences(*documents["spec"])),
        code=tuple(code_differences(*documents["code"], _SIDES)),
        numerics=tuple(entry_differences(*documents["numerics"], _SIDES)),
        first=difference,
        apart=tuple(apart.lines()),
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


def _first_part(first: RunFolder, second: RunFolder, apart: Apart) -> tuple[Difference | None, bool]:
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
            part = line_difference(one.content, two.content, Side.of(first), Side.of(second), apart)
            if part is not None:
                return part, False
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
