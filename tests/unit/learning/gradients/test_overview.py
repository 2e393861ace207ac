"""A recorded training in bins: low, mean and high of each span of steps, and layers joined until they fit."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("torch")

import numpy as np

import lockstep as ls
from lockstep.learning.gradients.overview import Overview, edges, layers
from lockstep.learning.gradients.record import SessionRecord
from lockstep.runs import registry
from lockstep.runs.store import FolderRunStore
from lockstep.testing import gradient_kind


@pytest.fixture(autouse=True, scope="module")
def kind() -> Iterator[None]:
    registry.register("toy-gradients", gradient_kind.PATH)
    yield
    registry.unregister("toy-gradients")


def test_bins_keep_every_extreme_and_the_mean() -> None:
    """7 steps in 3 bins: [0, 2), [2, 4), [4, 7)."""
    assert edges(7, 3).tolist() == [0, 2, 4, 7]
    assert edges(2, 3).tolist() == [0, 1, 2]
    assert edges(0, 3).tolist() == [0]


def test_a_session_in_bins_agrees_with_its_columns(tmp_path: Path) -> None:
    ls.train({"kind": "toy-gradients", "epochs": 4}, home=tmp_path, tag="first")  # 12 steps
    folder = FolderRunStore(tmp_path).find("first")
    record, overview = SessionRecord(folder), Overview(folder)
    bins, best = overview.steps_and_best(5, 3)
    bounds = overview.edges(5)
    for name, column in record.columns.items():
        parts = [column[a:b] for a, b in itertools.pairwise(bounds)]
        assert bins[name].low.tolist() == [part.min() for part in parts]
        assert bins[name].high.tolist() == [part.max() for part in parts]
        assert bins[name].mean.tolist() == [part.mean() for part in parts]
    assert [row["step"] for row in best] == record.by_value()[:3]
    norms = overview.norms_in_bins(12)
    assert norms is not None
    gradients = record.step(4).gradients
    both = [gradients[f"direction.{part}"].astype(np.float64) for part in ("weight", "bias")]
    expected = np.sqrt(sum(float((part**2).sum()) for part in both))
    assert norms.gradient["direction"].mean[4] == pytest.approx(expected, rel=1e-6)


def test_many_layers_are_joined_by_the_fronts_of_their_names() -> None:
    """Sixty blocks of two layers are 120, by their first two parts 60, by the first alone one: neighbours join."""
    names = [f"net.{block}.{layer}.weight" for block in range(60) for layer in "ab"]
    joined = layers(names)
    assert len(joined) == 40
    assert joined["net.0"] == [0, 1]
    assert joined["net.1 to net.2"] == [2, 3, 4, 5]
    assert sorted(place for places in joined.values() for place in places) == list(range(120))
    assert layers(["a.weight", "a.bias", "b"]) == {"a": [0, 1], "b": [2]}
    assert len(layers([f"net.{block}.{layer}.weight" for block in range(20) for layer in "abc"])) == 20
