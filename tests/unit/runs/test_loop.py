"""The loop: what it records, when it stops, what it survives, and what a step costs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import threadpoolctl  # type: ignore[import-untyped]

from lockstep.core.errors import (
    DataError,
    InputError,
    IntegrityError,
    Interrupted,
    NotComparableError,
    NotEqualError,
    NoValidTrialError,
)
from lockstep.core.hashing import blake3_hex
from lockstep.runs.cancel import Cancel
from lockstep.runs.check import check
from lockstep.runs.checkpoint import CheckpointPolicy, CheckpointStore
from lockstep.runs.folder import RunFolder, RunStatus
from lockstep.runs.journal import read_lines
from lockstep.runs.loop import CompleteRun, execute
from lockstep.runs.observer import Observer, RunInfo
from lockstep.runs.results import read_result
from lockstep.runs.training import Result, RunRecord, Step
from lockstep.storage.segments import SegmentReader
from lockstep.testing.contracts.training_kind import EVERY_STEP, StopAfter, fingerprint, hashed_files, new_folder
from lockstep.testing.faults import CountingFileSystem, faults
from lockstep.testing.toy_training import ToySpec, ToyTraining

SPEC = ToySpec(seed=1, steps=5, batch=3)


class TickingClock:
    """Every look at it takes `tick` seconds."""

    def __init__(self, tick: float) -> None:
        self.now = 0.0
        self.tick = tick

    def utc_ms(self) -> int:
        return 0

    def monotonic(self) -> float:
        self.now += self.tick
        return self.now


class Recorder(Observer):
    def __init__(self) -> None:
        self.events: list[Any] = []

    def started(self, info: RunInfo) -> None:
        self.events.append(("started", info.first_step, info.total_steps))

    def step(self, step: Step, journal_hash: str) -> None:
        self.events.append(("step", step.index))

    def checkpoint(self, steps: int) -> None:
        self.events.append(("checkpoint", steps))

    def finished(self, result: Mapping[str, Any], journal_hash: str) -> None:
        self.events.append(("finished", journal_hash))

    def stopped(self, reason: str) -> None:
        self.events.append(("stopped", reason))

    def note(self, message: str) -> None:
        self.events.append(("note", message))


class Scripted:
    """A training whose n-th step has scalar `values[n]`; an exception among the values is raised instead."""

    total_steps = None

    def __init__(self, *values: Any, result: Any = None, artifacts: Mapping[str, bytes] | None = None) -> None:
        self._values = values
        self._result = result if result is not None else {}
        self._artifacts = artifacts if artifacts is not None else {}
        self._index = 0

    def steps(self) -> Iterator[Step]:
        while self._index < len(self._values):
            value = self._values[self._index]
            if isinstance(value, Exception):
                raise value
            self._index += 1
            yield value if isinstance(value, Step) else Step(index=self._index - 1, scalars={"value": value})

    def get_state(self) -> dict[str, Any]:
        return {"index": self._index}

    def set_state(self, state: Mapping[str, Any]) -> None:
        self._index = state["index"]

    def finish(self) -> Result:
        if isinstance(self._result, Exception):
            raise self._result
        return Result(summary=self._result, artifacts=self._artifacts)


def run(training: Any, folder: RunFolder, **options: Any) -> CompleteRun:
    options.setdefault("fingerprint", fingerprint(1))
    return execute(training, folder, **options)


def stop(training: Any, folder: RunFolder, after: int, **options: Any) -> None:
    cancel = Cancel()
    with pytest.raises(Interrupted):
        run(training, folder, cancel=cancel, observers=[StopAfter(cancel, after)], **options)


def test_a_run_leaves_journal_segments_result_artifacts_and_a_manifest_over_all(tmp_path: Path) -> None:
    folder = new_folder(tmp_path / "run", 1)
    outcome = run(ToyTraining(SPEC), folder)
    lines = list(read_lines(folder.journal))
    assert [line.type for line in lines] == ["genesis", "step", "step", "step", "step", "step", "end"]
    assert outcome.journal_hash == lines[-1].hash
    assert outcome.steps == 5
    assert outcome.first_step == 0
    assert outcome.result["observations"] == 5 * 3
    assert folder.result() == outcome.result
    assert folder.status() is RunStatus.COMPLETE
    end = lines[-1].content
    assert end["result"] == blake3_hex((folder.path / "result.json").read_bytes())
    for name, digest in end["artifacts"].items():
        assert digest == blake3_hex((folder.artifacts / name).read_bytes())
    for frame, line in zip(SegmentReader(folder.segments).frames("path"), lines[1:], strict=False):
        assert frame.digest == line.content["segments"]["path"]
    listed = folder.read("manifest")["files"]
    assert set(listed) == set(folder.listing()) - {"MANIFEST.json"}


def test_journal_and_result_hold_no_time_host_or_path(tmp_path: Path) -> None:
    folder = new_folder(tmp_path / "run", 1)
    run(ToyTraining(SPEC), folder)
    for name, content in hashed_files(folder).items():
        assert str(tmp_path).encode() not in content, name
    assert set(json.loads(folder.journal.read_bytes().splitlines()[1])) == {"content", "hash", "prev"}


def test_a_training_without_steps_is_a_complete_run(tmp_path: Path) -> None:
    folder = new_folder(tmp_path / "run", 1)
    outcome = run(Scripted(result={"nothing": None}), folder)
    assert outcome.steps == 0
    assert [line.type for line in read_lines(folder.journal)] == ["genesis", "end"]
    assert check(folder.path).problems == ()


def test_a_complete_run_is_not_touched_again(tmp_path: Path) -> None:
    folder = new_folder(tmp_path / "run", 1)
    first = run(ToyTraining(SPEC), folder)
    before = {name: path.stat().st_mtime_ns for name, path in folder.listing().items()}
    again = run(Scripted(ValueError("must not run")), folder)
    assert (again.journal_hash, again.steps, again.result) == (first.journal_hash, first.steps, first.result)
    assert again.notes == ("the run was complete already; nothing was computed",)
    assert {name: path.stat().st_mtime_ns for name, path in folder.listing().items()} == before


def test_a_stop_before_the_first_step_computes_nothing(tmp_path: Path) -> None:
    folder = new_folder(tmp_path / "run-1", 1)
    cancel = Cancel()
    cancel.request("an operator")
    with pytest.raises(Interrupted, match=r"stopped after 0 steps on an operator; .* lockstep resume run-1"):
        run(Scripted(ValueError("must not run")), folder, cancel=cancel)
    assert folder.status() is RunStatus.INTERRUPTED
    assert check(folder.path).ok


def test_observers_hear_everything_in_order(tmp_path: Path) -> None:
    folder = new_folder(tmp_path / "run", 1)
    heard = Recorder()
    outcome = run(Scripted(1, 2), folder, observers=[heard], policy=EVERY_STEP)
    assert heard.events == [
        ("started", 0, None),
        ("step", 0),
        ("checkpoint", 1),
        ("step", 1),
        ("checkpoint", 2),
        ("finished", outcome.journal_hash),
    ]


def test_an_observer_that_raises_is_dropped_once_and_changes_nothing(tmp_path: Path) -> None:
    class Broken(Observer):
        calls = 0

        def step(self, step: Step, journal_hash: str) -> None:
            Broken.calls += 1
            raise RuntimeError("no screen")

    heard = Recorder()
    folder, plain = new_folder(tmp_path / "a", 1), new_folder(tmp_path / "b", 1)
    outcome = run(ToyTraining(SPEC), folder, observers=[Broken(), heard])
    assert Broken.calls == 1
    assert len(outcome.notes) == 1
    assert "Broken raised RuntimeError: no screen" in outcome.notes[0]
    assert [event for event in heard.events if event[0] == "note"] == [("note", outcome.notes[0])]
    run(ToyTraining(SPEC), plain)
    assert hashed_files(folder) == hashed_files(plain)


def test_an_error_of_the_training_is_recorded_and_the_run_can_be_tried_again(tmp_path: Path) -> None:
    folder = new_folder(tmp_path / "run", 1)
    heard = Recorder()
    with pytest.raises(NoValidTrialError, match="0 of 2 trials"):
        run(Scripted(1, 2, result=NoValidTrialError("0 of 2 trials were valid")), folder, observers=[heard])
    assert folder.status() is RunStatus.FAILED
    failure = folder.read("failure")
    assert failure == {"error": "NoValidTrialError", "message": "0 of 2 trials were valid", "steps": 2}
    assert heard.events[-1] == ("stopped", "NoValidTrialError: 0 of 2 trials were valid")
    notes = read_result(folder, notes=("said before",)).notes
    assert notes == ("said before", "NoValidTrialError: 0 of 2 trials were valid")
    assert check(folder.path).ok
    outcome = run(Scripted(1, 2, result={"ok": True}), folder)
    assert outcome.first_step == 2
    assert folder.status() is RunStatus.COMPLETE
    assert not folder.has("failure")


def test_code_that_ends_the_process_is_an_error_and_not_a_silent_success(tmp_path: Path) -> None:
    class Quits(Scripted):
        def finish(self) -> Result:
            sys.exit(0)

    folder = new_folder(tmp_path / "run", 1)
    with pytest.raises(InputError, match=r"ended the process \(SystemExit: 0\)"):
        run(Quits(1), folder)
    assert folder.status() is RunStatus.FAILED


def test_steps_and_result_are_computed_on_one_native_thread(tmp_path: Path) -> None:
    """As the numerics say, whatever this process allows its libraries: more threads split sums in other ways."""

    def threads() -> list[int]:
        return sorted({pool["num_threads"] for pool in threadpoolctl.threadpool_info()})

    class Counts(Scripted):
        def steps(self) -> Iterator[Step]:
            yield Step(index=0, scalars={"threads": threads()})

        def finish(self) -> Result:
            return Result(summary={"threads": threads()})

    folder = new_folder(tmp_path / "run", 1)
    with threadpoolctl.threadpool_limits(2):
        assert threads() == [2]
        assert run(Counts(), folder).result == {"threads": [1]}
        assert threads() == [2]
    assert [line.content["scalars"] for line in read_lines(folder.journal) if line.type == "step"] == [{"threads": [1]}]


def test_steps_out_of_order_are_an_error_of_the_kind(tmp_path: Path) -> None:
    folder = new_folder(tmp_path / "run", 1)
    with pytest.raises(ValueError, match=r"expected 1, found 5\. This is an error of the kind"):
        run(Scripted(0, Step(index=5)), folder)


def test_segments_keep_the_columns_of_their_first_frame(tmp_path: Path) -> None:
    folder = new_folder(tmp_path / "run", 1)
    one = Step(index=0, segments={"t": {"x": np.zeros(2)}})
    two = Step(index=1, segments={"t": {"x": np.zeros(2, dtype=np.float32)}})
    with pytest.raises(
        DataError, match="segment 't': columns, dtypes and trailing shapes are fixed by its first frame"
    ):
        run(Scripted(one, two), folder)


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden", "", "é", "x" * 121])
def test_an_artifact_has_a_flat_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="flat name"):
        run(Scripted(1, artifacts={name: b""}), new_folder(tmp_path / "run", 1))


def test_checkpoints_are_due_by_time_and_never_by_step(tmp_path: Path) -> None:
    """A step takes one second of this clock, a checkpoint two: every 30 seconds, and 2 % of the time is 100 s."""
    folder = new_folder(tmp_path / "run", 1)
    heard = Recorder()
    policy = CheckpointPolicy(interval_s=30.0, max_share=0.02)
    run(Scripted(*range(300)), folder, clock=TickingClock(1.0), observers=[heard], policy=policy)
    at = [event[1] for event in heard.events if event[0] == "checkpoint"]
    # The schedule starts at second 1, so step 30's look at the clock, second 31, is the first that finds it due.
    # A checkpoint looks at second 32 and 33: it took 1 s, so the next is due max(30, 1 / 0.02 = 50) s after 33.
    assert at[:3] == [30, 80, 130]
    assert at[-1] == 300
    assert len(at) == 1 + (300 - 30) // 50 + 1


def test_a_resumed_run_goes_on_from_its_checkpoint_and_meets_the_lines_after_it(tmp_path: Path) -> None:
    folder, whole = new_folder(tmp_path / "run", 1), new_folder(tmp_path / "whole", 1)
    stop(ToyTraining(SPEC), folder, after=3, policy=EVERY_STEP)
    newest = CheckpointStore(folder.checkpoints).path(3)
    newest.write_bytes(b"damaged")
    heard = Recorder()
    outcome = run(ToyTraining(SPEC), folder, observers=[heard])
    assert outcome.first_step == 2
    assert heard.events[0][0] == "note"
    assert newest.name in heard.events[0][1]
    assert "An older checkpoint takes its place" in outcome.notes[0]
    run(ToyTraining(SPEC), whole)
    assert hashed_files(folder) == hashed_files(whole)
    assert not folder.cut_lines.exists()


def test_without_any_good_checkpoint_a_run_starts_again_and_meets_every_line(tmp_path: Path) -> None:
    folder, whole = new_folder(tmp_path / "run", 1), new_folder(tmp_path / "whole", 1)
    stop(ToyTraining(SPEC), folder, after=3)
    for path in folder.checkpoints.iterdir():
        path.unlink()
    assert run(ToyTraining(SPEC), folder).first_step == 0
    run(ToyTraining(SPEC), whole)
    assert hashed_files(folder) == hashed_files(whole)


def test_a_step_that_comes_out_different_raises_an_alarm_that_stays(tmp_path: Path) -> None:
    folder = new_folder(tmp_path / "run", 1)
    stop(Scripted(1, 2.5, 3), folder, after=2, policy=EVERY_STEP)
    CheckpointStore(folder.checkpoints).path(2).unlink()
    with pytest.raises(NotEqualError, match=r"step 1 was computed again .* scalars\.value was 2\.5, now 2\.25"):
        run(Scripted(1, 2.25, 3), folder)
    assert folder.status() is RunStatus.FAILED
    alarm = {"where": "step 1", "field": "scalars.value", "before": 2.5, "now": 2.25}
    assert folder.read("alarm") == alarm
    with pytest.raises(NotEqualError):
        run(Scripted(1, 2.25, 3), folder)
    # A machine that computes right again finishes the run; that there was an alarm stays on record.
    run(Scripted(1, 2.5, 3), folder)
    assert folder.read("alarm") == alarm
    assert "alarm.json" in folder.read("manifest")["files"]
    assert check(folder.path).problems == ()


def test_an_end_that_comes_out_different_raises_an_alarm_too(tmp_path: Path) -> None:
    folder = new_folder(tmp_path / "run", 1)
    run(Scripted(1, result={"x": 1}), folder)
    folder.document("manifest").unlink()
    with pytest.raises(NotEqualError, match=r"the end line was computed again .* result was"):
        run(Scripted(1, result={"x": 2}), folder)


def test_a_run_that_lacks_only_its_manifest_is_sealed_by_a_resume(tmp_path: Path) -> None:
    folder = new_folder(tmp_path / "run", 1)
    first = run(ToyTraining(SPEC), folder)
    manifest = folder.document("manifest").read_bytes()
    folder.document("manifest").unlink()
    assert folder.status() is RunStatus.INTERRUPTED
    assert run(ToyTraining(SPEC), folder).journal_hash == first.journal_hash
    assert folder.document("manifest").read_bytes() == manifest


def test_an_artifact_of_an_earlier_attempt_does_not_stay_in_a_finished_run(tmp_path: Path) -> None:
    """A process that died while it ended may have written files that the result does not list."""
    folder = new_folder(tmp_path / "run", 1)
    stop(ToyTraining(SPEC), folder, after=2)
    folder.artifacts.mkdir(exist_ok=True)
    (folder.artifacts / "of_an_earlier_attempt.csv").write_bytes(b"1,2\n")
    run(ToyTraining(SPEC), folder)
    listed = folder.read("result")["artifacts"]
    assert {path.name for path in folder.artifacts.iterdir()} == set(listed)
    assert "artifacts/of_an_earlier_attempt.csv" not in folder.read("manifest")["files"]
    assert check(folder.path).ok


def test_other_code_or_numerics_do_not_continue_a_run(tmp_path: Path) -> None:
    folder = new_folder(tmp_path / "run", 1)
    stop(ToyTraining(SPEC), folder, after=2)
    with pytest.raises(
        NotComparableError, match=r"begun under fingerprint 0{63}1, but code and numerics here give 0{63}2"
    ):
        run(ToyTraining(SPEC), folder, fingerprint=fingerprint(2))


def test_a_document_that_changed_since_the_start_stops_the_resume(tmp_path: Path) -> None:
    folder = new_folder(tmp_path / "run", 1)
    stop(ToyTraining(SPEC), folder, after=2)
    folder.write("spec", {"seed": 99})
    with pytest.raises(IntegrityError, match=r"spec\.json: .* changed since it was written"):
        run(ToyTraining(SPEC), folder)


def test_a_damaged_line_inside_the_journal_stops_the_resume_and_is_named(tmp_path: Path) -> None:
    folder = new_folder(tmp_path / "run", 1)
    stop(ToyTraining(SPEC), folder, after=4, policy=EVERY_STEP)
    lines = folder.journal.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b'"index":1', b'"index":7')
    folder.journal.write_bytes(b"".join(lines))
    with pytest.raises(IntegrityError, match=r"journal\.jsonl: line 3 \(byte \d+\) is not the line that was written"):
        run(ToyTraining(SPEC), folder)


def test_a_lost_journal_is_not_silently_begun_anew(tmp_path: Path) -> None:
    folder = new_folder(tmp_path / "run", 1)
    stop(ToyTraining(SPEC), folder, after=2)
    folder.journal.unlink()
    with pytest.raises(IntegrityError, match=r"journal\.jsonl: missing or empty, though the run has checkpoints"):
        run(ToyTraining(SPEC), folder)


def counted(steps: int, path: Path) -> CountingFileSystem:
    values = [Step(index=i, segments={"t": {"x": np.zeros(4)}}) for i in range(steps)]
    folder = new_folder(path, 1)
    with faults(CountingFileSystem()) as disk:
        run(Scripted(*values), folder, policy=CheckpointPolicy(interval_s=1e9), clock=TickingClock(0.0))
    return disk


def test_what_a_step_costs_does_not_depend_on_how_many_there_were(tmp_path: Path) -> None:
    """Two writes for 16 steps, lines and frames, and the same bytes each: n steps, then 2 n, then 4 n."""
    one, two, four = (counted(n, tmp_path / str(n)) for n in (1024, 2048, 4096))
    assert two.calls - one.calls == 2 * 1024 / 16
    assert four.calls - two.calls == 2 * 2048 / 16
    per_step = (two.written - one.written) / 1024
    # Only the digits of the step's number grow: at most 1 byte in these ranges.
    assert (four.written - two.written) / 2048 == pytest.approx(per_step, abs=1.0)


def test_slow_steps_are_on_disk_as_they_come_and_fast_ones_every_sixteen(tmp_path: Path) -> None:
    """Steps of 1 s: each line is in the file when the observers hear of it. Steps of 0 s: 16 lines at once."""

    class Lines(Observer):
        def __init__(self, folder: RunFolder) -> None:
            self.journal, self.steps = folder.journal, list[int]()

        def step(self, step: Step, journal_hash: str) -> None:
            self.steps.append(self.journal.read_bytes().count(b"\n") - 1)

    for tick, expected in ((1.0, [*range(1, 21)]), (0.0, [0] * 15 + [16] * 5)):
        folder = new_folder(tmp_path / str(tick), 1)
        lines = Lines(folder)
        values = [Step(index=i, segments={"t": {"x": np.zeros(4)}}) for i in range(20)]
        run(Scripted(*values), folder, clock=TickingClock(tick), observers=[lines])
        assert lines.steps == expected


def test_a_training_reads_what_it_has_recorded_also_where_it_is_not_yet_on_disk(tmp_path: Path) -> None:
    class Reading(Scripted):
        rows: list[int]

        def attach(self, record: RunRecord) -> None:
            self.rows, self.record = [], record

        def steps(self) -> Iterator[Step]:
            for step in super().steps():
                self.rows.append(self.record.segments.rows("t"))
                yield step

    training = Reading(*(Step(index=i, segments={"t": {"x": np.zeros(2)}}) for i in range(5)))
    run(training, new_folder(tmp_path / "run", 1), clock=TickingClock(0.0))
    assert training.rows == [0, 2, 4, 6, 8]


def test_a_hundred_thousand_trials_write_at_most_twice_their_data(tmp_path: Path) -> None:
    """Batches of 1,024 rows of 12 columns of 8 bytes, a checkpoint every 30 of the clock's seconds."""
    rows, batches = 1024, 98
    columns = {f"column_{i}": np.arange(rows, dtype=np.float64) for i in range(12)}
    steps = [Step(index=i, scalars={"best": 1.5}, segments={"trials": columns}) for i in range(batches)]
    folder = new_folder(tmp_path / "run", 1)
    with faults(CountingFileSystem()) as disk:
        run(Scripted(*steps), folder, clock=TickingClock(1.0), policy=CheckpointPolicy(max_share=1.0))
    trial_data = batches * rows * 12 * 8
    assert disk.written <= 2 * trial_data
    assert disk.written <= 1.02 * trial_data, "with batches of this size almost nothing is written besides"


def test_small_batches_too_write_at_most_twice_their_data(tmp_path: Path) -> None:
    """Batches of 4, as Bayesian proposers use: the line and the frame's head weigh more, but not more than the data."""
    columns = {f"column_{i}": np.arange(4, dtype=np.float64) for i in range(30)}
    steps = [Step(index=i, scalars={"best": 1.5}, segments={"trials": columns}) for i in range(500)]
    folder = new_folder(tmp_path / "run", 1)
    with faults(CountingFileSystem()) as disk:
        run(Scripted(*steps), folder)
    assert disk.written <= 2 * (500 * 4 * 30 * 8)
