"""A replay of gradients that comes out otherwise: unequal with the tensor, or not comparable, and why."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from tests.unit.kinds.classifier_builders import prepared_of, training_of

from lockstep.app import record_replay
from lockstep.core.errors import NotComparableError
from lockstep.learning.gradients.record import SessionRecord
from lockstep.runs.folder import RunFolder
from lockstep.runs.identity import NumericsIdentity
from lockstep.runs.loop import execute
from lockstep.testing.contracts.training_kind import fingerprint

SHRINKS = """
import torch
from torch import nn


class Shrinks(nn.Module):
    "halves a weight by itself, from its third step on: no rehearsal sees that"
    def __init__(self, features, classes):
        super().__init__()
        self.body, self.head = nn.Linear(features, 4), nn.Linear(4, classes)
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def forward(self, x):
        if self.training:
            self.calls += 1
            if self.calls > 2:
                self.head.weight.data.mul_(0.5)
        return self.head(torch.relu(self.body(x)))
"""


def recorded(home: Path, **entries: str) -> SessionRecord:
    """A run of 6 steps whose numerics have `entries` in place of or beside those of this machine."""
    (home / "nets.py").write_text(SHRINKS)
    given = np.random.default_rng(0).normal(size=(24, 3)).astype("f4"), np.arange(24) % 2
    training = {"epochs": 2, "batch_size": 8, "test_size": 0.0}
    ready = prepared_of(home, given=given, network={"name": "nets.py:Shrinks"}, training=training)
    folder = RunFolder.create(
        home / "run",
        spec={},
        data=ready.data,
        code=ready.code.body(),
        numerics={**NumericsIdentity.collect(ready.numerics).body(), **entries},
        environment={},
        sources=ready.code.sources,
    )
    execute(training_of(ready, home), folder, fingerprint=fingerprint(1))
    return SessionRecord(folder)


def test_weights_that_a_network_changed_by_itself_are_unequal_and_named(tmp_path: Path) -> None:
    """The library of a baseline, which applying gradients never uses, is no reason to decide nothing."""
    record = recorded(tmp_path, **{"scikit-learn": "0.1"})
    outcome = record_replay.apply(record, 0, len(record), check_every=1000, on_step=None)
    assert outcome.difference is not None
    assert "the state after step 2," in outcome.difference
    assert "head.weight, made from the stored gradients, differs from weights.safetensors" in outcome.difference


def test_with_another_torch_equality_is_neither_claimed_nor_refuted(tmp_path: Path) -> None:
    record = recorded(tmp_path, torch="0.1")
    with pytest.raises(NotComparableError, match=r"torch: 0\.1 then"):
        record_replay.apply(record, 0, len(record), check_every=1000, on_step=None)
