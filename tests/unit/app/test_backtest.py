"""One backtest: from a run it equals the trial to the last bit; from a spec it leaves held-out bars alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lockstep as ls
from lockstep.app.backtest import backtest_once
from lockstep.app.runs_admin import show_run
from lockstep.bootstrap import place
from lockstep.core.errors import InputError, Interrupted, LookAheadError, NotEqualError, SpaceError
from lockstep.engine.metrics import Metric
from lockstep.runs import registry
from lockstep.runs.cancel import Cancel
from lockstep.testing import toy_kind
from lockstep.testing.contracts.training_kind import StopAfter

SPEC: dict[str, Any] = {
    "kind": "strategy",
    "data": {"source": "sample", "last": 1500},
    "strategy": {
        "name": "liquidity_sweep",
        "parameters": {"min_level_touches": 2},
        "space": {"pierce_depth": {"low": 0.00005, "high": 0.0005}, "reversal_candles": [1, 2]},
    },
    "costs": {"fee_rate": 0.0, "spread": 0.00008, "slippage_rate": 0.00001},
    "search": {"n_iterations": 16, "min_trades": 1},
    "validation": {"holdout_bars": 300},
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    ls.train(SPEC, home=folder, tag="run")
    return folder


def test_the_best_trial_comes_out_the_same_to_the_last_bit(home: Path) -> None:
    """R4.13, and users' oldest complaint: the winner does not repeat in a backtest."""
    report = backtest_once("run", place(home).store)
    result = show_run("run", place(home).store)
    assert result.best is not None
    assert report.metrics == dict(result.best.metrics)
    assert report.trial == result.best.index
    assert report.bars == 1200, "held-out bars are not looked at"


def test_every_trial_comes_out_the_same(home: Path) -> None:
    trials = show_run("run", place(home).store).trials()
    for index in range(0, 16, 5):
        report = backtest_once("run", place(home).store, trial=index)
        assert report.trial == index
        assert report.metrics[Metric.TOTAL_TRADES] == int(trials["metric.total_trades"][index])


def test_other_parameters_are_not_called_the_trial(home: Path) -> None:
    report = backtest_once("run", place(home).store, params=["pierce_depth=0.0001"])
    assert report.trial is None
    assert report.result.parameters["pierce_depth"] == 0.0001


def test_a_recorded_metric_that_does_not_repeat_is_an_error(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lockstep.app import backtest

    best = backtest._best
    forged = lambda folder: (*best(folder)[:2], {**best(folder)[2], "sharpe_ratio": np.pi})  # noqa: E731
    monkeypatch.setattr(backtest, "_best", forged)
    with pytest.raises(NotEqualError, match="sharpe_ratio"):
        backtest_once("run", place(home).store)


def test_a_strategy_over_the_sample_needs_no_spec(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "trades.csv"
    report = backtest_once(
        None, place(home).store, strategy="liquidity_sweep", data="sample", params=["min_level_touches=2"], trades=file
    )
    assert report.bars == 6225
    head, first, *others = file.read_text().splitlines()
    assert 1 + len(others) == report.metrics[Metric.TOTAL_TRADES]
    assert head.startswith("symbol,entry_time,exit_time,")
    assert first.startswith("EUR/USD,2017-"), "times that people read"
    assert set(report.to_json()["curve_metrics"]) == {
        "sqn",
        "longest_drawdown_days",
        "best_month_pct",
        "worst_month_pct",
    }
    assert report.to_json()["buy_and_hold"]["total_trades"] == 1


@pytest.mark.parametrize(
    ("source", "options", "said"),
    [
        (None, {}, "nothing to run"),
        (None, {"strategy": "liquidity_sweep"}, "nothing to run"),
        ("run", {"strategy": "liquidity_sweep"}, "leave out --strategy"),
        ("run", {"trial": 16}, "trials 0 to 15"),
        ("run", {"params": ["a.b=5"]}, "plain name"),
        ("run", {"params": ["pierce_depth"]}, "--param pierce_depth: a parameter is given as name=value"),
        ("run", {"trades": Path()}, "--trades names a file; found a folder"),
        ("run", {"trades": Path("nowhere/trades.csv")}, "there is no nowhere"),
        ("spec.toml", {"trial": 1}, "give a run"),
    ],
)
def test_what_does_not_fit_together_is_refused(
    home: Path, source: str | None, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        backtest_once(source, place(home).store, **options)


def test_an_unknown_parameter_names_its_neighbour(home: Path) -> None:
    with pytest.raises(SpaceError, match="pierce_depth"):
        backtest_once("run", place(home).store, params=["pierce_deph=0.0001"])


WITHOUT_TRIALS: list[dict[str, Any]] = [
    {"kind": "toy", "steps": 3},
    {"kind": "classifier", "data": {"samples_per_class": 4}, "training": {"epochs": 1}},
    {
        "kind": "cnn",
        "data": {"source": "sample", "last": 900},
        "training": {"epochs": 1, "batch_size": 256},
        "recording": {"level": "none"},
    },
    {
        "kind": "replay-agent",
        "data": {"last": 900},
        "training": {"updates": 4, "learning_starts": 40, "batch_size": 16},
        "environment": {"episode_bars": 60},
    },
]


@pytest.mark.parametrize("spec", WITHOUT_TRIALS, ids=lambda spec: spec["kind"])
@pytest.mark.parametrize("trial", [None, 0])
def test_a_run_without_trials_is_bad_input_and_no_defect(
    runs_without_trials: Path, spec: dict[str, Any], trial: int | None
) -> None:
    with pytest.raises(InputError, match=r"run \S+ searched no strategy, so it has no trials.*lockstep runs show"):
        backtest_once(spec["kind"], place(runs_without_trials).store, trial=trial)


@pytest.fixture(scope="module")
def runs_without_trials(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run of each kind of training that searches nothing, named by its kind."""
    pytest.importorskip("torch")
    registry.register("toy", toy_kind.PATH)
    folder = tmp_path_factory.mktemp("without-trials")
    for spec in WITHOUT_TRIALS:
        ls.train(spec, home=folder, tag=spec["kind"])
    yield folder
    registry.unregister("toy")


def test_a_search_that_has_not_ended_has_no_best_trial_but_its_trials(tmp_path: Path) -> None:
    cancel = Cancel()
    spec = {**SPEC, "search": {**SPEC["search"], "batch_size": 8}}
    with pytest.raises(Interrupted):
        ls.train(spec, home=tmp_path, tag="cut", cancel=cancel, observers=[StopAfter(cancel, 1)])
    with pytest.raises(InputError, match="no best trial yet: resume it, or give --trial N"):
        backtest_once("cut", place(tmp_path).store)
    assert backtest_once("cut", place(tmp_path).store, trial=3).trial == 3
    with pytest.raises(InputError, match="trials 0 to 7"):
        backtest_once("cut", place(tmp_path).store, trial=8)


LEAKING = """
import numpy as np
import lockstep as ls


class Leaking(ls.Strategy):
    parameters = {"smooth": ["off", "on"], "n": (2, 6)}
    defaults = {"smooth": "off", "n": 3}

    def signals(self, view, params):
        close = view.close
        if params["smooth"] == "on" and params["n"] == 5:
            close = np.append(close[2:], close[-2:])[: close.size]
        return ls.Signals(side=np.where(close > view.sma(params["n"]), 1, -1).astype(np.int8))
"""


def test_a_backtest_asks_about_the_very_set_that_it_runs(home: Path, tmp_path: Path) -> None:
    """R2.18: a leak that the defaults do not have."""
    (tmp_path / "mine.py").write_text(LEAKING)
    strategy = f"{tmp_path / 'mine.py'}:Leaking"
    place_of = place(home).store
    lines: list[str] = []
    backtest_once(None, place_of, strategy=strategy, data="sample", params=["n=5"], tell=lines.append)
    assert lines[0] == "look-ahead test: question 1, about parameter set 1"
    with pytest.raises(LookAheadError, match="Leaking reads the future"):
        backtest_once(None, place_of, strategy=strategy, data="sample", params=["n=5", "smooth=on"])


def test_a_backtest_of_a_run_asks_too(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(LEAKING)
    spec = {
        "kind": "strategy",
        "data": {"source": "sample", "last": 600},
        "strategy": {"name": str(tmp_path / "mine.py:Leaking"), "space": {"smooth": ["off"], "n": [3, 5]}},
        "search": {"n_iterations": 4, "min_trades": 1},
    }
    ls.train(spec, home=tmp_path, tag="mine")
    store = place(tmp_path).store
    assert backtest_once("mine", store).trial is not None
    with pytest.raises(LookAheadError, match="Leaking reads the future"):
        backtest_once("mine", store, params=["n=5", "smooth=on"])
