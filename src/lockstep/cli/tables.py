"""Tables for people: runs and data sets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lockstep.cli.summary import facts
from lockstep.cli.words import NOTHING, count, instant, number, size

if TYPE_CHECKING:
    from lockstep.app.data import ImportReport, SnapshotInfo
    from lockstep.app.runs_admin import ListedRun


def _table(*columns: str, right: Iterable[str] = ()) -> Table:
    table = Table(box=None, padding=(0, 2), show_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name, justify="right" if name in set(right) else "left", no_wrap=True)
    return table


def runs_table(rows: Iterable[ListedRun]) -> RenderableType:
    """All runs, oldest first; an alarm is a mark in its row and a line below."""
    listed = list(rows)
    if not listed:
        return Text("no runs yet. Make one: lockstep train SPEC")
    table = _table(
        "", "run", "tags", "status", "what", "seed", "trials", "best", "fingerprint", right=("seed", "trials")
    )
    for item in listed:
        row = item.row
        table.add_row(
            "!" if row.alarm is not None or row.problem is not None else "",
            row.run_id,
            ", ".join(row.tags) or NOTHING,
            str(row.status),
            row.name or row.kind or NOTHING,
            NOTHING if row.seed is None else str(row.seed),
            NOTHING if item.trials is None else count(item.trials),
            NOTHING if item.best is None else f"{item.objective} {number(item.best)}",
            (row.fingerprint or NOTHING)[:12],
        )
    marks = [
        (item.row.run_id, text) for item in listed for text in (item.row.alarm, item.row.problem) if text is not None
    ]
    return Group(table, *(Text(f"! {run_id}: {text}", style="bold red") for run_id, text in marks))


def snapshots_table(rows: Iterable[SnapshotInfo]) -> RenderableType:
    """The data sets of a home."""
    listed = list(rows)
    if not listed:
        return Text("no snapshots yet. Every run pins its data; to bring a file in: lockstep data import FILE")
    table = _table("digest", "symbol", "timeframe", "bars", "first bar", "last bar", "size", right=("bars", "size"))
    for row in listed:
        table.add_row(
            row.digest[:16],
            row.symbol or NOTHING,
            row.timeframe,
            count(row.bars),
            instant(row.first),
            instant(row.last),
            size(row.size),
        )
    return table


def pinned(info: SnapshotInfo) -> RenderableType:
    """One data set."""
    return facts(
        [
            ("digest", info.digest),
            ("market", " ".join(filter(None, [info.exchange, info.symbol, info.timeframe]))),
            ("bars", f"{count(info.bars)}, {instant(info.first)} to {instant(info.last)}"),
            ("file", f"{info.path} ({size(info.size)}, every byte as it was written)"),
        ]
    )


def imported(report: ImportReport) -> RenderableType:
    """What came in."""
    return Group(
        Text(str(report.loaded)),
        pinned(report.snapshot),
        Text(f'in a spec: [data] source = "file", path = "{report.snapshot.path.resolve()}"'),
    )
