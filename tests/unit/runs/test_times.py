"""When the steps of a run were made, from what processes left about it; in no hash."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from lockstep.runs.folder import RunFolder
from lockstep.runs.times import MOST_MARKS, TIMING, Marks, RunTimes

BEGAN = datetime(2026, 12, 1, 12, tzinfo=UTC)


def folder_of(path: Path, *spans: dict[str, Any]) -> RunFolder:
    run = RunFolder(path / "20261201T115959123-abcdef")
    run.path.mkdir()
    run.write(TIMING, {"spans": list(spans)})
    return run


def span(first: int, stop: int, seconds: float, marks: list[list[float]], later: float = 0.0) -> dict[str, Any]:
    began_ms = int((BEGAN.timestamp() + later) * 1000)
    return {"first": first, "stop": stop, "seconds": seconds, "began_ms": began_ms, "marks": marks}


def test_a_step_has_the_time_of_its_mark_and_between_two_marks_a_time_between(tmp_path: Path) -> None:
    """R9.16: marks at step 0 after 1 s and at step 4 after 9 s, so step 1 is at 3 s; the last, 5, ends the span."""
    times = RunTimes.of(folder_of(tmp_path, span(0, 6, 10.0, [[0, 1.0], [4, 9.0]])))
    assert [times.of_step(step) for step in (0, 1, 4, 5)] == [
        BEGAN + timedelta(seconds=seconds) for seconds in (1.0, 3.0, 9.0, 10.0)
    ]
    assert times.of_step(6) is None
    assert times.ended == BEGAN + timedelta(seconds=10)
    assert times.started == datetime(2026, 12, 1, 11, 59, 59, 123_000, tzinfo=UTC), "the name of the run"


def test_a_step_that_was_made_again_has_its_later_time(tmp_path: Path) -> None:
    """R9.17: stopped after step 3, gone on with from step 2 an hour later."""
    times = RunTimes.of(
        folder_of(tmp_path, span(0, 4, 4.0, [[3, 4.0]]), span(2, 5, 3.0, [[2, 1.0], [3, 2.0]], later=3600))
    )
    assert times.of_step(3) == BEGAN + timedelta(hours=1, seconds=2)
    assert times.of_step(0) == BEGAN + timedelta(seconds=1)
    assert times.ended == BEGAN + timedelta(hours=1, seconds=3)


def test_runs_of_before_and_from_elsewhere_have_no_times_of_steps(tmp_path: Path) -> None:
    """A span of an earlier release has seconds alone; an export leaves the file out; another file is damage."""
    earlier = RunTimes.of(folder_of(tmp_path, {"first": 0, "stop": 4, "seconds": 2.0}))
    assert (earlier.of_step(1), earlier.ended) == (None, None)
    assert earlier.started is not None
    (tmp_path / "elsewhere").mkdir()
    nothing = RunTimes.of(RunFolder(tmp_path / "elsewhere"))
    assert (nothing.started, nothing.ended, nothing.of_step(0)) == (None, None, None)
    (tmp_path / "elsewhere" / "timing.json").write_text("{")
    assert RunTimes.of(RunFolder(tmp_path / "elsewhere")).spans == ()


def test_marks_of_a_long_run_are_thinned_evenly() -> None:
    marks = Marks()
    for step in range(5 * MOST_MARKS):
        marks.add(step, step / 10)
    kept = marks.to_json()
    assert MOST_MARKS / 2 <= len(kept) <= MOST_MARKS
    assert {later[0] - mark[0] for mark, later in pairwise(kept)} == {8}
    assert kept[1] == [8, 0.8]
