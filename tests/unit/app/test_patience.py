"""A person who waits without observers is told now and then how far the look-ahead test is."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lockstep as ls
from lockstep.app import patience
from lockstep.app.patience import Patience


def test_lines_that_follow_too_soon_are_left_out() -> None:
    """Asked at 1, 5, 6, 9 and 11 s with 5 s between lines: those of 5 and 11 s are written."""
    times = iter([0.0, 1.0, 5.0, 6.0, 9.0, 11.0])
    stream = io.StringIO()
    waiting = Patience(5.0, stream=stream, clock=lambda: next(times))
    for line in ("1", "5", "6", "9", "11"):
        waiting.tell(line)
    assert stream.getvalue() == "5\n11\n"


class EveryOther(ls.Strategy):
    parameters = {"n": (2, 4)}
    defaults = {"n": 2}

    def signals(self, view: Any, params: Any) -> ls.Signals:
        return ls.Signals(side=(np.arange(len(view)) % params["n"] == 0).astype(np.int8), time_limit=1)


def test_training_without_observers_tells_how_far_the_look_ahead_test_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ticks = iter(range(0, 1_000_000, 6))  # six seconds pass between two questions
    monkeypatch.setattr(patience.Patience.__init__, "__kwdefaults__", {"stream": None, "clock": lambda: next(ticks)})
    spec = {"kind": "strategy", "search": {"n_iterations": 3, "min_trades": 1}}
    ls.train(spec, strategy=EveryOther, candles=ls.sample_candles().head(300), home=tmp_path)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("look-ahead test: question ")]
    assert len(lines) > 10
    assert lines[0] == "look-ahead test: question 1, about parameter set 1"
