"""The use cases on real runs in a folder: train, resume, look, tag, remove; alarms; nothing half-written."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

import lockstep as ls
from lockstep.app.request import training_request
from lockstep.app.runs_admin import remove_run, show_run
from lockstep.app.train import kind_of
from lockstep.bootstrap import place
from lockstep.cli.output import show
from lockstep.cli.summary import trained
from lockstep.cli.tables import runs_table
from lockstep.core.errors import Interrupted, NoValidTrialError, SpecError, UnknownNameError
from lockstep.runs.cancel import Cancel
from lockstep.runs.folder import RunFolder
from lockstep.runs.kind import Prepared
from lockstep.runs.observer import Observer
from lockstep.runs.training import Step

SPEC: dict[str, Any] = {
    "kind": "strategy",
    "name": "small",
    "data": {"source": "sample", "last": 1200},
    "strategy": {"name": "liquidity_sweep", "space": {"pierce_depth": {"low": 0.00005, "high": 0.0005}}},
    "costs": {"fee_rate": 0.0, "spread_pips": 0.8, "slippage_rate": 0.00001},
    "market": {"symbol": "EUR/USD"},
    "search": {"n_iterations": 24, "batch_size": 8, "min_trades": 1},
}


def told(report: Any) -> str:
    stream = io.StringIO()
    show(report, stream)
    return stream.getvalue()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a complete run that is tagged "base"; any test may come first, on any worker."""
    folder = tmp_path_factory.mktemp("home")
    ls.train(SPEC, home=folder, tag="base")
    return folder


class StopAt(Observer):
    """Asks to stop after a step."""

    def __init__(self, cancel: Cancel, index: int) -> None:
        self._cancel, self._index = cancel, index

    def step(self, step: Step, journal_hash: str) -> None:
        if step.index == self._index:
            self._cancel.request("a test")


def test_a_training_announces_itself_runs_and_is_found_again(home: Path) -> None:
    announced: list[Prepared] = []
    result = ls.train(SPEC, home=home, tag="announced", announce=announced.append)
    assert (result.status, result.exit_code, result.tags) == ("complete", 0, ("announced",))
    assert result.trial_counts["total"] == 24
    assert announced[0].estimate is not None
    again = show_run("announced", place(home).store)
    assert again.to_json() == {**result.to_json(), "notes": []}
    assert len(result.trials()["index"]) == 24
    assert "spread" not in repr(result)
    assert result.run_id in repr(result)
    assert "net profit on capital" in repr(result)
    assert "max drawdown (bar by bar)" in repr(result)


CHOICES = """
import numpy as np
import lockstep as ls


class Choices(ls.Strategy):
    parameters = {"every": [20, 5_000], "how": ["long", "short"]}

    def signals(self, view, params):
        side = np.where(np.arange(len(view)) % params["every"] == 3, 1 if params["how"] == "long" else -1, 0)
        return ls.Signals(side=side, time_limit=5)
"""


def test_trials_give_choices_and_causes_as_words(tmp_path: Path) -> None:
    """Every 20 bars of 400 is 20 trades; every 5,000 is one."""
    file = tmp_path / "choices.py"
    file.write_text(CHOICES)
    spec = {
        "kind": "strategy",
        "data": {"source": "sample", "last": 400},
        "strategy": {"name": f"{file}:Choices"},
        "search": {"optimizer": "grid", "n_iterations": 3, "min_trades": 5},
    }
    result = ls.train(spec, home=tmp_path / "home")
    trials = result.trials()
    assert trials["parameter.how"].tolist() == ["long", "short", "long", "short"]
    assert trials["cause"].tolist() == ["valid", "valid", "too_few_trades", "too_few_trades"]
    codes = result.trials(codes=True)
    assert codes["parameter.how"].tolist() == [0, 1, 0, 1]
    assert codes["cause"].tolist() == [0, 0, 1, 1]
    assert any("a grid tries all its 4 combinations" in note for note in result.notes), "said where no one announces"


def test_a_stopped_training_is_resumed_to_the_same_journal(home: Path) -> None:
    whole = show_run("base", place(home).store)
    cancel = Cancel()
    with pytest.raises(Interrupted, match="lockstep resume"):
        ls.train(SPEC, home=home, tag="cut", observers=[StopAt(cancel, 0)], cancel=cancel)
    stopped = show_run("cut", place(home).store)
    assert (stopped.status, stopped.exit_code, stopped.best) == ("interrupted", 130, None)
    assert stopped.trial_counts["total"] == 8
    report = told(trained(stopped))
    assert "lockstep resume" in report
    assert "verdict" not in report
    assert ls.resume("cut", home=home).journal_hash == whole.journal_hash


def test_resuming_a_complete_run_computes_nothing(home: Path) -> None:
    before = (place(home).store.find("base").path / "MANIFEST.json").read_bytes()
    assert "nothing was computed" in ls.resume("base", home=home).notes[0]
    assert (place(home).store.find("base").path / "MANIFEST.json").read_bytes() == before


def test_a_known_fingerprint_with_another_journal_raises_the_alarm(home: Path) -> None:
    result = ls.train(SPEC, home=home, tag="forged")
    folder = RunFolder(result.folder)
    folder.write("manifest", {**folder.read("manifest"), "journal_hash": "0" * 64})
    shown = show_run("forged", place(home).store)
    assert shown.exit_code == 1
    assert "ALARM" in told(trained(shown))
    assert "ALARM" in repr(shown)
    table = told(runs_table(ls.list_runs(home=home)))
    assert "!" in table
    assert "same fingerprint but another journal" in table
    assert remove_run("forged", place(home).store) == result.run_id
    assert show_run("base", place(home).store).alarm is None


def test_a_search_without_a_winner_fails_and_is_listed_as_failed(home: Path) -> None:
    spec = {**SPEC, "search": {**SPEC["search"], "min_trades": 10_000}}
    with pytest.raises(NoValidTrialError, match="24 too_few_trades"):
        ls.train(spec, home=home, tag="none")
    failed = show_run("none", place(home).store)
    assert (failed.status, failed.exit_code) == ("failed", 1)
    assert "NoValidTrialError" in failed.notes[-1]


def test_runs_are_listed_oldest_first_with_their_best_value(home: Path) -> None:
    rows = ls.list_runs(home=home)
    assert [row.row.run_id for row in rows] == sorted(row.row.run_id for row in rows)
    first = rows[0].to_json()
    assert (first["name"], first["trials"], first["objective"]) == ("small", 24, "sharpe_ratio")
    assert first["best"] == show_run("base", place(home).store).summary["best"]["objective"]


def test_a_refused_spec_leaves_no_home_behind(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="n_iterations"):
        ls.train({**SPEC, "search": {"n_iteration": 5}}, home=tmp_path / "home")
    assert not (tmp_path / "home").exists()


def test_an_unknown_kind_lists_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'strategy'"):
        kind_of(training_request({"kind": "strateg"}))


def test_a_spec_without_a_kind_says_what_is_missing() -> None:
    with pytest.raises(SpecError, match='"strategy"'):
        kind_of(training_request({"seed": 1}))


def test_no_run_can_be_found_in_an_empty_home(tmp_path: Path) -> None:
    assert ls.list_runs(home=tmp_path) == []
    with pytest.raises(UnknownNameError, match="there are no runs"):
        show_run("last", place(tmp_path).store)
