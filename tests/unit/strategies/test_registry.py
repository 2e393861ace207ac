from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from lockstep.core.errors import StrategyError, UnknownNameError
from lockstep.market.sample import sample_candles
from lockstep.strategies.base import Strategy
from lockstep.strategies.evaluate import Evaluator, backtest
from lockstep.strategies.liquidity_sweep import LiquiditySweep
from lockstep.strategies.registry import available, kept_source, load_source, lookup, read_source

MINE = '''"""Mine."""
import numpy as np
import lockstep as ls


class Mine(ls.Strategy):
    parameters = {"every": (2, 50)}
    defaults = {"every": 10}

    def signals(self, view, params):
        side = (np.arange(len(view)) % params["every"] == 0).astype(np.int8)
        return ls.Signals(side=side, stop=view.close * 0.99, target=view.close * 1.01)


class NotOne:
    pass


class NoRule(ls.Strategy):
    pass


class Demanding(Mine):
    def __init__(self, size):
        self.size = size
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(MINE)
    return tmp_path


@pytest.mark.parametrize("name", ["LIQUIDITY_SWEEP", "liquidity_sweep", "Liquidity_Sweep"])
def test_a_built_in_is_found_in_any_letter_case(name: str) -> None:
    """R2.11."""
    assert type(lookup(name)) is LiquiditySweep


def test_an_unknown_name_lists_what_there_is() -> None:
    """R2.10."""
    with pytest.raises(UnknownNameError) as caught:
        lookup("liquidity_swep")
    assert isinstance(caught.value, ValueError)
    assert "no strategy is called 'liquidity_swep'. Did you mean 'LIQUIDITY_SWEEP'? Strategies available: " in str(
        caught.value
    )
    assert f"available: {', '.join(available())}" in str(caught.value)


def test_a_file_is_found_beside_the_spec_and_by_absolute_path(folder: Path) -> None:
    relative = lookup("mine.py:Mine", folder=folder)
    absolute = lookup(f"{folder}/mine.py:Mine")
    assert relative.name == "Mine"
    # One content, one module: both are the same class.
    assert type(relative) is type(absolute)


def test_a_class_and_an_instance_stand_for_themselves() -> None:
    strategy = LiquiditySweep()
    assert lookup(strategy) is strategy
    assert type(lookup(LiquiditySweep)) is LiquiditySweep


def test_the_copy_in_a_run_gives_the_same_strategy(folder: Path, tmp_path: Path) -> None:
    source = read_source("mine.py:Mine", folder=folder)
    copy = tmp_path / "run" / "code" / "mine.py"
    copy.parent.mkdir(parents=True)
    copy.write_bytes(source.text)
    again = read_source(f"{copy}:Mine")
    assert again == source
    assert again.digest == source.digest
    candles = sample_candles().head(500)
    one = backtest(candles, load_source(source), {"every": 7})
    two = backtest(candles, load_source(again), {"every": 7})
    assert one.metrics == two.metrics
    assert one.metrics["total_trades"] > 0  # type: ignore[index]


def test_a_changed_file_is_another_strategy_at_once(folder: Path) -> None:
    """Same size, same second: what fools a `.pyc`."""
    before = lookup("mine.py:Mine", folder=folder)
    (folder / "mine.py").write_text(MINE.replace('"every": 10', '"every": 20'))
    after = lookup("mine.py:Mine", folder=folder)
    assert before.resolve({}) == {"every": 10}
    assert after.resolve({}) == {"every": 20}
    assert not list(folder.rglob("*.pyc"))


def test_two_files_of_one_name_do_not_meet(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.py").write_text(MINE.replace('"every": 10', '"every": 30'))
    assert lookup("mine.py:Mine", folder=folder).resolve({}) == {"every": 10}
    assert lookup("mine.py:Mine", folder=other).resolve({}) == {"every": 30}


def test_the_source_of_a_loaded_strategy_is_known_and_of_an_imported_one_not(folder: Path) -> None:
    strategy = lookup("mine.py:Mine", folder=folder)
    source = kept_source(strategy)
    assert source is not None
    assert (source.file_name, source.class_name, source.text) == ("mine.py", "Mine", MINE.encode())
    assert kept_source(LiquiditySweep()) is None


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("missing.py:Mine", r"missing.py: there is no such strategy file; a relative path starts in"),
        ("mine.py", "a strategy file is given as 'path/to/file.py:Class'; found 'mine.py'"),
        (
            "mine.py:Mein",
            r"mine.py has no class 'Mein'. Did you mean 'Mine'\? Strategies in this file: Mine, NoRule, Demanding\.",
        ),
        ("mine.py:NotOne", "mine.py:NotOne is not a strategy: make it a subclass of ls.Strategy"),
        ("mine.py:np", "mine.py:np is not a strategy"),
        ("mine.py:NoRule", r"mine.py:NoRule has no signals\(view, params\) of its own"),
        ("mine.py:Demanding", "mine.py:Demanding cannot be made without arguments .*TypeError"),
    ],
)
def test_what_cannot_be_loaded_says_why(folder: Path, reference: str, message: str) -> None:
    with pytest.raises(StrategyError, match=message):
        lookup(reference, folder=folder)


def test_an_error_while_loading_names_the_line_and_leaves_nothing_behind(folder: Path) -> None:
    (folder / "mine.py").write_text(MINE + "\n\nwidth = 1 / 0\n")
    before = set(sys.modules)
    line = MINE.count("\n") + 3
    with pytest.raises(StrategyError, match=rf"mine.py, line {line}: ZeroDivisionError: division by zero"):
        lookup("mine.py:Mine", folder=folder)
    assert set(sys.modules) == before


def test_a_syntax_error_names_the_line(folder: Path) -> None:
    (folder / "mine.py").write_text("x = 1\ndef broken(:\n")
    with pytest.raises(StrategyError, match=r"mine.py, line 2: invalid syntax"):
        lookup("mine.py:Mine", folder=folder)


def test_a_missing_module_names_the_line(folder: Path) -> None:
    (folder / "mine.py").write_text("import numpy\nimport nothing_of_that_name\n")
    with pytest.raises(StrategyError, match=r"mine.py, line 2: ModuleNotFoundError: .*nothing_of_that_name"):
        lookup("mine.py:Mine", folder=folder)


@pytest.mark.parametrize(
    "line", ["import helpers", "from helpers import x", "from . import helpers", "import helpers.x"]
)
def test_an_import_from_beside_the_file_is_refused_because_the_file_travels_alone(folder: Path, line: str) -> None:
    (folder / "helpers.py").write_text("x = 1\n")
    (folder / "mine.py").write_text(f"import numpy\n{line}\n{MINE}")
    with pytest.raises(StrategyError, match=r"mine.py, line 2: imports .* from beside it. A strategy travels"):
        lookup("mine.py:Mine", folder=folder)


def test_a_failing_line_of_a_user_file_is_shown_with_its_path_and_text(folder: Path) -> None:
    """R3.18, for code that no longer lies where it was loaded from. A terminal opens "path:line" at a click."""
    (folder / "mine.py").write_text(MINE.replace('params["every"] == 0', 'params["evry"] == 0'))
    strategy = lookup("mine.py:Mine", folder=folder)
    (folder / "mine.py").unlink()
    with pytest.raises(StrategyError) as caught:
        backtest(sample_candles().head(100), strategy)
    assert f"Mine failed in signals: KeyError: 'evry' at {folder / 'mine.py'}:11 (side = " in str(caught.value)


def test_what_a_run_records_of_a_failure_holds_no_path_of_this_machine(folder: Path) -> None:
    """The record is hashed: the same failure of the same file is the same text wherever the file lies."""
    texts = []
    for name in ("here", "there"):
        place = folder / name
        place.mkdir()
        (place / "mine.py").write_text(MINE.replace('params["every"] == 0', 'params["evry"] == 0'))
        evaluator = Evaluator(lookup("mine.py:Mine", folder=place), sample_candles().head(100))
        done = evaluator.batch(evaluator.strategy.columns([{"every": 3}]), on_error="record")
        texts.append(done.errors[0])
    assert texts[0] == texts[1]
    assert str(folder) not in texts[0]
    assert "Mine (Mine) failed in signals: KeyError: 'evry' at <mine.py " in texts[0]


def test_what_is_no_reference_is_refused() -> None:
    with pytest.raises(StrategyError, match="found int"):
        lookup(7)  # type: ignore[arg-type]
    with pytest.raises(StrategyError, match="dict is not a strategy"):
        lookup(dict)  # type: ignore[arg-type]
    with pytest.raises(StrategyError, match="Strategy has no signals"):
        lookup(Strategy)
    assert np.__name__ == "numpy"
