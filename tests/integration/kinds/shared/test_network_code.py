"""The user's network: found, kept as text, made again from the run's own copy with the same weights (R9.41)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from lockstep.core.errors import DataError, IntegrityError, NetworkError, UnknownNameError
from lockstep.kinds.shared import network_code
from lockstep.kinds.shared.gradient_spec import NetworkTable
from lockstep.kinds.shared.network_code import INITIAL, NetworkCode, state_arrays
from lockstep.runs.folder import RunFolder
from lockstep.runs.kind import PrepareContext
from lockstep.runs.seeds import SeedTree
from lockstep.runs.store import FolderRunStore

BUILT_IN = {"pattern-cnn": "lockstep.learning.patterns.networks:PatternCNN"}
SIZES = {"channels": 3, "window": 8, "classes": 3}
SEEDS = SeedTree(7).child("init")
MINE = """
import torch
from torch import nn


class Mine(nn.Module):
    def __init__(self, channels: int, window: int, classes: int, *, hidden: tuple[int, ...] = (4,)) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(channels * window, hidden[0]), nn.BatchNorm1d(hidden[0]))
        self.heads = nn.Linear(hidden[0], classes + 2)

    def forward(self, x):
        out = self.heads(self.body(x))
        return {"direction": out[:, :-2], "expected_return": out[:, -2], "confidence": out[:, -1]}


class Draws(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        import os
        self.weight = nn.Parameter(torch.tensor(list(os.urandom(4)), dtype=torch.float32))


class NotOne:
    pass
"""


@pytest.fixture
def context(tmp_path: Path) -> PrepareContext:
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "mine.py").write_text(MINE)
    return PrepareContext(blobs=FolderRunStore(tmp_path / "home").blobs, base=tmp_path)


def code_of(context: PrepareContext, name: str = "nets/mine.py:Mine", **parameters: Any) -> NetworkCode:
    return network_code.from_user(NetworkTable(name=name, parameters=parameters), context, BUILT_IN)


def folder_of(code: NetworkCode, path: Path) -> RunFolder:
    data, own = code.pinned({"digest": "0" * 64, "snapshots": ["0" * 64]}), code.identity()
    return RunFolder.create(path, spec={}, data=data, code=own.body(), numerics={}, environment={}, sources=own.sources)


def test_a_network_travels_as_text_and_is_made_again_from_the_run_with_the_same_weights(
    context: PrepareContext,
) -> None:
    code = code_of(context, hidden=[5])
    folder = folder_of(code, context.base / "run")
    (context.base / "nets" / "mine.py").unlink()  # the run no longer needs what the user has
    table = NetworkTable(name=code.name, parameters=dict(code.parameters))
    again = network_code.from_run(table, folder, context, BUILT_IN)
    assert (code.name, again.name) == ("mine.py:Mine", "mine.py:Mine")
    assert again.identity().body() == code.identity().body()
    one, two = (state_arrays(item.make(SIZES, SEEDS)) for item in (code, again))
    assert one["body.1.weight"].shape == (5, 3 * 8)
    assert all(one[name].tobytes() == two[name].tobytes() for name in one)


def test_weights_come_from_the_given_stream_and_leave_the_global_generator_alone(context: PrepareContext) -> None:
    code = code_of(context)
    before = torch.default_generator.get_state()
    one, other = (state_arrays(code.make(SIZES, seeds))["heads.weight"] for seeds in (SEEDS, SeedTree(8)))
    torch.manual_seed(3)
    again = state_arrays(code.make(SIZES, SEEDS))["heads.weight"]
    torch.default_generator.set_state(before)
    assert one.tobytes() == again.tobytes()
    assert not np.array_equal(one, other)


def test_what_a_file_makes_at_its_top_is_the_same_whichever_comes_first(context: PrepareContext) -> None:
    """An estimate makes the network on the meta device, a resume draws its weights first; the file is run once."""
    (context.base / "top.py").write_text(MINE + "\n\nSCALE = torch.randn(3)\nTRIED = Mine(3, 8, 3)\n")
    code = code_of(context, "top.py:Mine")
    code.on_meta(SIZES)
    (loaded,) = (module for module in sys.modules.values() if "TRIED" in vars(module))
    scale = loaded.SCALE.tolist()  # a tensor on the meta device holds no numbers
    first = state_arrays(code.check_repeatable(SIZES, SEEDS))["heads.weight"]
    del sys.modules[loaded.__name__]
    again = state_arrays(code.check_repeatable(SIZES, SEEDS))["heads.weight"]
    (loaded,) = (module for module in sys.modules.values() if "TRIED" in vars(module))
    assert again.tobytes() == first.tobytes()
    assert loaded.SCALE.tolist() == scale


def test_an_instance_brings_its_weights_and_they_are_pinned_by_digest(context: PrepareContext) -> None:
    kind = code_of(context)._class()
    given = kind(**SIZES)
    context = PrepareContext(blobs=context.blobs, base=context.base, python_objects={"network.name": given})
    code = network_code.from_user(NetworkTable(name="Mine"), context, BUILT_IN)
    folder = folder_of(code, context.base / "run")
    digest = folder.read("data")[INITIAL]
    assert digest in folder.read("data")["snapshots"]
    here = PrepareContext(blobs=context.blobs)
    again = network_code.from_run(NetworkTable(name=code.name), folder, here, BUILT_IN)
    assert again.identity().body() == code.identity().body()
    made, wanted = state_arrays(again.make(SIZES, SEEDS)), state_arrays(given)
    assert {name: array.tobytes() for name, array in made.items()} == {n: a.tobytes() for n, a in wanted.items()}
    with pytest.raises(NetworkError, match=r"body.1.bias has shape \[9\]; in the instance that was given it has \[4\]"):
        network_code.from_user(NetworkTable(name="Mine", parameters={"hidden": [9]}), context, BUILT_IN).make(
            SIZES, SEEDS
        )
    stored = context.blobs.path(digest, ".safetensors")
    content = bytearray(stored.read_bytes())
    content[-1] ^= 1
    stored.write_bytes(content)
    with pytest.raises(IntegrityError, match=r"its arrays have digest [0-9a-f]{64}, not the file's name"):
        network_code.from_run(NetworkTable(name=code.name), folder, here, BUILT_IN)
    stored.unlink()
    with pytest.raises(DataError, match="there is no such snapshot"):
        network_code.from_run(NetworkTable(name=code.name), folder, here, BUILT_IN)


def test_a_built_in_network_is_named_and_brings_no_source(context: PrepareContext) -> None:
    assert network_code.from_user(NetworkTable(), context, BUILT_IN).identity().sources == {}
    with pytest.raises(UnknownNameError, match="'lenet': no network is called that; built in: pattern-cnn"):
        code_of(context, "lenet")


def test_a_changed_byte_in_the_runs_copy_is_never_used(context: PrepareContext) -> None:
    folder = folder_of(code_of(context), context.base / "run")
    kept = folder.sources / "mine.py"
    kept.write_text(kept.read_text().replace("(4,)", "(5,)"))
    with pytest.raises(IntegrityError, match="not those the run was made with"):
        network_code.from_run(NetworkTable(name="mine.py:Mine"), folder, context, BUILT_IN)


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("nets/none.py:Mine", {}, "there is no such network file"),
        ("nets/mine.py:Other", {}, "mine.py has no class 'Other'"),
        ("nets/mine.py:NotOne", {}, "a network is a torch.nn.Module; found NotOne"),
        ("nets/mine.py:Mine", {"depth": 3}, "cannot be made from its parameters: TypeError.*depth"),
        ("nets/mine.py:Mine", {"hidden": []}, "mine.py:Mine, line 9: .*IndexError"),
        ("nets/mine.py:Draws", {}, "made twice from the same seed it has other weights"),
    ],
)
def test_what_cannot_be_a_network_is_refused_with_the_place_and_the_cure(
    context: PrepareContext, name: str, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(NetworkError, match=message):
        code_of(context, name, **parameters).check_repeatable(SIZES, SEEDS)


def test_a_forward_pass_that_fails_names_the_line_of_the_users_file(context: PrepareContext) -> None:
    code = code_of(context)
    module = code.make(SIZES, SEEDS)
    assert code.call(module, torch.zeros(2, 3, 8))["direction"].shape == (2, 3)
    with pytest.raises(NetworkError, match=r"mine.py:Mine, line 13: .* an input of shape \(2, 3, 9\)"):
        code.call(module, torch.zeros(2, 3, 9))
    assert module.training
