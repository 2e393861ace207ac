"""What every agent must do, as tests: subclass `AgentContract`, say how to make yours, run pytest.

    class TestMine(AgentContract):
        def make(self, seed):
            return MyAgent(inputs=3, actions=3, seed=seed)

The suite plays a seeded little training against it. An agent that passes can be recorded, interrupted anywhere,
resumed, and replayed from its gradients. torch and pytest are needed.
"""

# ruff: noqa: S101 - these are tests; pytest rewrites their assertions where they are subclassed

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np

from lockstep.core import canonical
from lockstep.core.hashing import digest_columns
from lockstep.learning.gradients.record import RLTrainingStep, SessionRecord
from lockstep.learning.gradients.recorder import Recorder, Recording
from lockstep.learning.gradients.replay import replay_gradients
from lockstep.rl.agent import Q_LOSS, Agent
from lockstep.rl.experience import ExperienceBatch
from lockstep.rl.replay_buffer import ProfitWeightedExperienceBuffer
from lockstep.rl.training import FixedExperiences, Replay, ReplayTraining
from lockstep.runs.checkpoint import through_storage
from lockstep.runs.loop import execute
from lockstep.testing.contracts.training_kind import fingerprint, new_folder

INPUTS = 3
ACTIONS = 3


def filled_buffer(seed: int = 1, experiences: int = 60) -> ProfitWeightedExperienceBuffer:
    """Made-up experiences of states (3,) and three actions, of which about half turned out profitable."""
    rng = np.random.Generator(np.random.Philox(key=seed))
    buffer = ProfitWeightedExperienceBuffer(200, seed=seed, state_shape=(INPUTS,))
    profit = rng.normal(0.0, 0.01, experiences)
    buffer.add_batch(
        states=rng.normal(size=(experiences, INPUTS)).astype(np.float32),
        next_states=rng.normal(size=(experiences, INPUTS)).astype(np.float32),
        actions=rng.integers(0, ACTIONS, experiences),
        rewards=profit,
        dones=rng.random(experiences) < 0.1,
        actual_profits=profit,
        profitability_scores=np.clip(profit / 0.01, 0.0, 1.0),
        optimal_actions=rng.integers(0, ACTIONS, experiences),
        outcome_validated=np.ones(experiences, bool),
    )
    return buffer


def batch(seed: int = 1, size: int = 16) -> ExperienceBatch:
    """`size` experiences drawn from `filled_buffer`, columns (size, ...)."""
    return filled_buffer(seed).sample_batch(size)


def play(agent: Agent, start: int, updates: int) -> list[str]:
    """Updates with made-up batches; returns the digest of the agent's learner after each."""
    digests = []
    for step in range(start, start + updates):
        agent.update(step, batch(step))
        digests.append(agent.learner.digest())
    return digests


class AgentContract(ABC):
    """Tests of one agent; a subclass defines `make` only."""

    @abstractmethod
    def make(self, seed: int) -> Agent:
        """A new agent for states of 3 numbers and 3 actions."""

    def test_it_conforms(self) -> None:
        """R9.41: everything that a trainer calls is there."""
        assert isinstance(self.make(1), Agent)

    def test_the_same_seed_gives_the_same_updates(self) -> None:
        """R9.51: also seed 0, also twice in one process."""
        for seed in (0, 42):
            assert play(self.make(seed), 0, 6) == play(self.make(seed), 0, 6)

    def test_another_seed_gives_other_weights(self) -> None:
        """A seed that changes nothing is not used."""
        assert play(self.make(1), 0, 1) != play(self.make(2), 0, 1)

    def test_an_update_changes_the_weights_and_tells_losses_and_errors(self) -> None:
        """R9.26: a loss of action values, one finite td error for each experience."""
        agent, experiences = self.make(1), batch()
        before = agent.learner.digest()
        outcome = agent.update(0, experiences)
        assert agent.learner.digest() != before
        assert {"total", Q_LOSS} <= outcome.update.losses.keys()
        assert outcome.q_loss == outcome.update.losses[Q_LOSS]
        assert outcome.td_errors.shape == (len(experiences),)
        assert outcome.td_errors.dtype == np.float64
        assert bool(np.isfinite(outcome.td_errors).all())

    def test_interrupted_after_any_update_it_goes_on_as_if_it_had_not_been(self) -> None:
        """R9.51: a state as a checkpoint stores it, set in an agent of another seed."""
        for updates in range(6):
            first, second = self.make(1), self.make(2)
            play(first, 0, updates)
            second.set_state(through_storage(first.get_state()))
            assert play(first, updates, 4) == play(second, updates, 4)
            assert explored(first) == explored(second)

    def test_a_state_is_a_copy(self) -> None:
        """Going on does not change a state taken before."""
        agent = self.make(1)
        state = agent.get_state()
        after = play(agent, 0, 3)
        agent.set_state(state)
        assert play(agent, 0, 3) == after

    def test_acting_and_exploring_change_nothing(self) -> None:
        """Looking at an agent, however often, leaves its training as it would have been."""
        agent, states = self.make(1), batch().states
        before = agent.learner.digest()
        first = agent.act(states)
        explored(agent)
        assert np.array_equal(agent.act(states), first)
        assert agent.learner.digest() == before
        assert first.shape == (len(states),)
        assert first.dtype == np.int64
        assert set(first.tolist()) <= set(range(ACTIONS))

    def test_one_state_is_answered_as_in_a_batch(self) -> None:
        """A batch is many states, nothing more."""
        agent, states = self.make(1), batch().states
        assert [int(agent.act(states[k : k + 1])[0]) for k in range(len(states))] == agent.act(states).tolist()

    def test_exploring_takes_all_its_chance_from_the_generator(self) -> None:
        """The same generator, the same actions; every action is tried."""
        agent = self.make(1)
        assert explored(agent) == explored(agent)
        assert set(explored(agent)) == set(range(ACTIONS))

    def test_its_description_is_canonical_json(self) -> None:
        """It goes into the record of a run."""
        agent = self.make(1)
        description = agent.describe()
        assert canonical.loads(canonical.dumps(description)) == canonical.loads(canonical.dumps(dict(description)))

    def test_its_gradients_replay_to_the_last_bit(self, tmp_path: Path) -> None:
        """R9.26, R9.31: stored gradients and buffers lead to the final state without the agent's code."""
        agent, buffer = self.make(1), filled_buffer()
        training = ReplayTraining(
            agent,
            buffer,
            Recorder(Recording(snapshot_every=4), agent.learner),
            Replay(updates=10, batch_size=16),
            FixedExperiences({}),
        )
        folder = new_folder(tmp_path / "run", 1)
        execute(training, folder, fingerprint=fingerprint(1))
        record = SessionRecord(folder)
        assert replay_gradients(record, check_every=1).checked == 10
        step = record.step(6)
        assert isinstance(step, RLTrainingStep)
        assert step.td_errors.shape == (16,)
        assert digest_columns(record.state_after(9)) == agent.learner.digest()


def explored(agent: Agent, step: int = 0) -> list[int]:
    """60 actions that the agent takes while exploring, in one state of zeros."""
    rng = np.random.Generator(np.random.Philox(key=5))
    states: Any = np.zeros((1, INPUTS), np.float32)
    return [agent.explore(states[0], step, rng) for _ in range(60)]
