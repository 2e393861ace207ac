"""What keeping every gradient costs, and what replaying it gains: a CNN of 98,133 parameters, batches of 64.

A bare PyTorch loop over the same network and batches (no run, no record) and runs at the levels none, norms and full,
the last also with gradients packed by blosc2 where that is installed, take turns of 16 steps within one process
(`paired.py`). Then the run at level full is replayed from its gradients, read, checked and compared. CPU seconds.
"""

from __future__ import annotations

import importlib.util
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.paired import BLOCK, WARM, Baton, Loop, Ratio, in_blocks, ratio
from bench.timing import processor

STEPS = 36 * BLOCK
REPLAYS = 5
BATCH = 64
SAMPLES = 20_000


def samples() -> Any:
    import numpy as np

    from lockstep.learning.patterns.task import PatternSamples

    rng = np.random.Generator(np.random.Philox(key=1))
    drift = rng.normal(size=SAMPLES)
    return PatternSamples(
        windows=(rng.normal(size=(SAMPLES, 8, 64)) + drift[:, None, None]).astype(np.float32),
        classes=np.digitize(drift, (-0.4, 0.4)).astype(np.int64),
        returns=(0.01 * drift).astype(np.float32),
        scores=np.clip(drift, 0.0, 1.0),
        profitable=drift > 0.0,
    )


def network() -> Any:
    from lockstep.learning.gradients.determinism import noise
    from lockstep.learning.patterns.networks import PatternCNN
    from lockstep.runs.seeds import SeedTree

    with noise(SeedTree(1).child("init")):
        return PatternCNN()


def order() -> Any:
    from lockstep.learning.gradients.epochs import Epochs
    from lockstep.runs.seeds import SeedTree

    epochs = -(-STEPS * BATCH // SAMPLES)
    return Epochs(samples=SAMPLES, batch_size=BATCH, epochs=epochs, seeds=SeedTree(1).child("order"))


def bare(data: Any) -> Callable[[Baton], None]:
    """A plain loop, as the manuals have it."""

    def loop(baton: Baton) -> None:
        import torch

        from lockstep.learning.patterns.networks import pattern_loss

        torch.set_num_threads(1)  # of this thread
        batches, module = order(), network()
        windows, classes, returns = (torch.tensor(item) for item in (data.windows, data.classes, data.returns))
        optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
        for step in range(STEPS):
            rows = torch.from_numpy(batches.ids(step))
            optimizer.zero_grad()
            loss = pattern_loss(module(windows[rows]), classes[rows], returns[rows]).total
            loss.backward()
            optimizer.step()
            loss.item()
            baton.step()

    return loop


def recordings() -> dict[str, Any]:
    """Name -> what is recorded."""
    from lockstep.learning.gradients.recorder import Recording

    by_level = {level: Recording(level=level) for level in ("none", "norms", "full")}  # type: ignore[arg-type]
    if importlib.util.find_spec("blosc2") is not None:
        by_level["packed"] = Recording(codec="blosc2")
    return by_level


def session(data: Any, recording: Any, path: Path) -> Callable[[Baton], None]:
    """A run in the folder `path`."""

    def loop(baton: Baton) -> None:
        import torch

        from lockstep.learning.gradients.learner import Learner
        from lockstep.learning.gradients.optim_state import OptimizerSettings
        from lockstep.learning.gradients.recorder import Recorder
        from lockstep.learning.gradients.training import GradientTraining
        from lockstep.learning.patterns.task import PatternTask
        from lockstep.runs.folder import RunFolder
        from lockstep.runs.loop import execute
        from lockstep.runs.observer import Observer
        from lockstep.runs.seeds import SeedTree

        class Marks(Observer):
            def step(self, step: Any, journal_hash: str) -> None:
                baton.step()

        class Short(PatternTask):
            def batch(self, step: int) -> Any:
                return super().batch(step) if step < STEPS else None

        torch.set_num_threads(1)
        nothing: dict[str, str] = {}
        folder = RunFolder.create(path, spec=nothing, data=nothing, code=nothing, numerics=nothing, environment=nothing)
        learner = Learner(network(), OptimizerSettings(), seeds=SeedTree(1))
        training = GradientTraining(Short(data, order()), learner, Recorder(recording, learner))
        execute(training, folder, fingerprint="0" * 64, observers=[Marks()])

    return loop


def replays(path: Path, steps: int) -> list[float]:
    """CPU seconds of a step in each of a few replays from gradients, the final state checked."""
    from lockstep.learning.gradients.record import SessionRecord
    from lockstep.learning.gradients.replay import replay_gradients
    from lockstep.runs.folder import RunFolder

    seconds = []
    for _ in range(1 + REPLAYS):  # the first loads code
        began = time.process_time()
        replay_gradients(SessionRecord(RunFolder(path)))
        seconds.append((time.process_time() - began) / steps)
    return seconds[1:]


def main() -> None:
    try:
        import torch
    except ImportError:
        print('torch is not installed (extra "ml"); nothing is measured')
        return
    torch.set_num_threads(1)
    home = Path(tempfile.mkdtemp(prefix="lockstep-bench-"))
    try:
        measure(home)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def measure(home: Path) -> None:
    import torch

    from lockstep.learning.gradients.determinism import settle

    data = samples()
    loops = {"bare": Loop(bare(data), lambda: torch.use_deterministic_algorithms(False))}
    for name, recording in recordings().items():
        loops[name] = Loop(session(data, recording, home / name), settle)
    seconds = in_blocks(loops)
    print(
        f"98,133 parameters, batches of {BATCH}; {STEPS // BLOCK - WARM} blocks of {BLOCK} steps in turns; CPU time a "
        f"step; {processor()}"
    )
    for name in ("full", "packed"):
        if name in loops:
            seconds[f"replay, {name}"] = replays(home / name, STEPS)
    for name, values in seconds.items():
        print(f"  {name:24s} median {1e3 * statistics.median(values):6.2f}   minimum {1e3 * min(values):6.2f} ms")
    print(ratio(seconds["none"], seconds["bare"]).line("none / bare loop", "limit 1.06"))
    print(ratio(seconds["norms"], seconds["none"]).line("norms / none"))
    print(ratio(seconds["full"], seconds["none"]).line("full / none", "limit 1.05"))
    print(faster(seconds["full"], seconds["replay, full"]).line("training / replay", "at least 20"))
    size = sum(path.stat().st_size for path in (home / "full" / "segments").glob("gradients.*"))
    print(f"  gradients                {size / STEPS * 1e3 / 1e6:.0f} MB for 1,000 steps")
    if "packed" in loops:
        packed = sum(path.stat().st_size for path in (home / "packed" / "segments").glob("gradients.*"))
        print(ratio(seconds["packed"], seconds["none"]).line("packed / none", "blosc2: bit shuffle and LZ4"))
        print(f"  size, packed / raw       {packed / size:.3f}")
        print(faster(seconds["packed"], seconds["replay, packed"]).line("training / replay", "when packed"))
    else:
        print('  blosc2 is not installed (extra "codecs"); packing is not measured')


def faster(training: list[float], replay: list[float]) -> Ratio:
    """How many times faster a replay is; it runs after the training, so there are no pairs."""
    return Ratio(min(training) / min(replay), statistics.median(training) / statistics.median(replay))


if __name__ == "__main__":
    main()
