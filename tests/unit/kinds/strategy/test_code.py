"""The user's strategy and objective: found, kept as text, loaded from the run's own copy."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.kinds.builders import EVERY, folder_of, prepared_from, spec_of

from lockstep.core.errors import InputError, IntegrityError, StrategyError, UnknownNameError
from lockstep.kinds.strategy import code as strategy_code
from lockstep.runs.kind import PrepareContext
from lockstep.runs.spec import identity_body, load_spec, resolve
from lockstep.runs.store import FolderRunStore
from lockstep.strategies.liquidity_sweep import LiquiditySweep

OBJECTIVE = """
def calm_profit(metrics):
    return metrics["net_profit_pct"] + metrics["max_drawdown_pct"]
"""
OWN = {"name": "mine/every.py:Every", "space": None}


@pytest.fixture
def context(tmp_path: Path) -> PrepareContext:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "every.py").write_text(EVERY)
    (tmp_path / "objective.py").write_text(OBJECTIVE)
    return PrepareContext(blobs=FolderRunStore(tmp_path / "home").blobs, base=tmp_path)


def test_a_built_in_strategy_is_named_in_any_letter_case_and_brings_no_source(tmp_path: Path) -> None:
    code = strategy_code.from_user(spec_of(), PrepareContext(blobs=FolderRunStore(tmp_path).blobs))
    assert code.strategy_name == "LIQUIDITY_SWEEP"
    assert code.identity().sources == {}
    with pytest.raises(UnknownNameError, match="Did you mean 'LIQUIDITY_SWEEP'"):
        strategy_code.from_user(
            spec_of(strategy={"name": "liquidity_sweeps"}), PrepareContext(blobs=FolderRunStore(tmp_path).blobs)
        )


def test_a_file_travels_as_text_and_is_named_without_its_folder(context: PrepareContext) -> None:
    code = strategy_code.from_user(spec_of(strategy=OWN), context)
    assert code.strategy_name == "every.py:Every"
    assert code.files == {"every.py": EVERY.encode()}
    assert code.identity().entry == "every.py:Every"


def test_a_strategy_and_an_objective_from_files_are_loaded_again_from_the_run(context: PrepareContext) -> None:
    tables = {"strategy": OWN, "search": {"objective": "objective.py:calm_profit"}}
    prepared = prepared_from(context.base, context, **tables)
    folder = folder_of(prepared, context.base / "run")
    (context.base / "mine" / "every.py").unlink()  # the run no longer needs what the user has
    (context.base / "objective.py").unlink()
    spec = resolve(type(spec_of()), load_spec(folder.read("spec")))
    again = strategy_code.from_run(spec, folder)
    assert again.strategy_name == "every.py:Every"
    assert again.judge.objective_name == "calm_profit"
    assert again.identity().body() == prepared.code.body()
    assert identity_body(spec) == identity_body(prepared.spec)


def test_a_changed_byte_in_the_runs_copy_is_never_used(context: PrepareContext) -> None:
    folder = folder_of(prepared_from(context.base, context, strategy=OWN), context.base / "run")
    kept = folder.sources / "every.py"
    kept.write_text(kept.read_text().replace("= 1", "= -1"))
    spec = resolve(type(spec_of()), load_spec(folder.read("spec")))
    with pytest.raises(IntegrityError, match="not those the run was made with"):
        strategy_code.from_run(spec, folder)


def test_a_class_given_in_python_is_kept_with_its_source(tmp_path: Path) -> None:
    context = PrepareContext(blobs=FolderRunStore(tmp_path).blobs, python_objects={"strategy.name": LiquiditySweep})
    assert strategy_code.from_user(spec_of(), context).strategy_name == "LIQUIDITY_SWEEP"


def test_what_cannot_be_loaded_is_refused_by_name(context: PrepareContext) -> None:
    def load(name: str = "mine/every.py:Every", objective: str = "sharpe_ratio") -> None:
        strategy_code.from_user(
            spec_of(strategy={"name": name, "space": None}, search={"objective": objective}), context
        )

    with pytest.raises(StrategyError, match="there is no such strategy file"):
        load("mine/none.py:Every")
    with pytest.raises(StrategyError, match=r"has no class 'Evry'\. Did you mean 'Every'"):
        load("mine/every.py:Evry")
    with pytest.raises(InputError, match="has no function 'calm'"):
        load(objective="objective.py:calm")


def test_two_files_of_one_name_cannot_travel_together(context: PrepareContext) -> None:
    (context.base / "every.py").write_text(OBJECTIVE)
    with pytest.raises(InputError, match=r"two files of one name, every\.py"):
        strategy_code.from_user(spec_of(strategy=OWN, search={"objective": "every.py:calm_profit"}), context)


def test_a_strategy_that_imports_a_neighbour_is_refused(context: PrepareContext) -> None:
    (context.base / "mine" / "helper.py").write_text("x = 1\n")
    (context.base / "mine" / "every.py").write_text("import helper\n" + EVERY)
    with pytest.raises(StrategyError, match="one file"):
        strategy_code.from_user(spec_of(strategy=OWN), context)
