"""Diff: where two runs differ, first in spec, data, code and numerics, then in their journals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lockstep.core.errors import NotEqualError
from lockstep.runs.diff import Diff
from lockstep.runs.diff import diff as diff_folders
from lockstep.runs.store import RunStore


@dataclass(frozen=True, kw_only=True, repr=False)
class DiffReport:
    """How run `b` differs from run `a`."""

    a: str
    b: str
    comparison: Diff

    @property
    def equal(self) -> bool:
        """Whether the journals are equal to the last hash."""
        return self.comparison.equal

    @property
    def exit_code(self) -> int:
        """0 when equal, 1 when not equal."""
        return 0 if self.equal else NotEqualError.exit_code

    def to_json(self) -> dict[str, Any]:
        """The object that `lockstep diff --json` prints."""
        return {"a": self.a, "b": self.b, **self.comparison.to_json()}

    def text(self) -> str:
        """The lines that `lockstep diff` prints: one for each difference."""
        lines = [f"first {self.a}, second {self.b}", *(f"  {line}" for line in self.comparison.lines())]
        if self.a == self.b:
            # `last` is a run's tag as soon as the run that has the tag is the latest.
            lines.append("  note: both names mean this one run; `lockstep runs list` shows all runs")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return self.text()


def diff(a: str, b: str, store: RunStore) -> DiffReport:
    """Compare two runs, complete or not. Raises UnknownNameError, IntegrityError."""
    first, second = store.find(a), store.find(b)
    return DiffReport(a=first.path.name, b=second.path.name, comparison=diff_folders(first, second))
