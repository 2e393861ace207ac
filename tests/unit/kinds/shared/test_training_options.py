"""Schedules, optimisers, accumulation, smoothing and averages as keys of a spec: repeatable like any other training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

from safetensors.numpy import load
from tests.unit.kinds import classifier_builders, cnn_builders
from tests.unit.kinds.cnn_builders import prepared_from, run, spec_of, training_of

from lockstep.core.errors import SpecError
from lockstep.kinds.classifier.spec import ClassifierSpec
from lockstep.kinds.cnn.spec import CnnSpec, CnnTrainingTable
from lockstep.learning.gradients.record import SessionRecord
from lockstep.learning.gradients.replay import recompute_session, replay_gradients
from lockstep.runs.spec import full_body, identity_body, load_spec, resolve
from lockstep.runs.training import Training
from lockstep.testing.contracts.training_kind import TrainingContract

ALL: dict[str, Any] = {
    "optimizer": "nadam",
    "schedule": "one_cycle",
    "batch_size": 48,
    "accumulate": 2,
    "label_smoothing": 0.1,
    "ema_decay": 0.8,
    "epochs": 2,
}
LATER = {
    "amsgrad", "momentum_decay", "rise_share", "div_factor", "final_div_factor", "cycle_momentum", "base_momentum",
    "max_momentum", "accumulate", "label_smoothing", "ema_decay", "ema_evaluated",
}  # fmt: skip


def test_the_defaults_are_no_part_of_a_specs_identity() -> None:
    """So specs of earlier releases keep their fingerprint; what is set is part of it, and the whole spec shows all."""
    for model in (CnnSpec, ClassifierSpec):
        kind = str(model.model_fields["kind"].default)
        plain = resolve(model, load_spec({"kind": kind}))
        assert not LATER & identity_body(plain)["training"].keys()
        assert full_body(plain)["training"].keys() >= LATER
        named = resolve(model, load_spec({"kind": kind, "training": {"accumulate": 2, "amsgrad": False}}))
        assert LATER & identity_body(named)["training"].keys() == {"accumulate"}
        assert resolve(model, load_spec(full_body(named))) == named


def test_a_training_with_all_of_them_is_resumed_replayed_and_computed_again(tmp_path: Path) -> None:
    """Stopped after every step, each time in a new training: equal journals. Then both replays."""
    home = tmp_path / "home"

    class Contract(TrainingContract):
        def make(self, seed: int) -> Training:
            return training_of(prepared_from(home, seed=seed, training=ALL), home)

    Contract().test_stopped_at_every_step_and_resumed_gives_the_same_bytes(tmp_path)
    folder, outcome, _ = run(tmp_path, "run", training=ALL)
    record = SessionRecord(folder)
    replay = replay_gradients(record, check_every=1)
    assert (replay.steps, replay.checked, replay.weights_file) == (outcome.steps, outcome.steps, True)
    assert recompute_session(Contract().make(42), record).equal  # type: ignore[arg-type]
    # The highest rate and the lowest momentum are one cycle's, at the border of rise and fall.
    columns = record.columns
    assert columns["momentum"].min() >= 0.85
    assert columns["momentum"][-1] == 0.95
    assert columns["learning_rate"].argmax() == columns["momentum"].argmin()
    # An update has two batches, of which every epoch's last may be short; the order is that of their joint size.
    sizes = [len(record.step(step).samples) for step in range(len(record))]
    train = sum(outcome.result["samples"]["train"].values())
    assert sizes == [*[96] * (train // 96), train % 96] * 2
    assert outcome.result["model"]["weights"] == "ema"
    _three_sets_of_weights(folder.artifacts, record)


def _three_sets_of_weights(artifacts: Path, record: SessionRecord) -> None:
    """The trained ones, their average, and those that were judged: the average after the best epoch."""
    trained, average, best = (
        load((artifacts / f"{name}weights.safetensors").read_bytes()) for name in ("", "ema_", "best_")
    )
    last = record.step(-1)
    stored = last.averaged_weights
    assert stored is not None
    for name, values in stored.items():
        assert np.array_equal(average[name], values)
        assert np.array_equal(trained[name], last.model_state[name])
    assert any(not np.array_equal(trained[name], average[name]) for name in stored)
    epochs = [record.step(step) for step in range(len(record)) if "best" in record.content(step)["scalars"]]
    best_step = [step for step in epochs if record.content(step.index)["scalars"]["best"]][-1]
    judged = best_step.averaged_weights
    assert judged is not None
    assert all(np.array_equal(best[name], judged[name]) for name in judged)


def test_an_average_that_is_not_evaluated_changes_no_score(tmp_path: Path) -> None:
    """It is kept beside the trained weights, which are judged as in a run without it."""
    _, plain, _ = run(tmp_path, "plain")
    beside, outcome, _ = run(tmp_path, "beside", training={"ema_decay": 0.8, "ema_evaluated": False})
    assert outcome.result["scores"] == plain.result["scores"]
    assert outcome.result["model"]["weights"] == "trained"
    assert (beside.artifacts / "ema_weights.safetensors").exists()


def test_a_classifier_takes_them_too(tmp_path: Path) -> None:
    tables = {
        **classifier_builders.SMALL,
        "training": {**classifier_builders.SMALL["training"], **ALL, "batch_size": 3},
    }
    prepared = classifier_builders.prepared_of(tmp_path, **tables)
    folder = classifier_builders.run_of(prepared, tmp_path)
    record = SessionRecord(folder)
    assert replay_gradients(record).weights_file
    assert len(record.step(0).samples) == 6
    assert folder.result()["model"]["weights"] == "ema"
    fresh = classifier_builders.training_of(prepared, tmp_path)
    assert recompute_session(fresh, record).equal


@pytest.mark.parametrize(
    ("table", "rule"),
    [
        ({"optimizer": "sgd", "amsgrad": True}, 'amsgrad belongs to optimizer = "adam" or "adamw"; found "sgd"'),
        ({"momentum_decay": 0.01}, 'momentum_decay belongs to optimizer = "nadam"; found "adam"'),
        ({"optimizer": "radam", "form": "fused"}, "torch has no fused RAdam"),
        ({"schedule": "cosine", "rise_share": 0.2}, 'rise_share belongs to schedule = "one_cycle"'),
        ({"schedule": "one_cycle", "warmup_steps": 3}, "leave out warmup_steps"),
        ({"base_momentum": 0.9, "max_momentum": 0.8, "schedule": "one_cycle"}, "base_momentum is at most max_momentum"),
        ({"ema_evaluated": False}, "set ema_decay"),
        ({"ema_decay": 1.0}, "ema_decay"),
        ({"label_smoothing": 1.0}, "label_smoothing"),
        ({"accumulate": 0}, "accumulate"),
    ],
)
def test_a_key_that_would_have_no_effect_is_refused(table: dict[str, Any], rule: str) -> None:
    with pytest.raises(SpecError, match=rule):
        spec_of(training=table)


def test_momentum_is_moved_where_there_is_one() -> None:
    def moved(**keys: Any) -> bool:
        return CnnTrainingTable(schedule="one_cycle", **keys).momentum_of(10) is not None

    assert moved()
    assert moved(optimizer="sgd", momentum=0.9)
    assert not moved(optimizer="sgd")
    assert not moved(cycle_momentum=False)
    assert CnnTrainingTable(schedule="cosine").momentum_of(10) is None


def test_warm_up_and_final_share_go_with_the_cosine() -> None:
    table = CnnTrainingTable(schedule="cosine", learning_rate=0.4, warmup_steps=2, final_share=0.5)
    assert [table.rate(step, 5) for step in range(5)] == pytest.approx([0.2, 0.4, 0.4, 0.3, 0.2])


def test_the_estimate_counts_the_updates_of_accumulated_batches(tmp_path: Path) -> None:
    prepared = prepared_from(tmp_path, training=ALL)
    estimate = cnn_builders.KIND.estimate(prepared, cnn_builders.context_of(tmp_path), time_large=False)
    steps = sum(1 for _ in training_of(prepared, tmp_path).steps())
    assert estimate.steps == steps
