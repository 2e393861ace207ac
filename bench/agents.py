"""Updates of a double DQN: bare PyTorch loops, and the same update here, alone, in a run, and recorded.

One network (67 inputs, two layers of 64, three actions: 8,707 parameters), Adam, batches of 64 from 50,000
experiences, the target network copied every 500 updates, one thread, no environment. All forms take turns of 16
updates within one process (`paired.py`):

    bare         batches of a ProfitWeightedExperienceBuffer, Huber loss, backward, clipping, Adam, update_priorities
    cpprb        the same over cpprb's PrioritizedReplayBuffer.sample, with its weights in the loss
    prioritised  DoubleDQN.update from a PrioritizedExperienceBuffer: the same semantics
    profit       DoubleDQN.update from a ProfitWeightedExperienceBuffer: two accounts, without replacement, counts
    none, full   the latter as a run: journal, digest of the whole state at every update; every gradient and target kept

The run at level full is then replayed from its gradients. Only ratios are worth quoting.
"""

from __future__ import annotations

import itertools
import shutil
import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bench.gradients import faster, replays
from bench.paired import BLOCK, WARM, Baton, Loop, in_blocks, ratio
from bench.timing import processor

UPDATES = 80 * BLOCK
EXPERIENCES, BATCH, FEATURES, ACTIONS = 50_000, 64, 67, 3


def columns() -> dict[str, Any]:
    """Experiences, of which half turned out profitable, as `add_batch` takes them."""
    rng = np.random.Generator(np.random.Philox(key=1))
    profit = rng.normal(0.0, 0.01, EXPERIENCES)
    return {
        "states": rng.normal(size=(EXPERIENCES, FEATURES)).astype(np.float32),
        "next_states": rng.normal(size=(EXPERIENCES, FEATURES)).astype(np.float32),
        "actions": rng.integers(0, ACTIONS, EXPERIENCES),
        "rewards": profit,
        "dones": rng.random(EXPERIENCES) < 0.01,
        "actual_profits": profit,
        "profitability_scores": np.clip(profit / 0.01, 0.0, 1.0),
        "optimal_actions": rng.integers(0, ACTIONS, EXPERIENCES),
        "outcome_validated": np.ones(EXPERIENCES, bool),
    }


def network() -> Any:
    from torch import nn

    return nn.Sequential(nn.Linear(FEATURES, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, ACTIONS))


def bare(data: dict[str, Any]) -> Iterator[None]:
    """A plain loop, as tutorials have it, over the batches that the runs draw."""
    import torch
    from torch.nn import functional

    from lockstep.rl import ProfitWeightedExperienceBuffer

    buffer = ProfitWeightedExperienceBuffer(EXPERIENCES, state_shape=(FEATURES,))
    buffer.add_batch(**data)
    online, target = network(), network()
    target.load_state_dict(online.state_dict())
    optimizer = torch.optim.Adam(online.parameters(), lr=1e-4)
    for step in itertools.count():
        batch = buffer.sample_batch(BATCH)
        states, following = torch.from_numpy(batch.states), torch.from_numpy(batch.next_states)
        rewards, going = torch.from_numpy(batch.rewards).float(), torch.from_numpy(1.0 - batch.dones).float()
        with torch.no_grad():
            best = online(following).argmax(dim=1, keepdim=True)
            goal = rewards + 0.99 * going * target(following).gather(1, best)[:, 0]
        estimate = online(states).gather(1, torch.from_numpy(batch.actions)[:, None])[:, 0]
        loss = functional.smooth_l1_loss(estimate, goal)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(online.parameters(), 10.0)
        optimizer.step()
        loss.item()
        buffer.update_priorities(batch.ids, (goal - estimate).detach().double().numpy())
        if (step + 1) % 500 == 0:
            target.load_state_dict(online.state_dict())
        yield


def over_cpprb(data: dict[str, Any]) -> Iterator[None]:
    """The same over cpprb's buffer. Raises ImportError without it."""
    import torch
    from cpprb import PrioritizedReplayBuffer
    from torch.nn import functional

    fields = {
        "obs": {"shape": FEATURES},
        "next": {"shape": FEATURES},
        "act": {"dtype": np.int64},
        "rew": {},
        "done": {},
    }
    buffer = PrioritizedReplayBuffer(EXPERIENCES, fields)
    names = {"obs": "states", "next": "next_states", "act": "actions", "rew": "rewards", "done": "dones"}
    buffer.add(**{name: data[ours] for name, ours in names.items()})
    online, target = network(), network()
    target.load_state_dict(online.state_dict())
    optimizer = torch.optim.Adam(online.parameters(), lr=1e-4)
    torch.use_deterministic_algorithms(False)
    for step in itertools.count():
        batch = buffer.sample(BATCH, beta=0.4)
        tensors = {name: torch.from_numpy(batch[name]) for name in (*names, "weights")}
        with torch.no_grad():
            best = online(tensors["next"]).argmax(dim=1, keepdim=True)
            future = target(tensors["next"]).gather(1, best)
            goal = tensors["rew"] + 0.99 * (1.0 - tensors["done"]) * future
        estimate = online(tensors["obs"]).gather(1, tensors["act"])
        losses = functional.smooth_l1_loss(estimate, goal, reduction="none")[:, 0]
        loss = (tensors["weights"] * losses).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(online.parameters(), 10.0)
        optimizer.step()
        loss.item()
        buffer.update_priorities(batch["indexes"], (goal - estimate).detach().abs()[:, 0].numpy())
        if (step + 1) % 500 == 0:
            target.load_state_dict(online.state_dict())
        yield


def agent(*, weighted: bool) -> Any:
    from lockstep.rl.double_dqn import DoubleDQN
    from lockstep.rl.networks import NetworkShape
    from lockstep.runs.seeds import SeedTree

    shape = NetworkShape(inputs=FEATURES, actions=ACTIONS)
    return DoubleDQN(shape, seeds=SeedTree(1), importance_weights=weighted)


def ours(data: dict[str, Any], mode: str) -> Iterator[None]:
    """`Agent.update` from one of our buffers, nothing recorded."""
    from lockstep.rl import PrioritizedExperienceBuffer, ProfitWeightedExperienceBuffer

    dqn = agent(weighted=mode == "prioritised")
    kind = PrioritizedExperienceBuffer if mode == "prioritised" else ProfitWeightedExperienceBuffer
    buffer = kind(EXPERIENCES, state_shape=(FEATURES,))
    buffer.add_batch(**data)
    for step in itertools.count():
        batch = buffer.sample_batch(BATCH)
        step_values = dqn.update(step, batch)
        buffer.update_priorities(batch.ids, step_values.td_errors)
        yield


def run(data: dict[str, Any], level: str, path: Path) -> Callable[[Baton], None]:
    """A run in the folder `path`."""

    def loop(baton: Baton) -> None:
        import torch

        from lockstep.learning.gradients.recorder import Recorder, Recording
        from lockstep.rl import ProfitWeightedExperienceBuffer
        from lockstep.rl.training import FixedExperiences, Replay, ReplayTraining
        from lockstep.runs.folder import RunFolder
        from lockstep.runs.loop import execute
        from lockstep.runs.observer import Observer

        class Marks(Observer):
            def step(self, step: Any, journal_hash: str) -> None:
                baton.step()

        torch.set_num_threads(1)  # of this thread
        nothing: dict[str, str] = {}
        folder = RunFolder.create(path, spec=nothing, data=nothing, code=nothing, numerics=nothing, environment=nothing)
        dqn, buffer = agent(weighted=False), ProfitWeightedExperienceBuffer(EXPERIENCES, state_shape=(FEATURES,))
        buffer.add_batch(**data)
        recorder = Recorder(Recording(level=level), dqn.learner)  # type: ignore[arg-type]
        replay = Replay(updates=UPDATES, batch_size=BATCH)
        training = ReplayTraining(dqn, buffer, recorder, replay, FixedExperiences({}))
        execute(training, folder, fingerprint="0" * 64, observers=[Marks()])

    return loop


def stepwise(updates: Iterator[None]) -> Callable[[Baton], None]:
    """A loop of the comparison from a generator that yields after each update."""

    def loop(baton: Baton) -> None:
        import torch

        torch.set_num_threads(1)
        for _ in range(UPDATES):
            next(updates)
            baton.step()

    return loop


def main() -> None:
    """All forms in turns; says what is missing instead of measuring something else."""
    try:
        import torch
    except ImportError:
        print('torch is not installed (extra "ml"); nothing is measured')
        return
    from lockstep.learning.gradients.determinism import settle

    torch.set_num_threads(1)
    data = columns()
    home = Path(tempfile.mkdtemp(prefix="lockstep-bench-"))
    plain = {"bare": bare(data), "cpprb": over_cpprb(data)}
    try:
        import cpprb  # noqa: F401
    except ImportError as error:
        print(f"cpprb is not there, not compared: {error}")
        del plain["cpprb"]
    loops = {name: Loop(stepwise(it), lambda: torch.use_deterministic_algorithms(False)) for name, it in plain.items()}
    for mode in ("prioritised", "profit"):
        loops[mode] = Loop(stepwise(ours(data, mode)), settle)
    for level in ("none", "full"):
        loops[level] = Loop(run(data, level, home / level), settle)
    try:
        seconds = in_blocks(loops)
        seconds["replay"] = replays(home / "full", UPDATES)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    print(
        f"8,707 parameters, batches of {BATCH} of {EXPERIENCES:,}; {UPDATES // BLOCK - WARM} blocks of {BLOCK} updates "
        f"in turns; CPU time an update; {processor()}"
    )
    for name, values in seconds.items():
        print(f"  {name:24s} median {1e3 * statistics.median(values):6.3f}   minimum {1e3 * min(values):6.3f} ms")
    for name in ("prioritised", "profit", "none", "full"):
        print(ratio(seconds[name], seconds["bare"]).line(f"{name} / bare loop", "limit 1.12" if name == "none" else ""))
    if "cpprb" in seconds:
        print(ratio(seconds["none"], seconds["cpprb"]).line("none / loop over cpprb"))
    print(ratio(seconds["full"], seconds["none"]).line("full / none", "limit 1.15"))
    print(faster(seconds["full"], seconds["replay"]).line("training / replay", "at least 20"))


if __name__ == "__main__":
    main()
