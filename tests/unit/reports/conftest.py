"""A home with one run of a small kind that learns by gradients, and the small kinds themselves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import lockstep as ls
from lockstep.runs import registry
from lockstep.testing import toy_kind


@pytest.fixture(autouse=True, scope="module")
def kinds() -> Iterator[None]:
    # By its path: the module needs torch, and a machine without torch still runs the tests that do not.
    registry.register("toy-gradients", "lockstep.testing.gradient_kind:KIND")
    registry.register("toy", toy_kind.PATH)
    yield
    registry.unregister("toy-gradients")
    registry.unregister("toy")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("home")
    ls.train({"kind": "toy-gradients", "epochs": 4}, home=folder, tag="first")  # 12 steps
    return folder
