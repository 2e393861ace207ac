"""A run of every kind, made by the release that its folder is named after, is read, checked and computed again.

Numbers do not change from release to release: every step line of a run computed again is the line recorded, and its
result is the one recorded but for the form of the verdict and what was asked about look-ahead. Where a later release
has other metrics, all that both have under one definition is the same, and the others are named.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from tests import fork_server
from tests.acceptance.user import OPTIONS, PATIENCE_S

from lockstep import bootstrap
from lockstep.cli.main import run as command_line
from lockstep.runs.check import check
from lockstep.runs.folder import RunFolder, RunStatus
from lockstep.runs.journal import read_lines
from lockstep.runs.line_differences import Apart, Side, line_difference
from lockstep.runs.numerics import entry_differences, environment

ROOT = Path(__file__).parents[2]
STORED = Path(__file__).parent / "runs" / "v0.1.0-kinds"
JOURNAL_HASHES = {
    "agent-session": "7c1830f10289dbdbe7a1241a35342e3ad37990571ace2026867cd4db2cb1e8ef",
    "classifier-keras": "972288c72b5da8d730d4d76dc0550e7ff286a2e5e9b7bd0f93ebcd52d8e9db1e",
    "classifier": "1c620ac92e7428068f80a81999b299cf411ce495dddfed51070fea5346f6de96",
    "cnn-episodes": "bc5f9b8e9c3051e34f609c091504820d050b33dbdfde0855236d149f35a12365",
    "cnn": "51ae079c34ad79ad7ffa6a3d176a4f1b8f369202abc2155890178bdeef2d929d",
    "replay-agent": "10debfda96bc5833fd8db8376990f0088c21f25d7261a076e4657e33ada2aabc",
    "strategy": "a6316393fdf854146bc29da44766ba7d7486b0a7ef221e4b95a12d71450a1203",
}
LISTED = {
    "agent-session": ("run value 0.600", None, None),
    "classifier-keras": ("accuracy 40.0 % of 5 test samples", None, None),
    "classifier": ("accuracy 60.0 % of 5 test samples", None, None),
    "cnn-episodes": ("run value 0.602", None, None),
    # Too few test samples for an interval: nothing was decided.
    "cnn": ("log loss 1.1089 on test samples", None, None),
    "replay-agent": ("net profit -0.93 % on test bars", "REJECT", None),
    "strategy": ("sharpe_ratio 4.517 of 12 trials", None, 12),
}
"""Headline, decision and trials of each stored run."""
VERDICT = {"verdict", "sentence", "beats_baselines", "look_ahead", "per_class"}
"""Keys of a summary that say whether the result is any good, in a form that later releases changed or added."""
METRICS = {
    "strategy": {"calmar_ratio", "max_drawdown_pct", "pnl_pct"},
    "replay-agent": {"calmar_ratio", "max_drawdown_pct", "pnl_pct"},
}
"""Names of a stored run's metrics and tables that mean something else today, by kind."""
GRADIENTS = {"agent-session", "classifier", "cnn", "cnn-episodes", "replay-agent"}
REVALUED = {"value", "steadiness", "editions"}
"""Entries of a run that learns by gradients whose value has another part today (docs/decisions/0091)."""


@dataclass(frozen=True)
class Stored:
    """A stored run in a home of its own."""

    kind: str
    home: Path
    folder: RunFolder


@pytest.fixture(scope="module", params=sorted(JOURNAL_HASHES))
def stored(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Stored:
    home = tmp_path_factory.mktemp("home")
    archive = STORED / f"{request.param}.lockstep.zip"
    assert command_line(["runs", "import", str(archive), "--home", str(home)]) == 0
    (path,) = (home / "runs").iterdir()
    return Stored(request.param, home, RunFolder(path))


def test_every_kind_of_the_release_is_stored() -> None:
    assert {path.name.partition(".")[0] for path in STORED.glob("*.zip")} == set(JOURNAL_HASHES)
    assert set(JOURNAL_HASHES) <= set(bootstrap.KINDS)


def test_a_stored_run_is_sound(stored: Stored) -> None:
    report = check(stored.folder.path)
    assert report.problems == ()
    assert report.status is RunStatus.COMPLETE
    assert list(read_lines(stored.folder.journal))[-1].hash == JOURNAL_HASHES[stored.kind]
    assert command_line(["runs", "check", stored.folder.path.name, "--home", str(stored.home)]) == 0


def test_a_stored_run_is_listed_and_shown(stored: Stored, capsys: pytest.CaptureFixture[str]) -> None:
    run, home = stored.folder.path.name, str(stored.home)
    assert command_line(["runs", "list", "--home", home, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["run_id"], row["kind"], row["status"]) == (run, stored.kind, "complete")
    assert (row["headline"]["text"], row["decision"], row["trials"]) == LISTED[stored.kind]
    assert command_line(["runs", "show", run, "--home", home, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["journal_hash"] == JOURNAL_HASHES[stored.kind]
    assert without_verdict(shown["summary"]) == without_verdict(stored.folder.result())
    assert command_line(["runs", "show", run, "--home", home]) == 0
    printed = capsys.readouterr()
    assert run in printed.out + printed.err


def test_a_page_is_written_of_a_stored_run(stored: Stored, tmp_path: Path) -> None:
    run = stored.folder.path.name
    if stored.kind in GRADIENTS:
        pytest.importorskip("torch")
    assert command_line(["report", run, "--home", str(stored.home), "--out", str(tmp_path / "page")]) == 0
    assert run in (tmp_path / "page" / "report.html").read_text()


def as_far_as(older: Any, newer: Any) -> Any:
    """Of `newer`, what `older` has too: a later release adds baselines and figures to a result."""
    if isinstance(older, dict) and isinstance(newer, dict):
        return {name: as_far_as(value, newer[name]) for name, value in older.items() if name in newer}
    return newer


def test_a_stored_run_is_computed_again_to_the_same_steps_and_result(stored: Stored) -> None:
    """And the gradients stored of it lead to the state recorded."""
    library = {"strategy": "numba", "classifier-keras": "keras"}.get(stored.kind, "torch")
    if find_spec(library) is None:
        pytest.skip(f"{stored.kind} needs {library}")
    words = ("-m", "tests.golden.computed_again", stored.kind, bootstrap.KINDS[stored.kind])
    process = fork_server.start(
        OPTIONS,
        (*words, str(stored.folder.path), str(stored.home)),
        cwd=ROOT,
        env=environment("portable", fork_server.ENVIRONMENT),
    )
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.wait() == 0, err
    report = json.loads((stored.home / "again.json").read_text())
    again = RunFolder(stored.home / "scratch" / "run")
    differences = entry_differences(stored.folder.read("numerics"), again.read("numerics"))
    then, now = steps_of(stored.folder), steps_of(again)
    if differences and stored.kind != "strategy" and now != then:
        pytest.skip(f"the libraries here are not those of the stored run: {'; '.join(differences)}")
    assert len(then) == stored.folder.read("manifest")["steps"] > 1
    apart = Apart()
    sides = judged_apart(stored.folder), judged_apart(again)
    for ours, theirs in zip(lines_of(stored.folder), lines_of(again), strict=True):
        assert line_difference(ours, theirs, *sides, apart) is None
    if stored.kind not in METRICS:
        assert now == then
        left_out = REVALUED if stored.kind in GRADIENTS else set()
        ours, theirs = (without_verdict(run.result()) for run in (again, stored.folder))
        expected = {name: value for name, value in theirs.items() if name not in left_out}
        assert as_far_as(expected, ours) == expected
    redefined = METRICS.get(stored.kind, set()) | ({"value"} if stored.kind in GRADIENTS else set())
    assert {name.rpartition(".")[2].rpartition(" ")[2] for name in apart.redefined} == redefined
    assert "metric.cagr_pct" in apart.added or stored.kind != "strategy"
    # These keys stand in result.json, whose digest is in the last line: nothing before it may differ.
    first = report["report"]["first"]
    assert first is None or (first["where"], first["field"].split(".")[:2]) in [
        ("the end", ["result", key]) for key in VERDICT
    ]
    assert report["state"] == (stored.folder.result()["state"] if stored.kind in GRADIENTS else None)


def steps_of(folder: RunFolder) -> list[Mapping[str, Any]]:
    """What the step lines of a journal record; the hashes that chain them begin with code and numerics."""
    return [line.content for line in read_lines(folder.journal) if line.type == "step"]


def lines_of(folder: RunFolder) -> list[Mapping[str, Any]]:
    """The contents of all lines but the first, which names code and numerics."""
    return [line.content for line in read_lines(folder.journal) if line.type != "genesis"]


def judged_apart(folder: RunFolder) -> Side:
    """A run as `line_difference` compares it, without the keys whose form changed."""
    return replace(Side.of(folder), summary=lambda: without_verdict(folder.result()))


def without_verdict(summary: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in summary.items() if name not in VERDICT}
