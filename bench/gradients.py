"""What keeping every gradient costs, and what replaying it gains: a CNN of 98,133 parameters, batches of 64.

Sessions of the same steps take turns, so that all meet the same machine: a bare PyTorch loop (no run, no record), and
runs at the levels none, norms and full, the last also with gradients packed by blosc2 where that is installed. Times
are CPU seconds of this process, system calls included, of the steps alone; what a run does once (opening, the last
checkpoint, reading everything back to seal it) is told beside them.
"""

from __future__ import annotations

import importlib.util
import itertools
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

STEPS = 150
ROUNDS = 7
WARM = 20
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

    return Epochs(samples=SAMPLES, batch_size=BATCH, epochs=4, seeds=SeedTree(1).child("order"))


def bare(data: Any) -> list[float]:
    """Seconds of each step of a plain loop, as the manuals have it."""
    import torch

    from lockstep.learning.patterns.networks import pattern_loss

    batches, module = order(), network()
    windows, classes, returns = (torch.tensor(item) for item in (data.windows, data.classes, data.returns))
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
    torch.use_deterministic_algorithms(False)
    marks = [time.process_time()]
    for step in range(STEPS):
        rows = torch.from_numpy(batches.ids(step))
        optimizer.zero_grad()
        loss = pattern_loss(module(windows[rows]), classes[rows], returns[rows]).total
        loss.backward()
        optimizer.step()
        loss.item()
        marks.append(time.process_time())
    return [after - before for before, after in itertools.pairwise(marks)]


def recordings() -> dict[str, Any]:
    """Name -> what is recorded."""
    from lockstep.learning.gradients.recorder import Recording

    by_level = {level: Recording(level=level) for level in ("none", "norms", "full")}  # type: ignore[arg-type]
    if importlib.util.find_spec("blosc2") is not None:
        by_level["packed"] = Recording(codec="blosc2")
    return by_level


def session(data: Any, recording: Any, path: Path) -> tuple[list[float], float, Any]:
    """Seconds of each step of a run, seconds of the whole run, its folder."""
    from lockstep.learning.gradients.learner import Learner
    from lockstep.learning.gradients.optim_state import OptimizerSettings
    from lockstep.learning.gradients.recorder import Recorder
    from lockstep.learning.gradients.training import GradientTraining
    from lockstep.learning.patterns.task import PatternTask
    from lockstep.runs.folder import RunFolder
    from lockstep.runs.loop import execute
    from lockstep.runs.observer import Observer
    from lockstep.runs.seeds import SeedTree

    marks = []

    class Marks(Observer):
        def started(self, info: Any) -> None:
            marks.append(time.process_time())

        def step(self, step: Any, journal_hash: str) -> None:
            marks.append(time.process_time())

    class Short(PatternTask):
        def batch(self, step: int) -> Any:
            return super().batch(step) if step < STEPS else None

    nothing: dict[str, str] = {}
    folder = RunFolder.create(path, spec=nothing, data=nothing, code=nothing, numerics=nothing, environment=nothing)
    learner = Learner(network(), OptimizerSettings(), seeds=SeedTree(1))
    recorder = Recorder(recording, learner)
    training = GradientTraining(Short(data, order()), learner, recorder)
    began = time.process_time()
    execute(training, folder, fingerprint="0" * 64, observers=[Marks()])
    whole = time.process_time() - began
    return [after - before for before, after in itertools.pairwise(marks)], whole, folder


def replayed(folder: Any) -> float:
    """Seconds of a replay from gradients, the final state checked."""
    from lockstep.learning.gradients.record import SessionRecord
    from lockstep.learning.gradients.replay import replay_gradients

    began = time.process_time()
    replay_gradients(SessionRecord(folder))
    return time.process_time() - began


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
    data, recording_of = samples(), recordings()
    steps: dict[str, list[float]] = {name: [] for name in ("bare", *recording_of)}
    whole: dict[str, list[float]] = {name: [] for name in recording_of}
    replays: dict[str, list[float]] = {name: [] for name in recording_of if name in ("full", "packed")}
    sizes: dict[str, int] = {}
    for round_ in range(ROUNDS):
        steps["bare"].append(statistics.fmean(bare(data)[WARM:]))
        for name, recording in recording_of.items():
            times, all_of_it, folder = session(data, recording, home / f"{name}-{round_}")
            steps[name].append(statistics.fmean(times[WARM:]))
            whole[name].append(all_of_it / STEPS)
            if name in replays:
                replays[name].append(replayed(folder) / STEPS)
                sizes[name] = sum(path.stat().st_size for path in folder.segments.glob("gradients.*"))
            shutil.rmtree(folder.path)
    report(steps, whole, replays, sizes)


def report(
    steps: dict[str, list[float]],
    whole: dict[str, list[float]],
    replays: dict[str, list[float]],
    sizes: dict[str, int],
) -> None:
    def ms(values: list[float]) -> str:
        return f"{1e3 * statistics.median(values):6.2f} ms ({1e3 * min(values):.2f} to {1e3 * max(values):.2f})"

    def ratio(one: list[float], other: list[float], form: Callable[[float], str] = "{:.3f}".format) -> str:
        # Of each round, since the machine changes between rounds more than within one.
        return form(statistics.median(a / b for a, b in zip(one, other, strict=True)))

    print(f"98,133 parameters, batches of {BATCH}, {STEPS} steps, {ROUNDS} rounds; CPU time a step")
    for name, values in steps.items():
        print(f"  {name:22s} {ms(values)}")
    for name, values in replays.items():
        print(f"  {'replay, ' + name:22s} {ms(values)}   the whole call, reading and checking included")
    print(f"  none  / bare loop      {ratio(steps['none'], steps['bare'])}   limit 1.10")
    print(f"  norms / none           {ratio(steps['norms'], steps['none'])}")
    print(f"  full  / none           {ratio(steps['full'], steps['none'])}   limit 1.08")
    print(f"  full  / none, whole    {ratio(whole['full'], whole['none'])}   opening, checkpoints and seal included")
    print(f"  training / replay      {ratio(steps['full'], replays['full'], '{:.1f}'.format)}    at least 15")
    print(f"  gradients              {sizes['full'] / STEPS * 1e3 / 1e6:.0f} MB for 1,000 steps")
    if "packed" in steps:
        print(f"  packed / none          {ratio(steps['packed'], steps['none'])}   blosc2: bit shuffle and LZ4")
        print(f"  packed / full          {ratio(steps['packed'], steps['full'])}")
        print(f"  size, packed / raw     {sizes['packed'] / sizes['full']:.3f}")
        print(f"  training / replay      {ratio(steps['packed'], replays['packed'], '{:.1f}'.format)}    when packed")
    else:
        print('  blosc2 is not installed (extra "codecs"); packing is not measured')


if __name__ == "__main__":
    main()
