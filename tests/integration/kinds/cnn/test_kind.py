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
from tests.unit.kinds.cnn_builders import candles_of, prepared_from, run, spec_of, training_of

from lockstep.core.errors import DataError, InputError, MissingLibraryError, SpecError
from lockstep.kinds.cnn.kind import KIND
from lockstep.kinds.cnn.spec import CnnSpec
from lockstep.learning.gradients.record import SessionRecord
from lockstep.learning.gradients.replay import recompute_session, replay_gradients
from lockstep.learning.patterns import baselines
from lockstep.learning.patterns.windows import CHANNELS
from lockstep.runs.folder import RunFolder
from lockstep.runs.kind import PrepareContext
from lockstep.runs.spec import identity_body, load_spec, resolve
from lockstep.runs.store import FolderRunStore
from lockstep.runs.training import Training
from lockstep.testing.contracts.training_kind import TrainingContract

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
