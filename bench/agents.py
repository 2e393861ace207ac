"""Updates of a double DQN: a bare PyTorch loop over cpprb, and the same update here, alone, in a run, and recorded.

One network (67 inputs, two layers of 64, three actions: 8,707 parameters), Adam, batches of 64 from 50,000
experiences, the target network copied every 500 updates, one thread, no environment. Rounds go through all forms in
turns:

    bare         cpprb's PrioritizedReplayBuffer.sample, Huber loss, backward, Adam, update_priorities
    prioritised  DoubleDQN.update from a PrioritizedExperienceBuffer: the same semantics
    profit       DoubleDQN.update from a ProfitWeightedExperienceBuffer: two accounts, without replacement, counts
    none, full   the latter as a run: journal, digest of the whole state at every update; every gradient and target kept

Only ratios are worth quoting.
"""

from __future__ import annotations

import itertools
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

UPDATES = 400
WARM = 50
ROUNDS = 5
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
    """A plain loop, as tutorials have it. Raises ImportError without cpprb."""
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


def run(data: dict[str, Any], level: str, path: Path) -> list[float]:
    """Seconds of each update of a run."""
    from lockstep.learning.gradients.recorder import Recorder, Recording
    from lockstep.rl import ProfitWeightedExperienceBuffer
    from lockstep.rl.training import FixedExperiences, Replay, ReplayTraining
    from lockstep.runs.folder import RunFolder
    from lockstep.runs.loop import execute
    from lockstep.runs.observer import Observer

    marks: list[float] = []

    class Marks(Observer):
        def step(self, step: Any, journal_hash: str) -> None:
            marks.append(time.process_time())

    nothing: dict[str, str] = {}
    folder = RunFolder.create(path, spec=nothing, data=nothing, code=nothing, numerics=nothing, environment=nothing)
    dqn, buffer = agent(weighted=False), ProfitWeightedExperienceBuffer(EXPERIENCES, state_shape=(FEATURES,))
    buffer.add_batch(**data)
    recorder = Recorder(Recording(level=level), dqn.learner)  # type: ignore[arg-type]
    training = ReplayTraining(dqn, buffer, recorder, Replay(updates=UPDATES, batch_size=BATCH), FixedExperiences({}))
    execute(training, folder, fingerprint="0" * 64, observers=[Marks()])
    shutil.rmtree(path)
    return [after - before for before, after in itertools.pairwise(marks)]


def timed(loop: Iterator[None]) -> list[float]:
    """Seconds of each update of a loop."""
    next(loop)
    marks = [time.process_time()]
    for _ in range(UPDATES - 1):
        next(loop)
        marks.append(time.process_time())
    return [after - before for before, after in itertools.pairwise(marks)]


def main() -> None:
    """All forms in turns; says what is missing instead of measuring something else."""
    try:
        import torch
    except ImportError:
        print('torch is not installed (extra "ml"); nothing is measured')
        return
    torch.set_num_threads(1)
    data = columns()
    home = Path(tempfile.mkdtemp(prefix="lockstep-bench-"))
    forms: dict[str, Callable[[int], list[float]]] = {
        "bare": lambda _: timed(bare(data)),
        "prioritised": lambda _: timed(ours(data, "prioritised")),
        "profit": lambda _: timed(ours(data, "profit")),
        "none": lambda k: run(data, "none", home / f"none-{k}"),
        "full": lambda k: run(data, "full", home / f"full-{k}"),
    }
    try:
        import cpprb  # noqa: F401
    except ImportError as error:
        print(f"cpprb is not there, not compared: {error}")
        del forms["bare"]
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    try:
        for k in range(ROUNDS):
            for name, form in forms.items():
                seconds[name].append(statistics.fmean(form(k)[WARM:]))
    finally:
        shutil.rmtree(home, ignore_errors=True)
    print(f"8,707 parameters, batches of {BATCH} of {EXPERIENCES:,}, {UPDATES} updates, {ROUNDS} rounds; CPU time")
    for name, values in seconds.items():
        median = statistics.median(values)
        ratio = ""
        if "bare" in seconds:
            # Of each round, since the machine changes between rounds more than within one.
            pairs = zip(values, seconds["bare"], strict=True)
            ratio = f", {statistics.median(one / other for one, other in pairs):.2f} x bare"
        print(f"  {name:>11}: {1e3 * median:5.2f} ms an update, {1 / median:6,.0f} updates/s{ratio}")


if __name__ == "__main__":
    main()
