"""The recipe of the stored runs of every kind: `python tests/golden/runs/make_kinds.py tests/golden/runs/v0.1.0-kinds`.

Run with the release that the folder is named after; what is stored is never made anew. Each archive is what
`lockstep runs export` writes of a complete run at `recording.level = "full"`, computed with portable numerics. The
machine that made them is not part of them.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockstep.runs.numerics import enter

if TYPE_CHECKING:
    from lockstep.runs.results import TrainResult

SYMBOL = "TEST/USD"
NETWORK = {"parameters": {"filters": [2, 2, 2], "hidden": 4}}
RECORDING = {"level": "full", "snapshot_every": 3}
SPECS: dict[str, dict[str, Any]] = {
    "strategy": {
        "data": {"source": "sample", "last": 900},
        "strategy": {
            "name": "liquidity_sweep",
            "space": {
                "pierce_depth": {"low": 0.0001, "high": 0.001},
                "volume_spike_threshold": {"low": 1.0, "high": 2.0},
                "reversal_candles": [1, 2],
            },
        },
        "costs": {"fee_rate": 0.0, "slippage_rate": 0.00001, "spread_pips": 0.5},
        "search": {"n_iterations": 12, "batch_size": 4, "min_trades": 1},
    },
    "cnn": {
        "data": {"source": "sample", "last": 300},
        "features": {"channels": ["return", "body", "rsi"], "window": 8, "max_gap": 60},
        "labels": {"task": "direction", "horizon": 3, "volatility_bars": 10},
        "network": NETWORK,
        "training": {"epochs": 2, "batch_size": 64},
        "recording": RECORDING,
    },
    "cnn-episodes": {
        "episodes": {"symbol": SYMBOL, "max_episodes": 24, "min_profitability": 0.5},
        "network": NETWORK,
        "training": {"epochs": 2, "batch_size": 8},
        "recording": RECORDING,
    },
    "classifier": {
        "network": {"name": "my_net.py:MyNet"},
        "training": {"epochs": 3, "batch_size": 7},
        "recording": RECORDING,
    },
    "classifier-keras": {"training": {"epochs": 1, "batch_size": 8}},
    "replay-agent": {
        "data": {"source": "sample", "last": 200},
        "environment": {"lookback": 4, "episode_bars": 20, "horizon_bars": 3},
        "agent": {"hidden": [4], "target_every": 3},
        "training": {"updates": 7, "batch_size": 8, "steps_per_update": 2, "learning_starts": 30},
        "validation": {"evaluate_every": 3},
        "recording": RECORDING,
    },
}
"""The session of an agent, "agent-session", is begun in Python alone: `session`."""

MY_NET = """
import torch
from lockstep.core.hashing import blake3_hex

assert blake3_hex(b"") != ""


class MyNet(torch.nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.ReLU(), torch.nn.Linear(6, classes))

    def forward(self, figures):
        return self.layers(figures)
"""
"""A network of the user, whose file travels with the run and imports Lockstep."""


def nowhere(*_: object, **__: object) -> dict[str, Any]:
    """What stands in environment.json in place of the machine."""
    return {
        "host": "nowhere",
        "platform": "Linux",
        "cpu": "x86-64",
        "cores": 2,
        "python": "python",
        "folder": "/home/user",
        "command": ["lockstep", "train"],
        "git": None,
    }


def collect(home: Path, count: int = 260) -> None:
    """A book of episodes from a market that goes up for an hour and down for an hour, with jumps and noise."""
    import numpy as np

    random = np.random.Generator(np.random.Philox(1))
    moves = np.where(np.arange(count) // 60 % 2 == 0, 0.003, -0.003) + random.normal(0.0, 0.002, count)
    moves[99::100] += 0.02
    close = (100.0 * np.cumprod(1.0 + moves)).tolist()
    first = [100.0, *close[:-1]]
    rows = ["timestamp,open,high,low,close,volume"]
    for number, (begin, end, volume) in enumerate(
        zip(first, close, (1.0 + random.random(count)).tolist(), strict=True)
    ):
        high, low = max(begin, end) * 1.0003, min(begin, end) / 1.0003
        rows.append(f"{1_704_067_200_000 + 60_000 * number},{begin!r},{high!r},{low!r},{end!r},{volume!r}")
    prices = Path("prices.csv")
    prices.write_text("\n".join(rows) + "\n")
    options = ["--symbol", SYMBOL, "--min-completeness", "0.6", "--home", str(home)]
    subprocess.run(
        [sys.executable, "-m", "lockstep", "data", "episodes", str(prices), *options], check=True, capture_output=True
    )


def samples(kind: str) -> Any:
    """Twenty-four samples in two classes: four figures that a line parts, or small images with a few bright pixels."""
    import numpy as np

    random = np.random.Generator(np.random.Philox(key=2))
    x = random.normal(size=(24, 4)).astype(np.float32)
    labels = (x[:, 0] > x[:, 1]).astype(np.int64)
    if kind == "classifier":
        return x, labels
    images = np.zeros((24, 25, 25, 1), np.float32)
    for image, label in zip(images, labels, strict=True):
        image[2:5, 2:5] = (1 + label) * random.random((3, 3, 1))
    return images, labels


def session(home: Path) -> None:
    """A session of an actor and critic on sixty experiences that are made up."""
    import numpy as np

    import lockstep as ls
    from lockstep.rl.actor_critic import ActorCritic
    from lockstep.rl.networks import NetworkShape
    from lockstep.rl.replay_buffer import ProfitWeightedExperienceBuffer
    from lockstep.runs.seeds import SeedTree

    random = np.random.Generator(np.random.Philox(key=1))
    profits = random.normal(0.0, 0.01, 60)
    buffer = ProfitWeightedExperienceBuffer(80, seed=1, state_shape=(3,))
    buffer.add_batch(
        states=random.normal(size=(60, 3)).astype(np.float32),
        next_states=random.normal(size=(60, 3)).astype(np.float32),
        actions=random.integers(0, 3, 60),
        rewards=profits,
        dones=random.random(60) < 0.1,
        actual_profits=profits,
        profitability_scores=np.clip(profits / 0.01, 0.0, 1.0),
        optimal_actions=random.integers(0, 3, 60),
        outcome_validated=np.ones(60, bool),
    )
    agent = ActorCritic(NetworkShape(inputs=3, hidden=(4,)), seeds=SeedTree(1))
    trainer = ls.RLTrainer(agent, buffer, home=home, symbol=SYMBOL, recording=RECORDING)
    trainer.train_profit_weighted(6, 8)


def run(kind: str, home: Path) -> TrainResult | None:
    """A complete run of `kind`, the only one of `home`."""
    import lockstep as ls

    if kind == "agent-session":
        session(home)
        return None
    if kind == "classifier":
        Path("my_net.py").write_text(MY_NET)
    if kind == "cnn-episodes":
        collect(home)
    options = {"samples": samples(kind)} if kind.startswith("classifier") else {}
    return ls.train({"kind": kind, "numerics": "portable", **SPECS[kind]}, home=home, **options)


def main(target: Path) -> None:
    """Make an archive of each kind below `target`, which must not exist."""
    from lockstep import bootstrap
    from lockstep.app import train

    train.capture_environment = nowhere  # type: ignore[assignment]
    target = target.absolute()
    target.mkdir(parents=True)
    for kind in [*SPECS, "agent-session"]:
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            home = Path("lockstep-home")
            run(kind, home)
            bootstrap.export_run("last", target / f"{kind}.lockstep.zip", home=home)


if __name__ == "__main__":
    enter("portable", may_restart=True)
    main(Path(sys.argv[1]))
