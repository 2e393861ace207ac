"""What a training takes, told by every gradient kind before it starts: near the truth, and without a large network."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from tests.unit.episodes.episode_markets import SYMBOL, collected
from tests.unit.kinds import agent_builders, cnn_builders
from tests.unit.kinds.builders import estimate_of

from lockstep.kinds.classifier import data as classifier_data
from lockstep.kinds.classifier import kind as classifier
from lockstep.kinds.classifier.keras import KERAS_KIND
from lockstep.kinds.cnn import kind as cnn
from lockstep.kinds.cnn_episodes import data as episodes_data
from lockstep.kinds.cnn_episodes import kind as episodes
from lockstep.kinds.replay_agent import kind as replay_agent
from lockstep.kinds.shared import step_timing
from lockstep.runs.checkpoint import CheckpointPolicy, thin
from lockstep.runs.kind import Duration, Estimate, Kind, PrepareContext
from lockstep.runs.spec import load_spec, resolve
from lockstep.runs.store import FolderRunStore

SQUARE = """
import torch
from torch import nn

class Square(nn.Module):
    def __init__(self, features, classes, width=8):
        super().__init__()
        self.scale = float(torch.ones(3).sum())  # a number, which a tensor on the meta device has not
        self.body, self.head = nn.Linear(features, width), nn.Linear(width, classes)

    def forward(self, x):
        return self.head(self.scale * self.body(x))
"""


class Clock:
    """Time of the processor and on the wall that steps move, in place of the system's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cpu = self.wall = 0.0
        monkeypatch.setattr(step_timing.time, "process_time", lambda: self.cpu)
        monkeypatch.setattr(step_timing.time, "perf_counter", lambda: self.wall)

    def steps(self, seconds: Callable[[int], float], count: int, *, waiting: float = 0.0) -> Iterator[int]:
        """Steps that compute so long, and wait for other programs so much longer."""
        for step in range(count):
            self.cpu += seconds(step)
            self.wall += seconds(step) + waiting
            yield step


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_the_steps_that_compile_are_not_timed_and_waiting_is_no_processor_time(clock: Clock) -> None:
    """Two steps of 200 ms, then 1 ms each: a mean over ten would say 41 ms."""
    step = step_timing.step_duration(clock.steps(lambda step: 0.2 if step < 2 else 0.001, 10, waiting=0.004))
    assert step is not None
    assert (step.cpu, step.wall) == pytest.approx((0.001, 0.005))


def test_one_slow_step_counts_by_its_share_of_the_processor_and_not_on_the_clock(clock: Clock) -> None:
    """(9 x 1 ms + 200 ms) / 10 = 20.9 ms: such a step comes again in the run. The median is 1 ms."""
    step = step_timing.step_duration(clock.steps(lambda step: 0.2 if step == 4 else 0.001, 12))
    assert step is not None
    assert (step.cpu, step.wall) == pytest.approx((0.0209, 0.001))


def test_evaluations_after_epochs_are_no_part_of_a_step(clock: Clock) -> None:
    """Epochs of 3 steps, each ends with 30 ms of evaluation: steps of 1 ms remain, whatever falls into the window."""
    for count in (8, 9, 10):
        ends = clock.steps(lambda step: 0.031 if step % 3 == 2 else 0.001, count)
        step = step_timing.step_duration(ends, period=3, evaluation=Duration(cpu=0.03, wall=0.03))
        assert step is not None
        assert (step.cpu, step.wall) == pytest.approx((0.001, 0.001))


def test_slow_steps_are_timed_for_about_a_second_and_short_trainings_by_what_they_have(clock: Clock) -> None:
    """Two warming steps of 0.3 s, then four: 1.2 s is beyond a second."""
    slow = step_timing.step_duration(clock.steps(lambda step: 0.3, 99))
    assert slow is not None
    assert slow.wall == pytest.approx(0.3)
    assert clock.wall == pytest.approx(1.8)
    one = step_timing.step_duration(clock.steps(lambda step: 0.05, 1))
    assert one is not None
    assert one.cpu == pytest.approx(0.05)
    assert step_timing.step_duration(iter(())) is None


@pytest.mark.parametrize(("each", "seconds"), [(1, 3.0), (1 << 20, 95.0), (1 << 31, None), (200 << 20, 1e5), (7, 1e6)])
def test_the_checkpoints_told_are_those_that_stay(each: int, seconds: float | None) -> None:
    """A checkpoint every 30 s and one at the end, thinned as a store thins them."""
    policy = CheckpointPolicy()
    written = 100 if seconds is None else 1 + int(seconds / policy.interval_s)
    stay: list[tuple[int, int]] = []
    for step in range(min(written, 200)):
        stay.append((step, each))
        gone = thin(stay, policy.keep, policy.keep_bytes)
        stay = [item for item in stay if item[0] not in gone]
    assert policy.disk_bytes(each, seconds) == pytest.approx(sum(size for _, size in stay), rel=0.06)


def test_the_memory_of_a_process_is_not_that_of_the_one_that_started_it() -> None:
    """A child of a process that holds 600 MB; the kernel's ru_maxrss says 600 MB of it as well."""
    held = np.ones(600_000_000, np.uint8)
    script = "from lockstep.kinds.shared.step_timing import peak_bytes; print(peak_bytes())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert 1e6 < int(done.stdout) < 300e6 < held.nbytes


def counted(kind: Kind, home: Path, tables: dict[str, Any], **objects: Any) -> Estimate:
    """What `lockstep estimate` says, which makes no large network."""
    spec = resolve(kind.spec_model, load_spec({"kind": kind.name, **tables}))
    context = PrepareContext(blobs=FolderRunStore(home).blobs, base=home, python_objects=objects)
    return kind.estimate(kind.prepare(spec, context), context, time_large=False)


def large_cnn(home: Path) -> Estimate:
    """Window 8 with filters 4: the layer before the heads reads few numbers, so `hidden` is what counts."""
    tables = cnn_builders.values(network={"parameters": {"filters": [4, 4, 4], "hidden": 100_000_000}})
    return counted(cnn.KIND, home, tables, **{"data.candles": cnn_builders.candles_of()})


def large_episodes(home: Path) -> Estimate:
    tables = {"episodes": {"symbol": SYMBOL}, "network": {"parameters": {"filters": [4, 4, 4], "hidden": 100_000_000}}}
    return counted(episodes.KIND, home, tables, **{episodes_data.BOOK_KEY: collected(200)})


def large_agent(home: Path) -> Estimate:
    tables = {**agent_builders.SMALL, "agent": {"hidden": [32_000, 32_000]}}
    return counted(replay_agent.KIND, home, tables, **{"data.candles": agent_builders.market()})


def large_keras(home: Path) -> Estimate:
    """Images of 1,601 a side leave 99 x 99 x 64 numbers for the dense layer of 128."""
    if importlib.util.find_spec("keras") is None:
        pytest.skip("Keras is not installed")
    images = np.zeros((4, 1601, 1601, 1), np.float32)
    images[::2] = 1.0
    given = {classifier_data.SAMPLES_KEY: (images, np.arange(4) % 2)}
    tables = {"training": {"test_size": 0.0, "validation_split": 0.0, "epochs": 1}}
    return counted(KERAS_KIND, home, tables, **given)


@pytest.mark.parametrize(
    ("estimate", "parameters"),
    [(large_cnn, 1e9), (large_episodes, 1e9), (large_agent, 1e9), (large_keras, 80e6)],
)
def test_an_estimate_allocates_no_large_network(
    tmp_path: Path, estimate: Callable[[Path], Estimate], parameters: float
) -> None:
    """A billion float32 would be 4 GB, with moments and gradient 16; libraries are some 100 MB."""
    before = step_timing.peak_bytes()
    cost = estimate(tmp_path)
    assert step_timing.peak_bytes() - before < 600e6
    assert cost.memory_bytes is not None
    assert cost.memory_bytes > 4 * 4 * parameters
    assert cost.disk_bytes is not None
    assert cost.disk_bytes > 3 * 4 * parameters
    assert cost.seconds is None
    assert cost.steps is not None
    assert step_timing.UNTIMED in cost.notes


def test_a_constructor_that_computes_with_numbers_is_estimated_and_trained_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "square.py").write_text(SQUARE)
    given = {classifier_data.SAMPLES_KEY: (np.eye(3, dtype=np.float32)[np.arange(30) % 3], np.arange(30) % 3)}
    tables = {"network": {"name": "square.py:Square"}, "training": {"epochs": 1}}
    cost = counted(classifier.KIND, tmp_path, tables, **given)
    assert cost.seconds is not None
    assert any(note.startswith("59 trained parameters") for note in cost.notes), "3 x 8 + 8 + 8 x 3 + 3"


@pytest.mark.parametrize("form", ["cnn", "agent", "episodes"])
def test_the_memory_told_holds_what_the_process_has_anyway(tmp_path: Path, form: str) -> None:
    """Python, torch and numba are some hundred MB before the first weight."""
    cost = {
        "cnn": lambda: estimate_of(cnn.KIND, cnn_builders.prepared_from(tmp_path), tmp_path),
        "agent": lambda: estimate_of(
            replay_agent.KIND, agent_builders.prepared_of(agent_builders.market(), tmp_path), tmp_path
        ),
        "episodes": lambda: counted(
            episodes.KIND, tmp_path, {"episodes": {"symbol": SYMBOL}}, **{episodes_data.BOOK_KEY: collected(200)}
        ),
    }[form]()
    assert cost.memory_bytes is not None
    assert cost.memory_bytes > 100e6
    assert cost.seconds is not None
    assert 0.0 < cost.seconds < 60.0
    assert cost.training is not None
    assert cost.judging is not None
    assert cost.training.cpu > 0.0
    assert (cost.judging.cpu > 0.0) == (form != "episodes"), "episodes have no held-out part"
    assert cost.seconds == pytest.approx(cost.training.wall + cost.judging.wall)
