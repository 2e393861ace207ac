"""What the training commands say beside the run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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


COUNTED = """
import sys
opened = []
sys.addaudithook(lambda event, given: opened.append(str(given[0])) if event == "open" else None)
from lockstep.cli.main import run
for more in ((), ("--estimate",)):
    opened.clear()
    code = run([*sys.argv[1:], *more])
    print("opened", sum(path.endswith("/spec.toml") for path in opened), "times, exit", code)
"""


def test_a_training_and_its_estimate_read_the_spec_file_once(tmp_path: Path) -> None:
    spec = tmp_path / "spec.toml"
    spec.write_text(
        'kind = "strategy"\n[data]\nsource = "sample"\nlast = 300\n[market]\nsymbol = "EUR/USD"\n'
        '[strategy]\nname = "liquidity_sweep"\nspace = {pierce_depth = {low = 0.00005, high = 0.0005}}\n'
        "[search]\nn_iterations = 2\nbatch_size = 2\nmin_trades = 1\n"
    )
    words = ("train", str(spec), "--home", str(tmp_path / "home"))
    done = subprocess.run([sys.executable, "-c", COUNTED, *words], capture_output=True, text=True, check=True)
    assert [line for line in done.stdout.splitlines() if line.startswith("opened")] == ["opened 1 times, exit 0"] * 2
