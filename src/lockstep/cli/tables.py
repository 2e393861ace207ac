"""Tables for people: runs and data sets."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, JustifyMethod, RenderableType, RenderResult
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text

from lockstep.cli.page import facts
from lockstep.core.printable import printable
from lockstep.reports.words import NOTHING, count, counted, instant, size

if TYPE_CHECKING:
    from pathlib import Path

    from lockstep.app.collect import CollectedBook
    from lockstep.app.data import ImportReport, SnapshotInfo
    from lockstep.app.runs_admin import ListedRun


_WORD: Final = 12
"""Letters that a cell of words needs, to be wrapped and not broken."""


def in_a_line(text: str) -> str:
    """A cell's text in one line, with nothing in it that commands a terminal."""
    return text if text.isascii() and text.isprintable() else printable(text).replace("\n", "␊").replace("\t", " ")


def _padded(text: str, width: int, *, right: bool) -> str:
    blanks = " " * (width - cell_len(text))
    return blanks + text if right else text + blanks


@dataclass(frozen=True, kw_only=True)
class Fitting:
    """Rows in the first of several choices of columns that the terminal has room for.

    An ellipsis in the middle of a run's id helps nobody: what is left out is in `--json` and in a wider window.

    rows   one mapping from column to text per row
    forms  column names, from the widest choice to the narrowest, which wraps where even that is too wide
    narrow further choices, for windows in which the last of `forms` would be a column of single letters
    right  columns of numbers
    whole  columns that are never broken, such as what a person has to type again
    """

    rows: Sequence[Mapping[str, str]]
    forms: Sequence[Sequence[str]]
    narrow: Sequence[Sequence[str]] = ()
    right: Collection[str] = ()
    whole: Collection[str] = ()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        names = dict.fromkeys(name for columns in self.forms for name in columns)
        cells = {name: [in_a_line(row[name]) for row in self.rows] for name in names}
        widths = {name: max(map(cell_len, (name, *cells[name]))) for name in names}
        for columns in self.forms:
            if sum(widths[name] + 2 for name in columns) <= options.max_width:
                yield from self._lines(columns, cells, widths)
                return
        narrow = (self.forms[-1], *self.narrow)
        yield self._table(next((form for form in narrow if self._least(form) <= options.max_width), narrow[-1]))

    def _least(self, columns: Sequence[str]) -> int:
        """Letters that a form needs with its words wrapped."""
        widths = {name: max(cell_len(text) for text in (name, *(row[name] for row in self.rows))) for name in columns}
        # Narrower than a word, a cell is a column of letters that nobody reads.
        return sum(2 + (width if name in self.whole else min(width, _WORD)) for name, width in widths.items())

    def _lines(
        self, columns: Sequence[str], cells: Mapping[str, Sequence[str]], widths: Mapping[str, int]
    ) -> Iterator[Segment]:
        """The table where every cell fits into its column: a home may have thousands of rows, and rich takes long."""

        def line(texts: Iterable[str]) -> str:
            return "".join(
                f" {_padded(text, widths[name], right=name in self.right)} "
                for name, text in zip(columns, texts, strict=True)
            )

        yield Segment(line(columns), Style(bold=True))
        yield Segment.line()
        for row in zip(*(cells[name] for name in columns), strict=True):
            yield Segment(f"{line(row)}\n")

    def _table(self, columns: Sequence[str]) -> Table:
        table = Table(box=None, padding=(0, 1), show_edge=False, header_style="bold")
        for name in columns:
            justify: JustifyMethod = "right" if name in self.right else "left"
            table.add_column(name, justify=justify, overflow="fold", no_wrap=name in self.whole)
        for row in self.rows:
            table.add_row(*(in_a_line(row[name]) for name in columns))
        return table


def runs_table(rows: Iterable[ListedRun]) -> RenderableType:
    """All runs, oldest first; an alarm is a mark in its row and a line below."""
    listed = list(rows)
    if not listed:
        return Text("no runs yet. Make one: lockstep train SPEC")
    marks = [
        (item.row.run_id, text) for item in listed for text in (item.row.alarm, item.row.problem) if text is not None
    ]
    table = Fitting(
        rows=[_run(item) for item in listed],
        forms=(
            ("", "run", "tags", "status", "what", "seed", "headline", "verdict", "fingerprint"),
            ("", "run", "tags", "status", "headline", "verdict"),
            ("", "run", "status", "headline", "verdict"),
            ("", "run", "status", "headline"),
        ),
        narrow=(("", "run", "status"), ("", "run")),
        right=("seed",),
        whole=("run", "status"),
    )
    return Group(table, *(Text(f"! {run_id}: {text}", style="bold red") for run_id, text in marks))


def _run(item: ListedRun) -> Mapping[str, str]:
    row = item.row
    return {
        "": "!" if row.alarm is not None or row.problem is not None else "",
        "run": row.run_id,
        "tags": ", ".join(row.tags) or NOTHING,
        "status": str(row.status),
        "what": row.name or row.kind or NOTHING,
        "seed": NOTHING if row.seed is None else str(row.seed),
        "headline": (None if item.headline is None else item.headline.text) or NOTHING,
        "verdict": item.decision or NOTHING,
        "fingerprint": (row.fingerprint or NOTHING)[:12],
    }


def snapshots_table(rows: Iterable[SnapshotInfo]) -> RenderableType:
    """The data sets of a home."""
    listed = list(rows)
    if not listed:
        return Text("no snapshots yet. Every run pins its data; to bring a file in: lockstep data import FILE")
    return Fitting(
        rows=[
            {
                "digest": row.digest[:16],
                "symbol": row.symbol or NOTHING,
                "timeframe": row.timeframe,
                "bars": count(row.bars),
                "first bar": instant(row.first),
                "last bar": instant(row.last),
                "size": size(row.size),
            }
            for row in listed
        ],
        forms=(
            ("digest", "symbol", "timeframe", "bars", "first bar", "last bar", "size"),
            ("digest", "symbol", "timeframe", "bars", "last bar"),
            ("digest", "symbol", "timeframe", "bars"),
        ),
        right=("bars", "size"),
    )


def pinned(info: SnapshotInfo, export: Path | None = None) -> RenderableType:
    """One data set: digest, market, span in UTC, file and its size, and the file that its candles were written to."""
    rows = [
        ("digest", info.digest),
        ("market", " ".join(filter(None, [info.exchange, info.symbol, info.timeframe]))),
        ("bars", f"{count(info.bars)}, {instant(info.first)} to {instant(info.last)}"),
        ("file", f"{info.path} ({size(info.size)}, every byte as it was written)"),
    ]
    if export is not None:
        rows.append(("written to", f"{export} ({counted(info.bars, 'bar')})"))
    return facts(rows)


def imported(report: ImportReport) -> RenderableType:
    """Report of an import, its first and last bar for a look, the snapshot, and the lines of a spec that use it."""
    info = report.snapshot
    look = [
        ("read as", report.loaded.format),
        ("first bar", f"{instant(info.first)} {_bar(report.first_bar)}"),
        ("last bar", f"{instant(info.last)} {_bar(report.last_bar)}"),
        ("step", f"{info.timeframe}, {count(info.bars)} bars, {count(report.missing)} not there in between"),
        ("volume", f"{report.volume:,.8g} in all"),
    ]
    if report.loaded.stamp:
        look.append(("look at", report.loaded.stamp))
    return Group(
        Text(str(report.loaded)),
        facts(look),
        pinned(report.snapshot),
        Text(f'in a spec: [data] source = "file", path = "{report.snapshot.path.resolve()}"'),
    )


def _bar(values: Mapping[str, float]) -> str:
    return " ".join(f"{name} {value!r}" for name, value in values.items())


def collected(book: CollectedBook) -> RenderableType:
    """Counts of packages and outcomes, the best episodes, and the spec that trains on them."""
    report, rules = book.report, book.outcomes
    complete = NOTHING if report.mean_completeness is None else f"{report.mean_completeness:.1%}"
    reasons = ", ".join(f"{name} {count(n)}" for name, n in report.quarantined.items() if n and name != "total")
    span = "none" if book.first is None or book.last is None else f"{instant(book.first)} to {instant(book.last)}"
    rows = [
        ("book", str(book.folder)),
        ("market", f"{book.symbol} {' '.join(book.timeframes)}"),
        ("packages", f"{count(report.packages)} made, {count(report.stored)} valid, mean completeness {complete}"),
        ("quarantined", f"{count(report.quarantined.get('total', 0))}{f' ({reasons})' if reasons else ''}"),
        ("episodes", f"{count(report.stored)}, {span}; {count(report.rapid_changes)} in rapid changes"),
        (
            "outcomes",
            f"{count(report.validated)} validated, {count(report.lapsed)} lapsed (no price in time), "
            f"{count(report.pending)} pending (beyond the data)",
        ),
        (
            "profitable",
            f"{count(report.profitable)} after {rules.horizon_s:g} s and {rules.round_trip_cost:.2%} of costs; "
            f"{count(book.enough)} with a score of at least 0.7 (profit of {0.7 * rules.target_profit:.2%})",
        ),
    ]
    best = Fitting(
        rows=[
            {
                "best episodes": one.episode_id,
                "at": instant(one.created_at),
                "score": f"{one.score:.3f}",
                "profit": f"{one.outcome.actual_profit:+.3%}",
                "rapid": "yes" if one.is_rapid_change else "",
            }
            for one in book.best
            if one.score > 0.0
        ],
        forms=(("best episodes", "at", "score", "profit", "rapid"), ("best episodes", "score", "profit")),
        right=("score", "profit"),
    )
    spec = (
        f'in a spec: kind = "cnn-episodes", [data] path = "{book.folder.resolve()}", '
        f'[episodes] symbol = "{book.symbol}"'
    )
    return Group(facts(rows), *([best] if best.rows else []), Text(spec))
