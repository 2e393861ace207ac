"""State kept between calls is refused wherever it is kept; honest caches, compiling and seeded draws pass."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from tests.unit.validation.kept_state_cases import HEAD, HONEST, KEPT

import lockstep as ls
from lockstep.core.errors import LookAheadError
from lockstep.market.sample import sample_candles
from lockstep.runs.seeds import SeedTree
from lockstep.runs.user_modules import Source, load_module
from lockstep.strategies.registry import load_source
from lockstep.strategies.view import MarketView
from lockstep.validation import quick_look_ahead_check


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TMPDIR_FOR_A_TEST", str(tmp_path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("lockstep_user_"):
            del sys.modules[name]
    assert not hasattr(np, "kept_for_a_test")
    assert not hasattr(ls.Strategy, "kept_for_a_test")
    assert "KEPT_FOR_A_TEST" not in os.environ


def source(body: str) -> Source:
    return Source(file_name="mine.py", class_name="Mine", text=(HEAD + body).encode())


def view() -> MarketView:
    return MarketView(sample_candles().head(600))


@pytest.mark.parametrize(("place", "body"), KEPT.values(), ids=KEPT)
def test_state_kept_between_calls_is_refused_by_its_place(place: str, body: str) -> None:
    strategy = load_source(source(body))
    with pytest.raises(LookAheadError) as caught:
        quick_look_ahead_check(strategy, view(), seeds=SeedTree(1))
    message = str(caught.value)
    assert "Mine has state kept between calls: " in message
    assert place in message
    assert "a cache is allowed whose key is the bytes that it was computed from" in message


@pytest.mark.parametrize("body", HONEST.values(), ids=HONEST)
def test_an_honest_strategy_is_not_accused(body: str) -> None:
    report = quick_look_ahead_check(load_source(source(body)), view(), seeds=SeedTree(1))
    assert report.decisions > 0
    assert report.failures == 0


def test_questions_leave_the_users_module_and_files_as_they_were(tmp_path: Path) -> None:
    text = source(KEPT["in the module"][1])
    with pytest.raises(LookAheadError):
        quick_look_ahead_check(load_source(text), view(), seeds=SeedTree(1))
    assert load_module(text).KEPT == {}
    quick_look_ahead_check(load_source(source(HONEST["a log and a file of the last call"])), view(), seeds=SeedTree(1))
    assert [path.name for path in tmp_path.iterdir()] == ["calls.log"]
    assert [name for name in sys.modules if "_copy_" in name] == []


def test_a_strategy_that_has_seen_all_bars_before_is_asked_as_at_its_birth() -> None:
    """A module is run once in a process: an earlier backtest of it must not hide what it keeps."""
    strategy = load_source(source(KEPT["in the module"][1]))
    strategy.signals(view(), {"z": 1.0})
    with pytest.raises(LookAheadError, match=r"state kept between calls: KEPT\['s'\]"):
        quick_look_ahead_check(strategy, view(), seeds=SeedTree(1))


def test_state_in_a_module_beside_the_strategy_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    helper = ModuleType("helper_of_a_test")
    exec("KEPT = {}\ndef fitted(close):\n    return KEPT.setdefault('s', (close.mean(), close.std()))", helper.__dict__)
    monkeypatch.setitem(sys.modules, "helper_of_a_test", helper)
    body = """
class Mine(Rule):
    def stats(self, view, params):
        import helper_of_a_test
        return helper_of_a_test.fitted(view.close)
"""
    for text in (body, "import helper_of_a_test\n" + body, "from helper_of_a_test import fitted as helping\n" + body):
        helper.KEPT.clear()
        with pytest.raises(LookAheadError, match=r"state kept between calls: KEPT\['s'\]"):
            quick_look_ahead_check(load_source(source(text)), view(), seeds=SeedTree(1))
        assert helper.KEPT == {}
