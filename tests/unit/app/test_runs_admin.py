"""Runs from outside: what a person names for an export or import is checked in a person's words."""

from __future__ import annotations

from pathlib import Path

import pytest

import lockstep as ls
from lockstep.app.runs_admin import export_run, import_run
from lockstep.bootstrap import place
from lockstep.core.errors import InputError
from lockstep.runs import registry
from lockstep.testing import toy_kind

SPEC = {
    "kind": "strategy",
    "data": {"source": "sample", "last": 600},
    "strategy": {"name": "liquidity_sweep", "space": {"pierce_depth": {"low": 0.00005, "high": 0.0005}}},
    "costs": {"fee_rate": 0.0},
    "search": {"n_iterations": 4, "min_trades": 0, "objective": "net_profit_pct"},
}


def test_an_export_that_is_not_there_is_bad_input_and_not_the_machine(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.lockstep: there is no such file"):
        import_run(tmp_path / "nothing.lockstep", place(tmp_path / "home").store)
    with pytest.raises(InputError, match="found a folder"):
        import_run(tmp_path, place(tmp_path / "home").store)
    assert not (tmp_path / "home").exists()


def test_an_export_into_a_folder_that_is_not_there_names_the_folder(tmp_path: Path) -> None:
    ls.train(SPEC, home=tmp_path, tag="run")
    with pytest.raises(InputError, match=r"there is no .*nowhere"):
        export_run("run", tmp_path / "nowhere" / "run.lockstep", place(tmp_path).store)


def test_a_list_gives_every_run_its_headline_and_trials_to_searches_alone(tmp_path: Path) -> None:
    registry.register("toy", toy_kind.PATH)
    try:
        searched = ls.train(SPEC, home=tmp_path)
        ls.train({"kind": "toy", "steps": 2}, home=tmp_path)
    finally:
        registry.unregister("toy")
    search, toy = (item.to_json() for item in ls.list_runs(home=tmp_path))
    assert searched.headline is not None
    assert search["headline"] == searched.headline.to_json()
    assert (search["trials"], search["objective"], search["best"]) == (
        4,
        "net_profit_pct",
        searched.summary["best"]["objective"],
    )
    assert search["decision"] is None
    assert [toy[name] for name in ("headline", "decision", "trials", "objective", "best")] == [None] * 5
