"""What the training commands say beside the run."""

from __future__ import annotations

import os

import pytest

from lockstep.cli.output import Output
from lockstep.cli.training import warn_of_idle_workers


def test_more_workers_than_cores_are_told_that_they_will_idle(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1})
    warn_of_idle_workers(2, Output())
    assert capsys.readouterr().err == ""
    warn_of_idle_workers(99, Output())
    assert capsys.readouterr().err.startswith("note: 99 workers on 2 cores: no more than 2 can work at a time")
