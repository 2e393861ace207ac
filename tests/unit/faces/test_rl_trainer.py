"""RLTrainer as a user has it: experiences, outcomes, updates in memory, and sessions that are runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from tests.contract.linear_sarsa import LinearSarsa

import lockstep as ls
from lockstep.clusters.in_process import InProcessExecutor
from lockstep.core.errors import InputError, Interrupted, NetworkError, RefusedError
from lockstep.episodes.outcomes import TrainingOutcome
from lockstep.faces.rl_trainer import RLTrainer
from lockstep.kinds.agent_session.data import AGENT, BUFFER
from lockstep.kinds.agent_session.kind import KIND
from lockstep.learning.gradients.record import RLTrainingStep, SessionRecord
from lockstep.learning.gradients.replay import replay_gradients
from lockstep.rl import PrioritizedExperienceBuffer, ProfitWeightedExperienceBuffer, RLExperience
from lockstep.rl.actor_critic import ActorCritic
from lockstep.rl.double_dqn import DoubleDQN
from lockstep.rl.live import LiveStep
from lockstep.rl.networks import NetworkShape
from lockstep.runs.cancel import Cancel
from lockstep.runs.folder import RunFolder
from lockstep.runs.kind import PrepareContext, RunContext
from lockstep.runs.restored_run import restore_run
from lockstep.runs.seeds import SeedTree
from lockstep.runs.spec import resolve
from lockstep.runs.store import FolderRunStore
from lockstep.runs.training import Training
from lockstep.testing.contracts.agent import INPUTS, filled_buffer
from lockstep.testing.contracts.training_kind import StopAfter, TrainingContract

SHAPE = NetworkShape(inputs=INPUTS, hidden=(8,))


def agent(seed: int = 1) -> DoubleDQN:
    return DoubleDQN(SHAPE, seeds=SeedTree(seed))


def outcome(profit: float) -> TrainingOutcome:
    return TrainingOutcome(
        actual_profit=profit,
        profitability_score=min(max(profit / 0.01, 0.0), 1.0),
        optimal_action=2,
        is_profitable=profit > 0.0,
        outcome_validated=True,
    )


def experience(number: int) -> RLExperience:
    state = np.array([number, 1.0, -1.0], np.float32)
    return RLExperience(state=state, action=number % 3, reward=0.01 * number, next_state=state + 1.0)


class TestSessionsOfAnAgent(TrainingContract):
    """The kind behind `train_profit_weighted`, from its pinned start."""

    @pytest.fixture(autouse=True)
    def _home(self, tmp_path: Path) -> None:
        self.home = tmp_path / "home"

    def make(self, seed: int) -> Training:
        spec = resolve(
            KIND.spec_model,
            {"kind": "agent-session", "seed": seed, "training": {"updates": 6, "batch_size": 16}},
        )
        objects = {AGENT: ActorCritic(SHAPE, seeds=SeedTree(seed)), BUFFER: filled_buffer(seed)}
        prepared = KIND.prepare(spec, PrepareContext(blobs=FolderRunStore(self.home).blobs, python_objects=objects))
        return KIND.training(prepared, RunContext(executor=InProcessExecutor(), blobs=FolderRunStore(self.home).blobs))


def test_an_outcome_that_follows_moves_an_experience_to_the_profitable_and_raises_its_weight() -> None:
    """R9.21, R9.25, R9.27."""
    trainer = RLTrainer(agent())
    ids = [trainer.add_experience(experience(number)) for number in range(10)]
    before = trainer.buffer.weight(ids[3])
    assert trainer.update_outcome(ids[3], outcome(0.008))
    assert trainer.buffer.weight(ids[3]) > before
    accounts = trainer.buffer.statistics()
    assert (accounts.profitable.size, accounts.unprofitable.size) == (1, 9)
    found = trainer.buffer.experience(ids[3])
    assert found is not None
    assert (found.actual_profit, found.optimal_action, found.is_profitable) == (0.008, 2, True)


def test_a_step_in_memory_tells_what_a_recorded_one_does() -> None:
    """R9.24, R9.26: gradients of all parameters, both losses, errors, profitability; counts and priorities move."""
    for made, policy in ((agent(), False), (ActorCritic(SHAPE, seeds=SeedTree(1)), True)):
        trainer = RLTrainer(made, filled_buffer())
        step = trainer.train_step(16)
        assert isinstance(step, LiveStep)
        assert (step.step_id, step.session_id) == ("live:0", None)
        assert set(step.gradients) == {slot.name for slot in made.learner.flat.layout.slots}
        assert (step.policy_loss is not None) == policy
        assert step.total_loss == pytest.approx(sum(v for k, v in step.losses.items() if k != "total"), rel=1e-5)
        assert 0.5 < step.profitable_share <= 1.0
        assert set(step.gradients) < set(step.model_state)
        for id_, error in zip(step.samples.tolist(), step.td_errors.tolist(), strict=True):
            after = trainer.buffer.experience(id_)
            assert after is not None
            assert (after.training_count, after.td_error) == (1, error)
        assert trainer.train_step(16).index == 1


def test_training_in_memory_and_in_a_session_are_the_same_updates(tmp_path: Path) -> None:
    """R9.28, R9.51: one `Agent.update`, one `sample_batch`; the recorded run gives the bits of the plain loop."""
    live, recorded = RLTrainer(agent(), filled_buffer()), RLTrainer(agent(), filled_buffer(), home=tmp_path)
    steps = [live.train_step(16) for _ in range(5)]
    told = recorded.train_profit_weighted(updates=5, batch_size=16)
    assert recorded.agent.learner.digest() == live.agent.learner.digest()
    assert told.folder is not None
    record = SessionRecord(RunFolder(told.folder))
    for step in steps:
        found = record.step(step.index)
        assert isinstance(found, RLTrainingStep)
        assert found.losses == step.losses
        assert found.value == step.value
        assert np.array_equal(found.td_errors, step.td_errors)
        assert np.array_equal(found.samples, step.samples)
        for name, array in step.gradients.items():
            assert np.array_equal(found.gradients[name], array)
        for name, array in step.model_state.items():
            assert np.array_equal(found.model_state[name], array)
    left, right = (trainer.buffer.get_state() for trainer in (live, recorded))
    assert np.array_equal(left["store"]["ints"], right["store"]["ints"])


def test_without_a_known_profit_nothing_is_trained(tmp_path: Path) -> None:
    """As it is for episodes: a status, and the agent untouched."""
    trainer = RLTrainer(agent(), home=tmp_path)
    trainer.add_experience(experience(1))
    before = trainer.agent.learner.digest()
    told = trainer.train_profit_weighted()
    assert (told.status, told.experiences, told.session_id) == ("no_experiences", 1, None)
    assert trainer.agent.learner.digest() == before
    assert not (tmp_path / "runs").exists()


def test_a_stopped_session_leaves_the_agent_as_it_was_and_resumes(tmp_path: Path, monkeypatch: Any) -> None:
    """R9.50: afterwards agent and buffer are those of a session that was never stopped."""
    whole = RLTrainer(agent(), filled_buffer(), home=tmp_path / "whole")
    whole.train_profit_weighted(updates=9, batch_size=16)
    trainer = RLTrainer(agent(), filled_buffer(), home=tmp_path / "stopped")
    before = trainer.agent.learner.digest()
    train = ls.train

    def stopping(spec: Any, **options: Any) -> Any:
        cancel = Cancel()
        return train(spec, cancel=cancel, observers=[StopAfter(cancel, 4)], **options)

    monkeypatch.setattr("lockstep.faces.rl_trainer.train", stopping)
    with pytest.raises(Interrupted, match="stopped after 4 steps"):
        trainer.train_profit_weighted(updates=9, batch_size=16)
    assert trainer.agent.learner.digest() == before
    with pytest.raises(InputError, match=r"capacity and rules, \{'capacity': .*found \{'capacity': 8\}"):
        RLTrainer(agent(), ProfitWeightedExperienceBuffer(8), home=tmp_path / "stopped").resume()
    trainer = RLTrainer(agent(7), filled_buffer(5), home=tmp_path / "stopped")  # another process has other objects
    told = trainer.resume()
    assert told.steps == 9
    assert trainer.agent.learner.digest() == whole.agent.learner.digest()
    assert trainer.buffer.check_valid() == (True, "")
    one, two = trainer.buffer.sample_batch(8), whole.buffer.sample_batch(8)
    assert np.array_equal(one.ids, two.ids)
    assert np.array_equal(one.states, two.states)
    monkeypatch.undo()
    replayed = ls.retrain("last", home=tmp_path / "stopped")
    assert replayed.summary["state"] == whole.agent.learner.digest()
    with pytest.raises(RefusedError, match="goes on with what train_profit_weighted began"):
        trainer.resume(replayed.run_id)


def test_an_agent_of_somebody_else_trains_in_sessions_and_replays_without_its_code(tmp_path: Path) -> None:
    """R9.41: its record suffices for its gradients; computing it again needs its class, and says so."""
    trainer = RLTrainer(LinearSarsa(3), filled_buffer(), home=tmp_path)
    told = trainer.train_profit_weighted(updates=4, batch_size=16)
    assert told.folder is not None
    folder = RunFolder(told.folder)
    assert replay_gradients(SessionRecord(folder)).state == trainer.agent.learner.digest()
    assert folder.read("data")["agent_source"] is not None
    with pytest.raises(RefusedError, match="Its gradients replay without it"):
        restore_run(folder, tmp_path)


def test_what_is_no_agent_is_refused_with_what_it_lacks() -> None:
    """R9.41."""

    class Half:
        def act(self, states: Any) -> Any:
            return states

    with pytest.raises(InputError, match="found Half, which lacks describe, explore, get_state, learner"):
        RLTrainer(Half())  # type: ignore[arg-type]


def test_a_buffer_that_draws_by_other_rules_is_refused() -> None:
    """Its second argument of `sample_batch` is another one: True would be taken for a beta of 1."""
    with pytest.raises(InputError, match="found PrioritizedExperienceBuffer"):
        RLTrainer(agent(), PrioritizedExperienceBuffer(8))  # type: ignore[arg-type]


def test_an_empty_buffer_and_a_spec_without_objects_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="the buffer holds none"):
        RLTrainer(agent(), ProfitWeightedExperienceBuffer(4)).train_step()
    with pytest.raises(InputError, match="an agent and a buffer that Python gives it"):
        ls.train({"kind": "agent-session"}, home=tmp_path)


class _CountsItsUpdates(LinearSarsa):
    updates = 0

    def update(self, step: int, batch: Any, learning_rate: float | None = None) -> Any:
        self.updates += 1
        return super().update(step, batch, learning_rate)


class _FailsAtTwo(LinearSarsa):
    def update(self, step: int, batch: Any, learning_rate: float | None = None) -> Any:
        if step == 2:
            raise ValueError("two")
        return super().update(step, batch, learning_rate)


def test_an_agent_with_state_that_a_checkpoint_lacks_makes_no_run_and_one_that_fails_later_names_the_step(
    tmp_path: Path,
) -> None:
    """R9.41: before its run by the rehearsal, in it by step and line; the buffer is as before."""
    trainer = RLTrainer(_CountsItsUpdates(1), filled_buffer(), home=tmp_path)
    draws = trainer.buffer.statistics().profitable.draws
    with pytest.raises(NetworkError, match=r"changes updates, which is no part of what get_state"):
        trainer.train_profit_weighted(updates=3)
    assert not len(ls.sessions(home=tmp_path))
    assert trainer.buffer.statistics().profitable.draws == draws
    with pytest.raises(NetworkError, match=r"step 2, test_rl_trainer.py, line \d+: the agent _FailsAtTwo fails: .*two"):
        RLTrainer(_FailsAtTwo(1), filled_buffer(), home=tmp_path).train_profit_weighted(updates=3)


class _KeepsTensors(LinearSarsa):
    def get_state(self) -> dict[str, Any]:
        return {**super().get_state(), "average": self.learner.flat.weights}


class _DescribesObjects(LinearSarsa):
    def describe(self) -> dict[str, Any]:
        return {"algorithm": object()}


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (_KeepsTensors, r"get_state\(\) returns numbers.*found Parameter|found Tensor"),
        (_DescribesObjects, r"describe\(\) returns"),
    ],
)
def test_a_state_that_no_checkpoint_holds_is_refused_in_words(
    tmp_path: Path, kind: type[LinearSarsa], text: str
) -> None:
    with pytest.raises(NetworkError, match=text):
        RLTrainer(kind(1), filled_buffer(), home=tmp_path).train_profit_weighted(updates=3)
