"""The losses of both agents, by hand and by finite differences; how they explore and how targets follow."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from lockstep.core.errors import InputError, UnknownNameError
from lockstep.rl import ProfitWeightedExperienceBuffer
from lockstep.rl.actor_critic import ActorCritic, ActorCriticSettings
from lockstep.rl.agents import rebuild
from lockstep.rl.double_dqn import DoubleDQN, DoubleDQNSettings
from lockstep.rl.experience import ExperienceBatch
from lockstep.rl.learning_agent import AgentSettings, LearningAgent, Tensors
from lockstep.rl.networks import Follower, NetworkShape, perceptron, target_of
from lockstep.runs.seeds import SeedTree
from lockstep.testing.contracts.agent import batch

DOUBLE = NetworkShape(inputs=3, hidden=(5,), dtype="float64")


def put(network: Any, weight: Any, bias: Any) -> None:
    """Weights of a network of one layer, whether they are parameters or buffers."""
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor(weight))
        network[0].bias.copy_(torch.tensor(bias))


def experiences(rows: list[tuple[Any, int, float, Any, bool]], weights: Any = None) -> ExperienceBatch:
    buffer = ProfitWeightedExperienceBuffer(len(rows))
    states, actions, rewards, next_states, dones = zip(*rows, strict=True)
    buffer.add_batch(
        states=np.array(states, np.float32),
        actions=np.array(actions),
        rewards=np.array(rewards),
        next_states=np.array(next_states, np.float32),
        dones=np.array(dones),
    )
    found = buffer.sample_batch(len(rows), prioritize_profitable=False)
    if weights is not None:
        found.weights[:] = weights
    return found


def test_the_double_dqn_target_is_that_of_the_paper_by_hand() -> None:
    """Q(s) = s (1, 2, 0) and Q-(s) = s (3, .5, 9): at s' = 1 the network chooses action 1, the target says 0.5.

    y = 10 · 0.1 + 0.9 · 0.5 = 1.45 (a plain DQN: 1 + 0.9 · 9), and 10 · 0.3 = 3 where the episode ended.
    delta = 1.45 - Q(2, 0) = 1.45 - 2 = -0.55 and 3 - Q(1, 1) = 1; L = (0.55²/2 + 1/2) / 2.
    """
    settings = DoubleDQNSettings(gamma=0.9, reward_scale=10.0, clip_norm=None)
    agent = DoubleDQN(NetworkShape(inputs=1, hidden=()), settings, seeds=SeedTree(1))
    put(agent.learner.module.online, [[1.0], [2.0], [0.0]], [0.0, 0.0, 0.0])
    put(agent.learner.module.target, [[3.0], [0.5], [9.0]], [0.0, 0.0, 0.0])
    made = agent.update(0, experiences([([2.0], 0, 0.1, [1.0], False), ([1.0], 1, 0.3, [1.0], True)]))
    assert made.td_errors == pytest.approx([-0.55, 1.0], abs=1e-6)
    assert made.q_loss == pytest.approx((0.55**2 / 2 + 0.5) / 2, abs=1e-6)
    assert made.policy_loss is None


def test_importance_weights_scale_the_loss_of_each_sample_and_draw_weights_do_not() -> None:
    """Errors of 1 and 3 under Huber: 1/2 and 2.5; weights 1 and 0.2: (0.5 + 0.5) / 2, without them (0.5 + 2.5) / 2."""
    rows = [([0.0], 0, 1.0, [0.0], True), ([0.0], 0, 3.0, [0.0], True)]
    for weighted, wanted in ((True, 0.5), (False, 1.5)):
        agent = DoubleDQN(NetworkShape(inputs=1, hidden=()), seeds=SeedTree(1), importance_weights=weighted)
        put(agent.learner.module.online, [[0.0]] * 3, [0.0] * 3)
        assert agent.update(0, experiences(rows, weights=[1.0, 0.2])).q_loss == pytest.approx(wanted, abs=1e-6)


def test_the_actor_critic_losses_are_those_of_the_paper_by_hand() -> None:
    """One state, constants: pi = softmax(0, 0, log 2) = (1/4, 1/4, 1/2), Q_1 = (1, 2, 3), Q_2 = (2, 1, 4), the targets
    Q_1- = (0, 1, 2), Q_2- = (1, 0, 3), alpha = 1/2.

    V = sum pi (min Q- - alpha log pi) = 1/2 · 2 + 1/2 · entropy, the entropy 1.5 log 2;  y = 1 + 0.5 V.
    L_Q = ((y - 3)² + (y - 4)²) / 2 for action 2;  L_pi = -1/2 entropy - (1/4 + 1/4 + 3/2).
    """
    settings = ActorCriticSettings(gamma=0.5, temperature=0.5, target_entropy=0.5, clip_norm=None)
    agent = ActorCritic(NetworkShape(inputs=1, hidden=()), settings, seeds=SeedTree(1))
    module, zero = agent.learner.module, [[0.0]] * 3
    put(module.policy, zero, [0.0, 0.0, math.log(2.0)])
    for network, values in zip(
        (*module.critics, *module.targets), ([1.0, 2, 3], [2.0, 1, 4], [0.0, 1, 2], [1.0, 0, 3]), strict=True
    ):
        put(network, zero, values)
    entropy = 1.5 * math.log(2.0)
    wanted = 1.0 + 0.5 * (0.5 * 2.0 + 0.5 * entropy)
    made = agent.update(0, experiences([([1.0], 2, 1.0, [1.0], False)]))
    assert made.q_loss == pytest.approx(((wanted - 3.0) ** 2 + (wanted - 4.0) ** 2) / 2, rel=1e-6)
    assert made.policy_loss == pytest.approx(-0.5 * entropy - 2.0, rel=1e-6)
    temperature = math.log(0.5) * (entropy - 0.5 * math.log(3.0))
    assert made.update.losses["temperature"] == pytest.approx(temperature, rel=1e-6)
    assert made.td_errors == pytest.approx([wanted - 3.5], rel=1e-6)


def parts_of(agent: LearningAgent, tensors: Tensors) -> dict[str, Any]:
    return dict(agent.loss(tensors)[0].parts)


@pytest.mark.parametrize(
    ("agent", "part", "own"),
    [
        (DoubleDQN(DOUBLE, seeds=SeedTree(3)), "q", "online."),
        (ActorCritic(DOUBLE, seeds=SeedTree(3)), "q", "critics."),
        (ActorCritic(DOUBLE, seeds=SeedTree(3)), "policy", "policy."),
        (ActorCritic(DOUBLE, seeds=SeedTree(3)), "temperature", "log_temperature"),
    ],
    ids=["double_dqn q", "actor_critic q", "actor_critic policy", "actor_critic temperature"],
)
def test_gradients_equal_finite_differences_in_double_precision(agent: LearningAgent, part: str, own: str) -> None:
    """(L(w + h) - L(w - h)) / 2h, h = 1e-6, of every parameter that the part is about; the others get nothing."""
    tensors = agent.tensors(batch())
    agent.learner.flat.differentiate(agent.loss(tensors)[0].total)
    gradient = agent.learner.gradient().copy()
    flat, h = agent.learner.flat.weights.data, 1e-6
    for slot in agent.learner.flat.layout.slots:
        if not slot.name.startswith(own):
            continue
        for place in range(slot.start, slot.stop):
            kept = float(flat[place])
            values = []
            for moved in (kept + h, kept - h):
                flat[place] = moved
                values.append(float(parts_of(agent, tensors)[part].detach()))
            flat[place] = kept
            assert gradient[place] == pytest.approx((values[0] - values[1]) / (2 * h), rel=1e-5, abs=1e-8), slot.name


def test_epsilon_falls_in_a_straight_line_and_stays() -> None:
    """From 1 to 0.2 over 8 updates: 0.1 a step."""
    settings = DoubleDQNSettings(epsilon_start=1.0, epsilon_end=0.2, epsilon_updates=8)
    assert [settings.epsilon(step) for step in (0, 4, 8, 100)] == pytest.approx([1.0, 0.6, 0.2, 0.2])


def test_exploration_ends_in_the_best_action_and_chance_of_it_is_epsilon() -> None:
    """At epsilon 0 always the best; at 0.3 another one in 0.3 · 2/3 = 20 % of 4,000 draws, give or take 2.4 %."""
    for epsilon, others in ((0.0, 0.0), (0.3, 0.2)):
        settings = DoubleDQNSettings(epsilon_start=epsilon, epsilon_end=epsilon)
        agent = DoubleDQN(NetworkShape(inputs=3, hidden=()), settings, seeds=SeedTree(1))
        rng = np.random.Generator(np.random.Philox(key=3))
        state = np.ones(3, np.float32)
        best = int(agent.act(state[np.newaxis])[0])
        found = np.array([agent.explore(state, 0, rng) for _ in range(4_000)])
        assert abs(np.mean(found != best) - others) <= 4 * math.sqrt(0.2 * 0.8 / 4_000) * (epsilon > 0.0)


def test_the_actor_explores_with_the_chances_of_its_policy() -> None:
    """pi = (1/4, 1/4, 1/2) in 4,000 draws, within 4 standard deviations."""
    agent = ActorCritic(NetworkShape(inputs=1, hidden=()), seeds=SeedTree(1))
    put(agent.learner.module.policy, [[0.0]] * 3, [0.0, 0.0, math.log(2.0)])
    rng = np.random.Generator(np.random.Philox(key=3))
    found = np.array([agent.explore(np.ones(1, np.float32), 0, rng) for _ in range(4_000)])
    for action, chance in enumerate((0.25, 0.25, 0.5)):
        assert abs(np.mean(found == action) - chance) < 4 * math.sqrt(chance * (1 - chance) / 4_000)


def test_target_networks_follow_by_a_share_every_n_updates() -> None:
    """tau 1/4, every 2: nothing after step 0; a quarter of the way after step 1."""
    original = perceptron(NetworkShape(inputs=1, hidden=()))
    target = target_of(original)
    assert not list(target.parameters())
    assert dict(target.named_buffers()).keys() == dict(original.named_parameters()).keys()
    put(original, [[4.0]] * 3, [8.0] * 3)
    put(target, [[0.0]] * 3, [0.0] * 3)
    follower = Follower([(original, target)], tau=0.25, every=2)
    follower.after(0)
    assert target(torch.ones(1, 1)).tolist() == [[0.0, 0.0, 0.0]]
    follower.after(1)
    assert target(torch.ones(1, 1)).tolist() == [[3.0, 3.0, 3.0]]


def test_an_agent_is_rebuilt_from_its_description() -> None:
    settings = ActorCriticSettings(target_entropy=None, gamma=0.5)
    for agent in (DoubleDQN(DOUBLE, seeds=SeedTree(1)), ActorCritic(DOUBLE, settings, seeds=SeedTree(1))):
        again = rebuild(agent.describe(), seeds=SeedTree(1))
        assert again.describe() == agent.describe()
        assert again.learner.digest() == agent.learner.digest()
    with pytest.raises(UnknownNameError, match=r"agents are double_dqn, actor_critic; found 'sarsa'"):
        rebuild({"algorithm": "sarsa"}, seeds=SeedTree(1))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AgentSettings(gamma=1.5), "gamma lies in 0 .. 1; found 1.5"),
        (lambda: AgentSettings(reward_scale=0.0), "reward_scale is a finite number above 0; found 0.0"),
        (lambda: DoubleDQNSettings(epsilon_start=0.1, epsilon_end=0.5), "epsilon falls from a start to an end"),
        (lambda: ActorCriticSettings(temperature=-1.0), "temperature is a finite number above 0; found -1.0"),
        (lambda: ActorCriticSettings(target_entropy=1.0), "target_entropy is a share in"),
        (lambda: NetworkShape(inputs=0), "a network's inputs is at least 1; found 0"),
        (lambda: NetworkShape(inputs=1, dtype="float16"), "dtype is one of float32, float64; found 'float16'"),
        (lambda: Follower([], tau=0.0, every=1), "by a share tau in"),
        (
            lambda: DoubleDQN(NetworkShape(inputs=2), seeds=SeedTree(1)).update(0, batch()),
            r"a state has 2 numbers here; found shape \(3,\)",
        ),
        (
            lambda: DoubleDQN(NetworkShape(inputs=3), seeds=SeedTree(1)).update(
                0, ProfitWeightedExperienceBuffer(3, state_shape=(3,)).sample_batch(2)
            ),
            "learns from at least one experience; found an empty batch",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_its_rule(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()
