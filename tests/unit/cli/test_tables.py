"""Tables fit the terminal by leaving columns out, never by cutting what a person has to type again."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from lockstep.app.data import SnapshotInfo
from lockstep.app.runs_admin import ListedRun
from lockstep.cli.tables import pinned, runs_table, snapshots_table
from lockstep.runs.folder import RunStatus
from lockstep.runs.results import Headline
from lockstep.runs.store import RunRow

RUN_ID = "20261121T014105009-531d8f"


def listed(alarm: str | None = None) -> ListedRun:
    row = RunRow(
        run_id=RUN_ID,
        folder=Path("runs") / RUN_ID,
        status=RunStatus.INTERRUPTED,
        created_ms=0,
        fingerprint="f" * 64,
        journal_hash=None,
        steps=3,
        kind="strategy",
        seed=42,
        name=None,
        tags=("baseline",),
        alarm=alarm,
        problem=None,
    )
    line = Headline(
        name="sharpe_ratio",
        value=4.5427,
        text="sharpe_ratio 4.543 of 1,000 trials",
        verdict={"decision": "REJECT", "sentence": "it is luck", "reasons": [], "evidence": {}},
    )
    return ListedRun(row=row, headline=line, trials=1_000)


def printed(table: RenderableType, width: int) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width).print(table)
    return stream.getvalue()


@pytest.mark.parametrize("width", [160, 80, 64])
def test_a_run_is_listed_with_its_whole_id_status_and_headline(width: int) -> None:
    text = printed(runs_table([listed()]), width)
    for needed in (RUN_ID, "interrupted", "sharpe_ratio 4.543"):
        assert needed in text
    assert "…" not in text


def test_a_wide_terminal_shows_every_column_and_a_narrow_one_fewer() -> None:
    assert "ffffffffffff" in printed(runs_table([listed()]), 160)
    assert "ffff" not in printed(runs_table([listed()]), 80)


def test_columns_suit_every_kind_of_run() -> None:
    header, first, second = printed(runs_table([listed(), replace(listed(), headline=None)]), 160).splitlines()
    assert header.split() == ["run", "tags", "status", "what", "seed", "headline", "verdict", "fingerprint"]
    assert "REJECT" in first
    assert second.split()[-3:] == ["-", "-", "f" * 12]


@pytest.mark.parametrize("width", [48, 40])
def test_a_very_narrow_window_shows_ids_and_breaks_none(width: int) -> None:
    lines = printed(runs_table([listed()]), width).splitlines()
    assert len(lines) == 2, "a row is a line"
    assert RUN_ID in lines[1]
    assert ("interrupted" in lines[1]) is (width == 48)


def test_an_alarm_is_a_mark_and_a_line_below() -> None:
    lines = printed(runs_table([listed(alarm="another journal")]), 160).splitlines()
    assert lines[1].lstrip().startswith("!")
    assert lines[2] == f"! {RUN_ID}: another journal"


def test_a_snapshot_says_which_file_its_candles_were_written_to() -> None:
    info = SnapshotInfo(
        digest="2" * 64,
        path=Path("x.arrow"),
        bars=2,
        timeframe="1h",
        first=0,
        last=0,
        symbol=None,
        exchange=None,
        size=1,
    )
    assert "written to  out.csv (2 bars)" in printed(pinned(info, Path("out.csv")), 160)
    assert "written to" not in printed(pinned(info), 160)


@pytest.mark.parametrize("width", [160, 80, 60])
def test_a_snapshot_is_listed_with_a_digest_that_can_be_used(width: int) -> None:
    info = SnapshotInfo(
        digest="2d804741c60201729519" + "0" * 44,
        path=Path("x.arrow"),
        bars=2_000,
        timeframe="1h",
        first=0,
        last=7_200_000,
        symbol="EUR/USD",
        exchange=None,
        size=97_000,
    )
    text = printed(snapshots_table([info]), width)
    assert "2d804741c6020172" in text
    assert "…" not in text
