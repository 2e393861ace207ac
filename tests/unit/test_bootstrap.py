"""Where ports meet adapters."""

from __future__ import annotations

from pathlib import Path

import pytest

from lockstep.bootstrap import place
from lockstep.runs.observer import Observer


def test_a_home_that_begins_with_a_tilde_is_the_users_and_no_folder_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LOCKSTEP_HOME", "~/runs")
    assert place().store.home == tmp_path / "runs"
    assert place("~/others").store.home == tmp_path / "others"


def test_observers_hear_how_far_work_outside_of_the_steps_is(tmp_path: Path) -> None:
    """Such as the questions of the look-ahead test, in a notebook as on the command line."""

    class Hears(Observer):
        def tell(self, line: str) -> None:
            lines.append(line)

    class Falls(Observer):
        def tell(self, line: str) -> None:
            raise ValueError(line)

    lines: list[str] = []
    with place(tmp_path).ports(observers=[Falls(), Hears()]) as ports:
        ports.context.tell("question 1")
        ports.tell("question 2")
    assert lines == ["question 1", "question 2"]
    with place(tmp_path).ports(observers=[Hears()], tell=lambda line: None) as ports:
        ports.tell("question 3")
    assert lines == ["question 1", "question 2"]
