"""Sessions of the trainers computed again in a fresh process, from nothing but what was recorded of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from tests.unit.episodes.episode_markets import SYMBOL, collected
from tests.unit.faces.networks import mine, small, state

import lockstep as ls
from lockstep.bootstrap import place
from lockstep.episodes.book import EpisodeBook
from lockstep.faces.cnn_trainer import CNNTrainer
from lockstep.faces.rl_trainer import RLTrainer
from lockstep.learning.gradients.record import SessionRecord
from lockstep.learning.gradients.replay import replay_gradients
from lockstep.learning.gradients.sessions import list_sessions, load_session
from lockstep.rl.double_dqn import DoubleDQN
from lockstep.rl.networks import NetworkShape
from lockstep.runs.folder import RunFolder
from lockstep.runs.seeds import SeedTree
from lockstep.testing.contracts.agent import INPUTS, filled_buffer

FAST = {"training": {"epochs": 2, "batch_size": 16}, "recording": {"snapshot_every": 3}}


def trainer_of(model: torch.nn.Module, home: Path, book: EpisodeBook, **options: Any) -> CNNTrainer:
    return CNNTrainer(model, episodes=book, home=home, **{"settings": FAST, **options})


def test_any_module_with_three_heads_is_trained(tmp_path: Path) -> None:
    """R9.41: a user's class with heads in a mapping; its source and its arguments travel, verify computes it again."""
    model = mine(hidden=5)
    trainer = trainer_of(model, tmp_path, collected(300), parameters={"hidden": 5})
    told = trainer.train_on_profitable_episodes(SYMBOL, 0.7, 40)
    folder = RunFolder(told.folder)
    assert folder.read("spec")["network"]["name"] == "three_heads.py:ThreeHeads"
    assert (folder.sources / "three_heads.py").is_file()
    assert ls.verify(str(told.session_id), home=tmp_path).equal


def test_layers_that_were_frozen_in_the_object_are_not_trained(tmp_path: Path) -> None:
    """R9.41: freezing is no argument of the class; it travels with the weights, into the replay and into verify too."""
    model = small(3)
    frozen = [name for name, _ in model.named_parameters()][:2]
    for name, value in model.named_parameters():
        value.requires_grad_(name not in frozen)
    model.eval()
    before = state(model)
    told = trainer_of(model, tmp_path, collected(300)).train_on_profitable_episodes(SYMBOL, 0.7, 40)
    after = state(model)
    assert {name for name in before if after[name] == before[name]} == set(frozen)
    # BatchNorm's running means and counts are the session's; flags and mode stay as the user set them.
    assert {name for name, _ in model.named_buffers() if after[name] != before[name]}
    assert [name for name, value in model.named_parameters() if not value.requires_grad] == frozen
    assert not model.training
    record = SessionRecord(RunFolder(told.folder))
    assert not set(record.step(0).gradients) & set(frozen)
    assert replay_gradients(record, check_every=1).checked == told.steps
    assert ls.verify(str(told.session_id), home=tmp_path).equal


def test_a_session_is_a_run_with_a_value_that_replays_and_verifies(tmp_path: Path) -> None:
    """R9.28 to R9.31, R9.51: listed by value, gradients to the last bit, computed again in a fresh process."""
    agent = DoubleDQN(NetworkShape(inputs=INPUTS, hidden=(8,)), seeds=SeedTree(1))
    trainer = RLTrainer(agent, filled_buffer(), home=tmp_path, symbol="BTC/USDT", recording={"snapshot_every": 3})
    told = trainer.train_profit_weighted(updates=8, batch_size=16)
    assert (told.status, told.experiences, told.steps) == ("complete", 60, 8)
    assert told.profitable == filled_buffer().profitable_size
    assert told.mean_losses.keys() == {"total", "q"}
    assert told.folder is not None
    folder = RunFolder(told.folder)
    session = load_session(folder)
    assert (session.session_id, session.symbol, session.model_name) == (told.session_id, "BTC/USDT", "double_dqn")
    assert session.value == told.value
    replayed = replay_gradients(SessionRecord(folder))
    assert replayed.state == trainer.agent.learner.digest()
    assert ls.verify("last", home=tmp_path).exit_code == 0
    trainer.train_profit_weighted(updates=2, batch_size=16)
    assert len(list_sessions(place(tmp_path).store)) == 2
