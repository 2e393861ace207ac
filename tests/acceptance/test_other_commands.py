"""backtest, data, version, and `numerics = "portable"`, as a user meets them."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.acceptance.user import EXAMPLE, LONG, SMALL, User


def test_the_best_trial_of_a_run_backtests_to_the_same_metrics(user: User, trained: dict[str, Any]) -> None:
    best = trained["best"]
    report = user("backtest", "last", "--trades", "trades.csv", "--json").json
    assert report["metrics"] == best["metrics"]
    assert report["trial"] == best["index"]
    lines = (user.folder / "trades.csv").read_text().splitlines()
    assert len(lines) == 1 + best["metrics"]["total_trades"]
    assert "to the last bit" in user("backtest", "last").out


def test_a_strategy_can_be_tried_without_a_spec(user: User) -> None:
    report = user("backtest", "--strategy", "liquidity_sweep", "--data", "sample", "--set", "costs.fee_rate=0.0")
    for needed in ("EUR/USD", "buy and hold", "Random entries"):
        assert needed in report.out


@pytest.mark.usefixtures("trained")
def test_data_come_in_are_listed_judged_and_go_out(user: User) -> None:
    rows = user("data", "list", "--json").json
    assert {row["bars"] for row in rows} == {2000, 1800}, "all candles, and those that are searched"
    digest = rows[0]["digest"]
    assert user("data", "snapshot", digest[:12], "--export", "out.csv", "--json").json["digest"] == digest
    assert user("data", "import", "out.csv", "--symbol", "EUR/USD", "--json").json["digest"] == digest
    assert user("data", "quality", "out.csv", "--json").json["score"] > 99
    assert "closed hours" in user("data", "quality", "sample").out


def test_an_imported_file_can_be_named_in_a_spec(user: User, trained: dict[str, Any]) -> None:
    (path,) = (Path(row["path"]) for row in user("data", "list", "--json").json if row["bars"] == 2000)
    pinned = ("--set", "data.source=file", "--set", f"data.path={(user.folder / path).resolve()}")
    again = user("train", str(EXAMPLE), *SMALL, *pinned, "--json").json
    assert again["fingerprint"] == trained["fingerprint"], "where data came from is no part of a run's identity"
    assert again["journal_hash"] == trained["journal_hash"]


def test_portable_numerics_are_arranged_before_anything_loads(user: User, trained: dict[str, Any]) -> None:
    """docs/architecture.md, rule 5: a user says `numerics = "portable"` and nothing else."""
    portable = user("train", str(EXAMPLE), *SMALL, "--set", "numerics=portable", "--json").json
    assert portable["fingerprint"] != trained["fingerprint"]
    assert user("verify", portable["run_id"], "--json").json["equal"] is True
    assert user("backtest", portable["run_id"], "--json").json["trial"] == portable["best"]["index"]


def test_a_portable_run_is_the_same_on_a_machine_without_avx_512(user: User) -> None:
    """Rule 5 of docs/architecture.md: the C library is told that the CPU ends at AVX2; the mode tells the others."""
    portable = ("train", str(EXAMPLE), *SMALL, "--set", "numerics=portable", "--json")
    older = {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX512DQ,-AVX512CD"}
    here, there = user(*portable).json, user(*portable, env=older).json
    assert there["fingerprint"] == here["fingerprint"]
    assert there["journal_hash"] == here["journal_hash"]
    assert user("verify", here["run_id"], "--json", env=older).json["equal"] is True


def test_version_tells_what_decides_the_numbers(user: User) -> None:
    found = user("version", "--json").json
    assert set(found["numerics"]) >= {"numpy", "numba", "python", "numba.target", "threads"}


def test_a_home_may_be_given_by_the_environment(user: User) -> None:
    user("train", str(EXAMPLE), *SMALL, env={"LOCKSTEP_HOME": str(user.folder / "elsewhere")})
    assert user.runs() == []
    assert len(user("runs", "list", "--home", "elsewhere", "--json").json) == 1


def alive(group: int) -> list[str]:
    """Commands of the processes of a group that still run; the dead that nobody has fetched yet are not counted."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
    return found


@pytest.mark.parametrize("workers", ["2", "3"])
def test_workers_change_nothing_and_end_with_ctrl_c(user: User, workers: str) -> None:
    process = user.start("train", str(EXAMPLE), *LONG, "--set", "search.n_iterations=1000000", "--workers", workers)
    user.wait_for_steps(process, steps=3)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process of the group
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    deadline = time.monotonic() + 20
    while alive(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert alive(process.pid) == [], "workers end with the run"
