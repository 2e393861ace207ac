"""Replays: stored gradients give the stored weights, and computing again gives the stored gradients."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.unit.learning.builders import Small

from lockstep.core.errors import NotEqualError, RefusedError
from lockstep.learning.gradients.compiled_adam import CompiledAdam
from lockstep.learning.gradients.optim_state import OptimizerSettings
from lockstep.learning.gradients.record import COMPILED_FROM, SessionRecord
from lockstep.learning.gradients.recorder import Recording
from lockstep.learning.gradients.replay import recompute_session, recompute_state, replay_gradients
from lockstep.learning.gradients.sessions import order_of
from lockstep.learning.gradients.training import GradientTraining
from lockstep.runs.checkpoint import CheckpointStore
from lockstep.runs.folder import RunFolder

OPTIMIZERS = {
    "adam": OptimizerSettings(),
    "adam fused": OptimizerSettings(form="fused"),
    "adamw foreach": OptimizerSettings(name="adamw", weight_decay=0.01, form="foreach"),
    "sgd": OptimizerSettings(name="sgd", learning_rate=1e-2),
    "sgd nesterov fused": OptimizerSettings(name="sgd", momentum=0.9, nesterov=True, form="fused"),
    "rmsprop": OptimizerSettings(name="rmsprop", momentum=0.5),
    "adam amsgrad fused": OptimizerSettings(amsgrad=True, form="fused"),
    "nadam": OptimizerSettings(name="nadam", momentum_decay=0.02),
    "radam foreach": OptimizerSettings(name="radam", form="foreach"),
    "sgd with an average": OptimizerSettings(name="sgd", learning_rate=1e-2, ema_decay=0.7),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS.keys())
def test_applying_the_stored_gradients_gives_the_final_weights_to_the_last_bit(
    tmp_path: Path, optimizer: OptimizerSettings
) -> None:
    """R9.31: from the start state, through the optimiser alone; every state is checked on the way."""
    folder = Small(optimizer=optimizer).run(tmp_path / "run")
    # By torch, then in compiled passes, as a replay of many updates is.
    for least in (COMPILED_FROM, 1):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("lockstep.learning.gradients.record.COMPILED_FROM", least)
            replay = replay_gradients(SessionRecord(folder), check_every=1)
        assert (replay.steps, replay.checked, replay.weights_file) == (6, 6, True)
        assert replay.state == folder.result()["state"]


def test_compiled_passes_alone_accuse_no_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They were compared with torch's at a few rates; where they differ at another, torch's own decide."""
    folder = Small(optimizer=OptimizerSettings()).run(tmp_path / "run")
    right = CompiledAdam.apply
    calls = []

    def wrong(machine: CompiledAdam, gradient: Any, learning_rate: float) -> None:
        calls.append(learning_rate)
        right(machine, gradient, learning_rate * 1.001)

    monkeypatch.setattr("lockstep.learning.gradients.record.COMPILED_FROM", 1)
    replay_gradients(SessionRecord(folder))  # proven before its first use
    monkeypatch.setattr(CompiledAdam, "apply", wrong)
    assert replay_gradients(SessionRecord(folder), check_every=1).checked == 6
    assert calls


def test_a_record_of_another_optimisers_gradients_is_found_to_differ(tmp_path: Path) -> None:
    """The first state that differs is named, when every state is checked."""
    folder = Small(optimizer=OptimizerSettings()).run(tmp_path / "run")
    record = SessionRecord(folder)
    record.description = replace(record.description, optimizer=OptimizerSettings(eps=1e-7))
    with pytest.raises(NotEqualError, match="state after step 0,"):
        replay_gradients(record, check_every=1)
    with pytest.raises(NotEqualError, match="state after step 5,"):
        replay_gradients(record, check_every=100)


@pytest.mark.parametrize("recording", [Recording(level="norms"), Recording(level="none"), Recording(every=2)])
def test_without_every_gradient_a_gradient_replay_is_refused_and_recomputing_named(
    tmp_path: Path, recording: Recording
) -> None:
    with pytest.raises(RefusedError, match="Recompute it instead"):
        replay_gradients(Small(recording=recording).record(tmp_path / "run"))


@pytest.mark.parametrize("level", ["full", "norms", "none"])
def test_recomputing_gives_every_step_again_from_the_start_and_from_every_checkpoint(
    tmp_path: Path, level: str
) -> None:
    """R9.51: level none replays by recomputation too."""
    small = Small(recording=Recording(level=level))
    record = small.record(tmp_path / "run")
    store = CheckpointStore(record.folder.checkpoints)
    for start in [None, *map(store.load, store.stored_steps())]:
        again = recompute_session(small.make(), record, start=start)
        assert again.equal
        assert again.computed == 6 - (0 if start is None else start.steps)


@pytest.mark.parametrize("level", ["full", "norms", "none"])
def test_the_state_after_any_step_comes_back_at_every_level(tmp_path: Path, level: str) -> None:
    """Decision D19 where no gradient is kept: from a checkpoint at the step, before it, and from none."""
    reference = Small().record(tmp_path / "reference")
    small = Small(recording=Recording(level=level))
    record = SessionRecord(small.run(tmp_path / "run"))
    store = CheckpointStore(record.folder.checkpoints)
    for steps in (1, 2, 5):
        store.path(steps).unlink()
    for step in range(6):
        state, expected = recompute_state(small.make(), record, step), reference.state_after(step)
        assert all(state[name].tobytes() == expected[name].tobytes() for name in expected)
    with pytest.raises(IndexError, match="has steps 0 to 5; found 6"):
        recompute_state(small.make(), record, 6)


def first_difference(
    small: Small, record: SessionRecord, training: GradientTraining | None = None
) -> tuple[object, ...]:
    first = recompute_session(small.make() if training is None else training, record).first
    assert first is not None
    return first.step, first.segment, first.tensor


def test_the_first_tensor_that_differs_is_named(tmp_path: Path) -> None:
    """What went wrong first explains the rest: batch, start, gradient, buffers, figures of the step."""
    small = Small()
    record = small.record(tmp_path / "run")
    slots = record.description.layout.slots
    unclipped = replace(small, clip_norm=None)
    assert first_difference(unclipped, record) == (0, "gradients", slots[0].name)
    faster = replace(small, optimizer=OptimizerSettings(learning_rate=4e-3))
    assert first_difference(faster, record) == (0, "steps", "learning_rate")
    drifted = small.make()
    drifted.learner.flat.weight_views[2].data.view(-1)[0] += 1e-3
    assert first_difference(small, record, drifted) == (0, "start", f"weights of {slots[2].name}")
    other_batches = replace(small, batch=8)
    assert first_difference(other_batches, record) == (0, "batches", "index")


def test_a_bit_that_flips_while_training_goes_on_is_found_in_the_step_it_flips(tmp_path: Path) -> None:
    """The last parameter of the layout, one bit of one number, after step 2: step 3 is the first to differ."""
    small = Small()
    record = small.record(tmp_path / "run")
    training = small.make()
    compute = training.learner.update

    def faulty(step: int, *args: Any, **kwargs: Any) -> Any:
        if step == 3:
            weights = training.learner.flat.weights.detach().numpy().view(np.uint32)
            weights[record.description.layout.slots[-1].start] ^= 1 << 12
        return compute(step, *args, **kwargs)

    training.learner.update = faulty  # type: ignore[method-assign]
    first = recompute_session(training, record).first
    assert first is not None
    assert (first.step, first.segment) == (3, "gradients")
    assert "values, at most" in str(first)


def test_a_session_goes_again_through_the_packages_of_another_the_most_valuable_first(tmp_path: Path) -> None:
    """R9.32, R9.33: same samples, other order and other model; the new session says where it comes from."""
    record = Small().record(tmp_path / "first")
    best = record.by_value()[:3]
    values = [record.step(step).value for step in range(len(record))]
    assert [values[step] for step in best] == sorted(values, reverse=True)[:3]
    again = Small(seed=9, order=order_of(record, best), session={"replayed_from": record.session_id})
    folder = again.run(tmp_path / "again")
    replayed = SessionRecord(folder)
    assert len(replayed) == 3
    for place, step in enumerate(best):
        assert replayed.step(place).samples.tolist() == record.step(step).samples.tolist()
    assert folder.result()["session"] == {"replayed_from": "first"}


def test_the_whole_session_again_gives_the_same_weights(tmp_path: Path) -> None:
    """R9.32: its packages in its order, from its seed."""
    record = Small().record(tmp_path / "first")
    again = Small(order=order_of(record)).record(tmp_path / "again")
    assert again.content(5)["digests"]["state"] == record.content(5)["digests"]["state"]


def test_level_none_keeps_no_packages_to_go_through_again(tmp_path: Path) -> None:
    record = Small(recording=Recording(level="none")).record(tmp_path / "run")
    with pytest.raises(RefusedError, match="no batch identities"):
        order_of(record)


def test_an_interrupted_session_is_replayed_as_far_as_it_went(tmp_path: Path) -> None:
    whole = Small().run(tmp_path / "whole")
    part = RunFolder(tmp_path / "part")
    part.segments.mkdir(parents=True)
    for path in whole.segments.iterdir():
        (part.segments / path.name).write_bytes(path.read_bytes())
    lines = whole.journal.read_bytes().splitlines(keepends=True)
    part.journal.write_bytes(b"".join(lines[:4]) + lines[4][:20])  # three steps and a torn line
    record = SessionRecord(part)
    replay = replay_gradients(record)
    assert (replay.steps, replay.weights_file) == (3, False)
    assert replay.state == SessionRecord(whole).content(2)["digests"]["state"]
