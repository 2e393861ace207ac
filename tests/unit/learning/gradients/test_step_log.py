"""One recorded update: what every training writes of a step, whoever makes the step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from tests.unit.learning.builders import NORMED, Small, samples

from lockstep.core import canonical
from lockstep.core.hashing import digest_columns
from lockstep.learning.gradients.epochs import Epochs
from lockstep.learning.gradients.learner import Learner
from lockstep.learning.gradients.recorder import Recorder, Recording, StepFacts
from lockstep.learning.gradients.step_log import StepLog
from lockstep.learning.patterns.task import PatternTask
from lockstep.runs.seeds import SeedTree
from lockstep.runs.training import Step

SMALL = Small()


def parts(recording: Recording = SMALL.recording) -> tuple[PatternTask, Learner, Recorder]:
    """Task, learner and recorder of a small training, at their start, for a loop written by hand."""
    learner = SMALL.make().learner
    seeds = SeedTree(SMALL.seed)
    order = Epochs(samples=40, batch_size=SMALL.batch, epochs=SMALL.epochs, seeds=seeds.child("order"))
    return PatternTask(samples(shape=NORMED), order), learner, Recorder(recording, learner)


def step_of(log: StepLog, task: PatternTask, learner: Learner, index: int, **options: Any) -> Step:
    """Step `index`, as a training of somebody else would make it."""
    batch = task.batch(index)
    assert batch is not None
    log.begin(index)
    update = learner.update(index, batch.compute, None)
    facts = StepFacts(batch=batch.ids, profitability=batch.profitability, profitable=batch.profitable)
    return log.step(index, update, facts, **options)


def written(step: Step) -> Any:
    """What the journal and the segments get of a step."""
    frames = {name: digest_columns(columns) for name, columns in step.segments.items()}
    return step.index, canonical.dumps(step.scalars), step.digests, frames


def test_a_loop_of_somebody_else_writes_the_bytes_of_a_gradient_training() -> None:
    """Six steps by hand: scalars, digests and every frame are those of `GradientTraining`."""
    whole = [written(step) for step in SMALL.make().steps()]
    task, learner, recorder = parts()
    log = StepLog(recorder)
    assert [written(step_of(log, task, learner, index)) for index in range(6)] == whole


def test_an_update_that_was_not_announced_is_not_recorded() -> None:
    """Without `begin` the state before the update is gone, and with it the norm of what changed."""
    task, learner, recorder = parts()
    log = StepLog(recorder)
    step_of(log, task, learner, 0)
    batch = task.batch(1)
    assert batch is not None
    update = learner.update(1, batch.compute, None)
    with pytest.raises(RuntimeError, match=r"begin\(1\) comes before step\(1\)"):
        log.step(1, update, StepFacts(batch=batch.ids))
    log.begin(2)
    with pytest.raises(RuntimeError, match=r"begin\(1\) comes before step\(1\)"):
        log.step(1, update, StepFacts(batch=batch.ids))


def test_further_scalars_are_asked_for_when_the_update_is_recorded() -> None:
    """An evaluation at the end of an epoch may take its time and its memory: the frames are made by then."""
    task, learner, recorder = parts()
    log = StepLog(recorder)
    before = recorder.bytes
    step = step_of(log, task, learner, 0, extra=lambda: {"recorded": recorder.bytes - before})
    assert step.scalars["recorded"] > 0


def test_segments_of_the_trainings_own_count_against_the_limit() -> None:
    """100 doubles are 800 bytes, and a frame has a head and a seal of 64 bytes."""
    sizes = []
    for further in (None, {"lived": {"reward": np.zeros(100)}}):
        task, learner, recorder = parts()
        step = step_of(StepLog(recorder), task, learner, 0, further=further)
        assert ("lived" in step.segments) == (further is not None)
        sizes.append(recorder.bytes)
    assert sizes[1] - sizes[0] == 800 + 64


@pytest.mark.parametrize("at_limit", ["end", "norms"])
def test_the_limit_ends_the_session_or_the_gradients(at_limit: Any) -> None:
    task, learner, recorder = parts(Recording(snapshot_every=4, max_bytes=1_000, at_limit=at_limit))
    log = StepLog(recorder)
    assert log.ends_before(0) == (at_limit == "end")
    assert log.total_steps(6) == (None if at_limit == "end" else 6)
    step = step_of(log, task, learner, 0)
    assert step.scalars["level"] == "norms"
    assert "gradients" not in step.segments


def test_its_state_goes_into_the_trainings_and_on_from_there() -> None:
    """Values of steps compare with the step before: those after a state are the same as without the interruption."""
    task, learner, recorder = parts()
    log = StepLog(recorder)
    step_of(log, task, learner, 0)
    state = {"learner": learner.get_state(), **log.get_state()}
    assert log.get_state().keys() == {"recorder", "values"}
    whole = written(step_of(log, task, learner, 1))
    task, learner, recorder = parts()
    again = StepLog(recorder)
    learner.set_state(state["learner"])
    again.set_state(state)
    assert written(step_of(again, task, learner, 1)) == whole


def test_what_a_summary_says_needs_the_record() -> None:
    _, learner, recorder = parts()
    with pytest.raises(RuntimeError, match=r"attach\(\) comes before"):
        StepLog(recorder).session_facts(learner, steps=0, limited=False)
