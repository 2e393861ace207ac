"""Bad input of every sort: one clear message, the documented exit code, and nothing half-written."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.acceptance.user import EXAMPLE, SMALL, Answer, User

HOUR_MS = 3_600_000
START_MS = 1_700_000_000_000 // HOUR_MS * HOUR_MS


def no_run_left(user: User) -> None:
    assert user.runs() == [], "a refused training leaves no run"
    left = list(user.home.rglob("*.lockstep-tmp")) if user.home.exists() else []
    assert left == []


def csv(path: Path, rows: int, *, step_ms: int = HOUR_MS, spoil: str | None = None, at: int = 0) -> Path:
    """Candles of a slow wave; `spoil` replaces the close of row `at`."""
    t = np.arange(rows)
    close = 1.1 + 0.01 * np.sin(t / 9.0)
    lines = ["timestamp,open,high,low,close,volume"]
    for i in range(rows):
        written = spoil if spoil is not None and i == at else f"{close[i]:.6f}"
        lines.append(
            f"{START_MS + i * step_ms},{close[i]:.6f},{close[i] + 0.002:.6f},{close[i] - 0.002:.6f},{written},100"
        )
    path.write_text("\n".join(lines) + "\n")
    return path


def train_file(user: User, path: Path, *more: str, code: int) -> Answer:
    data = ("--set", "data.source=file", "--set", f"data.path={path}")
    return user("train", str(EXAMPLE), *SMALL, *data, *more, code=code)


def test_an_unknown_key_names_its_neighbour(user: User) -> None:
    answer = user("train", str(EXAMPLE), "--set", "search.n_iteratons=5", code=2)
    assert "n_iteratons" in answer.err
    assert "n_iterations" in answer.err.replace("n_iteratons", "")
    no_run_left(user)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("market.timeframe=5 minutes", "5m"),
        ("search.n_iterations=many", "n_iterations"),
        ("search.n_iterations=0", "n_iterations"),
        ("search.objective=sharp_ratio", "sharpe_ratio"),
        ("costs.fee_rate=1.5", "fee_rate"),
        ("seed=-1", "seed"),
        ("strategy.name=liquidity_sweeep", "LIQUIDITY_SWEEP"),
        ("kind=strategie", "strategy"),
        ("strategy.space.pierce_depth=[]", "pierce_depth"),
        ("no_equals_sign", "--set"),
        ("=5", "--set"),
        ("seed.deeper=5", "seed"),
    ],
)
def test_a_wrong_value_is_named_with_its_rule(user: User, change: str, said: str) -> None:
    answer = user("train", str(EXAMPLE), *SMALL, "--set", change, code=2)
    assert said in answer.err
    assert answer.out == ""
    no_run_left(user)


def test_pips_are_refused_for_a_market_without_pips(user: User) -> None:
    path = csv(user.folder / "btc.csv", 400)
    answer = train_file(user, path, "--set", "market.symbol=BTC/USDT", "--set", "costs.spread_pips=1.0", code=2)
    assert "pip" in answer.err
    assert "BTC/USDT" in answer.err
    no_run_left(user)


def test_a_missing_spec_is_named(user: User) -> None:
    answer = user("train", "nowhere.toml", code=2)
    assert "nowhere.toml" in answer.err


def test_a_broken_spec_file_is_named_with_its_line(user: User) -> None:
    (user.folder / "broken.toml").write_text('kind = "strategy"\nseed = = 4\n')
    answer = user("train", "broken.toml", code=2)
    assert "line 2" in answer.err


def test_missing_data_is_named(user: User) -> None:
    answer = train_file(user, user.folder / "nothing.csv", code=2)
    assert "nothing.csv" in answer.err
    no_run_left(user)


def test_empty_data_is_refused(user: User) -> None:
    path = user.folder / "empty.csv"
    path.write_text("timestamp,open,high,low,close,volume\n")
    answer = train_file(user, path, code=2)
    assert "empty.csv" in answer.err
    no_run_left(user)


def test_rows_that_are_not_numbers_are_counted_and_the_first_is_named(user: User) -> None:
    path = csv(user.folder / "nan.csv", 400, spoil="NaN", at=250)
    answer = train_file(user, path, code=2)
    assert "250" in answer.err
    assert "close" in answer.err
    no_run_left(user)


def test_data_of_nothing_but_gaps_is_refused(user: User) -> None:
    path = csv(user.folder / "gaps.csv", 400, step_ms=7 * HOUR_MS)
    answer = train_file(user, path, code=2)
    assert "gap" in answer.err
    no_run_left(user)


def test_fewer_candles_than_are_held_out_are_refused(user: User) -> None:
    answer = train_file(user, csv(user.folder / "few.csv", 60), code=2)
    assert "60 candles" in answer.err
    assert "holdout_bars" in answer.err
    no_run_left(user)


def test_candles_too_few_to_trade_on_end_with_counts_and_a_cure(user: User) -> None:
    answer = train_file(user, csv(user.folder / "few.csv", 60), "--set", "validation.holdout_bars=0", code=2)
    assert "60 bars to search, but the warm-up takes 114 to 194 of them" in answer.err
    assert "more candles" in answer.err


def test_a_file_in_the_place_of_the_home_is_an_error_of_the_machine(user: User) -> None:
    (user.folder / "taken").write_text("a file")
    answer = user("train", str(EXAMPLE), *SMALL, "--home", "taken", code=4)
    assert "taken" in answer.err
    assert (user.folder / "taken").read_text() == "a file"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 kB. Needs the right to mount, which containers and CI often have."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("may not mount a file system here; the fault-injection tests cover the same errors")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_ends_with_exit_code_4_and_a_run_that_can_go_on(user: User, small_disk: Path) -> None:
    answer = user(
        "train", str(EXAMPLE), "--set", "search.n_iterations=20000", "--home", str(small_disk / "home"), code=4
    )
    assert "full" in answer.err
    assert list(small_disk.rglob("*.lockstep-tmp")) == []
    assert list(small_disk.rglob("MANIFEST.json")) == [], "a run cut short is never taken for a complete one"


def test_a_read_only_home_ends_with_exit_code_4(user: User, small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    answer = user("train", str(EXAMPLE), *SMALL, "--home", str(small_disk / "home"), code=4)
    assert "read-only" in answer.err.lower()
    assert list(small_disk.iterdir()) == []


@pytest.mark.skipif(os.getuid() == 0, reason="root reads what it may not read")
def test_data_without_permission_is_named(user: User) -> None:
    path = csv(user.folder / "locked.csv", 400)
    path.chmod(0)
    assert "locked.csv" in train_file(user, path, code=2).err


def test_data_that_is_a_folder_is_named(user: User) -> None:
    (user.folder / "folder.csv").mkdir()
    assert "folder.csv" in train_file(user, user.folder / "folder.csv", code=2).err
    no_run_left(user)


def test_a_search_in_which_nothing_trades_gives_counts_by_cause(user: User) -> None:
    """R4.32: no valid trial is an error with counts and the first reason."""
    answer = user("train", str(EXAMPLE), *SMALL, "--set", "search.min_trades=100000", code=1)
    assert "96" in answer.err
    assert "min_trades" in answer.err


PEEKING = '''
import numpy as np
import lockstep as ls


class Peeking(ls.Strategy):
    """Buys when the next bar will close higher."""

    parameters = {"hold": (2, 8)}

    def signals(self, view, params):
        side = np.zeros(len(view), dtype=np.int8)
        side[:-1] = np.where(view.close[1:] > view.close[:-1], 1, 0)
        return ls.Signals(side=side, time_limit=params["hold"])
'''


def test_a_strategy_that_reads_the_future_is_stopped_with_the_first_bar(user: User) -> None:
    (user.folder / "peeking.py").write_text(PEEKING)
    (user.folder / "spec.toml").write_text(
        'kind = "strategy"\n[data]\nsource = "sample"\nlast = 1500\n'
        '[strategy]\nname = "peeking.py:Peeking"\n[search]\noptimizer = "random"\nn_iterations = 32\n'
    )
    answer = user("train", "spec.toml", code=1)
    assert re.search(r"peeking reads the future: side at bar \d{4}-\d\d-\d\d", answer.err, re.IGNORECASE), answer.err
    no_run_left(user)


@pytest.mark.parametrize("name", ["spec.json", "journal.jsonl", "result.json", "MANIFEST.json"])
def test_a_flipped_byte_is_found_named_and_never_used(user: User, trained: dict[str, Any], name: str) -> None:
    path = Path(trained["folder"], name)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    answer = user("runs", "check", "last", code=1)
    assert name in answer.out
    again = user("verify", "last", code=1)
    assert name in again.err + again.out


def test_an_unknown_run_is_named_and_one_that_there_is_is_offered(user: User, trained: dict[str, Any]) -> None:
    answer = user("verify", "nosuchrun", code=2)
    assert "nosuchrun" in answer.err
    assert trained["run_id"] in answer.err, "it names one that there is"


def test_last_without_any_run_says_so(user: User) -> None:
    assert "there are no runs" in user("runs", "show", "last", code=2).err
    assert user("runs", "list", "--json").json == []


@pytest.mark.parametrize(
    "command",
    [
        ("train", "nowhere.toml", "--json"),
        ("train", "--json"),
        ("verify", "nothing", "--json"),
        ("runs", "export", "nothing", "x.tar", "--json"),
        ("frobnicate", "--json"),
        ("train", str(EXAMPLE), "--workers", "0", "--json"),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_under_json_an_error_is_one_object_on_stdout(user: User, command: tuple[str, ...]) -> None:
    answer = user(*command, code=2)
    body = json.loads(answer.out)
    assert set(body["error"]) == {"type", "message", "exit_code"}
    assert body["error"]["exit_code"] == 2
