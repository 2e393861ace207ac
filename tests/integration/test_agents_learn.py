"""Agents on decision processes whose solution is known, and on markets with a trend and without one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from tests.unit.kinds.agent_builders import market, run_of

from lockstep.learning.gradients.optim_state import OptimizerSettings
from lockstep.market.candles import Candles
from lockstep.rl import ProfitWeightedExperienceBuffer
from lockstep.rl.actor_critic import ActorCritic, ActorCriticSettings
from lockstep.rl.double_dqn import DoubleDQN, DoubleDQNSettings
from lockstep.rl.learning_agent import LearningAgent
from lockstep.rl.networks import NetworkShape
from lockstep.runs.seeds import SeedTree


def chain() -> tuple[Any, Any]:
    """4 states, 3 actions: where each leads, and what it brings. A detour pays: greed for the next reward errs."""
    leads = np.array([[0, 1, 2], [3, 0, 1], [2, 3, 0], [0, 2, 3]])
    brings = np.array([[0.2, 0.0, -0.1], [1.0, 0.1, 0.0], [0.1, -0.5, 0.0], [0.0, 0.3, 0.05]])
    return leads, brings


def lived(leads: Any, brings: Any) -> ProfitWeightedExperienceBuffer:
    """Every action in every state once."""
    states, actions = np.divmod(np.arange(leads.size), leads.shape[1])
    one = np.eye(len(leads), dtype=np.float32)
    buffer = ProfitWeightedExperienceBuffer(leads.size, seed=1)
    buffer.add_batch(
        states=one[states],
        actions=actions,
        rewards=brings[states, actions],
        next_states=one[leads[states, actions]],
        dones=np.zeros(leads.size, bool),
    )
    return buffer


GAMMA = 0.8


def learned(agent: LearningAgent, updates: int) -> LearningAgent:
    buffer = lived(*chain())
    for step in range(updates):
        agent.update(step, buffer.sample_batch(leads_size := buffer.capacity))
        assert leads_size == 12
    return agent


def test_the_double_dqn_finds_the_values_of_a_known_process() -> None:
    """Value iteration: Q(s, a) = r + gamma max Q(s', .), to the fixed point; reached within 0.02."""
    leads, brings = chain()
    wanted = np.zeros_like(brings)
    for _ in range(300):
        wanted = brings + GAMMA * wanted.max(axis=1)[leads]
    settings = DoubleDQNSettings(gamma=GAMMA, target_every=20)
    shape = NetworkShape(inputs=4, hidden=(32,))
    agent = learned(DoubleDQN(shape, settings, OptimizerSettings(learning_rate=0.01), seeds=SeedTree(2)), 1_000)
    found = agent.action_values(np.eye(4, dtype=np.float32))
    assert found == pytest.approx(wanted, abs=0.02)
    assert agent.act(np.eye(4, dtype=np.float32)).tolist() == wanted.argmax(axis=1).tolist()


def test_the_actor_critic_finds_the_soft_values_and_policy_of_a_known_process() -> None:
    """Soft value iteration: V = alpha log sum exp(Q / alpha), pi = exp((Q - V) / alpha); within 0.05 and 0.05."""
    leads, brings = chain()
    alpha, wanted = 0.2, np.zeros_like(brings)
    for _ in range(300):
        value = alpha * np.log(np.exp(wanted / alpha).sum(axis=1))
        wanted = brings + GAMMA * value[leads]
    value = alpha * np.log(np.exp(wanted / alpha).sum(axis=1))
    policy = np.exp((wanted - value[:, None]) / alpha)
    settings = ActorCriticSettings(gamma=GAMMA, temperature=alpha, target_entropy=None, tau=0.05)
    shape = NetworkShape(inputs=4, hidden=(32,))
    agent = ActorCritic(shape, settings, OptimizerSettings(learning_rate=0.005), seeds=SeedTree(2))
    learned(agent, 1_500)
    states = np.eye(4, dtype=np.float32)
    with torch.no_grad():
        critics = [critic(torch.from_numpy(states)) for critic in agent.learner.module.critics]
    assert torch.minimum(*critics).numpy() == pytest.approx(wanted, abs=0.05)
    assert np.exp(agent.action_values(states)) == pytest.approx(policy, abs=0.05)


def test_a_learned_temperature_brings_the_entropy_to_its_target() -> None:
    """Rewards of 0: the policy may do as it likes, so alpha is turned until the entropy is 0.6 log 3."""
    leads, brings = chain()
    settings = ActorCriticSettings(gamma=0.0, target_entropy=0.6, tau=0.05, temperature=0.1)
    agent = ActorCritic(
        NetworkShape(inputs=4, hidden=(16,)), settings, OptimizerSettings(learning_rate=0.01), seeds=SeedTree(2)
    )
    buffer = lived(leads, brings)
    for step in range(1_500):
        agent.update(step, buffer.sample_batch(12))
    told = agent.action_values(np.eye(4, dtype=np.float32))
    entropy = -(np.exp(told) * told).sum(axis=1).mean()
    assert entropy == pytest.approx(0.6 * math.log(3.0), abs=0.05)


TRAINED: dict[str, Any] = {
    "environment": {"lookback": 8, "episode_bars": 100, "horizon_bars": 8, "target_profit": 0.01},
    "costs": {"fee_rate": 0.0, "slippage_rate": 0.0002},
    "agent": {"hidden": [32], "gamma": 0.9, "target_every": 100, "epsilon_share": 0.3},
    "training": {"updates": 1_500, "batch_size": 32, "learning_starts": 300, "learning_rate": 0.001},
    "validation": {"evaluate_every": 250},
    "recording": {"level": "none"},
}


def result_of(candles: Candles, home: Path, **tables: Any) -> Mapping[str, Any]:
    folder = run_of(candles, home, home / "run", **tables)
    return folder.result()


def test_a_planted_trend_is_learned_better_than_every_baseline(tmp_path: Path) -> None:
    """Bars drift by 0.15 %, for 20 bars on average: three quarters of the noise, so it can be seen and traded."""
    found = result_of(market(3_000, trend=0.0015), tmp_path, **TRAINED)
    test = found["test"]
    assert found["verdict"]["decision"] == "CAUTION", found["verdict"]
    assert test["metrics"]["net_profit_pct"] > test["baselines"]["buy_and_hold"]["net_profit_pct"]
    assert test["baselines"]["random_entries"]["net_profit_pct"]["percentile"] >= 95.0
    assert found["verdict"]["sentence"].startswith("On the test part it beats buy and hold (")
    assert "before believing it" in found["verdict"]["sentence"]


def test_noise_is_not_claimed_to_be_beaten(tmp_path: Path) -> None:
    """A random walk: whatever was found in the training part, the sentence says what it does not beat."""
    found = result_of(market(3_000, seed=4), tmp_path, **TRAINED)
    assert found["verdict"]["decision"] == "REJECT"
    assert found["verdict"]["sentence"].startswith("On the test part it does not beat ")
