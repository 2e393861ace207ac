"""When the steps of a run were made: timing.json, in no hash.

One span for each process that worked on the run: first step, the step after the last, seconds, and since later releases
the time of its begin and marks (step, seconds since the begin). A long run has a mark every few steps, and a step
between two marks is placed between their times. A process that was killed leaves no span, an export none at all.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from lockstep.core.errors import LockstepError

if TYPE_CHECKING:
    from lockstep.runs.folder import RunFolder

TIMING: Final = "timing"
MOST_MARKS: Final = 1_000
_BIRTH: Final = re.compile(r"(\d{8}T\d{6})(\d{3})-")


class Marks:
    """Times of steps, thinned so that at most `MOST_MARKS` stay."""

    def __init__(self) -> None:
        self._marks: list[tuple[int, float]] = []
        self._stride = 1

    def add(self, step: int, seconds: float) -> None:
        """The end of `step`, seconds since the begin; steps come in their order."""
        if step % self._stride:
            return
        self._marks.append((step, seconds))
        if len(self._marks) > MOST_MARKS:
            self._stride *= 2
            self._marks = [mark for mark in self._marks if mark[0] % self._stride == 0]

    def to_json(self) -> list[list[float]]:
        """Pairs of step and seconds, to the millisecond that was full: no step is later than the end of its span."""
        return [[step, math.floor(seconds * 1_000) / 1_000] for step, seconds in self._marks]


@dataclass(frozen=True)
class RunTimes:
    """The spans of a run, in the order in which they were made."""

    spans: tuple[Mapping[str, Any], ...]
    birth: datetime | None

    @classmethod
    def of(cls, folder: RunFolder) -> RunTimes:
        """The times of a run; none where timing.json is missing or damaged."""
        match = _BIRTH.match(folder.path.name)
        birth = None
        if match is not None:
            second = datetime.strptime(match[1], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
            birth = second + timedelta(milliseconds=int(match[2]))
        return cls(tuple(spans_of(folder)), birth)

    @property
    def started(self) -> datetime | None:
        """When the run was made, UTC; None for a folder without a run's name and without times."""
        if self.birth is not None:
            return self.birth
        return _begin(self.spans[0]) if self.spans else None

    @property
    def ended(self) -> datetime | None:
        """When the last step so far was made, UTC; None without times."""
        if not self.spans or (begin := _begin(self.spans[-1])) is None:
            return None
        return begin + timedelta(seconds=self.spans[-1]["seconds"])

    def of_step(self, step: int) -> datetime | None:
        """When a step was made, UTC; None where no span has it."""
        for span in reversed(self.spans):  # a step that was cut and made again is in two
            begin = _begin(span)
            if begin is None or not span["first"] <= step < span["stop"]:
                continue
            marks = [(span["first"] - 1, 0.0), *span["marks"], (span["stop"] - 1, span["seconds"])]
            before = max((mark for mark in marks if mark[0] <= step), key=lambda mark: mark[0])
            after = min((mark for mark in marks if mark[0] >= step), key=lambda mark: mark[0])
            width = after[0] - before[0]
            share = 0.0 if width == 0 else (step - before[0]) / width
            return begin + timedelta(seconds=before[1] + share * (after[1] - before[1]))
        return None


def spans_of(folder: RunFolder) -> list[dict[str, Any]]:
    """The spans in timing.json, each with every key; none where the file is missing or damaged."""
    if not folder.has(TIMING):
        return []
    try:
        return [
            {
                "first": int(span["first"]),
                "stop": int(span["stop"]),
                "seconds": float(span["seconds"]),
                **({"began_ms": int(span["began_ms"])} if "began_ms" in span else {}),
                "marks": [[int(step), float(seconds)] for step, seconds in span.get("marks", ())],
            }
            for span in folder.read(TIMING)["spans"]
        ]
    # A damaged file costs a replay its comparison with training, and must not cost it the replay.
    except (LockstepError, KeyError, TypeError, ValueError):
        return []


def _begin(span: Mapping[str, Any]) -> datetime | None:
    return datetime.fromtimestamp(span["began_ms"] / 1000.0, UTC) if "began_ms" in span else None
