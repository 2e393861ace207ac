"""A user's agent is rehearsed before its run: what no run could repeat is refused in words, and its state is as before.

Each unsound agent is `LinearSarsa` with one fault.
"""

from __future__ import annotations

import random
from collections import deque
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from tests.contract.linear_sarsa import LinearSarsa

from lockstep.core.errors import NetworkError
from lockstep.kinds.shared.agent_rehearsal import is_of_user, rehearse_agent
from lockstep.learning.gradients.learner import Learner, Losses
from lockstep.learning.gradients.optim_state import OptimizerSettings
from lockstep.rl.agent import AgentUpdate
from lockstep.rl.double_dqn import DoubleDQN
from lockstep.rl.networks import NetworkShape
from lockstep.runs.seeds import SeedTree
from lockstep.testing.contracts.agent import INPUTS, filled_buffer

CALLS = [0]


class Sound(LinearSarsa):
    """Keeps a counter, a target network and recent losses, and lists all of them."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.calls = 0
        self.recent: deque[float] = deque(maxlen=3)
        self.target = torch.nn.Linear(INPUTS, 3)

    def update(self, step: int, batch: Any, learning_rate: float | None = None) -> AgentUpdate:
        self.calls += 1
        result = super().update(step, batch, learning_rate)
        self.recent.append(result.update.losses["total"])
        with torch.no_grad():
            self.target.weight.lerp_(self.learner.module.weight, 0.1)
        return result

    def get_state(self) -> dict[str, Any]:
        target = {name: value.numpy().copy() for name, value in self.target.state_dict().items()}
        return {"learner": super().get_state(), "calls": self.calls, "recent": list(self.recent), "target": target}

    def set_state(self, state: Any) -> None:
        super().set_state(state["learner"])
        self.calls, self.recent = state["calls"], deque(state["recent"], maxlen=3)
        self.target.load_state_dict({name: torch.from_numpy(array) for name, array in state["target"].items()})


class Counts(LinearSarsa):
    calls = 0

    def update(self, step: int, batch: Any, learning_rate: float | None = None) -> AgentUpdate:
        self.calls = self.calls + 1
        return super().update(step, batch, learning_rate)


class CountsInFile(LinearSarsa):
    def update(self, step: int, batch: Any, learning_rate: float | None = None) -> AgentUpdate:
        CALLS[0] += 1
        return super().update(step, batch, learning_rate)


class Remembers(LinearSarsa):
    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.recent: deque[float] = deque(maxlen=3)

    def update(self, step: int, batch: Any, learning_rate: float | None = None) -> AgentUpdate:
        result = super().update(step, batch, learning_rate)
        self.recent.append(result.update.losses["total"] + len(self.recent))
        return result


class HidesItsTarget(Sound):
    def get_state(self) -> dict[str, Any]:
        return {**super().get_state(), "target": {}}

    def set_state(self, state: Any) -> None:
        LinearSarsa.set_state(self, state["learner"])
        self.calls, self.recent = state["calls"], deque(state["recent"], maxlen=3)


class OwnOptimiser(LinearSarsa):
    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.scale = torch.nn.Parameter(torch.ones(1))
        self.adam = torch.optim.Adam([self.scale])

    def update(self, step: int, batch: Any, learning_rate: float | None = None) -> AgentUpdate:
        self.scale.grad = torch.ones(1)
        self.adam.step()
        return super().update(step, batch, learning_rate)


class ForgetsItsCounter(Sound):
    def set_state(self, state: Any) -> None:
        super().set_state({**state, "calls": self.calls})


class NumpyDice(LinearSarsa):
    def update(self, step: int, batch: Any, learning_rate: float | None = None) -> AgentUpdate:
        np.random.rand()  # noqa: NPY002
        return super().update(step, batch, learning_rate)


class PythonDiceInAct(LinearSarsa):
    def act(self, states: Any) -> Any:
        random.random()
        return super().act(states)


class TorchDiceOutside(LinearSarsa):
    def update(self, step: int, batch: Any, learning_rate: float | None = None) -> AgentUpdate:
        result = super().update(step, batch, learning_rate)
        return AgentUpdate(update=result.update, td_errors=result.td_errors + torch.rand(len(batch)).numpy())


class DrawsInAct(LinearSarsa):
    def act(self, states: Any) -> Any:
        return torch.randint(0, 1000, (len(states),)).numpy()


class ActsAndLearns(LinearSarsa):
    def act(self, states: Any) -> Any:
        with torch.no_grad():
            self.learner.module.bias.add_(1.0)
        return np.zeros(len(states), np.int64)


class Clips(LinearSarsa):
    def update(self, step: int, batch: Any, learning_rate: float | None = None) -> AgentUpdate:
        result = super().update(step, batch, learning_rate)
        with torch.no_grad():
            self.learner.module.weight.clamp_(-0.01, 0.01)
        return result


class Threads(LinearSarsa):
    def update(self, step: int, batch: Any, learning_rate: float | None = None) -> AgentUpdate:
        result = super().update(step, batch, learning_rate)
        torch.set_num_threads(2)
        return result


class FloatErrors(LinearSarsa):
    def update(self, step: int, batch: Any, learning_rate: float | None = None) -> AgentUpdate:
        result = super().update(step, batch, learning_rate)
        return AgentUpdate(update=result.update, td_errors=result.td_errors.astype(np.float32))


class Unnamed(LinearSarsa):
    def update(self, step: int, batch: Any, learning_rate: float | None = None) -> AgentUpdate:
        def compute(module: Any) -> Losses:
            loss = module(torch.from_numpy(batch.states)).square().mean()
            return Losses(total=loss, parts={"policy": loss})

        return AgentUpdate(update=self.learner.update(step, compute), td_errors=np.zeros(len(batch)))


class NotFinite(LinearSarsa):
    def update(self, step: int, batch: Any, learning_rate: float | None = None) -> AgentUpdate:
        loss = self.learner.update(step, lambda module: Losses(total=module.weight.sum() / 0.0, parts={}))
        return AgentUpdate(update=loss, td_errors=np.zeros(len(batch)))


class Raises(LinearSarsa):
    def update(self, step: int, batch: Any, learning_rate: float | None = None) -> AgentUpdate:
        raise KeyError("nothing here")


class OneAction(LinearSarsa):
    def act(self, states: Any) -> Any:
        return 1


class Nothing(LinearSarsa):
    def update(self, step: int, batch: Any, learning_rate: float | None = None) -> Any:
        return None


class CannotBeSet(LinearSarsa):
    def set_state(self, state: Any) -> None:
        raise ValueError("not here")


def rehearse(agent: Any) -> None:
    buffer = filled_buffer()
    rehearse_agent(agent, (buffer.sample_batch(16), buffer.sample_batch(16)), seeds=SeedTree(1))


@pytest.mark.parametrize("kind", [LinearSarsa, Sound])
def test_an_agent_whose_state_is_listed_passes_and_has_its_state_again(kind: type[LinearSarsa]) -> None:
    """R9.41: all that updates change is in `get_state`, so nothing of the rehearsal is left."""
    agent = kind(1)
    before, weights = agent.learner.digest(), agent.get_state()
    rehearse(agent)
    assert agent.learner.digest() == before
    if isinstance(agent, Sound):
        assert (agent.calls, list(agent.recent)) == (weights["calls"], weights["recent"])


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Counts, r"Counts: update\(\) changes calls, which is no part of what get_state\(\) returns.*Return it from"),
        (CountsInFile, r"update\(\) changes CALLS \(of the file\)\[0\]"),
        (Remembers, r"update\(\) changes len\(recent\)"),
        (HidesItsTarget, r"update\(\) changes target.weight"),
        (OwnOptimiser, r"update\(\) changes scale, which"),
        (ForgetsItsCounter, r"update\(\) changes calls, which"),
        (NumpyDice, r"update\(\) draws from NumPy's generator"),
        (PythonDiceInAct, r"act\(\) or explore\(\) draws from Python's generator.*act\(\) draws nothing"),
        (TorchDiceOutside, r"twice, gives equal td errors; they differ.*inside the function that learner.update"),
        (DrawsInAct, r"gives equal actions of act\(\); they differ"),
        (ActsAndLearns, r"act\(\) and explore\(\) change nothing.*Change state in update\(\) alone"),
        (Clips, r"weights change by learner.update\(\) alone"),
        (Threads, r"changes a switch of torch, set_num_threads, from 1 to 2"),
        (FloatErrors, r"as float64 \(16,\); found float32 \(16,\)"),
        (Unnamed, r"have a part 'q'.*found \['policy', 'total'\]"),
        (NotFinite, r"NotFinite: step 0: a gradient has to be finite"),
        (Raises, r"rehearsal, test_agent_rehearsal.py, line \d+: the agent Raises fails: KeyError: 'nothing here'"),
        (Nothing, r"update\(\) returns lockstep.rl.agent.AgentUpdate.*found NoneType"),
        (CannotBeSet, r"line \d+: the agent CannotBeSet fails: ValueError: not here"),
        (OneAction, r"one action for each state, int64 \(8,\); found int"),
    ],
)
def test_an_agent_that_no_run_could_repeat_is_refused_before_its_run(kind: type[LinearSarsa], message: str) -> None:
    """R9.41: with the rule, the place and a cure; its learner, the generators and the switches are as before."""
    agent = kind(1)
    before = agent.learner.digest()
    dice = np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    with pytest.raises(NetworkError, match=message) as caught:
        rehearse(agent)
    assert caught.value.exit_code == 2
    assert agent.learner.digest() == before
    assert (np.random.get_state()[1].tolist(), random.getstate()) == dice  # noqa: NPY002
    assert torch.get_num_threads() == 1


def test_agents_of_lockstep_are_none_of_the_users_and_networks_of_users_make_an_agent_theirs() -> None:
    class Mine(torch.nn.Linear):
        pass

    built_in = DoubleDQN(NetworkShape(inputs=INPUTS, hidden=(4,)), seeds=SeedTree(1))
    assert not is_of_user(built_in)
    assert is_of_user(LinearSarsa(1))
    built_in._learner = Learner(Mine(INPUTS, 3), OptimizerSettings(), seeds=SeedTree(1))
    assert is_of_user(built_in)
