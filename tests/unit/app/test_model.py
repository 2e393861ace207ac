"""`ls.load_model`: predictions that are the run's own, decisions that know no later bar, and both in the engine."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

import torch
from safetensors.numpy import load
from tests.unit.kinds import agent_builders, classifier_builders, cnn_builders
from tests.unit.kinds.builders import folder_of

from lockstep import bootstrap
from lockstep.app.model import load_model
from lockstep.app.predict import predict
from lockstep.core.errors import DataError, InputError, IntegrityError, RefusedError
from lockstep.engine.export import trades_csv
from lockstep.engine.simulate import simulate
from lockstep.kinds.cnn.model import CnnModel
from lockstep.kinds.replay_agent.model import ReplayAgentModel
from lockstep.kinds.shared.models import AgentDecisions, Prediction, SampleModel
from lockstep.learning.patterns.networks import PatternCNN
from lockstep.learning.supervised.results import judged, per_class
from lockstep.market.candles import Candles
from lockstep.runs.folder import RunFolder
from lockstep.runs.kind import Prepared
from lockstep.runs.loop import execute
from lockstep.runs.store import FolderRunStore
from lockstep.runs.training import Training
from lockstep.runs.transfer import import_run
from lockstep.runs.trust import mark_imported
from lockstep.strategies.evaluate import backtest
from lockstep.testing.contracts.training_kind import fingerprint

STORED = Path(__file__).parents[2] / "golden" / "runs" / "v0.1.0-kinds"


def complete(prepared: Prepared, training: Training, home: Path) -> RunFolder:
    folder = folder_of(prepared, home / "runs" / "one")
    execute(training, folder, fingerprint=fingerprint(1))
    return folder


def loaded(folder: RunFolder, home: Path, **options: Any) -> Any:
    return load_model(folder, FolderRunStore(home).blobs, **options)


@pytest.fixture(scope="module")
def cnn(tmp_path_factory: pytest.TempPathFactory) -> tuple[CnnModel, RunFolder]:
    """A network whose weights are the average of those of its training."""
    home = tmp_path_factory.mktemp("cnn")
    training = {"ema_decay": 0.5, "class_weights": "balanced", "learning_rate": 0.01, "epochs": 5}
    candles = cnn_builders.candles_of(planted=2.0)  # it names all three classes of these
    prepared = cnn_builders.prepared_from(home, candles, labels={"threshold": 0.2}, training=training)
    folder = complete(prepared, cnn_builders.training_of(prepared, home), home)
    return loaded(folder, home), folder


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> tuple[ReplayAgentModel, RunFolder]:
    home = tmp_path_factory.mktemp("agent")
    costs = {"fee_rate": 0.0002, "slippage_rate": 0.0001}
    prepared = agent_builders.prepared_of(agent_builders.market(), home, costs=costs)
    folder = complete(prepared, agent_builders.training_of(prepared, home), home)
    return loaded(folder, home), folder


def test_predictions_on_the_runs_own_bars_are_its_own_to_the_last_bit(cnn: tuple[CnnModel, RunFolder]) -> None:
    model, folder = cnn
    own = load((folder.artifacts / "predictions.safetensors").read_bytes())
    for part in ("validation", "test"):
        output = model.predict(model.candles, bars=model.bars(part))
        assert output.bars is not None
        assert output.expected_return is not None
        assert output.confidence is not None
        columns = {
            "bar": output.bars,
            "class": output.decided,
            "probabilities": output.probabilities,
            "return": output.expected_return,
            "confidence": output.confidence,
        }
        for name, column in columns.items():
            assert column.tobytes() == own[f"{part}.{name}"].tobytes(), name
        assert np.array_equal(output.timestamp, model.candles.timestamp[own[f"{part}.bar"]])
    every = model.predict(model.candles)
    assert every.bars is not None
    at = np.searchsorted(every.bars, own["test.bar"])
    assert every.probabilities[at] == pytest.approx(own["test.probabilities"], abs=1e-6)


def changed_after(candles: Candles, bar: int) -> Candles:
    """The same candles up to `bar`, another market after it."""
    other = cnn_builders.candles_of(len(candles), seed=99)
    values = {
        name: np.concatenate([getattr(candles, name)[: bar + 1], getattr(other, name)[bar + 1 :]])
        for name in ("open", "high", "low", "close", "volume")
    }
    # The bar after it opens where it opens: a jump is a market too.
    return Candles.from_arrays(timestamp=candles.timestamp, timeframe="1h", symbol="TEST/USD", **values)


@pytest.mark.parametrize("bar", [30, 200, 418])
def test_no_value_of_a_network_depends_on_a_later_bar(cnn: tuple[CnnModel, RunFolder], bar: int) -> None:
    """Neither on what comes after, nor on how much of it: predictions to the last bit, signals, and the strategy's."""
    model, _ = cnn
    whole = model.candles
    before, signals = model.predict(whole), model.signals(whole)
    assert before.bars is not None
    count = int((before.bars <= bar).sum())
    for candles in (changed_after(whole, bar), whole.take(slice(0, bar + 1))):
        after = model.predict(candles)
        assert after.probabilities[:count].tobytes() == before.probabilities[:count].tobytes()
        assert np.array_equal(model.signals(candles).side[: bar + 1], signals.side[: bar + 1])
    if bar == 200:
        assert model.signals(changed_after(whole, bar)).side[bar + 1 :].tobytes() != signals.side[bar + 1 :].tobytes()


def test_rows_go_through_the_network_in_pieces_of_one_height(cnn: tuple[CnnModel, RunFolder]) -> None:
    """What a matrix product makes of a row may depend on how many go with it: the run's own parts go as they went."""
    model, _ = cnn
    heights: list[int] = []
    handle = model._network._flat.module.register_forward_pre_hook(lambda _, x: heights.append(len(x[0])))
    try:
        model.predict(model.candles)
        model.predict(model.candles, bars=model.bars("test"))
    finally:
        handle.remove()
    assert heights == [1024, len(model.bars("test"))]


def test_signals_go_through_simulate_and_backtest_alike(cnn: tuple[CnnModel, RunFolder]) -> None:
    model, folder = cnn
    signals = model.signals(model.candles, min_probability=0.34)
    assert 0 < np.count_nonzero(signals.side) < len(model.candles)
    simulation = simulate(model.candles, signals)
    done = backtest(model.candles, model.strategy(min_probability=0.34))
    assert len(simulation.trades) > 0
    assert done.metrics == simulation.metrics
    assert done.strategy == f"model of run {folder.path.name}"
    # A position ends at the horizon: entered at the next open, closed at a close three bars after the decision.
    assert signals.time_limit == model.horizon == 3
    flipped = model.signals(model.candles, min_probability=0.34, sides={"up": -1, "down": 1})
    assert np.array_equal(flipped.side, -signals.side)


def test_a_classifier_predicts_its_test_as_it_was_tested(tmp_path: Path) -> None:
    tables = classifier_builders.SMALL
    prepared = classifier_builders.prepared_of(tmp_path, **tables)
    folder = complete(prepared, classifier_builders.training_of(prepared, tmp_path), tmp_path)
    model, parts = loaded(folder, tmp_path), prepared.payload.parts
    test = model.samples("test")
    output = model.predict(test)
    assert judged(output.probabilities, test, parts.train) == folder.result()["test"]
    assert per_class(output.probabilities, parts)["per_class"] == folder.result()["per_class"]
    plain = model.predict({name: array.astype(np.float64) for name, array in test.inputs.items()})
    assert plain.probabilities.tobytes() == output.probabilities.tobytes()
    sides = {model.classes[0]: 1, model.classes[1]: -1}
    bars = np.arange(len(test), dtype=np.int64) * 2
    side = model.signals(test, bars=bars, length=100, sides=sides).side
    assert np.array_equal(side[bars], np.select([output.decided == 0, output.decided == 1], [1, -1], 0))
    with pytest.raises(InputError, match="is a side of the market: say which"):
        model.signals(test, bars=bars, length=100)
    with pytest.raises(InputError, match="bars rise from 0 to 9"):
        model.signals(test, bars=bars, length=10, sides=sides)
    with pytest.raises(DataError, match="samples are an array with a row per sample for each of the inputs"):
        model.predict(np.zeros((2, 3)))
    with pytest.raises(InputError, match="found 'tests'"):
        model.samples("tests")


def test_an_agent_does_on_the_test_part_what_the_run_did(agent: tuple[ReplayAgentModel, RunFolder]) -> None:
    """The engine's trades are those of the run's own file, and `ls.backtest` has the same metrics."""
    model, folder = agent
    candles = model.part("test")
    signals = model.signals(candles)
    assert not signals.side[: model.lookback].any()
    # The walk of the run begins at the first decision bar, and decides nothing at the last.
    own = candles.slice(model.lookback, len(candles))
    side, leaves = signals.side[model.lookback :].copy(), np.array(signals.exit)[model.lookback :]
    side[-1], leaves[-1] = 0, False
    simulation = simulate(own, type(signals)(side=side, exit=leaves), model.costs, model.execution)
    assert trades_csv(simulation) == (folder.artifacts / "test_trades.csv").read_bytes()
    done = backtest(candles, model.strategy(), costs=model.costs, execution=model.execution)
    assert done.metrics == simulate(candles, signals, model.costs, model.execution).metrics


def test_a_backtest_over_bars_that_a_model_learned_from_says_so(
    agent: tuple[ReplayAgentModel, RunFolder], cnn: tuple[CnnModel, RunFolder]
) -> None:
    (model, _), (network, _) = agent, cnn
    assert not any("learned from" in note for note in backtest(model.part("test"), model.strategy()).notes)
    done = backtest(model.candles, model.strategy())
    first, last = model.learned
    seen = int(np.count_nonzero((model.candles.timestamp >= first) & (model.candles.timestamp <= last)))
    assert 0 < seen < len(model.candles)
    assert f"learned from {seen:,} of these {len(model.candles):,} bars" in done.notes[-1]
    assert done.notes[-1] in str(done)
    assert done.to_dict()["notes"] == list(done.notes)
    # A test bar's window may begin where training ended, never before.
    start = int(network.bars("test")[0])
    reach = int(np.searchsorted(network.candles.timestamp, network.learned[1], side="right"))
    assert int(network.bars("validation")[-1]) < reach <= start
    later = network.candles.slice(reach, len(network.candles))
    assert not any("learned from" in note for note in backtest(later, network.strategy()).notes)
    assert "learned from" in backtest(network.candles, network.strategy()).notes[-1]


@pytest.mark.parametrize("bar", [10, 90, 198])
def test_no_decision_of_an_agent_depends_on_a_later_bar(agent: tuple[ReplayAgentModel, RunFolder], bar: int) -> None:
    model, _ = agent
    whole = model.candles
    before = model.predict(whole)
    count = bar + 1 - model.lookback
    cut = model.predict(whole.take(slice(0, bar + 1)))
    # The last bar has a decision too: what to do at the next open.
    assert len(cut) == count
    assert np.array_equal(cut.actions, before.actions[:count])
    assert np.array_equal(cut.sides, before.sides[:count])
    other = agent_builders.market(seed=7)
    values = {
        name: np.concatenate([getattr(whole, name)[: bar + 1], getattr(other, name)[bar + 1 :]])
        for name in ("open", "high", "low", "close", "volume")
    }
    after = model.predict(Candles.from_arrays(timestamp=whole.timestamp, timeframe="1h", **values))
    assert np.array_equal(after.sides[:count], before.sides[:count])


@pytest.mark.parametrize("kind", ["cnn", "cnn-episodes", "classifier", "agent-session", "replay-agent"])
def test_runs_of_earlier_releases_are_loaded_and_predict(kind: str, tmp_path: Path) -> None:
    """Stored by other numerics, as a note says; the network of the episodes against weights put in by hand."""
    store = FolderRunStore(tmp_path)
    folder = RunFolder(import_run(STORED / f"{kind}.lockstep.zip", store).path)
    model = load_model(folder, store.blobs, trust=True)
    assert model.kind == kind
    assert len(model.notes) == 1
    if kind == "cnn-episodes":
        windows = model.windows  # type: ignore[attr-defined]
        output = model.predict(windows)  # type: ignore[attr-defined]
        spec = model._plan.spec
        network = PatternCNN(channels=windows.shape[2], window=windows.shape[1], **spec.network.parameters)
        arrays = load((folder.artifacts / "weights.safetensors").read_bytes())
        network.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()})
        scaled = (windows - np.array(spec.scaling.mean)) / np.array(spec.scaling.deviation)
        with torch.no_grad():
            heads = network.eval()(torch.tensor(scaled.transpose(0, 2, 1), dtype=torch.float32))
        assert output.probabilities == pytest.approx(torch.softmax(heads.direction, dim=1).numpy(), abs=1e-5)
        assert output.expected_return == pytest.approx(heads.expected_return.numpy(), abs=1e-5)
        with pytest.raises(DataError, match=r"windows are numbers \(n, "):
            model.predict(windows[:, 1:])  # type: ignore[attr-defined]
    if kind == "agent-session":
        assert isinstance(model, SampleModel)
        output = model.predict(np.zeros((3, 3), np.float32))
        assert isinstance(output, AgentDecisions)
        signals = model.signals(np.zeros((3, 3)), bars=np.array([1, 4, 6]), length=8)
        assert np.array_equal(signals.side[[1, 4, 6]], output.actions - 1)
        with pytest.raises(DataError, match=r"states have the shape \(n, 3\)"):
            model.predict(np.zeros((3, 4)))
    if kind == "cnn":
        assert isinstance(model, CnnModel)
        assert isinstance(model.predict(model.candles), Prediction)


def test_what_cannot_be_loaded_is_refused_with_a_cure(tmp_path: Path) -> None:
    """A run that is not complete, a search, code of others, other bytes."""
    home = tmp_path / "home"
    (home / "runs").mkdir(parents=True)
    (home / "my_net.py").write_text(Path(__file__).parents[1].joinpath("three_heads.py").read_text())
    prepared = cnn_builders.KIND.prepare(
        cnn_builders.spec_of(network={"name": "my_net.py:ThreeHeads", "parameters": {}}), cnn_builders.context_of(home)
    )
    training = cnn_builders.training_of(prepared, home)
    folder = folder_of(prepared, home / "runs" / "one")
    with pytest.raises(RefusedError, match=r"is not complete.*lockstep resume one"):
        loaded(folder, home)
    execute(training, folder, fingerprint=fingerprint(1))
    assert loaded(folder, home).kind == "cnn"
    mark_imported(home, "one", "theirs.lockstep")
    with pytest.raises(RefusedError, match="brings code of its own"):
        loaded(folder, home)
    model = loaded(folder, home, trust=True)
    with pytest.raises(DataError, match="learned from bars of 1h; found bars of 5m"):
        model.predict(Candles.from_arrays(
            timestamp=np.arange(50) * 300_000, timeframe="5m",
            **{name: np.full(50, 1.0) for name in ("open", "high", "low", "close", "volume")},
        ))  # fmt: skip
    with pytest.raises(DataError, match=r"a prediction reads 2[0-9] bars without a gap"):
        model.predict(model.candles.take(slice(0, 9)))
    with pytest.raises(InputError, match="bars are int64 rows of the candles at which a window"):
        model.predict(model.candles, bars=np.array([0, 100]))
    path = folder.artifacts / "best_weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(IntegrityError, match="changed since they were written"):
        loaded(folder, home)


def test_a_table_of_predictions_has_every_row_and_the_signal(cnn: tuple[CnnModel, RunFolder], tmp_path: Path) -> None:
    """What `lockstep predict` writes: shortest exact floats, so that the file has the very numbers."""
    model, folder = cnn
    report = predict(model, out=tmp_path / "table.csv")
    with (tmp_path / "table.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    output, signals = model.predict(model.candles), model.signals(model.candles)
    assert output.bars is not None
    assert len(rows) == report.rows == len(output) == sum(report.counts.values())
    chances = [[float(row[f"probability.{name}"]) for name in model.classes] for row in rows]
    assert np.array_equal(chances, output.probabilities)
    assert [int(row["signal"]) for row in rows] == signals.side[output.bars].tolist()
    assert report.to_json()["last"]["timestamp"] == int(rows[-1]["timestamp"]) == model.candles.timestamp[-1]
    assert folder.path.name in report.text()
    with pytest.raises(InputError, match="go with --data FILE"):
        predict(model, reading={"sort": True})


def test_a_table_of_samples_is_made_of_a_file_of_arrays(tmp_path: Path) -> None:
    samples = np.random.default_rng(1).normal(size=(30, 5)), np.arange(30) % 3
    prepared = classifier_builders.prepared_of(tmp_path, given=samples, training={"epochs": 1})
    folder = complete(prepared, classifier_builders.training_of(prepared, tmp_path), tmp_path)
    model = loaded(folder, tmp_path)
    np.savez(tmp_path / "mine.npz", input=samples[0], labels=samples[1])
    report = predict(model, str(tmp_path / "mine.npz"))
    assert np.array_equal(report.columns["probability.1"], model.predict(samples[0]).probabilities[:, 1])
    with pytest.raises(InputError, match=r"name a \.npz or \.safetensors file of them with --data"):
        predict(model)
    with pytest.raises(DataError, match="a file of samples is"):
        predict(model, __file__)


def test_every_kind_that_learns_leaves_a_model() -> None:
    assert bootstrap.KINDS.keys() - bootstrap.MODELS.keys() == {"strategy"}
