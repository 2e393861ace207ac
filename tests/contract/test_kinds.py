"""Every kind keeps the contract of kinds, and none makes a step of its training, or times one, while it is prepared."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from tests.unit.episodes.episode_markets import SYMBOL, collected
from tests.unit.kinds import agent_builders, builders, classifier_builders, cnn_builders
from torch.optim.optimizer import register_optimizer_step_pre_hook

from lockstep.core.errors import MissingLibraryError, NetworkError
from lockstep.kinds.agent_session import kind as agent_session
from lockstep.kinds.agent_session.data import AGENT, BUFFER
from lockstep.kinds.classifier import keras as classifier_keras
from lockstep.kinds.classifier import kind as classifier
from lockstep.kinds.cnn import kind as cnn
from lockstep.kinds.cnn_episodes import data as episodes_data
from lockstep.kinds.cnn_episodes import kind as cnn_episodes
from lockstep.kinds.replay_agent import kind as replay_agent
from lockstep.kinds.shared import step_timing
from lockstep.kinds.strategy import kind as strategy
from lockstep.rl.actor_critic import ActorCritic
from lockstep.rl.networks import NetworkShape
from lockstep.runs.seeds import SeedTree
from lockstep.testing import gradient_kind, toy_kind
from lockstep.testing.contracts.agent import INPUTS, filled_buffer
from lockstep.testing.contracts.training_kind import KindContract


class Untrained(KindContract):
    """Whatever is trained with torch steps a torch optimiser, so all of them are heard, however they are called."""

    def test_preparing_makes_no_step(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*arguments: Any, **options: Any) -> None:
            raise AssertionError("preparing times nothing")

        for place, name in ((step_timing, "step_duration"), (strategy, "_timed")):
            monkeypatch.setattr(place, name, refuse)
        steps: list[Any] = []
        handle = register_optimizer_step_pre_hook(lambda *arguments: steps.append(arguments))
        try:
            self.prepared(tmp_path)
        finally:
            handle.remove()
        assert steps == []


class TestStrategy(Untrained):
    kind = strategy.KIND

    def values(self) -> Mapping[str, Any]:
        return builders.values()


class TestCnn(Untrained):
    kind = cnn.KIND

    def values(self) -> Mapping[str, Any]:
        return cnn_builders.values()

    def objects(self) -> Mapping[str, Any]:
        return {"data.candles": cnn_builders.candles_of()}

    def test_an_estimate_is_what_steps(self, tmp_path: Path) -> None:
        """The question above can fail: the same hook hears the steps that an estimate times."""
        prepared, context = self.prepared(tmp_path)
        steps: list[Any] = []
        handle = register_optimizer_step_pre_hook(lambda *arguments: steps.append(arguments))
        try:
            self.kind.estimate(prepared, context)
        finally:
            handle.remove()
        assert len(steps) > 3

    def test_a_large_network_that_cannot_work_fails_before_there_is_a_run(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is not made while it is prepared; it is tried when it is made to be timed, which `train` does."""
        monkeypatch.setattr(step_timing, "LARGE", 0)
        (tmp_path / "blind.py").write_text(BLIND)
        blind = {**cnn_builders.values(), "network": {"name": "blind.py:Blind"}}
        monkeypatch.setattr(self, "values", lambda: blind)
        prepared, context = self.prepared(tmp_path)
        assert self.kind.estimate(prepared, context, time_large=False).seconds is None
        with pytest.raises(NetworkError, match="three heads"):
            self.kind.estimate(prepared, context)


BLIND = """
from torch import nn


class Blind(nn.Module):
    def __init__(self, channels, window, classes):
        super().__init__()
        self.body = nn.Linear(channels * window, classes)

    def forward(self, x):
        return self.body(x.flatten(1))
"""


class TestEpisodes(Untrained):
    kind = cnn_episodes.KIND

    def values(self) -> Mapping[str, Any]:
        network = {"parameters": {"filters": [4, 4, 4], "hidden": 8}}
        return {"kind": "cnn-episodes", "episodes": {"symbol": SYMBOL}, "network": network}

    def objects(self) -> Mapping[str, Any]:
        return {episodes_data.BOOK_KEY: collected(200)}


class TestClassifier(Untrained):
    kind = classifier.KIND

    def values(self) -> Mapping[str, Any]:
        return {"kind": "classifier", **classifier_builders.SMALL}


@pytest.mark.skipif(importlib.util.find_spec("keras") is None, reason="Keras is not installed")
class TestKerasClassifier(Untrained):
    kind = classifier_keras.KERAS_KIND

    def values(self) -> Mapping[str, Any]:
        return {"kind": "classifier-keras", **classifier_builders.SMALL}


class TestReplayAgent(Untrained):
    kind = replay_agent.KIND

    def values(self) -> Mapping[str, Any]:
        return {"kind": "replay-agent", **agent_builders.SMALL}

    def objects(self) -> Mapping[str, Any]:
        return {"data.candles": agent_builders.market()}


class TestAgentSession(Untrained):
    kind = agent_session.KIND

    def values(self) -> Mapping[str, Any]:
        return {"kind": "agent-session", "training": {"updates": 5, "batch_size": 8}}

    def objects(self) -> Mapping[str, Any]:
        return {
            AGENT: ActorCritic(NetworkShape(inputs=INPUTS, hidden=(8,)), seeds=SeedTree(3)),
            BUFFER: filled_buffer(3),
        }


class TestToy(KindContract):
    kind = toy_kind.KIND

    def values(self) -> Mapping[str, Any]:
        return {"kind": "toy", "steps": 4, "batch": 5}


class TestToyGradients(KindContract):
    kind = gradient_kind.KIND

    def values(self) -> Mapping[str, Any]:
        return {"kind": "toy-gradients"}


LEARNING = [cnn.KIND, cnn_episodes.KIND, classifier.KIND, replay_agent.KIND, agent_session.KIND]


@pytest.mark.parametrize("kind", LEARNING, ids=lambda kind: kind.name)
def test_without_torch_a_kind_is_listed_its_spec_checked_and_its_training_refused(
    kind: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    values = {"episodes": {"symbol": SYMBOL}} if kind is cnn_episodes.KIND else {}
    contract = Untrained()
    contract.kind = kind
    monkeypatch.setattr(contract, "values", lambda: {"kind": kind.name, **values})
    with pytest.raises(MissingLibraryError, match=rf'kind = "{kind.name}" needs torch.*pip install -e .*\[ml\]'):
        contract.prepared(tmp_path)
