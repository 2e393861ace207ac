"""`kind = "cnn"`: the contract of trainings, what levels of recording leave alone, what is refused before a run."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

from safetensors.numpy import load
from tests.unit.kinds.builders import estimate_of
from tests.unit.kinds.cnn_builders import candles_of, context_of, prepared_from, spec_of, training_of

from lockstep.core.errors import DataError, InputError, MissingLibraryError, NetworkError, RefusedError, SpecError
from lockstep.kinds.cnn.kind import KIND
from lockstep.kinds.cnn.spec import CnnSpec
from lockstep.learning.gradients.record import SessionRecord
from lockstep.learning.gradients.replay import recompute_session, replay_gradients
from lockstep.learning.patterns import baselines
from lockstep.learning.patterns.windows import CHANNELS
from lockstep.runs.folder import RunFolder
from lockstep.runs.kind import PrepareContext
from lockstep.runs.loop import CompleteRun, execute
from lockstep.runs.spec import identity_body, load_spec, resolve
from lockstep.runs.store import FolderRunStore
from lockstep.runs.training import Training
from lockstep.testing.contracts.training_kind import EVERY_STEP, TrainingContract, fingerprint, new_folder

SHARED = Path(__file__).parents[5] / "shared" / "data"


class TestContract(TrainingContract):
    """Killed anywhere and resumed is never interrupted; checkpoints, segments and results repeat (R9.51)."""

    prepared: ClassVar[dict[int, Any]] = {}

    @pytest.fixture(autouse=True)
    def _home(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        self.home = tmp_path_factory.getbasetemp() / "cnn-home"

    def make(self, seed: int) -> Training:
        if seed not in self.prepared:  # what is pinned is not changed by a training
            self.prepared[seed] = prepared_from(self.home, seed=seed)
        return training_of(self.prepared[seed], self.home)


def run(tmp_path: Path, name: str, **tables: Any) -> tuple[RunFolder, CompleteRun, Training]:
    prepared = prepared_from(tmp_path / "home", **tables)
    folder = new_folder(tmp_path / name, 1)
    training = training_of(prepared, tmp_path / "home")
    return folder, execute(training, folder, fingerprint=fingerprint(1), policy=EVERY_STEP), training


def test_what_is_recorded_changes_no_weight_and_no_score(tmp_path: Path) -> None:
    """R9.20, R9.51: levels full, norms and none."""
    weights, scores = [], []
    for level in ("full", "norms", "none"):
        folder, outcome, _ = run(tmp_path, level, recording={"level": level})
        weights.append((folder.artifacts / "weights.safetensors").read_bytes())
        scores.append(outcome.result["scores"])
    assert weights[0] == weights[1] == weights[2]
    assert scores[0] == scores[1] == scores[2]


def test_a_session_is_replayed_from_its_gradients_and_recomputed(tmp_path: Path) -> None:
    """R9.14, R9.31: the record of this kind is whole."""
    folder, outcome, _ = run(tmp_path, "run")
    record = SessionRecord(folder)
    assert replay_gradients(record).steps == outcome.steps
    fresh = training_of(prepared_from(tmp_path / "home"), tmp_path / "home")
    assert recompute_session(fresh, record).equal  # type: ignore[arg-type]


def test_the_best_epochs_network_is_judged_and_the_last_one_is_kept_too(tmp_path: Path) -> None:
    """R9.17: chosen by validation loss; a rate this high makes a later epoch worse."""
    folder, outcome, _ = run(tmp_path, "run", training={"epochs": 6, "learning_rate": 0.05})
    losses = [epoch["loss"]["total"] for epoch in outcome.result["history"]]
    best = outcome.result["model"]["best_epoch"]
    assert losses[best] == min(losses)
    assert best < 5, "the case needs an epoch after the best one"
    last, kept = (
        load((folder.artifacts / name).read_bytes()) for name in ("weights.safetensors", "best_weights.safetensors")
    )
    assert last.keys() == kept.keys()
    assert any(last[name].tobytes() != kept[name].tobytes() for name in last)
    told = load((folder.artifacts / "predictions.safetensors").read_bytes())
    hits = (told["test.class"] == told["test.label"]).mean()
    assert hits == pytest.approx(outcome.result["scores"]["test"]["network"]["accuracy"])


def test_patience_ends_a_session_after_so_many_epochs_without_a_lower_loss(tmp_path: Path) -> None:
    _, outcome, _ = run(tmp_path, "run", training={"epochs": 40, "learning_rate": 0.05, "patience": 2})
    best, epochs = (outcome.result["model"][name] for name in ("best_epoch", "epochs"))
    assert epochs == best + 1 + 2 < 40


def test_the_learning_rate_follows_its_schedule(tmp_path: Path) -> None:
    tables = {"training": {"schedule": "linear", "warmup_steps": 2, "final_share": 0.5, "learning_rate": 0.004}}
    folder, outcome, _ = run(tmp_path, "run", **tables)
    steps = outcome.steps
    rates = SessionRecord(folder).columns["learning_rate"]
    # Two steps up to 0.004, then down in equal steps to half of it at the last.
    wanted = [0.002, 0.004] + [0.004 * (1 - 0.5 * k / (steps - 3)) for k in range(steps - 2)]
    assert rates == pytest.approx(wanted)


def test_a_run_is_restored_from_its_folder_alone(tmp_path: Path) -> None:
    prepared = prepared_from(tmp_path / "home")
    own = prepared.code
    folder = RunFolder.create(
        tmp_path / "run",
        spec=identity_body(prepared.spec),
        data=prepared.data,
        code=own.body(),
        numerics={},
        environment={},
        sources=own.sources,
    )
    spec = resolve(KIND.spec_model, load_spec(folder.read("spec")))
    again = KIND.restore(spec, folder, PrepareContext(blobs=FolderRunStore(tmp_path / "home").blobs))
    assert again.data == prepared.data
    assert identity_body(again.spec) == identity_body(prepared.spec)
    assert again.numerics == prepared.numerics
    assert "scikit-learn" in again.numerics
    assert again.payload.module.series.tobytes() == prepared.payload.module.series.tobytes()


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


@pytest.mark.parametrize(
    ("tables", "error", "message"),
    [
        ({"features": {"channels": ["return", "prophecy"]}}, SpecError, "channels are different names out of"),
        ({"features": {"window": 300}}, DataError, "leave none for|no bar of 420 has a whole window"),
        ({"split": {"validation": 0.6, "test": 0.5}}, SpecError, "leave something to train on"),
        ({"training": {"class_weights": [1.0, 2.0]}}, InputError, "class_weights lists 3 numbers above 0"),
        ({"labels": {"threshold": 50.0}}, DataError, "every class has a training sample"),
        ({"network": {"parameters": {"window": 6}}}, InputError, "a multiple of 4; found 6"),
        ({"training": {"optimizer": "rmsprop", "form": "fused"}}, SpecError, "no fused RMSprop"),
    ],
)
def test_what_cannot_be_trained_is_refused_with_the_rule(
    tmp_path: Path, tables: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        prepared_from(tmp_path, **tables)


def test_the_estimate_tells_disk_and_steps(tmp_path: Path) -> None:
    prepared = prepared_from(tmp_path)
    folder, outcome, _ = run(tmp_path, "run")
    estimate = estimate_of(KIND, prepared, tmp_path)
    assert estimate.steps == outcome.steps
    line = next(line for line in estimate.notes if "trained parameters" in line)
    assert "in all" in line
    written = sum(path.stat().st_size for path in (folder.journal, *folder.segments.rglob("*")) if path.is_file())
    assert written == pytest.approx(estimate.disk_bytes, rel=0.25)


def test_candles_with_gaps_lose_the_windows_that_would_cross_them(tmp_path: Path) -> None:
    whole = prepared_from(tmp_path, candles_of()).payload.module
    broken = prepared_from(tmp_path, candles_of(gaps=(200,))).payload.module
    bars = np.concatenate([broken.bars(part) for part in ("train", "validation", "test")])
    # A window of 8 with a warm-up of 14 and a label of 10 + 3 bars around the gap before row 200: none may span it.
    reach, ahead = broken.windows.reach, broken.label_settings.ahead
    assert reach == 7 + 14
    assert not np.any((bars >= 200 - ahead) & (bars < 200 + reach))
    assert len(whole.bars("train")) > len(broken.bars("train"))


LEARNABLE: dict[str, Any] = {
    "features": {"channels": ["return", "body"], "window": 8},
    "labels": {"task": "direction", "horizon": 1, "volatility_bars": 20, "threshold": 0.3},
    "network": {"parameters": {"filters": [16, 16, 16], "hidden": 16, "dropout": 0.0, "batch_norm": False}},
    "training": {"epochs": 12, "learning_rate": 0.003},
    "recording": {"level": "none"},
}


def verdict_on(tmp_path: Path, planted: float) -> dict[str, Any]:
    prepared = prepared_from(tmp_path / "home", candles_of(3000, planted=planted), **LEARNABLE)
    folder = new_folder(tmp_path / "run", 1)
    outcome = execute(training_of(prepared, tmp_path / "home"), folder, fingerprint=fingerprint(1))
    return dict(outcome.result)


def test_a_planted_signal_is_learned_and_beats_both_baselines(tmp_path: Path) -> None:
    """The next return follows the product of the last two signs, which no straight line through a window tells."""
    result = verdict_on(tmp_path, planted=1.0)
    assert result["verdict"]["sentence"] == "out of sample the network beats the majority class and logistic regression"
    assert result["verdict"]["decision"] == "CAUTION"
    # One spread of drift decides the sign of a normal return in 84 of 100 cases.
    assert result["scores"]["test"]["network"]["balanced_accuracy"] > 0.5


def test_pure_noise_is_reported_as_not_beating(tmp_path: Path) -> None:
    result = verdict_on(tmp_path, planted=0.0)
    assert result["verdict"]["decision"] == "REJECT"
    assert "does not beat" in result["verdict"]["sentence"]
    assert not any(item["beats"] for item in result["return_advantage"].values())


PAGE = (Path(__file__).parents[4] / "docs" / "networks.md").read_text()


def blocks(language: str) -> list[str]:
    return [part.split("```")[0] for part in PAGE.split(f"```{language}\n")[1:]]


def test_the_page_names_every_key_of_the_spec() -> None:
    tables = {"features", "labels", "split", "network", "training", "recording"}
    for table in tables:
        model = CnnSpec.model_fields[table].annotation
        assert model is not None
        for key in model.model_fields:
            # By its whole name, or by its own in a row that begins with another key of the same table.
            row = rf"^\| `{table}\.[^\n]*`{key}`"
            assert f"`{table}.{key}`" in PAGE or re.search(row, PAGE, re.MULTILINE), f"{table}.{key}"
    assert all(f"`{name}`" in PAGE for name in CHANNELS)


def test_the_specs_and_the_network_of_the_page_work(tmp_path: Path) -> None:
    whole, table, *_ = (tomllib.loads(text) for text in blocks("toml"))
    spec = resolve(CnnSpec, load_spec(whole))
    assert spec.data.path == "BTCUSDT-1h.parquet"
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "my_net.py").write_text(blocks("python")[0])
    _, outcome, _ = run(tmp_path, "run", network=table["network"])
    assert outcome.result["session"]["model"] == "my_net.py:TwoLayers"


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data are not here")
def test_a_users_own_file_is_prepared_without_tuning(tmp_path: Path) -> None:
    """Candles of another market and source: samples come out, parts keep their order."""
    values: dict[str, Any] = {
        "data": {"source": "file", "path": str(SHARED / "binance" / "BTCUSDT-1h.parquet"), "last": 3000},
        "features": {"channels": list(CHANNELS), "window": 64},
        "labels": {"task": "pivot"},
    }
    prepared = KIND.prepare(spec_of(**values), PrepareContext(blobs=FolderRunStore(tmp_path).blobs))
    module = prepared.payload.module
    assert module.series.shape == (11, 3000)
    assert all(min(part.values()) > 0 for part in module.counts().values())


@pytest.mark.parametrize(("missing", "install"), [("torch", "[ml]"), ("sklearn", "scikit-learn")])
def test_without_a_library_the_kind_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str, install: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingLibraryError) as caught:
        prepared_from(tmp_path)
    assert install in str(caught.value)


def test_looking_the_kind_up_imports_no_torch() -> None:
    """`lockstep --help` and every other command stay fast and work without it."""
    code = "import sys; import lockstep.kinds.cnn.kind; sys.exit(bool({'torch', 'sklearn'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_record_that_reaches_its_limit_ends_the_session_with_a_whole_report(tmp_path: Path) -> None:
    """Before the first epoch is over no network was chosen: what there is, is judged, and it says so."""
    _, outcome, _ = run(tmp_path, "run", recording={"max_bytes": 20_000})
    assert outcome.result["ended"] == "max_bytes"
    assert outcome.result["model"]["best_epoch"] is None
    assert outcome.result["verdict"]["sentence"].startswith("out of sample the network")
    assert outcome.result["segment_bytes"] <= 20_000


def test_a_cut_out_window_is_the_window_that_is_held_one_by_one(tmp_path: Path) -> None:
    """`BarSamples` and `PatternSamples` give the same bits for the same bars."""
    import torch

    from lockstep.learning.patterns.training import bar_samples

    module = prepared_from(tmp_path).payload.module
    bars = module.parts.train[[0, 7, 40]]
    read = bar_samples(module, cost=0.001, target_profit=0.01).reader("cpu")
    assert read(torch.from_numpy(bars)).numpy().tobytes() == module.inputs(bars).tobytes()


def test_profitability_is_what_the_better_side_would_have_made_net_of_cost(tmp_path: Path) -> None:
    """R9.9, R9.17: a return of -0.4 % costs 0.1 %: 0.3 % of a target of 1 %."""
    from lockstep.learning.patterns.training import bar_samples

    module = prepared_from(tmp_path).payload.module
    samples = bar_samples(module, cost=0.001, target_profit=0.01)
    bars = module.parts.train
    moved = np.abs(module.labels.returns[bars])
    assert samples.scores[bars] == pytest.approx(np.clip((moved - 0.001) / 0.01, 0.0, 1.0))
    assert samples.profitable[bars].tolist() == (moved > 0.001).tolist()
    # The head learns returns in units of the training rows' standard deviation.
    assert samples.returns[bars].std() == pytest.approx(1.0, rel=1e-5)


ODD = """
import torch
from torch import nn


class Plain(nn.Module):
    def __init__(self, channels, window, classes):
        super().__init__()
        self.linear = nn.Linear(channels * window, classes + 2)
        self.calls = 0

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
        self.calls += not self.training
        return direction * (float("nan") if self.calls > 3 else 1.0), value, confidence


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
        ("Detached", "a head depends on a trained parameter; none does"),
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
    with pytest.raises(RefusedError, match="evaluated, the head direction is finite; for bar"):
        run(tmp_path, "run", **odd(tmp_path, "NanLater", epochs=8))


def test_a_network_that_fails_later_is_named_as_what_failed(tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match="in training mode: ValueError: enough"):
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


def test_a_rare_class_is_not_thinned_away_from_the_logistic_regression(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every third row of all may miss a class of two rows; every third of each class does not."""
    module = prepared_from(tmp_path).payload.module
    train = module.parts.train
    module.labels.classes[train] = 1
    module.labels.classes[train[[1, 4]]], module.labels.classes[train[[2, 5]]] = 0, 2
    monkeypatch.setattr(baselines, "MOST_ROWS", len(train) // 3 + 1)
    found = baselines.logistic(module, None)
    assert found.predictions["test"].logits.shape == (len(module.parts.test), 3)
    assert found.facts["rows"] == pytest.approx(len(train) / 3, abs=3)
