"""An agent retrained: the same batches, the same agent or another, a run of its own (R9.32)."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from tests.contract.linear_sarsa import LinearSarsa
from tests.unit.kinds.agent_builders import SMALL, market, training_of

import lockstep as ls
from lockstep.app.runs_admin import export_run, import_run, remove_run
from lockstep.bootstrap import place
from lockstep.core.errors import DataError, InputError, IntegrityError, RefusedError
from lockstep.faces.rl_trainer import RLTrainer
from lockstep.kinds.replay_agent.kind import KIND
from lockstep.kinds.replay_agent.spec import ReplayAgentSpec
from lockstep.kinds.shared import experience_batches
from lockstep.kinds.shared.experience_batches import recorded_experiences
from lockstep.kinds.shared.retraining import SessionTable, recorded_order, write_batches
from lockstep.learning.gradients.record import SessionRecord
from lockstep.rl.actor_critic import ActorCritic
from lockstep.rl.double_dqn import DoubleDQN
from lockstep.rl.networks import NetworkShape
from lockstep.rl.recorded_batches import RecordedBuffer, RecordedExperiences, RecordedReplay
from lockstep.runs.checkpoint import through_storage
from lockstep.runs.folder import RunFolder
from lockstep.runs.kind import PrepareContext
from lockstep.runs.seeds import SeedTree
from lockstep.runs.spec import resolve
from lockstep.runs.store import FolderRunStore
from lockstep.runs.training import Training
from lockstep.storage.blobs import FolderBlobStore
from lockstep.testing.contracts.agent import INPUTS, filled_buffer
from lockstep.testing.contracts.training_kind import TrainingContract

FORMS: Mapping[str, dict[str, Any]] = {
    "profit, evicting": {"buffer": {"capacity": 36}},
    "prioritized": {"buffer": {"mode": "prioritized", "capacity": 36}},
    "actor-critic": {"agent": {"algorithm": "actor_critic", "hidden": [8]}, "buffer": {"mode": "uniform"}},
}


def spec_of(**tables: Any) -> dict[str, Any]:
    return {
        "kind": "replay-agent",
        **{name: {**SMALL.get(name, {}), **tables.get(name, {})} for name in {**SMALL, **tables}},
    }


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a session of each form, by tag."""
    home = tmp_path_factory.mktemp("home")
    for form, tables in FORMS.items():
        ls.train(spec_of(**tables), candles=market(), home=home, tag=form.split(",")[0])
    return home


@pytest.fixture
def home(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "home"))


def record_of(home: Path, run: str) -> SessionRecord:
    return SessionRecord(place(home).store.find(run))


def again(home: Path, run: str, *overrides: str, **options: Any) -> Any:
    return ls.retrain(run, home=home, overrides=overrides, tag="again", **options)


@pytest.mark.parametrize("form", [form.split(",")[0] for form in FORMS])
def test_the_same_agent_learns_the_same_again_without_the_market_lived_in_or_the_old_run(
    home: Path, tmp_path: Path, form: str
) -> None:
    """R9.32, R9.51: the same weights to the last bit, judged alike; verified elsewhere once the old run is gone."""
    old = place(home).store.find(form)
    then, hash_ = old.result(), old.read("manifest")["journal_hash"]
    first, new = record_of(home, form), again(home, form)
    for name in ("state", "test", "validation", "verdict", "value", "first_loss", "last_loss", "agent"):
        assert new.summary[name] == then[name], name
    assert new.summary["session"]["replayed_from"] == hash_
    assert new.summary["replay"]["mode"] == "recorded"
    second = record_of(home, "again")
    for step in range(7):
        one, two = first.frame("batches", step), second.frame("batches", step)
        assert one.keys() == two.keys()
        assert all(np.array_equal(one[name], two[name]) for name in one)
    remove_run(form, place(home).store)
    export_run("again", tmp_path / "again.lockstep", place(home).store)
    import_run(tmp_path / "again.lockstep", place(tmp_path / "elsewhere").store)
    assert ls.replay("last", mode="recompute", home=tmp_path / "elsewhere").exit_code == 0


def test_another_agent_learns_from_the_same_batches(home: Path) -> None:
    """R9.32: wider layers, another algorithm with its own defaults; each experience as the first agent lived it."""
    first = record_of(home, "profit")
    wide = again(home, "profit", "agent.hidden=[16,16]")
    assert wide.summary["agent"]["shape"]["hidden"] == [16, 16]
    critic = ls.retrain("again", home=home, overrides=["agent.algorithm=actor_critic", "agent.tau=0.5"], tag="critic")
    settings = critic.summary["agent"]["settings"]
    assert (settings["tau"], settings["target_every"], settings["temperature"]) == (0.5, 1, 1.0)
    for run in ("again", "critic"):
        record = record_of(home, run)
        assert all(np.array_equal(record.step(k).samples, first.step(k).samples) for k in range(7))
        assert np.array_equal(record.columns["mean_reward"], first.columns["mean_reward"])
        assert np.array_equal(record.columns["profitable"], first.columns["profitable"])
        assert not np.array_equal(record.step(3).td_errors, first.step(3).td_errors)
    assert record_of(home, "critic").step(0).policy_loss is not None


def test_the_most_valuable_steps_alone(home: Path) -> None:
    """R9.33: in order of their value; only the experiences of these are pinned."""
    first = record_of(home, "profit")
    new = again(home, "profit", top=2)
    assert new.summary["steps"] == 2
    chosen = [first.step(step).samples for step in first.by_value()[:2]]
    assert [record_of(home, "again").step(k).samples.tolist() for k in range(2)] == [ids.tolist() for ids in chosen]
    assert new.summary["replay"]["experiences"] == len(np.unique(np.concatenate(chosen)))
    assert new.summary["agent"]["best_step"] is not None


def test_what_decides_the_experiences_stays_as_it_was(home: Path) -> None:
    for key, value in (("environment.lookback", 5), ("buffer.mode", "uniform"), ("training.batch_size", 4)):
        with pytest.raises(InputError, match=f"so {key} stays as it is"):
            again(home, "profit", f"{key}={value}")


def test_a_record_without_batches_or_whole_experiences_is_refused_and_a_damaged_snapshot_too(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R9.49: with what to do instead; the snapshot's bytes are checked before anything is learned from them."""
    ls.train(spec_of(recording={"level": "none"}), candles=market(), home=home, tag="bare")
    with pytest.raises(RefusedError, match='recorded at level "none"'):
        again(home, "bare")
    monkeypatch.setattr(
        experience_batches, "_SINGULAR", {**experience_batches._SINGULAR, "rewards": "not recorded then"}
    )
    with pytest.raises(RefusedError, match=r"keeps no whole experiences .* replay RUN --gradients"):
        again(home, "profit")
    monkeypatch.undo()
    digest = place(home).store.find(again(home, "profit").run_id).read("spec")["session"]["batches"]
    path = home / "snapshots" / f"{digest}.batches"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match="not the bytes its name says"):
        ls.replay("again", mode="recompute", home=home)
    path.unlink()
    with pytest.raises(DataError, match="there is no such snapshot"):
        ls.replay("again", mode="recompute", home=home)


class TestReplayOfPrioritized(TrainingContract):
    """The new run stops and goes on at every step: counts, errors and weights of samples come back."""

    @pytest.fixture(autouse=True)
    def _home(self, home: Path) -> None:
        self.home = home
        self.folder = RunFolder(again(home, "prioritized").folder)

    def make(self, seed: int) -> Training:
        spec = resolve(ReplayAgentSpec, {**self.folder.read("environment")["spec"], "seed": seed})
        prepared = KIND.restore(spec, self.folder, PrepareContext(blobs=FolderRunStore(self.home).blobs))
        return training_of(prepared, self.home)


# --------------------------------------------------------------------------------------------- sessions of RLTrainer

SHAPE = NetworkShape(inputs=INPUTS, hidden=(8,))


def test_a_session_of_a_trainer_begins_again_where_it_began(tmp_path: Path) -> None:
    """R9.32: the pinned agent on the pinned buffer's batches, although the trainer went on; with another rate too."""
    trainer = RLTrainer(DoubleDQN(SHAPE, seeds=SeedTree(1)), filled_buffer(), home=tmp_path)
    trainer.train_profit_weighted(updates=3, batch_size=16)
    told = trainer.train_profit_weighted(updates=6, batch_size=16)
    assert told.folder is not None
    old = RunFolder(told.folder)
    state = old.result()["state"]
    trainer.train_profit_weighted(updates=2, batch_size=16)
    new = again(tmp_path, str(told.session_id))
    assert new.summary["state"] == state
    assert ls.replay("again", mode="recompute", home=tmp_path).exit_code == 0
    again(tmp_path, "again", "agent.optimizer.learning_rate=0.01")
    slow, quick = SessionRecord(old), record_of(tmp_path, "last")
    assert quick.step(0).losses == slow.step(0).losses
    assert quick.step(1).losses != slow.step(1).losses


def test_a_session_of_a_trainer_on_another_agent_begins_with_weights_of_the_seed(tmp_path: Path) -> None:
    trainer = RLTrainer(DoubleDQN(SHAPE, seeds=SeedTree(1)), filled_buffer(), home=tmp_path)
    told = trainer.train_profit_weighted(updates=4, batch_size=16)
    new = again(tmp_path, str(told.session_id), "agent.algorithm=actor_critic", "agent.shape.hidden=[4]", "seed=7")
    assert (new.summary["steps"], new.summary["session"]["model"]) == (4, "actor_critic")
    fresh = ActorCritic(NetworkShape(inputs=INPUTS, hidden=(4,)), seeds=SeedTree(7)).learner.get_state()
    start = record_of(tmp_path, "again").segments.read("start")
    assert start is not None
    assert np.array_equal(start["weights"][0], fresh["weights"])
    with pytest.raises(InputError, match="one that cannot be made"):
        again(tmp_path, str(told.session_id), "agent.settings.epsilom_end=0.1")


def test_an_agent_of_somebody_else_is_not_gone_through_again(tmp_path: Path) -> None:
    told = RLTrainer(LinearSarsa(3), filled_buffer(), home=tmp_path).train_profit_weighted(updates=2, batch_size=8)
    with pytest.raises(RefusedError, match="Its gradients replay without it"):
        again(tmp_path, str(told.session_id))


# -------------------------------------------------------------------------------------------------- the buffer alone


def experiences(**changes: Any) -> RecordedExperiences:
    """Four experiences, two batches: 5, 9, 9 and 2."""
    ids = np.array([2, 5, 7, 9])
    profits = np.array([0.01, np.nan, 0.02, -0.01])
    arrays: dict[str, Any] = {
        "ids": ids,
        "states": np.arange(8, dtype=np.float32).reshape(4, 2),
        "actions": np.array([0, 1, 2, 0]),
        "rewards": np.array([0.1, 0.2, 0.3, 0.4]),
        "next_states": np.ones((4, 2), np.float32),
        "dones": np.array([False, True, False, False]),
        "actual_profits": profits,
        "profitability_scores": np.array([1.0, 0.0, 1.0, 0.0]),
        "optimal_actions": np.array([2, -1, 2, 0]),
        "outcome_validated": ~np.isnan(profits),
        "samples": np.array([5, 9, 9, 2]),
        "stops": np.array([3, 4]),
    }
    return RecordedExperiences.of({**arrays, **changes})


def test_recorded_batches_are_dealt_with_the_counts_and_errors_of_the_one_who_learns() -> None:
    """R9.24: an experience named twice is counted twice; its error is that of the last update here."""
    buffer = RecordedBuffer(experiences())
    batch = buffer.deal(0)
    assert batch.ids.tolist() == [5, 9, 9]
    assert batch.states.tolist() == [[2.0, 3.0], [6.0, 7.0], [6.0, 7.0]]
    assert batch.training_counts.tolist() == [1, 2, 2]
    assert batch.weights.tolist() == [1.0, 1.0, 1.0]
    buffer.update_priorities(batch.ids, np.array([1.0, 2.0, 3.0]))
    other = RecordedBuffer(buffer.experiences)
    other.set_state(through_storage(buffer.get_state()))
    assert other.deal(0).td_errors.tolist() == [1.0, 3.0, 3.0]
    assert (other.statistics()["unprofitable_draws"], other.statistics()["profitable"]) == (6, 2)
    assert other.deal(1)[0].optimal_action == 2
    chosen = buffer.experiences.chosen(np.array([9, 2]), np.array([2]), np.array([0.5, 1.0]))
    assert (len(chosen), chosen.steps, chosen.weighted) == (2, 1, True)
    assert RecordedReplay(experiences=chosen).draw(RecordedBuffer(chosen), 0).rewards.tolist() == [0.4, 0.1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"samples": np.array([5, 9, 8, 2])}, "one sample is none of them"),
        ({"samples": np.array([5, 9, 9, 10])}, "one sample is none of them"),
        ({"stops": np.array([3, 3])}, "at least one sample each"),
        ({"stops": np.array([3])}, "all samples"),
        ({"rewards": np.array([0.1])}, "not so: rewards"),
        ({"ids": np.array([2, 5, 5, 9])}, "one row of every fact per id"),
        ({"weights": np.ones(2)}, "one row of every fact per id"),
    ],
)
def test_recorded_experiences_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        experiences(**changes)


def test_a_snapshot_of_something_else_is_named(tmp_path: Path) -> None:
    """The batches of another kind are no experiences, and the other way round."""
    blobs = FolderBlobStore(tmp_path)
    order = write_batches({"numbers": np.arange(3), "stops": np.array([3])}, blobs)
    with pytest.raises(DataError, match="these are none of an agent"):
        recorded_experiences(SessionTable(batches=order), blobs)
    lived = write_batches(experiences().arrays(), blobs)
    with pytest.raises(DataError, match="holds other arrays"):
        recorded_order(SessionTable(batches=lived), blobs)
    assert len(recorded_experiences(SessionTable(batches=lived), blobs) or ()) == 4
