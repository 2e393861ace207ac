"""Networks of the user's own under `kind = "cnn"`: which are trained, and which are refused, with the place named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

from safetensors.numpy import load
from tests.unit.kinds.cnn_builders import context_of, prepared_from, run, spec_of

from lockstep.core.errors import NetworkError
from lockstep.kinds.cnn.kind import KIND
from lockstep.learning.gradients.record import SessionRecord
from lockstep.learning.gradients.replay import replay_gradients

NETS = """
import torch
from torch import nn


class Flat(nn.Module):
    def __init__(self, channels, window, classes, heads="tuple", bias=0.0):
        super().__init__()
        self.linear = nn.Linear(channels * window, classes + 2)
        self.kind = heads

    def forward(self, x):
        out = self.linear(x.flatten(1))
        three = (out[:, :-2], out[:, -2], out[:, -1])
        if self.kind == "tuple":
            return three
        if self.kind == "mapping":
            return dict(zip(("direction", "expected_return", "confidence"), three))
        if self.kind == "two":
            return three[:2]
        if self.kind == "columns":
            return out[:, :-2], out[:, -2:-1], out[:, -1]
        if self.kind == "nan":
            return out[:, :-2] / 0.0, *three[1:]
        return {"direction": three[0], "return": three[1], "confidence": three[2]}
"""


@pytest.mark.parametrize("form", ["tuple", "mapping"])
def test_any_module_with_three_heads_is_trained(tmp_path: Path, form: str) -> None:
    """R9.41: a tuple or a mapping of the heads conforms as `Heads` does."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "nets.py").write_text(NETS)
    _, outcome, _ = run(tmp_path, form, network={"name": "nets.py:Flat", "parameters": {"heads": form}})
    assert outcome.result["session"]["model"] == "nets.py:Flat"
    assert outcome.result["last_loss"] < outcome.result["first_loss"]


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ("two", "a network returns three heads.*found 2 values"),
        ("columns", r"the head expected_return has shape \(64,\); found \(64, 1\). Use .squeeze\(1\)"),
        ("nan", "the head direction is finite for a finite input"),
        ("names", "expected_return is missing, found direction, return, confidence"),
    ],
)
def test_a_network_without_the_heads_is_refused_before_the_run_starts(tmp_path: Path, form: str, message: str) -> None:
    (tmp_path / "nets.py").write_text(NETS)
    spec = spec_of(network={"name": "nets.py:Flat", "parameters": {"heads": form}})
    with pytest.raises(NetworkError, match=message):
        KIND.prepare(spec, context_of(tmp_path))


ODD = """
import torch
from torch import nn


class Plain(nn.Module):
    def __init__(self, channels, window, classes):
        super().__init__()
        self.linear = nn.Linear(channels * window, classes + 2)
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def heads(self, x):
        out = self.linear(x.flatten(1))
        return out[:, :-2], out[:, -2], out[:, -1]

    def forward(self, x):
        return self.heads(x)


class ColumnInTraining(Plain):
    def forward(self, x):
        direction, value, confidence = self.heads(x)
        return direction, value[:, None] if self.training else value, confidence


class SqueezedAway(Plain):
    def forward(self, x):
        direction, value, confidence = self.heads(x)
        return direction, value[:, None].squeeze(), confidence


class NormedRows(Plain):
    def __init__(self, channels, window, classes):
        super().__init__(channels, window, classes)
        self.norm = nn.BatchNorm1d(channels * window)

    def forward(self, x):
        return self.heads(self.norm(x.flatten(1)))


class Detached(Plain):
    def forward(self, x):
        return tuple(head.detach() for head in self.heads(x))


class Exits(Plain):
    def forward(self, x):
        if self.training:
            raise SystemExit(0)
        return self.heads(x)


class Lazy(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.linear = nn.LazyLinear(classes + 2)


class NanLater(Plain):
    def forward(self, x):
        direction, value, confidence = self.heads(x)
        self.calls += self.training
        return direction * (float("nan") if self.calls > 8 and not self.training else 1.0), value, confidence


class FailsLater(Plain):
    def forward(self, x):
        self.calls += self.training
        if self.calls > 8:
            raise ValueError("enough")
        return self.heads(x)


class Shared(Plain):
    def __init__(self, channels, window, classes):
        super().__init__(channels, window, classes)
        self.once = self.twice = nn.Linear(channels * window, channels * window)
        self.still = nn.Linear(channels * window, channels * window).requires_grad_(False)
        self.unused = nn.Linear(3, 3)

    def forward(self, x):
        return self.heads(self.twice(torch.relu(self.once(self.still(x.flatten(1))))))
"""


def odd(tmp_path: Path, name: str, **training: Any) -> dict[str, Any]:
    (tmp_path / "home").mkdir(exist_ok=True)
    (tmp_path / "home" / "odd.py").write_text(ODD)
    return {"network": {"name": f"odd.py:{name}", "parameters": {}}, "training": training}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ColumnInTraining", r"for 64 windows the head expected_return has shape \(64,\); found \(64, 1\)"),
        ("SqueezedAway", r"for 1 windows the head expected_return has shape \(1,\); found \(\). Use .squeeze\(1\)"),
        ("Detached", "an output depends on a trained parameter; none does"),
        ("Exits", r"odd.py:Exits, line \d+: .* in training mode: SystemExit"),
        ("Lazy", "linear.weight would get its own at the first call"),
    ],
)
def test_a_network_that_conforms_to_some_batches_only_is_refused_before_the_run_starts(
    tmp_path: Path, name: str, message: str
) -> None:
    """Heads of another shape would be broadcast against their targets: a loss, and a wrong one."""
    with pytest.raises(NetworkError, match=message):
        prepared_from(tmp_path / "home", **odd(tmp_path, name))


def test_a_norm_over_rows_is_refused_where_an_epoch_ends_with_one_row(tmp_path: Path) -> None:
    rows = len(prepared_from(tmp_path / "home").payload.module.parts.train)
    size = next(size for size in range(20, rows) if rows % size == 1)
    with pytest.raises(NetworkError, match=r"more than 1 value per channel.*choose another training.batch_size"):
        prepared_from(tmp_path / "home", **odd(tmp_path, "NormedRows", batch_size=size))
    prepared_from(tmp_path / "home", **odd(tmp_path, "NormedRows", batch_size=size + 1))


def test_a_network_that_evaluates_to_no_number_ends_the_session_before_an_epoch_is_chosen_by_it(tmp_path: Path) -> None:
    """NaN < x and x < NaN are both false: the first epoch would have stayed the best for ever."""
    with pytest.raises(NetworkError, match=r"validation after epoch \d+: the head direction is finite; for bar"):
        run(tmp_path, "run", **odd(tmp_path, "NanLater", epochs=8))


def test_a_network_that_fails_later_is_named_as_what_failed(tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match=r"step 8, odd.py, line \d+: .* in training mode: ValueError: enough"):
        run(tmp_path, "run", **odd(tmp_path, "FailsLater", epochs=8))


def test_shared_frozen_and_unused_weights_are_trained_kept_and_replayed(tmp_path: Path) -> None:
    folder, outcome, _ = run(tmp_path, "run", **odd(tmp_path, "Shared"))
    assert replay_gradients(SessionRecord(folder)).steps == outcome.steps
    kept = load((folder.artifacts / "weights.safetensors").read_bytes())
    assert kept["once.weight"].tobytes() == kept["twice.weight"].tobytes()
    seeds = prepared_from(tmp_path / "home", **odd(tmp_path, "Shared")).payload
    first = {name: value.numpy() for name, value in seeds.make_network().state_dict().items()}
    moved = {name for name in first if kept[name].tobytes() != first[name].tobytes()}
    assert moved == {name for name in first if name.split(".")[0] in {"linear", "once", "twice"}}
