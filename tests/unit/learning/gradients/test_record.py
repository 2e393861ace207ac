"""What the recorder keeps of each step, and getting it back."""

from __future__ import annotations

import re

import numpy as np
import pytest

pytest.importorskip("torch")

from pathlib import Path

import torch
from tests.unit.learning.builders import NORMED, SMALL, Small, samples

from lockstep.core.errors import InputError, IntegrityError, RefusedError
from lockstep.core.hashing import digest_columns
from lockstep.learning.gradients import determinism
from lockstep.learning.gradients.learner import BUFFER, WEIGHTS
from lockstep.learning.gradients.optim_state import OptimizerSettings
from lockstep.learning.gradients.record import CNNTrainingStep, SessionRecord
from lockstep.learning.gradients.recorder import Recording
from lockstep.learning.patterns.networks import PatternCNN, pattern_loss
from lockstep.runs.journal import read_lines
from lockstep.runs.seeds import SeedTree
from lockstep.testing.contracts.training_kind import hashed_files

STEPS = 6  # 40 samples in batches of 16: 3 steps an epoch, 2 epochs


def test_a_step_has_the_gradient_of_every_parameter_and_each_loss_by_itself(tmp_path: Path) -> None:
    """R9.14, R9.15, R9.20: for every step that was made."""
    record = Small().record(tmp_path / "run")
    shapes = {name: tuple(value.shape) for name, value in PatternCNN(NORMED).named_parameters()}
    assert len(record) == STEPS
    for step in record.steps():
        assert isinstance(step, CNNTrainingStep)
        assert {name: array.shape for name, array in step.gradients.items()} == shapes
        assert all(array.any() for array in step.gradients.values())
        parts = 1.0 * step.classification_loss + 0.5 * step.regression_loss + 0.3 * step.confidence_loss
        assert step.total_loss == pytest.approx(parts, rel=1e-6)
        assert step.learning_rate == 3e-3
    assert [len(step.samples) for step in record.steps()] == [16, 16, 8, 16, 16, 8]


def test_a_record_opens_from_the_path_that_results_have_and_says_what_it_and_its_steps_are(tmp_path: Path) -> None:
    record = Small().record(tmp_path / "run")
    for path in (tmp_path / "run", str(tmp_path / "run")):
        again = SessionRecord(path)
        assert again.step(0).losses == record.step(0).losses
        assert repr(again) == f"<SessionRecord of run {record.session_id}: {len(record)} steps>"
    assert re.fullmatch(
        rf"<CNNTrainingStep 1 of run {record.session_id}: loss classification [0-9.e-]+(, [a-z]+ [0-9.e-]+)*>",
        repr(again.step(1)),
    )
    with pytest.raises(InputError, match=r"nowhere: no folder of a run. Give the `folder` of a result or of a session"):
        SessionRecord(tmp_path / "nowhere")


def test_the_recorded_gradient_is_autograds_own_scaled_by_the_clipping(tmp_path: Path) -> None:
    """R9.14: computed by hand at the state before the step, under the noise of the step."""
    small = Small(clip_norm=0.5)
    record = small.record(tmp_path / "run")
    step = record.step(4)
    module, data = PatternCNN(NORMED), samples(shape=NORMED)
    module.load_state_dict({name: torch.tensor(array) for name, array in record.step(3).model_state.items()})
    rows = torch.tensor(step.samples)
    with determinism.noise(SeedTree(1).child("noise", 4)):
        total, _ = pattern_loss(
            module.train()(torch.tensor(data.windows)[rows]),
            torch.tensor(data.classes)[rows],
            torch.tensor(data.returns)[rows],
        )
        total.backward()
    norm = np.sqrt(sum(float(value.grad.double().square().sum()) for value in module.parameters()))
    assert float(total.detach()) == step.total_loss
    assert norm == pytest.approx(step.gradient_norm, rel=1e-6)
    assert norm > 0.5, "the clipping should act"
    for name, value in module.named_parameters():
        np.testing.assert_allclose(step.gradients[name], value.grad.numpy() * (0.5 / norm), rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("every", [1, 4, 100])
def test_the_model_state_of_every_step_is_stored_or_rebuilt_and_has_its_digest(tmp_path: Path, every: int) -> None:
    """R9.16, decision D19: whatever the distance of the snapshots, the same states."""
    record = Small(recording=Recording(snapshot_every=every)).record(tmp_path / "run")
    reference = Small(recording=Recording(snapshot_every=1)).record(tmp_path / "reference")
    for step in range(STEPS):
        state, stored = record.state_after(step), reference.frame("snapshots", step)
        assert digest_columns(state) == record.content(step)["digests"]["state"]
        assert set(state) == set(stored)
        assert all(state[name].tobytes() == stored[name][0].tobytes() for name in state)
    names = {name for name, _ in PatternCNN(NORMED).named_buffers()}
    assert names <= record.step(2).model_state.keys(), "BatchNorm's statistics are in no gradient; they are recorded"
    assert set(record.step(2).optimizer_state) == {"step", "exp_avg", "exp_avg_sq"}
    assert record.step(2).optimizer_state["step"] == 3


def test_recorder_on_or_off_gives_the_same_weights_step_by_step(tmp_path: Path) -> None:
    levels = {
        "full": Recording(snapshot_every=1),
        "norms": Recording(level="norms"),
        "none": Recording(level="none"),
        "selected": Recording(select=("trunk.*",), every=2),
    }
    found = {}
    for name, recording in levels.items():
        folder = Small(recording=recording).run(tmp_path / name)
        lines = [line.content for line in read_lines(folder.journal) if line.type == "step"]
        found[name] = (
            [line["digests"]["state"] for line in lines],
            (folder.artifacts / "weights.safetensors").read_bytes(),
        )
    assert all(states == found["full"] for states in found.values())
    assert len(set(found["full"][0])) == STEPS


def test_the_digest_of_the_state_is_taken_every_n_steps(tmp_path: Path) -> None:
    record = Small(recording=Recording(digest_every=4)).record(tmp_path / "run")
    assert [bool(record.content(step)["digests"]) for step in range(STEPS)] == [False, False, False, True, False, False]


def test_selected_gradients_of_every_other_step(tmp_path: Path) -> None:
    recording = Recording(select=("direction.*", "trunk.0.bias"), every=2)
    part, whole = (Small(recording=item) for item in (recording, Recording()))
    record, reference = part.record(tmp_path / "part"), whole.record(tmp_path / "whole")
    assert [step for step, _ in record.gradients()] == [0, 2, 4]
    gradients = record.step(2).gradients
    assert sorted(gradients) == ["direction.bias", "direction.weight", "trunk.0.bias"]
    for name, array in gradients.items():
        assert array.tobytes() == reference.step(2).gradients[name].tobytes()
    with pytest.raises(RefusedError, match="no gradients of step 3"):
        _ = record.step(3).gradients
    with pytest.raises(RefusedError, match="every = 2"):
        _ = record.step(3).model_state


def test_norms_are_those_of_gradients_weights_and_their_changes(tmp_path: Path) -> None:
    """‖g‖, ‖w‖ after the step, ‖w - w before‖ for each parameter."""
    record = Small(recording=Recording(snapshot_every=1)).record(tmp_path / "run")
    for step in (0, 3):
        norms = record.frame("norms", step)
        after = record.step(step).model_state
        layout = record.description.layout
        before = layout.named(record.start_state()[WEIGHTS]) if step == 0 else record.step(step - 1).model_state
        for place, (name, gradient) in enumerate(record.step(step).gradients.items()):
            assert norms["gradient"][0, place] == pytest.approx(np.linalg.norm(gradient), rel=1e-5)
            assert norms["weight"][0, place] == pytest.approx(np.linalg.norm(after[name]), rel=1e-5)
            assert norms["update"][0, place] == pytest.approx(np.linalg.norm(after[name] - before[name]), rel=1e-4)


def test_a_session_that_fell_to_norms_keeps_every_state_before_the_fall(tmp_path: Path) -> None:
    recording = Recording(max_bytes=20_000, at_limit="norms", snapshot_every=2)
    record = Small(recording=recording).record(tmp_path / "run")
    levels = [record.content(step)["scalars"]["level"] for step in range(STEPS)]
    fall = levels.index("norms")
    assert 1 < fall < STEPS, "the limit should be met in the middle"
    assert levels == ["full"] * fall + ["norms"] * (STEPS - fall)
    large = sum(
        path.stat().st_size
        for path in record.folder.segments.iterdir()
        if path.name[:5] in ("gradi", "snaps", "start", "buffe")
    )
    assert large <= 20_000
    assert len(record.state_after(fall - 1)[WEIGHTS]) == record.description.layout.size
    with pytest.raises(RefusedError, match=f"gradients up to step {fall - 1}: it fell"):
        record.state_after(STEPS - 1)


def test_a_session_that_the_limit_ends_says_so_and_stays_below_it(tmp_path: Path) -> None:
    folder = Small(recording=Recording(max_bytes=20_000, snapshot_every=2)).run(tmp_path / "run")
    summary = folder.result()
    assert summary["ended"] == "max_bytes"
    assert 1 < summary["steps"] < STEPS
    segments = sum(path.stat().st_size for path in folder.segments.iterdir())
    schemas = 1_000 * len(list(folder.segments.iterdir()))
    assert summary["segment_bytes"] <= 20_000
    assert 0 <= segments - summary["segment_bytes"] <= schemas, "beyond the frames there is one schema a file"


def test_a_flipped_byte_of_a_gradient_is_found_and_never_applied(tmp_path: Path) -> None:
    folder = Small().run(tmp_path / "run")
    path = folder.segments / "gradients.000000.seg"
    data = bytearray(path.read_bytes())
    data[-200] ^= 1  # in the last frame
    path.write_bytes(bytes(data))
    record = SessionRecord(folder)
    assert record.step(STEPS - 2).gradients
    with pytest.raises(IntegrityError, match=f"frame of step {STEPS - 1} does not match"):
        _ = record.step(STEPS - 1).gradients
    with pytest.raises(IntegrityError):
        record.state_after(STEPS - 1)


def test_a_run_without_a_gradient_step_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="nothing to replay"):
        Small(epochs=0).record(tmp_path / "run")


def test_a_frozen_parameter_is_neither_moved_nor_recorded(tmp_path: Path) -> None:
    def build() -> torch.nn.Module:
        module = PatternCNN(SMALL)
        module.trunk[0].weight.requires_grad_(False)
        return module

    small = Small(shape=SMALL, build=build)
    training = small.make()
    before = training.learner.module.trunk[0].weight.clone()
    record = small.record(tmp_path / "run")
    assert "trunk.0.weight" not in record.step(0).gradients
    assert torch.equal(before, small.make().learner.module.trunk[0].weight)


def test_without_buffers_there_is_no_segment_of_them(tmp_path: Path) -> None:
    record = Small(shape=SMALL).record(tmp_path / "run")
    assert record.segments.names() == ["batches", "gradients", "norms", "snapshots", "start", "steps"]
    assert not any(name.startswith(BUFFER) for name in record.state_after(0))


def test_the_form_of_the_optimiser_is_part_of_the_record(tmp_path: Path) -> None:
    """A fused update rounds differently, so its record says fused and replays fused."""
    forms = {}
    for form in ("single", "foreach", "fused"):
        settings = OptimizerSettings(learning_rate=3e-3, form=form)
        forms[form] = Small(optimizer=settings).record(tmp_path / form)
        assert forms[form].description.optimizer.form == form
    states = {form: record.content(STEPS - 1)["digests"]["state"] for form, record in forms.items()}
    assert states["single"] == states["foreach"]
    assert len(hashed_files(forms["fused"].folder)) > 0
